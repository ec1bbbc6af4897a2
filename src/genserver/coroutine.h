/*
 * coroutine.h - stacks to switch between: how a handler that waits lets the worker go on.
 *
 * A coroutine runs fn(arg), which never returns, on a stack of its own with a guard page below it. Exactly one is running; the others are
 * suspended inside coroutine_switch. A switch makes no system call.
 */
#ifndef NOEXD_GENSERVER_COROUTINE_H
#define NOEXD_GENSERVER_COROUTINE_H

#include <stddef.h>

struct coroutine;

/* The stack that is running now, as something to switch away from and back to. NX_ENOMEM. Freed with coroutine_free, from that very stack. */
int  coroutine_adopt(struct coroutine **out);
/* Suspended before its first instruction. stack_bytes is rounded up to pages. NX_ENOMEM (memory, or the kernel's limit of mappings). */
int  coroutine_new(size_t stack_bytes, void (*fn)(void *arg), void *arg, struct coroutine **out);
/* Not the running one. What lives on its stack is forgotten without unwinding. */
void coroutine_free(struct coroutine **co);
/* Suspend `from`, which is the running one, and go on with `to`. Returns when somebody switches to `from`. */
void coroutine_switch(struct coroutine *from, struct coroutine *to);

#endif
