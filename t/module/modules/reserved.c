/*
 * reserved.c - a module for the tests of src/module: a field that is reserved is set.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("r", .version = 1, .init = start, .handle_call = call, .handle_cast = cast, .reserved = { (void *)1 }));
