/*
 * missing_init.c - a module for the tests of src/module: no init.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("m", .version = 1, .handle_call = call, .handle_cast = cast));
