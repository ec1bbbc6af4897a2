/*
 * missing_call.c - a module for the tests of src/module: no handle_call.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("m", .version = 1, .init = start, .handle_cast = cast));
