/*
 * clock.h - the only place that asks for the time, so that a test can hold it still.
 */
#ifndef NOEXD_BASE_CLOCK_H
#define NOEXD_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NS_PER_MS UINT64_C(1000000)
#define CLOCK_NS_PER_S  UINT64_C(1000000000)

uint64_t clock_now_ns(void);    /* CLOCK_MONOTONIC: all timers and deadlines */
uint64_t clock_wall_ms(void);   /* CLOCK_REALTIME, ms since 1970: registry timestamps, log lines, handshake */

/* Tests: from now on clock_now_ns() and clock_wall_ms() answer this; clock_release() gives the real clock back. */
void clock_hold(uint64_t now_ns, uint64_t wall_ms);
void clock_release(void);

/* now + ms without overflow; a negative ms (NX_FOREVER) or more than 100 years gives 0 (= no deadline). */
uint64_t clock_deadline(uint64_t now_ns, int64_t ms);

/* Milliseconds left until `deadline_ns`, rounded up to at least 1; 0 = no deadline (deadline_ns == 0). For one that has passed
 * it answers 1: ask clock_is_past first. */
uint32_t clock_left_ms(uint64_t deadline_ns, uint64_t now_ns);

/* Has this deadline come? 0 = no deadline: never. */
static inline bool clock_is_past(uint64_t deadline_ns, uint64_t now_ns) { return deadline_ns != 0 && deadline_ns <= now_ns; }

#endif
