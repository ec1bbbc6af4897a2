/*
 * children.c - fork, orders, death and respawn.
 *
 * Lives here: one slot for each process of the node; the queue of orders to each; pipes made for every pair and life; the back-off.
 * Never here: what the processes do; signals to the master.
 * Runs in: the master.
 *
 * A new life: fork; a fresh pair of pipes with each living process, told to both sides; CHANNEL_START to the new one when it has its set. A death: generation 0 on the
 * board first, so that its names are invisible at once, then CHANNEL_DOWN to all others.
 */
#include "process/children.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipe/channel.h"
#include "shm/board.h"
#include "shm/stats.h"

enum { PIPE_BYTES = 256 * 1024, ORDERS_MAX = 1024, RESPAWN_FIRST_MS = 100, RESPAWN_MAX_MS = 30000, HEALTHY_S = 60 };

struct order { struct list link; struct channel_message message; };

/* ---------------------------------------------------------------- orders */

static void
order_free(struct order *o)
{
    for (uint16_t i = 0; i < o->message.fd_count; i++)
        (void)close(o->message.fds[i]);
    free(o);
}

static void
orders_clear(struct child_slot *c)
{
    for (struct list *it = list_pop_front(&c->orders); it != NULL; it = list_pop_front(&c->orders))
        order_free(list_item(it, struct order, link));
    c->order_count = 0;
}

/* Queue an order; descriptors in it are owned by the queue. A child that does not take its orders is ended: it would miss a life of another. */
static void
order_push(struct child_slot *c, const struct channel_message *m)
{
    struct order *o = c->pid > 0 && c->order_count < ORDERS_MAX ? malloc(sizeof *o) : NULL;
    if (o == NULL) {
        for (uint16_t i = 0; i < m->fd_count; i++)
            (void)close(m->fds[i]);
        if (c->pid > 0) {
            log_error("master: %s does not take its orders: ending it", c->name);
            (void)pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
        }
        return;
    }
    o->message = *m;
    list_init(&o->link);
    list_push_back(&c->orders, &o->link);
    c->order_count++;
}

static void
orders_send(struct child_slot *c)
{
    while (c->pid > 0 && !list_is_empty(&c->orders)) {
        struct order *o = list_item(c->orders.next, struct order, link);
        if (o->message.fd_count > 0 && c->is_awaiting_ack)
            return;
        int err = channel_send(c->channel_fd, &o->message);
        if (err == NX_EBUSY)
            return;
        if (err != 0 && err != NX_ENODE)
            log_error("master: order to %s failed: %s", c->name, nx_strerror(err));
        c->is_awaiting_ack |= err == 0 && o->message.fd_count > 0;
        list_remove(&o->link);
        c->order_count--;
        order_free(o);
    }
}

/* Pipes of a life that is over are not handed out any more. */
static void
orders_forget(struct child_slot *c, uint16_t slot)
{
    list_each_safe(it, next, &c->orders) {
        struct order *o = list_item(it, struct order, link);
        if (o->message.order == CHANNEL_PIPES && o->message.slot == slot) {
            list_remove(it);
            c->order_count--;
            order_free(o);
        }
    }
}

/* ---------------------------------------------------------------- lives */

static int
pipe_make(int fds[2], struct base_error *why)
{
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return base_error_sys(why, errno, "pipe2", "between two processes; raise the limit of open files");
    (void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);      /* a smaller pipe is slower, not wrong */
    return 0;
}

static int
connect_pair(struct child_slot *a, struct child_slot *b, struct base_error *why)
{
    int ab[2], ba[2];
    int err = pipe_make(ab, why);
    if (err != 0)
        return err;
    if ((err = pipe_make(ba, why)) != 0) {
        (void)close(ab[0]), (void)close(ab[1]);
        return err;
    }
    order_push(a, &(struct channel_message){ .order = CHANNEL_PIPES, .slot = b->slot, .generation = b->generation, .fd_count = 2, .fds = { ba[0], ab[1] } });
    order_push(b, &(struct channel_message){ .order = CHANNEL_PIPES, .slot = a->slot, .generation = a->generation, .fd_count = 2, .fds = { ab[0], ba[1] } });
    return 0;
}

static int
send_secrets(struct children *c, struct child_slot *child, struct base_error *why)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return base_error_sys(why, errno, "pipe2", "for the secrets");
    int err = secrets_write(c->secrets, fds[1], why);
    (void)close(fds[1]);
    if (err != 0) {
        (void)close(fds[0]);
        return err;
    }
    order_push(child, &(struct channel_message){ .order = CHANNEL_SECRETS, .fd_count = 1, .fds = { fds[0] } });
    return 0;
}

static void
board_write(struct children *c, const struct child_slot *child, enum board_state state)
{
    board_set(shm_board(c->base.shm), child->slot, &(struct board_slot){
        .generation = state == BOARD_DOWN ? 0 : child->generation, .state = state, .pid = state == BOARD_DOWN ? 0 : child->pid, .cpu = child->cpu,
        .started_at_ms = clock_wall_ms(), .restarts = child->restarts });
}

/* One fork. The board tells the new generation before the child runs. */
static int
child_fork(struct children *c, struct child_slot *child, struct base_error *why)
{
    int channel[2];
    int err = channel_pair(channel, why);
    if (err != 0)
        return err;
    child->generation = child->generation == UINT32_MAX ? 1 : child->generation + 1;
    struct inherit in = c->base;
    in.kind = child->kind;
    in.slot = child->slot;
    in.generation = child->generation;
    in.cpu = child->cpu;
    in.channel_fd = channel[1];
    in.listen_fd = child->listen_fd;

    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);           /* no signal of the master's is taken by a child that is not yet itself */
    pid_t pid = fork();
    if (pid == 0)
        _exit(child_main(&in));
    int e = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(channel[1]);
    if (pid < 0) {
        (void)close(channel[0]);
        return base_error_sys(why, e, "fork", child->name);
    }
    child->pid = pid;
    child->channel_fd = channel[0];
    child->pidfd = pidfd_open(pid, 0);
    if (child->pidfd < 0) {                              /* without it a death would go unseen */
        e = errno;
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        (void)close(child->channel_fd);
        child->pid = 0;
        return base_error_sys(why, e, "pidfd_open", child->name);
    }
    (void)fcntl(child->pidfd, F_SETFD, FD_CLOEXEC);
    child->state = CHILD_STARTING;
    child->is_awaiting_ack = false;
    child->started_ns = clock_now_ns();
    child->respawn_at_ns = 0;
    child->watched_handlers = 0;
    child->is_warned = false;
    board_write(c, child, BOARD_STARTING);
    if (child->kind == CHILD_LINK)
        return send_secrets(c, child, why);
    return 0;
}

static void
child_start_order(struct child_slot *child)
{
    order_push(child, &(struct channel_message){ .order = CHANNEL_START, .slot = child->slot, .generation = child->generation });
}

int
children_start_all(struct children *c, struct base_error *why)
{
    int err = 0;
    for (size_t i = 0; i < c->count && err == 0; i++)
        err = child_fork(c, &c->items[i], why);
    for (size_t i = 0; i < c->count && err == 0; i++)
        for (size_t j = 0; j < i && err == 0; j++)
            err = connect_pair(&c->items[i], &c->items[j], why);
    for (size_t i = 0; i < c->count && err == 0; i++)
        child_start_order(&c->items[i]);
    for (size_t i = 0; i < c->count; i++)
        orders_send(&c->items[i]);
    return err;
}

static void
child_respawn(struct children *c, struct child_slot *child, uint64_t now_ns)
{
    struct base_error why = { 0 };
    child->restarts++;
    int err = child_fork(c, child, &why);
    for (size_t i = 0; i < c->count && err == 0; i++)
        if (&c->items[i] != child && c->items[i].pid > 0)
            err = connect_pair(child, &c->items[i], &why);
    if (err != 0) {
        log_error("master: %s cannot be started again: %s; next try in %d ms", child->name, why.text, RESPAWN_MAX_MS);
        if (child->pid > 0)
            (void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
        else
            child->respawn_at_ns = now_ns + RESPAWN_MAX_MS * CLOCK_NS_PER_MS;
        return;
    }
    child_start_order(child);
    for (size_t i = 0; i < c->count; i++)
        orders_send(&c->items[i]);
    log_info("master: respawned process=\"%s\" pid=%d generation=%" PRIu32, child->name, (int)child->pid, child->generation);
}

static void
log_death(struct children *c, const struct child_slot *child, int status)
{
    const struct stats *s = shm_stats(c->base.shm, child->slot);
    if (WIFSIGNALED(status))
        log_error("master: process ended process=\"%s\" pid=%d signal=%d (%s) address=0x%" PRIx64 " server=%" PRIu64, child->name, (int)child->pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)), stats_get(s, crash_signal) != 0 ? stats_get(s, crash_address) : 0,
                  stats_get(s, crash_signal) != 0 ? stats_get(s, crash_serial) : 0);
    else if (!c->is_stopping || WEXITSTATUS(status) != 0)
        log_error("master: process ended process=\"%s\" pid=%d status=%d", child->name, (int)child->pid, WEXITSTATUS(status));
    else
        log_info("master: process ended process=\"%s\" pid=%d", child->name, (int)child->pid);
}

/* Delays 0, 100, 200, 400 .. 30 000 ms; a life of 60 s starts anew. */
static uint64_t
back_off_ms(struct child_slot *child, uint64_t now_ns)
{
    if (now_ns - child->started_ns >= HEALTHY_S * CLOCK_NS_PER_S)
        child->quick_deaths = 0;
    uint32_t n = child->quick_deaths++;
    if (n == 0)
        return 0;
    uint64_t ms = RESPAWN_FIRST_MS;
    for (uint32_t i = 1; i < n && ms < RESPAWN_MAX_MS; i++)
        ms *= 2;
    return ms < RESPAWN_MAX_MS ? ms : RESPAWN_MAX_MS;
}

static void
child_reap(struct children *c, struct child_slot *child)
{
    int status = 0;
    pid_t got = waitpid(child->pid, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR))
        return;
    board_write(c, child, BOARD_DOWN);                   /* first: its names are invisible from here on */
    uint64_t now = clock_now_ns();
    log_death(c, child, status);
    (void)close(child->pidfd);
    (void)close(child->channel_fd);
    child->pidfd = child->channel_fd = -1;
    child->pid = 0;
    child->state = CHILD_NONE;
    orders_clear(child);
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *other = &c->items[i];
        if (other == child || other->pid <= 0)
            continue;
        orders_forget(other, child->slot);
        order_push(other, &(struct channel_message){ .order = CHANNEL_DOWN, .slot = child->slot, .generation = child->generation });
        orders_send(other);
    }
    if (c->is_stopping)
        return;
    uint64_t delay_ms = back_off_ms(child, now);
    if (delay_ms > 0)
        log_warn("master: respawn delayed process=\"%s\" ms=%" PRIu64, child->name, delay_ms);
    child->respawn_at_ns = now + delay_ms * CLOCK_NS_PER_MS;
    if (delay_ms == 0)
        child_respawn(c, child, now);
}

static void
child_listen(struct children *c, struct child_slot *child, struct base_error *failed)
{
    struct channel_message m;
    for (int got; child->channel_fd >= 0 && (got = channel_receive(child->channel_fd, &m)) != 0;) {
        if (got < 0) {
            if (got != NX_ENODE)
                log_error("master: %s broke its channel: ending it", child->name);
            if (got != NX_ENODE || child->state == CHILD_READY)
                (void)pidfd_send_signal(child->pidfd, got == NX_ENODE ? 0 : SIGKILL, NULL, 0);
            return;                                       /* its pidfd tells the rest */
        }
        for (uint16_t i = 0; i < m.fd_count; i++)         /* a child has no descriptors to give */
            (void)close(m.fds[i]);
        if (m.order == CHANNEL_ACK) {
            child->is_awaiting_ack = false;
        } else if (m.order == CHANNEL_READY) {
            child->state = CHILD_READY;
            board_set_state(shm_board(c->base.shm), child->slot, BOARD_READY);
            log_info("master: ready process=\"%s\" pid=%d generation=%" PRIu32, child->name, (int)child->pid, child->generation);
        } else if (m.order == CHANNEL_FAILED) {
            m.text[sizeof m.text - 1] = '\0';
            log_error("master: %s cannot serve: %s", child->name, m.text);
            (void)base_error_set(failed, NX_ESYS, child->name, "%s cannot serve: %s", child->name, m.text);
        }
    }
    orders_send(child);
}

/* ---------------------------------------------------------------- the set */

void
children_init(struct children *c, const struct inherit *base, const struct secrets *secrets, int link_listen_fd, int gate_listen_fd)
{
    memset(c, 0, sizeof *c);
    c->base = *base;
    c->secrets = secrets;
    c->count = base->conf->workers + 2;
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *child = &c->items[i];
        *child = (struct child_slot){ .kind = CHILD_WORKER, .slot = (uint16_t)i, .cpu = -1, .listen_fd = -1, .pidfd = -1, .channel_fd = -1 };
        list_init(&child->orders);
        if (i == base->conf->workers) {
            child->kind = CHILD_GATE, child->slot = SLOT_GATE, child->listen_fd = gate_listen_fd;
            snprintf(child->name, sizeof child->name, "gate");
        } else if (i == base->conf->workers + 1) {
            child->kind = CHILD_LINK, child->slot = SLOT_LINK, child->listen_fd = link_listen_fd, child->cpu = base->conf->link_affinity;
            snprintf(child->name, sizeof child->name, "link worker");
        } else {
            child->cpu = base->conf->affinity[i];
            snprintf(child->name, sizeof child->name, "worker %zu", i);
        }
    }
}

void
children_fini(struct children *c)
{
    for (size_t i = 0; i < c->count; i++) {
        orders_clear(&c->items[i]);
        if (c->items[i].listen_fd >= 0)
            (void)close(c->items[i].listen_fd);
    }
}

bool
children_are_ready(const struct children *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].state != CHILD_READY)
            return false;
    return true;
}

size_t
children_alive(const struct children *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        n += c->items[i].pid > 0;
    return n;
}

size_t
children_alive_of(const struct children *c, enum child_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        n += c->items[i].pid > 0 && c->items[i].kind == kind;
    return n;
}

size_t
children_poll_fill(const struct children *c, struct pollfd *at)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct child_slot *child = &c->items[i];
        bool may_send = !list_is_empty(&child->orders) &&
                        !(child->is_awaiting_ack && list_item(child->orders.next, struct order, link)->message.fd_count > 0);
        at[2 * i] = (struct pollfd){ .fd = child->pidfd, .events = POLLIN };
        at[2 * i + 1] = (struct pollfd){ .fd = child->channel_fd, .events = (short)(POLLIN | (may_send ? POLLOUT : 0)) };
    }
    return 2 * c->count;
}

void
children_poll_done(struct children *c, const struct pollfd *at, size_t count, struct base_error *failed)
{
    nx_assert(count == 2 * c->count);
    /* What a child said last is heard before its death is noted. A slot that was respawned meanwhile has other descriptors: poll will tell again. */
    for (size_t i = 0; i < c->count; i++)
        if (at[2 * i + 1].revents != 0 && at[2 * i + 1].fd == c->items[i].channel_fd)
            child_listen(c, &c->items[i], failed);
    for (size_t i = 0; i < c->count; i++)
        if (at[2 * i].revents != 0 && at[2 * i].fd == c->items[i].pidfd && c->items[i].pid > 0)
            child_reap(c, &c->items[i]);
}

uint64_t
children_tick(struct children *c, uint64_t now_ns)
{
    uint64_t next = 0;
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *child = &c->items[i];
        if (child->respawn_at_ns != 0 && child->respawn_at_ns <= now_ns && !c->is_stopping) {
            child->respawn_at_ns = 0;
            child_respawn(c, child, now_ns);
        }
        if (child->respawn_at_ns != 0 && (next == 0 || child->respawn_at_ns < next))
            next = child->respawn_at_ns;
    }
    return next;
}

void
children_stop(struct children *c, enum child_kind kind, bool drain, int64_t limit_ms)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].kind == kind && c->items[i].pid > 0) {
            board_set_state(shm_board(c->base.shm), c->items[i].slot, BOARD_STOPPING);
            order_push(&c->items[i], &(struct channel_message){ .order = CHANNEL_STOP, .slot = drain, .value = (uint64_t)limit_ms });
            orders_send(&c->items[i]);
        }
}

void
children_kill(struct children *c, int signal)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].pid > 0)
            (void)pidfd_send_signal(c->items[i].pidfd, signal, NULL, 0);
}

void
children_tell_log(struct children *c, int log_fd)
{
    for (size_t i = 0; i < c->count; i++) {
        int fd = c->items[i].pid > 0 ? fcntl(log_fd, F_DUPFD_CLOEXEC, 3) : -1;
        if (fd < 0)
            continue;
        order_push(&c->items[i], &(struct channel_message){ .order = CHANNEL_LOG, .fd_count = 1, .fds = { fd } });
        orders_send(&c->items[i]);
    }
}

void
children_watch(struct children *c, uint64_t now_ns, int64_t handler_limit_ms)
{
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *child = &c->items[i];
        if (child->kind != CHILD_WORKER || child->state != CHILD_READY)
            continue;
        const struct stats *s = shm_stats(c->base.shm, child->slot);
        uint64_t count = stats_get(s, handler_count);
        if ((count & 1) == 0 || count != child->watched_handlers) {      /* even: no handler runs; another number: it got on */
            child->watched_handlers = count;
            child->watched_since_ns = now_ns;
            child->is_warned = false;
            continue;
        }
        uint64_t ms = (now_ns - child->watched_since_ns) / CLOCK_NS_PER_MS;
        if (ms >= WATCHDOG_MS && !child->is_warned) {
            log_warn("master: handler stuck process=\"%s\" server=%" PRIu64 " ms=%" PRIu64 " limit=%" PRId64, child->name, stats_get(s, handler_serial), ms, handler_limit_ms);
            child->is_warned = true;
        }
        if (handler_limit_ms > 0 && ms >= (uint64_t)handler_limit_ms) {
            log_error("master: handler over its limit process=\"%s\" server=%" PRIu64 " ms=%" PRIu64 ": ending the worker", child->name, stats_get(s, handler_serial), ms);
            (void)pidfd_send_signal(child->pidfd, SIGABRT, NULL, 0);
            child->watched_since_ns = now_ns;                              /* a second one, if it hangs on, only after another limit */
        }
    }
}
