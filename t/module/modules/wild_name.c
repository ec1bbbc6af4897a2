/*
 * wild_name.c - a module for the tests of src/module: a name that points nowhere.
 */
#include "plain.h"

NX_MODULE(NX_BEHAVIOR((const char *)1, .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
