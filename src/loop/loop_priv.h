/*
 * loop_priv.h - the loop from inside: what loop.c and timers.c share.
 *
 * Invariant: `armed_at_ns` is 0 (the kernel's timer is off or has fired) or at or before the earliest deadline that was known at the
 * last wait; so the kernel is asked again only when an earlier deadline comes.
 */
#ifndef NOEXD_LOOP_LOOP_PRIV_H
#define NOEXD_LOOP_LOOP_PRIV_H

#include "loop/loop.h"

struct event;

struct loop {
    struct event_base *base;
    struct list hooks;               /* ascending rank */
    struct list *at;                 /* the hook that is running; NULL outside */
    struct list deferred;
    struct heap timers;
    struct event *alarm;
    int alarm_fd;
    uint64_t armed_at_ns;
    uint64_t now_ns;
    uint64_t turns;
    bool now_is_stale;
    bool more;                       /* the next turn does not wait */
    bool stop;
};

int  loop_timers_open(struct loop *loop, struct base_error *why);
void loop_timers_close(struct loop *loop);
bool loop_timers_arm(struct loop *loop);         /* before a wait: false = one is due, do not wait */
bool loop_timers_fire(struct loop *loop);        /* true = due ones are left for the next turn */

#endif
