/*
 * test_memory.c - torture 87: the n-th allocation fails, for every n, and every one from the n-th on.
 *
 * malloc, calloc and realloc of this test program pass through here. Whatever fails, a function of noex.h answers with a typed error or has done its work,
 * what has been promised arrives exactly once, and nothing is left behind.
 */
#include "world.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* clang links its sanitizers' malloc into the program itself: there is no next one; ThreadSanitizer needs its own before dlsym works. */
#ifdef __SANITIZE_THREAD__
#define NO_MALLOC_OF_OURS 1
#endif
#ifdef __clang__
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NO_MALLOC_OF_OURS 1
#endif
#endif

/* ---- malloc */

static struct { bool on, goes_on; uint64_t nth, seen; } shortage;

#ifndef NO_MALLOC_OF_OURS
static bool
refused(void)
{
    if (!shortage.on)
        return false;
    shortage.seen++;
    return shortage.goes_on ? shortage.seen >= shortage.nth : shortage.seen == shortage.nth;
}

#define NEXT(type, name) \
    static type *next; \
    if (next == NULL) \
        next = (type *)(uintptr_t)dlsym(RTLD_NEXT, name)

typedef void *malloc_fn(size_t size);
typedef void *calloc_fn(size_t count, size_t size);
typedef void *realloc_fn(void *at, size_t size);

void *
malloc(size_t size)
{
    NEXT(malloc_fn, "malloc");
    return refused() ? NULL : next(size);
}

void *
calloc(size_t count, size_t size)
{
    NEXT(calloc_fn, "calloc");
    return refused() ? NULL : next(count, size);
}

void *
realloc(void *at, size_t size)
{
    NEXT(realloc_fn, "realloc");
    return refused() ? NULL : next(at, size);
}
#endif

static void
shortage_begins(void)
{
    shortage.seen = 0;
    shortage.on = true;
}

static void
shortage_ends(void)
{
    shortage.on = false;
}

/* ---- a server that needs no more memory than the runtime does */

enum { OP_ECHO, OP_SILENCE, OP_TIMER, OP_MONITOR, OP_ASYNC, OP_LARGE };

static struct { nx_ref target; int result; unsigned infos, ends; struct world_info last; } told;
static char large[5000];

static int
frugal_init(nx_self *self, nx_value args, void **state)
{
    (void)self, (void)args;
    *state = NULL;
    return 0;
}

static int
frugal_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    int op = OP_ECHO;
    (void)state;
    if (nx_unpack(msg, "i", &op) != 0)
        return nx_pack(reply, "v", msg);
    switch (op) {
    case OP_SILENCE:
        return NX_NOREPLY;
    case OP_TIMER:
        told.result = nx_send_after(self, 0, nx_make(self, "i", 5), NULL);
        break;
    case OP_MONITOR:
        told.result = nx_monitor(self, told.target, NULL);
        break;
    case OP_ASYNC:
        told.result = nx_call_async(self, told.target, nx_make(self, "s", "to and fro"), 1000, 9);
        break;
    case OP_LARGE:
        return nx_pack(reply, "s#", large, sizeof large);
    default:
        break;
    }
    return nx_pack(reply, "n");
}

static int
frugal_cast(nx_self *self, void *state, nx_value msg)
{
    (void)self, (void)state, (void)msg;
    return 0;
}

static int
frugal_info(nx_self *self, void *state, const nx_info *info)
{
    (void)self, (void)state;
    told.infos++;
    told.last = (struct world_info){ .kind = info->kind, .status = info->status, .tag = info->tag, .ref = info->ref, .reason = info->reason };
    return 0;
}

static void
frugal_terminate(nx_self *self, void *state, nx_reason reason)
{
    (void)self, (void)state, (void)reason;
    told.ends++;
}

static const nx_behavior frugal = NX_BEHAVIOR("frugal", .version = 1, .init = frugal_init, .handle_call = frugal_call, .handle_cast = frugal_cast,
                                              .handle_info = frugal_info, .terminate = frugal_terminate);

static nx_ref
start(nx_self *self)
{
    nx_ref ref = { 0 };
    CU_ASSERT_EQUAL(nx_start(self, "frugal", NULL, &ref), 0);
    return ref;
}

static void
stop(nx_self *self, nx_ref ref)
{
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
}

/* Let others run, whatever fails. */
static void
yield(nx_self *self, nx_ref silent, int times)
{
    nx_value silence = nx_make(self, "i", (int)OP_SILENCE);
    for (int i = 0; i < times; i++)
        (void)nx_call(self, silent, silence, 1, NULL);
}

/* ---- the sweep */

static void (*scenario)(nx_self *self);

static void
sweep(nx_self *self)
{
    struct base_error why;
    CU_ASSERT_EQUAL(modules_add_builtin(world.modules, &frugal, &why), 0);
    scenario(self);                                   /* once in peace: tables and pools are there */
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        shortage.goes_on = goes_on;
        for (shortage.nth = 1; shortage.nth < 1000; shortage.nth++) {
            shortage.seen = 0;
            scenario(self);
            CU_ASSERT_FALSE(shortage.on);
            CU_ASSERT_EQUAL(world_stat("callsPending"), 0);
            CU_ASSERT_EQUAL(world_stat("serversLive"), 1);
            CU_ASSERT_EQUAL(world_stat("monitors"), 0);
            CU_ASSERT_EQUAL(world_stat("timers"), 0);
            if (shortage.seen < shortage.nth)
                break;
        }
        CU_ASSERT(shortage.nth > 1 && shortage.nth < 1000);
    }
}

static void
sweep_over(void (*fn)(nx_self *self))
{
#ifdef NO_MALLOC_OF_OURS
    (void)fn, (void)sweep;
    unit_skip("this sanitizer leaves no malloc to stand in for");
#else
    scenario = fn;
    world_run(sweep);
#endif
}

static bool
is_short(int err)
{
    return err == NX_ENOMEM;
}

static void
call_once(nx_self *self)
{
    nx_ref a = start(self);
    nx_value v = { 0 }, msgs[] = { nx_make(self, "{s:s}", "type", "get"), nx_make(self, "i", (int)OP_LARGE), nx_make(self, "s#", large, sizeof large) };
    uint64_t began = world_ms();
    for (size_t i = 0; i < 3; i++) {
        uint64_t seen = shortage.seen;
        shortage_begins();
        shortage.seen = seen;
        int err = nx_call(self, a, msgs[i], 1000, &v);
        shortage_ends();
        CU_ASSERT(err == 0 || is_short(err));
    }
    CU_ASSERT(world_ms() - began < 500);              /* an end that is lost would be a timeout */
    stop(self, a);
}
UNIT(memory, torture_87_a_call) { sweep_over(call_once); }

static void
cast_once(nx_self *self)
{
    nx_ref a = start(self);
    nx_value msg = nx_make(self, "{s:s}", "type", "get");
    shortage_begins();
    int err = nx_cast(self, a, msg);
    yield(self, a, 1);
    shortage_ends();
    CU_ASSERT(err == 0 || is_short(err));
    stop(self, a);
}
UNIT(memory, torture_87_a_cast) { sweep_over(cast_once); }

static void
start_once(nx_self *self)
{
    nx_ref ref = { 0 }, other = start(self);
    shortage_begins();
    int err = nx_start(self, "frugal", NULL, &ref);
    shortage_ends();
    CU_ASSERT(err == 0 || is_short(err));
    CU_ASSERT_EQUAL(ref.serial != 0, err == 0);
    yield(self, other, 1);                            /* one whose requester got no answer ends by itself */
    if (err == 0)
        stop(self, ref);
    stop(self, other);
}
UNIT(memory, torture_87_a_start) { sweep_over(start_once); }

static void
stop_once(nx_self *self)
{
    nx_ref a = start(self);
    uint64_t began = world_ms();
    told.ends = 0;
    shortage_begins();
    int err = nx_stop(self, a, NX_NORMAL, 1000);
    shortage_ends();
    CU_ASSERT(err == 0 || is_short(err));
    CU_ASSERT(world_ms() - began < 500);
    if (err != 0) {
        err = nx_stop(self, a, NX_NORMAL, 1000);
        CU_ASSERT(err == 0 || err == NX_ENOSERVER);
    }
    CU_ASSERT_EQUAL(told.ends, 1);
}
UNIT(memory, torture_87_a_stop) { sweep_over(stop_once); }

/* A promise made by `op` is kept exactly once, and none is kept that was not made. `target` is stopped meanwhile. */
static void
promise(nx_self *self, int op, enum nx_info_kind kind)
{
    nx_ref a = start(self), silent = start(self);
    nx_value order = nx_make(self, "i", op);
    told.target = start(self);
    told.infos = 0;
    told.result = NX_ENOMEM;                          /* not even asked */
    shortage_begins();
    (void)nx_call(self, a, order, 1000, NULL);
    yield(self, silent, 2);
    if (op == OP_MONITOR) {
        (void)nx_stop(self, told.target, NX_NORMAL, 1000);
        yield(self, silent, 2);
    }
    shortage_ends();
    (void)nx_stop(self, told.target, NX_NORMAL, 1000);
    yield(self, silent, 3);
    CU_ASSERT(told.result == 0 || is_short(told.result) || told.result == NX_EINVAL);       /* nx_make failed, and its {0} was refused */
    CU_ASSERT_EQUAL(told.infos, told.result == 0 ? 1 : 0);
    if (told.infos > 0) {
        CU_ASSERT_EQUAL(told.last.kind, kind);
        CU_ASSERT(told.last.status == 0 || is_short(told.last.status));
    }
    stop(self, a);
    stop(self, silent);
}

static void timer_once(nx_self *self) { promise(self, OP_TIMER, NX_INFO_TIMER); }
UNIT(memory, torture_87_a_timer) { sweep_over(timer_once); }

static void monitor_once(nx_self *self) { promise(self, OP_MONITOR, NX_INFO_DOWN); }
UNIT(memory, torture_87_a_monitor) { sweep_over(monitor_once); }

static void async_once(nx_self *self) { promise(self, OP_ASYNC, NX_INFO_REPLY); }
UNIT(memory, torture_87_a_call_that_nobody_waits_for) { sweep_over(async_once); }

static void
listings_once(nx_self *self)
{
    nx_value v;
    nx_ref a = start(self);
    shortage_begins();
    int err[] = { nx_names(self, 0, NULL, NULL, 0, &v), nx_nodes(self, &v), nx_behaviors(self, &v), nx_stats(self, &v), nx_subscribe(self, 3),
                  nx_subscribe(self, 0) };
    shortage_ends();
    for (size_t i = 0; i < sizeof err / sizeof err[0]; i++)
        CU_ASSERT(err[i] == 0 || is_short(err[i]));
    stop(self, a);
}
UNIT(memory, torture_87_listings) { sweep_over(listings_once); }
