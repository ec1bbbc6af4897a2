/*
 * test_supervisor.c - starts in order, restarts by the rules, gives up, stops in reverse order.
 */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#define THREE { { .id = "a" }, { .id = "b" }, { .id = "c" } }

/* A supervisor with these children, started; the story forgotten. */
static nx_ref
start(nx_self *self, const char *strategy, int max, int64_t within_ms, const struct stage_child *children, size_t count)
{
    nx_ref ref = { 0 };
    CU_ASSERT_EQUAL(stage_start(self, stage_args(self, strategy, max, within_ms, children, count), &ref), 0);
    stage_forget();
    return ref;
}

static void
end_child(nx_self *self, nx_ref supervisor, const char *label, nx_reason reason)
{
    nx_ref ref = stage_child(self, supervisor, label, NULL);
    CU_ASSERT_NOT_EQUAL(ref.serial, 0);
    stage_end(self, ref, reason);
}

static void
starts_in_order(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref ref = { 0 };
    CU_ASSERT_EQUAL(stage_start(self, stage_args(self, "one_for_one", 3, 5000, c, 3), &ref), 0);
    CU_ASSERT_STRING_EQUAL(stage_story(), "+a +b +c");
    stage_forget();
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_SHUTDOWN, 5000), 0);
    CU_ASSERT_STRING_EQUAL(stage_story(), "-c -b -a");
}

UNIT(supervisor, children_start_in_order_and_stop_in_reverse_order)
{
    stage_run(starts_in_order);
}

static void
init_fails(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref ref = { 0 };
    stage_fails('c', true);
    CU_ASSERT_EQUAL(stage_start(self, stage_args(self, "one_for_one", 3, 5000, c, 3), &ref), NX_EINIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "child \"c\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "child c will not"));
    CU_ASSERT_EQUAL(ref.serial, 0);
    CU_ASSERT_STRING_EQUAL(stage_story(), "+a +b -b -a");
}

UNIT(supervisor, a_child_that_cannot_start_stops_those_before_it_and_the_start_fails)
{
    stage_run(init_fails);
}

static void
one_for_one(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_one", 3, 5000, c, 3), before = stage_child(self, s, "b", NULL);
    uint64_t restarts = 0;
    stage_end(self, before, NX_ERROR);
    stage_until(self, "-b! +b");
    nx_ref after = stage_child(self, s, "b", &restarts);
    CU_ASSERT_NOT_EQUAL(after.serial, 0);
    CU_ASSERT_FALSE(nx_ref_equal(before, after));
    CU_ASSERT_EQUAL(restarts, 1);
    (void)stage_child(self, s, "a", &restarts);
    CU_ASSERT_EQUAL(restarts, 0);
}

UNIT(supervisor, one_for_one_restarts_the_one_that_ended)
{
    stage_run(one_for_one);
}

static void
one_for_all(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_all", 3, 5000, c, 3);
    end_child(self, s, "b", NX_ERROR);
    stage_until(self, "-b! -c -a +a +b +c");
}

UNIT(supervisor, one_for_all_stops_the_others_in_reverse_order_and_starts_all_in_order)
{
    stage_run(one_for_all);
}

static void
rest_for_one(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "rest_for_one", 3, 5000, c, 3), a = stage_child(self, s, "a", NULL);
    end_child(self, s, "b", NX_ERROR);
    stage_until(self, "-b! -c +b +c");
    CU_ASSERT_TRUE(nx_ref_equal(a, stage_child(self, s, "a", NULL)));
}

UNIT(supervisor, rest_for_one_restarts_it_and_those_after_it)
{
    stage_run(rest_for_one);
}

/* ---------------------------------------------------------------- restart types */

static void
restart_types(nx_self *self)
{
    const struct stage_child c[] = { { .id = "p", .restart = "permanent" }, { .id = "t", .restart = "transient" }, { .id = "x", .restart = "temporary" } };
    nx_ref s = start(self, "one_for_one", 10, 5000, c, 3);
    end_child(self, s, "p", NX_NORMAL);
    stage_until(self, "-p! +p");
    stage_forget();
    end_child(self, s, "t", NX_ERROR);
    stage_until(self, "-t! +t");
    stage_forget();
    end_child(self, s, "t", NX_NORMAL);
    stage_until(self, "-t!");
    end_child(self, s, "x", NX_ERROR);
    stage_until(self, "-t! -x!");
    end_child(self, s, "p", NX_SHUTDOWN);        /* whatever could have been restarted before it would have been */
    stage_until(self, "-t! -x! -p +p");
    CU_ASSERT_EQUAL(stage_child(self, s, "t", NULL).serial, 0);
    CU_ASSERT_EQUAL(stage_child(self, s, "x", NULL).serial, 0);
}

UNIT(supervisor, permanent_always_transient_after_an_error_temporary_never)
{
    stage_run(restart_types);
}

static void
siblings_that_had_ended(nx_self *self)
{
    const struct stage_child c[] = { { .id = "a" }, { .id = "t", .restart = "transient" }, { .id = "x", .restart = "temporary" } };
    nx_ref s = start(self, "one_for_all", 10, 5000, c, 3);
    end_child(self, s, "t", NX_NORMAL);
    stage_until(self, "-t!");
    stage_forget();
    end_child(self, s, "a", NX_ERROR);
    stage_until(self, "-a! -x +a");              /* t had done its work; x, temporary, is stopped with the rest and does not come back */
    stage_pause(self, 20);
    CU_ASSERT_STRING_EQUAL(stage_story(), "-a! -x +a");
}

UNIT(supervisor, one_for_all_does_not_bring_back_what_was_not_to_come_back)
{
    stage_run(siblings_that_had_ended);
}

/* ---------------------------------------------------------------- intensity */

static void
gives_up(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_one", 2, 60000, c, 3);
    end_child(self, s, "a", NX_ERROR);
    stage_until(self, "-a! +a");
    end_child(self, s, "a", NX_ERROR);
    stage_until(self, "-a! +a -a! +a");
    end_child(self, s, "b", NX_ERROR);
    stage_until(self, "-a! +a -a! +a -b! -c -a");
    CU_ASSERT_TRUE(stage_is_gone(self, s));
}

UNIT(supervisor, more_than_max_restarts_within_the_time_end_it_and_its_children)
{
    stage_run(gives_up);
}

static void
counts_once(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_all", 1, 60000, c, 3);
    end_child(self, s, "c", NX_ERROR);
    stage_until(self, "-c! -b -a +a +b +c");     /* three starts, one restart */
    CU_ASSERT_NOT_EQUAL(stage_child(self, s, "c", NULL).serial, 0);
    stage_forget();
    end_child(self, s, "c", NX_ERROR);
    stage_until(self, "-c! -b -a");
    CU_ASSERT_TRUE(stage_is_gone(self, s));
}

UNIT(supervisor, a_restart_of_all_counts_once)
{
    stage_run(counts_once);
}

static void
forgets(nx_self *self)
{
    const struct stage_child c[] = { { .id = "a" } };
    nx_ref s = start(self, "one_for_one", 1, 50, c, 1);
    for (int i = 0; i < 3; i++) {
        stage_forget();
        end_child(self, s, "a", NX_ERROR);
        stage_until(self, "-a! +a");
        stage_pause(self, 60);
    }
    CU_ASSERT_NOT_EQUAL(stage_child(self, s, "a", NULL).serial, 0);
}

UNIT(supervisor, restarts_longer_ago_than_the_time_do_not_count)
{
    stage_run(forgets);
}

static void
none_allowed(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_one", 0, 5000, c, 3);
    end_child(self, s, "a", NX_ERROR);
    stage_until(self, "-a! -c -b");
    CU_ASSERT_TRUE(stage_is_gone(self, s));
}

UNIT(supervisor, with_no_restart_allowed_the_first_end_is_its_own)
{
    stage_run(none_allowed);
}

/* ---------------------------------------------------------------- starts that fail */

static void
tries_again(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_one", 100, 60000, c, 3);
    stage_fails('b', true);
    end_child(self, s, "b", NX_ERROR);
    stage_until(self, "-b!");
    stage_pause(self, 150);                      /* at least one try has failed */
    CU_ASSERT_EQUAL(stage_child(self, s, "b", NULL).serial, 0);
    stage_fails('b', false);
    stage_until(self, "-b! +b");
    CU_ASSERT_NOT_EQUAL(stage_child(self, s, "b", NULL).serial, 0);
}

UNIT(supervisor, a_restart_that_fails_is_tried_again)
{
    stage_run(tries_again);
}

static void
tries_count(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_one", 3, 60000, c, 3);
    stage_fails('a', true);
    end_child(self, s, "a", NX_ERROR);
    stage_until(self, "-a! -c -b");
    CU_ASSERT_TRUE(stage_is_gone(self, s));
}

UNIT(supervisor, tries_that_fail_count_and_end_it)
{
    stage_run(tries_count);
}

static void
waiting_sibling(nx_self *self)
{
    const struct stage_child c[] = THREE;
    nx_ref s = start(self, "one_for_all", 100, 60000, c, 3);
    stage_fails('c', true);
    end_child(self, s, "b", NX_ERROR);
    stage_until(self, "-b! -c -a +a +b");        /* c waits for its next try */
    stage_fails('c', false);
    end_child(self, s, "a", NX_ERROR);
    stage_pause(self, 250);
    const char *end = strrchr(stage_story(), '+');
    CU_ASSERT_PTR_NOT_NULL(end);
    CU_ASSERT_STRING_EQUAL(end != NULL ? end : "", "+c");
    for (const char *id = "a\0b\0c\0"; *id != '\0'; id += 2)
        CU_ASSERT_NOT_EQUAL(stage_child(self, s, id, NULL).serial, 0);
}

UNIT(supervisor, one_that_waits_for_its_next_try_is_not_forgotten_when_another_ends)
{
    stage_run(waiting_sibling);
}

/* ---------------------------------------------------------------- stop, messages */

static void
slow_child(nx_self *self)
{
    const struct stage_child c[] = { { .id = "a" }, { .id = "b", .shutdown_ms = 30 } };
    nx_ref s = start(self, "one_for_one", 3, 5000, c, 2);
    stage_is_slow('b', 100);
    CU_ASSERT_EQUAL(nx_stop(self, s, NX_SHUTDOWN, 5000), 0);
    CU_ASSERT_STRING_EQUAL(stage_story(), "-b -a");
}

UNIT(supervisor, a_child_that_stops_late_does_not_keep_the_others)
{
    stage_run(slow_child);
}

static void
empty(nx_self *self)
{
    nx_ref s = { 0 };
    nx_value list = { 0 };
    CU_ASSERT_EQUAL(stage_start(self, nx_make(self, "{s:s,s:[]}", "name", "none", "children"), &s), 0);
    CU_ASSERT_EQUAL(nx_call(self, s, nx_make(self, "{s:s}", "type", "children"), 1000, &list), 0);
    CU_ASSERT_EQUAL(nx_count(list), 0);
    CU_ASSERT_EQUAL(nx_call(self, s, nx_make(self, "{s:s}", "type", "dance"), 1000, NULL), NX_EAPP);
    CU_ASSERT_EQUAL(nx_call(self, s, nx_make(self, "i", 1), 1000, NULL) < 0, 1);
    CU_ASSERT_EQUAL(nx_cast(self, s, nx_make(self, "n")), 0);
    CU_ASSERT_EQUAL(nx_call(self, s, nx_make(self, "{s:s}", "type", "children"), 1000, NULL), 0);      /* it goes on */
}

UNIT(supervisor, one_without_children_answers_and_survives_unknown_messages)
{
    stage_run(empty);
}

static void
refuse(nx_self *self, nx_value args, const char *part)
{
    nx_ref s = { 0 };
    CU_ASSERT_EQUAL(stage_start(self, args, &s), NX_EINIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, part));
    if (strstr(nx_error(self)->text, part) == NULL)
        printf("# expected '%s' in: %s\n", part, nx_error(self)->text);
    CU_ASSERT_STRING_EQUAL(stage_story(), "");
}

static void
bad_arguments(nx_self *self)
{
    const struct stage_child good[] = { { .id = "a" } }, odd[] = { { .id = "a" }, { .id = "b", .restart = "sometimes" } };
    refuse(self, stage_args(self, "all_for_one", 3, 5000, good, 1), "all_for_one");
    refuse(self, stage_args(self, "one_for_one", -1, 5000, good, 1), "maxRestarts");
    refuse(self, stage_args(self, "one_for_one", 1001, 5000, good, 1), "maxRestarts");
    refuse(self, stage_args(self, "one_for_one", 3, 0, good, 1), "withinMs");
    refuse(self, stage_args(self, "one_for_one", 3, 5000, odd, 2), "sometimes");
    refuse(self, nx_make(self, "{s:s,s:[{s:s,s:s,s:s}]}", "name", "x", "children", "label", "a", "behavior", "child", "name", "without scope"), "scope");
    refuse(self, nx_make(self, "{s:s,s:[{s:s,s:s}]}", "name", "x", "children", "label", "a", "behavior", "nobody"), "nobody");
    refuse(self, nx_make(self, "{s:s,s:i}", "name", "x", "children", 7), "children");
    refuse(self, nx_make(self, "i", 7), "");
}

UNIT(supervisor, wrong_arguments_are_refused_with_what_is_wrong_and_nothing_is_started)
{
    stage_run(bad_arguments);
}

static void
left_running(nx_self *self)
{
    const struct stage_child c[] = THREE;
    (void)start(self, "one_for_one", 3, 5000, c, 3);
}

UNIT(supervisor, at_the_end_of_its_worker_children_stop_in_reverse_order_and_none_comes_back)
{
    stage_run(left_running);
    CU_ASSERT_STRING_EQUAL(stage_story(), "-c -b -a");
}
