/*
 * zero_version.c - a module for the tests of src/module: version 0.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR("zero", .init = start, .handle_call = call, .handle_cast = cast));
