/*
 * route_priv.h - the route from inside: what route.c and ref.c share.
 */
#ifndef NOEXD_ROUTE_ROUTE_PRIV_H
#define NOEXD_ROUTE_ROUTE_PRIV_H

#include "base/table.h"
#include "route/route.h"
#include "shm/board.h"
#include "shm/nodes.h"
#include "shm/stats.h"

/* Node numbers from here on are this process's own: nodes that came in a ref and that the node table did not know. */
#define ROUTE_STRANGERS_BASE UINT32_C(0x80000000)
enum { ROUTE_STRANGERS_MAX = 1024 };

struct route {
    struct route_config config;
    struct mesh *mesh;
    struct board *board;
    struct nodes *nodes;
    struct stats *stats;              /* of this process; NULL if its slot has none */
    uint64_t incarnation;             /* of this node: never changes */
    struct strtable *stranger_numbers;        /* node id -> its place in `strangers` */
    char *strangers[ROUTE_STRANGERS_MAX];     /* node ids; never freed before the route: nx_ref_node hands them out */
    uint32_t stranger_count;
};

/* The number of a node in the node table, also for a stranger that it knows by now; unchanged if it does not. */
uint32_t ref_node_index(const struct route *r, uint32_t node);

#endif
