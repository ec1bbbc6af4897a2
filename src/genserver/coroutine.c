/*
 * coroutine.c - stacks to switch between.
 *
 * Lives here: making a stack (makecontext, once), switching (sigsetjmp without the signal mask, siglongjmp: no system call), the guard page,
 * telling the sanitizers of each switch.
 * Never here: servers, who runs next.
 * Runs in: workers.
 *
 * The checked longjmp of _FORTIFY_SOURCE refuses to go to another stack, so this file is compiled without it.
 */
#undef _FORTIFY_SOURCE
#include "genserver/coroutine.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/base.h"
#include "noex/errors.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define COROUTINE_ASAN 1
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define COROUTINE_TSAN 1
#include <sanitizer/tsan_interface.h>
#endif

/* Lies at the high end of its own mapping: [guard page][stack, growing down][this]. An adopted one is on the heap. */
struct coroutine {
    sigjmp_buf env;                        /* where it was suspended */
    void (*fn)(void *arg);
    void *arg;
    void *mapping;                         /* NULL = adopted */
    size_t mapping_len;
    bool is_fresh;                         /* never run: entered through `first` */
    ucontext_t first;
#ifdef COROUTINE_ASAN
    void *fake_stack;
    const void *bottom;
    size_t size;
#endif
#ifdef COROUTINE_TSAN
    void *fiber;
#endif
};

/* The sanitizers keep a shadow of the stack they believe to be on; each switch is announced before it and confirmed after it. */
#ifdef COROUTINE_ASAN
static struct coroutine *left_behind;      /* who was suspended by the switch in progress */
#endif

static inline void
switch_begins(struct coroutine *from, struct coroutine *to)
{
    (void)from, (void)to;
#ifdef COROUTINE_ASAN
    left_behind = from;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
#ifdef COROUTINE_TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

static inline void
switch_ends(struct coroutine *now)
{
    (void)now;
#ifdef COROUTINE_ASAN
    /* The bounds of an adopted stack become known here, the first time it is left. */
    __sanitizer_finish_switch_fiber(now->fake_stack, &left_behind->bottom, &left_behind->size);
#endif
}

/* makecontext passes ints, so the pointer travels in halves. */
static void
coroutine_enter(unsigned high, unsigned low)
{
    struct coroutine *co = (struct coroutine *)((uintptr_t)high << 32 | (uintptr_t)low);
    switch_ends(co);
    co->fn(co->arg);
    base_abort("a coroutine's function never returns", __FILE__, __LINE__);
}

int
coroutine_adopt(struct coroutine **out)
{
    struct coroutine *co = calloc(1, sizeof *co);
    if (co == NULL)
        return NX_ENOMEM;
#ifdef COROUTINE_TSAN
    co->fiber = __tsan_get_current_fiber();
#endif
    *out = co;
    return 0;
}

int
coroutine_new(size_t stack_bytes, void (*fn)(void *arg), void *arg, struct coroutine **out)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t len = (stack_bytes + sizeof(struct coroutine) + page - 1) / page * page + page;
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NX_ENOMEM;
    if (mprotect(at, page, PROT_NONE) < 0) {
        (void)munmap(at, len);
        return NX_ENOMEM;
    }
    size_t head = (sizeof(struct coroutine) + 63) / 64 * 64;
    struct coroutine *co = (struct coroutine *)(void *)((char *)at + len - head);       /* zeroed by the kernel */
    co->fn = fn;
    co->arg = arg;
    co->mapping = at;
    co->mapping_len = len;
    co->is_fresh = true;
    (void)getcontext(&co->first);                     /* cannot fail on Linux */
    co->first.uc_stack.ss_sp = (char *)at + page;
    co->first.uc_stack.ss_size = len - page - head;
    co->first.uc_link = NULL;
#ifdef COROUTINE_ASAN
    co->bottom = co->first.uc_stack.ss_sp;
    co->size = co->first.uc_stack.ss_size;
#endif
#ifdef COROUTINE_TSAN
    co->fiber = __tsan_create_fiber(0);
#endif
    uintptr_t self = (uintptr_t)co;
    makecontext(&co->first, (void (*)(void))coroutine_enter, 2, (unsigned)(self >> 32), (unsigned)(self & 0xffffffffu));
    *out = co;
    return 0;
}

void
coroutine_free(struct coroutine **co)
{
    struct coroutine *c = *co;
    *co = NULL;
    if (c == NULL)
        return;
    if (c->mapping == NULL) {
        free(c);
        return;
    }
#ifdef COROUTINE_TSAN
    __tsan_destroy_fiber(c->fiber);
#endif
#ifdef COROUTINE_ASAN
    /* The frames on it are never unwound, and the next mapping may lie here: leave no poison behind. */
    extern void __asan_unpoison_memory_region(void const volatile *addr, size_t size);
    __asan_unpoison_memory_region(c->mapping, c->mapping_len);
#endif
    (void)munmap(c->mapping, c->mapping_len);
}

__attribute__((noinline)) void
coroutine_switch(struct coroutine *from, struct coroutine *to)
{
    if (sigsetjmp(from->env, 0) == 0) {
        switch_begins(from, to);
        if (to->is_fresh) {
            to->is_fresh = false;
            (void)setcontext(&to->first);             /* the one system call in a stack's life */
        } else {
            siglongjmp(to->env, 1);
        }
        base_abort("a switch leaves this stack", __FILE__, __LINE__);
    }
    switch_ends(from);
}
