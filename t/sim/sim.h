/*
 * sim.h - what the files of the simulator share.
 */
#ifndef NOEXD_T_SIM_SIM_H
#define NOEXD_T_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cluster/schedule.h"

/* A schedule from its number; nodes 0 = as many as the number says: mostly 2-5, seldom up to 20, every 25 000th has 50. */
void plan_make(uint64_t seed, unsigned nodes, struct schedule *out);

/* Run it in a child, where an assertion that fails ends that child alone. True = wrong; the text goes to `wrong`. */
bool trial_fails(const struct schedule *s, char wrong[static 300]);

/* Make a failing schedule as short as may be; it still fails, perhaps in another way. Returns how many runs it took. */
unsigned shrink(struct schedule *s, char wrong[static 300]);
/* As a test that can be pasted into t/cluster/test_schedules.c. */
void shrink_print(const struct schedule *s, const char *wrong, FILE *out);

/* While set, nobody removes what a dead worker or a lost node leaves behind (broken.c). */
extern bool broken_is_on;

#endif
