/*
 * genserver_priv.h - what the files of this room share: the server, its mailbox, the runner on whose stack a callback runs, what a handler
 * waits for, and the runtime that holds them.
 *
 * Never leaves this folder. One file each owns a struct; the others go through its functions.
 *
 * Who holds what: a server is in runtime.servers (by serial) and runtime.all (by age) from its creation until server_finish. While one of its callbacks is
 * running or parked, server->runner is the stack it is on; a server is in runtime.ready exactly when run == RUN_READY.
 */
#ifndef NOEXD_GENSERVER_PRIV_H
#define NOEXD_GENSERVER_PRIV_H

#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/table.h"
#include "genserver/coroutine.h"
#include "genserver/genserver.h"
#include "shm/behaviors.h"
#include "shm/board.h"
#include "shm/nodes.h"
#include "shm/registry.h"
#include "shm/stats.h"
#include "wire/system.h"

enum {
    SERVER_BURST = 64,                /* messages that one server handles before the next one's turn */
    TURN_MESSAGES = 4096,             /* messages of one turn of the loop */
    TURN_MS = 5,                      /* ... and its length, so that pipes and timers are served */
    STACK_BYTES = 256 << 10,          /* of a handler; only what is touched costs memory */
    RUNNERS_KEPT = 256,               /* idle stacks kept for the next handler that waits */
    OWNED_MAX = 65536,                /* timers, monitors, watchers, calls in flight of one server, each */
    NAMES_MS = 5000,                  /* the registrar's answer */
    ACK_MS = 60000,                   /* a remote requester's word that it has the ref */
    STARTS_PER_ORIGIN = 256,          /* remote starts in progress of one node or process */
    PROBE_HOPS = 64,
    LOGS_PER_SECOND = 100
};

/* ---------------------------------------------------------------- messages (mailbox.c) */

enum msg_what { MSG_CALL = 1, MSG_CAST, MSG_STOP, MSG_TIMER, MSG_REPLY, MSG_NODE, MSG_NAME, MSG_DOWN };

/* One allocation: what the mailbox holds, the envelope, the body. A body lives until the callback it is handed to has returned. */
struct msg {
    struct msg *next;
    uint64_t tag;                     /* timer, monitor or the caller's own tag */
    struct envelope envelope;         /* kind and body_len always; node, session, call_id, deadline_ns of a request; MSG_REPLY of kind 0: no memory */
    uint8_t what;
    uint8_t body[];
};

struct mailbox { struct msg *first, *last; uint64_t bytes; uint32_t count; };

struct msg *msg_new(enum msg_what what, const struct envelope *e, const void *body, size_t len);   /* NULL = out of memory */
struct msg *msg_from_memory(void *memory, enum msg_what what);       /* one without a body, in heap memory of at least its size that changes hands */
void msg_free(struct msg **m);
void mailbox_put(struct mailbox *box, struct msg *m);
void mailbox_put_first(struct mailbox *box, struct msg *m);
struct msg *mailbox_take(struct mailbox *box);                       /* NULL if empty */
struct msg *mailbox_take_call(struct mailbox *box, uint64_t call_id);  /* a call of this node, from anywhere in the queue */
bool mailbox_has_room(const struct mailbox *box, size_t len, uint32_t max_messages, uint64_t max_bytes);

/* ---------------------------------------------------------------- servers (server.c) */

enum server_life { SERVER_STARTING, SERVER_LIVE, SERVER_ENDING };
enum server_run { RUN_IDLE, RUN_READY, RUN_RUNNING, RUN_PARKED };

struct runner;
struct wait;
struct start;

/* What only some servers have; made when the first of it is needed, so that an idle server stays small. */
struct belongings {
    struct list timers, watches, watchers, asyncs;    /* of struct timer, watch, watcher, async */
    uint32_t timer_count, watch_count, watcher_count, async_count;
    struct list subscriber;           /* in runtime.subscribers */
    struct server *server;            /* whose these are */
    unsigned events;
    uint64_t names_version;           /* the snapshot it was given; older events are part of it */
    struct msg *stops;                /* requests to be answered when it is gone */
    struct loop_timer gone_timer;     /* tries again to have its names removed */
    uint64_t gone_deadline_ns, gone_call;
};

/* nx_self of noex.h is this struct; modules see a name only. */
struct server {
    uint64_t serial;
    struct module_code *code;         /* counted */
    const nx_behavior *behavior;
    void *state;                      /* the module's */
    struct list ready, all;
    struct mailbox mailbox;
    struct runner *runner;
    struct wait *wait;                /* while parked; lives on the parked stack */
    struct start *start;              /* until the start is answered, and acknowledged where that is asked for */
    struct belongings *own;
    uint64_t messages;                /* handled so far */
    uint64_t handling;                /* call id of the call that is being handled, 0 = none */
    uint32_t stats_index;             /* in the behavior table; UINT32_MAX = not there */
    uint8_t life, run, reason;
    bool is_exiting;                  /* nx_exit, a stop: ends when the callback has returned */
    bool is_canceled;                 /* no wait any more: NX_ECANCELED at once */
    bool is_stopping;                 /* runtime_stop has seen to it */
    bool is_named;                    /* the registrar may hold names of it */
    bool has_state;                   /* init has succeeded: terminate must run */
};
_Static_assert(sizeof(struct server) <= 256, "a million idle servers must fit");

static inline struct server *server_of(nx_self *self) { return (struct server *)self; }
static inline nx_self *self_of(struct server *s) { return (nx_self *)s; }

/* Made, in the table, ready to run its init; takes the count of `code`. NX_EBUSY, NX_ENOMEM. */
int  server_new(struct runtime *rt, struct module_code **code, struct server **out, struct base_error *why);
/* By serial; NULL if there is none, or if it has ended (server_find_any: ending ones too, whose names are being removed). */
struct server *server_find(struct runtime *rt, uint64_t serial);
struct server *server_find_any(struct runtime *rt, uint64_t serial);
struct belongings *server_own(struct server *s);                     /* NULL = out of memory */
/* A user's message: within the bounds, or NX_EMAILBOX, NX_ENOMEM. */
int  server_put(struct runtime *rt, struct server *s, const struct envelope *e, const void *body);
/* A message of ours, bounded where it comes from. Takes m. */
void server_put_info(struct runtime *rt, struct server *s, struct msg *m);
/* A request to stop (takes m): after what is queued, or before it. */
void server_put_stop(struct runtime *rt, struct server *s, struct msg *m, bool first);
void server_cancel(struct runtime *rt, struct server *s);            /* its waits end with NX_ECANCELED, now and from now on */
void server_end(struct runtime *rt, struct server *s);               /* on a runner, no callback running: terminate, give everything back */
void server_drop(struct runtime *rt, struct server *s);              /* runtime_free: no callback, no word to anyone */
nx_ref server_ref(struct runtime *rt, const struct server *s);
void server_finish(struct runtime *rt, struct server *s);            /* its names are gone: tell those who wait, free it */
void server_give_up(struct runtime *rt, struct server *s);           /* an ending one: do not wait for the registrar any more (gone.c) */

/* ---------------------------------------------------------------- gone.c: the names of servers that have ended */

bool gone_begin(struct runtime *rt, struct server *s);               /* have its names removed, then server_finish; false = cannot wait for that */
void gone_tell(struct runtime *rt, uint64_t serial);                 /* the registrar, now and until it has confirmed; nobody waits */
void gone_owner_ready(struct runtime *rt);                           /* a new registrar: tell it what its predecessor did not confirm */
void gone_close(struct runtime *rt);

/* ---------------------------------------------------------------- runners (runner.c): the stacks callbacks run on */

enum callback { CALLBACK_NONE, CALLBACK_INIT, CALLBACK_CALL, CALLBACK_CAST, CALLBACK_INFO, CALLBACK_TERMINATE };

struct held { struct held *next; struct buf bytes; };               /* a large reply taken over from its packer */

struct runner {
    struct coroutine *co;
    struct list link;                 /* in runtime.idle while nobody's callback is on it */
    struct list every;                /* in runtime.runners */
    struct runtime *rt;
    struct server *server;            /* whose callback is running or parked here */
    struct msg *message;              /* that it handles */
    enum callback callback;
    bool zone_used;
    struct value_zone *zone;          /* decoded values, replies, what nx_make made: until the callback returns */
    nx_packer reply;
    struct held *held;
    nx_from from;                     /* nx_caller */
    struct base_error failure;        /* nx_error */
    nx_failure shown;
};

int  runner_new(struct runtime *rt, struct runner **out);
void runner_free(struct runner **r);
int  runner_reserve(struct runtime *rt);                             /* see that an idle one is there; NX_ENOMEM */
void runner_enter(struct runner *r, struct server *s, enum callback callback);
void runner_leave(struct runner *r);                                 /* gives back what the callback borrowed */
void *runner_alloc(struct runner *r, size_t size);                   /* until the callback returns; NULL */
/* The running callback's runner if `self` is the server it belongs to, else NULL: nx_ functions called from outside a callback. */
struct runner *runner_of(nx_self *self);
/* Suspend the running callback until server_wake. Another runner goes on with the run queue. */
void runner_park(struct runner *r);

/* ---------------------------------------------------------------- scheduler.c: who runs next */

void scheduler_run(void *runner);                                    /* the life of a runner */
bool scheduler_turn(void *runtime);                                  /* the loop's hook */
void scheduler_ready(struct runtime *rt, struct server *s);          /* it has something to do */
void scheduler_wake(struct runtime *rt, struct server *s);           /* what it was parked for has ended */

/* ---------------------------------------------------------------- callback.c: one message, one callback */

void callback_run(struct runner *r, struct server *s, struct msg *m);
void callback_terminate(struct runner *r, struct server *s, nx_reason reason);

/* ---------------------------------------------------------------- failures (failure.c) */

/* Remember it for nx_error of the running callback; returns code. subject may be NULL. */
int  failure_set(struct runner *r, int code, const char *subject, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int  failure_keep(struct runner *r, const struct base_error *why);
void failure_absorb(struct runner *r);                               /* take over what nx_pack, nx_unpack or nx_ref_parse said last */
struct failure_body { struct buf buf; uint8_t bytes[BASE_ERROR_TEXT + BASE_ERROR_SUBJECT + 224]; };     /* buf lies in bytes: nothing to give back */
int  failure_encode(const struct base_error *why, struct failure_body *out);  /* as the body of KIND_ERROR */
void failure_decode(const void *body, size_t len, struct base_error *out);   /* anything malformed becomes NX_EBADMSG */
/* What a callback's negative result means to others: code, and the text of the failure it stands for. */
void failure_of_result(struct runner *r, int64_t result, struct base_error *out);

/* ---------------------------------------------------------------- answer.c: to whoever asked */

/* 0; NX_ENOSERVER: a caller of this very process that waits no more (counted as late). `packer` (may be NULL): where the body is, whose memory a large
 * reply may take along. */
int  answer_value(struct runtime *rt, const nx_from *to, uint8_t kind, const void *body, size_t len, nx_packer *packer);
void answer_error(struct runtime *rt, const nx_from *to, const struct base_error *why);
void answer_code(struct runtime *rt, const nx_from *to, int code, const char *subject, const char *text);
static inline nx_from
answer_from(const struct envelope *e)
{
    return (nx_from){ .call_id = e->call_id, .deadline_ns = e->deadline_ns, .node = e->node, .session = e->session };
}

/* ---------------------------------------------------------------- invoke.c: requests that a handler waits for */

enum wait_kind { WAIT_CALL, WAIT_START, WAIT_STOP, WAIT_NAMES, WAIT_SLEEP };

struct wait {
    struct server *server;
    struct runner *runner;
    struct call_target target;
    uint64_t call_id;                 /* kept when it is done */
    nx_ref to;
    uint8_t kind;                     /* enum wait_kind */
    uint8_t answer;                   /* KIND_... of the answer, 0 = none came */
    bool is_done;
    int status;                       /* as call_end_fn, or NX_ECANCELED, NX_EDEADLOCK, NX_ENOMEM */
    const uint8_t *body;              /* in the runner's zone */
    size_t len;
    struct loop_timer alarm;          /* WAIT_SLEEP */
};

const char *invoke_ref_text(nx_ref ref, char text[static NX_REF_TEXT_MAX]);
/* A handler is about to wait: may it? 0, or the failure set. */
int  invoke_allowed(struct runner *r);
int  invoke_room(struct runner *r);               /* the bounds alone: for the one wait that terminate may do */
/* Send a request and wait for its end. `to` is for the texts; way as route_to said. 0 = w->answer has come; else failure set. */
int  invoke_wait(struct runner *r, struct wait *w, enum wait_kind kind, int way, struct envelope *e, const void *body, nx_ref to, int64_t timeout_ms,
                 uint64_t deadline_ns);
/* The two halves, for a start on this worker: register the wait and its deadline; park until it is done. */
int  invoke_begin(struct runner *r, struct wait *w, enum wait_kind kind, const struct envelope *e, uint64_t deadline_ns);
void invoke_park(struct runner *r, struct wait *w);
int  invoke_status(struct runner *r, const struct wait *w, nx_ref to, int64_t timeout_ms);   /* how it ended, as a failure */
int  invoke_sleep(struct runner *r, uint64_t ns);                    /* 0 or NX_ECANCELED */
void invoke_finish(struct runtime *rt, struct wait *w, int status);  /* end a wait from outside: cancel, deadlock */
/* One message on its way, a call or stop to this worker included: 0, NX_ENOSERVER, NX_EMAILBOX, NX_EBUSY, NX_ENOMEM, NX_ETOOBIG. */
int  invoke_send(struct runtime *rt, int way, const struct envelope *e, const void *body);
int  invoke_explain(struct runner *r, int code, nx_ref to, uint32_t node);   /* the failure of a send, set */
/* The way to a server, with the failure set. ROUTE_HERE, ROUTE_PROCESS, ROUTE_NODE or a code. */
int  invoke_route(struct runner *r, nx_ref to, struct envelope *e);
/* The bytes of a value that a user gave: packed, or packed now into memory of the runner. 0 or the failure set. */
int  invoke_bytes(struct runner *r, nx_value value, const void **bytes, size_t *len);
int  invoke_timeout(struct runner *r, int64_t timeout_ms, uint64_t *deadline_ns);
void invoke_forget_asyncs(struct runtime *rt, struct server *s);

/* ---------------------------------------------------------------- origins (origin.c): what hangs on another process or node */

/* One per (node, slot) of which we hold something; slot 0 for another node. */
struct origin { uint64_t key; struct list watches, watchers, starts; uint32_t start_count; };
struct origin *origin_get(struct runtime *rt, uint32_t node, uint16_t slot);    /* made if needed; NULL = out of memory */
bool origin_is_node(const struct origin *o);                                    /* another node, not a process of this one */
struct origin *origin_find(struct runtime *rt, uint32_t node, uint16_t slot);   /* NULL = we hold nothing of it */

/* ---------------------------------------------------------------- spawn.c: here; start.c: asking for it */

/* The start of a server: who asked, and the name it gets. Kept after the answer, without the rest, until a remote requester has acknowledged. */
struct start {
    struct list link;                 /* in origin.starts */
    struct origin *origin;            /* NULL = of this worker, or configured */
    struct server *server;
    nx_from from;                     /* call_id 0 = configured */
    void (*done)(void *arg, int status, nx_ref ref, const struct base_error *why);
    void *arg;
    struct loop_timer timer;          /* init's time; later the acknowledgement's */
    uint64_t init_deadline_ns;
    int64_t init_timeout_ms;
    int32_t priority;
    uint8_t scope;
    bool is_timed_out, is_unwanted, is_answered;
    uint8_t name_len;
    uint32_t args_len;
    uint8_t bytes[];                  /* args, then name and its NUL */
};
static inline const char *start_name(const struct start *st) { return (const char *)st->bytes + st->args_len; }

/* Made and in the run queue, or why not; nobody has been told. */
int  spawn_begin(struct runtime *rt, const struct sys_spawn *q, const nx_from *from, struct start **out, struct base_error *why);
void spawn_run(struct runner *r, struct server *s);                  /* init, registration, the answer */
void spawn_incoming(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
void spawn_acknowledged(struct runtime *rt, uint16_t from_slot, const struct envelope *e);
void spawn_canceled(struct runtime *rt, uint16_t from_slot, const struct envelope *e);
void spawn_origin_gone(struct runtime *rt, struct origin *o, uint32_t session);
void spawn_remote_gone(struct runtime *rt, struct origin *o, const struct envelope *e);      /* KIND_REMOTE_DOWN: its starts */
void spawn_forget(struct runtime *rt, struct server *s);             /* frees server->start */
void spawn_waits(struct runtime *rt, struct server *s);              /* its init is about to wait: watch its time */
void start_late(struct runtime *rt, const struct envelope *e, const uint8_t *body);   /* a server nobody waits for any more: tell its worker */

/* ---------------------------------------------------------------- names.c */

int  names_register(struct runner *r, int scope, const char *name, size_t len, nx_ref ref, int32_t priority);
bool names_is_valid(const char *name, size_t *len);

/* ---------------------------------------------------------------- monitor.c, timers.c, events.c, deadlock.c, listing.c */

void monitor_incoming(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
void monitor_event(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
void monitor_removed(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
void monitor_fire(struct runtime *rt, struct server *s, nx_reason reason);      /* it has ended: tell its watchers */
void monitor_forget(struct runtime *rt, struct server *s, bool tell);           /* it has ended: what it watched */
void monitor_forget_watchers(struct runtime *rt, struct server *s);
/* life: the session that ended (of a node), or the generation (of a process) */
void monitor_origin_gone(struct runtime *rt, struct origin *o, uint32_t life, nx_reason reason);
void monitor_remote_gone(struct runtime *rt, struct origin *o, const struct envelope *e);    /* KIND_REMOTE_DOWN: on its servers, and from them */
int  monitor_info(struct runner *r, const struct msg *m, nx_info *info);        /* the message as NX_INFO_DOWN */

void timers_forget(struct runtime *rt, struct server *s);

struct node_view { uint32_t session; bool is_up; };                 /* which nodes are up, by the events so far */
int  events_open(struct runtime *rt);
void events_close(struct runtime *rt);
void events_node(struct runtime *rt, const struct envelope *e, const uint8_t *body);
void events_registry(struct runtime *rt, const struct envelope *e, const uint8_t *body);
void events_owner_ready(struct runtime *rt);
void events_link_gone(struct runtime *rt);
void events_forget(struct runtime *rt, struct server *s);
int  events_info(struct runner *r, const struct msg *m, nx_info *info);

void deadlock_check(struct runtime *rt, struct server *s, uint64_t call_id);    /* this call has arrived at s, whose handler waits */
void deadlock_probe(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body);

void listing_answer(struct runtime *rt, const struct envelope *e, const uint8_t *body);      /* KIND_LIST */

/* ---------------------------------------------------------------- the runtime (runtime.c) */

struct runtime {
    struct runtime_config config;
    struct stats *stats;
    struct table *servers;            /* serial -> struct server */
    struct list all;                  /* oldest first */
    uint64_t last_serial;
    struct strtable *stats_indexes;   /* behavior name -> index in the behavior table, plus 1 */

    struct list ready;                /* the run queue */
    struct list idle, runners;
    uint32_t idle_count, parked;
    struct coroutine *main;           /* the loop's own stack */
    struct runner *current;           /* whose stack runs, or goes on at the next turn */
    struct loop_hook hook;
    struct loop_defer kick;           /* makes the loop take another turn */
    bool is_kicked, in_turn;
    uint32_t turn_left;
    uint64_t turn_ends_ns;
    uint64_t now_ns;                  /* taken when a turn begins, a callback ends, a handler is about to wait */

    struct table *origins;
    struct table *timers;             /* id -> struct timer */
    struct table *watches;            /* id -> struct watch */
    struct table *watchers;           /* hash of (node, slot, monitor) -> struct watcher */
    uint64_t last_timer, last_watch;
    nx_packer *giving;                /* the packer of the reply that is on its way to a caller of this worker */

    struct list unconfirmed;          /* in gone.c: ended servers whose names the registrar may still hold */
    struct list subscribers;
    unsigned subscribed;              /* what the link worker was asked for */
    struct node_view *view;
    uint32_t view_count;

    struct log_gate log_gate, warn_gate;

    bool is_stopping, stop_drains, stop_supervisors_first, stop_is_late;
    struct loop_timer stop_timer;
    void (*stop_done)(void *arg);
    void *stop_arg;
    struct loop_defer stop_check;
    bool stop_check_pending;
};

extern struct runtime *runtime_here;  /* one per process */

void runtime_server_gone(struct runtime *rt);                        /* runtime_stop goes on */
static inline uint64_t runtime_clock(struct runtime *rt) { return rt->now_ns = clock_now_ns(); }
static inline bool runtime_owns_call(const struct runtime *rt, uint64_t call_id) { return envelope_caller_slot(call_id) == rt->config.slot; }

#endif
