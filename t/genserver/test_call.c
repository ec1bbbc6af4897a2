/*
 * test_call.c - calls and casts inside one worker.
 */
#include "world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int
get(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)arg;
    return nx_pack(reply, "I", p->number);
}

static int
append(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self;
    p->number = p->number * 10 + (int64_t)arg;
    return reply != NULL ? nx_pack(reply, "I", p->number) : 0;
}

static int
silent(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)arg, (void)reply;
    return 0;
}

static void
c7_order(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    nx_value v;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, append, 1)), 0);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, append, 2)), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, append, 3), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_int(v), 123);
    CU_ASSERT_EQUAL(nx_call_async(self, ref, world_do(self, append, 4), 1000, 0), 0);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, append, 5)), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_int(v), 12345);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, silent, 0), 1000, &v), 0);
    CU_ASSERT_EQUAL(nx_unpack(v, "n"), 0);            /* nothing packed = nil */
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, silent, 0), 1000, NULL), 0);
}
UNIT(call, C7_calls_and_casts_arrive_in_the_order_sent) { world_run(c7_order); }

static void
c2_timeouts(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    nx_value v = { 0 };
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 0, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), -2, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_call(self, ref, (nx_value){ 0 }, 100, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_call(self, (nx_ref){ 0 }, world_do(self, get, 0), 100, &v), NX_EINVAL);
    CU_ASSERT_FALSE(nx_is_value(v));
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), NX_FOREVER, &v), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), INT64_MAX, &v), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "{s:q}", "a"), 100, &v), NX_EINVAL);   /* a wrong format is no value */
    CU_ASSERT_EQUAL(world_stat("callsPending"), 0);
}
UNIT(call, C2_wrong_timeouts_and_no_value_are_refused) { world_run(c2_timeouts); }

static int
hold(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)arg, (void)reply;
    p->kept = nx_caller(self);
    return NX_NOREPLY;
}

static int
release(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    CU_ASSERT_EQUAL(nx_reply(self, p->kept, nx_make(self, "I", (int64_t)arg)), 0);
    CU_ASSERT_EQUAL(nx_reply(self, p->kept, nx_make(self, "I", (int64_t)arg + 1)), 0);      /* a second answer is no error */
    return reply != NULL ? nx_pack(reply, "n") : 0;
}

static void
c3_late(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    nx_value v;
    char text[NX_REF_TEXT_MAX];
    uint64_t late = world_stat("lateReplies"), began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, hold, 0), 30, &v), NX_ETIMEDOUT);
    uint64_t took = world_ms() - began;
    CU_ASSERT(took >= 30 && took <= 80);
    CU_ASSERT_EQUAL(nx_error(self)->code, NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(nx_error(self)->timeout_ms, 30);
    CU_ASSERT_EQUAL(nx_ref_text(ref, text, sizeof text), 0);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->subject, text);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, release, 5), 1000, &v), 0);           /* answers the first call, too late */
    CU_ASSERT_EQUAL(nx_unpack(v, "n"), 0);
    CU_ASSERT_EQUAL(world_stat("lateReplies"), late + 2);
    CU_ASSERT_EQUAL(world_stat("callsTimedOut"), 1);
}
UNIT(call, C3_a_late_reply_is_dropped_and_counted) { world_run(c3_late); }

static void
deferred(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    nx_value v;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, hold, 0)), 0);                        /* a cast has no caller */
    world_pause(self, 1);
    CU_ASSERT_EQUAL(p->kept.call_id, 0);
    struct puppet *helper;
    nx_ref other = world_puppet(self, &helper);
    CU_ASSERT_EQUAL(nx_call_async(self, ref, world_do(self, hold, 0), 1000, 1), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, NULL), 0);
    helper->kept = p->kept;                                                                 /* any server of the worker may answer */
    CU_ASSERT_EQUAL(nx_call(self, other, world_do(self, release, 77), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_stat("callsPending"), 0);
    CU_ASSERT_EQUAL(nx_reply(self, p->kept, (nx_value){ 0 }), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_reply_error(self, p->kept, 5, 0, "x"), NX_EINVAL);
}
UNIT(call, a_deferred_reply_may_come_from_another_server) { world_run(deferred); }

static void
c5_noserver(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL), stale = ref, never = ref;
    nx_value v;
    char text[NX_REF_TEXT_MAX];
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "n"), 1000, &v), NX_ENOSERVER);
    CU_ASSERT_EQUAL(nx_ref_text(ref, text, sizeof text), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, text));
    stale.generation++;
    never.serial = 4711;
    CU_ASSERT_EQUAL(nx_call(self, stale, nx_make(self, "n"), 1000, &v), NX_ENOSERVER);      /* C9 */
    CU_ASSERT_EQUAL(nx_call(self, never, nx_make(self, "n"), 1000, &v), NX_ENOSERVER);
    stale = ref;
    stale.incarnation++;
    CU_ASSERT_EQUAL(nx_call(self, stale, nx_make(self, "n"), 1000, &v), NX_ENOSERVER);
    uint64_t dropped = world_stat("castsDropped");
    CU_ASSERT_EQUAL(nx_cast(self, ref, nx_make(self, "n")), 0);
    CU_ASSERT_EQUAL(nx_cast(self, stale, nx_make(self, "n")), 0);
    CU_ASSERT_EQUAL(world_stat("castsDropped"), dropped + 2);
    CU_ASSERT_EQUAL(nx_cast(self, (nx_ref){ 0 }, nx_make(self, "n")), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_cast(self, ref, (nx_value){ 0 }), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), NX_ENOSERVER);
}
UNIT(call, C5_C6_a_server_that_is_not_there) { world_run(c5_noserver); }

static void
c4_node(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    nx_value v;
    ref.node = 1;                                     /* beta, which is down */
    ref.incarnation = 77;
    uint64_t began = world_ms(), dropped = world_stat("castsDropped");
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "n"), 1000, &v), NX_ENODE);
    CU_ASSERT(world_ms() - began < 50);
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "beta@127.0.0.1:4370"));
    CU_ASSERT_EQUAL(nx_cast(self, ref, nx_make(self, "n")), 0);
    CU_ASSERT_EQUAL(world_stat("castsDropped"), dropped + 1);
    CU_ASSERT_EQUAL(nx_call_async(self, ref, nx_make(self, "n"), 1000, 3), NX_ENODE);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), NX_ENODE);
}
UNIT(call, C4_C6_a_node_that_is_not_connected) { world_run(c4_node); }

static int
fail_own(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)arg, (void)reply;
    p->number = 9;
    return nx_fail(self, 42, "no such account: %d", 7);
}

static int
fail_code(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)reply;
    return (int)(int64_t)arg;
}

static int
fail_nested(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    nx_ref nobody = nx_self_ref(self);
    nobody.serial = 999;
    return nx_call(self, nobody, nx_make(self, "n"), 100, NULL);
}

static int
two_values(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)arg;
    (void)nx_pack(reply, "i", 1);
    return nx_pack(reply, "i", 2);
}

static void
c8_errors(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    nx_value v;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, fail_own, 0), 1000, &v), NX_EAPP);
    CU_ASSERT_EQUAL(nx_error(self)->app_code, 42);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->text, "no such account: 7");
    CU_ASSERT_EQUAL(p->number, 9);                    /* the state is what the handler left */
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, fail_code, (uint64_t)(int64_t)NX_EFULL), 1000, &v), NX_EFULL);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->text, nx_strerror(NX_EFULL));
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, fail_code, (uint64_t)(int64_t)-1234), 1000, &v), NX_EAPP);
    CU_ASSERT_EQUAL(nx_error(self)->app_code, -1234);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, fail_nested, 0), 1000, &v), NX_ENOSERVER);
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, ".999"));                           /* what failed there is what is told here */
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, two_values, 0), 1000, &v), NX_EBADMSG);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, &v), 0);               /* and it goes on */
    CU_ASSERT_EQUAL(world_int(v), 9);
    CU_ASSERT_EQUAL(world_stat("handlerErrors"), 4);
    uint64_t errors = world_stat("handlerErrors");
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, fail_code, (uint64_t)(int64_t)-3)), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_stat("handlerErrors"), errors + 1);
    CU_ASSERT_EQUAL(world_stat("callsInitiated"), world_stat("callsResolved") + world_stat("callsRejected") + world_stat("callsTimedOut"));   /* C13 */
}
UNIT(call, C8_a_failed_handler_answers_with_its_error) { world_run(c8_errors); }

static void
c10_bodies(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    nx_value v;
    static const struct { const char *bytes; size_t len; } bodies[] = {
        { "\xc0", 1 }, { "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9 }, { "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9 }, { "\xca\x7f\xc0\x00\x01", 5 },
        { "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", 9 }, { "\xc4\x03\x00\xff\x01", 5 }, { "\x82\x01\x92\xc2\xc3\xa1x\x80", 8 }, { "\xd6\xff\x00\x00\x00\x01", 6 },
        { "\xc7\x00\x05", 3 }, { "\xd9\x01z", 3 },
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        nx_value in = { .packed = bodies[i].bytes, .packed_len = bodies[i].len };
        CU_ASSERT_EQUAL(nx_call(self, ref, in, 1000, &v), 0);
        /* The puppet sends back what it decoded, packed as it came. */
        CU_ASSERT(v.packed_len == in.packed_len && memcmp(v.packed, in.packed, in.packed_len) == 0);
        CU_ASSERT_PTR_NOT_NULL(v.object);
    }
    static const char bad[] = "\x81\x01";
    CU_ASSERT_EQUAL(nx_call(self, ref, (nx_value){ .packed = bad, .packed_len = 2 }, 1000, &v), NX_EBADMSG);
    CU_ASSERT_EQUAL(nx_call(self, ref, (nx_value){ .packed = bad, .packed_len = 0 }, 1000, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_call(self, ref, (nx_value){ .packed = "\xc1", .packed_len = 1 }, 1000, &v), NX_EBADMSG);
    /* Only decoded, not packed: packed on the way. */
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "[iis]", 1, 2, "x"), 1000, &v), 0);
    nx_value object = { .object = v.object };
    CU_ASSERT_EQUAL(nx_call(self, ref, object, 1000, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 3);
    /* The largest body, and one byte more. */
    size_t max = 1u << 20;
    uint8_t *big = malloc(max + 1);
    memset(big, 'x', max + 1);
    big[0] = 0xc6;
    big[1] = 0, big[2] = 0x0f, big[3] = 0xff, big[4] = 0xfb;                                /* bin 32 of 1 MiB - 5 */
    CU_ASSERT_EQUAL(nx_call(self, ref, (nx_value){ .packed = big, .packed_len = max }, 1000, &v), 0);
    CU_ASSERT(v.packed_len == max && memcmp(v.packed, big, max) == 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, (nx_value){ .packed = big, .packed_len = max + 1 }, 1000, &v), NX_ETOOBIG);
    CU_ASSERT_EQUAL(nx_cast(self, ref, (nx_value){ .packed = big, .packed_len = max + 1 }), NX_ETOOBIG);
    free(big);
}
UNIT(call, C10_bodies_pass_unchanged_or_are_refused) { world_run(c10_bodies); }

static int
too_big(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    static char bytes[(1u << 20) + 1];
    (void)self, (void)p, (void)arg;
    (void)nx_pack(reply, "y", bytes, sizeof bytes);   /* fails, and is not looked at */
    return 0;
}

static void
big_reply(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    nx_value v;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, too_big, 0), 1000, &v), NX_ETOOBIG);
}
UNIT(call, a_reply_that_is_too_big_is_an_error_and_not_nil) { world_run(big_reply); }

static int
block(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self;
    p->number++;
    for (uint64_t until = world_ms() + arg; world_ms() < until; )
        ;
    return reply != NULL ? nx_pack(reply, "n") : 0;
}

static void
expired(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, block, 60)), 0);
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(nx_call_async(self, ref, world_do(self, block, 0), 20, 0), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, NULL), 0);
    CU_ASSERT_EQUAL(p->number, 1);                    /* none of the ten was run */
    CU_ASSERT_EQUAL(world_stat("expired"), 10);
}
UNIT(call, row20_work_that_expired_in_the_queue_is_not_run) { world_run(expired); }

static int
collect(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    struct { nx_ref ref; int64_t timeout; world_fn *fn; } *q = (void *)(uintptr_t)arg;
    (void)p, (void)reply;
    CU_ASSERT_EQUAL(nx_call_async(self, q->ref, world_do(self, q->fn, 40), q->timeout, 1234), 0);
    return 0;
}

static void
async(nx_self *self)
{
    struct puppet *p, *t;
    nx_ref ref = world_puppet(self, &p), target = world_puppet(self, &t);
    struct { nx_ref ref; int64_t timeout; world_fn *fn; } q = { target, 1000, append };
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, collect, (uint64_t)(uintptr_t)&q), 1000, NULL), 0);
    world_pause(self, 1);
    CU_ASSERT_EQUAL(p->info_count, 1);
    CU_ASSERT(p->infos[0].kind == NX_INFO_REPLY && p->infos[0].tag == 1234 && p->infos[0].status == 0 && p->infos[0].value == 40);
    q.fn = fail_own;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, collect, (uint64_t)(uintptr_t)&q), 1000, NULL), 0);
    world_pause(self, 1);
    CU_ASSERT(p->infos[1].kind == NX_INFO_REPLY && p->infos[1].status == NX_EAPP && p->infos[1].error == NX_EAPP);
    CU_ASSERT_STRING_EQUAL(p->infos[1].text, "no such account: 7");
    q.fn = hold;
    q.timeout = 20;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, collect, (uint64_t)(uintptr_t)&q), 1000, NULL), 0);
    world_pause(self, 40);
    CU_ASSERT(p->infos[2].kind == NX_INFO_REPLY && p->infos[2].status == NX_ETIMEDOUT);
    q.timeout = 60000;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, collect, (uint64_t)(uintptr_t)&q), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);                                /* C12: nothing pending is left of it */
    CU_ASSERT_EQUAL(world_stat("callsPending"), 0);
    CU_ASSERT_EQUAL(world_stat("callsInitiated"), world_stat("callsResolved") + world_stat("callsRejected") + world_stat("callsTimedOut"));
}
UNIT(call, an_async_call_reports_once_to_handle_info) { world_run(async); }

static void
bounds(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = { 0 };
    nx_start_options o = { .args = nx_make(self, "{s:u}", "mine", (uint64_t)(uintptr_t)&p) };
    static char large[4096];
    CU_ASSERT_EQUAL(nx_start(self, "small", &o, &ref), 0);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, append, 1)), 0);
    uint64_t began = world_ms(), dropped = world_stat("castsDropped");
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 5000, NULL), NX_EMAILBOX);
    CU_ASSERT(world_ms() - began <= 20);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, append, 1)), 0);
    CU_ASSERT_EQUAL(world_stat("castsDropped"), dropped + 1);
    CU_ASSERT_EQUAL(world_stat("mailboxFull"), 2);
    world_pause(self, 1);
    CU_ASSERT_EQUAL(p->number, 1111);                 /* what was taken is delivered */
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "y", large, sizeof large), 1000, NULL), NX_EMAILBOX);      /* bytes */
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, NULL), 0);
}
UNIT(call, row18_a_full_mailbox_refuses_calls_and_drops_casts) { world_run(bounds); }

static void
flood(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    for (int i = 0; i < 1000000; i++)
        (void)nx_cast(self, ref, (nx_value){ .packed = "\xc0", .packed_len = 1 });
    CU_ASSERT_EQUAL(world_stat("castsDropped"), 990000);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, NULL), NX_EMAILBOX);
    world_pause(self, 30);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, get, 0), 1000, NULL), 0);
}
UNIT(call, torture_123_a_million_casts_to_a_sleeping_server) { world_run(flood); }

static void
ask_many(nx_self *self)
{
    nx_value v;
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    nx_value kept[20];
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "[is]", i, "text"), 1000, &v), 0);
        kept[i] = v;
    }
    for (int i = 0; i < 20; i++) {                    /* replies live until the callback returns */
        int n = -1;
        const char *text = "";
        CU_ASSERT_EQUAL(nx_unpack(kept[i], "[is]", &n, &text), 0);
        CU_ASSERT(n == i && strcmp(text, "text") == 0);
    }
}
UNIT(call, replies_live_until_the_callback_returns) { world_run(ask_many); }

static nx_self *leaked;
static int
leak(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    leaked = self;
    return 0;
}

static void
outside(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, leak, 0), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_cast(leaked, ref, nx_make(self, "n")), NX_EINVAL);                   /* its callback is over: this is the driver's */
    CU_ASSERT_EQUAL(nx_call(leaked, ref, nx_make(self, "n"), 10, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_self_ref(leaked).serial, 0);
    CU_ASSERT_EQUAL(nx_cast(NULL, ref, nx_make(self, "n")), NX_EINVAL);
    CU_ASSERT_STRING_EQUAL(nx_error(NULL)->text, "");
}
UNIT(call, functions_refuse_the_self_of_a_callback_that_is_over) { world_run(outside); }

static int
unpack_wrongly(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    int64_t i;
    (void)p, (void)arg;
    CU_ASSERT_EQUAL(nx_error(self)->code, 0);         /* none yet, in this callback */
    CU_ASSERT_EQUAL(nx_unpack(nx_make(self, "{s:s}", "theirs", "x"), "{s:I}", "theirs", &i), NX_EINVAL);
    return nx_pack(reply, "n");
}

static void
last_failure(nx_self *self)
{
    int64_t i;
    nx_ref ref = world_puppet(self, NULL);
    nx_value v;
    CU_ASSERT_EQUAL(nx_error(self)->code, 0);
    CU_ASSERT_EQUAL(nx_unpack(nx_make(self, "{s:s}", "mine", "x"), "{s:I}", "mine", &i), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, unpack_wrongly, 0), 1000, &v), 0);
    CU_ASSERT_EQUAL(nx_error(self)->code, NX_EINVAL); /* ours, not that of the handler that ran while we waited */
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "mine"));
    CU_ASSERT_EQUAL(nx_fail(self, 3, "because: %s", nx_error(self)->text), NX_EAPP);
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "because: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "mine"));
}
UNIT(call, the_last_failure_is_the_callbacks_own) { world_run(last_failure); }
