/*
 * foreign_callback.c - a module for the tests of src/module: a callback that is code of somebody else.
 */
#include "plain.h"

#include <stdlib.h>

typedef void terminate(nx_self *self, void *state, nx_reason reason);

NX_MODULE(NX_BEHAVIOR("f", .version = 1, .init = start, .handle_call = call, .handle_cast = cast, .terminate = (terminate *)(void (*)(void))abort));
