/*
 * testing.c - a node in memory.
 */
#include "testing.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

static void
deliver(void *arg, uint16_t from, const struct envelope *e, const uint8_t *body)
{
    struct place *p = arg;
    p->count++;
    p->last = (struct heard){ .from = from, .e = *e };
    memcpy(p->last.body, body, e->body_len < sizeof p->last.body ? e->body_len : sizeof p->last.body);
    if (p->echo && envelope_is_request(e->kind))
        (void)route_answer(p->route, KIND_REPLY, e->node, e->session, e->call_id, e->deadline_ns, body, e->body_len);
}

static void
process_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct place *p = arg;
    p->gone++;
    p->gone_slot = slot;
    p->gone_generation = generation;
}

void
place_node(struct place *p, const char *id, enum nodes_state state, uint64_t incarnation, uint32_t session, uint32_t *index)
{
    struct nodes_entry e = { .state = state, .incarnation = incarnation, .session = session };
    CU_ASSERT_EQUAL_FATAL(node_id_parse(id, strlen(id), &e.id, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(nodes_add(shm_nodes(p->shm), &e.id, index), 0);
    nodes_put(shm_nodes(p->shm), *index, &e);
}

void
place_live(struct place *p, uint16_t slot, uint32_t generation)
{
    struct board_slot s = { .generation = generation, .state = generation != 0 ? BOARD_READY : BOARD_DOWN, .pid = 1 };
    board_set(shm_board(p->shm), slot, &s);
}

static void
make_shm(struct place *p)
{
    struct shm_config config = { .workers = 3, .registry_capacity = 64, .nodes_max = 16, .behaviors_max = 4 };
    struct base_error why;
    uint32_t index;
    CU_ASSERT_EQUAL_FATAL(shm_create(&config, &p->shm, &why), 0);
    place_node(p, OUR_NODE, NODES_UP, OUR_INCARNATION, 0, &index);
    CU_ASSERT_EQUAL(index, 0);
    place_node(p, UP_NODE, NODES_UP, PEER_INCARNATION, 5, &index);
    CU_ASSERT_EQUAL(index, 1);
    place_node(p, DOWN_NODE, NODES_DOWN, PEER_INCARNATION, 9, &index);
    board_set_node(shm_board(p->shm), OUR_INCARNATION, 1);
    place_live(p, OUR_SLOT, OUR_LIFE);
    place_live(p, 1, 21);
    place_live(p, SLOT_LINK, 31);
}

void
place_open(struct place *p, uint16_t slot, uint32_t generation)
{
    struct pipe_limits limits = { .soft_bytes = 1 << 18, .hard_bytes = 1 << 20, .max_body = 1 << 20 };
    struct shm *shm = p->shm;
    struct base_error why;
    memset(p, 0, sizeof *p);
    p->shm = shm;
    (void)signal(SIGPIPE, SIG_IGN);
    if (p->shm == NULL)
        make_shm(p);
    CU_ASSERT_EQUAL_FATAL(loop_new(&p->loop, &why), 0);
    struct route_config config = { .loop = p->loop, .shm = p->shm, .slot = slot, .generation = generation, .limits = limits,
                                   .deliver = deliver, .process_gone = process_gone, .arg = p };
    CU_ASSERT_EQUAL_FATAL(route_new(&config, &p->route, &why), 0);
    route_install_ref_codec(p->route);
}

void
place_close(struct place *p)
{
    route_free(&p->route);
    route_free(&p->route);
    loop_free(&p->loop);
    shm_destroy(&p->shm);
}

void
place_attach(struct place *p, uint16_t slot, uint32_t generation, int far[2])
{
    int in[2], out[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
    CU_ASSERT_EQUAL_FATAL(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
    CU_ASSERT_EQUAL_FATAL(mesh_attach(route_borrow_mesh(p->route), slot, generation, in[0], out[1], NULL), 0);
    far[0] = out[0];
    far[1] = in[1];
}

void
place_until(struct place *p, const uint64_t *what, uint64_t at_least)
{
    while (*what < at_least)
        CU_ASSERT_EQUAL_FATAL(loop_turn(p->loop, true), 0);
}
