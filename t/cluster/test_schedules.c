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
            struct schedule s = { .seed = first, .nodes = nodes, .latency_us = 300, .jitter_us = 500, .skew_ms = 1000 };
            for (unsigned k = 0; k < 2 * SCHEDULE_WHATS; k++)
                s.actions[s.count++] = (struct schedule_action){ .after_us = 50000, .what = (enum schedule_what)((first + k) % SCHEDULE_WHATS),
                                                                 .node = (uint8_t)(k % nodes), .other = (uint8_t)((k + 1) % nodes),
                                                                 .name = (uint8_t)(k % 3), .server = (uint8_t)(1 + k % 2), .value = 1 };
            RUN(s);
        }
    }
    log_set_level(LOG_INFO);
}

/* app1 was away when app2 lost d to app3; when it returns, app2 has claimed d anew, and the older loss was passed over in silence. */
UNIT(schedules, a_loss_is_told_to_who_was_away_also_if_the_loser_has_claimed_the_name_anew)
{
    static const struct schedule s = { .seed = 41302u, .nodes = 3, .latency_us = 1000, .jitter_us = 0, .skew_ms = 999, .count = 5, .actions = {
        { .after_us = 100000, .what = SCHEDULE_FREEZE, .node = 0, .other = 1, .name = 1, .server = 2, .value = 0 },
        { .after_us = 4136057, .what = SCHEDULE_REGISTER, .node = 2, .other = 1, .name = 3, .server = 1, .value = 0 },
        { .after_us = 0, .what = SCHEDULE_REGISTER, .node = 1, .other = 0, .name = 3, .server = 3, .value = 0 },
        { .after_us = 1000, .what = SCHEDULE_RESET, .node = 1, .other = 2, .name = 2, .server = 3, .value = 0 },
        { .after_us = 1000, .what = SCHEDULE_REGISTER, .node = 1, .other = 2, .name = 3, .server = 1, .value = 0 },
    } };
    RUN(s);
}
