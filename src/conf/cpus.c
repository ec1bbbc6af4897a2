/*
 * cpus.c - how many workers, and on which CPU each.
 *
 * Lives here: worker_processes, worker_cpu_affinity, link_cpu_affinity; which CPUs this process may use.
 * Never here: pinning.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

/* The CPUs that this process may use, in order. */
struct cpus { int id[CONF_CPUS_MAX]; size_t count; };

static void
ask_cpus(struct cpus *out)
{
    cpu_set_t set;
    out->count = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        CPU_ZERO(&set);                               /* beyond 1024 CPUs: nothing is pinned */
    for (int cpu = 0; cpu < CONF_CPUS_MAX; cpu++)
        if (CPU_ISSET(cpu, &set))
            out->id[out->count++] = cpu;
}

static bool
take_cpu(struct conf_reader *r, const struct conf_entry *e, const char *name, const struct cpus *cpus, int *out)
{
    char shown[CONF_SHOWN];
    uint64_t cpu;
    if (!conf_parse_count(e->value, UINT32_MAX, &cpu)) {
        conf_complain(r, e->file, e->line, "%s: '%s' is not auto, off or the number of a CPU", name, conf_shown(e->value, shown));
        return false;
    }
    for (size_t i = 0; i < cpus->count; i++)
        if ((uint64_t)cpus->id[i] == cpu) {
            *out = (int)cpu;
            return true;
        }
    conf_complain(r, e->file, e->line, "%s: CPU %llu is not among the %zu that this process may use", name, (unsigned long long)cpu,
                  cpus->count);
    return false;
}

static void
take_workers(struct conf_reader *r, struct conf *c, const struct cpus *cpus)
{
    const struct conf_entry *e = conf_entry_of(r->root, "worker_processes");
    uint64_t count = cpus->count > 0 ? cpus->count : 1;
    char shown[CONF_SHOWN];

    c->workers = count < CONF_WORKERS_MAX ? (uint32_t)count : CONF_WORKERS_MAX;
    if (e == NULL || strcmp(e->value, "auto") == 0)
        return;
    if (!conf_parse_count(e->value, CONF_WORKERS_MAX, &count) || count == 0)
        conf_complain(r, e->file, e->line, "worker_processes = '%s' is not auto or a number from 1 to %d", conf_shown(e->value, shown),
                      CONF_WORKERS_MAX);
    else
        c->workers = (uint32_t)count;
}

static void
take_worker_affinity(struct conf_reader *r, struct conf *c, const struct cpus *cpus)
{
    static const char name[] = "worker_cpu_affinity";
    size_t count = conf_entry_count(r->root, name);
    const struct conf_entry *first = conf_entry_of(r->root, name);
    bool is_auto = first == NULL || (count == 1 && strcmp(first->value, "auto") == 0);

    for (size_t i = 0; i < CONF_WORKERS_MAX; i++)
        c->affinity[i] = is_auto && cpus->count > 0 && i < c->workers ? cpus->id[i % cpus->count] : -1;
    if (is_auto || (count == 1 && strcmp(first->value, "off") == 0))
        return;
    if (count != c->workers) {
        conf_complain(r, first->file, first->line, "%s names %zu CPU%s for %u worker%s; name one for each", name, count,
                      count == 1 ? "" : "s", c->workers, c->workers == 1 ? "" : "s");
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (!take_cpu(r, conf_entry_at(r->root, name, i), name, cpus, &c->affinity[i]))
            return;
}

void
conf_build_cpus(struct conf_reader *r, struct conf *c)
{
    static const char name[] = "link_cpu_affinity";
    struct cpus cpus;
    ask_cpus(&cpus);
    take_workers(r, c, &cpus);
    take_worker_affinity(r, c, &cpus);

    /* The last one: worker 0 has the first, which is where interrupts tend to land too. */
    const struct conf_entry *e = conf_entry_of(r->root, name);
    c->link_affinity = cpus.count > 0 ? cpus.id[cpus.count - 1] : -1;
    if (e == NULL || strcmp(e->value, "auto") == 0)
        return;
    c->link_affinity = -1;
    if (strcmp(e->value, "off") != 0)
        (void)take_cpu(r, e, name, &cpus, &c->link_affinity);
}
