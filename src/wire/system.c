/*
 * system.c - the keys of every system body, their types and bounds: one table a body, one line a key.
 *
 * Lives here: the tables, the rules between members, and the encoder and decoder that each table makes.
 * Never here: how a table is followed (system_body.c); bodies built entry by entry (system_lists.c).
 * Runs in: workers, the link worker, the gate.
 *
 * A key never changes its meaning; a new one takes a free letter. A reader refuses a key it does not know, so a new key is sent
 * only to a node whose version has it.
 */
#include "wire/system.h"

#include <string.h>

#include "base/base.h"
#include "noex/noex.h"
#include "wire/system_priv.h"

#define MS_MAX (UINT64_C(1) << 53)                 /* every language holds it exactly, and it is 285 000 years */
enum { PRIORITY_MIN = INT32_MIN, PRIORITY_MAX = INT32_MAX, SUBJECT_MAX = BASE_ERROR_SUBJECT - 1, SENTENCE_MAX = BASE_ERROR_TEXT - 1,
       REASON_MAX = NX_NOSERVER };

/* KEY: must be there. OPT: absent when empty. OPT_IF: absent when the bool `has` of the struct is false. */
#define LINE(struct_, member_, key_, type_, min_, max_) \
    .key = key_, .member = #member_, .type = FIELD_##type_, .at = offsetof(struct struct_, member_), \
    .size = sizeof(((struct struct_ *)0)->member_), .min = min_, .max = max_
#define KEY(...) { LINE(__VA_ARGS__) }
#define OPT(...) { LINE(__VA_ARGS__), .is_optional = true }
#define OPT_IF(struct_, has_, ...) { LINE(struct_, __VA_ARGS__), .is_optional = true, .has = offsetof(struct struct_, has_) }

/* ---------------------------------------------------------------- calls: error, spawn, spawn reply, stop */

static const struct field error_fields[] = {
    KEY(sys_error, code,       "c", INT, INT32_MIN, 0),
    KEY(sys_error, app_code,   "a", INT, INT64_MIN, INT64_MAX),
    KEY(sys_error, timeout_ms, "t", TIMEOUT, 0, MS_MAX),
    OPT(sys_error, subject,    "s", TEXT, 1, SUBJECT_MAX),
    OPT(sys_error, text,       "x", TEXT, 1, SENTENCE_MAX),
};
static const struct field spawn_fields[] = {
    KEY(sys_spawn, behavior,        "b", NAME, 1, NX_BEHAVIOR_NAME_MAX),
    KEY(sys_spawn, version,         "v", UINT, 0, UINT32_MAX),
    OPT_IF(sys_spawn, has_hash, hash, "h", HASH, 0, 0),
    OPT(sys_spawn, name,            "n", NAME, 1, NX_NAME_MAX),
    KEY(sys_spawn, scope,           "s", INT, 0, SYS_GLOBAL),
    KEY(sys_spawn, priority,        "p", INT, PRIORITY_MIN, PRIORITY_MAX),
    KEY(sys_spawn, init_timeout_ms, "t", TIMEOUT, 1, MS_MAX),
    OPT(sys_spawn, args,            "a", BYTES, 1, UINT32_MAX),
};
static const struct field spawn_reply_fields[] = { KEY(sys_spawn_reply, ref, "r", REF, 0, 0) };
static const struct field stop_fields[] = { KEY(sys_stop, reason, "r", INT, 0, REASON_MAX) };

/* ---------------------------------------------------------------- monitors and links */

static const struct field monitor_fields[] = {
    KEY(sys_monitor, monitor, "m", UINT, 0, UINT64_MAX),
    KEY(sys_monitor, watcher, "w", REF, 0, 0),
    KEY(sys_monitor, target,  "t", REF, 0, 0),
};
static const struct field monitor_event_fields[] = {
    KEY(sys_monitor_event, monitor,        "m", UINT, 0, UINT64_MAX),
    KEY(sys_monitor_event, watcher_serial, "w", UINT, 0, UINT64_MAX),
    KEY(sys_monitor_event, target,         "t", REF, 0, 0),
    KEY(sys_monitor_event, reason,         "r", INT, 0, REASON_MAX),
    OPT(sys_monitor_event, text,           "x", TEXT, 1, SENTENCE_MAX),
};

/* ---------------------------------------------------------------- names */

static const struct field register_fields[] = {
    KEY(sys_register, name,     "n", NAME, 1, NX_NAME_MAX),
    KEY(sys_register, scope,    "s", INT, SYS_LOCAL, SYS_GLOBAL),
    KEY(sys_register, priority, "p", INT, PRIORITY_MIN, PRIORITY_MAX),
    KEY(sys_register, ref,      "r", REF, 0, 0),
};
static const struct field unregister_fields[] = {
    KEY(sys_unregister, name,  "n", NAME, 1, NX_NAME_MAX),
    KEY(sys_unregister, scope, "s", INT, SYS_LOCAL, SYS_GLOBAL),
};
static const struct field delta_fields[] = {
    KEY(system_entries_head, delta.digest, SYSTEM_KEY_DIGEST, UINT, 0, UINT64_MAX),
    KEY(system_entries_head, list,         SYSTEM_KEY_LIST, LIST, 0, SYS_ENTRIES_MAX),
};
static const struct field sync_fields[] = {
    KEY(system_entries_head, sync.sequence, SYSTEM_KEY_SEQUENCE, UINT, 0, UINT64_MAX),
    KEY(system_entries_head, sync.digest,   SYSTEM_KEY_DIGEST, UINT, 0, UINT64_MAX),
    KEY(system_entries_head, sync.page,     SYSTEM_KEY_PAGE, UINT, 0, UINT32_MAX),
    KEY(system_entries_head, sync.is_last,  SYSTEM_KEY_LAST, BOOL, 0, 0),
    KEY(system_entries_head, is_request,    SYSTEM_KEY_REQUEST, BOOL, 0, 0),
    KEY(system_entries_head, list,          SYSTEM_KEY_LIST, LIST, 0, SYS_ENTRIES_MAX),
};
/* An entry with all of these is a registration; with the first two alone, a removal. */
static const struct field entry_fields[] = {
    KEY(sys_entry, name,             "n", NAME, 1, NX_NAME_MAX),
    KEY(sys_entry, sequence,         "s", UINT, 1, UINT64_MAX),
    KEY(sys_entry, registered_at_ms, "t", UINT, 0, MS_MAX),
    KEY(sys_entry, priority,         "p", INT, PRIORITY_MIN, PRIORITY_MAX),
    KEY(sys_entry, serial,           "i", UINT, 1, UINT64_MAX),
    KEY(sys_entry, generation,       "g", UINT, 1, UINT32_MAX),
    KEY(sys_entry, slot,             "w", UINT, 0, SLOT_WORKERS_MAX - 1),
};
enum { REMOVAL_KEYS = 2 };

/* ---------------------------------------------------------------- nodes and behaviors */

static const struct field heartbeat_fields[] = {
    KEY(sys_heartbeat, is_full,   "f", BOOL, 0, 0),
    KEY(sys_heartbeat, servers,   "c", UINT, 0, UINT32_MAX),
    KEY(sys_heartbeat, uptime_ms, "u", UINT, 0, MS_MAX),
    KEY(sys_heartbeat, sequence,  "s", UINT, 0, UINT64_MAX),
    KEY(sys_heartbeat, digest,    "d", UINT, 0, UINT64_MAX),
    OPT_IF(sys_heartbeat, node_count, nodes, "n", NODES, 1, SYS_GOSSIP_MAX),
};
static const struct field behaviors_fields[] = { KEY(system_behaviors, list, SYSTEM_KEY_LIST, LIST, 0, SYS_BEHAVIORS_MAX) };
static const struct field behavior_fields[] = {
    KEY(sys_behavior, name,    "n", NAME, 1, NX_BEHAVIOR_NAME_MAX),
    KEY(sys_behavior, version, "v", UINT, 1, UINT32_MAX),
    KEY(sys_behavior, hash,    "h", HASH, 0, 0),
};

/* ---------------------------------------------------------------- inside a node only */

static const struct field node_event_fields[] = {
    KEY(sys_node_event, is_up,       "u", BOOL, 0, 0),
    KEY(sys_node_event, node,        "n", NODE, 0, 0),
    OPT(sys_node_event, reason,      "r", TEXT, 1, SENTENCE_MAX),
    KEY(sys_node_event, incarnation, "i", UINT, 0, UINT64_MAX),
};
static const struct field registry_event_fields[] = {
    KEY(sys_registry_event, kind,  "k", INT, SYS_REGISTERED, SYS_NAME_LOST),
    KEY(sys_registry_event, scope, "s", INT, 0, SYS_GLOBAL),
    OPT(sys_registry_event, name,  "n", NAME, 1, NX_NAME_MAX),
    OPT_IF(sys_registry_event, has_ref, ref,     "r", REF, 0, 0),
    OPT_IF(sys_registry_event, has_other, other, "o", REF, 0, 0),
    OPT(sys_registry_event, node,  "d", NODE, 0, 0),
    KEY(sys_registry_event, count, "c", UINT, 0, UINT64_MAX),
    KEY(sys_registry_event, version, "v", UINT, 0, UINT64_MAX),
};
static const struct field subscribe_fields[] = { KEY(sys_subscribe, events, "e", UINT, 0, UINT32_MAX) };
static const struct field probe_fields[] = {
    KEY(sys_probe, call_id,   "c", UINT, 0, UINT64_MAX),
    KEY(sys_probe, initiator, "i", REF, 0, 0),
    KEY(sys_probe, hops,      "h", UINT, 0, UINT32_MAX),
};

/* ---------------------------------------------------------------- rules between members */

static const char *
check_error(const void *in)
{
    return base_error_is_known(((const struct sys_error *)in)->code) ? NULL : "key 'c' (code) is no error of the list";
}

static const char *
check_spawn(const void *in)
{
    const struct sys_spawn *s = in;
    return (s->name.len > 0) == (s->scope != 0) ? NULL : "a name (key 'n') and a scope (key 's') go together";
}

static const char *
check_heartbeat(const void *in)
{
    const struct sys_heartbeat *h = in;
    return h->is_full || h->node_count == 0 ? NULL : "nodes (key 'n') in a heartbeat that is not full";
}

static const char *
check_sync(const void *in)
{
    const struct system_entries_head *h = in;
    return !h->is_request || (h->list.count == 0 && h->sync.sequence == 0 && h->sync.page == 0) ? NULL :
           "a request (key 'r') is page 0 with sequence 0 and no entries";
}

/* ---------------------------------------------------------------- the bodies */

#define BODY(noun_, fields_, check_) { .noun = noun_, .fields = fields_, .count = BASE_COUNT(fields_), .check = check_ }

const struct body system_delta_body = BODY("registry delta", delta_fields, NULL);
const struct body system_sync_body = BODY("registry sync", sync_fields, check_sync);
const struct body system_entry_body = BODY("registry entry", entry_fields, NULL);
const struct body system_removal_body = { .noun = "registry removal", .fields = entry_fields, .count = REMOVAL_KEYS };
const struct body system_behaviors_body = BODY("behaviors", behaviors_fields, NULL);
const struct body system_behavior_body = BODY("behavior", behavior_fields, NULL);

/* sys_NAME_encode and sys_NAME_decode of system.h, from NAME_fields. */
#define CODEC(name_, check_) \
    static const struct body name_##_body = BODY(#name_, name_##_fields, check_); \
    int sys_##name_##_encode(const struct sys_##name_ *in, struct buf *out) { return body_encode(&name_##_body, in, out); } \
    int sys_##name_##_decode(const void *body, size_t len, struct sys_##name_ *out, struct base_error *why) \
    { \
        struct sys_##name_ made; \
        memset(&made, 0, sizeof made); \
        int err = body_decode(&name_##_body, body, len, &made, why); \
        if (err == 0) \
            *out = made; \
        return err; \
    }
CODEC(error, check_error)
CODEC(spawn, check_spawn)
CODEC(spawn_reply, NULL)
CODEC(stop, NULL)
CODEC(monitor, NULL)
CODEC(monitor_event, NULL)
CODEC(register, NULL)
CODEC(unregister, NULL)
CODEC(heartbeat, check_heartbeat)
CODEC(node_event, NULL)
CODEC(registry_event, NULL)
CODEC(subscribe, NULL)
CODEC(probe, NULL)

/* The empty map: acknowledgement and cancellation of a spawn. */
static const struct body empty_body = { .noun = "empty body" };

int
sys_empty_encode(struct buf *out)
{
    return body_encode(&empty_body, NULL, out);
}

int
sys_empty_decode(const void *body, size_t len, struct base_error *why)
{
    return body_decode(&empty_body, body, len, NULL, why);
}
