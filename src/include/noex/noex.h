/*
 * noex.h - what a module author sees: GenServers that start, find, call and cast each other, here and on other nodes.
 *
 * Lives here: promises to module authors. Build a module with `pkg-config --cflags noex`; no library is linked, the functions
 * are noexd's own. All times are milliseconds, all sizes bytes. Every function that can fail returns 0 (NX_OK) or a negative
 * NX_E... of errors.h; nx_error() tells the details of the last failure. Functions that take `self` may be called only from
 * inside a callback of that server. Texts and values handed to a callback, or returned by a function here, are borrowed until
 * the callback returns, unless it says otherwise.
 * Never here: anything that may change next week.
 */
#ifndef NOEX_NOEX_H
#define NOEX_NOEX_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <noex/errors.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- values */

struct msgpack_object;               /* msgpack-c's; include <msgpack.h> to look inside without nx_unpack */

/* A MessagePack value: packed bytes, a decoded object, or both. A view, passed by value; {0} is no value at all. What a callback is
 * given, nx_make and a reply have both; a part taken out of them with `v` or nx_at has the object alone. To keep one beyond the callback,
 * copy `packed` (of nx_make(self, "v", value), if the value has none): {.packed, .packed_len} of your copy is a value again. */
typedef struct nx_value {
    const struct msgpack_object *object;    /* decoded, or NULL */
    const void *packed;                     /* its bytes, or NULL */
    size_t packed_len;
} nx_value;

typedef struct nx_packer nx_packer;  /* where a callback writes a reply or a saved state */
typedef struct nx_self nx_self;      /* the server whose callback is running */

/* A reference to one life of one GenServer. Plain data: copy it, keep it, compare it with nx_ref_equal. It never reaches
 * another server, nor another life of the same node or worker. {0} refers to nothing. */
typedef struct nx_ref {
    uint64_t incarnation;            /* of the node */
    uint64_t serial;                 /* of the server, unique per worker life; 0 = no server */
    uint32_t node;                   /* which node, in this process's numbering: do not send it elsewhere, pack the ref */
    uint32_t generation;             /* of the worker */
    uint16_t slot;                   /* of the worker */
    uint16_t reserved[3];
} nx_ref;

/* Who asked, for a deferred reply. Plain data; copy it and keep it as long as you like. */
typedef struct nx_from {
    uint64_t call_id;
    uint64_t deadline_ns;
    uint32_t node;
    uint32_t session;
} nx_from;

enum {
    NX_FOREVER = -1,                 /* as timeout_ms: no limit */
    NX_DEFAULT_TIMEOUT = 5000,       /* ms, what the tools use for a call */
    NX_NAME_MAX = 255,               /* bytes of a registered name */
    NX_BEHAVIOR_NAME_MAX = 128,
    NX_NODE_ID_MAX = 255,
    NX_REF_TEXT_MAX = 384            /* size of a buffer for nx_ref_text, NUL included */
};

/*
 * Write one value after another into a packer. The format, in the manner of jansson's pack strings (spaces, ',' and ':' are
 * only for the eye):
 *   n  nil                      -                     b  boolean        int
 *   i  integer                  int                   I  integer        int64_t
 *   u  unsigned integer         uint64_t              f  float          double
 *   s  string                   const char *          (NULL packs nil)
 *   s# string                   const char *, size_t  (any UTF-8 with its length in bytes)
 *   y  binary                   const void *, size_t  r  ref            nx_ref
 *   v  any value                nx_value              {...} map, keys are `s`  [...] array
 * Example: nx_pack(reply, "{s:I,s:s}", "count", count, "lastUpdatedBy", who)
 * Returns 0; NX_EINVAL for a wrong format or an empty value; NX_ENOMEM; NX_ETOOBIG beyond max_body. On failure the packer is
 * left as it was before the call.
 */
int nx_pack(nx_packer *to, const char *fmt, ...);
int nx_vpack(nx_packer *to, const char *fmt, va_list ap);

/* An array of `count` values, for lists whose length only the program knows. The same errors. */
int nx_pack_array(nx_packer *to, const nx_value *items, size_t count);

/* Walk a list or a map whose shape only the data knows: elements of an array or pairs of a map (0 for anything else); the element, or the
 * map value, at `index`; the map key there; {0} where there is none. */
size_t nx_count(nx_value value);
nx_value nx_at(nx_value value, size_t index);
nx_value nx_key_at(nx_value value, size_t index);

/*
 * Read a value into variables. The format is that of nx_pack, with pointers:
 *   b int *   i int *   I int64_t *   u uint64_t *   f double * (an integer is accepted)   r nx_ref *   v nx_value *
 *   s const char ** (borrowed, NUL-terminated; refused if the string holds a NUL)
 *   s# const char **, size_t *        y const void **, size_t *        n (must be nil)
 *   [..] array of exactly that length      {s:..,s?..} map: each key is a `const char *`; `?` in place of `:` marks an
 *   optional key, whose variables stay untouched when it is absent or nil; other keys are ignored; a trailing `!` before `}`
 *   refuses other keys.
 * Example: nx_unpack(msg, "{s:s,s?i}", "type", &type, "by", &by)
 * Returns 0; NX_EINVAL when the value has another shape or a number does not fit (nx_error text names the key) or for a wrong
 * format; NX_EBADMSG for a malformed ref, NX_EFULL or NX_ENOMEM for one that cannot be kept. Never hand it an object that was built by
 * hand with msgpack-c: strings of received values end with a NUL, those do not. Variables before the one that failed may have been written.
 * Strings point into the message and live as long as it.
 */
int nx_unpack(nx_value value, const char *fmt, ...);
int nx_vunpack(nx_value value, const char *fmt, va_list ap);

/* Make a value to send, in memory that lives until the callback returns. An error makes {0}, which every function that takes a
 * value refuses with NX_EINVAL, so it need not be tested: nx_call(self, ref, nx_make(self, "{s:s}", "type", "get"), ...). */
nx_value nx_make(nx_self *self, const char *fmt, ...);

/* The same for a list whose length only the program knows, to send it or to put it into a map with `v`. */
nx_value nx_make_array(nx_self *self, const nx_value *items, size_t count);

/* Is there a value at all? (A packed nil is one.) */
bool nx_is_value(nx_value value);

/* ---------------------------------------------------------------- refs */

bool nx_ref_equal(nx_ref a, nx_ref b);

/* The printable form, one token that begins with '#'. `out` has `size` bytes, NX_REF_TEXT_MAX is enough. Returns 0 or
 * NX_EINVAL (the ref names a node this process has never heard of, or `size` is too small). */
int nx_ref_text(nx_ref ref, char *out, size_t size);

/* The way back. NX_EINVAL with the offending part in nx_error's text; NX_EFULL (1024 nodes that this one has never met), NX_ENOMEM. */
int nx_ref_parse(const char *text, nx_ref *out);

/* The node id of a ref ("app1@127.0.0.1:4369"), borrowed for the life of this process; NULL for {0}. */
const char *nx_ref_node(nx_ref ref);

/* ---------------------------------------------------------------- behaviors */

enum nx_result {
    NX_NOREPLY = 1                   /* handle_call: the reply comes later, with nx_reply */
};

typedef enum nx_reason {             /* why a server ended */
    NX_NORMAL,                       /* nx_stop, or nx_exit(self, NX_NORMAL) */
    NX_SHUTDOWN,                     /* the node or its supervisor ends */
    NX_ERROR,                        /* nx_exit(self, NX_ERROR), a failed init */
    NX_KILLED,                       /* its worker died */
    NX_NOCONNECTION,                 /* its node is not reachable (monitors only) */
    NX_NOSERVER                      /* it was already gone (monitors only) */
} nx_reason;

/* "normal", "shutdown", "error", "killed", "noconnection", "noserver". */
const char *nx_reason_name(nx_reason reason);

enum nx_info_kind {
    NX_INFO_TIMER = 1,               /* .timer, .value: nx_send_after has come due */
    NX_INFO_REPLY,                   /* .tag, .status, .value: nx_call_async has ended; on failure nx_error() tells more */
    NX_INFO_NODE_UP,                 /* .node */
    NX_INFO_NODE_DOWN,               /* .node, .text = heartbeat_timeout, connection_closed, connection_refused, graceful_shutdown */
    NX_INFO_REGISTERED,              /* .name, .ref, .scope */
    NX_INFO_UNREGISTERED,            /* .name, .ref, .scope */
    NX_INFO_CONFLICT,                /* .name, .ref = winner, .other = loser */
    NX_INFO_SYNCED,                  /* .node, .count */
    NX_INFO_NAME_LOST,               /* .name, .ref = winner: this server lost a global name; it runs on without it */
    NX_INFO_DOWN,                    /* .tag = monitor, .ref, .reason, .text */
    NX_INFO_EXIT                     /* .ref, .reason, .text (links) */
};

typedef struct nx_info {
    enum nx_info_kind kind;
    uint64_t timer;
    uint64_t tag;
    int status;                      /* 0 or NX_E... */
    nx_value value;
    const char *node;
    const char *name;
    const char *text;
    nx_ref ref;
    nx_ref other;
    enum nx_scope { NX_LOCAL = 1, NX_GLOBAL = 2 } scope;
    nx_reason reason;
    uint64_t count;
} nx_info;

/*
 * A behavior: a name, a version, and callbacks. init, handle_call and handle_cast are required, the rest may be NULL.
 *
 *   init         makes *state from the arguments. Negative = the start fails; say why with nx_fail().
 *   handle_call  0: what was packed into `reply` goes to the caller (nothing packed = nil). NX_NOREPLY: later, with nx_reply.
 *                Negative: the caller gets that error, and the server goes on; say why with nx_fail().
 *   handle_cast, handle_info   0, or negative = logged and counted; the server goes on (nx_exit ends it).
 *   terminate    the last callback: free the state. It may stop other servers (nx_stop, with a limit); it starts, calls and registers nothing.
 *   save, load   the state as a value, for reload: load makes a new state from what `save` of version `version` wrote.
 *
 * A handler may wait in nx_call, nx_start, nx_register and the like: the worker runs other servers meanwhile, this one handles
 * nothing else until its handler returns. It must not block otherwise: handler_limit ends the whole worker.
 */
typedef struct nx_behavior {
    const char *name;                /* 1 to 128 bytes: letters, digits, '_', '-', '.' */
    uint32_t version;                /* 1 or more; raise it when the state changes */
    uint32_t max_messages;           /* bound of a mailbox; 0 = the configuration's, 10 000 */
    uint64_t max_bytes;              /* bound of a mailbox; 0 = the configuration's, 64 MiB */
    int  (*init)(nx_self *self, nx_value args, void **state);
    int  (*handle_call)(nx_self *self, void *state, nx_value msg, nx_packer *reply);
    int  (*handle_cast)(nx_self *self, void *state, nx_value msg);
    int  (*handle_info)(nx_self *self, void *state, const nx_info *info);
    void (*terminate)(nx_self *self, void *state, nx_reason reason);
    int  (*save)(nx_self *self, const void *state, nx_packer *out);
    int  (*load)(nx_self *self, uint32_t version, nx_value saved, void **state);
    void *reserved[4];
} nx_behavior;

#define NX_MODULE_MAGIC UINT64_C(0x6e6f6578644d4f44)   /* "noexdMOD" */
#define NX_MODULE_ABI   1u

typedef struct nx_module {
    uint64_t magic;
    uint32_t abi;
    uint32_t size;                   /* sizeof(nx_module) */
    uint32_t behavior_size;          /* sizeof(nx_behavior) */
    uint32_t count;
    const nx_behavior *behaviors;
    int (*selftest)(void);           /* optional: 0 = fit to run; called once in a throwaway process */
    void *reserved[3];
} nx_module;

/* One behavior of a module: NX_BEHAVIOR("counter", .version = 1, .init = counter_init, ...) */
#define NX_BEHAVIOR(behavior_name, ...) { .name = (behavior_name), __VA_ARGS__ }

/* The one symbol of a module: NX_MODULE(NX_BEHAVIOR(...), NX_BEHAVIOR(...)); */
#define NX_MODULE(...) \
    static const nx_behavior nx_module_behaviors_[] = { __VA_ARGS__ }; \
    extern const nx_module noexd_module; \
    __attribute__((visibility("default"))) const nx_module noexd_module = { \
        .magic = NX_MODULE_MAGIC, .abi = NX_MODULE_ABI, .size = sizeof(nx_module), .behavior_size = sizeof(nx_behavior), \
        .count = sizeof(nx_module_behaviors_) / sizeof(nx_module_behaviors_[0]), .behaviors = nx_module_behaviors_, \
    }

/* ---------------------------------------------------------------- errors */

/* The last failure seen by this server's callback. Lives until the next failing function or the end of the callback. */
typedef struct nx_failure {
    int code;                        /* NX_E..., 0 = none yet */
    int64_t app_code;                /* NX_EAPP: the handler's own number */
    int64_t timeout_ms;              /* NX_ETIMEDOUT, NX_EINITTIMEOUT */
    const char *subject;             /* the node, ref, name or behavior it is about; "" = none */
    const char *text;                /* one sentence; never NULL */
} nx_failure;
const nx_failure *nx_error(nx_self *self);

/* Fail from a callback with your own number and text: `return nx_fail(self, 42, "no such account: %s", id);`. The caller of the
 * server gets NX_EAPP with both (from init: NX_EINIT). Returns NX_EAPP. */
int nx_fail(nx_self *self, int64_t app_code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---------------------------------------------------------------- this server, this node */

nx_ref nx_self_ref(nx_self *self);

/* The node id of this node, for the life of the process. */
const char *nx_node(void);

/* Who sent the call that handle_call is handling; keep it for nx_reply. Zeroed outside handle_call. */
nx_from nx_caller(nx_self *self);

/* Answer a call that was left open with NX_NOREPLY, from any callback of the same worker. A caller that has gone, or a second
 * answer, is no error. Returns 0, NX_EINVAL (no value), NX_ETOOBIG, NX_ENOMEM. */
int nx_reply(nx_self *self, nx_from to, nx_value value);

/* The same, with an error: code is NX_EAPP or another NX_E.... */
int nx_reply_error(nx_self *self, nx_from to, int code, int64_t app_code, const char *text);

/* End this server when the running callback has returned; terminate() runs, names are removed. A pending reply still goes out. */
void nx_exit(nx_self *self, nx_reason reason);

/* A line in the node's log at level info, warn or error: "server BEHAVIOR#serial: TEXT". At most 100 a second per worker. */
enum nx_log_level { NX_LOG_ERROR, NX_LOG_WARN, NX_LOG_INFO, NX_LOG_DEBUG };
void nx_log(nx_self *self, enum nx_log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Milliseconds: of the monotonic clock, and since 1970. */
uint64_t nx_now_ms(void);
uint64_t nx_wall_ms(void);

/* ---------------------------------------------------------------- start, call, cast, stop */

enum { NX_ANY_WORKER = 0xFFFF };

/* All zero = a server of this worker, no name, default timeouts. */
typedef struct nx_start_options {
    const char *node;                /* node id, NULL = this node */
    const char *name;                /* with `scope`; NULL = none */
    int scope;                       /* NX_LOCAL, NX_GLOBAL; 0 = not registered */
    int32_t priority;                /* of a global name, in conflicts: the higher wins */
    int64_t spawn_timeout_ms;        /* 0 = 10 000 */
    int64_t init_timeout_ms;         /* 0 = 5 000 */
    nx_value args;                   /* {0} = nil */
    bool any_worker;                 /* on this node: let noexd choose the worker (always so on another node) */
} nx_start_options;

/*
 * Start a GenServer and wait until its init has ended and, if asked, its name is registered. `options` may be NULL.
 *   out   its ref; untouched on failure
 * Returns 0; NX_EINVAL (name without scope or the reverse, bad name, bad timeout, bad node id); NX_ENODE (not connected, at once);
 * NX_ENOBEHAVIOR; NX_EMISMATCH; NX_EINIT (its text in nx_error); NX_EINITTIMEOUT; NX_ECONFLICT (name taken: the server was stopped
 * again); NX_ETIMEDOUT (spawn timeout); NX_ECANCELED (this server is being stopped); NX_ETOOBIG; NX_EBUSY; NX_EFULL; NX_ENOMEM. Not from
 * terminate.
 */
int nx_start(nx_self *self, const char *behavior, const nx_start_options *options, nx_ref *out);

/*
 * Call a GenServer and wait for its reply. Parks this handler; other servers of the worker run on. The same for a server on this
 * worker, another worker or another node.
 *   timeout_ms  1 or more, or NX_FOREVER
 *   reply       may be NULL; on success the answer, borrowed until this callback returns; untouched on error
 * Returns 0, NX_ETIMEDOUT, NX_ENODE, NX_ENOSERVER, NX_EMAILBOX, NX_ETOOBIG, NX_EBADMSG, NX_EBUSY, NX_EDEADLOCK (itself, or a cycle
 * inside this node), NX_ECANCELED (this server is being stopped), NX_EAPP or what the handler returned, NX_EINVAL; always by the
 * deadline. May be called from any callback but terminate.
 */
int nx_call(nx_self *self, nx_ref to, nx_value msg, int64_t timeout_ms, nx_value *reply);

/* Call without waiting: the end arrives at handle_info as NX_INFO_REPLY with this tag. Fails at once and never reports, or
 * succeeds and reports exactly once. The same errors. */
int nx_call_async(nx_self *self, nx_ref to, nx_value msg, int64_t timeout_ms, uint64_t tag);

/* Send without an answer. Never waits; a target that is not there is no error (counted as dropped). Returns 0, NX_EINVAL,
 * NX_ETOOBIG, NX_ENOMEM. */
int nx_cast(nx_self *self, nx_ref to, nx_value msg);

/* End a server and wait until it is gone and its names are removed: terminate() runs with `reason` (NX_NORMAL or NX_SHUTDOWN).
 * Itself: like nx_exit, at once. The one function that waits which terminate() may use. Returns 0, NX_ENOSERVER, NX_ENODE, NX_ETIMEDOUT, NX_ECANCELED,
 * NX_EINVAL, NX_EBUSY, NX_ENOMEM. */
int nx_stop(nx_self *self, nx_ref to, nx_reason reason, int64_t timeout_ms);

/* ---------------------------------------------------------------- names */

/* Give a name to a server. scope NX_LOCAL: this node only (the server too). NX_GLOBAL: the cluster; a server of another node is
 * registered by its own node. Waits for the commit. Returns 0 (the same again too), NX_ECONFLICT (nx_error subject = the owner),
 * NX_EINVAL, NX_ENOSERVER, NX_ENODE, NX_EFULL, NX_ETIMEDOUT (5 s), NX_ECANCELED, NX_EBUSY, NX_ENOMEM. */
int nx_register(nx_self *self, int scope, const char *name, nx_ref ref, int32_t priority);

/* Take a name away; only the owner's node can. Returns 0, NX_ENONAME (not registered), NX_ECONFLICT (owned by another node: nothing
 * happens, the text says which), NX_EINVAL, NX_ETIMEDOUT, NX_ECANCELED, NX_EBUSY, NX_ENOMEM. */
int nx_unregister(nx_self *self, int scope, const char *name);

/* Look a name up, in shared memory, without a message. nx_whereis: true and *out, or false. nx_lookup: 0, or NX_ENONAME with
 * the name in nx_error. scope 0 = local first, then global. */
bool nx_whereis(nx_self *self, int scope, const char *name, nx_ref *out);
int  nx_lookup(nx_self *self, int scope, const char *name, nx_ref *out);

/* Names as an array value of maps {name, scope, ref, node, priority, registeredAt}, at most `limit` (0 = all), beginning with
 * `prefix` (NULL = any), of one node (NULL = any). Lives until the callback returns. Returns 0, NX_ENOMEM, NX_EINVAL. */
int nx_names(nx_self *self, int scope, const char *prefix, const char *node, size_t limit, nx_value *out);

/* ---------------------------------------------------------------- nodes, behaviors, figures */

/* Every node known, this one first: maps {id, host, port, status, reason, servers, uptimeMs, lastHeartbeatMs, self}. */
int nx_nodes(nx_self *self, nx_value *out);

/* Behaviors of this node: maps {name, version, hash, file, live, starts, crashes, messages}. */
int nx_behaviors(nx_self *self, nx_value *out);

/* Figures of this worker: a map of counters (calls initiated, resolved, rejected, timed out, pending, late, dropped casts, ...). */
int nx_stats(nx_self *self, nx_value *out);

/* ---------------------------------------------------------------- timers, events, monitors */

/* Have NX_INFO_TIMER arrive after delay_ms (0 or more) with `value` ({0} = nil, copied). *timer (may be NULL) names it, never 0.
 * Fires once; ends with the server. Returns 0, NX_EINVAL, NX_ENOMEM, NX_EBUSY (65 536 timers of this server). */
int nx_send_after(nx_self *self, int64_t delay_ms, nx_value value, uint64_t *timer);

/* True if the timer was waiting and will not fire any more. */
bool nx_cancel_timer(nx_self *self, uint64_t timer);

/* Choose which events arrive at handle_info; a second call replaces the set, 0 ends it. NX_EVENTS_SNAPSHOT: nodes that are up and
 * global names that exist already are reported first, so nothing is missed in between. Returns 0, NX_EINVAL (unknown bits), NX_ENOMEM,
 * NX_EBUSY, NX_ECANCELED; not from terminate. */
enum { NX_EVENTS_NODES = 1, NX_EVENTS_NAMES = 2, NX_EVENTS_SNAPSHOT = 4 };
int nx_subscribe(nx_self *self, unsigned events);

/* Be told once, as NX_INFO_DOWN, when a server ends, or at once if it is gone already. *monitor names it. Returns 0, NX_EINVAL,
 * NX_ENOMEM, NX_EBUSY. */
int  nx_monitor(nx_self *self, nx_ref ref, uint64_t *monitor);
bool nx_demonitor(nx_self *self, uint64_t monitor);

#ifdef __cplusplus
}
#endif
#endif
