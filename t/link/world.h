/*
 * world.h - real link workers on one loop, real TCP between them, and processes at the other ends of their pipes.
 *
 * A node has shared memory, a configuration and a link worker of its own; a process is a mesh that remembers what it gets. All of them share the loop
 * of the world, so a test waits for what it wants to see with WAIT.
 */
#ifndef NOEXD_T_LINK_WORLD_H
#define NOEXD_T_LINK_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/link_priv.h"

enum { WORLD_NODES = 4, WORLD_WORKERS = 3, WORLD_SECRET = 7 };

struct got { struct envelope e; uint8_t *body; };

struct process {
    struct node *node;
    struct mesh *mesh;
    uint16_t slot;
    uint32_t generation;
    bool is_echo;                     /* answers calls with their own body */
    struct got *got; size_t count, cap;
};

struct node {
    struct world *world;
    struct shm *shm;
    struct conf conf;
    struct node_id seeds[2];
    struct link_worker *link;
    struct process *processes[LINK_SLOTS];
    unsigned stops;                   /* how often link_stop said done */
};

struct world { struct loop *loop; struct node *nodes[WORLD_NODES]; unsigned count; struct loop_timer alarm; };

void world_begin(struct world *w);
void world_end(struct world *w);
bool world_turn(struct world *w, uint64_t until_ns);               /* one turn; false = the time is over */
uint64_t world_patience(void);                                     /* a moment 10 s from now */
void world_run(struct world *w, uint64_t ms);                      /* for what must not happen */

/* Turns until it is so; a failed assertion after 10 s. */
#define WAIT(w, is_so) \
    do { \
        uint64_t wait_until = world_patience(); \
        bool wait_more = true; \
        while (!(is_so) && (wait_more = world_turn(w, wait_until))) \
            ; \
        CU_ASSERT(is_so); \
    } while (0)

/* A node NAME@127.0.0.1:PORT (a free one), with what `change` makes of its configuration, dialling `seed` (may be NULL). */
struct node *node_begin(struct world *w, const char *name, const char *seed, void (*change)(struct conf *c));
void node_end(struct node **n);
struct process *node_process(struct node *n, uint16_t slot, uint32_t generation);      /* attached, its board entry ready */
void process_end(struct process **p);                              /* its pipes close, as when it dies; the link worker is told by EOF alone */
void process_forget(struct process *p);                            /* what it got so far */
uint32_t node_index(const struct node *n, const struct node *of);  /* in its node table; 0 = not there */
bool node_is_up(const struct node *n, const struct node *peer);
struct conn *node_way(const struct node *n, const struct node *to);/* NULL = none */
uint64_t node_bad(const struct node *n);                           /* its count of bad messages */
void worlds_meet(struct world *w, struct node *a, struct node *b); /* until each is up for the other */

/* Messages. A body's bytes follow from its number. */
const uint8_t *body_of(uint64_t number, size_t len);
bool is_body(const struct got *g, uint64_t number, size_t len);
uint64_t call_id(const struct process *p, uint64_t number);
/* To slot and generation on another node, with its session of now. */
struct envelope to_node(const struct process *from, const struct node *to, uint8_t kind, uint16_t slot, uint32_t generation, uint64_t number, size_t len);
void send_body(struct process *from, const struct envelope *e, uint64_t number);
void send_bytes(struct process *from, const struct envelope *e, const void *body);
const struct got *find_kind(const struct process *p, uint8_t kind, size_t nth);        /* NULL = has not come */
size_t count_kind(const struct process *p, uint8_t kind);
int  error_code(const struct got *g);                              /* of a KIND_ERROR; 0 = not one */
/* The nth node event: "" = none; else "up" or "down REASON". */
const char *node_event_text(const struct process *p, size_t nth, uint32_t *session);
int  open_files(void);

#endif
