/*
 * null_name.c - a module for the tests of src/module: no name at all.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR((const char *)0, .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
