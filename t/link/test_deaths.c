/*
 * test_deaths.c - the death of a worker is told to the other nodes, behind all that it said and behind its names.
 */
#include <stdio.h>
#include <string.h>

#include "noex/noex.h"
#include "raw.h"
#include "shm/registry.h"
#include "unit.h"
#include "wire/ref.h"
#include "wire/system.h"

/* a has worker 0 and the gate; b has workers 1 and 2. */
struct pair { struct world w; struct node *a, *b; struct process *a0, *gate, *b1, *b2; };

static void
pair_begin(struct pair *p)
{
    world_begin(&p->w);
    p->a = node_begin(&p->w, "a", NULL, NULL);
    p->b = node_begin(&p->w, "b", p->a->conf.node.text, NULL);
    p->a0 = node_process(p->a, 0, 5);
    p->gate = node_process(p->a, SLOT_GATE, 3);
    p->b1 = node_process(p->b, 1, 8);
    p->b2 = node_process(p->b, 2, 9);
    worlds_meet(&p->w, p->a, p->b);
}

static void
pair_end(struct pair *p)
{
    world_end(&p->w);
}

/* As the master does it: off the board, the pipes' end, its word. */
static void
die(struct process **process)
{
    struct node *n = (*process)->node;
    uint16_t slot = (*process)->slot;
    uint32_t generation = (*process)->generation;
    board_set(shm_board(n->shm), slot, &(struct board_slot){ .state = BOARD_DOWN, .cpu = -1 });
    process_end(process);
    mesh_detach(link_borrow_mesh(n->link), slot, generation);
    link_process_down(n->link, slot, generation);
}

static bool
is_death_of(const struct pair *p, const struct got *g, uint16_t slot, uint32_t generation)
{
    struct conn *c = node_way(p->a, p->b);
    return g != NULL && c != NULL && g->e.node == node_index(p->a, p->b) && g->e.session == c->session && g->e.slot == slot && g->e.generation == generation &&
           g->e.body_len == 0;
}

static uint8_t
last_kind(const struct process *p)
{
    return p->count > 0 ? p->got[p->count - 1].e.kind : 0;
}

UNIT(deaths, C5_the_death_of_a_worker_reaches_every_process_of_the_other_nodes_once)
{
    struct pair p;
    pair_begin(&p);
    die(&p.b2);
    WAIT(&p.w, count_kind(p.a0, KIND_REMOTE_DOWN) == 1 && count_kind(p.gate, KIND_REMOTE_DOWN) == 1);
    CU_ASSERT(is_death_of(&p, find_kind(p.a0, KIND_REMOTE_DOWN, 0), 2, 9));
    CU_ASSERT(is_death_of(&p, find_kind(p.gate, KIND_REMOTE_DOWN, 0), 2, 9));
    die(&p.gate);                                     /* a gate asks for starts too */
    WAIT(&p.w, count_kind(p.b1, KIND_REMOTE_DOWN) == 1);
    const struct got *g = find_kind(p.b1, KIND_REMOTE_DOWN, 0);
    CU_ASSERT(g != NULL && g->e.slot == SLOT_GATE);
    world_run(&p.w, 30);
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_REMOTE_DOWN), 1);
    CU_ASSERT_EQUAL(node_bad(p.a) + node_bad(p.b), 0);
    pair_end(&p);
}

UNIT(deaths, C3_the_last_reply_of_the_dead_comes_first_however_large)
{
    static const size_t sizes[] = { 1, 70000, 1 << 20 };
    struct pair p;
    pair_begin(&p);
    for (size_t i = 0; i < BASE_COUNT(sizes); i++) {
        struct process *dying = i == 0 ? p.b2 : node_process(p.b, 2, 9 + (uint32_t)i);
        process_forget(p.a0);
        for (uint64_t n = 0; n < 4; n++) {            /* in its pipe when it dies: more than a pipe holds, so in part only */
            struct envelope e = to_node(dying, p.a, KIND_REPLY, 0, 0, n, sizes[i]);
            e.call_id = call_id(p.a0, n + 1);
            send_body(dying, &e, n);
        }
        if (i > 0)
            WAIT(&p.w, mesh_unwritten(dying->mesh) == 0);
        else
            (void)loop_turn(p.w.loop, false);
        die(&dying);
        WAIT(&p.w, count_kind(p.a0, KIND_REMOTE_DOWN) == 1);
        CU_ASSERT_EQUAL(count_kind(p.a0, KIND_REPLY), 4);
        CU_ASSERT_EQUAL(last_kind(p.a0), KIND_REMOTE_DOWN);
        CU_ASSERT(is_body(find_kind(p.a0, KIND_REPLY, 3), 3, sizes[i]));
        if (i == 0)
            p.b2 = NULL;
    }
    pair_end(&p);
}

/* Put into the connection in one moment, so that nothing but the streams decides the order. */
UNIT(deaths, the_word_waits_in_the_stream_of_the_dead)
{
    struct pair p;
    pair_begin(&p);
    struct conn *c = node_way(p.b, p.a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    struct envelope large = { .kind = KIND_REPLY, .slot = 0, .call_id = call_id(p.a0, 1), .body_len = 1 << 20 }, other = large;
    other.call_id = call_id(p.a0, 2), other.body_len = 3;
    CU_ASSERT_EQUAL(connection_put(c, 2, &large, body_of(1, large.body_len)), 0);
    die(&p.b2);
    CU_ASSERT_EQUAL(connection_put(c, 1, &other, body_of(2, 3)), 0);
    WAIT(&p.w, count_kind(p.a0, KIND_REMOTE_DOWN) == 1);
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_REPLY), 2);
    CU_ASSERT(is_body(find_kind(p.a0, KIND_REPLY, 0), 2, 3));          /* of a living one: passes */
    CU_ASSERT(is_body(find_kind(p.a0, KIND_REPLY, 1), 1, 1 << 20));
    CU_ASSERT_EQUAL(last_kind(p.a0), KIND_REMOTE_DOWN);
    pair_end(&p);
}

static void
register_name(struct process *from, const struct node *peer, uint64_t number)
{
    struct sys_register q = { .scope = SYS_GLOBAL };
    struct nodes_entry self;
    CU_ASSERT_EQUAL_FATAL(nodes_get(shm_nodes(peer->shm), node_index(peer, from->node), &self), 0);
    char name[32];
    struct buf body;
    q.name = (struct sys_text){ name, (size_t)snprintf(name, sizeof name, "name-%u", (unsigned)number) };
    q.ref = (struct wire_ref){ .incarnation = self.incarnation, .serial = number, .generation = from->generation, .slot = from->slot };
    snprintf(q.ref.node, sizeof q.ref.node, "%s", from->node->conf.node.text);
    buf_init(&body, 0);
    CU_ASSERT_EQUAL_FATAL(sys_register_encode(&q, &body), 0);
    struct envelope e = { .kind = KIND_REGISTER, .slot = SLOT_LINK, .call_id = call_id(from, number), .body_len = (uint32_t)buf_len(&body) };
    send_bytes(from, &e, buf_data(&body));
    buf_fini(&body);
}

static uint32_t
names_on(const struct node *n)
{
    struct registry_entry entry;
    uint64_t cursor = 0;
    uint32_t count = 0;
    while (registry_next(shm_registry(n->shm), shm_board(n->shm), shm_nodes(n->shm), &cursor, &entry) == 1)
        count++;
    return count;
}

static void
follow_names(struct process *from)
{
    struct sys_subscribe q = { .events = NX_EVENTS_NAMES };
    struct buf body;
    buf_init(&body, 0);
    CU_ASSERT_EQUAL_FATAL(sys_subscribe_encode(&q, &body), 0);
    struct envelope e = { .kind = KIND_SUBSCRIBE, .slot = SLOT_LINK, .body_len = (uint32_t)buf_len(&body) };
    send_bytes(from, &e, buf_data(&body));
    buf_fini(&body);
}

UNIT(deaths, R2_names_of_the_dead_are_gone_everywhere_before_it_is_told)
{
    enum { NAMES = 20 };
    struct pair p;
    pair_begin(&p);
    follow_names(p.a0);
    for (uint64_t i = 1; i <= NAMES; i++)
        register_name(p.b2, p.a, i);
    WAIT(&p.w, names_on(p.a) == NAMES && count_kind(p.a0, KIND_REGISTRY_EVENT) >= NAMES);
    process_forget(p.a0);
    die(&p.b2);
    CU_ASSERT_EQUAL(names_on(p.a), NAMES);
    WAIT(&p.w, count_kind(p.a0, KIND_REMOTE_DOWN) == 1);
    CU_ASSERT_EQUAL(names_on(p.a), 0);
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_REGISTRY_EVENT), NAMES);
    CU_ASSERT_EQUAL(last_kind(p.a0), KIND_REMOTE_DOWN);
    pair_end(&p);
}

UNIT(deaths, a_successor_does_not_speak_before_the_death_is_told)
{
    struct pair p;
    pair_begin(&p);
    for (uint64_t i = 1; i <= 20; i++)
        register_name(p.b2, p.a, i);                       /* so that the word would wait for their sweep */
    WAIT(&p.w, names_on(p.a) == 20);
    die(&p.b2);
    p.b2 = node_process(p.b, 2, 10);
    struct envelope e = to_node(p.b2, p.a, KIND_CAST, 0, 5, 1, 3);
    send_body(p.b2, &e, 1);
    WAIT(&p.w, count_kind(p.a0, KIND_CAST) == 1);
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_REMOTE_DOWN), 1);
    CU_ASSERT_EQUAL(last_kind(p.a0), KIND_CAST);
    CU_ASSERT(is_death_of(&p, find_kind(p.a0, KIND_REMOTE_DOWN, 0), 2, 9));
    world_run(&p.w, 30);
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_REMOTE_DOWN), 1);
    pair_end(&p);
}

/* ---------------------------------------------------------------- what a peer may say */

/* A message of any kind: frame_add2 takes only those that a peer knows, and the tag is made later. */
static void
say_kind(struct raw *r, uint8_t kind, const struct envelope *e)
{
    static const uint8_t body[8];
    struct envelope known = *e;
    known.kind = KIND_CAST;
    raw_message(r, &known, body);
    r->out.data[buf_len(&r->out) - e->body_len - WIRE_HEADER + 4] = kind;
}

UNIT(deaths, kinds_that_are_not_known_and_words_that_are_not_well_formed_are_skipped)
{
    struct pair p;
    struct raw r;
    pair_begin(&p);
    raw_begin(&r, p.a, "z@127.0.0.1:1");
    WAIT(&p.w, count_kind(p.a0, KIND_NODE_EVENT) == 2);
    struct conn *c = p.a->link->by_node[2];
    const struct envelope good = { .slot = 2, .generation = 9 };
    struct envelope wrong[] = { good, good, good, good, good, good, good };
    wrong[0].generation = 0, wrong[1].slot = SLOT_LINK, wrong[2].slot = SLOT_ANY, wrong[3].slot = 64, wrong[4].serial = 1, wrong[5].call_id = 1, wrong[6].body_len = 1;
    for (size_t i = 0; i < BASE_COUNT(wrong); i++)
        say_kind(&r, KIND_WORKER_DOWN, &wrong[i]);
    for (unsigned kind = 129; kind < 256; kind++)
        say_kind(&r, (uint8_t)kind, &good);
    say_kind(&r, KIND_WORKER_DOWN, &good);
    raw_flush(&r);
    WAIT(&p.w, count_kind(p.a0, KIND_REMOTE_DOWN) == 1);
    const struct got *g = find_kind(p.a0, KIND_REMOTE_DOWN, 0);
    CU_ASSERT(g != NULL && g->e.node == 2 && g->e.slot == 2 && g->e.generation == 9);
    CU_ASSERT_EQUAL(p.a->link->skipped, BASE_COUNT(wrong) + 127);
    CU_ASSERT_EQUAL(node_bad(p.a), 0);
    CU_ASSERT_PTR_EQUAL(p.a->link->by_node[2], c);
    raw_end(&r);
    pair_end(&p);
}

UNIT(deaths, a_worker_cannot_say_that_another_is_dead)
{
    struct pair p;
    pair_begin(&p);
    struct envelope e = to_node(p.b1, p.a, KIND_WORKER_DOWN, 2, 9, 0, 0), next = to_node(p.b1, p.a, KIND_CAST, 0, 5, 1, 3);
    send_body(p.b1, &e, 0);
    e.kind = KIND_REMOTE_DOWN;
    send_body(p.b1, &e, 0);
    send_body(p.b1, &next, 0);
    WAIT(&p.w, count_kind(p.a0, KIND_CAST) == 1);
    CU_ASSERT_EQUAL(count_kind(p.a0, KIND_REMOTE_DOWN), 0);
    CU_ASSERT_EQUAL(node_bad(p.b), 2);
    pair_end(&p);
}
