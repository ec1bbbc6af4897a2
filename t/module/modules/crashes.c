/*
 * crashes.c - a module for the tests of src/module: its constructor follows a wild pointer.
 */
#include "plain.h"

__attribute__((constructor)) static void
crash(void)
{
    *(volatile int *)16 = 1;
}

NX_MODULE(NX_BEHAVIOR("c", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
