/*
 * test_self.c - what a module may get wrong: a self that is not running, NULL where a thing should be, refs and callers that are made up. Typed errors.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

static nx_self *other_self;

static int
remember_self(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    other_self = self;
    return 0;
}

/* Each function that takes a self, with one whose callback is not running. */
static void
all_refuse(nx_self *wrong, nx_ref ref)
{
    static const uint8_t one[] = { 0x01 };
    nx_value v = { .packed = one, .packed_len = 1 };
    nx_ref out = { 0 };
    uint64_t id = 0;
    CU_ASSERT_EQUAL(nx_start(wrong, "puppet", NULL, &out), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_call(wrong, ref, v, 1000, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_call_async(wrong, ref, v, 1000, 1), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_cast(wrong, ref, v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_stop(wrong, ref, NX_NORMAL, 1000), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_register(wrong, NX_LOCAL, "name", ref, 0), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unregister(wrong, NX_LOCAL, "name"), NX_EINVAL);
    CU_ASSERT_FALSE(nx_whereis(wrong, 0, "name", &out));
    CU_ASSERT_EQUAL(nx_lookup(wrong, 0, "name", &out), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_names(wrong, 0, NULL, NULL, 0, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_nodes(wrong, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_behaviors(wrong, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_stats(wrong, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_send_after(wrong, 1, v, &id), NX_EINVAL);
    CU_ASSERT_FALSE(nx_cancel_timer(wrong, 1));
    CU_ASSERT_EQUAL(nx_subscribe(wrong, 3), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_monitor(wrong, ref, &id), NX_EINVAL);
    CU_ASSERT_FALSE(nx_demonitor(wrong, 1));
    CU_ASSERT_EQUAL(nx_reply(wrong, (nx_from){ .call_id = 1 }, v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_reply_error(wrong, (nx_from){ .call_id = 1 }, NX_EAPP, 1, "x"), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_fail(wrong, 1, "x"), NX_EAPP);
    CU_ASSERT_EQUAL(nx_error(wrong)->code, 0);
    CU_ASSERT_EQUAL(nx_self_ref(wrong).serial, 0);
    CU_ASSERT_EQUAL(nx_caller(wrong).call_id, 0);
    CU_ASSERT_FALSE(nx_is_value(nx_make(wrong, "n")));
    CU_ASSERT_FALSE(nx_is_value(nx_make_array(wrong, NULL, 0)));
    nx_exit(wrong, NX_ERROR);
    nx_log(wrong, NX_LOG_ERROR, "never");
    CU_ASSERT(id == 0 && out.serial == 0);
}

static void
wrong_self(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, remember_self, 0), 1000, NULL), 0);
    all_refuse(other_self, ref);
    all_refuse(NULL, ref);
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "n"), 1000, NULL), 0);       /* nx_exit did not reach it */
}

UNIT(self, a_self_whose_callback_is_not_running_is_refused)
{
    world_run(wrong_self);
    all_refuse(other_self, (nx_ref){ .serial = 1 });  /* there is no runtime at all any more */
    CU_ASSERT_PTR_NULL(nx_node());
}

static void
nothings(nx_self *self)
{
    static const char *const no_text;
    int (*fail)(nx_self *, int64_t, const char *, ...) = nx_fail;                           /* so that the compiler does not see it */
    void (*say)(nx_self *, enum nx_log_level, const char *, ...) = nx_log;
    static uint8_t one[] = { 0x01 };
    char text[NX_REF_TEXT_MAX];
    nx_ref me = nx_self_ref(self), out = { .serial = 4711 };
    nx_value none = { 0 }, v = { 0 };
    int number = 0;
    /* NULL */
    CU_ASSERT_EQUAL(nx_ref_text(me, NULL, sizeof text), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_ref_text(me, text, 0), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_ref_parse(NULL, &out), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_ref_text(me, text, sizeof text), 0);
    CU_ASSERT_EQUAL(nx_ref_parse(text, NULL), NX_EINVAL);
    CU_ASSERT_FALSE(nx_is_value(nx_make(self, no_text)));
    CU_ASSERT_EQUAL(nx_error(self)->code, NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(nx_make(self, "i", 1), no_text, &number), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(none, "i", &number), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_pack(NULL, "i", 1), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_pack_array(NULL, &none, 1), NX_EINVAL);
    CU_ASSERT_EQUAL(fail(self, 5, no_text), NX_EAPP);
    CU_ASSERT(nx_error(self)->app_code == 5 && nx_error(self)->text != NULL);
    say(self, NX_LOG_ERROR, no_text);
    CU_ASSERT_EQUAL(nx_register(self, NX_LOCAL, NULL, me, 0), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unregister(self, NX_LOCAL, NULL), NX_EINVAL);
    CU_ASSERT_FALSE(nx_whereis(self, 0, NULL, &out));
    CU_ASSERT_EQUAL(nx_lookup(self, 0, NULL, &out), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_names(self, 0, NULL, NULL, 0, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_nodes(self, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_behaviors(self, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_stats(self, NULL), NX_EINVAL);
    CU_ASSERT(nx_count(none) == 0 && !nx_is_value(nx_at(none, 0)) && !nx_is_value(nx_key_at(none, 7)));
    /* No value, and bytes that are none. */
    CU_ASSERT_EQUAL(nx_cast(self, me, none), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_cast(self, me, (nx_value){ .packed_len = 5 }), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_cast(self, me, (nx_value){ .packed = one }), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_cast(self, me, (nx_value){ .packed = one, .packed_len = SIZE_MAX }), NX_ETOOBIG);
    CU_ASSERT_EQUAL(nx_reply(self, (nx_from){ 0 }, none), NX_EINVAL);
    nx_ref puppet = world_puppet(self, NULL);
    static uint8_t broken[] = { 0x93, 0x01 };
    CU_ASSERT_EQUAL(nx_call(self, puppet, (nx_value){ .packed = broken, .packed_len = sizeof broken }, 1000, &v), NX_EBADMSG);
    /* Numbers at their ends. */
    CU_ASSERT_EQUAL(nx_call(self, puppet, nx_make(self, "i", 3), INT64_MAX, &v), 0);
    CU_ASSERT_EQUAL(nx_call(self, puppet, nx_make(self, "i", 3), INT64_MIN, &v), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_send_after(self, INT64_MAX, none, NULL), 0);
    CU_ASSERT_EQUAL(nx_send_after(self, INT64_MIN, none, NULL), NX_EINVAL);
    CU_ASSERT_STRING_EQUAL(nx_reason_name((nx_reason)99), "unknown");
    CU_ASSERT_STRING_EQUAL(nx_reason_name((nx_reason)-1), "unknown");
}
UNIT(self, nothing_is_an_error_where_something_is_needed) { world_run(nothings); }

/* Refs and callers whose bytes nobody gave out. */
static void
made_up(nx_self *self)
{
    nx_ref me = nx_self_ref(self);
    nx_ref refs[] = { me, me, me, me, me, me, me };
    nx_value v = nx_make(self, "i", 1);
    struct puppet *p;
    nx_ref watcher = world_puppet(self, &p);
    char text[NX_REF_TEXT_MAX];
    refs[0].slot = 0xffff;
    refs[1].slot = SLOT_LINK;
    refs[2].slot = 63;
    refs[3].node = 0x7fffffff;
    refs[4].node = UINT32_MAX;
    refs[5].generation = 77;
    refs[6].serial = UINT64_MAX;
    (void)watcher;
    for (size_t i = 0; i < sizeof refs / sizeof refs[0]; i++) {
        int err = nx_call(self, refs[i], v, 1000, NULL);
        CU_ASSERT(err == NX_ENOSERVER || err == NX_ENODE);
        CU_ASSERT_EQUAL(nx_cast(self, refs[i], v), 0);
        err = nx_stop(self, refs[i], NX_NORMAL, 1000);
        CU_ASSERT(err == NX_ENOSERVER || err == NX_ENODE);
        CU_ASSERT_EQUAL(nx_monitor(self, refs[i], NULL), 0);
        CU_ASSERT_NOT_EQUAL(nx_register(self, NX_LOCAL, "made-up", refs[i], 0), 0);
        (void)nx_ref_text(refs[i], text, sizeof text);
        (void)nx_ref_node(refs[i]);
        (void)nx_make(self, "r", refs[i]);
        CU_ASSERT_FALSE(nx_ref_equal(refs[i], me));
    }
    nx_from from[] = { { .call_id = 1 }, { .call_id = UINT64_MAX }, { .call_id = (uint64_t)63 << 48 | 1 }, { .call_id = 1, .node = 1, .session = 9 },
                       { .call_id = 1, .node = UINT32_MAX } };
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        CU_ASSERT_EQUAL(nx_reply(self, from[i], v), 0);
        CU_ASSERT_EQUAL(nx_reply_error(self, from[i], NX_EAPP, 1, NULL), 0);
        CU_ASSERT_EQUAL(nx_reply_error(self, from[i], 0, 1, NULL), NX_EINVAL);
        CU_ASSERT_EQUAL(nx_reply_error(self, from[i], 7, 1, NULL), NX_EINVAL);
    }
    CU_ASSERT_EQUAL(world_stat("callsPending"), 0);
}
UNIT(self, refs_and_callers_that_are_made_up_reach_nobody) { world_run(made_up); }

static nx_from kept;

static int
keep_and_reply(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p;
    kept = nx_caller(self);
    CU_ASSERT_EQUAL(nx_reply(self, kept, nx_make(self, "i", 1)), 0);
    CU_ASSERT_EQUAL(nx_reply(self, kept, nx_make(self, "i", 2)), 0);
    return arg != 0 ? nx_pack(reply, "i", 3) : NX_NOREPLY;
}

static int
reply_again(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    CU_ASSERT_EQUAL(nx_reply(self, kept, nx_make(self, "i", 4)), 0);
    return 0;
}

static void
twice(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    nx_value v = { 0 };
    uint64_t late = world_stat("lateReplies");
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, keep_and_reply, 0), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_int(v), 1);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, keep_and_reply, 1), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_int(v), 1);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, reply_again, 0), 1000, &v), 0);       /* the answer of an earlier call is not the answer of this one */
    CU_ASSERT_PTR_NOT_NULL(v.packed);
    CU_ASSERT_EQUAL(world_stat("lateReplies"), late + 4);
}
UNIT(self, C3_a_second_reply_reaches_no_other_call) { world_run(twice); }

static void
lists(nx_self *self)
{
    nx_value items[3] = { nx_make(self, "i", 1), nx_make(self, "{s:s}", "k", "v"), nx_make(self, "n") }, back = { 0 };
    nx_value list = nx_make_array(self, items, 3), in_a_map = nx_make(self, "{s:v}", "list", list);
    const char *text = NULL;
    CU_ASSERT_EQUAL(nx_count(list), 3);
    CU_ASSERT_EQUAL(nx_unpack(in_a_map, "{s:v}", "list", &back), 0);
    CU_ASSERT_EQUAL(nx_count(back), 3);
    CU_ASSERT_EQUAL(nx_unpack(nx_at(back, 1), "{s:s}", "k", &text), 0);
    CU_ASSERT_STRING_EQUAL(text, "v");
    CU_ASSERT_EQUAL(nx_count(nx_make_array(self, NULL, 0)), 0);
    CU_ASSERT_TRUE(nx_is_value(nx_make_array(self, NULL, 0)));
    items[1] = (nx_value){ 0 };
    CU_ASSERT_FALSE(nx_is_value(nx_make_array(self, items, 3)));
    CU_ASSERT_EQUAL(nx_error(self)->code, NX_EINVAL);
}

UNIT(self, a_list_of_unknown_length_is_a_value)
{
    world_run(lists);
}
