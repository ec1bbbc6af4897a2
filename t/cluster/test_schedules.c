/*
 * test_schedules.c - random lives of two to five nodes: names, cuts, deaths, stops, lost messages; then peace. Every event is checked as it comes (net.c);
 * in the end all nodes see each other by one link, all registries are equal, the events tell what the registries hold, and no sync is asked for any
 * more. A seed that fails is printed: net_new(n, seed) replays it to the byte, which is tested too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "net.h"
#include "unit.h"

enum { SCHEDULES = 2000, STEPS = 40 };

static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h" };

static uint32_t
below(struct net *net, uint32_t n)
{
    return (uint32_t)(net_random(net) % n);
}

static int
drop_some(struct net *net, int from, int to, uint8_t kind)
{
    (void)from;
    (void)to;
    return (kind == KIND_REGISTRY_DELTA || kind == KIND_REGISTRY_SYNC) && below(net, 10) == 0;
}

static void
one_request(struct net *net, int i)
{
    const char *name = names[below(net, 8)];
    int scope = below(net, 6) == 0 ? SYS_LOCAL : SYS_GLOBAL;

    switch (below(net, 8)) {
    case 0: case 1: case 2: case 3:
        (void)net_register(net, i, scope, name, 1 + below(net, 12), (int32_t)below(net, 3));
        break;
    case 4: case 5:
        (void)net_unregister(net, i, scope, name);
        break;
    case 6:
        (void)net_server_gone(net, i, 1 + below(net, 12));
        break;
    default: {
        uint16_t slot = (uint16_t)below(net, 4);
        uint32_t generation = board_generation(net->nodes[i].config.board, slot);
        struct cluster_time t = { .now_ns = net->now_ns, .wall_ms = net->wall_ms + net->now_ns / CLOCK_NS_PER_MS };
        net_worker_generation(net, i, slot, generation + 1);
        if (below(net, 2) == 0)
            net_run(net, below(net, 3));
        if (net->nodes[i].is_running && net->nodes[i].cluster != NULL)
            cluster_worker_down(net->nodes[i].cluster, t, slot, generation);
    }
    }
}

static void
one_fault(struct net *net, int i)
{
    int j = (int)below(net, net->count);

    switch (below(net, 9)) {
    case 0: case 1:
        if (j != i)
            net_cut(net, i, j, !net->cut[i][j]);
        break;
    case 2:
        if (j != i)
            net->cut[i][j] = !net->cut[i][j];        /* one way only */
        break;
    case 3:
        net_kill(net, i);
        break;
    case 4:
        net_vanish(net, i);
        break;
    case 5:
        net->nodes[i].is_frozen = !net->nodes[i].is_frozen;
        break;
    case 6:
        net_kill_link(net, i);
        if (below(net, 2) == 0)
            net_run(net, below(net, 100));
        net_respawn_link(net, i);
        break;
    case 7:
        net->drop = net->drop == NULL ? drop_some : NULL;
        break;
    default:
        for (unsigned k = 0; k < net->count; k++)    /* a partition in two */
            for (unsigned m = 0; m < k; m++)
                net_cut(net, (int)k, (int)m, k % 2 != m % 2);
    }
}

static void
make_peace(struct net *net)
{
    memset(net->cut, 0, sizeof net->cut);
    net->drop = NULL;
    for (unsigned i = 0; i < net->count; i++) {
        net->nodes[i].is_frozen = false;
        if (!net->nodes[i].is_running)
            net_start(net, (int)i);
    }
}

static uint64_t
syncs(struct net *net)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < net->count; i++)
        sum += stats_get(net->nodes[i].config.stats, registry_syncs);
    return sum;
}

/* What happened, as a number: two runs of one seed must give the same. */
static uint64_t
fingerprint(struct net *net)
{
    uint64_t print = table_hash(1, &net->numbers, sizeof net->numbers) + net->random;
    for (unsigned i = 0; i < net->count; i++) {
        struct net_node *n = &net->nodes[i];
        uint64_t facts[] = { n->events, n->answers, n->conflicts, net->messages[i], net->dials[i], n->config.incarnation,
                             registry_version(n->config.registry) };
        print = print * 31 + table_hash(i, facts, sizeof facts) + table_hash(i, n->ups, sizeof n->ups) + table_hash(i, n->downs, sizeof n->downs);
    }
    return print;
}

static const char *
live(uint64_t seed, uint64_t *print)
{
    struct net *net = net_new(2 + (unsigned)(seed % 4), seed);
    const char *wrong = NULL;

    net->latency_us = below(net, 5000);
    net->jitter_us = below(net, 20000);
    net->capacity = 64;
    for (unsigned i = 0; i < net->count; i++) {
        net->nodes[i].config.reconnect_max_ms = 4000;
        net->nodes[i].config.gossip_every = 2;
        net->nodes[i].skew_ms = (int64_t)below(net, 2000) - 1000;
        if (i > 0)
            net_seed(net, (int)i, (int)below(net, i));
    }
    for (unsigned i = 0; i < net->count; i++)
        net_start(net, (int)i);
    for (unsigned k = 0; k < STEPS && net->faults == 0; k++) {
        net_run(net, below(net, 4) == 0 ? below(net, 6000) : below(net, 30));
        int i = (int)below(net, net->count);
        if (!net->nodes[i].is_running)
            net_start(net, i);
        else if (below(net, 4) == 0)
            one_fault(net, i);
        else if (!net->nodes[i].is_frozen)
            one_request(net, i);
    }
    make_peace(net);
    if (!net_run_until(net, 40000, net_all_up))
        wrong = "not all see each other by one link";
    net_run(net, 5000);
    uint64_t before = syncs(net);
    net_run(net, 2500);
    if (wrong == NULL && !net_all_up(net))
        wrong = "they do not stay up";
    if (wrong == NULL && !net_equal(net))
        wrong = "registries differ";
    if (wrong == NULL && !net_books_match(net))
        wrong = "events and registry differ";
    if (wrong == NULL && syncs(net) != before)
        wrong = "syncs go on in peace";
    for (unsigned i = 0; wrong == NULL && i < net->count; i++)
        for (unsigned j = 0; j < net->count; j++)
            if (i != j && net->nodes[i].ups[j] < net->nodes[i].downs[j])
                wrong = "more downs than ups";
    if (net->faults > 0)
        wrong = net->fault;
    *print = fingerprint(net);
    net_free(net);
    return wrong;
}

UNIT(schedules, random_lives_end_in_equal_registries_and_one_link_each)
{
    const char *from = getenv("SEED"), *many = getenv("SEEDS");      /* one of them, talkative; or more of them */
    uint64_t first = from != NULL ? strtoull(from, NULL, 10) : 1, print;
    uint64_t last = from != NULL ? first : many != NULL ? strtoull(many, NULL, 10) : SCHEDULES;
    unsigned failed = 0;

    log_set_level(from != NULL ? LOG_DEBUG : LOG_ERROR);
    for (uint64_t seed = first; seed <= last && failed < 5; seed++) {
        const char *wrong = live(seed, &print);
        if (wrong != NULL) {
            printf("# seed %llu: %s\n", (unsigned long long)seed, wrong);
            failed++;
        }
    }
    CU_ASSERT_EQUAL(failed, 0);
    log_set_level(LOG_INFO);
}

UNIT(schedules, a_seed_replays_to_the_same_end)
{
    log_set_level(LOG_ERROR);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t one, two;
        (void)live(seed, &one);
        (void)live(seed, &two);
        CU_ASSERT_EQUAL(one, two);
    }
    log_set_level(LOG_INFO);
}
