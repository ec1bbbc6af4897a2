/*
 * genserver.h - the runtime of GenServers inside one worker.
 *
 * Lives here: the life of a server (server.c), its mailbox (mailbox.c), the run queue (scheduler.c), the stacks that callbacks run on (runner.c,
 * coroutine.c), one message and one callback (callback.c), requests that a handler waits for (invoke.c, api_call.c), calls that nobody waits for and casts
 * (async.c), answers (answer.c, failure.c), start here (spawn.c) and asking for one (start.c), timers (timers.c), monitors (monitor.c), names (names.c, gone.c), events
 * (events.c), deadlock probes (deadlock.c), listings (listing.c), what hangs on another process or node (origin.c).
 * Never here: sockets, pipes, files; what a module's messages mean.
 * Runs in: workers.
 *
 * A handler runs on the scheduler's own stack; only one that waits is left behind on it, while another stack goes on with the run queue. What the gate asks
 * with KIND_LIST is answered with an array of {ref, behavior, names, state: "starting"|"live"|"waiting"|"ending", queued, messages}, oldest first, as many as fit
 * into one body.
 */
#ifndef NOEXD_GENSERVER_GENSERVER_H
#define NOEXD_GENSERVER_GENSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "call/call.h"
#include "loop/loop.h"
#include "module/module.h"
#include "noex/noex.h"
#include "route/route.h"
#include "shm/shm.h"
#include "value/value.h"

struct runtime;

struct runtime_config {
    struct loop *loop;
    struct shm *shm;
    struct route *route;
    struct calls *calls;
    struct modules *modules;
    uint16_t slot;
    uint32_t generation;
    struct value_limits limits;
    uint32_t mailbox_messages; uint64_t mailbox_bytes;    /* defaults of a behavior that names none */
    uint32_t max_servers;                                 /* then NX_EBUSY */
    uint32_t max_parked;                                  /* handlers waiting at once; 16 384 */
    int64_t handler_limit_ms;
    bool refuse_mismatch;
};

/* One per process: the functions of noex.h find it without an argument. */
int  runtime_new(const struct runtime_config *config, struct runtime **out, struct base_error *why);
void runtime_free(struct runtime **rt);

/* From route_config.deliver: any message for this worker. */
void runtime_deliver(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
/* From route_config.process_gone. The link worker's end fails all that waits for other nodes. */
void runtime_process_gone(struct runtime *rt, uint16_t slot, uint32_t generation);

/* Start a server with no one waiting for it (configured supervisors). A failure is logged and reported to `done` (may be NULL). */
int  runtime_boot(struct runtime *rt, const char *behavior, nx_value args, int scope, const char *name,
                  void (*done)(void *arg, int status, nx_ref ref, const struct base_error *why), void *arg, struct base_error *why);

/* Orderly stop: no new servers; each server is stopped with NX_SHUTDOWN after what is in its mailbox (`drain`) or at once; `done` is called when
 * none is left. Handlers that wait are canceled at the deadline. */
void runtime_stop(struct runtime *rt, bool drain, uint64_t deadline_ns, void (*done)(void *arg), void *arg);
size_t runtime_servers(const struct runtime *rt);

#endif
