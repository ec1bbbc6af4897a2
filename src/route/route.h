/*
 * route.h - where a ref lives and the way there: this worker, another process, another node.
 *
 * Lives here: the choice of the way, handing down to the mesh, handing up through a callback given at start; nx_ref to and from the wire.
 * Never here: decoding a body, calls pending.
 * Runs in: workers and the gate.
 */
#ifndef NOEXD_ROUTE_ROUTE_H
#define NOEXD_ROUTE_ROUTE_H

#include <stdbool.h>

#include "base/error.h"
#include "loop/loop.h"
#include "noex/noex.h"
#include "pipe/mesh.h"
#include "shm/registry.h"
#include "shm/shm.h"
#include "wire/envelope.h"
#include "wire/ref.h"

struct route;

struct route_config {
    struct loop *loop;
    struct shm *shm;
    uint16_t slot;                           /* of this process */
    uint32_t generation;
    struct pipe_limits limits;
    /* A message for this process, from another process or node (e->node, e->session say which; from_slot which pipe). View. Checked here: only
     * from SLOT_LINK comes e->node != 0, and from others only kinds that a worker may send; the rest is counted as bad and dropped. */
    void (*deliver)(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
    void (*process_gone)(void *arg, uint16_t slot, uint32_t generation);
    void *arg;
};

int  route_new(const struct route_config *config, struct route **out, struct base_error *why);
void route_free(struct route **r);
struct mesh *route_borrow_mesh(struct route *r);           /* for mesh_attach / mesh_detach by process/ */

enum route_way { ROUTE_HERE = 1, ROUTE_PROCESS, ROUTE_NODE };
/* Which way to a server? Fills node, session, slot, serial, generation of *e. Returns a way, or NX_EINVAL (empty ref), NX_ENODE (node not connected or
 * never heard of), NX_ENOSERVER (that life of the node or the worker is over). No text: route_explain makes one. */
int  route_to(struct route *r, nx_ref to, struct envelope *e);
/* The sentence for a failed way or send, with node and ref in it; returns code. */
int  route_explain(const struct route *r, int code, nx_ref to, struct base_error *why);
/* Send by the fields of e: node != 0: by the link worker; else to the process in e->slot (also SLOT_LINK: register, subscribe, ...; SLOT_GATE), of
 * the life e->generation if that is not 0. ROUTE_HERE is the caller's own business: here it is NX_ENOSERVER. Counts in the statistics.
 * 0, NX_EBUSY, NX_ENOSERVER (no such process now), NX_ENODE (node != 0 and there is no link worker now), NX_ETOOBIG, NX_ENOMEM. */
int  route_send(struct route *r, const struct envelope *e, const void *body);

/* Answer a request: fills destination from the request's call id and origin. kind KIND_REPLY, KIND_ERROR or KIND_SPAWN_REPLY. A request of
 * this very process goes to deliver() at once, with from_slot = own slot. As route_send; NX_EINVAL: no call id, not a kind of answer. */
int  route_answer(struct route *r, uint8_t kind, uint32_t node, uint32_t session, uint64_t call_id, uint64_t deadline_ns, const void *body, size_t len);

/* ---- refs */
nx_ref route_self_ref(const struct route *r, uint64_t serial);
void route_ref_to_wire(const struct route *r, nx_ref ref, struct wire_ref *out);         /* {0} becomes serial 0 on this node */
/* A node that the table does not know (yet) gets a number of this process (bound: 1024, then NX_EFULL); it is looked up again at each use. */
int  route_ref_from_wire(struct route *r, const struct wire_ref *in, nx_ref *out, struct base_error *why);
void route_ref_from_entry(const struct route *r, const struct registry_entry *e, nx_ref *out);
const char *route_ref_node(const struct route *r, nx_ref ref);                           /* text; NULL for {0} */
int  route_ref_text(const struct route *r, nx_ref ref, char *out, size_t size);          /* as nx_ref_text */
/* The codec for value.h; there is one route per process, and this gives it to value_set_ref_codec. Also serves nx_ref_text, nx_ref_parse, nx_ref_node,
 * nx_ref_equal, nx_node of noex.h, which are implemented in this room (ref.c). */
void route_install_ref_codec(struct route *r);
void route_uninstall_ref_codec(struct route *r);       /* nothing if another one is installed; route_free does it */

#endif
