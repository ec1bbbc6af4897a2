/*
 * loop.h - one turn of the event loop, and what runs at its end.
 *
 * Lives here: the event base, hooks at the end of a turn, deferred free, timers on a heap with one kernel timer.
 * Never here: what the events mean.
 * Runs in: workers, the link worker, the gate (each makes its own after the fork).
 *
 * libevent has no hook for the end of a turn, so the turn is ours: EVLOOP_ONCE, then timers that are due, then the hooks by rank, then what was
 * deferred. If a hook says that it has more to do, the next turn does not wait. Callbacks of events only note work; the hooks do it: run ready
 * servers, then flush pipes.
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
int  loop_turn(struct loop *loop, bool may_wait); /* one turn; 0 or NX_ESYS. loop_run is made of these */
void loop_stop(struct loop *loop);                /* at the end of this turn */
uint64_t loop_now_ns(const struct loop *loop);    /* monotonic, taken once a turn, after the wait */
uint64_t loop_turns(const struct loop *loop);     /* begun so far */

/* A hook at the end of each turn. Returns true if it has more to do: then the next turn does not wait. Storage belongs to the caller.
 * Order: ascending rank, e.g. LOOP_RANK_RUN before LOOP_RANK_FLUSH; equal ranks in the order of adding. A hook may add and remove hooks, itself
 * too: one added behind it in the order runs in this turn already. Removing one that is not there is fine (storage zeroed before). */
enum { LOOP_RANK_EXPIRE = 10, LOOP_RANK_RUN = 20, LOOP_RANK_FLUSH = 30, LOOP_RANK_LAST = 40 };
struct loop_hook { struct list link; int rank; bool (*fn)(void *arg); void *arg; };
void loop_add_hook(struct loop *loop, struct loop_hook *hook);
void loop_remove_hook(struct loop *loop, struct loop_hook *hook);

/* The next turn does not wait. For work that comes up when the hook for it has already run in this turn, or between turns. */
void loop_again(struct loop *loop);

/* A timer; storage belongs to the caller. Fires once, at or after `at_ns` (monotonic), between the events and the hooks of a turn; in the order
 * of time. Setting it again moves it; moving one that is set never fails. Any number; the kernel sees one. */
struct loop_timer { struct heap_node node; void (*fn)(void *arg); void *arg; };
void loop_timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg);
int  loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at_ns);       /* NX_ENOMEM */
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);                    /* fine if it is not set */

/* Call fn(arg) at the very end of this turn: how an object is freed inside its own callback. The storage is the caller's, zeroed once at first,
 * so this cannot fail; fn may free it. Deferred outside a turn, or by a deferred call: at the end of the next turn, which does not wait.
 * loop_free runs what is left. */
struct loop_defer { struct list link; void (*fn)(void *arg); void *arg; };
void loop_defer(struct loop *loop, struct loop_defer *d, void (*fn)(void *arg), void *arg);
void loop_undefer(struct loop_defer *d);          /* fine if it is not deferred */

#endif
