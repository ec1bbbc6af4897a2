/*
 * spins.c - a module for the tests of src/module: its constructor does not end.
 */
#include "plain.h"

__attribute__((constructor)) static void
spin(void)
{
    static volatile int is_over;
    while (!is_over)
        ;
}

NX_MODULE(NX_BEHAVIOR("s", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
