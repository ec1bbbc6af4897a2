/*
 * sets_signal.c - a module for the tests of src/module: its constructor sets a handler for SIGTERM.
 */
#include "plain.h"

#include <signal.h>

static void
on_signal(int number)
{
    (void)number;
}

__attribute__((constructor)) static void
set(void)
{
    (void)signal(SIGTERM, on_signal);
}

NX_MODULE(NX_BEHAVIOR("s", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
