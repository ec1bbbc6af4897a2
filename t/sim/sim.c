/*
 * sim.c - the simulator of the cluster: many random lives of 2 to 50 nodes in one process, each judged at every step. Prints TAP.
 *
 *   test_sim [--schedules N] [--seed S] [--nodes N] [--verbose]
 *
 * Schedule k of a run is made from the number S + k alone and replays to the byte, so `--seed K --schedules 1 --verbose` shows what schedule K does.
 * With --seed or --nodes only the schedules are run, not the tests of the simulator itself.
 *
 * Lives here: options, the run of all, the tests of the simulator itself.
 * Never here: what a schedule is (plan.c), what it does and what must hold (t/cluster/schedule.h).
 * Runs in: make check.
 */
#include "sim.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"

enum { SCHEDULES = 100000, SANITIZED_LESS = 20, REPLAYED = 40, BROKEN_MAX = 2000 };

struct options { uint64_t schedules, seed; unsigned nodes; bool is_verbose, is_single, is_digest_only; };

/* Written by the child that runs the schedules, read also after its death. */
struct progress { uint64_t seed, done, digest, steps, virtual_ms, links_ms_max; unsigned nodes_max; bool is_wrong; char wrong[300]; };

static struct progress *progress;

/* For jemalloc: what a node's life gives back, the next one takes; no page returns to the kernel meanwhile. */
extern const char *malloc_conf;
const char *malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1,tcache_max:131072";

/* ---------------------------------------------------------------- all schedules */

static void
run_all(const struct options *o)
{
    static struct schedule s;

    for (uint64_t k = 0; k < o->schedules && !progress->is_wrong; k++) {
        struct schedule_result result;
        progress->seed = o->seed + k;
        plan_make(progress->seed, o->nodes, &s);
        schedule_run(&s, o->is_verbose ? stdout : NULL, &result);
        progress->digest = (progress->digest ^ result.digest) * UINT64_C(0x9e3779b97f4a7c15) + 1;
        progress->steps += result.steps;
        progress->virtual_ms += result.virtual_ms;
        if (result.links_ms > progress->links_ms_max)
            progress->links_ms_max = result.links_ms;
        if (s.nodes > progress->nodes_max)
            progress->nodes_max = s.nodes;
        progress->is_wrong = result.is_wrong;
        memcpy(progress->wrong, result.wrong, sizeof progress->wrong);
        progress->done += !result.is_wrong;
    }
}

/* In a child, so that a failed assertion names its schedule too. */
static bool
run_in_child(const struct options *o)
{
    int status;

    memset(progress, 0, sizeof *progress);
    fflush(NULL);
    pid_t child = fork();
    nx_assert(child >= 0);
    if (child == 0) {
        run_all(o);
        fflush(NULL);
        exit(0);                             /* not _exit: leaks are told on the way out */
    }
    nx_assert(waitpid(child, &status, 0) == child);
    if (progress->is_wrong || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return !progress->is_wrong;
    (void)snprintf(progress->wrong, sizeof progress->wrong, "it died of a failed assertion, or worse (status %#x)", (unsigned)status);
    return false;
}

static void
tell_failure(const struct options *o)
{
    static struct schedule s;
    char wrong[300];

    printf("# seed %llu: %s\n# again, with all that happens: --seed %llu --schedules 1%s --verbose\n", (unsigned long long)progress->seed, progress->wrong,
           (unsigned long long)progress->seed, o->nodes != 0 ? " --nodes N" : "");
    plan_make(progress->seed, o->nodes, &s);
    unsigned before = s.count;
    if (!trial_fails(&s, wrong)) {
        printf("# it does not fail again by itself\n");
        return;
    }
    unsigned runs = shrink(&s, wrong);
    printf("# shrunk from %u actions to %u, in %u runs:\n", before, s.count, runs);
    shrink_print(&s, wrong, stdout);
}

static double
seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool
all_hold(const struct options *o)
{
    double begin = seconds();
    bool is_fine = run_in_child(o);
    double took = seconds() - begin;

    if (!is_fine)
        tell_failure(o);
    printf("# digest %016llx, %llu steps, %.1f hours of virtual time in %.1f s, %.0f schedules a second, up to %u nodes, links whole after %llu ms at most\n",
           (unsigned long long)progress->digest, (unsigned long long)progress->steps, (double)progress->virtual_ms / 3.6e6, took,
           (double)progress->done / (took > 0 ? took : 1), progress->nodes_max, (unsigned long long)progress->links_ms_max);
    printf("%sok 1 - sim: %llu schedules hold all invariants (seed %llu)\n", is_fine ? "" : "not ", (unsigned long long)progress->done,
           (unsigned long long)o->seed);
    fflush(stdout);
    return is_fine;
}

/* ---------------------------------------------------------------- the simulator itself */

/* In another process: other addresses, other keys of hash tables. */
static uint64_t
digest_of_another_process(const struct options *o)
{
    char command[200], line[200];
    unsigned long long digest = 0;

    (void)snprintf(command, sizeof command, "/proc/%ld/exe --digest --seed %llu --schedules %d", (long)getpid(), (unsigned long long)o->seed, REPLAYED);
    FILE *from = popen(command, "r");
    if (from == NULL)
        return 0;
    while (fgets(line, sizeof line, from) != NULL)
        (void)sscanf(line, "digest %llx", &digest);
    (void)pclose(from);
    return digest;
}

static bool
replays(const struct options *all)
{
    struct options few = { .seed = all->seed, .schedules = REPLAYED }, other = { .seed = all->seed + REPLAYED, .schedules = REPLAYED };

    bool is_fine = run_in_child(&few);
    uint64_t first = progress->digest;
    is_fine = is_fine && run_in_child(&other) && progress->digest != first;      /* another seed is another run */
    is_fine = is_fine && digest_of_another_process(&few) == first;
    printf("%sok 2 - sim: a seed replays to the byte\n", is_fine ? "" : "not ");
    fflush(stdout);
    return is_fine;
}

static bool
finds_what_is_broken(const struct options *all)
{
    static struct schedule s;
    char wrong[300] = "";
    unsigned tried = 0, before = 0;
    bool is_found = false;

    broken_is_on = true;
    for (; tried < BROKEN_MAX && !is_found; tried++) {
        plan_make(all->seed + tried, 0, &s);
        is_found = trial_fails(&s, wrong);
    }
    if (is_found) {
        before = s.count;
        (void)shrink(&s, wrong);
    }
    broken_is_on = false;
    bool is_fine = is_found && s.count < before && s.count <= 6 && !trial_fails(&s, wrong);      /* with the rule in force it holds */
    printf("# ghosts are not removed: found by schedule %u, shrunk from %u actions to %u\n", tried, before, s.count);
    printf("%sok 3 - sim: a broken rule is found and shrunk\n", is_fine ? "" : "not ");
    fflush(stdout);
    return is_fine;
}

/* ---------------------------------------------------------------- options */

static bool
is_sanitized(void)
{
    const char *kind = getenv("NX_SANITIZE");
    return kind != NULL && kind[0] != '\0' && strcmp(kind, "no") != 0;
}

static void
usage(int code)
{
    fprintf(code == 0 ? stdout : stderr,
            "usage: test_sim [--schedules N] [--seed S] [--nodes N] [--verbose]\n"
            "  --schedules N  how many (%d; with NX_SANITIZE set %d)\n"
            "  --seed S       of the first one (1); the next ones are S + 1, S + 2, ...\n"
            "  --nodes N      1 to %d in each (mostly 2 to 5, seldom more)\n"
            "  --verbose      tell all that happens\n", SCHEDULES, SCHEDULES / SANITIZED_LESS, NET_NODES);
    exit(code);
}

static uint64_t
number(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || n < min || n > max) {
        fprintf(stderr, "test_sim: %s is not a number from %llu to %llu\n", text, (unsigned long long)min, (unsigned long long)max);
        exit(2);
    }
    return n;
}

static void
read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        { "schedules", required_argument, NULL, 'n' }, { "seed", required_argument, NULL, 's' }, { "nodes", required_argument, NULL, 'N' },
        { "verbose", no_argument, NULL, 'v' }, { "digest", no_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'n': o->schedules = number(optarg, 1, UINT64_MAX); break;
        case 's': o->seed = number(optarg, 0, UINT64_MAX); o->is_single = true; break;
        case 'N': o->nodes = (unsigned)number(optarg, 1, NET_NODES); o->is_single = true; break;
        case 'v': o->is_verbose = true; break;
        case 'd': o->is_digest_only = true; break;
        case 'h': usage(0); break;
        default: usage(2);
        }
    }
    if (optind < argc)
        usage(2);
}

int
main(int argc, char **argv)
{
    struct options o = { .schedules = is_sanitized() ? SCHEDULES / SANITIZED_LESS : SCHEDULES, .seed = 1 };

    read_options(argc, argv, &o);
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED)
        return 99;
    log_set_level(o.is_verbose ? LOG_DEBUG : LOG_ERROR);
    if (o.is_digest_only) {
        run_all(&o);
        printf("digest %llx\n", (unsigned long long)progress->digest);
        return progress->is_wrong;
    }
    printf("1..%d\n", o.is_single ? 1 : 3);
    bool is_fine = all_hold(&o);
    if (!o.is_single) {
        is_fine &= replays(&o);
        is_fine &= finds_what_is_broken(&o);
    }
    return is_fine ? 0 : 1;
}
