/*
 * test_connection.c - nodes come up and go down; what waits to be sent; closing in order.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "raw.h"
#include "unit.h"
#include "world.h"

static void
on_stopped(void *arg)
{
    ((struct node *)arg)->stops++;
}

UNIT(connection, processes_hear_of_nodes_with_their_session)
{
    struct world w;
    uint32_t first = 99, second = 99, down = 99;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL);
    struct process *a0 = node_process(a, 0, 5), *gate = node_process(a, SLOT_GATE, 2);
    struct node *b = node_begin(&w, "b", a->conf.node.text, NULL);
    struct process *b0 = node_process(b, 0, 5);
    worlds_meet(&w, a, b);
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 1 && count_kind(gate, KIND_NODE_EVENT) == 1 && count_kind(b0, KIND_NODE_EVENT) == 1);
    CU_ASSERT_STRING_EQUAL(node_event_text(a0, 0, &first), "up");
    struct process *a1 = node_process(a, 1, 5);       /* later: told of what is up already */
    WAIT(&w, count_kind(a1, KIND_OWNER_READY) == 1);
    CU_ASSERT_STRING_EQUAL(node_event_text(a1, 0, &second), "up");
    CU_ASSERT_EQUAL(first, second);
    node_end(&b);                                     /* its sockets close without a word */
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 2 && count_kind(a1, KIND_NODE_EVENT) == 2);
    CU_ASSERT_STRING_EQUAL(node_event_text(a0, 1, &down), "down connection_closed");
    CU_ASSERT_EQUAL(down, first);
    struct process again = { .node = a, .slot = 0 };
    struct node *b2 = node_begin(&w, "b", a->conf.node.text, NULL);
    WAIT(&w, node_is_up(a, b2) && count_kind(a0, KIND_NODE_EVENT) == 3);
    CU_ASSERT_EQUAL(to_node(&again, b2, KIND_CAST, 0, 5, 0, 1).session, 0);      /* another port, so another node: its own sessions */
    world_end(&w);
}

UNIT(connection, either_side_may_dial)
{
    for (int i = 0; i < 2; i++) {
        struct world w;
        world_begin(&w);
        struct node *first = node_begin(&w, i == 0 ? "a" : "b", NULL, NULL);
        struct node *second = node_begin(&w, i == 0 ? "b" : "a", first->conf.node.text, NULL);
        struct process *one = node_process(first, 0, 5), *two = node_process(second, 0, 5);
        two->is_echo = true;
        worlds_meet(&w, first, second);
        struct envelope e = to_node(one, second, KIND_CALL, 0, 5, 1, 10);
        send_body(one, &e, 1);
        WAIT(&w, count_kind(one, KIND_REPLY) == 1);
        world_end(&w);
    }
}

UNIT(connection, M6_an_orderly_stop_is_told_as_graceful_shutdown_and_done_comes_once)
{
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL), *b = node_begin(&w, "b", a->conf.node.text, NULL);
    struct process *a0 = node_process(a, 0, 5);
    worlds_meet(&w, a, b);
    uint64_t since = clock_now_ns();
    link_stop(b->link, since + 5 * CLOCK_NS_PER_S, on_stopped, b);
    link_stop(b->link, since + 6 * CLOCK_NS_PER_S, on_stopped, b);
    WAIT(&w, b->stops > 0 && count_kind(a0, KIND_NODE_EVENT) == 2);
    CU_ASSERT(clock_now_ns() - since < CLOCK_NS_PER_S);          /* the peer's end ends it, not a timer */
    CU_ASSERT_STRING_EQUAL(node_event_text(a0, 1, NULL), "down graceful_shutdown");
    world_run(&w, 50);
    CU_ASSERT_EQUAL(b->stops, 1);
    CU_ASSERT(list_is_empty(&b->link->conns));
    link_stop(a->link, clock_now_ns(), on_stopped, a);           /* without any link, and with no time left */
    WAIT(&w, a->stops == 1);
    world_end(&w);
}

UNIT(connection, what_was_accepted_before_an_orderly_stop_arrives_before_the_end)
{
    enum { MESSAGES = 20 };
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL), *b = node_begin(&w, "b", a->conf.node.text, NULL);
    struct process *a0 = node_process(a, 0, 5);
    worlds_meet(&w, a, b);
    struct conn *c = node_way(b, a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        struct envelope e = { .kind = KIND_REPLY, .slot = 0, .serial = i, .call_id = call_id(a0, i), .body_len = 1 << 20 };
        CU_ASSERT_EQUAL(connection_put(c, (uint16_t)(i % 3), &e, body_of(i, e.body_len)), 0);
    }
    link_stop(b->link, clock_now_ns() + 5 * CLOCK_NS_PER_S, on_stopped, b);
    WAIT(&w, b->stops == 1 && count_kind(a0, KIND_NODE_EVENT) == 2);
    CU_ASSERT_STRING_EQUAL(node_event_text(a0, 1, NULL), "down graceful_shutdown");
    CU_ASSERT_EQUAL(count_kind(a0, KIND_REPLY), MESSAGES);
    CU_ASSERT_EQUAL(a0->got[a0->count - 1].e.kind, KIND_NODE_EVENT);
    for (size_t i = 0; i < count_kind(a0, KIND_REPLY); i++) {
        const struct got *g = find_kind(a0, KIND_REPLY, i);
        CU_ASSERT(is_body(g, g->e.serial, 1 << 20));
    }
    world_end(&w);
}

/* Its own process, its own loop; dies by SIGKILL. */
UNIT(connection, M6_a_killed_node_is_down_at_once)
{
    struct world w;
    uint64_t since = 0;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL);
    struct process *a0 = node_process(a, 0, 5);
    char seed[300];
    snprintf(seed, sizeof seed, "%s", a->conf.node.text);
    pid_t pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0) {
        struct world theirs;
        (void)alarm(20);
        world_begin(&theirs);
        (void)node_begin(&theirs, "b", seed, NULL);
        (void)loop_run(theirs.loop);
        _exit(0);
    }
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 1);
    CU_ASSERT_STRING_EQUAL(node_event_text(a0, 0, NULL), "up");
    since = clock_now_ns();
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 2);
    CU_ASSERT(clock_now_ns() - since < 500 * CLOCK_NS_PER_MS);
    CU_ASSERT_STRING_EQUAL(node_event_text(a0, 1, NULL), "down connection_closed");
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
    world_end(&w);
}

/* A peer that never reads: bounded memory, requests refused, casts dropped, answers kept, another peer untouched. */
UNIT(connection, a_peer_that_never_reads_costs_bounded_memory_and_nobody_else)
{
    enum { CALLS = 600, LEN = 60000 };
    struct world w;
    struct raw r;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL), *b = node_begin(&w, "b", a->conf.node.text, NULL);
    struct process *a0 = node_process(a, 0, 5), *a1 = node_process(a, 1, 5), *b0 = node_process(b, 0, 5);
    b0->is_echo = true;
    worlds_meet(&w, a, b);
    raw_begin(&r, a, "z@127.0.0.1:1");
    WAIT(&w, nodes_count(shm_nodes(a->shm)) == 3 && a->link->by_node[2] != NULL);
    struct conn *slow = a->link->by_node[2];
    struct envelope e = { .node = 2, .session = slow->session, .kind = KIND_CALL, .slot = 0, .generation = 1, .body_len = LEN };
    for (uint64_t i = 0; i < CALLS; i++) {
        e.call_id = call_id(a0, i), e.serial = i;
        send_body(a0, &e, i);
    }
    WAIT(&w, mesh_unwritten(a0->mesh) == 0 && count_kind(a0, KIND_ERROR) > 0);
    world_run(&w, 100);
    size_t refused = count_kind(a0, KIND_ERROR), queued = connection_queued(slow);
    CU_ASSERT(refused > CALLS / 4 && refused < CALLS);
    for (size_t i = 0; i < refused; i++)
        CU_ASSERT_EQUAL(error_code(find_kind(a0, KIND_ERROR, i)), NX_EBUSY);
    CU_ASSERT(queued > LINK_SOFT / 2 && queued < LINK_SOFT + 2 * LEN + FRAME_MAX);

    e.kind = KIND_CAST, e.call_id = 0;
    for (int i = 0; i < 20; i++)
        send_body(a0, &e, 0);
    WAIT(&w, stats_get(shm_stats(a->shm, SLOT_LINK), casts_dropped) > 0);

    e = to_node(a1, b, KIND_CALL, 0, 5, 1, 10);        /* the other peer */
    uint64_t since = clock_now_ns();
    send_body(a1, &e, 1);
    WAIT(&w, count_kind(a1, KIND_REPLY) == 1);
    CU_ASSERT(clock_now_ns() - since < 500 * CLOCK_NS_PER_MS);

    /* What this process itself says passes all that waits: a heartbeat is not behind 8 MiB in streams. */
    CU_ASSERT(buf_len(&slow->out) < 2 * LINK_BATCH);
    CU_ASSERT(slow->waiting_bytes > LINK_SOFT / 2);

    /* It reads at last: all that was accepted is there. */
    size_t calls = 0;
    WAIT(&w, (calls += raw_read(&r, 0, KIND_CALL)) >= CALLS - refused && slow->waiting_bytes == 0);
    CU_ASSERT_EQUAL(calls, CALLS - refused);
    raw_end(&r);
    world_end(&w);
}

UNIT(connection, a_peer_without_progress_for_10_s_is_given_up)
{
    struct world w;
    struct raw r;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL);
    struct process *a0 = node_process(a, 0, 5);
    raw_begin(&r, a, "z@127.0.0.1:1");
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 1);
    struct conn *c = a->link->by_node[1];
    struct envelope e = { .kind = KIND_REPLY, .slot = 0, .call_id = 1, .body_len = 1 << 20 };
    for (int i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(connection_put(c, 0, &e, body_of(0, e.body_len)), 0);
    WAIT(&w, c->acked_bytes > 0 && loop_now_ns(w.loop) - c->progress_at_ns > 2 * CLOCK_NS_PER_S);       /* two looks, and none saw progress */
    CU_ASSERT(connection_queued(c) > 0);
    c->progress_at_ns -= LINK_STALL_S * CLOCK_NS_PER_S;        /* as if all those seconds had passed */
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 2);
    CU_ASSERT_STRING_EQUAL(node_event_text(a0, 1, NULL), "down connection_closed");
    raw_end(&r);
    world_end(&w);
}

UNIT(connection, over_the_hard_bound_the_link_closes)
{
    struct world w;
    struct raw r;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL);
    struct process *a0 = node_process(a, 0, 5);
    raw_begin(&r, a, "z@127.0.0.1:1");
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 1);
    struct conn *c = a->link->by_node[1];
    struct envelope e = { .kind = KIND_REPLY, .slot = 0, .call_id = 1, .body_len = 1 << 20 };
    int err = 0, count = 0;
    for (; err == 0 && count < 100; count++)
        err = connection_put(c, 0, &e, body_of(0, e.body_len));
    CU_ASSERT_EQUAL(err, NX_EBUSY);
    CU_ASSERT(count > 60 && count < 66);
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 2);
    raw_end(&r);
    world_end(&w);
}

UNIT(connection, keys_are_renewed_after_a_day_and_calls_go_on)
{
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL), *b = node_begin(&w, "b", a->conf.node.text, NULL);
    struct process *a0 = node_process(a, 0, 5), *b0 = node_process(b, 0, 5);
    b0->is_echo = true;
    worlds_meet(&w, a, b);
    struct conn *there = node_way(a, b), *back = node_way(b, a);
    struct envelope e = to_node(a0, b, KIND_CALL, 0, 5, 1, 100000);
    send_body(a0, &e, 1);
    WAIT(&w, count_kind(a0, KIND_REPLY) == 1);
    CU_ASSERT(frame_sealed_bytes(there->sealer) > 100000 && frame_sealed_bytes(back->sealer) > 100000);
    there->key_since_ns -= (uint64_t)LINK_KEY_S * CLOCK_NS_PER_S;
    back->key_since_ns -= (uint64_t)LINK_KEY_S * CLOCK_NS_PER_S;
    WAIT(&w, frame_sealed_bytes(there->sealer) < 100000 && frame_sealed_bytes(back->sealer) < 100000);
    send_body(a0, &e, 1);
    WAIT(&w, count_kind(a0, KIND_REPLY) == 2);
    CU_ASSERT_PTR_EQUAL(node_way(a, b), there);
    world_end(&w);
}

UNIT(connection, answers_to_pings_are_few)
{
    struct world w;
    struct raw r;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL);
    struct process *a0 = node_process(a, 0, 5);
    raw_begin(&r, a, "z@127.0.0.1:1");
    WAIT(&w, count_kind(a0, KIND_NODE_EVENT) == 1);
    uint64_t frames = stats_get(a->link->stats, link_frames_in);
    for (int i = 0; i < 1000; i++)
        CU_ASSERT_EQUAL_FATAL(frame_put_control(r.sealer, &r.out, FRAME_PING, (const uint8_t *)"12345678", 8), 0);
    raw_flush(&r);
    WAIT(&w, stats_get(a->link->stats, link_frames_in) >= frames + 1000);
    size_t pongs = 0;
    WAIT(&w, (pongs += raw_read(&r, FRAME_PONG, 0)) >= LINK_PONGS_PER_S);
    world_run(&w, 20);
    pongs += raw_read(&r, FRAME_PONG, 0);
    CU_ASSERT(pongs <= 2 * LINK_PONGS_PER_S);          /* two calendar seconds at most */
    raw_end(&r);
    world_end(&w);
}

/* The registry's own messages must not depend on the bound that is for the bodies of users. */
static void
small_bodies(struct conf *c)
{
    c->max_body = 1024;
}

UNIT(connection, what_the_cluster_says_is_not_bounded_by_max_body)
{
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, small_bodies), *b = node_begin(&w, "b", a->conf.node.text, small_bodies);
    worlds_meet(&w, a, b);
    struct conn *c = node_way(a, b);
    struct envelope e = { .kind = KIND_CAST, .slot = 0, .generation = 1, .body_len = 30000 };
    CU_ASSERT_EQUAL(connection_put(c, SLOT_LINK, &e, body_of(0, e.body_len)), 0);
    CU_ASSERT_EQUAL(connection_put(c, 0, &e, body_of(0, e.body_len)), NX_ETOOBIG);
    world_end(&w);
}
