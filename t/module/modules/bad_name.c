/*
 * bad_name.c - a module for the tests of src/module: a name with a space.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("a b", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
