/*
 * dial.c - opening a connection to a node: resolve, connect, with one limit on both.
 *
 * Lives here: names through evdns (the loop is never blocked), the addresses of a name one after the other, non-blocking connect.
 * Never here: whom to dial and when: cluster/ says so.
 * Runs in: the link worker.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>

#include "base/clock.h"
#include "link/link_priv.h"

/* evdns answers a question that was cancelled too, in a later turn, when its connection has been freed. So the question has a life of its own. */
struct resolve { struct conn *conn; struct evdns_getaddrinfo_request *request; };

static int
connect_to(struct conn *c, const struct evutil_addrinfo *to)
{
    struct link_worker *l = c->l;
    int one = 1;
    unsigned user_timeout = (unsigned)l->conf->heartbeat_ms * (l->conf->heartbeat_misses + 1);
    c->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout) != 0 ||
        (connect(c->fd, to->ai_addr, (socklen_t)to->ai_addrlen) != 0 && errno != EINPROGRESS)) {
        c->dial_error = errno;
        return NX_ESYS;
    }
    c->state = CONN_CONNECTING;
    return connection_watch(c);
}

static void
leave_address(struct conn *c)
{
    if (c->read_event != NULL)
        event_free(c->read_event);
    if (c->write_event != NULL)
        event_free(c->write_event);
    c->read_event = c->write_event = NULL;
    c->is_writing = false;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

void
dial_next(struct conn *c)
{
    leave_address(c);
    while (c->address != NULL) {
        const struct evutil_addrinfo *to = c->address;
        c->address = c->address->ai_next;
        if (connect_to(c, to) == 0)
            return;
        leave_address(c);
    }
    if (c->dial_error != 0)                  /* once for all addresses of the node; there is one dial in a back-off */
        log_info("link: dial failed peer=%s error=\"%s\"", c->peer, strerror(c->dial_error));
    connection_fail(c, NODES_CONNECTION_REFUSED);
}

static void
on_resolved(int result, struct evutil_addrinfo *list, void *arg)
{
    struct resolve *r = arg;
    struct conn *c = r->conn;
    free(r);
    if (c == NULL || c->state != CONN_RESOLVING) {   /* freed, or over: nobody wants to know */
        if (c != NULL)
            c->resolve = NULL;
        if (list != NULL)
            evutil_freeaddrinfo(list);
        return;
    }
    c->resolve = NULL;
    if (result != 0 || list == NULL)
        log_info("link: dial failed peer=%s error=\"%s\"", c->peer, evutil_gai_strerror(result));
    c->addresses = c->address = list;
    dial_next(c);
}

static void
resolve(struct conn *c, const char *host, const char *port, const struct evutil_addrinfo *hints)
{
    struct resolve *r = calloc(1, sizeof *r);
    if (r == NULL) {
        connection_fail(c, NODES_CONNECTION_REFUSED);
        return;
    }
    r->conn = c;
    c->resolve = r;
    struct evdns_getaddrinfo_request *request = evdns_getaddrinfo(c->l->dns, host, port, hints, on_resolved, r);
    if (c->resolve != NULL)                  /* not answered already, from the hosts file: then r is gone */
        r->request = request;
}

uint64_t
dial_start(struct link_worker *l, const struct node_id *to)
{
    struct conn *c = connection_new(l, -1, true, to->text);
    if (c == NULL)
        return 0;
    uint64_t id = c->id;
    if (loop_timer_set(l->loop, &c->timer, loop_now_ns(l->loop) + (uint64_t)l->conf->handshake_ms * CLOCK_NS_PER_MS) != 0) {
        connection_free(c);
        return 0;
    }
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)to->port);
    struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP,
                                     .ai_flags = EVUTIL_AI_NUMERICHOST | EVUTIL_AI_NUMERICSERV }, *list = NULL;
    if (evutil_getaddrinfo(to->host, port, &hints, &list) == 0 && list != NULL) {
        c->addresses = c->address = list;
        dial_next(c);
        return id;
    }
    hints.ai_flags = EVUTIL_AI_NUMERICSERV;
    resolve(c, to->host, port, &hints);
    return id;
}

void
dial_forget(struct conn *c)
{
    if (c->resolve != NULL) {
        c->resolve->conn = NULL;             /* on_resolved frees it */
        if (!c->l->is_freeing)               /* then the resolver ends all questions itself */
            evdns_getaddrinfo_cancel(c->resolve->request);
        c->resolve = NULL;
    }
    if (c->addresses != NULL)
        evutil_freeaddrinfo(c->addresses);
    c->addresses = c->address = NULL;
}
