/*
 * crash.c - what a process leaves behind when a fatal signal ends it.
 *
 * Lives here: the handler on a stack of its own: plain stores into this process's own shared page, then the signal again with its usual effect. The one
 * exception to "no work in signal handlers".
 * Never here: allocation, locks, logging, system calls but raise.
 * Runs in: workers, the link worker, the gate.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "process/child.h"
#include "shm/stats.h"

/* clang 14 tells by __has_feature, gcc by a macro. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CRASH_SANITIZED 1
#elif defined(__has_feature)
#define CRASH_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define CRASH_SANITIZED 0
#endif

enum { CRASH_STACK = 64 * 1024 };

static struct stats *note;

static void
on_fatal(int number, siginfo_t *info, void *context)
{
    const ucontext_t *u = context;
#if defined(__x86_64__)
    stats_set(note, crash_pc, (uint64_t)u->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
    stats_set(note, crash_pc, (uint64_t)u->uc_mcontext.pc);
#else
    (void)u;
#endif
    /* Sent by somebody (kill, abort): then the place of the address holds who it was. */
    stats_set(note, crash_address, info->si_code > 0 ? (uint64_t)(uintptr_t)info->si_addr : 0);
    stats_set(note, crash_serial, stats_get(note, handler_serial));
    stats_set(note, crash_behavior, stats_get(note, handler_behavior));
    stats_set(note, crash_signal, (uint32_t)number);
    (void)raise(number);             /* SA_RESETHAND: now with its usual effect, as soon as this handler returns */
}

/* What a killed process has left in its page counts servers that are gone, and a handler that never ended: the watchdog would take idleness for a handler. Sums over all
 * lives stay, and still add up: what was under way when it died has ended with it. */
static void
begin_life(struct stats *s)
{
    stats_set(s, calls_rejected, stats_get(s, calls_initiated) - stats_get(s, calls_resolved) - stats_get(s, calls_timed_out));
    stats_set(s, spawns_rejected, stats_get(s, spawns_initiated) - stats_get(s, spawns_resolved) - stats_get(s, spawns_timed_out));
    stats_set(s, servers_stopped, stats_get(s, servers_started));
    stats_set(s, handler_count, 0);
    stats_set(s, servers_live, 0);
    stats_set(s, parked, 0);
    stats_set(s, timers, 0);
    stats_set(s, monitors, 0);
    stats_set(s, calls_pending, 0);
    stats_set(s, memory_bytes, 0);
    for (size_t i = 0; i < STATS_BEHAVIORS_MAX; i++) {
        stats_add(s, behaviors[i].crashes, stats_get(s, behaviors[i].live));
        stats_set(s, behaviors[i].live, 0);
    }
    stats_set(s, crash_signal, 0);
}

int
crash_note_install(const struct inherit *in, struct base_error *why)
{
    note = shm_stats(in->shm, in->slot);
    begin_life(note);
#if !CRASH_SANITIZED
    void *stack = mmap(NULL, CRASH_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return base_error_sys(why, errno, "mmap", "the stack of the crash note");
    stack_t alt = { .ss_sp = stack, .ss_size = CRASH_STACK };
    struct sigaction act = { .sa_sigaction = on_fatal, .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND) };
    static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
    if (sigaltstack(&alt, NULL) != 0)
        return base_error_sys(why, errno, "sigaltstack", "the stack of the crash note");
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        if (sigaction(fatal[i], &act, NULL) != 0)
            return base_error_sys(why, errno, "sigaction", strsignal(fatal[i]));
#else
    (void)why;                       /* the sanitizer's own report is worth more, and it owns these signals */
    (void)on_fatal;
#endif
    return 0;
}
