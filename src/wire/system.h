/*
 * system.h - the bodies of the system messages: one struct, one encoder and one decoder each. The table of keys, types and bounds
 * stands in system.c.
 *
 * Bodies are MessagePack maps, decoded strictly (each key known and once, refs the only ext). Every string in a decoded struct is
 * borrowed from the body; `len` fields count bytes; nothing is NUL-terminated unless it is an array here.
 * Encoders append to `out`: 0; NX_EINVAL for a member that the decoder would refuse; NX_ENOMEM; NX_ETOOBIG beyond out->max; on
 * failure `out` is as it was. Texts for people (errors, reasons) are cut and made UTF-8 instead of refused. Decoders: 0, or NX_EBADMSG
 * with the key in the text and the struct as it was.
 */
#ifndef NOEXD_WIRE_SYSTEM_H
#define NOEXD_WIRE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "wire/envelope.h"
#include "wire/ref.h"

struct sys_text { const char *at; size_t len; };
struct sys_bytes { const uint8_t *at; size_t len; };

enum { SYS_LOCAL = 1, SYS_GLOBAL = 2 };

/* kind 4, and the failure half of 6: what went wrong. */
struct sys_error { int32_t code; int64_t app_code; int64_t timeout_ms; struct sys_text subject, text; };

/* kind 5 */
struct sys_spawn {
    struct sys_text behavior;
    uint32_t version;                  /* of the requester's own table; 0 = it has none */
    uint8_t hash[32]; bool has_hash;
    struct sys_text name;              /* len 0 = none */
    int32_t scope;                     /* 0, SYS_LOCAL, SYS_GLOBAL */
    int32_t priority;
    int64_t init_timeout_ms;
    struct sys_bytes args;             /* packed value, len 0 = nil; a bin in the map, so it is not decoded here */
};
/* kind 6: a ref on success; a failure travels as kind 4 */
struct sys_spawn_reply { struct wire_ref ref; };
/* kinds 19 and 20: ack (the requester has the ref and wants it) and cancel (it has given up); the call id names the spawn, the body
 * is the empty map */
int sys_empty_encode(struct buf *out);
int sys_empty_decode(const void *body, size_t len, struct base_error *why);

/* kind 13 */
struct sys_stop { int32_t reason; };

/* kinds 10, 11, 12: the monitor's id is the watcher's own; events go back to its worker slot and generation. Links (14, 15, 16)
 * travel in the same bodies: link and unlink as monitor, exit as monitor event. */
struct sys_monitor { uint64_t monitor; struct wire_ref watcher; struct wire_ref target; };
struct sys_monitor_event { uint64_t monitor; uint64_t watcher_serial; struct wire_ref target; int32_t reason; struct sys_text text; };

/* kinds 17, 18 (worker or peer -> link worker), answered by REPLY (nil) or ERROR */
struct sys_register { struct sys_text name; int32_t scope; int32_t priority; struct wire_ref ref; };
struct sys_unregister { struct sys_text name; int32_t scope; };

/* kind 7: changes of the sender's own entries, in order of their sequence numbers, without a gap */
struct sys_entry {
    struct sys_text name;
    bool is_removal;
    uint64_t sequence;                 /* origin sequence */
    uint64_t registered_at_ms; int32_t priority; uint64_t serial; uint32_t generation; uint16_t slot;   /* not in removals */
};
/* A delta or a sync page is built entry by entry and read entry by entry. `out` holds nothing else: begin asserts that it is empty. The
 * count in a head is not read by begin (it is counted) and is set by open. add: NX_EFULL beyond SYS_ENTRIES_MAX, NX_ETOOBIG beyond
 * out->max; either way the body stands as it was, end it and begin another. A removal has a name and a sequence alone. */
enum { SYS_ENTRIES_MAX = 4096 };
struct sys_delta_head { uint64_t digest; uint32_t count; };            /* kind 7: digest of all entries after these changes */
struct sys_sync_head { uint64_t sequence, digest; uint32_t page; bool is_last; uint32_t count; };   /* kind 8; page 0 begins; a request
                                                                         for a sync is a page with sequence 0 and is_request */
int sys_entries_begin(struct buf *out, uint8_t kind, const void *head, bool is_request);   /* head: sys_delta_head or sys_sync_head */
int sys_entries_add(struct buf *out, const struct sys_entry *e);
int sys_entries_end(struct buf *out);
struct sys_entries;                     /* decoded, see below */
int  sys_entries_open(uint8_t kind, const void *body, size_t len, struct sys_entries **out, struct base_error *why);
void sys_entries_close(struct sys_entries **e);
const struct sys_delta_head *sys_entries_delta(const struct sys_entries *e);
const struct sys_sync_head *sys_entries_sync(const struct sys_entries *e);
bool sys_entries_is_request(const struct sys_entries *e);
bool sys_entries_next(struct sys_entries *e, struct sys_entry *out);

/* kind 9 */
enum { SYS_GOSSIP_MAX = 256 };
struct sys_heartbeat {
    bool is_full;                      /* with gossip and digest */
    uint32_t servers; uint64_t uptime_ms;
    uint64_t sequence, digest;         /* of the sender's registry entries */
    uint32_t node_count;               /* ids of nodes that the sender is connected to */
    struct sys_text nodes[SYS_GOSSIP_MAX];
};

/* kind 21: the sender's behavior table */
enum { SYS_BEHAVIORS_MAX = 1024 };
struct sys_behavior { struct sys_text name; uint32_t version; uint8_t hash[32]; };

/* Pipe-only bodies (64-71) */
struct sys_node_event { bool is_up; struct sys_text node; struct sys_text reason; uint64_t incarnation; };
enum sys_registry_event_kind { SYS_REGISTERED = 1, SYS_UNREGISTERED, SYS_CONFLICT, SYS_SYNCED, SYS_NAME_LOST };
struct sys_registry_event {
    int32_t kind; int32_t scope;
    struct sys_text name;
    struct wire_ref ref, other; bool has_ref, has_other;
    struct sys_text node; uint64_t count;
    uint64_t version;                  /* registry_version() right after the commit it tells of; 0 = none */
};
struct sys_subscribe { uint32_t events; };                  /* NX_EVENTS_...: the union over this worker; replaces */
struct sys_probe { uint64_t call_id; struct wire_ref initiator; uint32_t hops; };

#define SYS_CODEC(name) \
    int sys_##name##_encode(const struct sys_##name *in, struct buf *out); \
    int sys_##name##_decode(const void *body, size_t len, struct sys_##name *out, struct base_error *why)
SYS_CODEC(error);
SYS_CODEC(spawn);
SYS_CODEC(spawn_reply);
SYS_CODEC(stop);
SYS_CODEC(monitor);
SYS_CODEC(monitor_event);
SYS_CODEC(register);
SYS_CODEC(unregister);
SYS_CODEC(heartbeat);
SYS_CODEC(node_event);
SYS_CODEC(registry_event);
SYS_CODEC(subscribe);
SYS_CODEC(probe);
int sys_behaviors_encode(const struct sys_behavior *list, size_t count, struct buf *out);
int sys_behaviors_decode(const void *body, size_t len, struct sys_behavior *list, size_t max, size_t *count, struct base_error *why);

#endif
