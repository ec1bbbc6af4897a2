/*
 * data_callback.c - a module for the tests of src/module: a callback that is data of its own.
 */
#include "plain.h"

static int data[4] = { 1 };

typedef int load(nx_self *self, uint32_t version, nx_value saved, void **state);

NX_MODULE(NX_BEHAVIOR("d", .version = 1, .init = start, .handle_call = call, .handle_cast = cast, .load = (load *)(uintptr_t)data));
