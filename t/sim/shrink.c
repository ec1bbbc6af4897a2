/*
 * shrink.c - a failing schedule made short, and printed as a test.
 *
 * Lives here: runs in a child, the leaving out of halves, quarters, single actions, then of time, nodes and values.
 * Never here: why it fails.
 * Runs in: the simulator.
 */
#include "sim.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

enum { RUNS_MAX = 4000 };

/* ---------------------------------------------------------------- one run */

bool
trial_fails(const struct schedule *s, char wrong[static 300])
{
    static struct schedule_result *shared;

    if (shared == NULL) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        nx_assert(shared != MAP_FAILED);
    }
    shared->is_wrong = true;
    (void)snprintf(shared->wrong, sizeof shared->wrong, "it died of a failed assertion, or worse");
    fflush(NULL);
    pid_t child = fork();
    nx_assert(child >= 0);
    if (child == 0) {
        struct schedule_result result;
        (void)dup2(STDOUT_FILENO, STDERR_FILENO);
        schedule_run(s, NULL, &result);
        *shared = result;
        _exit(0);
    }
    int status;
    nx_assert(waitpid(child, &status, 0) == child);
    if (shared->is_wrong)
        memcpy(wrong, shared->wrong, sizeof shared->wrong);
    return shared->is_wrong;
}

/* ---------------------------------------------------------------- shorter */

struct effort { unsigned runs; char *wrong; };

/* Take the change if it still fails. */
static bool
try(struct schedule *s, const struct schedule *changed, struct effort *e)
{
    if (e->runs >= RUNS_MAX)
        return false;
    e->runs++;
    if (!trial_fails(changed, e->wrong))
        return false;
    *s = *changed;
    return true;
}

static void
leave_out(struct schedule *s, unsigned at, unsigned count, bool keeps_time)
{
    uint64_t us = 0;

    for (unsigned i = at; i < at + count; i++)
        us += s->actions[i].after_us;
    memmove(&s->actions[at], &s->actions[at + count], (s->count - at - count) * sizeof s->actions[0]);
    s->count -= count;
    if (keeps_time && at < s->count && us + s->actions[at].after_us <= UINT32_MAX)
        s->actions[at].after_us += (uint32_t)us;
}

static bool
leave_out_some(struct schedule *s, unsigned count, struct effort *e)
{
    bool any = false;

    for (unsigned at = 0; at + count <= s->count;) {
        struct schedule less = *s, less_in_time = *s;
        leave_out(&less, at, count, false);
        leave_out(&less_in_time, at, count, true);
        if (try(s, &less, e) || try(s, &less_in_time, e))
            any = true;
        else
            at++;
    }
    return any;
}

static void
fewer_actions(struct schedule *s, struct effort *e)
{
    for (unsigned count = s->count / 2; count > 1; count /= 2)
        (void)leave_out_some(s, count, e);
    while (leave_out_some(s, 1, e))
        ;
}

static void
fewer_nodes(struct schedule *s, struct effort *e)
{
    for (bool any = true; any && s->nodes > 1;) {
        struct schedule less = *s;
        less.nodes--;
        any = try(s, &less, e);
    }
}

/* Rounder figures are easier to read, and often enough. */
static bool
simpler_action(struct schedule *s, unsigned i, struct effort *e)
{
    static const uint32_t pauses[] = { 0, 1000, 100000, 1000000, 5000000 };
    bool any = false;

    for (size_t k = 0; k < BASE_COUNT(pauses) && pauses[k] < s->actions[i].after_us; k++) {
        struct schedule simpler = *s;
        simpler.actions[i].after_us = pauses[k];
        if (try(s, &simpler, e)) {
            any = true;
            break;
        }
    }
    if (s->actions[i].value != 0) {
        struct schedule simpler = *s;
        simpler.actions[i].value = 0;
        any |= try(s, &simpler, e);
    }
    return any;
}

static void
simpler(struct schedule *s, struct effort *e)
{
    struct schedule calm = *s;

    calm.jitter_us = 0;
    (void)try(s, &calm, e);
    calm = *s;
    calm.latency_us = 1000;
    (void)try(s, &calm, e);
    calm = *s;
    calm.skew_ms = 0;
    (void)try(s, &calm, e);
    for (unsigned i = 0; i < s->count; i++)
        (void)simpler_action(s, i, e);
}

unsigned
shrink(struct schedule *s, char wrong[static 300])
{
    struct effort e = { .wrong = wrong };
    unsigned before;

    do {
        before = s->count + s->nodes;
        fewer_actions(s, &e);
        fewer_nodes(s, &e);
        simpler(s, &e);
    } while (s->count + s->nodes < before);
    /* The last trial may have been one that did not fail: the text is that of what is left. */
    (void)trial_fails(s, wrong);
    return e.runs;
}

/* ---------------------------------------------------------------- as a test */

static void
print_action(const struct schedule_action *a, FILE *out)
{
    fprintf(out, "        { .after_us = %u, .what = SCHEDULE_%s, .node = %u, .other = %u, .name = %u, .server = %u, .value = %d },\n", a->after_us,
            schedule_what_name(a->what), a->node, a->other, a->name, a->server, a->value);
}

void
shrink_print(const struct schedule *s, const char *wrong, FILE *out)
{
    fprintf(out, "/* %s */\nUNIT(schedules, what_was_wrong)\n{\n", wrong);
    fprintf(out, "    static const struct schedule s = { .seed = %lluu, .nodes = %u, .latency_us = %u, .jitter_us = %u, .skew_ms = %u, .count = %u, .actions = {\n",
            (unsigned long long)s->seed, s->nodes, s->latency_us, s->jitter_us, s->skew_ms, s->count);
    for (unsigned i = 0; i < s->count; i++)
        print_action(&s->actions[i], out);
    fprintf(out, "    } };\n    RUN(s);\n}\n");
}
