/*
 * test_monitor.c - monitors inside one worker.
 */
#include "world.h"

#include <string.h>

struct ask { nx_ref target; uint64_t id; int result; bool removed; uint64_t many; };

static int
watch(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    struct ask *a = (struct ask *)(uintptr_t)arg;
    (void)p, (void)reply;
    for (uint64_t i = 0; i <= a->many && a->result == 0; i++)
        a->result = nx_monitor(self, a->target, &a->id);
    return 0;
}

static int
unwatch(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    struct ask *a = (struct ask *)(uintptr_t)arg;
    (void)p, (void)reply;
    a->removed = nx_demonitor(self, a->id);
    return 0;
}

static int
leave(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    nx_exit(self, (nx_reason)arg);
    return 0;
}

static void
monitors(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p), a = world_puppet(self, NULL), b = world_puppet(self, NULL), c = world_puppet(self, NULL);
    struct ask asks[] = { { .target = a }, { .target = b }, { .target = c }, { .target = a } };
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch, (uint64_t)(uintptr_t)&asks[i]), 1000, NULL), 0);
    CU_ASSERT_EQUAL(world_stat("monitors"), 4);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, unwatch, (uint64_t)(uintptr_t)&asks[2]), 1000, NULL), 0);
    CU_ASSERT_TRUE(asks[2].removed);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, unwatch, (uint64_t)(uintptr_t)&asks[2]), 1000, NULL), 0);
    CU_ASSERT_FALSE(asks[2].removed);
    CU_ASSERT_EQUAL(nx_stop(self, a, NX_SHUTDOWN, 1000), 0);
    CU_ASSERT_EQUAL(nx_cast(self, b, world_do(self, leave, NX_ERROR)), 0);
    CU_ASSERT_EQUAL(nx_stop(self, c, NX_NORMAL, 1000), 0);
    world_pause(self, 1);
    CU_ASSERT_EQUAL(p->info_count, 3);
    for (size_t i = 0; i < 3 && i < p->info_count; i++)
        CU_ASSERT_EQUAL(p->infos[i].kind, NX_INFO_DOWN);
    CU_ASSERT(p->infos[0].tag == asks[0].id && p->infos[1].tag == asks[3].id && p->infos[0].reason == NX_SHUTDOWN && nx_ref_equal(p->infos[0].ref, a));
    CU_ASSERT(p->infos[2].tag == asks[1].id && p->infos[2].reason == NX_ERROR && nx_ref_equal(p->infos[2].ref, b));
    CU_ASSERT_STRING_EQUAL(p->infos[2].text, "error");
    /* Gone already; a node that is not connected; nothing at all. */
    asks[0] = (struct ask){ .target = a };
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch, (uint64_t)(uintptr_t)&asks[0]), 1000, NULL), 0);
    asks[1] = (struct ask){ .target = { .incarnation = 77, .serial = 1, .node = 1, .generation = 1 } };
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch, (uint64_t)(uintptr_t)&asks[1]), 1000, NULL), 0);
    asks[2] = (struct ask){ .target = { 0 } };
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch, (uint64_t)(uintptr_t)&asks[2]), 1000, NULL), 0);
    world_pause(self, 1);
    CU_ASSERT_EQUAL(asks[2].result, NX_EINVAL);
    CU_ASSERT_EQUAL(p->info_count, 5);
    CU_ASSERT_EQUAL(p->infos[3].reason, NX_NOSERVER);
    CU_ASSERT_EQUAL(p->infos[4].reason, NX_NOCONNECTION);
    CU_ASSERT_EQUAL(world_stat("monitors"), 0);
}
UNIT(monitor, fires_once_with_the_reason) { world_run(monitors); }

static void
bound(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL), target = world_puppet(self, NULL);
    struct ask a = { .target = target, .many = 65535 };
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch, (uint64_t)(uintptr_t)&a), 5000, NULL), 0);
    CU_ASSERT_EQUAL(a.result, 0);
    CU_ASSERT_EQUAL(world_stat("monitors"), 65536);
    a.many = 0;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch, (uint64_t)(uintptr_t)&a), 5000, NULL), 0);
    CU_ASSERT_EQUAL(a.result, NX_EBUSY);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 5000), 0);                                /* the watcher's end removes them at the target, quickly */
    CU_ASSERT_EQUAL(world_stat("monitors"), 0);
    nx_ref next = world_puppet(self, NULL);
    a = (struct ask){ .target = target };
    CU_ASSERT_EQUAL(nx_call(self, next, world_do(self, watch, (uint64_t)(uintptr_t)&a), 5000, NULL), 0);
    CU_ASSERT_EQUAL(a.result, 0);                     /* the target has room again */
    CU_ASSERT(world_ms() - began < 2000);
    CU_ASSERT_EQUAL(nx_stop(self, target, NX_NORMAL, 5000), 0);
}
UNIT(monitor, torture_127_many_monitors_are_bounded_and_removed_quickly) { world_run(bound); }
