/*
 * control.h - the doors to the outside: the control socket.
 *
 * Lives here: the MessagePack-RPC server on a Unix socket (rpc.c: messages as bytes; session.c: one client and its bounds;
 * request.c: one request until its one answer; methods_*.c and events.c: what can be asked), and its other end for tools
 * (client.c, print.c, listing.c).
 * Never here: the cluster secret, module code, state of its own beyond its clients.
 * Runs in: the gate; client.c, print.c, listing.c and rpc.c also in noexctl, so they use nothing above wire/.
 *
 * Requests [0, id, method, [map]], answers [1, id, error, result], notifications [2, method, [map]]. An error is a map {code,
 * name, text, subject?, appCode?, timeoutMs?}. Methods and their parameters: methods.c. Bodies (message, args, a reply, what
 * workers tell of their servers) keep their bytes; refs in all other results are texts.
 */
#ifndef NOEXD_CONTROL_CONTROL_H
#define NOEXD_CONTROL_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "call/call.h"
#include "conf/conf.h"
#include "loop/loop.h"
#include "route/route.h"
#include "shm/shm.h"

struct control;

struct control_config {
    struct loop *loop;
    struct shm *shm;
    const struct conf *conf;                 /* borrowed */
    struct route *route;
    struct calls *calls;
    int listen_fd;                           /* the Unix socket, owned; -1 = none */
    const char *version;
};

int  control_new(const struct control_config *config, struct control **out, struct base_error *why);
void control_free(struct control **c);
/* From route_config.deliver and process_gone. */
void control_deliver(struct control *c, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
void control_process_gone(struct control *c, uint16_t slot, uint32_t generation);
/* No new clients; answers that are due go out; `done` once, at the deadline at the latest, never from inside control_stop. Called
 * again: the deadline moves. */
void control_stop(struct control *c, uint64_t deadline_ns, void (*done)(void *arg), void *arg);

#endif
