/*
 * control_priv.h - what the files of this room share: the control object, a client's session, a request on its way, the
 * parameters of methods.
 */
#ifndef NOEXD_CONTROL_CONTROL_PRIV_H
#define NOEXD_CONTROL_CONTROL_PRIV_H

#include <stdbool.h>

#include <event2/event_struct.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "control/control.h"
#include "control/rpc.h"
#include "shm/stats.h"
#include "value/value.h"
#include "wire/system.h"

enum {
    CONTROL_CLIENTS_MAX = 1024,
    CONTROL_ENVELOPE = 1024,               /* what a request may be longer than the body in it */
    CONTROL_IN_FLIGHT_MAX = 1024,          /* requests of one client */
    CONTROL_OUT_SOFT = 8 << 20,            /* above: nothing more is read from this client; again below half of it */
    CONTROL_OUT_HARD = 64 << 20,           /* above: it is closed */
    CONTROL_RESULT_MAX = 32 << 20,         /* one listing */
    CONTROL_LINK_MS = 5000,                /* the link worker's answer to a registration */
    CONTROL_LIST_MS = 2000                 /* a worker's answer to KIND_LIST */
};

/* ---------------------------------------------------------------- parameters (params.c) */

enum param {
    PARAM_SCOPE, PARAM_NODE, PARAM_PREFIX, PARAM_LIMIT, PARAM_BEHAVIOR, PARAM_NAME, PARAM_REGISTER, PARAM_ARGS,
    PARAM_SPAWN_TIMEOUT, PARAM_INIT_TIMEOUT, PARAM_PRIORITY, PARAM_TARGET, PARAM_MESSAGE, PARAM_TIMEOUT, PARAM_REASON,
    PARAM_NODES, PARAM_NAMES, PARAM_UP, PARAMS
};
#define PARAM_BIT(p) (1u << (p))

struct param_value {
    bool is_set;
    struct rpc_slice raw;                  /* packed */
    struct rpc_slice text;                 /* a text, without its head */
    int64_t number;                        /* a number; of a timeout NX_FOREVER for "infinity" */
    bool flag;
};
struct params { struct param_value of[PARAMS]; };

/* A map with the keys of `required` and perhaps those of `optional`, each once and of its type. A nil counts as absent. NX_EINVAL
 * names the key. */
int params_read(struct rpc_slice map, uint32_t required, uint32_t optional, struct params *out, struct base_error *why);
static inline int64_t params_number(const struct params *p, enum param which, int64_t missing)
{
    return p->of[which].is_set ? p->of[which].number : missing;
}
static inline bool params_flag(const struct params *p, enum param which, bool missing)
{
    return p->of[which].is_set ? p->of[which].flag : missing;
}
/* "none" = 0, "local", "global"; NX_EINVAL. */
int params_scope(const struct params *p, enum param which, int missing, int *out, struct base_error *why);

/* ---------------------------------------------------------------- the control object (control.c) */

/* Which nodes are up, as told by the link worker's messages, in their order. By index of the node table. */
struct node_view { bool is_up; uint64_t incarnation; };

struct control {
    struct control_config config;
    struct stats *stats;                   /* of the gate */
    struct value_limits limits;            /* of a body */

    struct event *accept_event;
    struct loop_timer accept_again;        /* after a shortage of descriptors */
    struct log_gate accept_gate, garbage_gate;

    struct list sessions;
    size_t session_count;
    struct list ready;                     /* sessions that have something to write or to run in this turn's hook */
    struct loop_hook hook;

    uint32_t starting[SLOT_WORKERS_MAX];   /* starts that a worker has not answered yet: they do not show in its statistics */

    struct node_view *view;
    uint32_t view_max;
    struct events_state {
        bool is_subscribed;                /* the link worker sends us registry events */
        bool is_waiting;                   /* for its next life */
        uint64_t barrier;                  /* the call behind a subscription, 0 = none */
    } events;

    bool is_stopping, is_stopped;
    struct loop_timer stop_timer;
    struct loop_defer stop_defer;
    void (*stop_done)(void *arg);
    void *stop_arg;
};

void control_check_stopped(struct control *c);         /* after a session has gone */

static inline struct registry *control_registry(struct control *c) { return shm_registry(c->config.shm); }
static inline struct board *control_board(struct control *c) { return shm_board(c->config.shm); }
static inline struct nodes *control_nodes(struct control *c) { return shm_nodes(c->config.shm); }
static inline uint64_t control_now(struct control *c) { return loop_now_ns(c->config.loop); }

/* ---------------------------------------------------------------- a client (session.c) */

struct session {
    struct list link;                      /* control.sessions */
    struct list ready;                     /* control.ready */
    struct control *control;
    int fd;
    struct event read_event, write_event;
    bool is_reading, is_writing;           /* which events are added */
    struct buf in, out;
    struct rpc_framer framer;
    struct list requests;                  /* without their answer */
    uint32_t in_flight;
    bool is_paused;                        /* does not take its answers */
    bool is_closing;                       /* nothing more is read; closed when `out` is written, or at the linger timer */
    bool is_broken;                        /* to be dropped by the hook */
    struct loop_timer linger;
    struct loop_defer defer;

    unsigned events;                       /* NX_EVENTS_... that this client follows */
    bool needs_names;                      /* the snapshot of names is still to come */
    uint64_t names_version;                /* of that snapshot: what is not newer was in it */
};

int  session_open(struct control *c, int fd);          /* owns fd, also on failure */
void session_drop(struct session *s);                  /* now: its calls are canceled, its memory goes at the end of the turn */
void session_break(struct session *s);                 /* dropped at the end of this turn: safe wherever a request of it runs */
void session_finish(struct session *s);                /* what is queued goes out, then it is closed */
void session_stop(struct session *s);                  /* no new requests; closed after the last answer */
void session_request_done(struct session *s);
void session_put_result(struct session *s, uint32_t id, const void *result, size_t len);
void session_put_error(struct session *s, uint32_t id, const struct base_error *why);
void session_put_event(struct session *s, const void *params, size_t len);
bool session_hook(struct session *s);                  /* true: more to do in the next turn */

/* ---------------------------------------------------------------- a request (request.c) */

struct request;
typedef void request_end_fn(struct request *r, const struct envelope *e, const uint8_t *body);

struct method {
    const char *name;
    void (*run)(struct request *r, const struct params *p);
    uint32_t required, optional;           /* PARAM_BITs */
};
const struct method *method_find(struct rpc_slice name);        /* methods.c */

enum request_count { REQUEST_UNCOUNTED, REQUEST_CALL, REQUEST_SPAWN };

/* One request until its one answer. */
struct request {
    struct list link;                      /* session.requests */
    struct session *session;
    uint32_t id;
    bool is_notification;                  /* nobody waits for the answer */
    enum request_count count;              /* which statistics it belongs to, once it was sent */
    uint64_t call_id;                      /* what it waits for; 0 = nothing */
    int64_t timeout_ms;
    request_end_fn *end;
    bool has_ref;
    nx_ref ref;                            /* whom it is about */
    uint32_t node;                         /* where it was sent, index of the node table */
    char what[96];                         /* what is waited for, for the text of a timeout: "call", "start of counter" */
    uint16_t worker;                       /* a start on this node: counted in control.starting; SLOT_ANY = none */
    struct fan *fan;                       /* `servers`: the parts of its answer */
};

static inline struct control *request_control(const struct request *r) { return r->session->control; }
/* Run a request or notification of s; it may have ended when this returns. */
void request_run(struct session *s, const struct rpc_message *m);
/* Each of these is the end of r. */
void request_reply(struct request *r, const void *result, size_t len);
void request_reply_packed(struct request *r, nx_packer *p);       /* and frees what p holds */
void request_reply_true(struct request *r);
void request_reply_ref(struct request *r, nx_ref ref);
void request_fail(struct request *r, const struct base_error *why);
void request_fail_code(struct request *r, int code, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void request_cancel(struct request *r);            /* its client has gone: no answer, whatever it waits for is given up */
/* Send a request of this node's own and wait: fills call_id and deadline of e. Failures, also later ones, end r; success calls
 * `end`. what: "call". */
void request_send(struct request *r, struct envelope *e, const void *body, size_t len, int64_t timeout_ms, const char *what,
                  request_end_fn *end);
/* Resolve a target: ref text or ref, local name, global name. On failure r has ended. */
int  request_target(struct request *r, const struct param_value *target, nx_ref *out);
/* The error of an answer of kind KIND_ERROR. */
void request_error_from(const struct envelope *e, const uint8_t *body, struct base_error *out);
/* From here on it counts as a call or a start: initiated now, and resolved, rejected or timed out at its end. */
void request_count(struct request *r, enum request_count count);
/* methods_servers.c: nobody wants that start any more; its answer came when it had been given up. */
void request_undo_start(struct request *r, uint64_t call_id, const struct call_target *target);
void request_start_late(struct control *c, const struct envelope *e, const uint8_t *body);
void request_fan_cancel(struct request *r);                       /* methods_list.c */
/* Index in the node table of a node id; 0 = this one, also for an empty text. NX_EINVAL, NX_ENODE. */
int  control_find_node(struct control *c, struct rpc_slice id, uint32_t *index, struct base_error *why);

/* ---------------------------------------------------------------- methods */

void method_start(struct request *r, const struct params *p);     /* methods_servers.c */
void method_call(struct request *r, const struct params *p);
void method_cast(struct request *r, const struct params *p);
void method_stop(struct request *r, const struct params *p);
void method_servers(struct request *r, const struct params *p);   /* methods_list.c */
void method_register(struct request *r, const struct params *p);  /* methods_names.c */
void method_unregister(struct request *r, const struct params *p);
void method_whereis(struct request *r, const struct params *p);
void method_lookup(struct request *r, const struct params *p);
void method_is_registered(struct request *r, const struct params *p);
void method_names(struct request *r, const struct params *p);
void method_status(struct request *r, const struct params *p);    /* methods_node.c */
void method_nodes(struct request *r, const struct params *p);
void method_workers(struct request *r, const struct params *p);
void method_behaviors(struct request *r, const struct params *p);
void method_stats(struct request *r, const struct params *p);
void method_events(struct request *r, const struct params *p);    /* events.c */

/* Find a name: scope 0 = local, then global. 0, NX_ENONAME, NX_EINVAL, NX_EBUSY, with the text. */
int  control_names_find(struct control *c, int scope, struct rpc_slice name, nx_ref *out, struct base_error *why);
int  control_names_check(struct rpc_slice name, struct base_error *why);
/* Live entries: local, global of this node, global of other nodes. */
struct names_count { uint64_t local, own, remote; };
void control_names_count(struct control *c, struct names_count *out);
/* The map of an entry: {name, scope, ref, node, priority, registeredAt}. */
int  control_names_pack(struct control *c, const struct registry_entry *e, nx_packer *out);

/* ---------------------------------------------------------------- events (events.c) */

int  control_events_open(struct control *c, struct base_error *why);
void control_events_close(struct control *c);
void control_events_node(struct control *c, const struct envelope *e, const uint8_t *body);
void control_events_registry(struct control *c, const struct envelope *e, const uint8_t *body);
void control_events_owner_ready(struct control *c);
void control_events_link_gone(struct control *c);
void control_events_forget(struct session *s);                 /* it has gone */

#endif
