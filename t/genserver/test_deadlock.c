/*
 * test_deadlock.c - servers that call each other in a circle.
 */
#include "world.h"

#include <string.h>

enum { RING = 5 };
static nx_ref ring[RING];
static int results[RING];
static char texts[RING][480];

/* arg: which of the ring this is, and how many are in it. */
static int
call_next(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    uint64_t me = arg & 0xff, size = arg >> 8;
    (void)p;
    results[me] = nx_call(self, ring[(me + 1) % size], world_do(self, call_next, size << 8 | (me + 1) % size), 3000, NULL);
    strcpy(texts[me], nx_error(self)->text);
    return reply != NULL ? nx_pack(reply, "n") : 0;
}

static int
call_self(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg;
    results[0] = nx_call(self, nx_self_ref(self), nx_make(self, "n"), 3000, NULL);
    return nx_pack(reply, "n");
}

static void
circle(nx_self *self, uint64_t size)
{
    char text[NX_REF_TEXT_MAX];
    for (uint64_t i = 0; i < size; i++) {
        ring[i] = world_puppet(self, NULL);
        results[i] = 1;
    }
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, ring[0], world_do(self, call_next, size << 8), 5000, NULL), 0);
    CU_ASSERT(world_ms() - began < 100);
    for (uint64_t i = 0; i + 1 < size; i++)
        CU_ASSERT_EQUAL(results[i], 0);
    CU_ASSERT_EQUAL(results[size - 1], NX_EDEADLOCK); /* the call that closed the circle */
    for (uint64_t i = 0; i < size; i++) {
        CU_ASSERT_EQUAL(nx_ref_text(ring[i], text, sizeof text), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(texts[size - 1], text));
    }
}

static void
c11(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, call_self, 0), 1000, NULL), 0);
    CU_ASSERT_EQUAL(results[0], NX_EDEADLOCK);
    CU_ASSERT(world_ms() - began < 50);
    circle(self, 2);
    circle(self, 3);
    circle(self, 5);
}
UNIT(deadlock, C11_a_call_cycle_ends_at_once) { world_run(c11); }

/* Two servers that each call the other from a message of their own, so that both requests are queued. */
static void
crossed(nx_self *self)
{
    ring[0] = world_puppet(self, NULL);
    ring[1] = world_puppet(self, NULL);
    uint64_t began = world_ms();
    results[0] = results[1] = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ring[0], world_do(self, call_next, 2 << 8 | 0)), 0);
    CU_ASSERT_EQUAL(nx_cast(self, ring[1], world_do(self, call_next, 2 << 8 | 1)), 0);
    while ((results[0] == 1 || results[1] == 1) && world_ms() - began < 1000)
        world_pause(self, 1);
    CU_ASSERT(world_ms() - began < 200);
    CU_ASSERT(results[0] == NX_EDEADLOCK || results[1] == NX_EDEADLOCK);
}
UNIT(deadlock, C11_crossed_calls_end_too) { world_run(crossed); }

static int
init_calls_starter(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    results[1] = nx_call(self, *(nx_ref *)(uintptr_t)arg, nx_make(self, "n"), 3000, NULL);
    return 0;
}

static int
start_one(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    nx_ref me = nx_self_ref(self), ref;
    nx_start_options o = { .args = nx_make(self, "{s:u,s:u}", "fn", (uint64_t)(uintptr_t)init_calls_starter, "arg", (uint64_t)(uintptr_t)&me) };
    (void)p, (void)arg;
    results[0] = nx_start(self, "puppet", &o, &ref);
    return nx_pack(reply, "n");
}

static void
from_init(nx_self *self)
{
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, world_puppet(self, NULL), world_do(self, start_one, 0), 5000, NULL), 0);
    CU_ASSERT_EQUAL(results[0], 0);
    CU_ASSERT_EQUAL(results[1], NX_EDEADLOCK);
    CU_ASSERT(world_ms() - began < 100);
}
UNIT(deadlock, an_init_that_calls_its_starter_is_a_cycle) { world_run(from_init); }

static int
defer(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)arg, (void)reply;
    p->kept = nx_caller(self);
    return NX_NOREPLY;
}

static int
answer_soon(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)reply, (void)arg;
    return nx_reply(self, p->kept, nx_make(self, "i", 1));
}

static int
call_deferring(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg;
    results[0] = nx_call(self, ring[1], world_do(self, defer, 0), 3000, NULL);
    return reply != NULL ? nx_pack(reply, "n") : 0;
}

/* A waits for B, who has deferred its reply and is idle: a third one's call to A is queued, and is no cycle. */
static void
no_cycle(nx_self *self)
{
    ring[0] = world_puppet(self, NULL);
    ring[1] = world_puppet(self, NULL);
    results[0] = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ring[0], world_do(self, call_deferring, 0)), 0);
    world_pause(self, 2);
    CU_ASSERT_EQUAL(nx_call(self, ring[0], nx_make(self, "n"), 20, NULL), NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(nx_cast(self, ring[1], world_do(self, answer_soon, 0)), 0);
    CU_ASSERT_EQUAL(nx_call(self, ring[0], nx_make(self, "n"), 1000, NULL), 0);
    CU_ASSERT_EQUAL(results[0], 0);
}
UNIT(deadlock, waiting_for_a_deferred_reply_is_no_cycle) { world_run(no_cycle); }
