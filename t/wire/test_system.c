/*
 * test_system.c - every system body: there and back, and refused with a key that is missing, twice, unknown, of a wrong type or out of
 * bounds. Hostile bodies are made with msgpack-c from good ones.
 */
#include "wire/system.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "noex/noex.h"
#include "unit.h"

static const struct wire_ref ref_a = { 0x00c0ffee00c0ffee, 42, 1, 3, "app1@127.0.0.1:4369" };
static const struct wire_ref ref_b = { UINT64_MAX, UINT64_MAX, UINT32_MAX, 63, "app2@[2001:db8::1]:4370" };
static const uint8_t hash[32] = { 1, 2, 3, [31] = 0xff };

static struct sys_text
text(const char *s)
{
    return (struct sys_text){ s, strlen(s) };
}

static bool
is_text(struct sys_text t, const char *s)
{
    return t.len == strlen(s) && memcmp(t.at, s, t.len) == 0;
}

static bool
is_ref(const struct wire_ref *a, const struct wire_ref *b)
{
    return a->incarnation == b->incarnation && a->serial == b->serial && a->generation == b->generation && a->slot == b->slot &&
           strcmp(a->node, b->node) == 0;
}

/* ---------------------------------------------------------------- samples: one good body of each */

#define ENCODE(name_, ...) \
    struct sys_##name_ in = { __VA_ARGS__ }; \
    CU_ASSERT_EQUAL_FATAL(sys_##name_##_encode(&in, out), 0)

static void make_error(struct buf *out)
{
    ENCODE(error, .code = NX_EAPP, .app_code = INT64_MIN, .timeout_ms = -1, .subject = text("#a"), .text = text("it broke"));
}
static void make_spawn(struct buf *out)
{
    ENCODE(spawn, .behavior = text("counter"), .version = 7, .has_hash = true, .name = text("shared"), .scope = SYS_GLOBAL, .priority = -5,
           .init_timeout_ms = 5000, .args = { (const uint8_t *)"\x81\xa1k\x01", 4 });
    memcpy(in.hash, hash, 32);
    buf_clear(out);
    CU_ASSERT_EQUAL(sys_spawn_encode(&in, out), 0);
}
static void make_spawn_reply(struct buf *out) { ENCODE(spawn_reply, .ref = ref_a); }
static void make_stop(struct buf *out) { ENCODE(stop, .reason = NX_SHUTDOWN); }
static void make_monitor(struct buf *out) { ENCODE(monitor, .monitor = 9, .watcher = ref_a, .target = ref_b); }
static void make_monitor_event(struct buf *out)
{
    ENCODE(monitor_event, .monitor = 9, .watcher_serial = 42, .target = ref_b, .reason = NX_KILLED, .text = text("signal 9"));
}
static void make_register(struct buf *out)
{
    ENCODE(register, .name = text("n\xc3\xa4me"), .scope = SYS_LOCAL, .priority = INT32_MIN, .ref = ref_a);
}
static void make_unregister(struct buf *out) { ENCODE(unregister, .name = text("name"), .scope = SYS_GLOBAL); }
static void make_heartbeat(struct buf *out)
{
    ENCODE(heartbeat, .is_full = true, .servers = 1000, .uptime_ms = UINT64_C(1) << 53, .sequence = UINT64_MAX, .digest = 1,
           .node_count = 2, .nodes = { text("app1@127.0.0.1:4369"), text("app2@[2001:db8::1]:4370") });
}
static void make_node_event(struct buf *out)
{
    ENCODE(node_event, .is_up = false, .node = text("app2@h:1"), .reason = text("connection_closed"), .incarnation = 5);
}
static void make_registry_event(struct buf *out)
{
    ENCODE(registry_event, .kind = SYS_CONFLICT, .scope = SYS_GLOBAL, .name = text("name"), .ref = ref_a, .other = ref_b, .has_ref = true,
           .has_other = true, .node = text("app2@h:1"), .count = 3, .version = UINT64_MAX);
}
static void make_subscribe(struct buf *out) { ENCODE(subscribe, .events = 7); }
static void make_probe(struct buf *out) { ENCODE(probe, .call_id = UINT64_MAX, .initiator = ref_a, .hops = 2); }
static void make_empty(struct buf *out) { CU_ASSERT_EQUAL_FATAL(sys_empty_encode(out), 0); }
static const struct sys_entry live = {
    .name = { "shared-counter", 14 }, .sequence = 11, .registered_at_ms = 1700000000000, .priority = 3,
    .serial = 42, .generation = 2, .slot = 63,
};
static const struct sys_entry removal = { .name = { "old", 3 }, .is_removal = true, .sequence = 12 };
static void make_delta(struct buf *out)
{
    struct sys_delta_head head = { .digest = UINT64_MAX - 1 };
    CU_ASSERT_EQUAL_FATAL(sys_entries_begin(out, KIND_REGISTRY_DELTA, &head, false), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_add(out, &live), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_add(out, &removal), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_end(out), 0);
}
static void make_sync(struct buf *out)
{
    struct sys_sync_head head = { .sequence = 99, .digest = 5, .page = 2, .is_last = true };
    CU_ASSERT_EQUAL_FATAL(sys_entries_begin(out, KIND_REGISTRY_SYNC, &head, false), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_add(out, &live), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_end(out), 0);
}
static void make_behaviors(struct buf *out)
{
    struct sys_behavior list[2] = { { .name = text("counter"), .version = 1 }, { .name = text("x"), .version = UINT32_MAX } };
    memcpy(list[0].hash, hash, 32);
    CU_ASSERT_EQUAL_FATAL(sys_behaviors_encode(list, 2, out), 0);
}

/* Decoders behind one signature; each asserts that a refusal leaves its output alone. */
#define DECODE(name_) \
    static int \
    take_##name_(const void *body, size_t len, struct base_error *why) \
    { \
        static struct sys_##name_ out, before; \
        memset(&out, 0x5a, sizeof out); \
        before = out; \
        int err = sys_##name_##_decode(body, len, &out, why); \
        CU_ASSERT_TRUE(err == 0 || memcmp(&out, &before, sizeof out) == 0); \
        return err; \
    }
DECODE(error)
DECODE(spawn)
DECODE(spawn_reply)
DECODE(stop)
DECODE(monitor)
DECODE(monitor_event)
DECODE(register)
DECODE(unregister)
DECODE(heartbeat)
DECODE(node_event)
DECODE(registry_event)
DECODE(subscribe)
DECODE(probe)
static int take_empty(const void *body, size_t len, struct base_error *why) { return sys_empty_decode(body, len, why); }
static int
take_entries(uint8_t kind, const void *body, size_t len, struct base_error *why)
{
    struct sys_entries *e = NULL;
    int err = sys_entries_open(kind, body, len, &e, why);
    CU_ASSERT_EQUAL(e != NULL, err == 0);
    sys_entries_close(&e);
    return err;
}
static int take_delta(const void *body, size_t len, struct base_error *why) { return take_entries(KIND_REGISTRY_DELTA, body, len, why); }
static int take_sync(const void *body, size_t len, struct base_error *why) { return take_entries(KIND_REGISTRY_SYNC, body, len, why); }
static int
take_behaviors(const void *body, size_t len, struct base_error *why)
{
    struct sys_behavior list[4];
    size_t count = 77;
    int err = sys_behaviors_decode(body, len, list, 4, &count, why);
    CU_ASSERT_TRUE(err == 0 || count == 77);
    return err;
}

static const struct sample {
    const char *noun, *optional;            /* letters of the keys that may be absent */
    void (*make)(struct buf *out);
    int (*take)(const void *body, size_t len, struct base_error *why);
} samples[] = {
#define SAMPLE(name_, optional_) { #name_, optional_, make_##name_, take_##name_ }
    SAMPLE(error, "sx"), SAMPLE(spawn, "ha"), SAMPLE(spawn_reply, ""), SAMPLE(stop, ""), SAMPLE(monitor, ""), SAMPLE(monitor_event, "x"),
    SAMPLE(register, ""), SAMPLE(unregister, ""), SAMPLE(heartbeat, "n"), SAMPLE(node_event, "r"), SAMPLE(registry_event, "nrod"),
    SAMPLE(subscribe, ""), SAMPLE(probe, ""), SAMPLE(empty, ""), SAMPLE(delta, ""), SAMPLE(sync, ""), SAMPLE(behaviors, ""),
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

/* ---------------------------------------------------------------- making hostile bodies */

struct hostile { msgpack_unpacked good; msgpack_sbuffer bytes; msgpack_packer pk; };

static void
hostile_begin(struct hostile *h, const struct buf *body)
{
    msgpack_unpacked_init(&h->good);
    CU_ASSERT_EQUAL_FATAL(msgpack_unpack_next(&h->good, (const char *)buf_data(body), buf_len(body), NULL), MSGPACK_UNPACK_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(h->good.data.type, MSGPACK_OBJECT_MAP);
    msgpack_sbuffer_init(&h->bytes);
    msgpack_packer_init(&h->pk, &h->bytes, msgpack_sbuffer_write);
}

static void
hostile_end(struct hostile *h)
{
    msgpack_unpacked_destroy(&h->good);
    msgpack_sbuffer_destroy(&h->bytes);
}

static void
expect(struct hostile *h, const struct sample *s, int expected, const char *part)
{
    struct base_error why = { .code = 0 };
    int err = s->take(h->bytes.data, h->bytes.size, &why);
    bool is_right = err == expected && (expected == 0 || (why.code == err && strstr(why.text, part) != NULL));
    CU_ASSERT_TRUE(is_right);
    if (!is_right)
        printf("# %s: expected %d with '%s', got %d: %s\n", s->noun, expected, part, err, err != 0 ? why.text : "");
    msgpack_sbuffer_clear(&h->bytes);
}

static void
key_text(const msgpack_object_kv *kv, char out[static 8])
{
    snprintf(out, 8, "'%.*s'", (int)kv->key.via.str.size, kv->key.via.str.ptr);
}

enum { WRONG_NIL, WRONG_BOOL, WRONG_INT, WRONG_FLOAT, WRONG_NAN, WRONG_INFINITY, WRONG_STR, WRONG_BIN, WRONG_ARRAY, WRONG_MAP, WRONG_EXT,
       WRONG_TYPES };

/* Pack a value of this kind; false if it is of the same type as the good one. */
static bool
pack_wrong(msgpack_packer *pk, int wrong, const msgpack_object *good)
{
    msgpack_object_type t = good->type;
    bool is_int = t == MSGPACK_OBJECT_POSITIVE_INTEGER || t == MSGPACK_OBJECT_NEGATIVE_INTEGER;

    if ((wrong == WRONG_BOOL && t == MSGPACK_OBJECT_BOOLEAN) || (wrong == WRONG_INT && is_int) ||
        (wrong == WRONG_STR && t == MSGPACK_OBJECT_STR) ||
        (wrong == WRONG_BIN && t == MSGPACK_OBJECT_BIN) || (wrong == WRONG_ARRAY && t == MSGPACK_OBJECT_ARRAY))
        return false;
    switch (wrong) {
    case WRONG_NIL: msgpack_pack_nil(pk); break;
    case WRONG_BOOL: msgpack_pack_true(pk); break;
    case WRONG_INT: msgpack_pack_int(pk, 1); break;
    case WRONG_FLOAT: msgpack_pack_double(pk, 1.0); break;
    case WRONG_NAN: msgpack_pack_double(pk, NAN); break;
    case WRONG_INFINITY: msgpack_pack_float(pk, INFINITY); break;
    case WRONG_STR: msgpack_pack_str_with_body(pk, "1", 1); break;
    case WRONG_BIN: msgpack_pack_bin_with_body(pk, "1", 1); break;
    case WRONG_ARRAY: msgpack_pack_array(pk, 0); break;
    case WRONG_MAP: msgpack_pack_map(pk, 0); break;
    default: msgpack_pack_ext_with_body(pk, "\x01\x02\x03\x04", 4, 5); break;        /* an ext that is no ref */
    }
    return true;
}

/* All pairs of the good map, but at `at` this: skip the pair (wrong < 0) or a wrong value. */
static bool
pack_except(struct hostile *h, uint32_t at, int wrong)
{
    const msgpack_object_map *map = &h->good.data.via.map;
    bool is_wrong = true;

    msgpack_pack_map(&h->pk, map->size - (wrong < 0));
    for (uint32_t i = 0; i < map->size; i++) {
        if (i == at && wrong < 0)
            continue;
        msgpack_pack_object(&h->pk, map->ptr[i].key);
        if (i == at)
            is_wrong = pack_wrong(&h->pk, wrong, &map->ptr[i].val);
        if (i != at || !is_wrong)
            msgpack_pack_object(&h->pk, map->ptr[i].val);
    }
    if (!is_wrong)
        msgpack_sbuffer_clear(&h->bytes);
    return is_wrong;
}

#define EACH_SAMPLE(body_) \
    for (size_t n_ = 0; n_ < SAMPLES; n_++) { \
        const struct sample *s = &samples[n_]; \
        struct hostile h; \
        struct buf good; \
        buf_init(&good, 0); \
        s->make(&good); \
        hostile_begin(&h, &good); \
        const msgpack_object_map *map = &h.good.data.via.map; \
        (void)map; \
        body_ \
        hostile_end(&h); \
        buf_fini(&good); \
    }

UNIT(system, each_body_is_taken_as_it_was_made_and_its_keys_in_any_order)
{
    EACH_SAMPLE({
        msgpack_pack_object(&h.pk, h.good.data);
        expect(&h, s, 0, "");
        msgpack_pack_map(&h.pk, map->size);
        for (uint32_t i = map->size; i > 0; i--) {
            msgpack_pack_object(&h.pk, map->ptr[i - 1].key);
            msgpack_pack_object(&h.pk, map->ptr[i - 1].val);
        }
        expect(&h, s, 0, "");
    })
}

UNIT(system, a_key_that_stands_twice_is_refused)
{
    EACH_SAMPLE({
        for (uint32_t i = 0; i < map->size; i++) {
            char key[8];
            key_text(&map->ptr[i], key);
            msgpack_pack_map(&h.pk, map->size + 1);
            for (uint32_t k = 0; k <= map->size; k++) {
                msgpack_pack_object(&h.pk, map->ptr[k < map->size ? k : i].key);
                msgpack_pack_object(&h.pk, map->ptr[k < map->size ? k : i].val);
            }
            expect(&h, s, NX_EBADMSG, key);
        }
    })
}

UNIT(system, a_missing_key_is_refused_unless_it_is_optional)
{
    EACH_SAMPLE({
        for (uint32_t i = 0; i < map->size; i++) {
            char key[8];
            key_text(&map->ptr[i], key);
            pack_except(&h, i, -1);
            expect(&h, s, strchr(s->optional, key[1]) != NULL ? 0 : NX_EBADMSG, key);
        }
    })
}

UNIT(system, an_unknown_key_is_refused_and_named)
{
    EACH_SAMPLE({
        for (int kind = 0; kind < 5; kind++) {
            msgpack_pack_map(&h.pk, map->size + 1);
            switch (kind) {
            case 0: msgpack_pack_str_with_body(&h.pk, "zz", 2); break;
            case 1: msgpack_pack_str_with_body(&h.pk, "", 0); break;
            case 2: msgpack_pack_int(&h.pk, 1); break;
            case 3: msgpack_pack_bin_with_body(&h.pk, "c", 1); break;
            default: msgpack_pack_str_with_body(&h.pk, "\n\xff", 2); break;
            }
            msgpack_pack_int(&h.pk, 1);
            for (uint32_t i = 0; i < map->size; i++) {
                msgpack_pack_object(&h.pk, map->ptr[i].key);
                msgpack_pack_object(&h.pk, map->ptr[i].val);
            }
            expect(&h, s, NX_EBADMSG, kind == 0 ? "unknown key 'zz'" : kind == 2 || kind == 3 ? "not a string" : "unknown key of");
        }
    })
}

UNIT(system, a_value_of_a_wrong_type_is_refused_with_its_key)
{
    unsigned tried = 0;
    EACH_SAMPLE({
        for (uint32_t i = 0; i < map->size; i++) {
            char key[8];
            key_text(&map->ptr[i], key);
            for (int wrong = 0; wrong < WRONG_TYPES; wrong++) {
                if (!pack_except(&h, i, wrong))
                    continue;
                expect(&h, s, NX_EBADMSG, key);
                tried++;
            }
        }
    })
    CU_ASSERT_TRUE(tried > 500);
}

UNIT(system, what_is_no_map_or_not_whole_is_refused)
{
    EACH_SAMPLE({
        struct base_error why;
        for (size_t len = 0; len < buf_len(&good); len++) {
            uint8_t *cut = malloc(len + 1);                  /* its own block, so that a read behind the end is seen */
            CU_ASSERT_PTR_NOT_NULL_FATAL(cut);
            memcpy(cut, buf_data(&good), len);
            CU_ASSERT_EQUAL(s->take(cut, len, &why), NX_EBADMSG);
            free(cut);
        }
        CU_ASSERT_EQUAL(buf_put(&good, "\xc0", 1), 0);
        CU_ASSERT_EQUAL(s->take(buf_data(&good), buf_len(&good), &why), NX_EBADMSG);
        CU_ASSERT_EQUAL(s->take("\x90", 1, &why), NX_EBADMSG);
        CU_ASSERT_EQUAL(s->take("\xc0", 1, &why), NX_EBADMSG);
        CU_ASSERT_EQUAL(s->take("\xc1", 1, &why), NX_EBADMSG);
        CU_ASSERT_EQUAL(s->take("\x01", 1, &why), NX_EBADMSG);
        CU_ASSERT_EQUAL(s->take("\xdf\xff\xff\xff\xff", 5, &why), NX_EBADMSG);
        CU_ASSERT_EQUAL(s->take("\xdd\xff\xff\xff\xff", 5, &why), NX_EBADMSG);
    })
}

/* Every bit of every sample flipped: taken or refused, but nothing else happens (the sanitizers watch). */
UNIT(system, each_bit_flipped_is_taken_or_refused)
{
    unsigned refused = 0;
    EACH_SAMPLE({
        for (size_t bit = 0; bit < buf_len(&good) * 8; bit++) {
            good.data[good.at + bit / 8] ^= (uint8_t)(1u << bit % 8);
            struct base_error why;
            int err = s->take(buf_data(&good), buf_len(&good), &why);
            CU_ASSERT_TRUE(err == 0 || err == NX_EBADMSG);
            refused += err != 0;
            good.data[good.at + bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    })
    CU_ASSERT_TRUE(refused > 1000);
}

/* ---------------------------------------------------------------- there and back */

UNIT(system, an_error_comes_back)
{
    struct buf b;
    struct sys_error e;
    buf_init(&b, 0);
    make_error(&b);
    CU_ASSERT_EQUAL_FATAL(sys_error_decode(buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_EQUAL(e.code, NX_EAPP);
    CU_ASSERT_EQUAL(e.app_code, INT64_MIN);
    CU_ASSERT_EQUAL(e.timeout_ms, -1);
    CU_ASSERT_TRUE(is_text(e.subject, "#a"));
    CU_ASSERT_TRUE(is_text(e.text, "it broke"));
    CU_ASSERT_TRUE((const uint8_t *)e.text.at > buf_data(&b) && (const uint8_t *)e.text.at < buf_data(&b) + buf_len(&b));
    buf_fini(&b);
}

UNIT(system, every_error_of_the_list_and_no_other_travels)
{
    struct buf b;
    struct sys_error e = { .code = 0 }, back;
    buf_init(&b, 0);
    for (int32_t code = -100; code <= 100; code++) {
        e.code = code;
        buf_clear(&b);
        CU_ASSERT_EQUAL(sys_error_encode(&e, &b), base_error_is_known(code) ? 0 : NX_EINVAL);
        if (buf_len(&b) == 0)
            continue;
        CU_ASSERT_EQUAL_FATAL(sys_error_decode(buf_data(&b), buf_len(&b), &back, NULL), 0);
        CU_ASSERT_EQUAL(back.code, code);
        CU_ASSERT_EQUAL(back.text.len, 0);
    }
    buf_fini(&b);
}

UNIT(system, a_spawn_comes_back)
{
    struct buf b;
    struct sys_spawn s;
    buf_init(&b, 0);
    make_spawn(&b);
    CU_ASSERT_EQUAL_FATAL(sys_spawn_decode(buf_data(&b), buf_len(&b), &s, NULL), 0);
    CU_ASSERT_TRUE(is_text(s.behavior, "counter"));
    CU_ASSERT_EQUAL(s.version, 7);
    CU_ASSERT_TRUE(s.has_hash);
    CU_ASSERT_EQUAL(memcmp(s.hash, hash, 32), 0);
    CU_ASSERT_TRUE(is_text(s.name, "shared"));
    CU_ASSERT_EQUAL(s.scope, SYS_GLOBAL);
    CU_ASSERT_EQUAL(s.priority, -5);
    CU_ASSERT_EQUAL(s.init_timeout_ms, 5000);
    CU_ASSERT_EQUAL(s.args.len, 4);
    CU_ASSERT_EQUAL(memcmp(s.args.at, "\x81\xa1k\x01", 4), 0);
    buf_fini(&b);
}

UNIT(system, a_spawn_without_its_options_comes_back)
{
    struct buf b;
    struct sys_spawn in = { .behavior = text("c"), .init_timeout_ms = -1 }, s;
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_spawn_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_spawn_decode(buf_data(&b), buf_len(&b), &s, NULL), 0);
    CU_ASSERT_FALSE(s.has_hash);
    CU_ASSERT_EQUAL(s.name.len, 0);
    CU_ASSERT_EQUAL(s.args.len, 0);
    CU_ASSERT_EQUAL(s.init_timeout_ms, -1);
    CU_ASSERT_EQUAL(s.scope, 0);
    buf_fini(&b);
}

UNIT(system, a_spawn_with_large_arguments_comes_back)
{
    size_t len = 1000000;
    uint8_t *args = calloc(1, len);
    struct buf b;
    struct sys_spawn in = { .behavior = text("c"), .init_timeout_ms = 1, .args = { args, len } }, s;
    CU_ASSERT_PTR_NOT_NULL_FATAL(args);
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_spawn_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_spawn_decode(buf_data(&b), buf_len(&b), &s, NULL), 0);
    CU_ASSERT_EQUAL(s.args.len, len);
    buf_fini(&b);
    free(args);
}

UNIT(system, refs_reasons_monitors_and_names_come_back)
{
    struct buf b;
    struct sys_spawn_reply reply;
    struct sys_stop stop;
    struct sys_monitor m;
    struct sys_monitor_event me;
    struct sys_register r;
    struct sys_unregister u;

    buf_init(&b, 0);
    make_spawn_reply(&b);
    CU_ASSERT_EQUAL_FATAL(sys_spawn_reply_decode(buf_data(&b), buf_len(&b), &reply, NULL), 0);
    CU_ASSERT_TRUE(is_ref(&reply.ref, &ref_a));
    buf_clear(&b), make_stop(&b);
    CU_ASSERT_EQUAL_FATAL(sys_stop_decode(buf_data(&b), buf_len(&b), &stop, NULL), 0);
    CU_ASSERT_EQUAL(stop.reason, NX_SHUTDOWN);
    buf_clear(&b), make_monitor(&b);
    CU_ASSERT_EQUAL_FATAL(sys_monitor_decode(buf_data(&b), buf_len(&b), &m, NULL), 0);
    CU_ASSERT_TRUE(m.monitor == 9 && is_ref(&m.watcher, &ref_a) && is_ref(&m.target, &ref_b));
    buf_clear(&b), make_monitor_event(&b);
    CU_ASSERT_EQUAL_FATAL(sys_monitor_event_decode(buf_data(&b), buf_len(&b), &me, NULL), 0);
    CU_ASSERT_TRUE(me.monitor == 9 && me.watcher_serial == 42 && is_ref(&me.target, &ref_b));
    CU_ASSERT_TRUE(me.reason == NX_KILLED && is_text(me.text, "signal 9"));
    buf_clear(&b), make_register(&b);
    CU_ASSERT_EQUAL_FATAL(sys_register_decode(buf_data(&b), buf_len(&b), &r, NULL), 0);
    CU_ASSERT_TRUE(is_text(r.name, "n\xc3\xa4me") && r.scope == SYS_LOCAL && r.priority == INT32_MIN && is_ref(&r.ref, &ref_a));
    buf_clear(&b), make_unregister(&b);
    CU_ASSERT_EQUAL_FATAL(sys_unregister_decode(buf_data(&b), buf_len(&b), &u, NULL), 0);
    CU_ASSERT_TRUE(is_text(u.name, "name") && u.scope == SYS_GLOBAL);
    buf_fini(&b);
}

UNIT(system, a_heartbeat_comes_back)
{
    struct buf b;
    static struct sys_heartbeat h, in;
    buf_init(&b, 0);
    make_heartbeat(&b);
    CU_ASSERT_EQUAL_FATAL(sys_heartbeat_decode(buf_data(&b), buf_len(&b), &h, NULL), 0);
    CU_ASSERT_TRUE(h.is_full && h.servers == 1000 && h.uptime_ms == UINT64_C(1) << 53 && h.sequence == UINT64_MAX && h.digest == 1);
    CU_ASSERT_EQUAL(h.node_count, 2);
    CU_ASSERT_TRUE(is_text(h.nodes[1], "app2@[2001:db8::1]:4370"));

    memset(&in, 0, sizeof in);
    buf_clear(&b);
    CU_ASSERT_EQUAL(sys_heartbeat_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_heartbeat_decode(buf_data(&b), buf_len(&b), &h, NULL), 0);
    CU_ASSERT_TRUE(!h.is_full && h.node_count == 0);
    in.node_count = 1;
    in.nodes[0] = text("a@h:1");
    CU_ASSERT_EQUAL(sys_heartbeat_encode(&in, &b), NX_EINVAL);
    in.is_full = true;
    in.node_count = SYS_GOSSIP_MAX;
    for (unsigned i = 0; i < SYS_GOSSIP_MAX; i++)
        in.nodes[i] = text("a@h:1");
    buf_clear(&b);
    CU_ASSERT_EQUAL(sys_heartbeat_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_heartbeat_decode(buf_data(&b), buf_len(&b), &h, NULL), 0);
    CU_ASSERT_EQUAL(h.node_count, SYS_GOSSIP_MAX);
    in.node_count++;
    CU_ASSERT_EQUAL(sys_heartbeat_encode(&in, &b), NX_EINVAL);
    buf_fini(&b);
}

UNIT(system, events_of_a_node_come_back)
{
    struct buf b;
    struct sys_node_event n;
    struct sys_registry_event r, in = { .kind = SYS_SYNCED, .node = text("app2@h:1"), .count = 500 };
    struct sys_subscribe s;
    struct sys_probe p;

    buf_init(&b, 0);
    make_node_event(&b);
    CU_ASSERT_EQUAL_FATAL(sys_node_event_decode(buf_data(&b), buf_len(&b), &n, NULL), 0);
    CU_ASSERT_TRUE(!n.is_up && is_text(n.node, "app2@h:1") && is_text(n.reason, "connection_closed") && n.incarnation == 5);
    buf_clear(&b), make_registry_event(&b);
    CU_ASSERT_EQUAL_FATAL(sys_registry_event_decode(buf_data(&b), buf_len(&b), &r, NULL), 0);
    CU_ASSERT_TRUE(r.kind == SYS_CONFLICT && r.scope == SYS_GLOBAL && is_text(r.name, "name") && r.has_ref && is_ref(&r.ref, &ref_a));
    CU_ASSERT_TRUE(r.has_other && is_ref(&r.other, &ref_b) && is_text(r.node, "app2@h:1") && r.count == 3 && r.version == UINT64_MAX);
    buf_clear(&b);
    CU_ASSERT_EQUAL(sys_registry_event_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_registry_event_decode(buf_data(&b), buf_len(&b), &r, NULL), 0);
    CU_ASSERT_TRUE(r.kind == SYS_SYNCED && !r.has_ref && !r.has_other && r.name.len == 0 && r.count == 500 && r.version == 0);
    buf_clear(&b), make_subscribe(&b);
    CU_ASSERT_EQUAL_FATAL(sys_subscribe_decode(buf_data(&b), buf_len(&b), &s, NULL), 0);
    CU_ASSERT_EQUAL(s.events, 7);
    buf_clear(&b), make_probe(&b);
    CU_ASSERT_EQUAL_FATAL(sys_probe_decode(buf_data(&b), buf_len(&b), &p, NULL), 0);
    CU_ASSERT_TRUE(p.call_id == UINT64_MAX && p.hops == 2 && is_ref(&p.initiator, &ref_a));
    buf_fini(&b);
}

/* ---------------------------------------------------------------- bounds */

/* Replace the value under `key` by a string or an integer, and expect this result. */
static void
with_text(const struct sample *s, const char *key, const char *value, size_t len, int expected)
{
    struct hostile h;
    struct buf good;
    buf_init(&good, 0);
    s->make(&good);
    hostile_begin(&h, &good);
    const msgpack_object_map *map = &h.good.data.via.map;
    msgpack_pack_map(&h.pk, map->size);
    for (uint32_t i = 0; i < map->size; i++) {
        msgpack_pack_object(&h.pk, map->ptr[i].key);
        if (memcmp(map->ptr[i].key.via.str.ptr, key, 1) == 0)
            msgpack_pack_str_with_body(&h.pk, value, len);
        else
            msgpack_pack_object(&h.pk, map->ptr[i].val);
    }
    expect(&h, s, expected, key);
    hostile_end(&h);
    buf_fini(&good);
}

static void
with_number(const struct sample *s, const char *key, bool is_negative, uint64_t value, int expected)
{
    struct hostile h;
    struct buf good;
    buf_init(&good, 0);
    s->make(&good);
    hostile_begin(&h, &good);
    const msgpack_object_map *map = &h.good.data.via.map;
    msgpack_pack_map(&h.pk, map->size);
    for (uint32_t i = 0; i < map->size; i++) {
        msgpack_pack_object(&h.pk, map->ptr[i].key);
        if (memcmp(map->ptr[i].key.via.str.ptr, key, 1) != 0)
            msgpack_pack_object(&h.pk, map->ptr[i].val);
        else if (is_negative)
            msgpack_pack_int64(&h.pk, (int64_t)value);
        else
            msgpack_pack_uint64(&h.pk, value);
    }
    expect(&h, s, expected, key);
    hostile_end(&h);
    buf_fini(&good);
}

static const struct sample *
sample(const char *noun)
{
    for (size_t i = 0; i < SAMPLES; i++)
        if (strcmp(samples[i].noun, noun) == 0)
            return &samples[i];
    CU_FAIL_FATAL("no such sample");
    return NULL;
}

UNIT(system, names_have_1_to_255_bytes_of_clean_utf8)
{
    static const char *const nouns[] = { "spawn", "register", "unregister", "registry_event" };
    char longest[256];
    memset(longest, 'x', sizeof longest);
    for (size_t i = 0; i < 4; i++) {
        const struct sample *s = sample(nouns[i]);
        with_text(s, "n", longest, 255, 0);
        with_text(s, "n", longest, 256, NX_EBADMSG);
        with_text(s, "n", "", 0, NX_EBADMSG);
        with_text(s, "n", "a\0b", 3, NX_EBADMSG);
        with_text(s, "n", "a\xff", 2, NX_EBADMSG);
        with_text(s, "n", "\xc0\x80", 2, NX_EBADMSG);
        with_text(s, "n", "\xed\xa0\x80", 3, NX_EBADMSG);
        with_text(s, "n", "#a", 2, NX_EBADMSG);
        with_text(s, "n", "\xf0\x9f\x90\xa2", 4, 0);
    }
    with_text(sample("spawn"), "b", longest, 128, 0);
    with_text(sample("spawn"), "b", longest, 129, NX_EBADMSG);
    with_text(sample("spawn"), "b", "", 0, NX_EBADMSG);
}

UNIT(system, node_ids_are_valid_and_canonical)
{
    with_text(sample("node_event"), "n", "app1@[2001:db8::1]:1", 20, 0);
    with_text(sample("node_event"), "n", "app1@[2001:DB8::1]:1", 20, NX_EBADMSG);
    with_text(sample("node_event"), "n", "app1@h:0", 8, NX_EBADMSG);
    with_text(sample("node_event"), "n", "", 0, NX_EBADMSG);
    with_text(sample("registry_event"), "d", "app1@h", 6, NX_EBADMSG);
}

UNIT(system, numbers_out_of_range_are_refused)
{
    static const struct { const char *noun, *key; bool is_negative; uint64_t value; bool is_fine; } cases[] = {
        { "spawn", "t", false, 0, false }, { "spawn", "t", false, 1, true }, { "spawn", "t", false, UINT32_MAX, true },
        { "spawn", "t", false, UINT64_C(1) << 53, true }, { "spawn", "t", false, (UINT64_C(1) << 53) + 1, false },
        { "spawn", "t", true, (uint64_t)-1, true }, { "spawn", "t", true, (uint64_t)-2, false },
        { "spawn", "t", true, (uint64_t)INT64_MIN, false }, { "spawn", "t", false, UINT64_MAX, false },
        { "spawn", "p", false, INT32_MAX, true }, { "spawn", "p", false, (uint64_t)INT32_MAX + 1, false },
        { "spawn", "p", false, UINT64_MAX, false }, { "spawn", "p", true, (uint64_t)(int64_t)INT32_MIN, true },
        { "spawn", "p", true, (uint64_t)((int64_t)INT32_MIN - 1), false }, { "spawn", "p", true, (uint64_t)INT64_MIN, false },
        { "spawn", "v", false, UINT32_MAX, true }, { "spawn", "v", false, UINT64_C(1) << 32, false },
        { "spawn", "v", true, (uint64_t)-1, false }, { "spawn", "s", false, 1, true }, { "spawn", "s", false, 0, false },
        { "spawn", "s", false, 3, false }, { "register", "s", false, 0, false }, { "register", "s", false, 3, false },
        { "register", "s", true, (uint64_t)-1, false }, { "stop", "r", false, NX_NOSERVER, true },
        { "stop", "r", false, NX_NOSERVER + 1, false }, { "stop", "r", true, (uint64_t)-1, false },
        { "error", "c", false, 0, false }, { "error", "c", false, 1, false }, { "error", "c", true, (uint64_t)-9999, false },
        { "error", "c", false, UINT64_MAX, false }, { "error", "a", false, UINT64_MAX, false },
        { "error", "a", false, INT64_MAX, true }, { "error", "t", false, 0, true },
        { "error", "t", true, (uint64_t)-2, false }, { "monitor", "m", false, UINT64_MAX, true },
        { "monitor", "m", true, (uint64_t)-1, false }, { "heartbeat", "u", false, (UINT64_C(1) << 53) + 1, false },
        { "heartbeat", "c", false, UINT64_C(1) << 32, false }, { "registry_event", "k", false, 0, false },
        { "registry_event", "k", false, 6, false }, { "registry_event", "k", false, 5, true },
        { "sync", "p", false, UINT64_C(1) << 32, false }, { "sync", "s", true, (uint64_t)-1, false },
        { "delta", "d", true, (uint64_t)-1, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        with_number(sample(cases[i].noun), cases[i].key, cases[i].is_negative, cases[i].value, cases[i].is_fine ? 0 : NX_EBADMSG);
}

UNIT(system, a_name_without_a_scope_or_the_reverse_is_refused)
{
    struct buf b;
    struct sys_spawn s = { .behavior = text("c"), .init_timeout_ms = 1, .name = text("n") };
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_spawn_encode(&s, &b), NX_EINVAL);
    s.scope = SYS_LOCAL;
    CU_ASSERT_EQUAL(sys_spawn_encode(&s, &b), 0);
    s.name.len = 0;
    CU_ASSERT_EQUAL(sys_spawn_encode(&s, &b), NX_EINVAL);
    buf_fini(&b);
}

UNIT(system, what_the_other_side_would_refuse_is_not_encoded)
{
    struct buf b;
    struct sys_register r = { .name = text(""), .scope = SYS_LOCAL, .ref = ref_a };
    struct sys_stop s = { .reason = 99 };
    struct sys_node_event n = { .node = text("nowhere") };

    buf_init(&b, 0);
    CU_ASSERT_EQUAL(buf_put(&b, "before", 6), 0);
    CU_ASSERT_EQUAL(sys_register_encode(&r, &b), NX_EINVAL);
    r.name = text("n");
    r.scope = 0;
    CU_ASSERT_EQUAL(sys_register_encode(&r, &b), NX_EINVAL);
    r.scope = SYS_LOCAL;
    r.ref.node[0] = '\0';
    CU_ASSERT_EQUAL(sys_register_encode(&r, &b), NX_EINVAL);
    CU_ASSERT_EQUAL(sys_stop_encode(&s, &b), NX_EINVAL);
    CU_ASSERT_EQUAL(sys_node_event_encode(&n, &b), NX_EINVAL);
    CU_ASSERT_EQUAL(buf_len(&b), 6);
    r.ref = ref_a;
    CU_ASSERT_EQUAL(sys_register_encode(&r, &b), 0);
    b.max = buf_len(&b) + 20;
    CU_ASSERT_EQUAL(sys_register_encode(&r, &b), NX_ETOOBIG);
    CU_ASSERT_EQUAL(buf_len(&b), b.max - 20);
    buf_fini(&b);
}

UNIT(system, a_text_for_people_is_cut_and_mended)
{
    struct buf b;
    char longest[2000];
    struct sys_error in = { .code = NX_EINIT, .text = text("bad \xff\xc3 \xc3\xa4 \xf0\x9f\x90") }, e;

    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_error_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_error_decode(buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_TRUE(is_text(e.text, "bad ?? \xc3\xa4 ???"));

    memset(longest, 'x', sizeof longest);
    for (size_t i = 1; i + 2 < sizeof longest; i += 2)
        memcpy(longest + i, "\xc3\xa4", 2);
    in.text = (struct sys_text){ longest, sizeof longest };
    buf_clear(&b);
    CU_ASSERT_EQUAL(sys_error_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_error_decode(buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_EQUAL(e.text.len, 479);
    in.text = (struct sys_text){ longest + 1, sizeof longest - 1 };         /* the bound falls into a character */
    buf_clear(&b);
    CU_ASSERT_EQUAL(sys_error_encode(&in, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_error_decode(buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_EQUAL(e.text.len, 478);
    buf_fini(&b);
}
