/*
 * clock.c - the time, which a test can hold still.
 *
 * Lives here: both clocks, deadlines.
 * Never here: timers (see the heap and the rooms that own one).
 * Runs in: every process.
 */
#include "base/clock.h"

#include <time.h>

#include "base/base.h"

#define LONGEST_MS (INT64_C(100) * 366 * 24 * 3600 * 1000)    /* 100 years: 3.2e18 ns, so now + this fits 64 bits */

static struct { bool on; uint64_t now_ns, wall_ms; } held;

static struct timespec
ask(clockid_t id)
{
    struct timespec ts;
    int err = clock_gettime(id, &ts);
    nx_assert(err == 0);                              /* both clocks exist on every Linux; ts is ours */
    return ts;
}

uint64_t
clock_now_ns(void)
{
    if (held.on)
        return held.now_ns;
    struct timespec ts = ask(CLOCK_MONOTONIC);
    return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t
clock_wall_ms(void)
{
    if (held.on)
        return held.wall_ms;
    struct timespec ts = ask(CLOCK_REALTIME);
    if (ts.tv_sec < 0)                                /* somebody set the clock before 1970 */
        return 0;
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / CLOCK_NS_PER_MS;
}

void
clock_hold(uint64_t now_ns, uint64_t wall_ms)
{
    held.on = true;
    held.now_ns = now_ns;
    held.wall_ms = wall_ms;
}

void
clock_release(void)
{
    held.on = false;
}

uint64_t
clock_deadline(uint64_t now_ns, int64_t ms)
{
    if (ms < 0 || ms > LONGEST_MS)
        return 0;
    uint64_t span = (uint64_t)ms * CLOCK_NS_PER_MS;
    if (span > UINT64_MAX - now_ns)
        return 0;
    uint64_t deadline = now_ns + span;
    return deadline != 0 ? deadline : 1;              /* 0 means none, and this one is due at once */
}

uint32_t
clock_left_ms(uint64_t deadline_ns, uint64_t now_ns)
{
    if (deadline_ns == 0)
        return 0;
    if (deadline_ns <= now_ns)
        return 1;
    uint64_t left = (deadline_ns - now_ns - 1) / CLOCK_NS_PER_MS + 1;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}
