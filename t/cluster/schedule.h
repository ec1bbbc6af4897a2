/*
 * schedule.h - the life of a net as a list of actions, carried out and judged: faults and requests, then peace, then what must hold.
 *
 * A schedule is data: the simulator makes them at random and makes a failing one shorter, and what is left is pasted into test_schedules.c as it was
 * printed. Every action means something in every state (a dead node starts, or nothing happens), so any may be left out.
 *
 * After the last action all faults end, and then
 *   within   links_ms = heartbeat x (misses + 2) + handshake + 1.2 x reconnect_max + heartbeat x (1 + log2 nodes) + 1 s
 *            all nodes see each other: the last silence is noticed, a dial into nowhere ends, the longest pause between two dials passes, gossip
 *            has gone round;
 *   within   names_ms = 2 x heartbeat + 1 s   after that, all registries are equal and each pair has one link;
 *            where messages of the registry were lost on purpose, without a loss of the link: (gossip_every + 3) x heartbeat + 1 s.
 */
#ifndef NOEXD_T_CLUSTER_SCHEDULE_H
#define NOEXD_T_CLUSTER_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "net.h"

/* X(what, meaning of other and value) */
#define SCHEDULE_ACTIONS(X) \
    X(REGISTER)                              /* name, server; value = priority */ \
    X(REGISTER_LOCAL)                        /* name, server */ \
    X(REGISTER_FOR)                          /* node asks `other`: name, server of other; value = priority */ \
    X(UNREGISTER)                            /* name */ \
    X(UNREGISTER_LOCAL)                      /* name */ \
    X(SERVER_GONE)                           /* server */ \
    X(WORKER_DIES)                           /* slot = server; value: its link worker hears of it so many ms later */ \
    X(START) X(KILL) X(VANISH) X(LEAVE) \
    X(LINK_DIES) X(LINK_RETURNS) \
    X(FREEZE) X(THAW) \
    X(CUT) X(CUT_WAY) X(MEND)                /* other */ \
    X(SPLIT)                                 /* bit i of value: the side of node i (mod 32) */ \
    X(MEND_ALL) \
    X(RESET) X(LOSE)                         /* other */ \
    X(CLOCK)                                 /* value: ms that its wall clock jumps */ \
    X(DROP)                                  /* value: every n-th message of the registry is lost; 0 = none */

enum schedule_what {
#define SCHEDULE_ENUM(what) SCHEDULE_##what,
    SCHEDULE_ACTIONS(SCHEDULE_ENUM)
#undef SCHEDULE_ENUM
    SCHEDULE_WHATS
};

enum { SCHEDULE_MAX = 400, SCHEDULE_NAMES = 26 };

/* after_us: what the net is run before it. */
struct schedule_action { uint32_t after_us; enum schedule_what what; uint8_t node, other, name, server; int32_t value; };

struct schedule {
    uint64_t seed;                           /* of delays, nonces and jitter */
    unsigned nodes;
    uint32_t latency_us, jitter_us;
    uint32_t skew_ms;                        /* wall clocks are up to so far off, ahead or behind */
    unsigned count;
    struct schedule_action actions[SCHEDULE_MAX];
};

struct schedule_result {
    bool is_wrong;
    char wrong[300];
    uint64_t digest, steps, virtual_ms, links_ms, names_ms;     /* the last two: what it took */
};

void schedule_run(const struct schedule *s, FILE *trace, struct schedule_result *out);
const char *schedule_what_name(enum schedule_what what);
uint64_t schedule_links_ms(const struct schedule *s);
uint64_t schedule_names_ms(const struct schedule *s);

#endif
