/*
 * missing_cast.c - a module for the tests of src/module: no handle_cast.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("m", .version = 1, .init = start, .handle_call = call));
