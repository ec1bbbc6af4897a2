/*
 * no_name.c - a module for the tests of src/module: an empty name.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
