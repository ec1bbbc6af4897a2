/*
 * testing.h - a node in memory: shared memory with three workers, a link worker and two other nodes; a route on top.
 */
#ifndef NOEXD_T_ROUTE_TESTING_H
#define NOEXD_T_ROUTE_TESTING_H

#include "loop/loop.h"
#include "route/route.h"
#include "shm/board.h"
#include "shm/nodes.h"
#include "shm/stats.h"

enum { OUR_SLOT = 0, OUR_LIFE = 11 };
#define OUR_INCARNATION   UINT64_C(0x1111)
#define PEER_INCARNATION  UINT64_C(0x2222)
#define OUR_NODE  "app1@127.0.0.1:4369"
#define UP_NODE   "app2@127.0.0.1:4370"       /* index 1: up, session 5 */
#define DOWN_NODE "app3@127.0.0.1:4371"       /* index 2: down */

struct heard { uint16_t from; struct envelope e; uint8_t body[64]; };

struct place {
    struct loop *loop;
    struct shm *shm;
    struct route *route;
    uint64_t count, gone;
    struct heard last;
    uint16_t gone_slot;
    uint32_t gone_generation;
    bool echo;                                /* answer every request with its own body */
};

void place_open(struct place *p, uint16_t slot, uint32_t generation);     /* shm made here if p->shm is NULL */
void place_close(struct place *p);                                        /* the shm too */
void place_node(struct place *p, const char *id, enum nodes_state state, uint64_t incarnation, uint32_t session, uint32_t *index);
void place_live(struct place *p, uint16_t slot, uint32_t generation);     /* on the board */
/* A pipe pair between the process in `slot` and nobody: far[0] reads what we send, far[1] is what it writes with. */
void place_attach(struct place *p, uint16_t slot, uint32_t generation, int far[2]);
void place_until(struct place *p, const uint64_t *what, uint64_t at_least);
#define PLACE_STAT(p, field) stats_get(shm_stats((p)->shm, OUR_SLOT), field)

#endif
