/*
 * long_name.c - a module for the tests of src/module: a name of 129 bytes.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
    .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
