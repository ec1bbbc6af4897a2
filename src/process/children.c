/*
 * children.c - fork, orders, death and respawn.
 *
 * Lives here: one slot for each process of the node; pipes made for every pair and life; the back-off.
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
#include "shm/behaviors.h"
#include "shm/board.h"
#include "shm/stats.h"

enum { RESPAWN_FIRST_MS = 100, RESPAWN_MAX_MS = 30000, HEALTHY_S = 60, WORDS_MAX = 64 };
enum { PIPE_BYTES_MAX = 256 * 1024, PIPE_BYTES_MIN = 4096, PIPES_BUDGET = 48 << 20 };

/* ---------------------------------------------------------------- lives */

void
child_end(struct child_slot *child)
{
    if (child->pid > 0) {
        (void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
        child->is_ending = true;
    }
}

/* A child that misses an order would not know a life of another, and lose messages in silence: better a new life. */
static void
orders_lost(struct child_slot *child, int err)
{
    if (err == 0 || child->is_ending)
        return;
    log_error("master: order lost process=\"%s\" pid=%d waiting=%" PRIu32 ": %s: ending it", child->name, (int)child->pid, child->orders.count, nx_strerror(err));
    child_end(child);
}

static void
order_give(struct child_slot *child, const struct channel_message *m)
{
    orders_lost(child, orders_push(&child->orders, m));
}

static void
orders_go(struct child_slot *child)
{
    orders_lost(child, orders_send(&child->orders));
}

/* The kernel gives an unprivileged user 64 MiB of pipe buffers (fs.pipe-user-pages-soft), and beyond that 8 KiB a pipe: the same share for all is better than much
 * for those made first. It rounds up to a power of two, so this rounds down. */
static int
pipe_bytes(size_t processes)
{
    size_t pipes = processes * (processes - 1), bytes = PIPE_BYTES_MAX;
    while (geteuid() != 0 && bytes > PIPE_BYTES_MIN && bytes * pipes > PIPES_BUDGET)
        bytes /= 2;
    return (int)bytes;
}

static int
pipe_make(int bytes, int fds[2], struct base_error *why)
{
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return base_error_sys(why, errno, "pipe2", "between two processes; raise the limit of open files");
    (void)fcntl(fds[1], F_SETPIPE_SZ, bytes);           /* a smaller pipe is slower, not wrong */
    return 0;
}

static int
connect_pair(const struct children *c, struct child_slot *a, struct child_slot *b, struct base_error *why)
{
    int ab[2], ba[2];
    int err = pipe_make(c->pipe_bytes, ab, why);
    if (err != 0)
        return err;
    if ((err = pipe_make(c->pipe_bytes, ba, why)) != 0) {
        (void)close(ab[0]), (void)close(ab[1]);
        return err;
    }
    order_give(a, &(struct channel_message){ .order = CHANNEL_PIPES, .slot = b->slot, .generation = b->generation, .fd_count = 2, .fds = { ba[0], ab[1] } });
    order_give(b, &(struct channel_message){ .order = CHANNEL_PIPES, .slot = a->slot, .generation = a->generation, .fd_count = 2, .fds = { ab[0], ba[1] } });
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
    order_give(child, &(struct channel_message){ .order = CHANNEL_SECRETS, .fd_count = 1, .fds = { fds[0] } });
    return 0;
}

static void
board_write(struct children *c, const struct child_slot *child, enum board_state state)
{
    board_set(shm_board(c->base.shm), child->slot, &(struct board_slot){
        .generation = state == BOARD_DOWN ? 0 : child->generation, .state = state, .pid = state == BOARD_DOWN ? 0 : child->pid, .cpu = child->cpu,
        .started_at_ms = clock_wall_ms(), .restarts = child->restarts });
}

/* The child's side of the fork. */
_Noreturn static void
child_run(const struct children *c, const struct child_slot *child, int channel_fd)
{
    struct inherit in = c->base;
    in.kind = child->kind;
    in.slot = child->slot;
    in.generation = child->generation;
    in.cpu = child->cpu;
    in.channel_fd = channel_fd;
    in.listen_fd = child->listen_fd;
    _exit(child_main(&in));
}

static int
child_watch_death(struct child_slot *child, struct base_error *why)
{
    child->pidfd = pidfd_open(child->pid, 0);            /* close-on-exec by itself */
    if (child->pidfd >= 0)
        return 0;
    int e = errno;                                       /* without it a death would go unseen */
    (void)kill(child->pid, SIGKILL);                     /* not reaped yet: the number is still this process */
    (void)waitpid(child->pid, NULL, 0);
    orders_close(&child->orders);
    child->pid = 0;
    return base_error_sys(why, e, "pidfd_open", child->name);
}

/* One fork. The board tells the new generation before the child runs, and its pid when there is one. */
static int
child_fork(struct children *c, struct child_slot *child, struct base_error *why)
{
    int channel[2];
    int err = channel_pair(channel, why);
    if (err != 0)
        return err;
    child->generation = child->generation == UINT32_MAX ? 1 : child->generation + 1;
    child->started_ns = clock_now_ns();
    board_write(c, child, BOARD_STARTING);

    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);           /* no signal of the master's is taken by a child that is not yet itself */
    pid_t pid = fork();
    if (pid == 0)
        child_run(c, child, channel[1]);
    int e = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(channel[1]);
    if (pid < 0) {
        (void)close(channel[0]);
        err = base_error_sys(why, e, "fork", child->name);
    } else {
        child->pid = pid;
        orders_open(&child->orders, channel[0]);
        err = child_watch_death(child, why);
    }
    if (err != 0) {
        board_write(c, child, BOARD_DOWN);
        return err;
    }
    child->state = CHILD_STARTING;
    child->is_ending = child->is_warned = child->is_told_to_start = false;
    child->respawn_at_ns = 0;
    child->watched_handlers = child->aborted_ns = 0;
    child->watched_since_ns = child->started_ns;
    board_write(c, child, BOARD_STARTING);
    return child->kind == CHILD_LINK ? send_secrets(c, child, why) : 0;
}

static void
child_start_order(struct child_slot *child)
{
    child->is_told_to_start = true;
    order_give(child, &(struct channel_message){ .order = CHANNEL_START, .slot = child->slot, .generation = child->generation });
}

int
children_start_all(struct children *c, struct base_error *why)
{
    int err = 0;
    for (size_t i = 0; i < c->count && err == 0; i++)
        err = child_fork(c, &c->items[i], why);
    for (size_t i = 0; i < c->count && err == 0; i++)
        for (size_t j = 0; j < i && err == 0; j++)
            err = connect_pair(c, &c->items[i], &c->items[j], why);
    for (size_t i = 0; i < c->count && err == 0; i++)
        if (c->items[i].kind != CHILD_GATE)
            child_start_order(&c->items[i]);
    for (size_t i = 0; i < c->count; i++)
        orders_go(&c->items[i]);
    return err;
}

/* Delays 0, 100, 200, 400 .. 30 000 ms; a life of 60 s starts anew. */
uint64_t
child_back_off_ms(struct child_slot *child, uint64_t now_ns)
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
child_respawn(struct children *c, struct child_slot *child, uint64_t now_ns)
{
    struct base_error why = { 0 };
    child->restarts++;
    int err = child_fork(c, child, &why);
    for (size_t i = 0; i < c->count && err == 0; i++)
        if (&c->items[i] != child && c->items[i].pid > 0)
            err = connect_pair(c, child, &c->items[i], &why);
    if (err != 0) {
        log_error("master: respawn failed process=\"%s\": %s", child->name, why.text);
        child_end(child);                               /* a half-made one: its death plans the next try */
        if (child->pid == 0) {
            uint64_t ms = child_back_off_ms(child, now_ns);
            child->respawn_at_ns = now_ns + (ms > RESPAWN_FIRST_MS ? ms : RESPAWN_FIRST_MS) * CLOCK_NS_PER_MS;
        }
        return;
    }
    child_start_order(child);
    for (size_t i = 0; i < c->count; i++)
        orders_go(&c->items[i]);
    log_info("master: respawned process=\"%s\" pid=%d generation=%" PRIu32, child->name, (int)child->pid, child->generation);
}

const char *
children_server_text(const struct children *c, uint32_t behavior, uint64_t serial, char out[static CHILD_SERVER_TEXT])
{
    struct behaviors_entry e;
    bool is_known = behaviors_get(shm_behaviors(c->base.shm), behavior, &e) == 0;
    snprintf(out, CHILD_SERVER_TEXT, "%s#%" PRIu64, is_known ? e.name : "", serial);
    return out;
}

/* What its page says of its last moment: read before the next life begins it anew. */
static void
last_words(const struct children *c, const struct child_slot *child, int status, char *out, size_t size)
{
    const struct stats *s = shm_stats(c->base.shm, child->slot);
    char server[CHILD_SERVER_TEXT];
    int used = 0;
    out[0] = '\0';
    /* Only a fatal signal of its own leaves a note: kill -9 does not. */
    if (WIFSIGNALED(status) && stats_get(s, crash_signal) == (uint32_t)WTERMSIG(status))
        used = snprintf(out, size, " address=0x%" PRIx64 " server=%s", stats_get(s, crash_address),
                        children_server_text(c, stats_get(s, crash_behavior), stats_get(s, crash_serial), server));
    if (child->kind == CHILD_WORKER && used >= 0 && (size_t)used < size)
        snprintf(out + used, size - (size_t)used, " servers=%" PRIu64, stats_get(s, servers_live));
}

static void
log_death(const struct children *c, const struct child_slot *child, int status)
{
    char more[CHILD_SERVER_TEXT + 96];
    last_words(c, child, status, more, sizeof more);
    if (WIFSIGNALED(status))
        log_error("master: process ended process=\"%s\" pid=%d signal=%d (%s)%s", child->name, (int)child->pid, WTERMSIG(status), strsignal(WTERMSIG(status)), more);
    else if (!c->is_stopping || WEXITSTATUS(status) != 0)
        log_error("master: process ended process=\"%s\" pid=%d status=%d%s", child->name, (int)child->pid, WEXITSTATUS(status), more);
    else
        log_info("master: process ended process=\"%s\" pid=%d", child->name, (int)child->pid);
}

static void
child_reap(struct children *c, struct child_slot *child)
{
    int status = 0;
    /* What a module has forked ends with its worker; asked for while the number of the group is still taken by the dead leader. */
    (void)kill(-child->pid, SIGKILL);
    pid_t got = waitpid(child->pid, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR))
        return;
    board_write(c, child, BOARD_DOWN);                   /* first: its names are invisible from here on */
    uint64_t now = clock_now_ns();
    log_death(c, child, status);
    c->has_killed = c->has_killed || (c->is_stopping && WIFSIGNALED(status) && (child->is_ending || child->aborted_ns != 0));
    (void)close(child->pidfd);
    orders_close(&child->orders);
    child->pidfd = -1;
    child->pid = 0;
    child->state = CHILD_NONE;
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *other = &c->items[i];
        if (other == child || other->pid <= 0)
            continue;
        orders_forget(&other->orders, child->slot);
        order_give(other, &(struct channel_message){ .order = CHANNEL_DOWN, .slot = child->slot, .generation = child->generation });
        orders_go(other);
    }
    if (c->is_stopping)
        return;
    uint64_t delay_ms = child_back_off_ms(child, now);
    if (delay_ms > 0)
        log_warn("master: respawn delayed process=\"%s\" ms=%" PRIu64, child->name, delay_ms);
    child->respawn_at_ns = now + delay_ms * CLOCK_NS_PER_MS;
    if (delay_ms == 0)
        child_respawn(c, child, now);
}

/* Clients are let in when there is something behind the door. Later lives of the gate start at once. */
static void
start_gate(struct children *c)
{
    struct child_slot *gate = NULL;
    for (size_t i = 0; i < c->count; i++) {
        if (c->items[i].kind == CHILD_GATE)
            gate = &c->items[i];
        else if (c->items[i].state != CHILD_READY)
            return;
    }
    if (gate == NULL || gate->pid <= 0 || gate->is_told_to_start || c->is_stopping)
        return;
    child_start_order(gate);
    orders_go(gate);
}

static void
child_take_word(struct children *c, struct child_slot *child, const struct channel_message *m, struct base_error *failed)
{
    for (uint16_t i = 0; i < m->fd_count; i++)           /* a child has no descriptors to give */
        (void)close(m->fds[i]);
    if (m->order == CHANNEL_ACK) {
        orders_acknowledged(&child->orders);
    } else if (m->order == CHANNEL_READY && child->state == CHILD_STARTING) {
        child->state = CHILD_READY;
        if (!c->is_stopping)
            board_set_state(shm_board(c->base.shm), child->slot, BOARD_READY);
        log_info("master: ready process=\"%s\" pid=%d generation=%" PRIu32, child->name, (int)child->pid, child->generation);
        start_gate(c);
    } else if (m->order == CHANNEL_FAILED && child->state == CHILD_STARTING) {
        log_error("master: cannot serve process=\"%s\" pid=%d: %s", child->name, (int)child->pid, m->text);
        (void)base_error_set(failed, NX_ESYS, child->name, "%s cannot serve: %s", child->name, m->text);
    }
}

/* A bounded number of words, so that one child cannot keep the master from the others. */
static void
child_listen(struct children *c, struct child_slot *child, struct base_error *failed)
{
    struct channel_message m;
    int got = 0;
    for (int words = 0; words < WORDS_MAX && (got = channel_receive(child->orders.fd, &m)) > 0; words++)
        child_take_word(c, child, &m, failed);
    if (got < 0) {
        /* Its end of the channel is closed: it is dying, or a module has closed it. Either way it has no place any more, and poll would tell for ever. */
        if (got != NX_ENODE)
            log_error("master: channel broken process=\"%s\" pid=%d: %s: ending it", child->name, (int)child->pid, nx_strerror(got));
        child_end(child);
        orders_close(&child->orders);
        return;
    }
    orders_go(child);
}

/* ---------------------------------------------------------------- the set */

void
children_init(struct children *c, const struct inherit *base, const struct secrets *secrets, int link_listen_fd, int gate_listen_fd)
{
    memset(c, 0, sizeof *c);
    c->base = *base;
    c->secrets = secrets;
    c->count = base->conf->workers + 2;
    c->pipe_bytes = pipe_bytes(c->count);
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *child = &c->items[i];
        *child = (struct child_slot){ .kind = CHILD_WORKER, .slot = (uint16_t)i, .cpu = -1, .listen_fd = -1, .pidfd = -1 };
        orders_init(&child->orders);
        if (i == base->conf->workers) {
            child->kind = CHILD_GATE, child->slot = SLOT_GATE, child->listen_fd = gate_listen_fd;
            snprintf(child->name, sizeof child->name, "gate");
        } else if (i == base->conf->workers + 1) {
            child->kind = CHILD_LINK, child->slot = SLOT_LINK, child->listen_fd = link_listen_fd, child->cpu = base->conf->link_affinity;
            snprintf(child->name, sizeof child->name, "link worker");
        } else {
            child->cpu = base->conf->affinity[i];
            snprintf(child->name, sizeof child->name, "worker %u", child->slot);
        }
    }
}

static void
close_listeners(struct children *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->items[i].listen_fd >= 0)
            (void)close(c->items[i].listen_fd);
        c->items[i].listen_fd = -1;
    }
}

void
children_fini(struct children *c)
{
    for (size_t i = 0; i < c->count; i++)
        orders_close(&c->items[i].orders);
    close_listeners(c);
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
        at[2 * i] = (struct pollfd){ .fd = child->pidfd, .events = POLLIN };
        at[2 * i + 1] = (struct pollfd){ .fd = child->orders.fd, .events = (short)(POLLIN | (orders_are_sendable(&child->orders) ? POLLOUT : 0)) };
    }
    return 2 * c->count;
}

void
children_poll_done(struct children *c, const struct pollfd *at, size_t count, struct base_error *failed)
{
    nx_assert(count == 2 * c->count);
    /* What a child said last is heard before its death is noted. A slot that was respawned meanwhile has other descriptors: poll will tell again. */
    for (size_t i = 0; i < c->count; i++)
        if (at[2 * i + 1].revents != 0 && at[2 * i + 1].fd == c->items[i].orders.fd)
            child_listen(c, &c->items[i], failed);
    for (size_t i = 0; i < c->count; i++)
        if (at[2 * i].revents != 0 && at[2 * i].fd == c->items[i].pidfd && c->items[i].pid > 0)
            child_reap(c, &c->items[i]);
}

uint64_t
children_tick(struct children *c, uint64_t now_ns)
{
    uint64_t next = 0;
    for (size_t i = 0; i < c->count && !c->is_stopping; i++) {
        struct child_slot *child = &c->items[i];
        if (child->respawn_at_ns != 0 && child->respawn_at_ns <= now_ns) {
            child->respawn_at_ns = 0;
            child_respawn(c, child, now_ns);
        }
        if (child->respawn_at_ns != 0 && (next == 0 || child->respawn_at_ns < next))
            next = child->respawn_at_ns;
    }
    return next;
}

void
children_stop_begin(struct children *c)
{
    c->is_stopping = true;
    close_listeners(c);
}

void
children_stop(struct children *c, enum child_kind kind, bool drain, int64_t limit_ms)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].kind == kind && c->items[i].pid > 0) {
            board_set_state(shm_board(c->base.shm), c->items[i].slot, BOARD_STOPPING);
            order_give(&c->items[i], &(struct channel_message){ .order = CHANNEL_STOP, .slot = drain, .value = (uint64_t)limit_ms });
            orders_go(&c->items[i]);
        }
}

void
children_kill_late(struct children *c, enum child_kind kind)
{
    for (size_t i = 0; i < c->count; i++) {
        struct child_slot *child = &c->items[i];
        if (child->kind != kind || child->pid <= 0)
            continue;
        log_error("master: not ended in time process=\"%s\" pid=%d: killing it", child->name, (int)child->pid);
        child_end(child);
    }
}

void
children_kill_all(struct children *c)
{
    for (size_t i = 0; i < c->count; i++)
        child_end(&c->items[i]);
}

void
children_tell_log(struct children *c, int log_fd)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->items[i].orders.fd < 0)
            continue;
        int fd = fcntl(log_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0) {
            log_error("master: log not passed on process=\"%s\": %s", c->items[i].name, strerror(errno));
            continue;
        }
        order_give(&c->items[i], &(struct channel_message){ .order = CHANNEL_LOG, .fd_count = 1, .fds = { fd } });
        orders_go(&c->items[i]);
    }
}

