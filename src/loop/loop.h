/*
 * loop.h - one turn of the event loop, and what runs at its end.
 *
 * Lives here: the event base, hooks at the end of a turn, deferred free, timers on a heap with one kernel timer.
 * Never here: what the events mean.
 * Runs in: workers, the link worker, the gate (each makes its own after the fork).
 *
 * libevent has no hook for the end of a turn, so the turn is ours: EVLOOP_ONCE, then the hooks in the order they were added, until none of
 * them says that it has more to do. Callbacks of events only note work; the hooks do it: run ready servers, then flush pipes.
 */
#ifndef NOEXD_LOOP_LOOP_H
#define NOEXD_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/heap.h"
#include "base/list.h"

struct loop;
struct event_base;

int  loop_new(struct loop **out, struct base_error *why);
void loop_free(struct loop **loop);
struct event_base *loop_borrow_base(struct loop *loop);
int  loop_run(struct loop *loop);                 /* until loop_stop; 0 or NX_ESYS */
void loop_stop(struct loop *loop);                /* at the end of this turn */
uint64_t loop_now_ns(const struct loop *loop);    /* monotonic, taken once at the start of the turn (after the wait) */
uint64_t loop_turns(const struct loop *loop);

/* A hook at the end of each turn. Returns true if it has more to do: then the next turn does not wait. Storage belongs to the caller.
 * Order: ascending rank, e.g. LOOP_RANK_RUN before LOOP_RANK_FLUSH. */
enum { LOOP_RANK_EXPIRE = 10, LOOP_RANK_RUN = 20, LOOP_RANK_FLUSH = 30, LOOP_RANK_LAST = 40 };
struct loop_hook { struct list link; int rank; bool (*fn)(void *arg); void *arg; };
void loop_add_hook(struct loop *loop, struct loop_hook *hook);
void loop_remove_hook(struct loop *loop, struct loop_hook *hook);

/* A timer; storage belongs to the caller. Fires once, at or after `at_ns` (monotonic). Setting it again moves it. Any number; the kernel and
 * libevent see one. */
struct loop_timer { struct heap_node node; void (*fn)(void *arg); void *arg; };
void loop_timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg);
int  loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at_ns);       /* NX_ENOMEM */
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);                    /* fine if it is not set */

/* Call fn(arg) at the very end of this turn: how an object is freed inside its own callback. NX_ENOMEM: never happens for a `defer` whose
 * storage the caller gives. */
struct loop_defer { struct list link; void (*fn)(void *arg); void *arg; };
void loop_defer(struct loop *loop, struct loop_defer *d, void (*fn)(void *arg), void *arg);

#endif
