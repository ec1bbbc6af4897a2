/*
 * test_pending.c - each call ends exactly once, whichever of its ends comes first.
 */
#include "call/call.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "unit.h"

enum { SLOT = 5, SEEN = 64 };

struct seen { uint64_t id; int status; uint8_t kind; struct call_target target; uint8_t body; };

struct world {
    struct loop *loop;
    struct calls *calls;
    int ends;
    struct seen seen[SEEN];
    void (*in_end)(struct world *w, uint64_t id);      /* what the callback does */
};

static void
on_end(void *arg, uint64_t id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct world *w = arg;
    CU_ASSERT((status == 0) == (e != NULL));
    CU_ASSERT_PTR_NULL(call_borrow_target(w->calls, id));            /* forgotten by now */
    if (w->ends < SEEN)
        w->seen[w->ends] = (struct seen){ .id = id, .status = status, .kind = e != NULL ? e->kind : 0, .target = *target,
                                          .body = body != NULL ? *body : 0 };
    w->ends++;
    if (w->in_end != NULL)
        w->in_end(w, id);
}

static void
open_world(struct world *w, uint32_t max_pending, uint32_t max_per_node)
{
    struct calls_config config = { .slot = SLOT, .max_pending = max_pending, .max_per_node = max_per_node };
    memset(w, 0, sizeof *w);
    clock_hold(1000000, 0);
    CU_ASSERT_EQUAL_FATAL(loop_new(&w->loop, NULL), 0);
    config.loop = w->loop;
    CU_ASSERT_EQUAL_FATAL(calls_new(&config, &w->calls, NULL), 0);
}

static void
close_world(struct world *w)
{
    calls_free(&w->calls);
    calls_free(&w->calls);
    loop_free(&w->loop);
    clock_release();
}

static void
turn_at(struct world *w, uint64_t now_ns)
{
    clock_hold(now_ns, 0);
    CU_ASSERT_EQUAL(loop_turn(w->loop, false), 0);
}

static const struct call_target local = { .slot = 2, .generation = 7, .serial = 42 };
static const struct call_target remote = { .node = 3, .session = 10, .slot = 2, .generation = 7, .serial = 42 };

static uint64_t
begin(struct world *w, const struct call_target *target, uint64_t deadline_ns)
{
    uint64_t id = 0;
    CU_ASSERT_EQUAL(call_begin(w->calls, target, deadline_ns, on_end, w, &id), 0);
    return id;
}

static int
answer(struct world *w, uint64_t id, uint8_t kind, uint32_t node, uint32_t session)
{
    struct envelope e = { .kind = kind, .node = node, .session = session, .slot = SLOT, .call_id = id, .body_len = 1 };
    return call_answer(w->calls, &e, (const uint8_t *)"b");
}

UNIT(pending, ids_carry_the_slot_start_anywhere_and_never_repeat)
{
    struct world w;
    open_world(&w, 0, 0);
    uint64_t last = 0, first = begin(&w, &local, 0);
    for (int i = 0; i < 3000; i++) {
        uint64_t id = begin(&w, &local, 0);
        CU_ASSERT_EQUAL(envelope_caller_slot(id), SLOT);
        CU_ASSERT_NOT_EQUAL(id, last);
        last = id;
        if (i % 2)
            CU_ASSERT_EQUAL(call_cancel(w.calls, id), 0);
    }
    CU_ASSERT_EQUAL(calls_count(w.calls), 1501);
    struct world other;
    open_world(&other, 0, 0);
    CU_ASSERT_NOT_EQUAL(begin(&other, &local, 0), first);             /* one in 2^48 */
    close_world(&other);
    close_world(&w);
}

UNIT(pending, an_answer_ends_its_call_once_with_its_kind_body_and_target)
{
    struct world w;
    open_world(&w, 0, 0);
    static const uint8_t kinds[] = { KIND_REPLY, KIND_ERROR, KIND_SPAWN_REPLY };
    for (int i = 0; i < 3; i++) {
        uint64_t id = begin(&w, &local, 5000000);
        CU_ASSERT_EQUAL(call_borrow_target(w.calls, id)->serial, 42);
        CU_ASSERT_EQUAL(answer(&w, id, kinds[i], 0, 0), 0);
        CU_ASSERT_EQUAL(w.ends, i + 1);
        CU_ASSERT_EQUAL(w.seen[i].id, id);
        CU_ASSERT_EQUAL(w.seen[i].status, 0);
        CU_ASSERT_EQUAL(w.seen[i].kind, kinds[i]);
        CU_ASSERT_EQUAL(w.seen[i].body, 'b');
        CU_ASSERT_EQUAL(w.seen[i].target.generation, 7);
        CU_ASSERT_EQUAL(answer(&w, id, kinds[i], 0, 0), NX_ENOSERVER);     /* doubled */
        CU_ASSERT_EQUAL(call_cancel(w.calls, id), NX_ENOSERVER);
        turn_at(&w, 9000000);
        CU_ASSERT_EQUAL(w.ends, i + 1);
        clock_hold(1000000, 0);
    }
    CU_ASSERT_EQUAL(calls_count(w.calls), 0);
    close_world(&w);
}

UNIT(pending, what_is_not_an_answer_ends_nothing)
{
    struct world w;
    open_world(&w, 0, 0);
    uint64_t id = begin(&w, &local, 0);
    static const uint8_t kinds[] = { 0, KIND_CALL, KIND_CAST, KIND_SPAWN, KIND_MONITOR_EVENT, KIND_NODE_EVENT, 200 };
    for (size_t i = 0; i < sizeof kinds; i++)
        CU_ASSERT_EQUAL(answer(&w, id, kinds[i], 0, 0), NX_ENOSERVER);
    CU_ASSERT_EQUAL(answer(&w, 0, KIND_REPLY, 0, 0), NX_ENOSERVER);
    CU_ASSERT_EQUAL(answer(&w, id + 1, KIND_REPLY, 0, 0), NX_ENOSERVER);
    CU_ASSERT_EQUAL(answer(&w, id + 1024, KIND_REPLY, 0, 0), NX_ENOSERVER);          /* the same place of the table */
    CU_ASSERT_EQUAL(answer(&w, id ^ (UINT64_C(1) << 48), KIND_REPLY, 0, 0), NX_ENOSERVER);   /* another slot's */
    CU_ASSERT_EQUAL(w.ends, 0);
    CU_ASSERT_EQUAL(calls_count(w.calls), 1);
    CU_ASSERT_EQUAL(answer(&w, id, KIND_REPLY, 0, 0), 0);
    close_world(&w);
}

UNIT(pending, an_answer_counts_only_from_the_node_and_session_it_was_sent_to)
{
    struct world w;
    open_world(&w, 0, 0);
    uint64_t far = begin(&w, &remote, 0), near = begin(&w, &local, 0);
    CU_ASSERT_EQUAL(answer(&w, far, KIND_REPLY, 4, 10), NX_ENOSERVER);    /* another node */
    CU_ASSERT_EQUAL(answer(&w, far, KIND_REPLY, 0, 0), NX_ENOSERVER);     /* a worker of ours */
    CU_ASSERT_EQUAL(answer(&w, far, KIND_REPLY, 3, 9), NX_ENOSERVER);     /* an older session */
    CU_ASSERT_EQUAL(answer(&w, far, KIND_REPLY, 3, 11), NX_ENOSERVER);
    CU_ASSERT_EQUAL(answer(&w, near, KIND_REPLY, 3, 10), NX_ENOSERVER);   /* another node, where a worker of ours was asked */
    CU_ASSERT_EQUAL(w.ends, 0);
    CU_ASSERT_EQUAL(answer(&w, far, KIND_REPLY, 3, 10), 0);
    CU_ASSERT_EQUAL(answer(&w, near, KIND_REPLY, 0, 0), 0);
    CU_ASSERT_EQUAL(w.ends, 2);
    close_world(&w);
}

UNIT(pending, C3_a_call_times_out_at_its_deadline_and_the_late_answer_is_refused)
{
    struct world w;
    open_world(&w, 0, 0);
    uint64_t soon = begin(&w, &local, 2000000), later = begin(&w, &remote, 3000000), never = begin(&w, &local, 0);
    turn_at(&w, 1999999);
    CU_ASSERT_EQUAL(w.ends, 0);
    turn_at(&w, 2000000);
    CU_ASSERT_EQUAL(w.ends, 1);
    CU_ASSERT_EQUAL(w.seen[0].id, soon);
    CU_ASSERT_EQUAL(w.seen[0].status, NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(answer(&w, soon, KIND_REPLY, 0, 0), NX_ENOSERVER);
    uint64_t next = begin(&w, &local, 0);
    CU_ASSERT_EQUAL(answer(&w, soon, KIND_REPLY, 0, 0), NX_ENOSERVER);    /* never delivered to a later call */
    CU_ASSERT_EQUAL(w.ends, 1);
    turn_at(&w, UINT64_MAX - 1);
    CU_ASSERT_EQUAL(w.ends, 2);
    CU_ASSERT_EQUAL(w.seen[1].id, later);
    CU_ASSERT_EQUAL(w.seen[1].status, NX_ETIMEDOUT);
    CU_ASSERT_PTR_NOT_NULL(call_borrow_target(w.calls, never));
    CU_ASSERT_PTR_NOT_NULL(call_borrow_target(w.calls, next));
    close_world(&w);
}

UNIT(pending, deadlines_fire_in_order_though_earlier_calls_end_before_theirs)
{
    struct world w;
    open_world(&w, 0, 0);
    uint64_t ids[20];
    for (uint64_t i = 0; i < 20; i++)
        ids[i] = begin(&w, &local, 2000000 + (i * 7 % 20) * 1000);
    for (uint64_t i = 0; i < 20; i += 2)
        CU_ASSERT_EQUAL(answer(&w, ids[i], KIND_REPLY, 0, 0), 0);
    for (uint64_t t = 0; t < 20; t++) {
        int before = w.ends, due = 0;
        turn_at(&w, 2000000 + t * 1000);
        for (uint64_t i = 1; i < 20; i += 2)
            due += i * 7 % 20 == t;
        CU_ASSERT_EQUAL(w.ends - before, due);
    }
    CU_ASSERT_EQUAL(calls_count(w.calls), 0);
    uint64_t again = begin(&w, &local, 3000000);          /* the timer is set anew after it had nothing to do */
    turn_at(&w, 3000000);
    CU_ASSERT_EQUAL(w.seen[w.ends - 1].id, again);
    close_world(&w);
}

UNIT(pending, the_death_of_a_node_ends_its_calls_of_that_session_and_older)
{
    struct world w;
    open_world(&w, 0, 0);
    struct call_target old = remote, newer = remote, other = remote;
    old.session = 9, newer.session = 11, other.node = 4;
    begin(&w, &remote, 0), begin(&w, &old, 5000000), begin(&w, &newer, 0), begin(&w, &other, 0), begin(&w, &local, 0);
    calls_fail_node(w.calls, 3, 10);
    CU_ASSERT_EQUAL(w.ends, 2);
    CU_ASSERT_EQUAL(w.seen[0].status, NX_ENODE);
    CU_ASSERT_EQUAL(w.seen[1].status, NX_ENODE);
    CU_ASSERT_EQUAL(w.seen[0].target.node, 3);
    CU_ASSERT_EQUAL(calls_count(w.calls), 3);
    calls_fail_node(w.calls, 3, 10);
    calls_fail_node(w.calls, 0, 100);                     /* not how processes of this node die */
    calls_fail_node(w.calls, 77, 1);
    calls_fail_node(w.calls, UINT32_MAX, 1);
    CU_ASSERT_EQUAL(w.ends, 2);
    struct call_target wrapped = remote;
    wrapped.session = 1;
    begin(&w, &wrapped, 0);
    calls_fail_node(w.calls, 3, UINT32_MAX);              /* older by one wrap: session 1 is newer */
    CU_ASSERT_EQUAL(w.ends, 2);
    close_world(&w);
}

UNIT(pending, the_end_of_the_link_worker_ends_the_calls_to_all_nodes)
{
    struct world w;
    open_world(&w, 0, 0);
    struct call_target sessions[] = { remote, remote, remote };
    sessions[1].session = UINT32_MAX, sessions[2].node = 900, sessions[2].session = 0;
    calls_fail_nodes(w.calls);
    for (int i = 0; i < 3; i++)
        begin(&w, &sessions[i], i == 1 ? 5000000 : 0);
    uint64_t mine = begin(&w, &local, 0);
    calls_fail_nodes(w.calls);
    CU_ASSERT_EQUAL(w.ends, 3);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(w.seen[i].status, NX_ENODE);
    CU_ASSERT_EQUAL(calls_count(w.calls), 1);
    CU_ASSERT_PTR_NOT_NULL(call_borrow_target(w.calls, mine));
    begin(&w, &remote, 0);                                /* the groups serve again */
    calls_fail_node(w.calls, remote.node, remote.session);
    CU_ASSERT_EQUAL(w.ends, 4);
    close_world(&w);
}

UNIT(pending, the_death_of_a_process_ends_its_calls_of_that_life_and_older)
{
    struct world w;
    open_world(&w, 0, 0);
    struct call_target old = local, newer = local, any = local, link = { .slot = SLOT_LINK }, gate = { .slot = SLOT_GATE }, far = remote;
    old.generation = 6, newer.generation = 8, any.generation = 0;
    begin(&w, &local, 0), begin(&w, &old, 0), begin(&w, &newer, 0), begin(&w, &any, 0);
    begin(&w, &link, 0), begin(&w, &gate, 0), begin(&w, &far, 0);
    calls_fail_process(w.calls, 2, 7);
    CU_ASSERT_EQUAL(w.ends, 3);
    CU_ASSERT_EQUAL(w.seen[0].status, NX_ENOSERVER);
    CU_ASSERT_EQUAL(calls_count(w.calls), 4);
    calls_fail_process(w.calls, SLOT_LINK, 3);
    CU_ASSERT_EQUAL(w.ends, 4);
    CU_ASSERT_EQUAL(w.seen[3].target.slot, SLOT_LINK);
    calls_fail_process(w.calls, 63, 1);
    CU_ASSERT_EQUAL(w.ends, 4);
    close_world(&w);
}

UNIT(pending, the_death_of_a_process_on_another_node_ends_its_calls_of_that_session)
{
    struct world w;
    open_world(&w, 0, 0);
    struct call_target old = remote, newer = remote, any = remote, slot = remote, session = remote, node = remote;
    old.generation = 6, newer.generation = 8, any.slot = SLOT_ANY, any.generation = 0, slot.slot = 1, session.session = 11, node.node = 4;
    uint64_t first = begin(&w, &remote, 0), second = begin(&w, &old, 0), last = begin(&w, &newer, 0);
    begin(&w, &any, 0), begin(&w, &slot, 0), begin(&w, &session, 0), begin(&w, &node, 0), begin(&w, &local, 0);
    calls_fail_remote(w.calls, 3, 10, SLOT_ANY, 7);       /* a start: nobody knows where it went */
    calls_fail_remote(w.calls, 0, 0, 2, 7);               /* not how processes of this node die */
    calls_fail_remote(w.calls, 77, 10, 2, 7);
    calls_fail_remote(w.calls, UINT32_MAX, 10, 2, 7);
    calls_fail_remote(w.calls, 3, 9, 2, 7);
    CU_ASSERT_EQUAL(w.ends, 0);
    calls_fail_remote(w.calls, 3, 10, 2, 7);
    CU_ASSERT_EQUAL(w.ends, 2);
    CU_ASSERT(w.seen[0].id == first && w.seen[1].id == second);
    for (int i = 0; i < 2; i++)
        CU_ASSERT(w.seen[i].status == NX_ENOSERVER && w.seen[i].target.node == 3 && w.seen[i].target.slot == 2);
    calls_fail_remote(w.calls, 3, 10, 2, 7);
    CU_ASSERT_EQUAL(w.ends, 2);
    CU_ASSERT_EQUAL(answer(&w, first, KIND_REPLY, 3, 10), NX_ENOSERVER);       /* too late */
    CU_ASSERT_EQUAL(answer(&w, last, KIND_REPLY, 3, 10), 0);
    CU_ASSERT_EQUAL(calls_count(w.calls), 5);
    close_world(&w);
}

UNIT(pending, bounds_hold_in_all_and_per_node_and_free_up)
{
    struct world w;
    open_world(&w, 6, 4);
    uint64_t id = 0, ids[4];
    for (int i = 0; i < 4; i++)
        ids[i] = begin(&w, &remote, 0);
    CU_ASSERT_EQUAL(call_begin(w.calls, &remote, 0, on_end, &w, &id), NX_EBUSY);
    CU_ASSERT_EQUAL(id, 0);
    begin(&w, &local, 0), begin(&w, &local, 0);
    CU_ASSERT_EQUAL(call_begin(w.calls, &local, 0, on_end, &w, &id), NX_EBUSY);
    CU_ASSERT_EQUAL(call_cancel(w.calls, ids[0]), 0);
    CU_ASSERT_EQUAL(call_begin(w.calls, &remote, 0, on_end, &w, &id), 0);
    CU_ASSERT_EQUAL(w.ends, 0);
    struct call_target nowhere = { .node = 0x80000001 };
    CU_ASSERT_EQUAL(call_cancel(w.calls, id), 0);
    CU_ASSERT_EQUAL(call_begin(w.calls, &nowhere, 0, on_end, &w, &id), NX_EINVAL);
    close_world(&w);
}

/* ---- callbacks that change the table while it is being worked on */

static uint64_t others[8];

static void
cancel_others(struct world *w, uint64_t id)
{
    (void)id;
    for (int i = 0; i < 8; i += 2)
        (void)call_cancel(w->calls, others[i]);
}

static void
answer_others(struct world *w, uint64_t id)
{
    (void)id;
    w->in_end = NULL;
    for (int i = 0; i < 8; i += 2)
        (void)answer(w, others[i], KIND_REPLY, 3, 10);
}

static void
begin_another(struct world *w, uint64_t id)
{
    (void)id;
    begin(w, &remote, 1);                         /* to the node that is dying, past its deadline */
}

static void
fail_again(struct world *w, uint64_t id)
{
    (void)id;
    calls_fail_node(w->calls, 3, 10);
}

UNIT(pending, callbacks_may_begin_cancel_answer_and_fail_others_while_a_node_is_failed)
{
    static void (*const acts[])(struct world *, uint64_t) = { cancel_others, answer_others, begin_another, fail_again };
    for (int act = 0; act < 4; act++) {
        struct world w;
        open_world(&w, 0, 0);
        for (int i = 0; i < 8; i++)
            others[i] = begin(&w, &remote, i % 3 ? 5000000 : 0);
        w.in_end = acts[act];
        calls_fail_node(w.calls, 3, 10);
        w.in_end = NULL;
        /* cancel: the first (0) tells, 2, 4, 6 never do. answer, fail: all 8, once each. begin: the 8 old ones, and 8 new ones stay. */
        CU_ASSERT_EQUAL(w.ends, act == 0 ? 5 : 8);
        CU_ASSERT_EQUAL(calls_count(w.calls), act == 2 ? 8 : 0);
        for (int i = 0; i < w.ends; i++)
            for (int j = 0; j < i; j++)
                CU_ASSERT_NOT_EQUAL(w.seen[i].id, w.seen[j].id);
        int answered = 0;
        for (int i = 0; i < w.ends; i++)
            answered += w.seen[i].status == 0;
        CU_ASSERT_EQUAL(answered, act == 1 ? 3 : 0);
        turn_at(&w, 9000000);
        CU_ASSERT_EQUAL(w.ends, act == 0 ? 5 : act == 2 ? 16 : 8);
        CU_ASSERT_EQUAL(calls_count(w.calls), 0);
        close_world(&w);
    }
}

UNIT(pending, callbacks_that_begin_calls_already_past_their_deadline_do_not_hold_up_the_loop)
{
    struct world w;
    open_world(&w, 0, 0);
    begin(&w, &remote, 1500000);
    w.in_end = begin_another;
    turn_at(&w, 2000000);
    CU_ASSERT(w.ends >= 1 && w.ends < 5);
    int before = w.ends;
    turn_at(&w, 2000000);
    CU_ASSERT(w.ends > before);                   /* but they do end */
    w.in_end = NULL;
    turn_at(&w, 2000000);
    turn_at(&w, 2000000);
    CU_ASSERT_EQUAL(calls_count(w.calls), 0);
    close_world(&w);
}

/* ---- everything at once, against a model that only counts */

enum { MODEL = 1 << 18, STEPS = 600000 };
struct model_call { uint64_t id; struct call_target target; uint64_t deadline_ns; int ends, expected; bool over; };
static struct model_call *model;
static size_t model_count, model_wrong;

static bool
is_same(const struct call_target *a, const struct call_target *b)
{
    return a->node == b->node && a->session == b->session && a->generation == b->generation && a->slot == b->slot && a->serial == b->serial;
}

static void
model_end(void *arg, uint64_t id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct model_call *m = arg;
    (void)e, (void)body;
    m->ends++;
    if (m->id != id || m->ends > 1 || m->over || status != m->expected || !is_same(target, &m->target))
        model_wrong++;
    m->over = true;
}

static unsigned model_seed = 20;

static unsigned
dice(unsigned sides)
{
    model_seed = model_seed * 1103515245u + 12345u;
    return (model_seed >> 10) % sides;
}

UNIT(pending, every_call_of_six_hundred_thousand_steps_ends_exactly_once_as_the_model_says)
{
    struct world w;
    uint64_t now = 1000000;
    open_world(&w, 0, 0);
    model = calloc(MODEL, sizeof *model);
    model_count = model_wrong = 0;
    for (int step = 0; step < STEPS; step++) {
        struct model_call *m = model_count > 0 ? &model[model_count - 1 - dice(model_count < 3000 ? (unsigned)model_count : 3000)] : NULL;
        unsigned what = dice(100);
        if (what < 43 && model_count < MODEL) {
            m = &model[model_count++];
            m->target = (struct call_target){ .node = dice(4), .session = 1 + dice(3), .slot = (uint16_t)dice(4), .generation = 1 + dice(3), .serial = dice(9) };
            m->deadline_ns = dice(3) ? now + 1 + dice(4000) : 0;
            if (call_begin(w.calls, &m->target, m->deadline_ns, model_end, m, &m->id) != 0)
                model_wrong++;
        } else if (what < 80 && m != NULL) {
            uint32_t session = dice(10) ? m->target.session : 77, node = dice(20) ? m->target.node : 9;
            bool ok = !m->over && node == m->target.node && (node == 0 || session == m->target.session);
            m->expected = 0;
            if ((answer(&w, m->id, KIND_REPLY, node, session) == 0) != ok || (ok && !m->over))
                model_wrong++;
        } else if (what < 90 && m != NULL) {
            if ((call_cancel(w.calls, m->id) == 0) != !m->over)
                model_wrong++;
            m->over = true;
        } else if (what == 90 && dice(50) == 0) {
            uint32_t node = 1 + dice(3), session = 1 + dice(3);
            for (size_t i = 0; i < model_count; i++)
                model[i].expected = NX_ENODE;
            calls_fail_node(w.calls, node, session);
            for (size_t i = 0; i < model_count; i++)
                model_wrong += !model[i].over && model[i].target.node == node && model[i].target.session <= session;
        } else if (what == 91 && dice(50) == 0) {
            uint16_t slot = (uint16_t)dice(4);
            uint32_t generation = 1 + dice(3);
            for (size_t i = 0; i < model_count; i++)
                model[i].expected = NX_ENOSERVER;
            calls_fail_process(w.calls, slot, generation);
            for (size_t i = 0; i < model_count; i++)
                model_wrong += !model[i].over && model[i].target.node == 0 && model[i].target.slot == slot && model[i].target.generation <= generation;
        } else if (what >= 98 && dice(20) == 0) {
            now += dice(3000);
            for (size_t i = 0; i < model_count; i++)
                model[i].expected = model[i].deadline_ns != 0 && model[i].deadline_ns <= now ? NX_ETIMEDOUT : 99;
            turn_at(&w, now);
            for (size_t i = 0; i < model_count; i++)
                model_wrong += !model[i].over && model[i].deadline_ns != 0 && model[i].deadline_ns <= now;
        }
        CU_ASSERT_EQUAL_FATAL(model_wrong, 0);
    }
    size_t open = 0;
    for (size_t i = 0; i < model_count; i++)
        open += !model[i].over;
    CU_ASSERT_EQUAL(calls_count(w.calls), open);
    CU_ASSERT(open > 0);
    for (uint32_t node = 1; node < 4; node++) {
        for (size_t i = 0; i < model_count; i++)
            model[i].expected = NX_ENODE;
        calls_fail_node(w.calls, node, 100);
    }
    for (uint16_t slot = 0; slot < 4; slot++) {
        for (size_t i = 0; i < model_count; i++)
            model[i].expected = NX_ENOSERVER;
        calls_fail_process(w.calls, slot, 100);
    }
    CU_ASSERT_EQUAL(calls_count(w.calls), 0);
    CU_ASSERT_EQUAL(model_wrong, 0);
    free(model);
    close_world(&w);
}

UNIT(pending, a_hundred_thousand_at_once_all_end_and_the_table_is_empty)
{
    struct world w;
    open_world(&w, 0, 0);
    enum { COUNT = 100000 };
    uint64_t *ids = malloc(COUNT * sizeof *ids);
    for (int i = 0; i < COUNT; i++)
        ids[i] = begin(&w, &local, 2000000 + (uint64_t)i);
    CU_ASSERT_EQUAL(calls_count(w.calls), COUNT);
    for (int i = 0; i < COUNT; i += 2)
        CU_ASSERT_EQUAL(answer(&w, ids[i], KIND_REPLY, 0, 0), 0);
    turn_at(&w, 3000000);
    CU_ASSERT_EQUAL(w.ends, COUNT);
    CU_ASSERT_EQUAL(calls_count(w.calls), 0);
    CU_ASSERT_EQUAL(answer(&w, begin(&w, &local, 0), KIND_REPLY, 0, 0), 0);
    free(ids);
    close_world(&w);
}
