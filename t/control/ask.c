/*
 * ask.c - the tests' side of the control socket.
 */
#include "ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "control/rpc.h"
#include "unit.h"
#include "value/value.h"

#define MUST(expr) ((expr) ? (void)0 : base_abort(#expr, __FILE__, __LINE__))

static char answer[1 << 20];
static struct base_error last;

struct client *
ask_open(const struct node *n)
{
    struct client *c = NULL;
    client_install_ref_codec();
    MUST(client_open(n->path, 5000, &c, &last) == 0);
    return c;
}

struct base_error *
ask_error(void)
{
    return &last;
}

static const char *
to_text(nx_value v)
{
    struct buf b;
    buf_init(&b, 0);
    MUST(value_to_json(v, 0, &b) == 0 && buf_len(&b) < sizeof answer);
    memcpy(answer, buf_data(&b), buf_len(&b));
    answer[buf_len(&b)] = '\0';
    buf_fini(&b);
    return answer;
}

const char *
ask(struct client *c, const char *method, const char *json)
{
    nx_packer p;
    nx_value result;
    value_packer_init(&p, 0);
    if (json != NULL)
        MUST(value_from_json(&p, json, strlen(json), NULL) == 0);
    last = (struct base_error){ 0 };
    int err = client_request(c, method, json != NULL ? &p.bytes : NULL, 10000, &result, &last);
    value_packer_fini(&p);
    if (err == 0)
        return to_text(result);
    (void)snprintf(answer, sizeof answer, "%s: %s", nx_errname(err), last.text);
    return answer;
}

const char *
ask_event(struct client *c, int64_t timeout_ms)
{
    nx_value event;
    int got = client_next_event(c, timeout_ms, -1, -1, &event, &last);
    MUST(got >= 0);
    return got == 1 ? to_text(event) : "";
}

int
raw_open(const struct node *n)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", n->path);
    MUST(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

void
raw_request(struct buf *out, uint32_t id, const char *method, const char *json)
{
    nx_packer p;
    value_packer_init(&p, 0);
    MUST(value_from_json(&p, json, strlen(json), NULL) == 0);
    MUST(rpc_put_request(out, id, method, &p.bytes) == 0);
    value_packer_fini(&p);
}

void
raw_send(int fd, const void *bytes, size_t len)
{
    for (size_t at = 0; at < len; ) {
        ssize_t n = send(fd, (const char *)bytes + at, len - at, MSG_NOSIGNAL);
        MUST(n > 0);
        at += (size_t)n;
    }
}

static void
show_slice(struct rpc_slice s, struct raw_answer *out)
{
    struct value_limits limits = { .max_body = 64 << 20, .max_depth = 32, .max_objects = UINT32_MAX, .max_pairs = UINT32_MAX };
    struct value_zone *zone = NULL;
    nx_value v;
    MUST(value_zone_new(&zone) == 0 && value_decode(zone, s.at, s.len, &limits, &v, NULL) == 0);
    (void)snprintf(out->json, sizeof out->json, "%s", to_text(v));
    value_zone_free(&zone);
}

int
raw_next(int fd, struct buf *in, struct raw_answer *out)
{
    for (;;) {
        struct rpc_framer f = { 0 };
        struct rpc_message m;
        size_t len;
        uint8_t *room;
        if (buf_len(in) > 0 && rpc_frame(&f, buf_data(in), buf_len(in), 64 << 20, &len, NULL) == 1) {
            MUST(rpc_parse(buf_data(in), len, &m, NULL) == 0);
            *out = (struct raw_answer){ .kind = (int)m.kind, .id = m.id, .is_error = m.is_error };
            show_slice(m.kind == RPC_NOTIFICATION ? m.params : m.is_error ? m.error : m.result, out);
            buf_take(in, len);
            return 1;
        }
        struct pollfd p = { .fd = fd, .events = POLLIN };
        MUST(poll(&p, 1, 10000) == 1);
        MUST(buf_reserve(in, 65536, &room) == 0);
        ssize_t n = recv(fd, room, 65536, 0);
        if (n <= 0)
            return 0;
        buf_commit(in, (size_t)n);
    }
}

bool
node_until(struct node *n, _Atomic uint32_t *what, uint32_t want)
{
    for (int i = 0; i < 5000 && atomic_load(what) < want; i++)
        node_order(n, ORDER_SYNC);
    return atomic_load(what) >= want;
}
