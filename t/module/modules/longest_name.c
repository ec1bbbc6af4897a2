/*
 * longest_name.c - a module for the tests of src/module: a name of 128 bytes, which is allowed, and nothing but what is required.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
    .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
