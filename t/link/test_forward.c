/*
 * test_forward.c - messages between processes of two nodes: whole, in order, to the right one, or answered with a reason.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "unit.h"
#include "wire/ref.h"
#include "wire/system.h"
#include "world.h"

/* Two nodes that are up for each other; a has workers 0 and 1, b has worker 2 in life 9. */
struct pair { struct world w; struct node *a, *b; struct process *a0, *a1, *b2; };

static void
pair_begin(struct pair *p)
{
    world_begin(&p->w);
    p->a = node_begin(&p->w, "a", NULL, NULL);
    p->b = node_begin(&p->w, "b", p->a->conf.node.text, NULL);
    p->a0 = node_process(p->a, 0, 5);
    p->a1 = node_process(p->a, 1, 6);
    p->b2 = node_process(p->b, 2, 9);
    worlds_meet(&p->w, p->a, p->b);
}

static void
pair_end(struct pair *p)
{
    world_end(&p->w);
}

UNIT(forward, C10_bodies_come_and_go_unchanged_at_all_sizes)
{
    static const size_t sizes[] = { 1, 100, 65535, 65536, 65537, 131072, 131073, 1 << 20 };
    struct pair p;
    pair_begin(&p);
    p.b2->is_echo = true;
    for (size_t i = 0; i < BASE_COUNT(sizes); i++) {
        struct envelope e = to_node(p.a0, p.b, KIND_CALL, 2, 9, 10 + i, sizes[i]);
        e.deadline_ns = clock_now_ns() + 5 * CLOCK_NS_PER_S;
        process_forget(p.b2);
        process_forget(p.a0);
        send_body(p.a0, &e, i);
        WAIT(&p.w, count_kind(p.a0, KIND_REPLY) == 1);
        const struct got *call = find_kind(p.b2, KIND_CALL, 0), *reply = find_kind(p.a0, KIND_REPLY, 0);
        CU_ASSERT(is_body(call, i, sizes[i]));
        CU_ASSERT(is_body(reply, i, sizes[i]));
        CU_ASSERT_FATAL(call != NULL && reply != NULL);
        CU_ASSERT_EQUAL(call->e.call_id, e.call_id);
        CU_ASSERT_EQUAL(call->e.serial, e.serial);
        CU_ASSERT_EQUAL(call->e.node, node_index(p.b, p.a));
        CU_ASSERT(call->e.deadline_ns >= e.deadline_ns && call->e.deadline_ns < e.deadline_ns + CLOCK_NS_PER_S);
        CU_ASSERT_EQUAL(reply->e.call_id, e.call_id);
        CU_ASSERT_EQUAL(reply->e.node, e.node);
        CU_ASSERT_EQUAL(reply->e.session, e.session);
    }
    pair_end(&p);
}

UNIT(forward, messages_of_one_worker_keep_their_order_whatever_their_size)
{
    static const size_t sizes[] = { 3, 70000, 1, 500000, 65536, 65537, 20, 1 << 20, 9, 200000 };
    enum { MESSAGES = 120 };
    struct pair p;
    pair_begin(&p);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        struct process *from = i % 2 == 0 ? p.a0 : p.a1;
        size_t len = sizes[(i / 2 + i % 2) % BASE_COUNT(sizes)];
        struct envelope e = to_node(from, p.b, KIND_REPLY, 2, 0, i, len);      /* an answer, since no bound refuses these */
        e.call_id = UINT64_C(2) << 48 | i;
        send_body(from, &e, i);
        if (i % 10 == 0)
            (void)world_turn(&p.w, world_patience());
    }
    WAIT(&p.w, count_kind(p.b2, KIND_REPLY) == MESSAGES);
    uint64_t next[2] = { 0, 1 };
    for (size_t i = 0; i < MESSAGES; i++) {
        const struct got *g = find_kind(p.b2, KIND_REPLY, i);
        CU_ASSERT_FATAL(g != NULL);
        uint64_t number = g->e.serial;
        CU_ASSERT_EQUAL(number, next[number % 2]);
        CU_ASSERT(is_body(g, number, sizes[(number / 2 + number % 2) % BASE_COUNT(sizes)]));
        next[number % 2] += 2;
    }
    pair_end(&p);
}

/* Put into the connection in one moment, so that nothing but the streams decides the order. */
UNIT(forward, messages_of_other_workers_pass_between_the_pieces_of_a_large_one)
{
    struct pair p;
    pair_begin(&p);
    struct conn *c = node_way(p.a, p.b);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    struct envelope large = { .kind = KIND_CAST, .slot = 2, .generation = 9, .serial = 1, .body_len = 1 << 20 }, medium = large, small = large, behind = large;
    medium.serial = 2, medium.body_len = 150000;
    small.serial = 3, small.body_len = 10;
    behind.serial = 4, behind.body_len = 11;
    CU_ASSERT_EQUAL(connection_put(c, 0, &large, body_of(1, large.body_len)), 0);
    CU_ASSERT_EQUAL(connection_put(c, 0, &behind, body_of(4, behind.body_len)), 0);
    CU_ASSERT_EQUAL(connection_put(c, 1, &medium, body_of(2, medium.body_len)), 0);
    CU_ASSERT_EQUAL(connection_put(c, SLOT_GATE, &small, body_of(3, small.body_len)), 0);
    WAIT(&p.w, count_kind(p.b2, KIND_CAST) == 4);
    static const uint64_t expected[] = { 3, 2, 1, 4 };
    for (size_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(find_kind(p.b2, KIND_CAST, i)->e.serial, expected[i]);
    CU_ASSERT(is_body(find_kind(p.b2, KIND_CAST, 1), 2, medium.body_len));
    CU_ASSERT(is_body(find_kind(p.b2, KIND_CAST, 2), 1, large.body_len));
    pair_end(&p);
}

UNIT(forward, a_large_message_of_the_gate_passes_like_that_of_a_worker)
{
    struct pair p;
    pair_begin(&p);
    struct process *gate = node_process(p.a, SLOT_GATE, 3);
    p.b2->is_echo = true;
    struct envelope e = to_node(gate, p.b, KIND_CALL, 2, 9, 1, 300000);
    send_body(gate, &e, 5);
    WAIT(&p.w, count_kind(gate, KIND_REPLY) == 1);
    CU_ASSERT(is_body(find_kind(gate, KIND_REPLY, 0), 5, 300000));
    pair_end(&p);
}

UNIT(forward, a_request_to_a_node_that_is_not_connected_is_answered_at_once)
{
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", "z@127.0.0.1:1", NULL);
    struct process *a0 = node_process(a, 0, 5);
    uint64_t since = clock_now_ns();
    struct envelope e = { .node = 1, .session = 0, .kind = KIND_CALL, .slot = 2, .generation = 9, .serial = 4, .call_id = call_id(a0, 77), .body_len = 1 };
    send_body(a0, &e, 0);
    e.node = 9, e.call_id = call_id(a0, 78);          /* an index that no node has */
    send_body(a0, &e, 0);
    e.node = UINT32_MAX, e.call_id = call_id(a0, 79);
    send_body(a0, &e, 0);
    WAIT(&w, count_kind(a0, KIND_ERROR) == 3);
    CU_ASSERT(clock_now_ns() - since < 500 * CLOCK_NS_PER_MS);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(error_code(find_kind(a0, KIND_ERROR, i)), NX_ENODE);
        CU_ASSERT_EQUAL(find_kind(a0, KIND_ERROR, i)->e.call_id, call_id(a0, 77 + i));
    }
    world_end(&w);
}

UNIT(forward, a_request_of_an_older_session_is_answered_not_sent)
{
    struct pair p;
    pair_begin(&p);
    struct envelope e = to_node(p.a0, p.b, KIND_CALL, 2, 9, 1, 4), answer = to_node(p.a0, p.b, KIND_REPLY, 2, 0, 2, 4);
    e.session--;
    answer.session--;
    answer.call_id = UINT64_C(2) << 48 | 2;
    send_body(p.a0, &answer, 0);
    send_body(p.a0, &e, 0);
    WAIT(&p.w, count_kind(p.a0, KIND_ERROR) == 1);
    CU_ASSERT_EQUAL(error_code(find_kind(p.a0, KIND_ERROR, 0)), NX_ENODE);
    CU_ASSERT_EQUAL(count_kind(p.b2, KIND_CALL) + count_kind(p.b2, KIND_REPLY), 0);
    pair_end(&p);
}

UNIT(forward, a_request_whose_time_is_over_is_not_sent)
{
    struct pair p;
    pair_begin(&p);
    struct envelope late = to_node(p.a0, p.b, KIND_CALL, 2, 9, 1, 4), next = to_node(p.a0, p.b, KIND_CALL, 2, 9, 2, 4);
    late.deadline_ns = clock_now_ns();
    send_body(p.a0, &late, 0);
    send_body(p.a0, &next, 0);
    WAIT(&p.w, count_kind(p.b2, KIND_CALL) == 1);
    CU_ASSERT_EQUAL(find_kind(p.b2, KIND_CALL, 0)->e.serial, 2);
    CU_ASSERT_EQUAL(stats_get(shm_stats(p.a->shm, SLOT_LINK), expired), 1);
    pair_end(&p);
}

UNIT(forward, a_request_to_another_life_of_a_worker_is_answered_no_server)
{
    struct pair p;
    pair_begin(&p);
    static const struct { uint16_t slot; uint32_t generation; } wrong[] = { { 2, 8 }, { 2, 10 }, { 2, 0 }, { 1, 1 }, { 65535, 1 }, { SLOT_LINK, 1 }, { SLOT_GATE, 1 },
                                                                           { SLOT_ANY, 1 } };
    for (size_t i = 0; i < BASE_COUNT(wrong); i++) {
        struct envelope e = to_node(p.a0, p.b, KIND_CALL, wrong[i].slot, wrong[i].generation, i, 4);
        send_body(p.a0, &e, 0);
    }
    WAIT(&p.w, count_kind(p.a0, KIND_ERROR) == BASE_COUNT(wrong));
    for (size_t i = 0; i < BASE_COUNT(wrong); i++) {
        CU_ASSERT_EQUAL(error_code(find_kind(p.a0, KIND_ERROR, i)), NX_ENOSERVER);
        CU_ASSERT_EQUAL(find_kind(p.a0, KIND_ERROR, i)->e.call_id, call_id(p.a0, i));
        struct sys_error error;
        char wanted[WIRE_REF_TEXT_MAX], subject[WIRE_REF_TEXT_MAX];
        const struct got *g = find_kind(p.a0, KIND_ERROR, i);
        CU_ASSERT_EQUAL(sys_error_decode(g->body, g->e.body_len, &error, NULL), 0);
        snprintf(wanted, sizeof wanted, "#%s/%016" PRIx64 "/%u.%u.%zu", p.b->conf.node.text, board_incarnation(shm_board(p.b->shm)), wrong[i].slot,
                 wrong[i].generation, i);
        snprintf(subject, sizeof subject, "%.*s", (int)error.subject.len, error.subject.at);
        CU_ASSERT_STRING_EQUAL(subject, wanted);      /* the ref that was called, so that the caller knows which it was */
    }
    CU_ASSERT_EQUAL(count_kind(p.b2, KIND_CALL), 0);
    pair_end(&p);
}

UNIT(forward, a_monitor_on_a_dead_worker_fires)
{
    struct pair p;
    pair_begin(&p);
    struct sys_monitor q = { .monitor = 33 };
    q.watcher = (struct wire_ref){ .incarnation = 1000, .serial = 8, .generation = 5, .slot = 0 };
    q.target = (struct wire_ref){ .incarnation = 1001, .serial = 44, .generation = 8, .slot = 2 };
    strcpy(q.watcher.node, p.a->conf.node.text);
    strcpy(q.target.node, p.b->conf.node.text);
    struct buf body;
    buf_init(&body, 0);
    CU_ASSERT_EQUAL_FATAL(sys_monitor_encode(&q, &body), 0);
    struct envelope e = to_node(p.a0, p.b, KIND_MONITOR, 2, 8, 44, buf_len(&body));
    send_bytes(p.a0, &e, buf_data(&body));
    WAIT(&p.w, count_kind(p.a0, KIND_MONITOR_EVENT) == 1);
    const struct got *g = find_kind(p.a0, KIND_MONITOR_EVENT, 0);
    struct sys_monitor_event event;
    CU_ASSERT_EQUAL_FATAL(sys_monitor_event_decode(g->body, g->e.body_len, &event, NULL), 0);
    CU_ASSERT(event.monitor == 33 && event.watcher_serial == 8 && event.target.serial == 44);
    buf_fini(&body);
    pair_end(&p);
}

UNIT(forward, a_worker_that_forges_is_refused_and_counted_and_the_link_stays)
{
    struct pair p;
    pair_begin(&p);
    struct conn *c = node_way(p.a, p.b);
    uint64_t bad = node_bad(p.a);
    struct envelope good = to_node(p.a0, p.b, KIND_CALL, 2, 9, 1, 4), e = good;
    e.call_id = call_id(p.a1, 5);                     /* another worker's call */
    send_body(p.a0, &e, 0);
    e = good, e.flags = ENVELOPE_PIECE;
    send_body(p.a0, &e, 0);
    e = good, e.flags = 0x80;
    send_body(p.a0, &e, 0);
    static const uint8_t kinds[] = { 0, KIND_REGISTRY_DELTA, KIND_HEARTBEAT, KIND_BEHAVIORS, KIND_NODE_EVENT, KIND_LIST, KIND_SUBSCRIBE, 200, 255 };
    for (size_t i = 0; i < BASE_COUNT(kinds); i++) {
        e = good, e.kind = kinds[i], e.body_len = 100000;      /* large: it would wait in a stream before the frame sees it */
        send_body(p.a0, &e, 0);
    }
    send_body(p.a0, &good, 3);
    WAIT(&p.w, count_kind(p.b2, KIND_CALL) == 1);
    CU_ASSERT(is_body(find_kind(p.b2, KIND_CALL, 0), 3, 4));
    CU_ASSERT_EQUAL(node_bad(p.a), bad + 3 + BASE_COUNT(kinds));
    CU_ASSERT_PTR_EQUAL(node_way(p.a, p.b), c);
    CU_ASSERT_EQUAL(count_kind(p.a1, KIND_ERROR), 0);
    pair_end(&p);
}

UNIT(forward, an_answer_goes_to_the_caller_named_in_its_id)
{
    struct pair p;
    pair_begin(&p);
    struct envelope e = to_node(p.b2, p.a, KIND_REPLY, 1, 0, 7, 4);
    e.call_id = call_id(p.a0, 7);                     /* slot 1 in the header, slot 0 in the id */
    send_body(p.b2, &e, 2);
    WAIT(&p.w, count_kind(p.a0, KIND_REPLY) == 1);
    CU_ASSERT_EQUAL(count_kind(p.a1, KIND_REPLY), 0);
    pair_end(&p);
}

UNIT(forward, a_start_for_any_worker_goes_to_one_that_is_ready_and_attached)
{
    struct pair p;
    pair_begin(&p);
    struct process *b0 = node_process(p.b, 0, 3);
    board_set_state(shm_board(p.b->shm), 0, BOARD_STARTING);
    struct board_slot not_attached = { .generation = 4, .state = BOARD_READY, .cpu = -1 };
    board_set(shm_board(p.b->shm), 1, &not_attached);
    for (uint64_t i = 0; i < 6; i++) {
        struct envelope e = to_node(p.a0, p.b, KIND_SPAWN, SLOT_ANY, 0, i, 10);
        send_body(p.a0, &e, i);
    }
    WAIT(&p.w, count_kind(p.b2, KIND_SPAWN) == 6);
    CU_ASSERT_EQUAL(find_kind(p.b2, KIND_SPAWN, 0)->e.generation, 9);
    CU_ASSERT_EQUAL(count_kind(b0, KIND_SPAWN), 0);

    board_set_state(shm_board(p.b->shm), 2, BOARD_STOPPING);
    struct envelope e = to_node(p.a0, p.b, KIND_SPAWN, SLOT_ANY, 0, 6, 10);
    send_body(p.a0, &e, 6);
    WAIT(&p.w, count_kind(p.a0, KIND_ERROR) == 1);
    CU_ASSERT_EQUAL(error_code(find_kind(p.a0, KIND_ERROR, 0)), NX_EBUSY);
    pair_end(&p);
}

UNIT(forward, giving_up_a_start_for_any_worker_reaches_all_of_them)
{
    struct pair p;
    pair_begin(&p);
    struct process *b0 = node_process(p.b, 0, 3);
    struct envelope e = to_node(p.a0, p.b, KIND_SPAWN_CANCEL, SLOT_ANY, 0, 0, 0);
    e.call_id = call_id(p.a0, 12);
    send_body(p.a0, &e, 0);
    WAIT(&p.w, count_kind(p.b2, KIND_SPAWN_CANCEL) == 1 && count_kind(b0, KIND_SPAWN_CANCEL) == 1);
    CU_ASSERT_EQUAL(find_kind(b0, KIND_SPAWN_CANCEL, 0)->e.call_id, call_id(p.a0, 12));
    pair_end(&p);
}

UNIT(forward, the_gate_is_told_of_links_and_of_strangers)
{
    struct pair p;
    pair_begin(&p);
    struct process *gate = node_process(p.a, SLOT_GATE, 3);
    CU_ASSERT_PTR_NOT_NULL(connection_new(p.a->link, -1, true, "somebody"));
    static const uint8_t nil = 0xc0;
    struct envelope e = { .kind = KIND_LINK_STATUS, .slot = SLOT_LINK, .call_id = call_id(gate, 1), .body_len = 1 };
    send_bytes(gate, &e, &nil);
    WAIT(&p.w, count_kind(gate, KIND_REPLY) == 1);
    const struct got *g = find_kind(gate, KIND_REPLY, 0);
    CU_ASSERT_FATAL(g != NULL && g->e.body_len > 5);
    CU_ASSERT_EQUAL(g->body[0], 0xdd);
    CU_ASSERT_EQUAL(g->body[4], 2);
    pair_end(&p);
}

UNIT(forward, figures_of_a_peer_stand_in_the_node_table)
{
    struct pair p;
    pair_begin(&p);
    struct envelope e = to_node(p.a0, p.b, KIND_CAST, 2, 9, 1, 5000);
    for (int i = 0; i < 10; i++)
        send_body(p.a0, &e, 0);
    struct nodes_entry there, here;
    WAIT(&p.w, nodes_get(shm_nodes(p.a->shm), node_index(p.a, p.b), &there) == 0 && there.messages_sent >= 10 &&
               nodes_get(shm_nodes(p.b->shm), node_index(p.b, p.a), &here) == 0 && here.messages_received >= 10);
    CU_ASSERT(there.bytes_sent > 50000 && here.bytes_received > 50000);
    CU_ASSERT_EQUAL(there.state, NODES_UP);
    pair_end(&p);
}
