/*
 * same_name.c - a module for the tests of src/module: a behavior that good has too.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("good", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
