/*
 * test_choice.c - two nodes dial each other at once: exactly one link stays, whatever the order of deliveries (row 30).
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net.h"
#include "unit.h"

#define OK(net) do { if ((net)->faults > 0) CU_FAIL((net)->fault); } while (0)

enum { DEPTH = 64, EVERY_ORDER_LIMIT = 40000 };

/* One schedule: at each delivery the number of queues that had something, and which of them went. */
static struct { unsigned path[DEPTH], options[DEPTH], at; } schedule;

static unsigned
follow(struct net *net, unsigned options)
{
    (void)net;
    if (schedule.at >= DEPTH)
        return 0;
    unsigned i = schedule.at++;
    schedule.options[i] = options;
    if (schedule.path[i] >= options)
        schedule.path[i] = options - 1;
    return schedule.path[i];
}

/* The next schedule in depth-first order; false: that was the last. */
static bool
advance(void)
{
    for (unsigned i = schedule.at; i-- > 0;) {
        if (schedule.path[i] + 1 < schedule.options[i]) {
            schedule.path[i]++;
            memset(&schedule.path[i + 1], 0, (DEPTH - i - 1) * sizeof schedule.path[0]);
            return true;
        }
    }
    return false;
}

static bool
is_quiet(struct net *net)
{
    return net_all_up(net);
}

/* Both have just been started and dial at the same moment. */
static void
run_schedule(struct net *net, unsigned (*pick)(struct net *net, unsigned options))
{
    for (int i = 0; i < 2; i++)
        net_kill_link(net, i);
    net->pick = NULL;
    net_run(net, 10);
    for (int i = 0; i < 2; i++) {
        net->nodes[i].ups[1 - i] = net->nodes[i].downs[1 - i] = 0;
        net_respawn_link(net, i);
    }
    bool was_up = net->nodes[0].up[1];
    uint64_t begin_ns = net->now_ns;
    while (net->dials[0] + net->dials[1] < 2 && net_step(net, net->now_ns))
        ;
    net->dials[0] = net->dials[1] = 0;
    net->pick = pick;
    CU_ASSERT(net_run_until(net, 1000, is_quiet));
    net->pick = NULL;
    CU_ASSERT(net->now_ns - begin_ns < CLOCK_NS_PER_S);
    net_run(net, 900);                       /* nothing comes after */
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(net->nodes[i].ups[1 - i], 1);
        CU_ASSERT_EQUAL(net->nodes[i].downs[1 - i], was_up ? 1u : 0u);       /* the predecessor's end, told once */
    }
    CU_ASSERT_EQUAL(net_links(net, 0, 1), 1);
    for (unsigned i = 0; i < net->wire_top; i++)     /* and it is the one that the smaller id has dialled */
        if (net->wires[i]->is_used && net->wires[i]->end[0].is_open)
            CU_ASSERT_EQUAL(net->wires[i]->end[0].node, 0);
}

static struct net *
two(uint64_t seed)
{
    struct net *net = net_new(2, seed);
    net_seed(net, 0, 1);
    net_seed(net, 1, 0);
    net_start(net, 0);
    net_start(net, 1);
    return net;
}

UNIT(choice, row30_every_order_of_deliveries_leaves_exactly_one_link)
{
    struct net *net = two(1);
    unsigned runs = 0;

    log_set_level(LOG_ERROR);
    memset(&schedule, 0, sizeof schedule);
    do {
        schedule.at = 0;
        net->dials[0] = net->dials[1] = 0;
        run_schedule(net, follow);
        runs++;
    } while (net->faults == 0 && CU_get_number_of_failures() == 0 && runs < EVERY_ORDER_LIMIT && advance());
    printf("# orders of deliveries tried: %u\n", runs);
    CU_ASSERT(runs > 500 && runs < EVERY_ORDER_LIMIT);
    OK(net);
    log_set_level(LOG_INFO);
    net_free(net);
}

static bool
both_know(struct net *net)
{
    return net_all_up(net);
}

UNIT(choice, row30_random_latencies_leave_exactly_one_link_and_no_node_down)
{
    log_set_level(LOG_ERROR);
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        struct net *net = net_new(2, seed);
        net->latency_us = (uint32_t)(net_random(net) % 20000);
        net->jitter_us = (uint32_t)(net_random(net) % 60000);
        net_seed(net, 0, 1);
        net_seed(net, 1, 0);
        net_start(net, 0);
        net_run(net, net_random(net) % 30);
        net_start(net, 1);
        bool is_done = net_run_until(net, 2500, both_know);
        net_run(net, 2000);
        if (!is_done || net->faults > 0 || net->nodes[0].ups[1] != 1 || net->nodes[1].ups[0] != 1 || net_links(net, 0, 1) != 1 ||
            net->nodes[0].downs[1] + net->nodes[1].downs[0] != 0) {
            printf("# seed %llu: %s\n", (unsigned long long)seed, net->fault);
            CU_FAIL("see the seed");
        }
        net_free(net);
    }
    log_set_level(LOG_INFO);
}

UNIT(choice, a_dial_into_a_black_hole_does_not_keep_the_other_direction_away)
{
    struct net *net = two(3);
    net_free(net);
    net = net_new(2, 3);
    net_seed(net, 0, 1);
    net_seed(net, 1, 0);
    net_start(net, 0);
    net_start(net, 1);
    /* The smaller one's dial gets no answer: its SYN is lost. */
    net_cut(net, 0, 1, true);
    while (net->dials[0] == 0)
        (void)net_step(net, net->now_ns + CLOCK_NS_PER_S);
    net_cut(net, 0, 1, false);
    CU_ASSERT(net_run_until(net, 1000, net_all_up));
    OK(net);
    net_free(net);
}

UNIT(choice, a_follower_that_lost_its_link_unseen_gets_a_new_one_with_one_down_each)
{
    for (int loser = 0; loser < 2; loser++) {
        struct net *net = two(4);
        CU_ASSERT(net_run_until(net, 1000, net_all_up));
        net_run(net, 2000);
        /* The connection breaks for one side only; the other does not hear of it (no FIN, no RST). */
        net_lose(net, loser, 1 - loser);
        net_run(net, 2300);                  /* a dial's pause and the wait for a sign of life; silence would take 3.5 s */
        CU_ASSERT(net_all_up(net));
        CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
        CU_ASSERT_EQUAL(net->nodes[1].downs[0], 1);
        CU_ASSERT_EQUAL(net->nodes[0].ups[1], 2);
        CU_ASSERT_EQUAL(net->nodes[1].ups[0], 2);
        OK(net);
        net_free(net);
    }
}
