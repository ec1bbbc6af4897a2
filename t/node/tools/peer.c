/*
 * peer.c - a node that does not keep the rules: speaks the handshake with a given secret, then does what it is told to do wrong.
 *
 *   peer [-k ID] [-c CLUSTER] [-n NODE] [-b ADDRESS] [-r REF] [-w MS] -s SECRET -p PORT TRICK     dials 127.0.0.1:PORT
 *   peer [-w MS] -l PORT TRICK                                                                   is dialled
 *
 * Lives here: the connection, the handshake kept to the rules, frames with a valid tag, what came of it in one line.
 * Never here: the tricks (strangers.c, frames.c, messages.c).
 * Runs in: a process of its own, started by the tests of t/node.
 *
 * On standard output, by what the other side did: `closed ms=N got=N` (since our last byte; bytes that came before), `open` (still, after MS),
 * `reply BYTES`, `error NX_E... TEXT`. Exit 0 unless it could not begin, so that the test judges the line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "peer.h"
#include "wire/system.h"
#include "wire/wire.h"

enum { ANSWER_MS = 5000 };

void
peer_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "peer: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(2);
}

uint64_t
peer_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void
peer_sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 }, NULL);
}

/* ---------------------------------------------------------------- bytes */

/* A side that has closed is no failure: what comes of it is read afterwards. */
void
peer_write(struct peer *p, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = send(p->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        at += n;
        len -= (size_t)n;
    }
    p->last_write_ms = peer_now_ms();
}

/* 1 = more bytes, 0 = none until then, -1 = closed. */
int
peer_fill(struct peer *p, uint64_t until_ms)
{
    uint8_t *room;
    for (;;) {
        uint64_t now = peer_now_ms();
        struct pollfd f = { .fd = p->fd, .events = POLLIN };
        int got = poll(&f, 1, now < until_ms ? (int)(until_ms - now) : 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        if (buf_reserve(&p->in, 65536, &room) != 0)
            peer_die("out of memory");
        ssize_t n = recv(p->fd, room, 65536, 0);
        if (n <= 0)
            return -1;
        buf_commit(&p->in, (size_t)n);
        p->got += (size_t)n;
        return 1;
    }
}

/* How it ends, in a line. */
void
peer_end(struct peer *p)
{
    uint64_t until = peer_now_ms() + p->patience_ms;
    int got;
    while ((got = peer_fill(p, until)) > 0)
        buf_clear(&p->in);
    if (got == 0)
        printf("open\n");
    else
        printf("closed ms=%" PRIu64 " got=%zu\n", peer_now_ms() - p->last_write_ms, p->got);
}

static void
need(struct peer *p, size_t len, const char *what)
{
    uint64_t until = peer_now_ms() + p->patience_ms;
    while (buf_len(&p->in) < len) {
        if (peer_fill(p, until) <= 0) {
            printf("closed before %s got=%zu\n", what, p->got);
            exit(0);
        }
    }
}

void
peer_dial(struct peer *p)
{
    struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET, .sin_port = htons(p->port) };
    int one = 1;
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    if (inet_pton(AF_INET, p->from, &from.sin_addr) != 1)
        peer_die("-b %s is no address", p->from);
    if (p->fd >= 0)
        close(p->fd);
    buf_clear(&p->in);
    p->got = 0;
    p->sequence = 0;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&from, sizeof from) != 0 || connect(p->fd, (struct sockaddr *)&to, sizeof to) != 0)
        peer_die("127.0.0.1:%u: %s", p->port, strerror(errno));
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->last_write_ms = peer_now_ms();
}

/* ---------------------------------------------------------------- the handshake, as it should be */

void
peer_hello(struct peer *p)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    struct hs_hello h = { .version_min = HS_VERSION, .version_max = HS_VERSION, .secret_count = 1, .secret_ids = { p->secret_id },
                          .wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000 + p->wall_ahead_ms,
                          .incarnation = p->incarnation };
    struct base_error why;
    if (node_id_parse(p->name, strlen(p->name), &h.node, &why) != 0)
        peer_die("%s", why.text);
    if (RAND_bytes(h.nonce, sizeof h.nonce) != 1)
        peer_die("no random bytes");
    hs_cluster_tag(p->cluster, h.cluster_tag);
    p->h1_len = hs_hello_encode(&h, p->h1);
}

void
peer_challenge(struct peer *p)
{
    need(p, 8, "H2");
    struct base_error why;
    int len = hs_length(buf_data(&p->in), buf_len(&p->in), HS_CHALLENGE, &why);
    if (len <= 0)
        peer_die("H2: %s", why.text);
    need(p, (size_t)len, "H2");
    p->h2_len = (size_t)len;
    memcpy(p->h2, buf_data(&p->in), p->h2_len);
    buf_take(&p->in, p->h2_len);
    if (hs_derive(p->h1, p->h1_len, p->h2, p->h2_len, NULL, p->secret, p->secret_len, &p->keys, &why) != 0 || hs_proof_i(&p->keys, p->h3) != 0)
        peer_die("H3: %s", why.text);
}

void
peer_prove(struct peer *p)
{
    uint8_t h4[HS_PROOF_LEN];
    peer_write(p, p->h3, sizeof p->h3);
    need(p, HS_PROOF_LEN, "H4");
    memcpy(h4, buf_data(&p->in), sizeof h4);
    buf_take(&p->in, sizeof h4);
    if (hs_proof_check_a(&p->keys, p->h3, h4) != 0)
        peer_die("H4: wrong proof");
    memcpy(p->key, p->keys.data_ia, sizeof p->key);
    frame_opener_free(&p->opener);
    if (frame_opener_new(p->keys.data_ai, &p->opener) != 0)
        peer_die("out of memory");
}

/* The whole way. The other side chooses the link, if its id is smaller, and says so with its first message. */
void
peer_up(struct peer *p)
{
    struct frame_view v;
    peer_dial(p);
    peer_hello(p);
    peer_write(p, p->h1, p->h1_len);
    peer_challenge(p);
    peer_prove(p);
    if (peer_next_frame(p, peer_now_ms() + p->patience_ms, &v) != 1)
        peer_die("the link was not chosen");
    buf_take(&p->in, v.total);
}

/* ---------------------------------------------------------------- frames */

/* 1 = one is in *v (to be taken from p->in), 0 = none until then, -1 = closed. */
int
peer_next_frame(struct peer *p, uint64_t until_ms, struct frame_view *v)
{
    struct base_error why;
    for (;;) {
        int got = frame_open(p->opener, buf_data(&p->in), buf_len(&p->in), v, &why);
        if (got < 0)
            peer_die("a frame of theirs: %s", why.text);
        if (got == 1)
            return 1;
        got = peer_fill(p, until_ms);
        if (got <= 0)
            return got;
    }
}

/* The frame as it should be; what is wrong with it is in its parts. The tag is right. */
size_t
peer_seal(struct peer *p, uint8_t type, uint16_t count, const void *payload, size_t len, uint8_t *out)
{
    unsigned tag_len = FRAME_TAG;
    wire_put32(out, (uint32_t)(12 + len + FRAME_TAG));
    out[4] = type;
    out[5] = p->frame_flags;
    wire_put16(out + 6, count);
    wire_put64(out + 8, p->sequence++);
    memcpy(out + FRAME_HEADER, payload, len);
    if (HMAC(EVP_sha256(), p->key, sizeof p->key, out, FRAME_HEADER + len, out + FRAME_HEADER + len, &tag_len) == NULL)
        peer_die("no HMAC");
    return FRAME_HEADER + len + FRAME_TAG;
}

void
peer_frame(struct peer *p, uint8_t type, uint16_t count, const void *payload, size_t len)
{
    static uint8_t frame[FRAME_MAX];
    peer_write(p, frame, peer_seal(p, type, count, payload, len, frame));
}

/* One message, header and body. */
size_t
peer_message(const struct envelope *e, const void *body, uint8_t *out)
{
    envelope_encode(e, out);
    if (e->body_len > 0)
        memcpy(out + WIRE_HEADER, body, e->body_len);
    return WIRE_HEADER + (size_t)e->body_len;
}

void
peer_send(struct peer *p, const struct envelope *e, const void *body)
{
    static uint8_t message[FRAME_MAX_PAYLOAD];
    if (WIRE_HEADER + (size_t)e->body_len > sizeof message)
        peer_die("a body of %u bytes", e->body_len);
    peer_frame(p, FRAME_DATA, 1, message, peer_message(e, body, message));
}

static void
say_answer(const struct envelope *e, const uint8_t *body)
{
    struct sys_error error;
    if (e->kind == KIND_ERROR && sys_error_decode(body, e->body_len, &error, NULL) == 0)
        printf("error %s %.*s\n", nx_errname(error.code), (int)error.text.len, error.text.at);
    else
        printf("reply %u\n", e->body_len);
}

/* What answers that call, in a line. */
void
peer_answer(struct peer *p, uint64_t call_id)
{
    uint64_t until = peer_now_ms() + ANSWER_MS;
    struct frame_view v;
    struct envelope e;
    const uint8_t *body;
    int got;
    while ((got = peer_next_frame(p, until, &v)) == 1) {
        for (size_t at = 0; frame_next(&v, &at, &e, &body);) {
            if (envelope_is_answer(e.kind) && e.call_id == call_id) {
                say_answer(&e, body);
                return;
            }
        }
        buf_take(&p->in, v.total);
    }
    printf(got == 0 ? "no answer\n" : "closed before an answer\n");
}

struct envelope
peer_envelope(struct peer *p, uint8_t kind, size_t len)
{
    return (struct envelope){ .kind = kind, .slot = p->target.slot, .serial = p->target.serial, .generation = p->target.generation,
                              .call_id = ++p->call_id, .remaining_ms = ANSWER_MS, .body_len = (uint32_t)len };
}

/* The link still does its work: a call, and its reply. */
void
peer_call(struct peer *p)
{
    static const uint8_t nil = 0xc0;
    struct envelope e = peer_envelope(p, KIND_CALL, 1);
    peer_send(p, &e, &nil);
    peer_answer(p, e.call_id);
}

/* ---------------------------------------------------------------- being dialled */

static void
listen_and(struct peer *p, const char *trick)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(p->port) };
    uint64_t begin = peer_now_ms();
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 16) != 0)
        peer_die("listen on 127.0.0.1:%u: %s", p->port, strerror(errno));
    printf("listening\n");
    fflush(stdout);
    for (;;) {
        uint64_t now = peer_now_ms() - begin;
        struct pollfd f = { .fd = fd, .events = POLLIN };
        if (now >= p->patience_ms || poll(&f, 1, (int)(p->patience_ms - now)) <= 0)
            return;
        p->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        printf("dialled ms=%" PRIu64 "\n", peer_now_ms() - begin);
        if (strcmp(trick, "reflect") == 0 && peer_fill(p, peer_now_ms() + 1000) > 0) {
            peer_write(p, buf_data(&p->in), buf_len(&p->in));
            (void)peer_fill(p, peer_now_ms() + 1000);
        }
        fflush(stdout);
        buf_clear(&p->in);
        close(p->fd);
    }
}

/* ---------------------------------------------------------------- the command line */

static void
read_secret(struct peer *p, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, p->secret, sizeof p->secret) : -1;
    if (n <= 0)
        peer_die("%s: %s", path, strerror(errno));
    while (n > 0 && (p->secret[n - 1] == '\n' || p->secret[n - 1] == '\r'))     /* as noexd reads it */
        n--;
    p->secret_len = (size_t)n;
    close(fd);
}

static uint16_t
port_of(const char *text)
{
    long n = strtol(text, NULL, 10);
    if (n < 1 || n > 65535)
        peer_die("%s is no port", text);
    return (uint16_t)n;
}

int
main(int argc, char **argv)
{
    struct peer p = { .fd = -1, .secret_id = 1, .cluster = "noexd", .name = "z@127.0.0.1:1", .from = "127.0.0.1", .patience_ms = 3000 };
    struct base_error why;
    bool is_listening = false;
    int o;
    while ((o = getopt(argc, argv, "k:c:n:b:r:w:s:p:l:")) != -1) {
        switch (o) {
        case 'k': p.secret_id = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'c': p.cluster = optarg; break;
        case 'n': p.name = optarg; break;
        case 'b': p.from = optarg; break;
        case 'w': p.patience_ms = strtoul(optarg, NULL, 10); break;
        case 's': read_secret(&p, optarg); break;
        case 'l': is_listening = true;         /* fallthrough */
        case 'p': p.port = port_of(optarg); break;
        case 'r':
            if (wire_ref_from_text(optarg, strlen(optarg), &p.target, &why) != 0)
                peer_die("%s", why.text);
            break;
        default: peer_die("wrong usage");
        }
    }
    if (optind + 1 != argc || p.port == 0)
        peer_die("which trick, at which port?");
    if (RAND_bytes((uint8_t *)&p.incarnation, sizeof p.incarnation) != 1 || RAND_bytes((uint8_t *)&p.call_id, 4) != 1)
        peer_die("no random bytes");
    buf_init(&p.in, 0);
    if (is_listening)
        listen_and(&p, argv[optind]);
    else if (!strangers_trick(&p, argv[optind]) && !frames_trick(&p, argv[optind]) && !messages_trick(&p, argv[optind]))
        peer_die("unknown trick %s", argv[optind]);
    if (p.fd >= 0)
        close(p.fd);
    frame_opener_free(&p.opener);
    buf_fini(&p.in);
    return 0;
}
