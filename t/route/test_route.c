/*
 * test_route.c - the way to a server, whoever has died; what may come in; answers.
 */
#include "route/route.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"
#include "unit.h"

#define REF(node_, incarnation_, slot_, generation_, serial_) \
    ((nx_ref){ .node = (node_), .incarnation = (incarnation_), .slot = (slot_), .generation = (generation_), .serial = (serial_) })

UNIT(route, C9_a_ref_reaches_one_life_of_one_worker_of_one_life_of_a_node)
{
    static const struct { const char *what; nx_ref to; int way; } cases[] = {
        { "nothing", { .serial = 0 }, NX_EINVAL },
        { "no server of this node", REF(0, OUR_INCARNATION, 0, OUR_LIFE, 0), NX_ENOSERVER },
        { "this worker", REF(0, OUR_INCARNATION, 0, OUR_LIFE, 42), ROUTE_HERE },
        { "this worker's earlier life", REF(0, OUR_INCARNATION, 0, OUR_LIFE - 1, 42), NX_ENOSERVER },
        { "this worker in an earlier life of the node", REF(0, OUR_INCARNATION + 1, 0, OUR_LIFE, 42), NX_ENOSERVER },
        { "another worker", REF(0, OUR_INCARNATION, 1, 21, 42), ROUTE_PROCESS },
        { "its earlier life", REF(0, OUR_INCARNATION, 1, 20, 42), NX_ENOSERVER },
        { "its next life", REF(0, OUR_INCARNATION, 1, 22, 42), NX_ENOSERVER },
        { "it in an earlier life of the node", REF(0, OUR_INCARNATION - 1, 1, 21, 42), NX_ENOSERVER },
        { "a worker that is down", REF(0, OUR_INCARNATION, 2, 5, 42), NX_ENOSERVER },
        { "a worker that is down, generation 0", REF(0, OUR_INCARNATION, 2, 0, 42), NX_ENOSERVER },
        { "a slot that is none", REF(0, OUR_INCARNATION, 64, 0, 42), NX_ENOSERVER },
        { "slot 65535", REF(0, OUR_INCARNATION, 0xFFFF, 0, 42), NX_ENOSERVER },
        { "any worker", REF(0, OUR_INCARNATION, SLOT_ANY, 1, 42), NX_ENOSERVER },
        { "a node that is up", REF(1, PEER_INCARNATION, 7, 99, 42), ROUTE_NODE },
        { "its earlier life", REF(1, PEER_INCARNATION - 1, 7, 99, 42), NX_ENOSERVER },
        { "a node that is down", REF(2, PEER_INCARNATION, 7, 99, 42), NX_ENODE },
        { "an index beyond the table", REF(3, PEER_INCARNATION, 7, 99, 42), NX_ENODE },
        { "a number never given", REF(0x80000000, PEER_INCARNATION, 7, 99, 42), NX_ENODE },
        { "the highest number", REF(UINT32_MAX, OUR_INCARNATION, 0, OUR_LIFE, 42), NX_ENODE },
    };
    struct place p = { .shm = NULL };
    place_open(&p, OUR_SLOT, OUR_LIFE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct envelope e = { .node = 77, .session = 77, .kind = KIND_CALL, .call_id = 5, .deadline_ns = 6, .body_len = 7 };
        int way = route_to(p.route, cases[i].to, &e);
        if (way != cases[i].way)
            printf("# %s: %d\n", cases[i].what, way);
        CU_ASSERT_EQUAL(way, cases[i].way);
        if (way < 0)
            continue;
        CU_ASSERT_EQUAL(e.node, cases[i].to.node);
        CU_ASSERT_EQUAL(e.session, way == ROUTE_NODE ? 5 : 0);
        CU_ASSERT_EQUAL(e.slot, cases[i].to.slot);
        CU_ASSERT_EQUAL(e.generation, cases[i].to.generation);
        CU_ASSERT_EQUAL(e.serial, 42);
        CU_ASSERT(e.kind == KIND_CALL && e.call_id == 5 && e.deadline_ns == 6 && e.body_len == 7);      /* the caller's own */
    }
    place_live(&p, 1, 0);                         /* the worker dies: one store */
    struct envelope e;
    CU_ASSERT_EQUAL(route_to(p.route, REF(0, OUR_INCARNATION, 1, 21, 42), &e), NX_ENOSERVER);
    place_close(&p);
}

static int
send_to(struct place *p, uint32_t node, uint16_t slot, uint32_t generation, uint8_t kind, uint32_t len)
{
    static uint8_t body[1 << 20];
    struct envelope e = { .node = node, .session = node != 0 ? 5 : 0, .slot = slot, .generation = generation, .kind = kind, .body_len = len,
                          .call_id = 1 };
    return route_send(p->route, &e, body);
}

static int
next_message(int fd, struct envelope *e, uint8_t *body, size_t size)
{
    uint8_t head[WIRE_PIPE_HEADER];
    if (read(fd, head, sizeof head) != (ssize_t)sizeof head)
        return -1;
    envelope_decode_pipe(head, e);
    return e->body_len <= size && read(fd, body, e->body_len) == (ssize_t)e->body_len ? 0 : -1;
}

UNIT(route, messages_go_to_their_process_and_those_for_other_nodes_to_the_link_worker)
{
    struct place p = { .shm = NULL };
    struct envelope e;
    uint8_t body[64];
    int link[2], worker[2];
    place_open(&p, OUR_SLOT, OUR_LIFE);
    CU_ASSERT_EQUAL(send_to(&p, 0, 1, 21, KIND_CALL, 10), NX_ENOSERVER);
    CU_ASSERT_EQUAL(send_to(&p, 0, SLOT_LINK, 0, KIND_REGISTER, 10), NX_ENOSERVER);
    CU_ASSERT_EQUAL(send_to(&p, 1, 7, 99, KIND_CALL, 10), NX_ENODE);
    CU_ASSERT_EQUAL(send_to(&p, 0, OUR_SLOT, OUR_LIFE, KIND_CALL, 10), NX_ENOSERVER);
    place_attach(&p, SLOT_LINK, 31, link);
    place_attach(&p, 1, 21, worker);
    CU_ASSERT_EQUAL(send_to(&p, 0, 1, 21, KIND_CALL, 10), 0);
    CU_ASSERT_EQUAL(send_to(&p, 0, 1, 20, KIND_CALL, 10), NX_ENOSERVER);
    CU_ASSERT_EQUAL(send_to(&p, 0, 1, 0, KIND_REPLY, 11), 0);
    CU_ASSERT_EQUAL(send_to(&p, 1, 1, 21, KIND_CALL, 12), 0);             /* the same slot, of the other node */
    CU_ASSERT_EQUAL(send_to(&p, 0, SLOT_LINK, 0, KIND_REGISTER, 13), 0);
    CU_ASSERT_EQUAL(send_to(&p, 0, 1, 21, KIND_CALL, (1 << 20) + 1), NX_ETOOBIG);
    CU_ASSERT_EQUAL(loop_turn(p.loop, false), 0);
    CU_ASSERT_EQUAL(next_message(worker[0], &e, body, sizeof body), 0);
    CU_ASSERT(e.node == 0 && e.slot == 1 && e.body_len == 10 && e.generation == 21);
    CU_ASSERT_EQUAL(next_message(worker[0], &e, body, sizeof body), 0);
    CU_ASSERT(e.kind == KIND_REPLY && e.body_len == 11);
    CU_ASSERT_EQUAL(next_message(worker[0], &e, body, sizeof body), -1);
    CU_ASSERT_EQUAL(next_message(link[0], &e, body, sizeof body), 0);
    CU_ASSERT(e.node == 1 && e.session == 5 && e.slot == 1 && e.generation == 21 && e.body_len == 12);
    CU_ASSERT_EQUAL(next_message(link[0], &e, body, sizeof body), 0);
    CU_ASSERT(e.node == 0 && e.kind == KIND_REGISTER);
    CU_ASSERT_EQUAL(PLACE_STAT(&p, pipe_messages_out), 4);
    CU_ASSERT_EQUAL(PLACE_STAT(&p, pipe_bytes_out), 4 * WIRE_PIPE_HEADER + 10 + 11 + 12 + 13);
    CU_ASSERT_EQUAL(PLACE_STAT(&p, pipe_refused), 0);
    int err;
    do
        err = send_to(&p, 0, 1, 21, KIND_CALL, 60000);
    while (err == 0);
    CU_ASSERT_EQUAL(err, NX_EBUSY);
    CU_ASSERT_EQUAL(PLACE_STAT(&p, pipe_refused), 1);
    CU_ASSERT_EQUAL(send_to(&p, 0, 1, 0, KIND_REPLY, 10), 0);             /* answers still pass */
    (void)close(link[0]), (void)close(link[1]), (void)close(worker[0]), (void)close(worker[1]);
    place_until(&p, &p.gone, 2);
    place_close(&p);
}

static void
say(int fd, uint32_t node, uint8_t kind, uint64_t call_id)
{
    uint8_t head[WIRE_PIPE_HEADER];
    struct envelope e = { .node = node, .session = node != 0 ? 5 : 0, .slot = OUR_SLOT, .kind = kind, .call_id = call_id };
    envelope_encode_pipe(&e, head);
    CU_ASSERT_EQUAL(write(fd, head, sizeof head), (ssize_t)sizeof head);
}

UNIT(route, only_the_link_worker_speaks_for_other_nodes_and_of_them)
{
    struct place p = { .shm = NULL };
    int link[2], worker[2];
    static const uint8_t wrong[] = { 0, KIND_REGISTRY_DELTA, KIND_REGISTRY_SYNC, KIND_HEARTBEAT, KIND_BEHAVIORS, 22, 63, KIND_NODE_EVENT,
                                     KIND_REGISTRY_EVENT, KIND_OWNER_READY, KIND_PIPE_END, 127, 128, 255 };
    place_open(&p, OUR_SLOT, OUR_LIFE);
    place_attach(&p, SLOT_LINK, 31, link);
    place_attach(&p, 1, 21, worker);
    say(worker[1], 0, KIND_CALL, 1);
    place_until(&p, &p.count, 1);
    CU_ASSERT_EQUAL(p.last.from, 1);
    say(worker[1], 1, KIND_CALL, 2);              /* as if from another node */
    say(worker[1], 1, KIND_REPLY, 3);
    for (size_t i = 0; i < sizeof wrong; i++)
        say(worker[1], 0, wrong[i], 4);
    say(worker[1], 0, KIND_REPLY, 5);
    place_until(&p, &p.count, 2);
    CU_ASSERT_EQUAL(p.last.e.call_id, 5);
    CU_ASSERT_EQUAL(PLACE_STAT(&p, bad_messages), 2 + sizeof wrong);
    say(link[1], 1, KIND_CALL, 6);
    say(link[1], 1, KIND_NODE_EVENT, 7);
    place_until(&p, &p.count, 4);
    CU_ASSERT_EQUAL(p.last.from, SLOT_LINK);
    CU_ASSERT_EQUAL(p.last.e.node, 1);
    CU_ASSERT_EQUAL(p.last.e.session, 5);
    CU_ASSERT_EQUAL(PLACE_STAT(&p, bad_messages), 2 + sizeof wrong);
    CU_ASSERT_EQUAL(PLACE_STAT(&p, pipe_messages_in), 4 + 2 + sizeof wrong);
    (void)close(link[0]), (void)close(link[1]), (void)close(worker[0]), (void)close(worker[1]);
    place_close(&p);
}

UNIT(route, an_answer_goes_to_the_slot_in_the_call_id_of_the_node_that_asked)
{
    struct place p = { .shm = NULL };
    struct envelope e;
    uint8_t body[64];
    int link[2], worker[2];
    place_open(&p, OUR_SLOT, OUR_LIFE);
    place_attach(&p, SLOT_LINK, 31, link);
    place_attach(&p, 1, 21, worker);
    uint64_t near = UINT64_C(1) << 48 | 77, far = UINT64_C(9) << 48 | 78, own = 79, no_such = UINT64_C(2) << 48 | 80;
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_REPLY, 0, 0, near, 123, "near", 4), 0);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_SPAWN_REPLY, 1, 4, far, 0, "far", 3), 0);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_REPLY, 1, 4, own, 0, "0", 1), 0);       /* slot 0 of the other node, not we */
    CU_ASSERT_EQUAL(p.count, 0);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_ERROR, 0, 0, own, 5, "own", 3), 0);     /* at once */
    CU_ASSERT_EQUAL(p.count, 1);
    CU_ASSERT_EQUAL(p.last.from, OUR_SLOT);
    CU_ASSERT(p.last.e.kind == KIND_ERROR && p.last.e.call_id == own && p.last.e.body_len == 3 && memcmp(p.last.body, "own", 3) == 0);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_REPLY, 0, 0, no_such, 0, "x", 1), NX_ENOSERVER);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_REPLY, 0, 0, 0, 0, "x", 1), NX_EINVAL);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_CAST, 0, 0, near, 0, "x", 1), NX_EINVAL);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_REPLY, 0, 0, own, 0, NULL, (1 << 20) + 1), NX_ETOOBIG);
    CU_ASSERT_EQUAL(route_answer(p.route, KIND_REPLY, 0, 0, near, 0, NULL, SIZE_MAX), NX_ETOOBIG);
    CU_ASSERT_EQUAL(loop_turn(p.loop, false), 0);
    CU_ASSERT_EQUAL(next_message(worker[0], &e, body, sizeof body), 0);
    CU_ASSERT(e.node == 0 && e.session == 0 && e.slot == 1 && e.serial == 0 && e.generation == 0 && e.call_id == near && e.deadline_ns == 123);
    CU_ASSERT_EQUAL(memcmp(body, "near", 4), 0);
    CU_ASSERT_EQUAL(next_message(link[0], &e, body, sizeof body), 0);
    CU_ASSERT(e.node == 1 && e.session == 4 && e.slot == 9 && e.kind == KIND_SPAWN_REPLY && e.call_id == far);
    CU_ASSERT_EQUAL(next_message(link[0], &e, body, sizeof body), 0);
    CU_ASSERT(e.node == 1 && e.slot == 0 && e.call_id == own);
    (void)close(link[0]), (void)close(link[1]), (void)close(worker[0]), (void)close(worker[1]);
    place_close(&p);
}

UNIT(route, a_call_crosses_to_another_process_and_its_answer_comes_back)
{
    struct place p = { .shm = NULL };
    int there[2], back[2];
    place_open(&p, OUR_SLOT, OUR_LIFE);
    CU_ASSERT_EQUAL_FATAL(pipe(there), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(back), 0);
    pid_t child = fork();
    if (child == 0) {
        struct place q = { .shm = p.shm };
        (void)close(there[1]), (void)close(back[0]);
        place_open(&q, 1, 21);
        q.echo = true;
        if (mesh_attach(route_borrow_mesh(q.route), OUR_SLOT, OUR_LIFE, there[0], back[1], NULL) != 0)
            _exit(1);
        while (q.gone == 0)
            if (loop_turn(q.loop, true) != 0)
                _exit(2);
        _exit(q.gone_slot == OUR_SLOT && q.gone_generation == OUR_LIFE && q.count == 100 ? 0 : 3);
    }
    (void)close(there[0]), (void)close(back[1]);
    CU_ASSERT_EQUAL_FATAL(mesh_attach(route_borrow_mesh(p.route), 1, 21, back[0], there[1], NULL), 0);
    for (uint64_t id = 1; id <= 100; id++) {
        struct envelope e;
        CU_ASSERT_EQUAL(route_to(p.route, REF(0, OUR_INCARNATION, 1, 21, 42), &e), ROUTE_PROCESS);
        e.kind = KIND_CALL, e.flags = 0, e.call_id = id, e.deadline_ns = 0, e.body_len = 5;
        CU_ASSERT_EQUAL(route_send(p.route, &e, "hello"), 0);
        if (id % 7 == 0)
            place_until(&p, &p.count, id);
    }
    place_until(&p, &p.count, 100);
    CU_ASSERT(p.last.from == 1 && p.last.e.kind == KIND_REPLY && p.last.e.call_id == 100 && memcmp(p.last.body, "hello", 5) == 0);
    mesh_detach(route_borrow_mesh(p.route), 1, 21);      /* its end of our pipe gives EOF: it ends too */
    CU_ASSERT_EQUAL(p.gone, 1);
    CU_ASSERT_EQUAL(p.gone_slot, 1);
    CU_ASSERT_EQUAL(p.gone_generation, 21);
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    place_close(&p);
}

UNIT(route, failures_are_explained_with_node_and_ref)
{
    struct place p = { .shm = NULL };
    struct base_error why;
    nx_ref far = REF(2, PEER_INCARNATION, 7, 99, 42);
    place_open(&p, OUR_SLOT, OUR_LIFE);
    CU_ASSERT_EQUAL(route_explain(p.route, NX_ENODE, far, &why), NX_ENODE);
    CU_ASSERT_STRING_EQUAL(why.text, "node " DOWN_NODE " is not reachable");
    CU_ASSERT_STRING_EQUAL(why.subject, DOWN_NODE);
    CU_ASSERT_EQUAL(route_explain(p.route, NX_ENOSERVER, far, &why), NX_ENOSERVER);
    CU_ASSERT_STRING_EQUAL(why.subject, "#" DOWN_NODE "/0000000000002222/7.99.42");
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, why.subject));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, " is not running on " DOWN_NODE));
    CU_ASSERT_EQUAL(route_explain(p.route, NX_EINVAL, (nx_ref){ .serial = 0 }, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "empty"));
    CU_ASSERT_EQUAL(route_explain(p.route, NX_ETOOBIG, far, &why), NX_ETOOBIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "1048576"));
    CU_ASSERT_EQUAL(route_explain(p.route, NX_EBUSY, far, NULL), NX_EBUSY);
    CU_ASSERT_EQUAL(route_explain(p.route, NX_ENOMEM, REF(12345, 1, 1, 1, 1), &why), NX_ENOMEM);
    place_close(&p);
}
