/*
 * watchdog.c - children that live but do not get on.
 *
 * Lives here: a start that takes too long, orders that are not taken, handlers that do not return.
 * Never here: waiting for anything; what follows a death (children.c).
 * Runs in: the master.
 */
#include "process/children.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/stats.h"

enum { START_LIMIT_MS = 30000, ORDERS_LIMIT_MS = 5000, ABORT_LIMIT_MS = 5000 };

static uint64_t
ms_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? (now_ns - then_ns) / CLOCK_NS_PER_MS : 0;
}

/* It became ready in time, and takes its orders; a handler that is allowed to run so long may keep it from them. */
static void
watch_progress(struct child_slot *child, uint64_t now_ns, int64_t handler_limit_ms)
{
    const char *what = NULL;
    if (child->state == CHILD_STARTING && ms_since(child->started_ns, now_ns) >= START_LIMIT_MS)
        what = "not ready in time";
    else if (child->state == CHILD_READY && orders_are_waiting(&child->orders) &&
             ms_since(child->orders.moved_ns, now_ns) >= ORDERS_LIMIT_MS + (uint64_t)handler_limit_ms)
        what = "orders not taken";
    if (what == NULL || child->is_ending)
        return;
    log_error("master: %s process=\"%s\" pid=%d waiting=%" PRIu32 ": ending it", what, child->name, (int)child->pid, child->orders.count);
    child_end(child);
}

/* SIGABRT, for the note and a core; SIGKILL if that does not end it. */
static void
end_stuck(struct child_slot *child, uint64_t now_ns, const char *server, uint64_t ms)
{
    if (child->aborted_ns == 0) {
        log_error("master: handler over its limit process=\"%s\" server=%s ms=%" PRIu64 ": ending the worker", child->name, server, ms);
        (void)pidfd_send_signal(child->pidfd, SIGABRT, NULL, 0);
        child->aborted_ns = now_ns;
    } else if (ms_since(child->aborted_ns, now_ns) >= ABORT_LIMIT_MS && !child->is_ending) {
        log_error("master: SIGABRT did not end it process=\"%s\" pid=%d: SIGKILL", child->name, (int)child->pid);
        child_end(child);
    }
}

static void
watch_handler(const struct children *c, struct child_slot *child, uint64_t now_ns, int64_t handler_limit_ms)
{
    const struct stats *s = shm_stats(c->base.shm, child->slot);
    uint64_t count = stats_get(s, handler_count);
    if ((count & 1) == 0 || count != child->watched_handlers) {      /* even: no handler runs; another number: it got on */
        child->watched_handlers = count;
        child->watched_since_ns = now_ns;
        child->is_warned = false;
        return;
    }
    uint64_t ms = ms_since(child->watched_since_ns, now_ns);
    char text[CHILD_SERVER_TEXT];
    const char *server = children_server_text(c, stats_get(s, handler_behavior), stats_get(s, handler_serial), text);
    if (ms >= WATCHDOG_MS && !child->is_warned) {
        log_warn("master: handler stuck process=\"%s\" server=%s ms=%" PRIu64 " limit=%" PRId64, child->name, server, ms, handler_limit_ms);
        child->is_warned = true;
    }
    if (handler_limit_ms > 0 && ms >= (uint64_t)handler_limit_ms)
        end_stuck(child, now_ns, server, ms);
}

void
children_watch(struct children *c, uint64_t now_ns, int64_t handler_limit_ms)
{
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *child = &c->items[i];
        if (child->pid <= 0)
            continue;
        watch_progress(child, now_ns, handler_limit_ms);
        if (child->kind == CHILD_WORKER && child->state == CHILD_READY)
            watch_handler(c, child, now_ns, handler_limit_ms);
    }
}
