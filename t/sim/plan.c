/*
 * plan.c - a schedule made at random from a number.
 *
 * Lives here: how many nodes and actions, which faults at all (each schedule allows some kinds only, so that a few of one kind also come without the others),
 * when, to whom.
 * Never here: what an action does (t/cluster/schedule.c).
 * Runs in: the simulator.
 */
#include "sim.h"

#include <string.h>

#include "base/base.h"

enum { HUGE_EVERY = 25000, LARGE_EVERY = 1000, HUGE = 50, LARGE_MIN = 6, LARGE_SPREAD = 15, LONG_MIN_US = 35000000 };

struct dice { uint64_t state; };

static uint32_t
below(struct dice *d, uint32_t n)
{
    uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % n);
}

/* How often each of them is drawn, among those of its kind. */
struct weight { enum schedule_what what; uint32_t weight; };

static const struct weight requests[] = {
    { SCHEDULE_REGISTER, 48 }, { SCHEDULE_REGISTER_LOCAL, 5 }, { SCHEDULE_REGISTER_FOR, 8 }, { SCHEDULE_UNREGISTER, 15 },
    { SCHEDULE_UNREGISTER_LOCAL, 3 }, { SCHEDULE_SERVER_GONE, 11 }, { SCHEDULE_WORKER_DIES, 10 },
};

static const struct weight faults[] = {
    { SCHEDULE_START, 4 }, { SCHEDULE_KILL, 3 }, { SCHEDULE_VANISH, 3 }, { SCHEDULE_LEAVE, 1 }, { SCHEDULE_LINK_DIES, 3 },
    { SCHEDULE_LINK_RETURNS, 4 }, { SCHEDULE_FREEZE, 2 }, { SCHEDULE_THAW, 3 }, { SCHEDULE_CUT, 4 }, { SCHEDULE_CUT_WAY, 4 },
    { SCHEDULE_MEND, 6 }, { SCHEDULE_SPLIT, 3 }, { SCHEDULE_MEND_ALL, 4 }, { SCHEDULE_RESET, 5 }, { SCHEDULE_LOSE, 3 }, { SCHEDULE_CLOCK, 2 },
};

static enum schedule_what
draw(struct dice *d, const struct weight *of, size_t count, uint32_t allowed)
{
    uint32_t sum = 0, at;

    for (size_t i = 0; i < count; i++)
        sum += (allowed >> i & 1) != 0 ? of[i].weight : 0;
    if (sum == 0)
        return requests[0].what;
    at = below(d, sum);
    for (size_t i = 0; i < count; i++) {
        uint32_t weight = (allowed >> i & 1) != 0 ? of[i].weight : 0;
        if (at < weight)
            return of[i].what;
        at -= weight;
    }
    return of[0].what;
}

/* In the same moment, within a message's way, while a handshake runs, or after all of that has ended. */
static uint32_t
pause_us(struct dice *d)
{
    switch (below(d, 12)) {
    case 0: case 1: case 2: return 0;
    case 3: case 4: case 5: return below(d, 2000);
    case 6: case 7: case 8: return below(d, 20000);
    case 9: case 10: return below(d, 300000);
    default: return below(d, 6000000);
    }
}

static int32_t
clock_step(struct dice *d)
{
    static const uint32_t widths[] = { 20, 2000, 7200000, 1 << 30 };
    uint32_t width = widths[below(d, BASE_COUNT(widths))];
    return (int32_t)below(d, width) - (int32_t)(width / 2);
}

static int32_t
value_of(struct dice *d, enum schedule_what what)
{
    switch (what) {
    case SCHEDULE_REGISTER: case SCHEDULE_REGISTER_FOR: return (int32_t)below(d, 3);
    case SCHEDULE_WORKER_DIES: return below(d, 2) == 0 ? 0 : (int32_t)below(d, 40);
    case SCHEDULE_SPLIT: return (int32_t)below(d, INT32_MAX);
    case SCHEDULE_CLOCK: return clock_step(d);
    case SCHEDULE_DROP: return below(d, 3) == 0 ? 0 : 1 + (int32_t)below(d, 8);
    default: return 0;
    }
}

static unsigned
nodes_of(struct dice *d, uint64_t seed)
{
    if (seed % HUGE_EVERY == 0)
        return HUGE;
    if (seed % LARGE_EVERY == LARGE_EVERY / 2)
        return LARGE_MIN + below(d, LARGE_SPREAD);
    uint32_t r = below(d, 20);
    return r < 9 ? 2 : r < 15 ? 3 : r < 18 ? 4 : 5;
}

void
plan_make(uint64_t seed, unsigned nodes, struct schedule *out)
{
    struct dice dice = { seed * UINT64_C(0xd1342543de82ef95) + 1 }, *d = &dice;
    unsigned drawn = nodes_of(d, seed);

    memset(out, 0, offsetof(struct schedule, actions));
    out->seed = seed;
    out->nodes = nodes != 0 ? nodes : drawn;
    out->latency_us = 1 + below(d, below(d, 2) == 0 ? 500 : 5000);
    out->jitter_us = below(d, 3) == 0 ? 0 : below(d, 20000);
    out->skew_ms = below(d, 2) == 0 ? 0 : below(d, 1500);       /* none: two register in the same millisecond */
    out->count = 4 + below(d, 13) + (out->nodes <= 20 ? 2 : 1) * out->nodes;
    uint32_t allowed = below(d, 1u << BASE_COUNT(faults)), names = 1 + below(d, 6), servers = 1 + below(d, 8);
    bool has_drops = below(d, 16) == 0, is_up_first = below(d, 2) == 0;
    uint32_t faults_of_8 = 1 + below(d, 5), long_pause = below(d, 48) == 0 ? below(d, out->count) : UINT32_MAX;
    for (unsigned i = 0; i < out->count; i++) {
        struct schedule_action *a = &out->actions[i];
        bool is_fault = below(d, 8) < faults_of_8;
        a->after_us = i == 0 && is_up_first ? 1000000 + below(d, 1000000) : pause_us(d);
        if (i == long_pause)
            a->after_us = LONG_MIN_US + below(d, LONG_MIN_US);       /* back-off at its longest, losses forgotten */
        a->what = is_fault ? draw(d, faults, BASE_COUNT(faults), allowed) : draw(d, requests, BASE_COUNT(requests), UINT32_MAX);
        if (is_fault && has_drops && below(d, 4) == 0)
            a->what = SCHEDULE_DROP;
        a->node = (uint8_t)below(d, out->nodes);
        a->other = (uint8_t)below(d, out->nodes);
        if (a->other == a->node)
            a->other = (uint8_t)((a->node + 1u) % out->nodes);
        a->name = (uint8_t)below(d, names);
        a->server = (uint8_t)(1 + below(d, servers));
        a->value = value_of(d, a->what);
    }
}
