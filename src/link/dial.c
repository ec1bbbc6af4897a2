/*
 * dial.c - opening a connection to a node: resolve, connect, with a limit on both.
 *
 * Lives here: names through evdns (the loop is never blocked), the first address that fits, non-blocking connect.
 * Never here: whom to dial and when: cluster/ says so.
 * Runs in: the link worker.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>

#include "base/clock.h"
#include "link/link_priv.h"

static void
connect_to(struct conn *c, const struct evutil_addrinfo *to)
{
    struct link_worker *l = c->l;
    int one = 1;
    unsigned user_timeout = (unsigned)l->conf->heartbeat_ms * (l->conf->heartbeat_misses + 1);
    c->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout) != 0 ||
        (connect(c->fd, to->ai_addr, (socklen_t)to->ai_addrlen) != 0 && errno != EINPROGRESS)) {
        log_debug("link: dial failed peer=%s error=\"%s\"", c->peer, strerror(errno));
        conn_fail(c, NODES_CONNECTION_REFUSED);
        return;
    }
    c->state = CONN_CONNECTING;
    if (conn_watch(c) != 0)
        conn_fail(c, NODES_CONNECTION_REFUSED);
}

static void
on_resolved(int result, struct evutil_addrinfo *list, void *arg)
{
    struct conn *c = arg;
    c->resolving = NULL;
    if (result == EVUTIL_EAI_CANCEL)
        return;                              /* the connection is being freed */
    if (c->state == CONN_RESOLVING) {
        if (result != 0 || list == NULL) {
            log_debug("link: dial failed peer=%s error=\"%s\"", c->peer, evutil_gai_strerror(result));
            conn_fail(c, NODES_CONNECTION_REFUSED);
        } else {
            connect_to(c, list);
        }
    }
    if (list != NULL)
        evutil_freeaddrinfo(list);
}

uint64_t
dial_start(struct link_worker *l, const struct node_id *to)
{
    struct conn *c = conn_new(l, -1, true, to->text);
    if (c == NULL)
        return 0;
    (void)loop_timer_set(l->loop, &c->timer, loop_now_ns(l->loop) + (uint64_t)l->conf->handshake_ms * CLOCK_NS_PER_MS);
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)to->port);
    struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP,
                                     .ai_flags = EVUTIL_AI_NUMERICHOST | EVUTIL_AI_NUMERICSERV }, *list = NULL;
    if (evutil_getaddrinfo(to->host, port, &hints, &list) == 0 && list != NULL) {
        connect_to(c, list);
        evutil_freeaddrinfo(list);
        return c->id;
    }
    hints.ai_flags = EVUTIL_AI_NUMERICSERV;
    struct evdns_getaddrinfo_request *request = evdns_getaddrinfo(l->dns, to->host, port, &hints, on_resolved, c);
    if (c->state == CONN_RESOLVING)          /* not answered already, from the hosts file */
        c->resolving = request;
    return c->id;
}

void
dial_cancel(struct conn *c)
{
    if (c->resolving != NULL)
        evdns_getaddrinfo_cancel(c->resolving);
    c->resolving = NULL;
}
