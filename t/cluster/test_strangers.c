/*
 * test_strangers.c - hostile and broken handshakes: torture A 1-16, row 22, M10. Each is refused by silence and a close after 200 +- 50 ms, or, where
 * nothing wrong was said, at the deadline.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "net.h"
#include "unit.h"
#include "wire/wire.h"

#define OK(net) do { if ((net)->faults > 0) CU_FAIL((net)->fault); } while (0)

static const char secret[] = "a secret for tests that is long enough";

static struct net *
one(void)
{
    struct net *net = net_new(2, 99);
    log_set_level(LOG_ERROR);
    net_start(net, 0);
    net_run(net, 10);
    return net;
}

static void
end(struct net *net)
{
    OK(net);
    CU_ASSERT_EQUAL(net->nodes[0].proved_count, 0);
    CU_ASSERT_EQUAL(nodes_count(net->nodes[0].config.nodes), 1);
    net_free(net);
    log_set_level(LOG_INFO);
}

static struct hs_hello
hello(struct net *net)
{
    struct hs_hello h = { .version_min = 1, .version_max = 1, .secret_count = 1, .incarnation = 77, .wall_ms = net->wall_ms,
                          .secret_ids = { 7 }, .node = net->nodes[1].id };
    memset(h.nonce, 0x5a, sizeof h.nonce);
    hs_cluster_tag("test", h.cluster_tag);
    return h;
}

/* Send it as a new connection; silence, and the end within 150 to 250 ms (and the way). */
static void
refused(struct net *net, const void *bytes, size_t len)
{
    int closed = net->raw_closed;
    size_t heard = net->raw_len;
    uint64_t conn = net_raw_open(net, 0, "127.0.0.1"), begin_ns = net->now_ns;

    CU_ASSERT_NOT_EQUAL_FATAL(conn, 0);
    net_raw_send(net, conn, bytes, len);
    net_run(net, 300);
    CU_ASSERT_EQUAL(net->raw_closed, closed + 1);
    CU_ASSERT_EQUAL(net->raw_len, heard);
    uint64_t took_ms = (net->raw_closed_ns - begin_ns) / CLOCK_NS_PER_MS;
    CU_ASSERT(took_ms >= 150 && took_ms <= 252);
    net_raw_close(net, conn);
    net_run(net, 5);
}

static void
refused_hello(struct net *net, const struct hs_hello *h)
{
    uint8_t bytes[HS_MAX];
    refused(net, bytes, hs_hello_encode(h, bytes));
}

UNIT(strangers, torture1_and_5_what_is_not_ours_is_refused_at_its_first_bytes)
{
    static const char *const others[] = { "\xff\xff\xff\xff", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                          "SSH-2.0-OpenSSH_9.2\r\n", "NXD2aaaaaaaaaaaa", "NXD1\x02zzzzzzzz", "NXD1\x03zzzzzzzz" };
    struct net *net = one();
    for (size_t i = 0; i < BASE_COUNT(others); i++)
        refused(net, others[i], strlen(others[i]));
    end(net);
}

UNIT(strangers, torture2_and_3_silence_and_one_byte_a_second_end_at_five_seconds)
{
    struct net *net = one();
    struct hs_hello h = hello(net);
    uint8_t bytes[HS_MAX];
    (void)hs_hello_encode(&h, bytes);
    uint64_t silent = net_raw_open(net, 0, "127.0.0.1"), slow = net_raw_open(net, 0, "127.0.0.1");
    CU_ASSERT(silent != 0 && slow != 0);
    for (int i = 0; i < 5; i++) {
        net_raw_send(net, slow, bytes + i, 1);
        net_run(net, 990);
    }
    CU_ASSERT_EQUAL(net->raw_closed, 0);
    net_run(net, 350);
    CU_ASSERT_EQUAL(net->raw_closed, 2);
    CU_ASSERT_EQUAL(net->raw_len, 0);
    net_raw_close(net, silent);
    net_raw_close(net, slow);
    end(net);
}

UNIT(strangers, torture4_and_row22_there_are_never_more_than_the_bounds_allow)
{
    struct net *net = one();
    unsigned kept = 0;
    for (int i = 0; i < 200; i++)
        kept += net_raw_open(net, 0, "127.0.0.1") != 0;
    CU_ASSERT_EQUAL(kept, 64);               /* trusted sources too: the total holds for all */
    net_run(net, 6000);
    CU_ASSERT_EQUAL(net->raw_closed, 64);
    kept = 0;
    for (int i = 0; i < 50; i++)
        kept += net_raw_open(net, 0, "192.0.2.1") != 0;
    CU_ASSERT_EQUAL(kept, 16);
    unsigned others = 0;
    for (int i = 0; i < 60; i++) {           /* above 16 in all, three of ten new ones are dropped */
        char source[32];
        (void)snprintf(source, sizeof source, "198.51.100.%d", i);
        others += net_raw_open(net, 0, source) != 0;
    }
    CU_ASSERT(others >= 30 && others <= 48);
    net_run(net, 6000);
    for (int i = 0; i < 5000; i++) {         /* more addresses than are remembered */
        char source[32];
        (void)snprintf(source, sizeof source, "2001:db8::%x", i);
        uint64_t conn = net_raw_open(net, 0, source);
        net_raw_close(net, conn);
        net_run(net, 2);
    }
    CU_ASSERT_NOT_EQUAL(net_raw_open(net, 0, "192.0.2.1"), 0);
    net_run(net, 6000);
    end(net);
}

UNIT(strangers, torture6_and_7_wrong_lengths_and_names_are_refused)
{
    static const uint16_t lengths[] = { 0, 5, 100, 368, 65535 };
    struct net *net = one();
    struct hs_hello h = hello(net);
    uint8_t bytes[HS_MAX];
    size_t len;

    for (size_t i = 0; i < BASE_COUNT(lengths); i++) {
        len = hs_hello_encode(&h, bytes);
        wire_put16(bytes + 6, lengths[i]);
        refused(net, bytes, len);
    }
    static const int name_lengths[] = { 0, 255, 18, 20 };
    for (size_t i = 0; i < BASE_COUNT(name_lengths); i++) {
        len = hs_hello_encode(&h, bytes);
        bytes[89] = (uint8_t)name_lengths[i];
        refused(net, bytes, len);
    }
    static const char bad[] = { '\0', '\n', '%', '\xc3', '/', '\x1b' };
    for (size_t i = 0; i < sizeof bad; i++) {
        len = hs_hello_encode(&h, bytes);
        bytes[102] = (uint8_t)bad[i];
        refused(net, bytes, len);
    }
    for (size_t at = 0; at < 96; at++) {     /* reserved bytes, each bit of the head */
        bool is_reserved = at == 10 || at == 11 || (at >= 72 && at < 88) || (at >= 90 && at < 96);
        len = hs_hello_encode(&h, bytes);
        bytes[at] ^= 0x40;
        if (is_reserved || at < 6)
            refused(net, bytes, len);
    }
    end(net);
}

UNIT(strangers, torture8_12_13_14_unfit_hellos_are_refused_alike)
{
    struct net *net = one();
    struct hs_hello h = hello(net);
    uint8_t bytes[HS_MAX];

    h.secret_ids[0] = 8;                     /* unknown id */
    refused_hello(net, &h);
    for (int ids = 0; ids <= 5; ids += 5) {
        h = hello(net);
        size_t len = hs_hello_encode(&h, bytes);
        bytes[88] = (uint8_t)ids;
        refused(net, bytes, len);
    }
    h = hello(net);
    hs_cluster_tag("another", h.cluster_tag);
    refused_hello(net, &h);
    h = hello(net);
    h.node = net->nodes[0].id;               /* our own name */
    refused_hello(net, &h);
    h = hello(net);
    h.incarnation = net->nodes[0].config.incarnation;
    refused_hello(net, &h);
    h = hello(net);
    h.version_min = h.version_max = 2;
    refused_hello(net, &h);
    h = hello(net);
    h.flags = HS_FLAG_TLS;                   /* it says TLS, this is plain */
    refused_hello(net, &h);
    h = hello(net);
    size_t len = hs_hello_encode(&h, bytes);
    bytes[len] = 'x';                        /* a byte behind H1 */
    refused(net, bytes, len + 1);
    end(net);
}

static int
lines_of(int fd, const char *part)
{
    char text[8192];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    int n = 0;
    CU_ASSERT_FATAL(len >= 0 && len < (ssize_t)sizeof text - 1);
    text[len] = '\0';
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

UNIT(strangers, each_reason_of_a_refusal_is_logged_once_in_ten_seconds_and_four_in_all)
{
    struct net *net = one();
    struct hs_hello h;
    uint8_t bytes[HS_MAX];
    int fd = memfd_create("log", MFD_CLOEXEC), own = dup(log_fd());

    CU_ASSERT_FATAL(fd >= 0 && own >= 0);
    log_take_fd(dup(fd));
    log_set_level(LOG_WARN);
    for (int i = 0; i < 3; i++) {
        h = hello(net);
        h.secret_ids[0] = 8;
        refused_hello(net, &h);
        h = hello(net);
        hs_cluster_tag("another", h.cluster_tag);
        refused_hello(net, &h);
    }
    CU_ASSERT_EQUAL(lines_of(fd, "reason=unknown secret id"), 1);
    CU_ASSERT_EQUAL(lines_of(fd, "reason=it is of another cluster"), 1);
    CU_ASSERT_EQUAL(lines_of(fd, "handshake refused"), 2);
    for (int type = 5; type < 15; type++) {  /* the text tells the type: ten reasons more */
        h = hello(net);
        size_t len = hs_hello_encode(&h, bytes);
        bytes[4] = (uint8_t)type;
        refused(net, bytes, len);
    }
    CU_ASSERT_EQUAL(lines_of(fd, "handshake refused"), 4);
    net_run(net, 10000);
    h = hello(net);
    h.secret_ids[0] = 8;
    refused_hello(net, &h);
    CU_ASSERT_EQUAL(lines_of(fd, "reason=unknown secret id"), 2);
    CU_ASSERT_EQUAL(lines_of(fd, "held_back=8 reason=unknown secret id"), 1);
    log_set_level(LOG_ERROR);
    log_take_fd(own);
    (void)close(fd);
    end(net);
}

/* A good H1; H2 is then in net->raw. */
static uint64_t
challenged(struct net *net, const char *source, uint8_t h1[static HS_MAX], size_t *h1_len)
{
    struct hs_hello h = hello(net);
    uint64_t conn = net_raw_open(net, 0, source);

    *h1_len = hs_hello_encode(&h, h1);
    net->raw_len = 0;
    net->raw_closed = 0;
    net_raw_send(net, conn, h1, *h1_len);
    net_run(net, 5);
    CU_ASSERT_EQUAL(hs_length(net->raw, net->raw_len, HS_CHALLENGE, NULL), (int)net->raw_len);
    return conn;
}

static void
answer_refused(struct net *net, uint64_t conn, const void *bytes, size_t len)
{
    size_t heard = net->raw_len;
    uint64_t begin_ns = net->now_ns;
    net_raw_send(net, conn, bytes, len);
    net_run(net, 300);
    CU_ASSERT_EQUAL(net->raw_closed, 1);
    CU_ASSERT_EQUAL(net->raw_len, heard);
    CU_ASSERT((net->raw_closed_ns - begin_ns) / CLOCK_NS_PER_MS >= 150);
    net_raw_close(net, conn);
    net_run(net, 5);
}

UNIT(strangers, torture9_and_15_wrong_proofs_are_refused)
{
    struct net *net = one();
    uint8_t h1[HS_MAX], h3[HS_PROOF_LEN + 1], h2[HS_MAX];
    struct hs_keys keys;
    size_t h1_len, h2_len;
    uint64_t conn = challenged(net, "127.0.0.1", h1, &h1_len);

    memset(h3, 0, sizeof h3);                /* all zero, under a right head */
    memcpy(h3, "NXD1\x03\0\0\x28", 8);
    answer_refused(net, conn, h3, HS_PROOF_LEN);

    conn = challenged(net, "127.0.0.1", h1, &h1_len);
    answer_refused(net, conn, h1, h1_len);   /* H1 twice, that is: a message of the wrong type */

    conn = challenged(net, "127.0.0.1", h1, &h1_len);
    answer_refused(net, conn, "\0\0\0\x2c\x10\0\0\1", 8);        /* a data frame instead of H3 */

    conn = challenged(net, "127.0.0.1", h1, &h1_len);
    h2_len = net->raw_len;
    memcpy(h2, net->raw, h2_len);
    CU_ASSERT_EQUAL(hs_derive(h1, h1_len, h2, h2_len, NULL, (const uint8_t *)secret, sizeof secret - 1, &keys, NULL), 0);
    CU_ASSERT_EQUAL(hs_proof_i(&keys, h3), 0);
    h3[HS_PROOF_LEN - 1] ^= 1;               /* one bit of a right one */
    answer_refused(net, conn, h3, HS_PROOF_LEN);

    conn = challenged(net, "127.0.0.1", h1, &h1_len);            /* torture 10: H1 and H3 of another session */
    h3[HS_PROOF_LEN - 1] ^= 1;
    answer_refused(net, conn, h3, HS_PROOF_LEN);

    conn = challenged(net, "127.0.0.1", h1, &h1_len);
    h2_len = net->raw_len;
    memcpy(h2, net->raw, h2_len);
    CU_ASSERT_EQUAL(hs_derive(h1, h1_len, h2, h2_len, NULL, (const uint8_t *)secret, sizeof secret - 1, &keys, NULL), 0);
    CU_ASSERT_EQUAL(hs_proof_i(&keys, h3), 0);
    h3[HS_PROOF_LEN] = 0;                    /* a right proof and a byte behind it */
    answer_refused(net, conn, h3, HS_PROOF_LEN + 1);
    end(net);
}

UNIT(strangers, row22_a_wrong_proof_costs_its_source_five_seconds_then_twice_that)
{
    struct net *net = one();
    uint8_t h1[HS_MAX], h3[HS_PROOF_LEN] = "NXD1\x03\0\0\x28";
    size_t h1_len;
    uint64_t conn = challenged(net, "192.0.2.7", h1, &h1_len);

    answer_refused(net, conn, h3, sizeof h3);
    CU_ASSERT_EQUAL(net_raw_open(net, 0, "192.0.2.7"), 0);
    CU_ASSERT_NOT_EQUAL((conn = net_raw_open(net, 0, "192.0.2.8")), 0);      /* others are not punished */
    net_raw_close(net, conn);
    net_run(net, 4900);
    conn = challenged(net, "192.0.2.7", h1, &h1_len);
    answer_refused(net, conn, h3, sizeof h3);
    net_run(net, 8000);
    CU_ASSERT_EQUAL(net_raw_open(net, 0, "192.0.2.7"), 0);
    net_run(net, 2000);
    CU_ASSERT_NOT_EQUAL((conn = net_raw_open(net, 0, "192.0.2.7")), 0);
    net_raw_close(net, conn);
    net_run(net, 100);
    end(net);
}

UNIT(strangers, torture11_our_own_messages_sent_back_are_refused)
{
    struct net *net = net_new(2, 5);
    log_set_level(LOG_ERROR);
    net_seed(net, 0, 1);
    net_start(net, 0);
    net_start(net, 1);
    /* app2 answers app1's dial by dialling it back and passing all bytes through: app1 talks to itself. */
    (void)strcpy(net->alias, "app2@127.0.0.1:4370");
    net_kill(net, 1);
    net->nodes[1].id.text[0] = 'x';          /* not found by that name any more: the alias is */
    net->alias_node = 0;
    net_run(net, 60000);
    CU_ASSERT_EQUAL(net->nodes[0].proved_count, 0);
    OK(net);
    net_free(net);
    log_set_level(LOG_INFO);
}

UNIT(strangers, torture12_a_claimed_name_without_the_secret_leaves_the_live_link_alone)
{
    struct net *net = net_new(2, 6);
    uint8_t h1[HS_MAX], h3[HS_PROOF_LEN] = "NXD1\x03\0\0\x28";
    size_t h1_len;

    log_set_level(LOG_ERROR);
    net_seed(net, 0, 1);
    net_start(net, 0);
    net_start(net, 1);
    CU_ASSERT(net_run_until(net, 1000, net_all_up));
    uint64_t conn = challenged(net, "127.0.0.1", h1, &h1_len);   /* as app2, which is connected */
    answer_refused(net, conn, h3, sizeof h3);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1], 0);
    CU_ASSERT(net_all_up(net));
    OK(net);
    net_free(net);
    log_set_level(LOG_INFO);
}

UNIT(strangers, handshake_survives_any_mutation_and_any_cut_of_its_bytes)
{
    struct net *net = one();
    struct hs_hello h = hello(net);
    uint8_t good[HS_MAX], bytes[HS_MAX + 64];
    size_t len = hs_hello_encode(&h, good);

    for (int i = 0; i < 20000; i++) {
        size_t n = net_random(net) % (len + 60);
        memcpy(bytes, good, sizeof good);
        for (unsigned k = (unsigned)(net_random(net) % 4); k > 0; k--)
            bytes[net_random(net) % (len + 60)] = (uint8_t)net_random(net);
        uint64_t conn = net_raw_open(net, 0, "127.0.0.1");
        if (conn == 0) {                     /* 64 are waiting for their end */
            net_run(net, 5300);
            continue;
        }
        net_raw_send(net, conn, bytes, n);
        net_raw_send(net, conn, bytes + n, len + 60 - n);
        net_raw_close(net, conn);
        net_run(net, 1);
        net->raw_len = 0;
    }
    net_run(net, 6000);
    end(net);
}

static struct { unsigned message, bit, seen; size_t len; } flip;

static void
flip_one(struct net *net, uint8_t *bytes, size_t len)
{
    (void)net;
    if (flip.seen++ != flip.message)
        return;
    flip.len = len;
    if (flip.bit / 8 < len)
        bytes[flip.bit / 8] ^= (uint8_t)(1u << flip.bit % 8);
}

/* In H1 there are bits that are nobody's but the transcript's (nonce, wall clock, incarnation): they are found out by the proofs. */
UNIT(strangers, row23_a_bit_flipped_in_any_handshake_message_never_gives_a_link)
{
    log_set_level(LOG_ERROR);
    for (unsigned message = 0; message < 4; message++) {
        flip.len = 1;
        for (unsigned bit = message; bit / 8 < flip.len; bit += 3) {
            struct net *net = net_new(2, bit + 1);
            net_seed(net, 0, 1);
            net_start(net, 0);
            net_start(net, 1);
            flip.message = message;
            flip.bit = bit;
            flip.seen = 0;
            net->tamper = flip_one;
            net_run(net, 300);               /* one dial */
            CU_ASSERT_EQUAL(net->dials[0], 1);
            CU_ASSERT_EQUAL(net->nodes[0].proved_count, 0);
            CU_ASSERT_EQUAL(net->nodes[1].proved_count, message == 3 ? 1u : 0u);     /* H4 comes after the acceptor's own check */
            CU_ASSERT_EQUAL(net->nodes[0].ups[1], 0);
            CU_ASSERT_EQUAL(net->nodes[1].ups[0], 0);
            OK(net);
            net_free(net);
        }
    }
    log_set_level(LOG_INFO);
}
