/*
 * raw.c - see raw.h.
 */
#include "raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit.h"
#include "wire/system.h"

int
raw_connect(struct node *to)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(to->conf.node.port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int window = 65536;               /* and not what the kernel thinks best: tests that do not read want to know how much waits */
    CU_ASSERT_FATAL(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window) == 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0);       /* the backlog takes it */
    CU_ASSERT_EQUAL_FATAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void
raw_write(struct world *w, int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t until = world_patience();
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n > 0)
            at += n, len -= (size_t)n;
        else if (errno != EAGAIN)
            return;                   /* the other side has had enough: the test looks for that */
        else
            CU_ASSERT_FATAL(world_turn(w, until));
    }
}

bool
raw_is_closed(int fd)
{
    uint8_t bytes[65536];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
        ;
    return n == 0 || errno != EAGAIN;
}

static void
read_exactly(struct world *w, int fd, uint8_t *out, size_t len)
{
    size_t at = 0;
    uint64_t until = world_patience();
    while (at < len) {
        ssize_t n = recv(fd, out + at, len - at, 0);
        CU_ASSERT_FATAL(n > 0 || (n < 0 && errno == EAGAIN));
        if (n > 0)
            at += (size_t)n;
        else
            CU_ASSERT_FATAL(world_turn(w, until));
    }
}

void
raw_begin(struct raw *r, struct node *to, const char *id)
{
    static uint64_t lives = 5000;
    struct world *w = to->world;
    struct hs_hello hello = { .version_min = HS_VERSION, .version_max = HS_VERSION, .secret_count = 1, .incarnation = ++lives, .wall_ms = clock_wall_ms(),
                              .secret_ids = { WORLD_SECRET } };
    uint8_t h1[HS_MAX], h2[HS_MAX], h3[HS_PROOF_LEN], h4[HS_PROOF_LEN], secret[32];
    struct hs_keys keys;
    *r = (struct raw){ .to = to, .fd = raw_connect(to) };
    buf_init(&r->in, 0);
    buf_init(&r->out, 0);
    memset(secret, 's', sizeof secret);
    memset(hello.nonce, (int)(lives % 251), sizeof hello.nonce);
    hs_cluster_tag(to->conf.cluster, hello.cluster_tag);
    CU_ASSERT_EQUAL_FATAL(node_id_parse(id, strlen(id), &hello.node, NULL), 0);
    size_t h1_len = hs_hello_encode(&hello, h1);
    raw_write(w, r->fd, h1, h1_len);
    read_exactly(w, r->fd, h2, 8);
    int h2_len = hs_length(h2, 8, HS_CHALLENGE, NULL);
    CU_ASSERT_FATAL(h2_len > 8);
    read_exactly(w, r->fd, h2 + 8, (size_t)h2_len - 8);
    CU_ASSERT_EQUAL_FATAL(hs_derive(h1, h1_len, h2, (size_t)h2_len, NULL, secret, sizeof secret, &keys, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(hs_proof_i(&keys, h3), 0);
    raw_write(w, r->fd, h3, sizeof h3);
    read_exactly(w, r->fd, h4, sizeof h4);
    CU_ASSERT_EQUAL_FATAL(hs_proof_check_a(&keys, h3, h4), 0);
    CU_ASSERT_EQUAL_FATAL(frame_sealer_new(keys.data_ia, &r->sealer), 0);
    CU_ASSERT_EQUAL_FATAL(frame_opener_new(keys.data_ai, &r->opener), 0);
}

void
raw_end(struct raw *r)
{
    if (r->fd >= 0)
        (void)close(r->fd);
    r->fd = -1;
    frame_sealer_free(&r->sealer);
    frame_opener_free(&r->opener);
    buf_fini(&r->in);
    buf_fini(&r->out);
}

void
raw_message(struct raw *r, const struct envelope *e, const void *body)
{
    const uint8_t *at = body;
    size_t prefix = (e->flags & ENVELOPE_PIECE) != 0 ? WIRE_PIECE_PREFIX : 0;
    CU_ASSERT_EQUAL_FATAL(frame_add2(r->sealer, &r->out, e, at, at + prefix, e->body_len - prefix), 0);
}

void
raw_flush(struct raw *r)
{
    CU_ASSERT_EQUAL_FATAL(frame_seal(r->sealer, &r->out), 0);
    raw_write(r->to->world, r->fd, buf_data(&r->out), buf_len(&r->out));
    buf_clear(&r->out);
}

void
raw_lead(struct raw *r)
{
    struct buf body;
    buf_init(&body, 0);
    CU_ASSERT_EQUAL_FATAL(sys_behaviors_encode(NULL, 0, &body), 0);
    struct envelope e = { .kind = KIND_BEHAVIORS, .slot = SLOT_LINK, .body_len = (uint32_t)buf_len(&body) };
    raw_message(r, &e, buf_data(&body));
    buf_fini(&body);
    raw_flush(r);
}

size_t
raw_read(struct raw *r, uint8_t type, uint8_t kind)
{
    size_t found = 0;
    struct frame_view v;
    for (;;) {
        uint8_t *room;
        CU_ASSERT_EQUAL_FATAL(buf_reserve(&r->in, 65536, &room), 0);
        ssize_t n = recv(r->fd, room, 65536, 0);
        if (n <= 0)
            break;
        buf_commit(&r->in, (size_t)n);
    }
    while (frame_open(r->opener, buf_data(&r->in), buf_len(&r->in), &v, NULL) == 1) {
        struct envelope e;
        const uint8_t *body;
        found += kind == 0 && v.type == type;
        for (size_t at = 0; frame_next(&v, &at, &e, &body);)
            found += kind != 0 && e.kind == kind;
        buf_take(&r->in, v.total);
    }
    return found;
}
