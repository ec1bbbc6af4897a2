/*
 * test_session.c - clients as they may be: cut, hasty, silent, greedy, gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/socket.h>

#include "ask.h"
#include "base/clock.h"
#include "control/rpc.h"
#include "unit.h"
#include "value/value.h"

static char call_json[600];

/* {"target": a server of worker 0, "message": ...} */
static const char *
call_params(const char *message, const char *more)
{
    char ref[NX_REF_TEXT_MAX];
    node_ref(0, 9, false, ref);
    (void)snprintf(call_json, sizeof call_json, "{\"target\":\"%s\",\"message\":%s%s}", ref, message, more);
    return call_json;
}

UNIT(session, a_request_cut_at_any_byte_is_one_request)
{
    struct node n;
    struct buf request, in;
    struct raw_answer a;
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&request, 0);
    buf_init(&in, 0);
    raw_request(&request, 1, "call", call_params("\"hello\"", ""));
    for (size_t cut = 1; cut < buf_len(&request); cut++) {
        raw_send(fd, buf_data(&request), cut);
        node_order(&n, ORDER_SYNC);
        raw_send(fd, buf_data(&request) + cut, buf_len(&request) - cut);
        CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
        CU_ASSERT_FALSE(a.is_error);
        CU_ASSERT_STRING_EQUAL(a.json, "\"hello\"");
    }
    for (size_t i = 0; i < buf_len(&request); i++)
        raw_send(fd, buf_data(&request) + i, 1);
    CU_ASSERT_EQUAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_EQUAL(n.seen->calls, buf_len(&request));
    buf_fini(&request);
    buf_fini(&in);
    (void)close(fd);
    node_finish(&n);
}

UNIT(session, many_requests_in_one_piece_have_one_answer_each)
{
    enum { COUNT = 900 };
    static bool seen[COUNT];
    struct node n;
    struct buf requests, in;
    struct raw_answer a;
    char message[32];
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&requests, 0);
    buf_init(&in, 0);
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(message, sizeof message, "%u", i * 7);
        raw_request(&requests, i, i % 3 == 0 ? "isRegistered" : "call", i % 3 == 0 ? "{\"name\":\"here\"}" : call_params(message, ""));
    }
    raw_send(fd, buf_data(&requests), buf_len(&requests));
    for (uint32_t i = 0; i < COUNT; i++) {
        CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
        CU_ASSERT_TRUE_FATAL(a.kind == RPC_RESPONSE && a.id < COUNT && !seen[a.id] && !a.is_error);
        seen[a.id] = true;
        (void)snprintf(message, sizeof message, "%u", a.id * 7);
        CU_ASSERT_STRING_EQUAL(a.json, a.id % 3 == 0 ? "true" : message);
    }
    buf_fini(&requests);
    buf_fini(&in);
    (void)close(fd);
    node_finish(&n);
}

UNIT(session, a_slow_request_does_not_hold_up_the_next)
{
    struct node n;
    struct buf requests, in;
    struct raw_answer a;
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&requests, 0);
    buf_init(&in, 0);
    raw_request(&requests, 1, "call", call_params("\"hang\"", ",\"timeoutMs\":150"));
    raw_request(&requests, 2, "call", call_params("5", ""));
    uint64_t begin = clock_now_ns();
    raw_send(fd, buf_data(&requests), buf_len(&requests));
    CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_EQUAL(a.id, 2);
    CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_EQUAL(a.id, 1);
    CU_ASSERT_TRUE(clock_now_ns() - begin >= 150 * CLOCK_NS_PER_MS);
    CU_ASSERT_PTR_NOT_NULL(strstr(a.json, "\"name\":\"NX_ETIMEDOUT\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(a.json, "timed out after 150 ms"));
    CU_ASSERT_PTR_NOT_NULL(strstr(a.json, "\"timeoutMs\":150"));
    CU_ASSERT_PTR_NOT_NULL(strstr(a.json, "\"subject\":\"#app1@"));
    buf_fini(&requests);
    buf_fini(&in);
    (void)close(fd);
    node_finish(&n);
}

UNIT(session, a_notification_is_done_and_not_answered)
{
    struct node n;
    struct buf b, in;
    struct raw_answer a;
    nx_packer p;
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&b, 0);
    buf_init(&in, 0);
    value_packer_init(&p, 0);
    const char *json = call_params("1", "");
    CU_ASSERT_EQUAL_FATAL(value_from_json(&p, json, strlen(json), NULL), 0);
    CU_ASSERT_EQUAL(rpc_put_notification(&b, "cast", buf_data(&p.bytes), buf_len(&p.bytes)), 0);
    CU_ASSERT_EQUAL(rpc_put_notification(&b, "call", buf_data(&p.bytes), buf_len(&p.bytes)), 0);
    CU_ASSERT_EQUAL(rpc_put_notification(&b, "nonsense", buf_data(&p.bytes), buf_len(&p.bytes)), 0);
    raw_request(&b, 77, "call", call_params("2", ""));
    raw_send(fd, buf_data(&b), buf_len(&b));
    CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_EQUAL(a.id, 77);
    CU_ASSERT_EQUAL(n.seen->casts, 1);     /* pipes keep order: it came before the call that was answered */
    CU_ASSERT_EQUAL(n.seen->calls, 2);
    value_packer_fini(&p);
    buf_fini(&b);
    buf_fini(&in);
    (void)close(fd);
    node_finish(&n);
}

static void
expect_refusal(struct node *n, const void *bytes, size_t len, const char *error)
{
    struct raw_answer a;
    struct buf in;
    int fd = raw_open(n);
    buf_init(&in, 0);
    raw_send(fd, bytes, len);
    int got = raw_next(fd, &in, &a);
    if (error == NULL) {
        CU_ASSERT_EQUAL(got, 0);
    } else {
        CU_ASSERT_EQUAL_FATAL(got, 1);
        CU_ASSERT_TRUE(a.is_error);
        CU_ASSERT_EQUAL(a.id, 9);
        CU_ASSERT_PTR_NOT_NULL(strstr(a.json, error));
        CU_ASSERT_EQUAL(raw_next(fd, &in, &a), 0);
    }
    buf_fini(&in);
    (void)close(fd);
}

UNIT(session, garbage_closes_its_client_and_no_other)
{
    static const uint8_t c1[] = { 0xc1 }, answer[] = { 0x94, 0x01, 0x09, 0xc0, 0xc0 };
    static const uint8_t bomb[] = { 0xdd, 0xff, 0xff, 0xff, 0xff }, http[] = "GET / HTTP/1.1\r\n\r\n";
    static const uint8_t half[] = { 0x94, 0x00, 0x09, 0xa4, 'c', 'a', 'l', 'l', 0xc1 };
    static const uint8_t shape[] = { 0x94, 0x00, 0x09, 0xa4, 'c', 'a', 'l', 'l', 0x05 };
    static const uint8_t big[] = { 0x94, 0x00, 0x09, 0xa4, 'c', 'a', 'l', 'l', 0x91, 0x81, 0xa1, 'x', 0xc6, 0x10, 0x00, 0x00, 0x00 };
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    expect_refusal(&n, c1, sizeof c1, NULL);
    expect_refusal(&n, answer, sizeof answer, NULL);
    expect_refusal(&n, bomb, sizeof bomb, NULL);
    expect_refusal(&n, http, sizeof http - 1, NULL);
    expect_refusal(&n, half, sizeof half, "NX_EBADMSG");
    expect_refusal(&n, shape, sizeof shape, "NX_EBADMSG");
    expect_refusal(&n, big, sizeof big, "NX_ETOOBIG");
    CU_ASSERT_TRUE(node_until(&n, &n.seen->gate_bad, 7));
    CU_ASSERT_EQUAL(n.seen->gate_bad, 7);
    CU_ASSERT_STRING_EQUAL(ask(c, "call", call_params("[1]", "")), "[1]");
    client_close(&c);
    node_finish(&n);
}

UNIT(session, requests_beyond_the_bound_are_busy)
{
    enum { COUNT = 1034, BOUND = 1024 };
    struct node n;
    struct buf requests, in;
    struct raw_answer a;
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&requests, 0);
    buf_init(&in, 0);
    for (uint32_t i = 0; i < COUNT; i++)
        raw_request(&requests, i, "call", call_params("\"hang\"", ",\"timeoutMs\":\"infinity\""));
    raw_send(fd, buf_data(&requests), buf_len(&requests));
    for (uint32_t i = BOUND; i < COUNT; i++) {
        CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
        CU_ASSERT_EQUAL(a.id, i);
        CU_ASSERT_PTR_NOT_NULL(strstr(a.json, "NX_EBUSY"));
    }
    node_order(&n, ORDER_SYNC);
    CU_ASSERT_EQUAL(n.seen->gate_pending, BOUND);
    buf_fini(&requests);
    buf_fini(&in);
    (void)close(fd);                       /* and all that it waited for is forgotten */
    for (int i = 0; i < 5000 && n.seen->gate_pending > 0; i++)
        node_order(&n, ORDER_SYNC);
    CU_ASSERT_EQUAL(n.seen->gate_pending, 0);
    node_finish(&n);
}

UNIT(session, C12_a_client_that_goes_leaves_nothing_pending)
{
    struct node n;
    struct buf requests;
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&requests, 0);
    raw_request(&requests, 1, "call", call_params("\"hang\"", ",\"timeoutMs\":\"infinity\""));
    raw_request(&requests, 2, "start", "{\"behavior\":\"echo\",\"args\":\"hang\"}");
    raw_request(&requests, 3, "servers", "{}");
    node_order(&n, ORDER_WORKER_SLEEPS);
    raw_send(fd, buf_data(&requests), buf_len(&requests));
    CU_ASSERT_TRUE(node_until(&n, &n.seen->calls, 1));
    CU_ASSERT_TRUE(node_until(&n, &n.seen->gate_pending, 3));
    (void)close(fd);
    CU_ASSERT_TRUE(node_until(&n, &n.seen->cancels, 1));           /* the start is taken back */
    node_order(&n, ORDER_SYNC);
    CU_ASSERT_EQUAL(n.seen->gate_pending, 0);
    CU_ASSERT_EQUAL(n.seen->spawns_initiated, n.seen->spawns_ended);
    buf_fini(&requests);
    node_finish(&n);
}

UNIT(session, who_does_not_read_is_not_read_from_and_loses_nothing)
{
    enum { COUNT = 400, BODY = 60000 };
    static bool seen[COUNT];
    struct node n;
    struct buf requests, in;
    struct raw_answer a;
    char *message = malloc(BODY + 600);
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&requests, 0);
    buf_init(&in, 0);
    memset(seen, 0, sizeof seen);
    char ref[NX_REF_TEXT_MAX];
    node_ref(0, 9, false, ref);
    int head = snprintf(message, 600, "{\"target\":\"%s\",\"message\":\"", ref);
    memset(message + head, 'x', BODY);
    memcpy(message + head + BODY, "\"}", 3);
    for (uint32_t i = 0; i < COUNT; i++)
        raw_request(&requests, i, "call", message);
    free(message);

    /* 24 MB of requests: it stops taking them when 8 MiB of answers wait (and what is on its way then). */
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    size_t at = 0, idle = 0;
    while (at < buf_len(&requests) && idle < 300) {
        ssize_t sent = send(fd, buf_data(&requests) + at, buf_len(&requests) - at, MSG_NOSIGNAL);
        if (sent > 0)
            at += (size_t)sent;
        idle = sent > 0 ? 0 : idle + 1;
        node_order(&n, ORDER_SYNC);
    }
    CU_ASSERT_EQUAL(idle, 300);
    CU_ASSERT_TRUE(at > 8000000 && at < 16000000);

    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, 0), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        while (at < buf_len(&requests)) {
            ssize_t sent = send(fd, buf_data(&requests) + at, buf_len(&requests) - at, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent <= 0)
                break;
            at += (size_t)sent;
        }
        CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
        CU_ASSERT_TRUE_FATAL(a.id < COUNT && !seen[a.id] && !a.is_error);
        seen[a.id] = true;
    }
    buf_fini(&requests);
    buf_fini(&in);
    (void)close(fd);
    node_finish(&n);
}

UNIT(session, the_client_after_the_last_is_closed)
{
    enum { BOUND = 1024 };
    static int fds[BOUND];
    struct rlimit limit;
    struct node n;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < BOUND + 100) {
        unit_skip("too few descriptors allowed");
        return;
    }
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    node_start(&n);
    for (int i = 0; i < BOUND; i++)
        fds[i] = raw_open(&n);
    int extra = raw_open(&n);
    char c;
    CU_ASSERT_EQUAL(recv(extra, &c, 1, 0), 0);
    (void)close(extra);
    for (int i = 0; i < BOUND; i++)
        (void)close(fds[i]);
    struct client *after = NULL;
    for (int i = 0; i < 100; i++) {        /* there is room again as soon as the gate has seen them go */
        struct base_error why;
        nx_value v;
        after = ask_open(&n);
        if (client_request(after, "status", NULL, 5000, &v, &why) == 0)
            break;
        client_close(&after);
    }
    CU_ASSERT_PTR_NOT_NULL(after);
    client_close(&after);
    node_finish(&n);
}

UNIT(session, stopping_waits_for_answers_that_are_due)
{
    struct node n;
    struct buf requests, in;
    struct raw_answer a;
    node_start(&n);
    int fd = raw_open(&n), idle = raw_open(&n);
    buf_init(&requests, 0);
    buf_init(&in, 0);
    raw_request(&requests, 1, "call", call_params("\"hang\"", ",\"timeoutMs\":300"));
    raw_send(fd, buf_data(&requests), buf_len(&requests));
    CU_ASSERT_TRUE(node_until(&n, &n.seen->calls, 1));
    uint64_t begin = clock_now_ns();
    node_finish(&n);
    CU_ASSERT_TRUE(clock_now_ns() - begin < 1500 * CLOCK_NS_PER_MS);       /* not until its deadline of 2 s */
    CU_ASSERT_EQUAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(a.json, "NX_ETIMEDOUT"));
    CU_ASSERT_EQUAL(raw_next(fd, &in, &a), 0);
    CU_ASSERT_EQUAL(raw_next(idle, &in, &a), 0);
    buf_fini(&requests);
    buf_fini(&in);
    (void)close(fd);
    (void)close(idle);
}

UNIT(session, stopping_ends_at_its_deadline)
{
    struct node n;
    struct buf requests, in;
    struct raw_answer a;
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&requests, 0);
    buf_init(&in, 0);
    raw_request(&requests, 1, "call", call_params("\"hang\"", ",\"timeoutMs\":\"infinity\""));
    raw_send(fd, buf_data(&requests), buf_len(&requests));
    CU_ASSERT_TRUE(node_until(&n, &n.seen->calls, 1));
    node_finish(&n);
    CU_ASSERT_EQUAL(raw_next(fd, &in, &a), 0);
    buf_fini(&requests);
    buf_fini(&in);
    (void)close(fd);
}
