/*
 * test_timers.c - nx_send_after.
 */
#include "world.h"

struct set { int64_t delay; int64_t value; uint64_t id; int result; bool canceled; };

static int
set_timer(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    struct set *s = (struct set *)(uintptr_t)arg;
    (void)p, (void)reply;
    s->result = nx_send_after(self, s->delay, nx_make(self, "I", s->value), &s->id);
    return 0;
}

static int
cancel_timer(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    struct set *s = (struct set *)(uintptr_t)arg;
    (void)p, (void)reply;
    s->canceled = nx_cancel_timer(self, s->id);
    return 0;
}

static int
set_many(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    int err = 0;
    for (uint64_t i = 0; i < arg && err == 0; i++)
        err = nx_send_after(self, 60000, (nx_value){ 0 }, NULL);
    return err;
}

static void
timers(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p), other = world_puppet(self, NULL);
    struct set late = { .delay = 40, .value = 3 }, soon = { .delay = 10, .value = 2 }, now = { .delay = 0, .value = 1 }, gone = { .delay = 20, .value = 4 },
               wrong = { .delay = -1 }, never = { .delay = INT64_MAX };
    struct set *all[] = { &late, &soon, &now, &gone, &wrong, &never };
    for (size_t i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, set_timer, (uint64_t)(uintptr_t)all[i]), 1000, NULL), 0);
    CU_ASSERT_EQUAL(wrong.result, NX_EINVAL);
    CU_ASSERT_EQUAL(never.result, 0);
    CU_ASSERT(late.id != 0 && late.id != soon.id);
    CU_ASSERT_EQUAL(nx_call(self, other, world_do(self, cancel_timer, (uint64_t)(uintptr_t)&gone), 1000, NULL), 0);
    CU_ASSERT_FALSE(gone.canceled);                   /* not its timer */
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, cancel_timer, (uint64_t)(uintptr_t)&gone), 1000, NULL), 0);
    CU_ASSERT_TRUE(gone.canceled);
    world_pause(self, 60);
    CU_ASSERT_EQUAL(p->info_count, 3);
    for (int i = 0; i < 3; i++)
        CU_ASSERT(p->infos[i].kind == NX_INFO_TIMER && p->infos[i].value == i + 1);
    CU_ASSERT_EQUAL(p->infos[2].timer, late.id);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, cancel_timer, (uint64_t)(uintptr_t)&late), 1000, NULL), 0);
    CU_ASSERT_FALSE(late.canceled);                   /* it has fired */
    CU_ASSERT_EQUAL(world_stat("timers"), 1);
    CU_ASSERT_EQUAL(nx_call(self, other, world_do(self, set_many, 65536), 5000, NULL), 0);
    CU_ASSERT_EQUAL(nx_call(self, other, world_do(self, set_many, 1), 5000, NULL), NX_EBUSY);
    CU_ASSERT_EQUAL(nx_stop(self, other, NX_NORMAL, 5000), 0);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    CU_ASSERT_EQUAL(world_stat("timers"), 0);         /* they end with their server */
}
UNIT(timers, fire_once_in_order_and_end_with_their_server) { world_run(timers); }
