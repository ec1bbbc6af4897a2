/*
 * client.c - the other end of the control socket.
 *
 * Lives here: the connection, waiting with a deadline, answers and events as values.
 * Never here: commands and their arguments; tables for people (print.c).
 * Runs in: noexctl.
 */
#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/base.h"
#include "base/clock.h"
#include "control/rpc.h"
#include "value/value.h"
#include "wire/ref.h"

enum { READ_CHUNK = 64 << 10, ANSWER_MAX = 64 << 20 };

struct client {
    int fd;
    uint32_t next_id;
    struct buf in;
    struct rpc_framer framer;
    struct buf events;                     /* that came while an answer was waited for: whole messages, one behind the other */
    struct buf current;                    /* what the last value points into */
    struct value_zone *zone;
};

/* A listing may be long: its bound is that of a message here, and its depth that of a body: what stands around it is taken apart
 * without decoding. */
static const struct value_limits limits = { .max_body = ANSWER_MAX, .max_depth = 32, .max_objects = UINT32_MAX,
                                            .max_pairs = UINT32_MAX };

int
client_fd(const struct client *c)
{
    return c->fd;
}

/* ---------------------------------------------------------------- connecting */

static int
explain_denied(const char *path, const struct stat *st, struct base_error *why)
{
    const struct passwd *owner = getpwuid(st->st_uid);
    char number[16];
    (void)snprintf(number, sizeof number, "uid %u", (unsigned)st->st_uid);
    return base_error_set(why, NX_ESYS, path, "socket %s belongs to %s, mode %04o: run as that user or set control { mode }", path,
                          owner != NULL ? owner->pw_name : number, (unsigned)st->st_mode & 07777u);
}

static int
explain_connect(const char *path, int errnum, struct base_error *why)
{
    struct stat st;
    bool is_there = stat(path, &st) == 0;
    if (is_there && !S_ISSOCK(st.st_mode))
        return base_error_set(why, NX_ESYS, path, "%s is not a socket", path);
    if (is_there && (errnum == EACCES || errnum == EPERM))
        return explain_denied(path, &st, why);
    if (errnum == ENOENT)
        return base_error_set(why, NX_ESYS, path,
                              "no control socket %s: is noexd running with this path? (-s SOCKET chooses another)", path);
    if (errnum == ECONNREFUSED)
        return base_error_set(why, NX_ESYS, path, "nobody listens on %s: noexd has ended; start it again", path);
    if (errnum == EACCES || errnum == EPERM)
        return base_error_set(why, NX_ESYS, path, "control socket %s: permission denied; run as the user of noexd", path);
    return base_error_set(why, NX_ESYS, path, "control socket %s: %s", path, strerror(errnum));
}

/* What ends a wait besides the gate; -1 = none. */
struct stops { int fd, out_fd; };
static const struct stops no_stops = { -1, -1 };

static int
wait_until(int fd, short events, struct stops stops, uint64_t deadline_ns)
{
    for (;;) {
        /* Nothing is asked of the output: that its reader has gone is told unasked. */
        struct pollfd fds[3] = { { .fd = fd, .events = events }, { .fd = stops.fd, .events = POLLIN }, { .fd = stops.out_fd } };
        uint64_t now = clock_now_ns();
        if (clock_is_past(deadline_ns, now))
            return NX_ETIMEDOUT;
        uint32_t left = clock_left_ms(deadline_ns, now);
        int n = poll(fds, BASE_COUNT(fds), deadline_ns == 0 ? -1 : left > INT32_MAX ? INT32_MAX : (int)left);
        if (n < 0 && errno != EINTR)
            return NX_ESYS;
        if (n > 0 && (fds[1].revents != 0 || (fds[2].revents & (POLLERR | POLLHUP)) != 0))
            return NX_ECANCELED;
        if (n > 0)
            return 0;
    }
}

static int
connect_path(int fd, const char *path, uint64_t deadline_ns, struct base_error *why)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof to.sun_path)
        return base_error_set(why, NX_EINVAL, path, "control socket %s: the path must have 1 to %zu bytes", path,
                              sizeof to.sun_path - 1);
    memcpy(to.sun_path, path, len);
    /* A Unix socket whose backlog is full answers EAGAIN, and tells nobody when there is room again. */
    while (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        int errnum = errno;
        if (errnum == EINTR || errnum == EAGAIN) {
            if (clock_is_past(deadline_ns, clock_now_ns()))
                return base_error_set(why, NX_ETIMEDOUT, path, "control socket %s: noexd is too busy to take the connection",
                                      path);
            (void)poll(NULL, 0, 10);
            continue;
        }
        return explain_connect(path, errnum, why);
    }
    return 0;
}

int
client_open(const char *path, int64_t timeout_ms, struct client **out, struct base_error *why)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL || value_zone_new(&c->zone) != 0) {
        free(c);
        return base_error_set(why, NX_ENOMEM, NULL, "out of memory");
    }
    buf_init(&c->in, ANSWER_MAX);
    buf_init(&c->events, ANSWER_MAX);
    buf_init(&c->current, ANSWER_MAX);
    int err;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        err = base_error_sys(why, errno, "socket", NULL);
    else
        err = connect_path(c->fd, path, clock_deadline(clock_now_ns(), timeout_ms), why);
    if (err != 0) {
        client_close(&c);
        return err;
    }
    *out = c;
    return 0;
}

void
client_close(struct client **client)
{
    struct client *c = *client;
    if (c == NULL)
        return;
    *client = NULL;
    if (c->fd >= 0)
        (void)close(c->fd);
    buf_fini(&c->in);
    buf_fini(&c->events);
    buf_fini(&c->current);
    value_zone_free(&c->zone);
    free(c);
}

/* ---------------------------------------------------------------- bytes */

static int
broken(struct base_error *why)
{
    return base_error_set(why, NX_ESYS, NULL, "noexd closed the connection");
}

static int
send_all(struct client *c, const struct buf *b, uint64_t deadline_ns, struct base_error *why)
{
    size_t at = 0;
    while (at < buf_len(b)) {
        ssize_t n = send(c->fd, buf_data(b) + at, buf_len(b) - at, MSG_NOSIGNAL);
        if (n >= 0) {
            at += (size_t)n;
            continue;
        }
        int errnum = errno;
        if (errnum == EINTR)
            continue;
        /* Refused in the middle of a request: the reason may be waiting to be read. */
        if (errnum == EPIPE || errnum == ECONNRESET)
            return 0;
        if (errnum != EAGAIN)
            return base_error_sys(why, errnum, "send", NULL);
        int err = wait_until(c->fd, POLLOUT, no_stops, deadline_ns);
        if (err != 0)
            return base_error_set(why, err, NULL, "noexd did not take the request in time");
    }
    return 0;
}

static int
receive(struct client *c, struct base_error *why)
{
    uint8_t *room;
    int err = buf_reserve(&c->in, READ_CHUNK, &room);
    if (err != 0)
        return base_error_set(why, err, NULL, "%s: the answer of noexd", nx_strerror(err));
    ssize_t n = recv(c->fd, room, READ_CHUNK, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return broken(why);
    buf_commit(&c->in, (size_t)n);
    return 0;
}

/* 1 = a whole message is in c->current, and taken apart in *m; else 0 (no time left, or stopped) or an error. */
static int
next_message(struct client *c, uint64_t deadline_ns, struct stops stops, struct rpc_message *m, struct base_error *why)
{
    for (;;) {
        size_t len;
        int got = buf_len(&c->in) > 0 ? rpc_frame(&c->framer, buf_data(&c->in), buf_len(&c->in), ANSWER_MAX, &len, why) : 0;
        if (got < 0)
            return got;
        if (got == 1) {
            buf_clear(&c->current);
            int err = buf_put(&c->current, buf_data(&c->in), len);
            buf_take(&c->in, len);
            if (err == 0)
                err = rpc_parse(buf_data(&c->current), len, m, why);
            return err == 0 ? 1 : err;
        }
        int err = wait_until(c->fd, POLLIN, stops, deadline_ns);
        if (err == NX_ETIMEDOUT || err == NX_ECANCELED)
            return 0;
        err = err == 0 ? receive(c, why) : base_error_sys(why, errno, "poll", NULL);
        if (err != 0)
            return err;
    }
}

static int
decode(struct client *c, struct rpc_slice packed, nx_value *out, struct base_error *why)
{
    value_zone_clear(c->zone);
    return value_decode(c->zone, packed.at, packed.len, &limits, out, why);
}

/* ---------------------------------------------------------------- requests */

static int
read_error(struct client *c, struct rpc_slice packed, struct base_error *why)
{
    nx_value v;
    int code = 0;
    int64_t app_code = 0, timeout_ms = 0;
    const char *text = "", *subject = "";
    struct base_error ignored;
    int err = decode(c, packed, &v, &ignored);
    if (err != 0)
        return base_error_set(why, NX_EBADMSG, NULL, "noexd answered with an error that cannot be read");
    err = nx_unpack(v, "{s:i,s:s,s?s,s?I,s?I}", "code", &code, "text", &text, "subject", &subject, "appCode", &app_code,
                    "timeoutMs", &timeout_ms);
    if (err != 0 || !base_error_is_known(code))
        return base_error_set(why, NX_EBADMSG, NULL, "noexd answered with an error that cannot be read");
    base_error_set(why, code, subject, "%s", text);
    if (why != NULL) {
        why->app_code = app_code;
        why->timeout_ms = timeout_ms;
    }
    return code;
}

static int
wait_answer(struct client *c, uint32_t id, uint64_t deadline_ns, nx_value *result, struct base_error *why)
{
    for (;;) {
        struct rpc_message m;
        int got = next_message(c, deadline_ns, no_stops, &m, why);
        if (got < 0)
            return got;
        if (got == 0)
            return base_error_set(why, NX_ETIMEDOUT, NULL, "noexd did not answer in time");
        if (m.kind == RPC_NOTIFICATION) {
            if (buf_put(&c->events, buf_data(&c->current), buf_len(&c->current)) != 0)
                return base_error_set(why, NX_EFULL, NULL, "too many events while waiting for an answer");
        } else if (m.kind == RPC_RESPONSE && m.id == id) {
            return m.is_error ? read_error(c, m.error, why) : decode(c, m.result, result, why);
        }                                  /* else: the late answer to a request that was given up */
    }
}

int
client_request(struct client *c, const char *method, const struct buf *params, int64_t timeout_ms, nx_value *result,
               struct base_error *why)
{
    uint64_t deadline_ns = clock_deadline(clock_now_ns(), timeout_ms);
    uint32_t id = c->next_id++;
    struct buf request;
    buf_init(&request, ANSWER_MAX);
    int err = rpc_put_request(&request, id, method, params);
    if (err != 0)
        base_error_set(why, err, NULL, "%s: the request", nx_strerror(err));
    else
        err = send_all(c, &request, deadline_ns, why);
    buf_fini(&request);
    return err != 0 ? err : wait_answer(c, id, deadline_ns, result, why);
}

/* The oldest event that was put by. */
static int
take_kept(struct client *c, struct rpc_message *m, struct base_error *why)
{
    struct rpc_framer f = { 0 };
    size_t len;
    int got = buf_len(&c->events) > 0 ? rpc_frame(&f, buf_data(&c->events), buf_len(&c->events), ANSWER_MAX, &len, why) : 0;
    if (got != 1)
        return got;
    buf_clear(&c->current);
    int err = buf_put(&c->current, buf_data(&c->events), len);
    buf_take(&c->events, len);
    if (err == 0)
        err = rpc_parse(buf_data(&c->current), buf_len(&c->current), m, why);
    return err == 0 ? 1 : err;
}

int
client_next_event(struct client *c, int64_t timeout_ms, int stop_fd, int out_fd, nx_value *event, struct base_error *why)
{
    struct stops stops = { stop_fd, out_fd };
    uint64_t deadline_ns = clock_deadline(clock_now_ns(), timeout_ms);
    for (;;) {
        struct rpc_message m;
        int got = take_kept(c, &m, why);
        if (got == 0)
            got = next_message(c, deadline_ns, stops, &m, why);
        if (got != 1)
            return got;
        if (m.kind != RPC_NOTIFICATION || m.params.len == 0)
            continue;
        int err = decode(c, m.params, event, why);
        return err == 0 ? 1 : err;
    }
}

/* ---------------------------------------------------------------- refs */

static int
no_encode(nx_ref ref, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len)
{
    (void)ref, (void)out, (void)len;
    return NX_EINVAL;
}

static int
no_decode(const uint8_t *body, size_t len, nx_ref *out, struct base_error *why)
{
    (void)body, (void)len, (void)out;
    return base_error_set(why, NX_EINVAL, NULL, "refs have no meaning outside a node");
}

static int
ref_to_text(const uint8_t *body, size_t len, char *out, size_t size)
{
    struct wire_ref ref;
    int err = wire_ref_decode(body, len, &ref, NULL);
    return err != 0 ? err : wire_ref_to_text(&ref, out, size);
}

static int
ref_from_text(const char *text, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len, struct base_error *why)
{
    _Static_assert((int)WIRE_REF_MAX == (int)VALUE_EXT_REF_MAX, "one length of refs");
    struct wire_ref ref;
    int err = wire_ref_from_text(text, strlen(text), &ref, why);
    if (err == 0)
        *len = wire_ref_encode(&ref, out);
    return err;
}

void
client_install_ref_codec(void)
{
    static const struct value_ref_codec codec = { .encode = no_encode, .decode = no_decode, .to_text = ref_to_text,
                                                  .from_text = ref_from_text };
    value_set_ref_codec(&codec);
}
