/*
 * world.h - a real runtime in this process, for tests: shared memory, loop, route, calls, modules, and servers that do what a test tells them.
 *
 * A puppet is a GenServer whose messages are functions of the test: world_do() packs one, and the puppet runs it inside its callback. A test is itself
 * such a function, run by a driver server: it may call, wait and assert (never CU_ASSERT_..._FATAL there: that jumps off the coroutine).
 */
#ifndef NOEXD_T_GENSERVER_WORLD_H
#define NOEXD_T_GENSERVER_WORLD_H

#include <msgpack.h>

#include "genserver/genserver.h"
#include "pipe/mesh.h"
#include "shm/board.h"
#include "shm/nodes.h"
#include "shm/stats.h"
#include "unit.h"
#include "wire/system.h"

enum { WORLD_INFOS = 64 };

/* What a puppet remembers of an nx_info: texts copied. */
struct world_info { enum nx_info_kind kind; uint64_t timer, tag, count; int status; int64_t value; nx_ref ref, other; nx_reason reason; enum nx_scope scope;
                    int error; char text[160], name[64], node[64]; };

struct puppet {
    int64_t number;                       /* whatever a test counts */
    nx_from kept;
    size_t info_count;
    struct world_info infos[WORLD_INFOS];
    struct puppet **mine;                 /* where the test sees this state; NULL when it has terminated */
    nx_reason *ended;
};

typedef int world_fn(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply);

struct world {
    struct shm *shm;
    struct loop *loop;
    struct route *route;
    struct calls *calls;
    struct modules *modules;
    struct runtime *rt;
    uint16_t slot;
    uint32_t generation;
};
extern struct world world;

struct world_options { uint32_t workers, mailbox_messages, max_parked, max_servers; bool refuse_mismatch; };

/* Shared memory of a node with `workers` slots, all of them in generation 1 and ready; a second node "beta" is in the node table, at index 1, down. */
void world_shm(const struct world_options *o);
/* The rest, for one slot. */
void world_open(const struct world_options *o, uint16_t slot);
void world_close(void);                                                /* stops its servers first */
void world_discard(void);                                              /* without a word to them */
/* All of it with one worker, run `test` in a driver, and close. */
void world_run(void (*test)(nx_self *self));
void world_run_with(const struct world_options *o, void (*test)(nx_self *self));
/* In an open world: boot a driver that runs `test`, turn the loop until it has returned. */
void world_drive(void (*test)(nx_self *self));

/* In a test. */
nx_value world_do(nx_self *self, world_fn *fn, uint64_t arg);          /* a message that makes a puppet run fn */
nx_ref world_puppet(nx_self *self, struct puppet **mine);              /* start one; mine (may be NULL) is kept up to date */
int64_t world_int(nx_value v);                                         /* an integer reply; -999999 if it is none */
void world_pause(nx_self *self, int64_t ms);                           /* let others run for that long */
uint64_t world_stat(const char *name);                                 /* a counter by its listing name */
nx_ref world_ref(uint16_t slot, uint64_t serial);                      /* of a server of this node */
uint64_t world_ms(void);

/* A second worker: a fork that runs a world in slot 1 with one puppet (serial 1), joined by real pipes. */
int  world_fork_worker(void);                                          /* its pid; the parent's world is open as slot 0 */
void world_end_worker(int pid);

/* The test as link worker: what arrives for SLOT_LINK, and sending as if from it. */
struct world_link { struct envelope last[16]; uint8_t body[16][4096]; size_t count; };
void world_link_open(struct world_link *l);
void world_link_close(void);
void world_link_send(const struct envelope *e, const void *body);

#endif
