/*
 * messages.c - messages of a member that are not as they should be, in frames that are.
 *
 * Lives here: bodies and targets of calls, answers that nobody asked for, starts, names.
 * Never here: how it is done right (peer.c).
 * Runs in: peer.
 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "peer.h"
#include "wire/system.h"

#define BYTES(text) text, sizeof text - 1

/* ---------------------------------------------------------------- calls: their bodies, their targets */

static const struct body { const char *name, *head; size_t head_len; uint8_t fill; size_t fill_count; const char *tail; size_t tail_len; } bodies[] = {
    { "body_honest", BYTES("\xc0"), 0, 0, "", 0 },
    { "body_c1", BYTES("\xc1"), 0, 0, "", 0 },
    { "body_empty", BYTES(""), 0, 0, "", 0 },
    { "body_two", BYTES("\xc0\xc0"), 0, 0, "", 0 },
    { "body_array32", BYTES("\xdd\xff\xff\xff\xff"), 0, 0, "", 0 },
    { "body_array32_by_one", BYTES("\xdd\0\0\0\x0b"), 0xc0, 10, "", 0 },
    { "body_map32", BYTES("\xdf\xff\xff\xff\xff"), 0, 0, "", 0 },
    { "body_str32", BYTES("\xdb\xff\xff\xff\xff" "abc"), 0, 0, "", 0 },
    { "body_bin32", BYTES("\xc6\x7f\xff\xff\xff"), 0, 0, "", 0 },
    { "body_ext32", BYTES("\xc9\xff\xff\xff\xff\5"), 0, 0, "", 0 },
    { "body_cut", BYTES("\xcf\0\0"), 0, 0, "", 0 },
    { "body_depth_33", BYTES(""), 0x91, 33, BYTES("\xc0") },
    { "body_depth_bomb", BYTES(""), 0x91, 60000, BYTES("\xc0") },
    { "body_map_bomb", BYTES(""), 0x81, 60000, BYTES("\xc0") },
    { "body_duplicate_keys", BYTES("\x82\xa1" "a\1\xa1" "a\2"), 0, 0, "", 0 },
    { "body_bad_ref", BYTES("\xc7\5\1" "abcde"), 0, 0, "", 0 },
};

static void
bad_body(struct peer *p, const struct body *t)
{
    static uint8_t bytes[WIRE_PIECE_MAX];
    size_t len = t->head_len + t->fill_count + t->tail_len;
    peer_up(p);
    memcpy(bytes, t->head, t->head_len);
    memset(bytes + t->head_len, t->fill, t->fill_count);
    memcpy(bytes + t->head_len + t->fill_count, t->tail, t->tail_len);
    struct envelope e = peer_envelope(p, KIND_CALL, len);
    peer_send(p, &e, bytes);
    peer_answer(p, e.call_id);
}

static void
call_to(struct peer *p, uint16_t slot, uint32_t generation, uint64_t serial)
{
    static const uint8_t nil = 0xc0;
    struct envelope e = peer_envelope(p, KIND_CALL, 1);
    peer_up(p);
    e.slot = slot;
    e.generation = generation;
    e.serial = serial;
    peer_send(p, &e, &nil);
    peer_answer(p, e.call_id);
}

static void serial_0(struct peer *p) { call_to(p, p->target.slot, p->target.generation, 0); }
static void serial_unknown(struct peer *p) { call_to(p, p->target.slot, p->target.generation, UINT64_MAX); }
static void slot_unknown(struct peer *p) { call_to(p, 63, 1, 1); }
static void slot_65535(struct peer *p) { call_to(p, 65535, 1, 1); }
static void slot_gate(struct peer *p) { call_to(p, SLOT_GATE, 1, 1); }
static void slot_link(struct peer *p) { call_to(p, SLOT_LINK, 1, 1); }
static void generation_old(struct peer *p) { call_to(p, p->target.slot, p->target.generation + 1, p->target.serial); }
static void generation_0(struct peer *p) { call_to(p, p->target.slot, 0, p->target.serial); }

/* Skipped or dropped; the link goes on. */
static void
harmless(struct peer *p, uint8_t kind, uint16_t slot)
{
    static const uint8_t nil = 0xc0;
    peer_up(p);
    struct envelope e = peer_envelope(p, kind, 1);
    e.slot = slot;
    e.call_id = UINT64_C(0x0000123456789abc);
    peer_send(p, &e, &nil);
    peer_call(p);
}

static void kind_200(struct peer *p) { harmless(p, 200, p->target.slot); }
static void kind_128(struct peer *p) { harmless(p, 128, SLOT_LINK); }
static void reply_unasked(struct peer *p) { harmless(p, KIND_REPLY, p->target.slot); }
static void error_unasked(struct peer *p) { harmless(p, KIND_ERROR, p->target.slot); }
static void ack_unasked(struct peer *p) { harmless(p, KIND_SPAWN_ACK, p->target.slot); }
static void exit_garbage(struct peer *p) { harmless(p, KIND_EXIT, p->target.slot); }
static void monitor_garbage(struct peer *p) { harmless(p, KIND_MONITOR, p->target.slot); }

/* ---------------------------------------------------------------- spawns and names */

static void
request(struct peer *p, uint8_t kind, uint16_t slot, const void *body, size_t len)
{
    struct envelope e = peer_envelope(p, kind, len);
    peer_up(p);
    e.slot = slot;
    e.serial = e.generation = 0;
    peer_send(p, &e, body);
    peer_answer(p, e.call_id);
}

static void
spawn(struct peer *p, const char *behavior)
{
    struct sys_spawn s = { .behavior = { behavior, strlen(behavior) }, .init_timeout_ms = 1000 };
    struct buf body;
    buf_init(&body, 0);
    if (sys_spawn_encode(&s, &body) != 0)
        peer_die("spawn");
    request(p, KIND_SPAWN, SLOT_ANY, buf_data(&body), buf_len(&body));
    buf_fini(&body);
}

/* Starts that take their time, more than a peer may have under way; how each ended. */
static void
spawn_flood(struct peer *p)
{
    enum { STARTS = 300 };
    struct sys_spawn s = { .behavior = { BYTES("probe") }, .init_timeout_ms = 1000, .args = { (const uint8_t *)"\x81\xa4wait\xcd\x01\x2c", 9 } };
    struct buf body;
    struct frame_view v;
    struct envelope e;
    const uint8_t *answer;
    unsigned started = 0, busy = 0, other = 0;
    buf_init(&body, 0);
    if (sys_spawn_encode(&s, &body) != 0)
        peer_die("spawn");
    peer_up(p);
    for (int i = 0; i < STARTS; i++) {
        e = peer_envelope(p, KIND_SPAWN, buf_len(&body));        /* all to one worker, which keeps the bound */
        e.serial = 0;
        peer_send(p, &e, buf_data(&body));
    }
    uint64_t until = peer_now_ms() + p->patience_ms;
    for (; started + busy + other < STARTS && peer_next_frame(p, until, &v) == 1; buf_take(&p->in, v.total)) {
        for (size_t at = 0; frame_next(&v, &at, &e, &answer);) {
            struct sys_error error;
            started += e.kind == KIND_SPAWN_REPLY;
            if (e.kind == KIND_ERROR && sys_error_decode(answer, e.body_len, &error, NULL) == 0)
                error.code == NX_EBUSY ? busy++ : other++;
        }
    }
    printf("started=%u busy=%u other=%u\n", started, busy, other);
    buf_fini(&body);
}

static void spawn_unknown(struct peer *p) { spawn(p, "nowhere"); }
static void spawn_garbage(struct peer *p) { request(p, KIND_SPAWN, SLOT_ANY, BYTES("\x81\xa1" "b\xc0")); }
static void spawn_duplicate_key(struct peer *p) { request(p, KIND_SPAWN, SLOT_ANY, BYTES("\x82\xa1" "b\xa1" "x\xa1" "b\xa1" "x")); }
static void spawn_timeout_0(struct peer *p) { request(p, KIND_SPAWN, SLOT_ANY, BYTES("\x85\xa1" "b\xa5" "probe\xa1" "v\0\xa1" "s\0\xa1" "p\0\xa1" "t\0")); }

static void
register_for(struct peer *p, int scope, const char *node)
{
    struct sys_register r = { .name = { BYTES("stolen") }, .scope = scope, .ref = p->target };
    struct buf body;
    buf_init(&body, 0);
    snprintf(r.ref.node, sizeof r.ref.node, "%s", node);
    if (sys_register_encode(&r, &body) != 0)
        peer_die("register");
    request(p, KIND_REGISTER, SLOT_LINK, buf_data(&body), buf_len(&body));
    buf_fini(&body);
}

static void register_foreign(struct peer *p) { register_for(p, SYS_GLOBAL, "other@127.0.0.1:2"); }
static void register_local(struct peer *p) { char node[NODE_ID_MAX + 1]; memcpy(node, p->target.node, sizeof node); register_for(p, SYS_LOCAL, node); }
static void register_garbage(struct peer *p) { request(p, KIND_REGISTER, SLOT_LINK, BYTES("\xc1")); }

static void
put_entries(struct peer *p, uint8_t kind, const void *head, uint64_t first, uint32_t count)
{
    struct buf body;
    struct envelope e = { .kind = kind, .slot = SLOT_LINK };
    buf_init(&body, 0);
    int err = sys_entries_begin(&body, kind, head, false);
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "hostile-%u", i);
        struct sys_entry entry = { .name = { name, strlen(name) }, .sequence = first + i, .registered_at_ms = 1, .serial = 1, .generation = 1 };
        err = sys_entries_add(&body, &entry);
    }
    if (err != 0 || sys_entries_end(&body) != 0)
        peer_die("entries");
    e.body_len = (uint32_t)buf_len(&body);
    peer_send(p, &e, buf_data(&body));
    buf_fini(&body);
}

/* More names than a peer may have; they stay while the link does. */
static void
names_too_many(struct peer *p)
{
    struct sys_sync_head head = { .sequence = 600, .digest = 1, .is_last = true };
    peer_up(p);
    put_entries(p, KIND_REGISTRY_SYNC, &head, 1, 600);
    peer_call(p);
    fflush(stdout);
    peer_end(p);
}

/* A delta of the past, and one of the far future: asked for again, not believed. */
static void
delta_from(struct peer *p, uint64_t first)
{
    struct sys_sync_head head = { .sequence = 100, .is_last = true };
    struct sys_delta_head delta = { .digest = 1 };
    peer_up(p);
    put_entries(p, KIND_REGISTRY_SYNC, &head, 1, 0);
    put_entries(p, KIND_REGISTRY_DELTA, &delta, first, 1);
    peer_call(p);
    fflush(stdout);
    peer_end(p);
}

static void delta_backwards(struct peer *p) { delta_from(p, 3); }
static void delta_gap(struct peer *p) { delta_from(p, 1000); }

static void
raw_to_link(struct peer *p, uint8_t kind, const void *body, size_t len)
{
    struct envelope e = { .kind = kind, .slot = SLOT_LINK, .body_len = (uint32_t)len };
    peer_up(p);
    peer_send(p, &e, body);
    peer_end(p);
}

/* {d: 0, e: [{n: NAME, s: 1}]}, a removal; the name is 256 bytes, or no UTF-8. */
static void
delta_long_name(struct peer *p)
{
    uint8_t body[300] = "\x82\xa1" "d\0\xa1" "e\x91\x82\xa1" "n\xda\1\0";
    size_t head = sizeof "\x82\xa1" "d\0\xa1" "e\x91\x82\xa1" "n\xda\1\0" - 1;
    memset(body + head, 'x', 256);
    memcpy(body + head + 256, "\xa1" "s\1", 3);
    raw_to_link(p, KIND_REGISTRY_DELTA, body, head + 256 + 3);
}

static void delta_bad_utf8(struct peer *p) { raw_to_link(p, KIND_REGISTRY_DELTA, BYTES("\x82\xa1" "d\0\xa1" "e\x91\x82\xa1" "n\xa2\xc3\x28\xa1" "s\1")); }
static void delta_array_bomb(struct peer *p) { raw_to_link(p, KIND_REGISTRY_DELTA, BYTES("\x82\xa1" "d\0\xa1" "e\xdd\xff\xff\xff\xff")); }
static void heartbeat_duplicate_key(struct peer *p) { raw_to_link(p, KIND_HEARTBEAT, BYTES("\x86\xa1" "f\xc2\xa1" "f\xc2\xa1" "c\0\xa1" "u\0\xa1" "s\0\xa1" "d\0")); }

/* ---------------------------------------------------------------- by name */

static const struct trick { const char *name; void (*run)(struct peer *p); } tricks[] = {
    { "serial_0", serial_0 }, { "serial_unknown", serial_unknown }, { "slot_unknown", slot_unknown },
    { "slot_65535", slot_65535 }, { "slot_gate", slot_gate }, { "slot_link", slot_link },
    { "generation_old", generation_old }, { "generation_0", generation_0 }, { "kind_200", kind_200 },
    { "kind_128", kind_128 }, { "reply_unasked", reply_unasked }, { "error_unasked", error_unasked },
    { "ack_unasked", ack_unasked }, { "exit_garbage", exit_garbage }, { "monitor_garbage", monitor_garbage },
    { "spawn_unknown", spawn_unknown }, { "spawn_garbage", spawn_garbage }, { "spawn_duplicate_key", spawn_duplicate_key },
    { "spawn_timeout_0", spawn_timeout_0 }, { "spawn_flood", spawn_flood }, { "register_foreign", register_foreign },
    { "register_local", register_local }, { "register_garbage", register_garbage }, { "names_too_many", names_too_many },
    { "delta_backwards", delta_backwards }, { "delta_gap", delta_gap }, { "delta_long_name", delta_long_name },
    { "delta_bad_utf8", delta_bad_utf8 }, { "delta_array_bomb", delta_array_bomb },
    { "heartbeat_duplicate_key", heartbeat_duplicate_key },
};

bool
messages_trick(struct peer *p, const char *name)
{
    for (size_t i = 0; i < BASE_COUNT(bodies); i++)
        if (strcmp(bodies[i].name, name) == 0)
            return bad_body(p, &bodies[i]), true;
    for (size_t i = 0; i < BASE_COUNT(tricks); i++)
        if (strcmp(tricks[i].name, name) == 0)
            return tricks[i].run(p), true;
    return false;
}
