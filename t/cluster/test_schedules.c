/*
 * test_schedules.c - lives of a few nodes that were once wrong, each as short as it could be made: found by the simulator (t/sim), printed by it, pasted here.
 *
 * The strict net judges every step; in the end all nodes see each other by one link, all registries are equal and hold what their owners hold.
 */
#include <stdio.h>

#include "base/log.h"
#include "schedule.h"
#include "unit.h"

#define RUN(schedule) \
    do { \
        struct schedule_result result_; \
        schedule_run(&(schedule), NULL, &result_); \
        if (result_.is_wrong) \
            printf("# %s\n", result_.wrong); \
        CU_ASSERT(!result_.is_wrong); \
    } while (0)

/* Every kind of action, on nodes that live and nodes that do not. */
UNIT(schedules, each_action_means_something_in_each_state)
{
    log_set_level(LOG_ERROR);
    for (unsigned nodes = 1; nodes <= 3; nodes++) {
        for (unsigned first = 0; first < SCHEDULE_WHATS; first++) {
            struct schedule s = { .seed = first, .nodes = nodes, .latency_us = 300, .jitter_us = 500 };
            for (unsigned k = 0; k < 2 * SCHEDULE_WHATS; k++)
                s.actions[s.count++] = (struct schedule_action){ .after_us = 50000, .what = (enum schedule_what)((first + k) % SCHEDULE_WHATS),
                                                                 .node = (uint8_t)(k % nodes), .other = (uint8_t)((k + 1) % nodes),
                                                                 .name = (uint8_t)(k % 3), .server = (uint8_t)(1 + k % 2), .value = 1 };
            RUN(s);
        }
    }
    log_set_level(LOG_INFO);
}
