/*
 * master.c - the master's loop: signals, children, time.
 *
 * Lives here: what each signal means; the order of an end (gate, workers, link worker) and what each may take of the limit; when the node is ready.
 * Never here: network bytes, module code, threads, the event library: poll(2) on a signalfd, pidfds and channels is all it needs.
 * Runs in: the master.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/children.h"
#include "process/launch.h"
#include "process/process.h"
#include "process/signals.h"

enum { IMMEDIATE_MS = 2000, LINK_MS = 1000, LINK_MIN_MS = 250, KILLED_MS = 1000, SPARE_MS = 250, START_LIMIT_S = 30 };

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_STOP_GATE, PHASE_STOP_WORKERS, PHASE_STOP_LINK, PHASE_DONE };

struct master {
    struct launch launch;
    struct children children;
    enum phase phase;
    bool drain;
    uint64_t stop_end_ns;                  /* of the whole limit */
    uint64_t turn_end_ns;                  /* until when those whose turn it is are waited for */
    int64_t link_ms;                       /* what is kept of the limit for the link worker */
    uint64_t started_ns, next_watch_ns;
    int status;
};

static const enum child_kind turns[] = { [PHASE_STOP_GATE] = CHILD_GATE, [PHASE_STOP_WORKERS] = CHILD_WORKER, [PHASE_STOP_LINK] = CHILD_LINK };

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
left_ms(uint64_t end_ns, uint64_t now_ns)
{
    return end_ns > now_ns ? (int64_t)((end_ns - now_ns) / CLOCK_NS_PER_MS) + 1 : 1;
}

/* Those of this phase are told to end. They are told of a little less than they have: who leaves at the last moment is not killed while it leaves. */
static void
turn_begin(struct master *m, uint64_t now_ns, int64_t limit_ms)
{
    m->turn_end_ns = clock_deadline(now_ns, limit_ms);
    children_stop(&m->children, turns[m->phase], m->drain, limit_ms - least(limit_ms / 8, SPARE_MS));
}

/* A quarter of the limit for clients from outside, who may wait for an answer that never comes; then the servers, until the link worker needs the rest. Who ends sooner
 * leaves its time to the next. */
static int64_t
turn_limit_ms(const struct master *m, uint64_t now_ns)
{
    int64_t left = left_ms(m->stop_end_ns, now_ns);
    switch (m->phase) {
    case PHASE_STOP_GATE:    return left / 4;
    case PHASE_STOP_WORKERS: return left > m->link_ms ? left - m->link_ms : 1;
    default:                 return left > LINK_MIN_MS ? least(left, LINK_MS) : LINK_MIN_MS;
    }
}

static void
limit_set(struct master *m, uint64_t now_ns, int64_t limit_ms)
{
    m->stop_end_ns = clock_deadline(now_ns, limit_ms);
    m->link_ms = least(limit_ms / 8, LINK_MS);
}

static void
stop_begin(struct master *m, bool drain, const char *because)
{
    uint64_t now = clock_now_ns();
    int64_t limit_ms = drain ? m->launch.conf->shutdown_ms : IMMEDIATE_MS;
    log_info("master: stopping because=%s drain=%s limit_ms=%" PRId64, because, drain ? "yes" : "no", limit_ms);
    if (m->phase == PHASE_STARTING)
        launch_tell_ready(&m->launch, "told to stop before it was ready");
    m->drain = drain;
    m->phase = PHASE_STOP_GATE;
    limit_set(m, now, limit_ms);
    children_stop_begin(&m->children);
    turn_begin(m, now, turn_limit_ms(m, now));
}

/* Told again while it stops: less patience each time, never more. */
static void
stop_again(struct master *m, bool drain, const char *because)
{
    uint64_t now = clock_now_ns();
    if (drain) {
        log_info("master: stopping already because=%s", because);
    } else if (m->drain) {
        log_warn("master: told to stop while finishing what is queued: not waiting for it because=%s limit_ms=%d", because, IMMEDIATE_MS);
        m->drain = false;
        limit_set(m, now, least(IMMEDIATE_MS, left_ms(m->stop_end_ns, now)));
        turn_begin(m, now, least(turn_limit_ms(m, now), left_ms(m->turn_end_ns, now)));
    } else {
        log_warn("master: told to stop again: ending all processes now because=%s", because);
        children_kill_all(&m->children);
    }
}

static void
stop(struct master *m, bool drain, const char *because)
{
    if (m->phase < PHASE_STOP_GATE)
        stop_begin(m, drain, because);
    else if (m->phase < PHASE_DONE)
        stop_again(m, drain, because);
}

/* Nobody waits longer: who has not ended in its turn is killed, alone. The others have theirs all the same. */
static void
turn_late(struct master *m, uint64_t now_ns)
{
    children_kill_late(&m->children, turns[m->phase]);
    m->turn_end_ns = clock_deadline(now_ns, KILLED_MS);
}

static void
turn_next(struct master *m, uint64_t now_ns, enum phase phase)
{
    m->phase = phase;
    turn_begin(m, now_ns, turn_limit_ms(m, now_ns));
}

/* Outside callers first, then the servers, while the link worker still takes their names away; the links last, with a word of goodbye. */
static void
stop_go_on(struct master *m, uint64_t now_ns)
{
    if (m->phase == PHASE_STOP_GATE && children_alive_of(&m->children, CHILD_GATE) == 0)
        turn_next(m, now_ns, PHASE_STOP_WORKERS);
    if (m->phase == PHASE_STOP_WORKERS && children_alive_of(&m->children, CHILD_WORKER) == 0)
        turn_next(m, now_ns, PHASE_STOP_LINK);
    if (m->phase >= PHASE_STOP_GATE && children_alive(&m->children) == 0)
        m->phase = PHASE_DONE;
    else if (m->phase >= PHASE_STOP_GATE && now_ns >= m->turn_end_ns)
        turn_late(m, now_ns);
    if (m->phase == PHASE_DONE && m->children.has_killed)
        m->status = 1;                       /* some were not let finish: whoever asked for the end should know */
}

static void
reopen_log(struct master *m)
{
    struct base_error why = { 0 };
    if (log_reopen(&why) != 0) {
        log_error("master: log not reopened: %s", why.text);
        return;
    }
    children_tell_log(&m->children, log_fd());
    log_info("master: log reopened");
}

static void
take_signals(struct master *m)
{
    for (int number; (number = signals_take(m->launch.signal_fd)) != 0;)
        switch (number) {
        case SIGTERM: stop(m, false, "SIGTERM"); break;
        case SIGINT:  stop(m, false, "SIGINT"); break;
        case SIGQUIT: stop(m, true, "SIGQUIT"); break;
        case SIGUSR1: reopen_log(m); break;
        case SIGHUP:  log_warn("master: SIGHUP: this version takes a new configuration at a restart only"); break;
        default: break;
        }
}

static int
poll_timeout(const struct master *m, uint64_t now_ns, uint64_t respawn_ns)
{
    uint64_t until = m->next_watch_ns;
    if (respawn_ns != 0 && respawn_ns < until)
        until = respawn_ns;
    if (m->phase >= PHASE_STOP_GATE && m->turn_end_ns < until)
        until = m->turn_end_ns;
    return until <= now_ns ? 0 : (int)((until - now_ns) / CLOCK_NS_PER_MS) + 1;
}

static void
watch_start(struct master *m, uint64_t now_ns, const struct base_error *failed)
{
    if (m->phase != PHASE_STARTING)
        return;
    if (children_are_ready(&m->children)) {
        m->phase = PHASE_SERVING;
        log_info("master: serving node=%s workers=%" PRIu32 " pid=%d", m->launch.conf->node.text, m->launch.conf->workers, (int)getpid());
        launch_tell_ready(&m->launch, NULL);
    } else if (failed->code != 0 || now_ns - m->started_ns > START_LIMIT_S * CLOCK_NS_PER_S) {
        char late[64];
        snprintf(late, sizeof late, "the processes did not become ready within %d s", START_LIMIT_S);
        launch_tell_ready(&m->launch, failed->code != 0 ? failed->text : late);
        m->status = 1;
        stop(m, false, "failed-start");
    }
}

static void
run(struct master *m)
{
    struct pollfd fds[1 + 2 * CHILDREN_MAX];
    while (m->phase != PHASE_DONE) {
        uint64_t now = clock_now_ns();
        uint64_t respawn = children_tick(&m->children, now);
        fds[0] = (struct pollfd){ .fd = m->launch.signal_fd, .events = POLLIN };
        size_t count = children_poll_fill(&m->children, fds + 1);
        int n = poll(fds, 1 + count, poll_timeout(m, now, respawn));
        if (n < 0 && errno != EINTR && errno != ENOMEM && errno != EAGAIN) {      /* the kernel is short of memory: the next turn may do */
            log_error("master: poll: %s", strerror(errno));
            children_kill_all(&m->children);
            m->status = 1;
            return;
        }
        struct base_error failed = { 0 };
        if (n > 0) {
            if (fds[0].revents != 0)
                take_signals(m);
            children_poll_done(&m->children, fds + 1, count, &failed);
        }
        now = clock_now_ns();
        if (now >= m->next_watch_ns) {
            children_watch(&m->children, now, m->launch.conf->handler_limit_ms);
            m->next_watch_ns = now + WATCHDOG_MS * CLOCK_NS_PER_MS;
        }
        watch_start(m, now, &failed);
        stop_go_on(m, now);
    }
}

/* Some may have been forked: they end, and are waited for. */
static void
give_up(struct master *m)
{
    children_stop_begin(&m->children);
    children_kill_all(&m->children);
    m->phase = PHASE_STOP_LINK;
    m->turn_end_ns = clock_deadline(clock_now_ns(), KILLED_MS);
}

static int
serve(struct master *m, const char *version, struct base_error *why)
{
    struct launch *l = &m->launch;
    m->started_ns = clock_now_ns();
    m->next_watch_ns = m->started_ns + WATCHDOG_MS * CLOCK_NS_PER_MS;
    struct inherit base = { .conf = l->conf, .shm = l->shm, .staging = l->staging, .version = version, .incarnation = l->incarnation, .started_ns = m->started_ns,
                            .master = getpid(), .listen_fd = -1, .channel_fd = -1, .cpu = -1 };
    children_init(&m->children, &base, l->secrets, l->link_listen_fd, l->gate_listen_fd);
    l->link_listen_fd = l->gate_listen_fd = -1;              /* the children's set owns them now */
    int err = children_start_all(&m->children, why);
    if (err != 0)
        give_up(m);
    run(m);
    children_fini(&m->children);
    return err;
}

int
process_serve(const struct conf *conf, const char *version)
{
    struct master m = { .phase = PHASE_STARTING };
    struct base_error why = { 0 };
    log_set_process("master");
    int err = launch_open(conf, &m.launch, &why);
    if (err == 0) {
        process_title_set("master");
        err = serve(&m, version, &why);
    }
    if (err == NX_ECANCELED) {                               /* told to end before it was ready: that is no failure of ours */
        log_info("master: stopped: %s", why.text);
        launch_tell_ready(&m.launch, why.text);
    } else if (err != 0) {
        /* Another node of this configuration runs, and the log is its own: this is news for whoever has started us, not for it. */
        if (err != NX_ECONFLICT || m.launch.pid_fd >= 0 || strcmp(conf->log_file, "stderr") == 0)
            log_error("master: not started: %s", why.text);
        launch_tell_ready(&m.launch, why.text);
        m.status = 1;
    } else {
        log_info("master: stopped");
    }
    launch_close(&m.launch);
    return m.status;
}
