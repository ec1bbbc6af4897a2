/*
 * master.c - the master's loop: signals, children, time.
 *
 * Lives here: what each signal means; the order of an end (gate, workers, link worker); when the node is ready.
 * Never here: network bytes, module code, threads, the event library: poll(2) on a signalfd, pidfds and channels is all it needs.
 * Runs in: the master.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/children.h"
#include "process/launch.h"
#include "process/process.h"

enum { IMMEDIATE_MS = 2000, START_LIMIT_S = 30 };

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_STOP_GATE, PHASE_STOP_WORKERS, PHASE_STOP_LINK, PHASE_DONE };

struct master {
    struct launch launch;
    struct children children;
    int signal_fd;
    enum phase phase;
    bool drain;
    uint64_t stop_deadline_ns;
    uint64_t started_ns, next_watch_ns;
    int status;
};

static int64_t
left_ms(const struct master *m, uint64_t now_ns)
{
    return m->stop_deadline_ns > now_ns ? (int64_t)((m->stop_deadline_ns - now_ns) / CLOCK_NS_PER_MS) + 1 : 1;
}

static void
stop_begin(struct master *m, bool drain, const char *because)
{
    if (m->phase >= PHASE_STOP_GATE) {
        log_warn("master: told to stop again: ending all processes now");
        children_kill(&m->children, SIGKILL);
        return;
    }
    int64_t limit_ms = drain ? m->launch.conf->shutdown_ms : IMMEDIATE_MS;
    log_info("master: stopping because=%s drain=%s limit_ms=%" PRId64, because, drain ? "yes" : "no", limit_ms);
    m->children.is_stopping = true;
    m->drain = drain;
    m->stop_deadline_ns = clock_deadline(clock_now_ns(), limit_ms);
    m->phase = PHASE_STOP_GATE;
    children_stop(&m->children, CHILD_GATE, drain, limit_ms);
}

/* Outside callers first, then the servers, while the link worker still takes their names away; the links last, with a word of goodbye. */
static void
stop_go_on(struct master *m, uint64_t now_ns)
{
    if (m->phase == PHASE_STOP_GATE && children_alive_of(&m->children, CHILD_GATE) == 0) {
        m->phase = PHASE_STOP_WORKERS;
        children_stop(&m->children, CHILD_WORKER, m->drain, left_ms(m, now_ns));
    }
    if (m->phase == PHASE_STOP_WORKERS && children_alive_of(&m->children, CHILD_WORKER) == 0) {
        m->phase = PHASE_STOP_LINK;
        children_stop(&m->children, CHILD_LINK, m->drain, left_ms(m, now_ns) < 1000 ? 1000 : left_ms(m, now_ns));
        m->stop_deadline_ns = m->stop_deadline_ns < now_ns + CLOCK_NS_PER_S ? now_ns + CLOCK_NS_PER_S : m->stop_deadline_ns;
    }
    if (m->phase >= PHASE_STOP_GATE && children_alive(&m->children) == 0)
        m->phase = PHASE_DONE;
    if (m->phase >= PHASE_STOP_GATE && m->phase < PHASE_DONE && now_ns >= m->stop_deadline_ns) {
        log_error("master: shutdown limit reached: ending %zu processes", children_alive(&m->children));
        children_kill(&m->children, SIGKILL);
        m->stop_deadline_ns = now_ns + CLOCK_NS_PER_S;
    }
}

static void
take_signals(struct master *m)
{
    struct signalfd_siginfo info;
    while (read(m->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        struct base_error why = { 0 };
        switch (info.ssi_signo) {
        case SIGTERM: stop_begin(m, false, "SIGTERM"); break;
        case SIGINT:  stop_begin(m, false, "SIGINT"); break;
        case SIGQUIT: stop_begin(m, true, "SIGQUIT"); break;
        case SIGHUP:
            log_warn("master: SIGHUP: this version takes a new configuration at a restart only");
            break;
        case SIGUSR1:
            if (log_reopen(&why) != 0) {
                log_error("master: log not reopened: %s", why.text);
            } else {
                children_tell_log(&m->children, log_fd());
                log_info("master: log reopened");
            }
            break;
        default: break;
        }
    }
}

static int
poll_timeout(const struct master *m, uint64_t now_ns, uint64_t respawn_ns)
{
    uint64_t until = m->next_watch_ns;
    if (respawn_ns != 0 && respawn_ns < until)
        until = respawn_ns;
    if (m->phase >= PHASE_STOP_GATE && m->stop_deadline_ns < until)
        until = m->stop_deadline_ns;
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
        const char *text = failed->code != 0 ? failed->text : "the processes did not become ready within 30 s";
        launch_tell_ready(&m->launch, text);
        m->status = 1;
        stop_begin(m, false, "failed-start");
    }
}

static void
run(struct master *m)
{
    struct pollfd fds[1 + 2 * CHILDREN_MAX];
    while (m->phase != PHASE_DONE) {
        uint64_t now = clock_now_ns();
        uint64_t respawn = children_tick(&m->children, now);
        fds[0] = (struct pollfd){ .fd = m->signal_fd, .events = POLLIN };
        size_t count = children_poll_fill(&m->children, fds + 1);
        int n = poll(fds, 1 + count, poll_timeout(m, now, respawn));
        if (n < 0 && errno != EINTR) {
            log_error("master: poll: %s", strerror(errno));
            children_kill(&m->children, SIGKILL);
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

static int
signals_open(struct master *m, struct base_error *why)
{
    sigset_t set;
    sigemptyset(&set);
    static const int taken[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };
    for (size_t i = 0; i < BASE_COUNT(taken); i++)
        sigaddset(&set, taken[i]);
    sigprocmask(SIG_SETMASK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return m->signal_fd < 0 ? base_error_sys(why, errno, "signalfd", "for the master") : 0;
}

int
process_serve(struct conf *conf)
{
    struct master m = { .phase = PHASE_STARTING };
    struct base_error why = { 0 };
    log_set_process("master");
    int err = launch_open(conf, &m.launch, &why);
    if (err == 0)
        err = signals_open(&m, &why);
    if (err == 0) {
        process_title_set("master");
        m.started_ns = clock_now_ns();
        m.next_watch_ns = m.started_ns + WATCHDOG_MS * CLOCK_NS_PER_MS;
        struct inherit base = { .conf = conf, .shm = m.launch.shm, .staging = m.launch.staging, .incarnation = m.launch.incarnation, .started_ns = m.started_ns,
                                .master = getpid(), .listen_fd = -1, .channel_fd = -1, .cpu = -1 };
        children_init(&m.children, &base, m.launch.secrets, m.launch.link_listen_fd, m.launch.gate_listen_fd);
        m.launch.link_listen_fd = m.launch.gate_listen_fd = -1;      /* the children's set owns them now */
        err = children_start_all(&m.children, &why);
        if (err != 0) {
            children_kill(&m.children, SIGKILL);
            m.children.is_stopping = true;
            m.phase = PHASE_STOP_GATE;
            m.stop_deadline_ns = clock_now_ns() + CLOCK_NS_PER_S;
        }
        run(&m);
        children_fini(&m.children);
        (void)close(m.signal_fd);
    }
    if (err != 0) {
        log_error("master: not started: %s", why.text);
        launch_tell_ready(&m.launch, why.text);
        m.status = 1;
    } else {
        log_info("master: stopped");
    }
    launch_close(&m.launch);
    return m.status;
}
