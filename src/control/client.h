/*
 * client.h - the other end of the control socket: connect, ask, wait, follow events. Blocking, with a deadline for everything.
 *
 * Lives here: one connection to one gate, one request at a time.
 * Never here: the loop, shared memory, routes: a tool links this file, rpc.c and print.c with base, value and wire, and nothing
 * else.
 * Runs in: noexctl.
 */
#ifndef NOEXD_CONTROL_CLIENT_H
#define NOEXD_CONTROL_CLIENT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "noex/noex.h"

struct client;

/* NX_ESYS with the path and the remedy: no socket there, another kind of file, nobody listens, not allowed. */
int  client_open(const char *path, int64_t timeout_ms, struct client **out, struct base_error *why);
void client_close(struct client **c);
int  client_fd(const struct client *c);                 /* for poll beside something else */

/*
 * Ask and wait. params: a packed map, or NULL. timeout_ms: for the gate's answer, NX_FOREVER = no limit.
 *   *result   lives until the next function here
 * Returns 0; the code of the gate's error, with its text; NX_ETIMEDOUT; NX_ESYS (the connection broke); NX_EBADMSG.
 */
int  client_request(struct client *c, const char *method, const struct buf *params, int64_t timeout_ms, nx_value *result,
                    struct base_error *why);

/* The next event, a map, in order. Those that arrived during a request are kept (64 MiB, then NX_EFULL). Returns 1 with *event
 * (lives until the next function here), 0 = none in this time, or as above. Gives up with 0 when stop_fd is readable, or out_fd
 * has lost its reader; -1 = none. */
int  client_next_event(struct client *c, int64_t timeout_ms, int stop_fd, int out_fd, nx_value *event, struct base_error *why);

/* How refs are read and shown in JSON, without a node: to value_set_ref_codec. */
void client_install_ref_codec(void);

#endif
