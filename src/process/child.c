/*
 * child.c - the life of every child of the master, from the fork to its exit status.
 *
 * Lives here: in this order: name; group; CPU; shared memory sealed; descriptors closed; privileges given up; die with the master; signals; the loop; the kind's
 * rooms; the channel; the end.
 * Never here: what a kind does with its messages.
 * Runs in: workers, the link worker, the gate.
 */
#include "process/child.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <event2/event.h>
#ifdef HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#else
#include <malloc.h>
#endif

#include "base/clock.h"
#include "base/log.h"
#include "pipe/channel.h"
#include "process/privileges.h"
#include "process/process.h"
#include "shm/stats.h"
#include "process/signals.h"

enum { SECRETS_WAIT_MS = 5000, LEAVE_MS = 250 };

static const struct child_kind_ops *const kinds[] = { [CHILD_LINK] = &child_link_worker, [CHILD_GATE] = &child_gate, [CHILD_WORKER] = &child_worker };

/* ---------------------------------------------------------------- first steps */

static int
compare_int(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Close everything but the descriptors of inherit.h. */
static int
close_rest(const struct inherit *in, struct base_error *why)
{
    int keep[] = { 0, 1, 2, log_fd(), in->channel_fd, in->listen_fd };
    size_t n = BASE_COUNT(keep);
    qsort(keep, n, sizeof keep[0], compare_int);
    unsigned from = 0;
    for (size_t i = 0; i <= n; i++) {
        unsigned to = i < n ? (unsigned)keep[i] : ~0U;
        if (i < n && keep[i] < 0)
            continue;
        if (to > from && close_range(from, i < n ? to - 1 : ~0U, 0) != 0)
            return base_error_sys(why, errno, "close_range", "after the fork");
        from = i < n ? to + 1 : from;
    }
    return 0;
}

/* The configuration was checked at the start; a CPU that was taken from us since then is no reason not to serve. */
static void
pin(const struct inherit *in)
{
    if (in->cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)in->cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        log_warn("process: not pinned cpu=%d: %s", in->cpu, strerror(errno));
}

static int
first_steps(struct child *c, struct base_error *why)
{
    const struct inherit *in = c->in;
    char name[24];
    if (in->kind == CHILD_WORKER)
        snprintf(name, sizeof name, "worker %u", in->slot);
    else
        snprintf(name, sizeof name, "%s", c->ops->name);
    log_set_process(name);
    process_title_set(name);
    (void)setpgid(0, 0);                 /* what a module forks is in this group, and is ended with it */
    pin(in);
    int err;
    /* The memory first: it is sealed through descriptors that are closed then. */
    if ((err = shm_enter(in->shm, c->ops->role, in->slot, why)) != 0 || (err = close_rest(in, why)) != 0 ||
        (err = privileges_drop(in->conf->user, why)) != 0)
        return err;
    /* After setuid, which clears it; a master that died before is seen by its pid. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return base_error_sys(why, errno, "prctl", "PR_SET_PDEATHSIG");
    if (getppid() != in->master)
        return base_error_set(why, NX_ENODE, NULL, "the master is gone");
    signals_of_child();
    return crash_note_install(in, why);
}

/* ---------------------------------------------------------------- the channel */

static void
leave_when_written(struct child *c)
{
    if (c->is_done && mesh_unwritten(c->mesh) == 0)
        loop_stop(c->loop);
}

/* Bytes that the program holds. jemalloc sums them up only when asked to: at most once a second. */
static uint64_t
memory_in_use(void)
{
#ifdef HAVE_JEMALLOC
    uint64_t epoch = 1;
    size_t bytes = 0, len = sizeof bytes;
    (void)mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    return mallctl("stats.allocated", &bytes, &len, NULL, 0) == 0 ? bytes : 0;
#else
    return mallinfo2().uordblks;
#endif
}

static bool
end_of_turn(void *arg)
{
    struct child *c = arg;
    struct stats *s = shm_stats(c->in->shm, c->in->slot);
    uint64_t now = loop_now_ns(c->loop);
    stats_set(s, turns, loop_turns(c->loop));
    if (now - c->memory_at_ns >= CLOCK_NS_PER_S) {
        c->memory_at_ns = now;
        stats_set(s, memory_bytes, memory_in_use());
    }
    leave_when_written(c);
    return false;
}

void
child_done(void *child)
{
    struct child *c = child;
    c->is_done = true;
    leave_when_written(c);      /* it may be said after the hooks of this turn, and no other turn need come */
}

static void
stop_late(void *arg)
{
    struct child *c = arg;
    log_warn("%s: not done at the shutdown limit: leaving", c->ops->name);
    loop_stop(c->loop);
}

static void
tell_master(const struct child *c, uint32_t order, const char *text)
{
    struct channel_message m = { .order = order, .slot = c->in->slot, .generation = c->in->generation };
    if (text != NULL)
        snprintf(m.text, sizeof m.text, "%s", text);
    int err = channel_send(c->in->channel_fd, &m);
    if (err != 0)
        log_error("%s: word to the master failed: %s", c->ops->name, nx_strerror(err));
}

/* The rooms are told once; a second word can only bring the moment nearer at which this process leaves whatever they do. Their own limit is a little before that: what
 * they cut short at it still has a word to say (terminate, an answer to a client). */
static void
stop(struct child *c, const struct channel_message *m)
{
    uint64_t now = clock_now_ns(), deadline = clock_deadline(now, (int64_t)m->value);
    int64_t leave_ms = m->value / 8 < LEAVE_MS ? (int64_t)(m->value / 8) : LEAVE_MS;
    if (!c->is_stopping || deadline < c->stop_deadline_ns) {
        c->stop_deadline_ns = deadline;
        if (loop_timer_set(c->loop, &c->stop_timer, deadline) != 0)
            log_error("%s: out of memory for the shutdown limit: the master will keep it", c->ops->name);
    }
    if (c->is_stopping)
        return;
    c->is_stopping = true;
    c->ops->stop(c, m->slot == 1, clock_deadline(now, (int64_t)m->value - leave_ms));
}

static void
take_order(struct child *c, const struct channel_message *m)
{
    struct base_error why = { 0 };
    if (m->fd_count > 0)
        tell_master(c, CHANNEL_ACK, NULL);
    switch (m->order) {
    case CHANNEL_PIPES:
        if (mesh_attach(c->mesh, m->slot, m->generation, m->fds[0], m->fds[1], &why) != 0) {
            log_error("%s: pipes to slot %u: %s", c->ops->name, m->slot, why.text);
            c->status = 1;
            loop_stop(c->loop);      /* a hole in the mesh would be silent loss: a new life gets a whole one */
        } else if (c->ops->up != NULL) {
            c->ops->up(c, m->slot, m->generation);
        }
        return;
    case CHANNEL_DOWN:
        mesh_detach(c->mesh, m->slot, m->generation);
        if (c->ops->down != NULL)
            c->ops->down(c, m->slot, m->generation);
        return;
    case CHANNEL_START:
        if (c->ops->start != NULL && c->ops->start(c, &why) != 0) {
            tell_master(c, CHANNEL_FAILED, why.text);
            c->status = 1;
            loop_stop(c->loop);
            return;
        }
        tell_master(c, CHANNEL_READY, NULL);
        return;
    case CHANNEL_STOP:
        stop(c, m);
        return;
    case CHANNEL_QUIT:
        loop_stop(c->loop);
        return;
    case CHANNEL_LOG:
        log_take_fd(m->fds[0]);
        return;
    default:
        for (uint16_t i = 0; i < m->fd_count; i++)
            (void)close(m->fds[i]);
        log_error("%s: order %u is not known", c->ops->name, m->order);
    }
}

static void
on_channel(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;
    (void)what;
    struct channel_message m;
    int got;
    while ((got = channel_receive(fd, &m)) > 0)
        take_order(c, &m);
    if (got < 0) {                   /* the master is gone, or what it said cannot be trusted: this process has no place any more */
        c->status = 1;
        loop_stop(c->loop);
    }
}

/* The link worker needs the secrets before it opens anything. */
static int
wait_for_secrets(struct child *c, struct base_error *why)
{
    uint64_t deadline = clock_deadline(clock_now_ns(), SECRETS_WAIT_MS);
    for (;;) {
        struct channel_message m;
        int got = channel_receive(c->in->channel_fd, &m);
        if (got < 0)
            return base_error_set(why, got, NULL, "the channel to the master is broken");
        if (got > 0 && m.order == CHANNEL_SECRETS && m.fd_count == 1) {
            tell_master(c, CHANNEL_ACK, NULL);
            c->secrets_fd = m.fds[0];
            return 0;
        }
        if (got > 0)
            return base_error_set(why, NX_EBADMSG, NULL, "order %u before the secrets", m.order);
        uint64_t now = clock_now_ns();
        struct pollfd p = { .fd = c->in->channel_fd, .events = POLLIN };
        if (now >= deadline || poll(&p, 1, (int)clock_left_ms(deadline, now)) == 0)
            return base_error_set(why, NX_ETIMEDOUT, NULL, "no secrets from the master within %d ms", SECRETS_WAIT_MS);
    }
}

/* ---------------------------------------------------------------- the life */

static int
open_all(struct child *c, struct base_error *why)
{
    int err = first_steps(c, why);
    if (err == 0 && c->in->kind == CHILD_LINK)
        err = wait_for_secrets(c, why);
    if (err == 0)
        err = loop_new(&c->loop, why);
    if (err == 0)
        err = c->ops->open(c, why);
    if (err != 0)
        return err;
    nx_assert(c->mesh != NULL);
    c->channel_event = event_new(loop_borrow_base(c->loop), c->in->channel_fd, EV_READ | EV_PERSIST, on_channel, c);
    if (c->channel_event == NULL || event_add(c->channel_event, NULL) != 0)
        return base_error_set(why, NX_ENOMEM, NULL, "no event for the channel");
    c->turn_hook = (struct loop_hook){ .rank = LOOP_RANK_LAST, .fn = end_of_turn, .arg = c };
    loop_add_hook(c->loop, &c->turn_hook);
    loop_timer_init(&c->stop_timer, stop_late, c);
    return 0;
}

int
child_main(struct inherit *in)
{
    struct child c = { .in = in, .ops = kinds[in->kind], .secrets_fd = -1 };
    struct base_error why = { 0 };
    if (open_all(&c, &why) != 0) {
        log_error("%s: cannot serve: %s", c.ops->name, why.text);
        tell_master(&c, CHANNEL_FAILED, why.text);
        return 1;
    }
    if (loop_run(c.loop) != 0) {
        log_error("%s: the event loop failed", c.ops->name);
        c.status = 1;
    }
    event_free(c.channel_event);
    loop_remove_hook(c.loop, &c.turn_hook);
    loop_timer_cancel(c.loop, &c.stop_timer);
    c.ops->close(&c);
    loop_free(&c.loop);
    return c.status;
}
