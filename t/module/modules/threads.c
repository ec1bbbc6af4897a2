/*
 * threads.c - a module for the tests of src/module: its constructor starts a thread.
 */
#include "plain.h"

#include <pthread.h>
#include <unistd.h>

static void *
run(void *arg)
{
    (void)arg;
    for (;;)
        (void)pause();
    return NULL;
}

__attribute__((constructor)) static void
begin(void)
{
    pthread_t thread;
    (void)pthread_create(&thread, NULL, run, NULL);
}

NX_MODULE(NX_BEHAVIOR("t", .version = 1, .init = start, .handle_call = call, .handle_cast = cast));
