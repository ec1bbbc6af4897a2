/*
 * link.h - the doing of the cluster: TCP connections and messages between pipes and connections.
 *
 * Lives here: connections (connection.c: bytes in, frames, time; outbox.c: what waits to be sent), dialling and accepting (dial.c, accept.c), forwarding between pipes and connections by the
 * routing header (forward.c), pieces of large bodies, feeding cluster/ and carrying out what it says (feed.c), the deaths of workers told to other nodes (deaths.c).
 * Never here: decisions about membership or names; module code; decoding of users' bodies.
 * Runs in: the link worker.
 */
#ifndef NOEXD_LINK_LINK_H
#define NOEXD_LINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "cluster/cluster.h"
#include "conf/conf.h"
#include "loop/loop.h"
#include "pipe/mesh.h"
#include "shm/shm.h"

struct link_worker;

struct link_config {
    struct loop *loop;
    struct shm *shm;
    const struct conf *conf;                 /* borrowed for the life of the link worker */
    int listen_fd;                           /* owned from now on; -1 = none */
    uint64_t incarnation, started_ns;
    const struct cluster_secret *secrets; size_t secret_count;       /* copied */
};

int  link_new(const struct link_config *config, struct link_worker **out, struct base_error *why);
void link_free(struct link_worker **l);
struct mesh *link_borrow_mesh(struct link_worker *l);                /* for mesh_attach / mesh_detach by process/ */
/* A process of this node has been attached to the mesh: tell it which nodes are up, and that it may subscribe. */
void link_process_up(struct link_worker *l, uint16_t slot, uint32_t generation);
/* The master's word that a process of this node is dead (after mesh_detach, before its successor is attached): its names go, and the peers are told. */
void link_process_down(struct link_worker *l, uint16_t slot, uint32_t generation);
/* Orderly leave: close frames to all peers, `done` when they are written or at the deadline. */
void link_stop(struct link_worker *l, uint64_t deadline_ns, void (*done)(void *arg), void *arg);

#endif
