/*
 * greedy.c - a module for the tests of src/module: its constructor wants 10 GiB and crashes without.
 */
#include "plain.h"

#include <stdlib.h>

__attribute__((constructor)) static void
take(void)
{
    size_t len = (size_t)10 << 30;
    volatile char *all = malloc(len);
    all[0] = 1;
}

NX_MODULE(NX_BEHAVIOR("g", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
