/*
 * test_hostile.c - strangers at the port, members that break the rules, descriptors that run out. The link between a and b must not notice.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "raw.h"
#include "unit.h"
#include "wire/wire.h"
#include "world.h"

struct pair { struct world w; struct node *a, *b; struct process *a0, *b0; struct conn *way; };

static void
pair_begin(struct pair *p)
{
    world_begin(&p->w);
    p->a = node_begin(&p->w, "a", NULL, NULL);
    p->b = node_begin(&p->w, "b", p->a->conf.node.text, NULL);
    p->a0 = node_process(p->a, 0, 5);
    p->b0 = node_process(p->b, 0, 5);
    p->b0->is_echo = true;
    worlds_meet(&p->w, p->a, p->b);
    WAIT(&p->w, count_kind(p->a0, KIND_NODE_EVENT) == 1);
    p->way = node_way(p->a, p->b);
    log_set_level(LOG_ERROR);
}

static bool
still_works(struct pair *p)
{
    size_t replies = count_kind(p->a0, KIND_REPLY);
    struct envelope e = to_node(p->a0, p->b, KIND_CALL, 0, 5, 1, 1000);
    send_body(p->a0, &e, 1);
    WAIT(&p->w, count_kind(p->a0, KIND_REPLY) == replies + 1);
    return node_way(p->a, p->b) == p->way;
}

static void
pair_end(struct pair *p)
{
    CU_ASSERT(still_works(p));
    world_end(&p->w);
}

/* ---------------------------------------------------------------- strangers */

UNIT(hostile, garbage_on_the_port_is_closed_and_counted)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ssh[] = "SSH-2.0-OpenSSH_9.2\r\n", ff[] = "\xff\xff\xff\xff\xff\xff\xff\xff",
                      tls[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    static const struct { const char *bytes; size_t len; } all[] = { { http, sizeof http - 1 }, { ssh, sizeof ssh - 1 }, { ff, 8 }, { tls, sizeof tls - 1 } };
    struct pair p;
    pair_begin(&p);
    uint64_t refused = stats_get(p.a->link->stats, link_refused);
    for (size_t i = 0; i < BASE_COUNT(all); i++) {
        int fd = raw_connect(p.a);
        raw_write(&p.w, fd, all[i].bytes, all[i].len);
        WAIT(&p.w, raw_is_closed(fd));
        (void)close(fd);
    }
    CU_ASSERT_EQUAL(stats_get(p.a->link->stats, link_refused), refused + BASE_COUNT(all));
    pair_end(&p);
}

static void
short_handshake(struct conf *c)
{
    c->handshake_ms = 200;
}

UNIT(hostile, half_a_hello_and_then_silence_is_closed_at_the_deadline)
{
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, short_handshake);
    int half = raw_connect(a), silent = raw_connect(a);
    raw_write(&w, half, "NXD1\x01\0\0\x65\x01", 9);
    uint64_t since = clock_now_ns();
    WAIT(&w, raw_is_closed(half) && raw_is_closed(silent));
    CU_ASSERT(clock_now_ns() - since >= 150 * CLOCK_NS_PER_MS && clock_now_ns() - since < 2 * CLOCK_NS_PER_S);
    WAIT(&w, list_is_empty(&a->link->conns));
    (void)close(half);
    (void)close(silent);
    world_end(&w);
}

UNIT(hostile, a_data_frame_before_the_proof_is_closed)
{
    struct pair p;
    pair_begin(&p);
    uint8_t key[FRAME_KEY] = { 1 };
    struct frame_sealer *s;
    struct buf out;
    buf_init(&out, 0);
    CU_ASSERT_EQUAL_FATAL(frame_sealer_new(key, &s), 0);
    struct envelope e = { .kind = KIND_CALL, .slot = 0, .generation = 5, .body_len = 1 };
    CU_ASSERT_EQUAL_FATAL(frame_add(s, &out, &e, "\xc0"), 0);
    CU_ASSERT_EQUAL_FATAL(frame_seal(s, &out), 0);
    int fd = raw_connect(p.a);
    raw_write(&p.w, fd, buf_data(&out), buf_len(&out));
    WAIT(&p.w, raw_is_closed(fd));
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_CALL), 0);
    (void)close(fd);
    frame_sealer_free(&s);
    buf_fini(&out);
    pair_end(&p);
}

UNIT(hostile, a_thousand_connects_leave_descriptors_and_memory_as_they_were)
{
    struct pair p;
    pair_begin(&p);
    int files = open_files();
    for (int round = 0; round < 20; round++) {
        int fds[50];
        for (size_t i = 0; i < BASE_COUNT(fds); i++) {
            fds[i] = raw_connect(p.a);
            if (i % 3 == 0)
                raw_write(&p.w, fds[i], "NXD1\x01", 5);
            if (i % 3 == 1)
                raw_write(&p.w, fds[i], "\0\0\0\0\0\0\0\0", 8);
        }
        (void)world_turn(&p.w, world_patience());
        for (size_t i = 0; i < BASE_COUNT(fds); i++)
            (void)close(fds[i]);
        if (round % 5 == 0)
            CU_ASSERT(still_works(&p));
    }
    WAIT(&p.w, p.a->link->conns.next == p.a->link->conns.prev);      /* only that of b */
    CU_ASSERT_EQUAL(table_count(p.a->link->by_id), 1);
    CU_ASSERT_EQUAL(open_files(), files);
    pair_end(&p);
}

/* ---------------------------------------------------------------- members */

static void
close_of(struct pair *p, const char *id, bool may_lead, const struct envelope *e, const void *body, bool counted)
{
    struct raw r;
    uint64_t bad = node_bad(p->a);
    raw_begin(&r, p->a, id);
    if (may_lead) {
        size_t ups = count_kind(p->a0, KIND_NODE_EVENT);
        raw_lead(&r);
        WAIT(&p->w, count_kind(p->a0, KIND_NODE_EVENT) > ups);
    }
    raw_message(&r, e, body);
    raw_flush(&r);
    WAIT(&p->w, raw_is_closed(r.fd));
    if (counted)
        CU_ASSERT_EQUAL(node_bad(p->a), bad + 1);
    raw_end(&r);
}

UNIT(hostile, a_member_that_breaks_the_rules_loses_its_link_and_delivers_nothing)
{
    struct pair p;
    pair_begin(&p);
    struct envelope call = { .kind = KIND_CALL, .slot = 0, .generation = 5, .serial = 1, .call_id = 4, .body_len = 4 }, e = call;
    /* "A" comes before "a", so a waits for its first message: a call is not one. Node 0 would be a itself. */
    close_of(&p, "A1@127.0.0.1:1", false, &call, "abcd", true);
    e.kind = KIND_HEARTBEAT, e.slot = SLOT_LINK;
    close_of(&p, "A2@127.0.0.1:1", false, &e, "abcd", true);
    e.body_len = 4;
    close_of(&p, "A3@127.0.0.1:1", true, &e, "abcd", true);         /* a heartbeat that is none */
    e.flags = ENVELOPE_PIECE, e.body_len = 5;
    close_of(&p, "A4@127.0.0.1:1", true, &e, "\0\0\0\0x", true);    /* in pieces */
    e = call, e.flags = ENVELOPE_PIECE | ENVELOPE_MORE, e.body_len = 5;
    close_of(&p, "A5@127.0.0.1:1", true, &e, "\x12\x34\0\0x", true);        /* a stream that no process has */
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_CALL), 0);
    pair_end(&p);
}

UNIT(hostile, a_body_above_max_body_in_pieces_is_answered_and_the_link_stays)
{
    struct pair p;
    struct raw r;
    pair_begin(&p);
    raw_begin(&r, p.a, "z@127.0.0.1:1");
    WAIT(&p.w, count_kind(p.a0, KIND_NODE_EVENT) == 2);
    static uint8_t piece[WIRE_PIECE_PREFIX + WIRE_PIECE_MAX];
    struct envelope e = { .kind = KIND_CALL, .slot = 0, .generation = 5, .serial = 1, .call_id = 4, .flags = ENVELOPE_PIECE | ENVELOPE_MORE,
                          .body_len = sizeof piece };
    for (int i = 0; i < 40; i++) {
        raw_message(&r, &e, piece);
        raw_flush(&r);
    }
    e.flags = ENVELOPE_PIECE;
    raw_message(&r, &e, piece);
    e.flags = 0, e.call_id = 5, e.body_len = 3;
    raw_message(&r, &e, "end");
    raw_flush(&r);
    WAIT(&p.w, count_kind(p.a0, KIND_CALL) == 1);
    CU_ASSERT_EQUAL(find_kind(p.a0, KIND_CALL, 0)->e.call_id, 5);
    size_t errors = 0;
    WAIT(&p.w, (errors += raw_read(&r, 0, KIND_ERROR)) == 1);
    raw_end(&r);
    pair_end(&p);
}

/* Row 24: FIN in the middle of a frame. */
UNIT(hostile, an_end_in_the_middle_of_a_frame_delivers_nothing_of_it)
{
    struct pair p;
    struct raw r;
    pair_begin(&p);
    raw_begin(&r, p.a, "z@127.0.0.1:1");
    WAIT(&p.w, count_kind(p.a0, KIND_NODE_EVENT) == 2);
    struct envelope e = { .kind = KIND_CALL, .slot = 0, .generation = 5, .serial = 1, .call_id = 4, .body_len = 1000 };
    raw_message(&r, &e, body_of(0, 1000));
    CU_ASSERT_EQUAL_FATAL(frame_seal(r.sealer, &r.out), 0);
    raw_write(&p.w, r.fd, buf_data(&r.out), buf_len(&r.out) - 1);
    uint64_t since = clock_now_ns();
    (void)close(r.fd);
    r.fd = -1;
    WAIT(&p.w, count_kind(p.a0, KIND_NODE_EVENT) == 3);
    CU_ASSERT(clock_now_ns() - since < 500 * CLOCK_NS_PER_MS);
    CU_ASSERT_STRING_EQUAL(node_event_text(p.a0, 2, NULL), "down connection_closed");
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_CALL), 0);
    raw_end(&r);
    pair_end(&p);
}

UNIT(hostile, a_frame_that_trickles_is_delivered_and_one_that_never_ends_closes)
{
    struct pair p;
    struct raw r;
    pair_begin(&p);
    raw_begin(&r, p.a, "z@127.0.0.1:1");
    WAIT(&p.w, count_kind(p.a0, KIND_NODE_EVENT) == 2);
    struct conn *c = p.a->link->by_node[2];
    struct envelope e = { .kind = KIND_CAST, .slot = 0, .generation = 5, .serial = 1, .body_len = 10 };
    raw_message(&r, &e, body_of(0, 10));
    CU_ASSERT_EQUAL_FATAL(frame_seal(r.sealer, &r.out), 0);
    for (size_t i = 0; i < buf_len(&r.out); i++) {
        uint64_t bytes = c->bytes_in;
        raw_write(&p.w, r.fd, buf_data(&r.out) + i, 1);
        WAIT(&p.w, c->bytes_in == bytes + 1);
    }
    WAIT(&p.w, count_kind(p.a0, KIND_CAST) == 1);
    CU_ASSERT_EQUAL(c->frame_since_ns, 0);
    raw_write(&p.w, r.fd, "\0\0\0", 3);
    WAIT(&p.w, c->frame_since_ns != 0);
    c->frame_since_ns -= (uint64_t)LINK_FRAME_S * CLOCK_NS_PER_S;      /* as if they had passed */
    WAIT(&p.w, raw_is_closed(r.fd));
    raw_end(&r);
    pair_end(&p);
}

/* ---------------------------------------------------------------- descriptors */

/* The strangers are another process: the limit is ours alone. It says "c" when it is connected and waits for our word. */
static pid_t
strangers(struct node *to, int count, int *control)
{
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0) {
        (void)alarm(20);
        char byte = 'c';
        for (int i = 0; i < count; i++)
            (void)raw_connect(to);
        if (write(pair[1], &byte, 1) == 1)
            (void)!read(pair[1], &byte, 1);
        _exit(0);
    }
    (void)close(pair[1]);
    char byte;
    CU_ASSERT_EQUAL_FATAL(read(pair[0], &byte, 1), 1);
    *control = pair[0];
    return pid;
}

UNIT(hostile, without_descriptors_the_listener_rests_and_the_link_lives)
{
    struct pair p;
    struct rlimit before, tight;
    int control;
    pair_begin(&p);
    pid_t pid = strangers(p.a, 40, &control);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    int next = dup(0);                                                 /* the lowest that is free: three more are left */
    CU_ASSERT_FATAL(next > 0 && close(next) == 0);
    tight.rlim_cur = (rlim_t)next + 3;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &tight), 0);
    WAIT(&p.w, heap_has(&p.a->link->accept_timer.node));               /* it rests */
    uint64_t turns = loop_turns(p.w.loop);
    world_run(&p.w, 500);
    CU_ASSERT(loop_turns(p.w.loop) - turns < 100);                     /* and does not spin */
    CU_ASSERT(still_works(&p));
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CU_ASSERT_EQUAL(write(control, "x", 1), 1);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
    (void)close(control);
    WAIT(&p.w, p.a->link->conns.next == p.a->link->conns.prev && !heap_has(&p.a->link->accept_timer.node));
    struct raw r;
    raw_begin(&r, p.a, "z@127.0.0.1:1");                               /* strangers are heard again */
    raw_end(&r);
    pair_end(&p);
}
