/*
 * twice.c - a module for the tests of src/module: two behaviors with one name.
 */
#include "plain.h"

NX_MODULE(
    NX_BEHAVIOR("twice", .version = 1, .init = start, .handle_call = call, .handle_cast = cast),
    NX_BEHAVIOR("twice", .version = 2, .init = start, .handle_call = call, .handle_cast = cast));
