/*
 * stage.h - a real runtime in this process for the tests of src/supervisor, and children that write down what happens to them.
 *
 * stage_run() runs a test inside a driver server: it may start, call and assert (never CU_ASSERT_..._FATAL there: that jumps off the coroutine).
 */
#ifndef NOEXD_T_SUPERVISOR_STAGE_H
#define NOEXD_T_SUPERVISOR_STAGE_H

#include <stdbool.h>

#include <noex/noex.h>

#include "unit.h"

void stage_run(void (*test)(nx_self *self));

/* What happened since stage_forget: "+a" a child's init, "-a" its terminate, with "!" after it where the reason was not shutdown; separated by spaces. */
const char *stage_story(void);
void stage_forget(void);

/* One child of a supervisor: its init fails while stage_fails(id) is set. */
struct stage_child { const char *id, *restart, *name; int64_t shutdown_ms; };
void stage_fails(char id, bool fails);
/* terminate of this child takes so long. */
void stage_is_slow(char id, int64_t ms);

/* Arguments of a supervisor: `strategy`, `max` restarts within `within_ms`, `count` children. */
nx_value stage_args(nx_self *self, const char *strategy, int max, int64_t within_ms, const struct stage_child *children, size_t count);
int  stage_start(nx_self *self, nx_value args, nx_ref *out);

/* The ref of a child by its label, from the supervisor's own list; serial 0 = not running. *restarts may be NULL. */
nx_ref stage_child(nx_self *self, nx_ref supervisor, const char *label, uint64_t *restarts);
/* End a child as if by itself: with this reason. */
void stage_end(nx_self *self, nx_ref child, nx_reason reason);
/* Let the others run. */
void stage_pause(nx_self *self, int64_t ms);
/* Until stage_story() is this, or 5 s have passed: then the test fails. */
void stage_until(nx_self *self, const char *story);
/* Until that server has ended; false: not within 5 s. */
bool stage_is_gone(nx_self *self, nx_ref ref);

#endif
