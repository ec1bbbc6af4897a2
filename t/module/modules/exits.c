/*
 * exits.c - a module for the tests of src/module: its constructor ends the process, with success.
 */
#include "plain.h"

#include <unistd.h>

__attribute__((constructor)) static void
leave(void)
{
    _exit(0);
}

NX_MODULE(NX_BEHAVIOR("e", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
