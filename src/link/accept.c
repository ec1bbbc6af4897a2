/*
 * accept.c - taking connections of other nodes.
 *
 * Lives here: the listener, the answer to running out of descriptors (a reserve, a pause of 100 ms).
 * Never here: who may come in: cluster/ says so, from the source and then from the handshake.
 * Runs in: the link worker.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "link/link_priv.h"

enum { ACCEPTS_PER_TURN = 64, PAUSE_MS = 100 };

static void
source_text(const struct sockaddr_storage *a, char *out, size_t size)
{
    const void *at = a->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
                                              : (const void *)&((const struct sockaddr_in *)a)->sin_addr;
    if (inet_ntop(a->ss_family, at, out, (socklen_t)size) == NULL)
        snprintf(out, size, "unknown");
}

static void
accept_one(struct link_worker *l, int fd, const struct sockaddr_storage *from)
{
    char source[CLUSTER_SOURCE_MAX];
    source_text(from, source, sizeof source);
    int one = 1;
    unsigned user_timeout = (unsigned)l->conf->heartbeat_ms * (l->conf->heartbeat_misses + 1);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout);
    struct conn *c = connection_new(l, fd, false, source);
    if (c == NULL)
        return;
    if (cluster_accepted(l->cluster, link_time(l), c->id, source) != 0) {
        connection_free(c);                        /* cluster/ does not know it, and has counted it */
        return;
    }
    if (connection_watch(c) != 0)
        connection_fail(c, NODES_CONNECTION_CLOSED);
}

/* Out of descriptors: take one connection with the reserve and drop it, so that the peer learns at once, then rest. */
static void
out_of_descriptors(struct link_worker *l)
{
    if (l->reserve_fd >= 0)
        (void)close(l->reserve_fd);
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        (void)close(fd);
    l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    /* Without the timer nobody would come back: rather be called again at once. */
    if (loop_timer_set(l->loop, &l->accept_timer, loop_now_ns(l->loop) + PAUSE_MS * CLOCK_NS_PER_MS) == 0)
        (void)event_del(l->accept_event);
    if (log_gate_pass(&l->accept_gate, 1))
        log_error("link: out of descriptors: new links wait %d ms; raise the limit of open files", PAUSE_MS);
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct link_worker *l = arg;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int got = accept4(fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got >= 0) {
            accept_one(l, got, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            out_of_descriptors(l);
            return;
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void
on_pause_over(void *arg)
{
    struct link_worker *l = arg;
    if (event_add(l->accept_event, NULL) != 0)
        (void)loop_timer_set(l->loop, &l->accept_timer, loop_now_ns(l->loop) + PAUSE_MS * CLOCK_NS_PER_MS);
}

int
accept_start(struct link_worker *l, struct base_error *why)
{
    loop_timer_init(&l->accept_timer, on_pause_over, l);
    if (l->listen_fd < 0)
        return 0;
    int flags = fcntl(l->listen_fd, F_GETFL);
    if (flags < 0 || fcntl(l->listen_fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return base_error_sys(why, errno, "make the link listener non-blocking", NULL);
    l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    l->accept_event = event_new(loop_borrow_base(l->loop), l->listen_fd, EV_READ | EV_PERSIST, on_accept, l);
    if (l->reserve_fd < 0 || l->accept_event == NULL || event_add(l->accept_event, NULL) != 0)
        return base_error_set(why, NX_ENOMEM, NULL, "no event for the link listener");
    return 0;
}

void
accept_stop(struct link_worker *l)
{
    loop_timer_cancel(l->loop, &l->accept_timer);
    if (l->accept_event != NULL)
        event_free(l->accept_event);
    l->accept_event = NULL;
    if (l->listen_fd >= 0)
        (void)close(l->listen_fd);
    if (l->reserve_fd >= 0)
        (void)close(l->reserve_fd);
    l->listen_fd = l->reserve_fd = -1;
}
