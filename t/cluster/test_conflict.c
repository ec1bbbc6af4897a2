/*
 * test_conflict.c - one name claimed by several nodes: cases G9, G10, torture 76 to 79, row 32.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net.h"
#include "unit.h"

#define OK(net) do { if ((net)->faults > 0) CU_FAIL((net)->fault); } while (0)

static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ z >> 27;
}

static struct cluster_claim
random_claim(uint64_t *state)
{
    static const char *const nodes[] = { "a@h:1", "b@h:1", "a@h:10", "aa@h:1" };
    uint64_t r = next_random(state);
    return (struct cluster_claim){ .registered_at_ms = r % 3, .priority = (int32_t)(r >> 8 & 3) - 1, .node = nodes[r >> 16 & 3],
                                   .incarnation = (r >> 24 & 1) != 0 ? UINT64_MAX : 1, .serial = r >> 32 & 1 };
}

UNIT(conflict, torture77_the_order_of_claims_is_total)
{
    uint64_t state = 7;
    unsigned wrong = 0, ties = 0;
    for (int i = 0; i < 1000000; i++) {
        struct cluster_claim a = random_claim(&state), b = random_claim(&state), c = random_claim(&state);
        int ab = cluster_claim_compare(&a, &b), bc = cluster_claim_compare(&b, &c), ac = cluster_claim_compare(&a, &c);
        bool is_same = a.registered_at_ms == b.registered_at_ms && a.priority == b.priority && strcmp(a.node, b.node) == 0 &&
                       a.incarnation == b.incarnation && a.serial == b.serial;
        wrong += ab != -cluster_claim_compare(&b, &a) || (ab == 0) != is_same || (ab <= 0 && bc <= 0 && ac > 0) || (ab >= 0 && bc >= 0 && ac < 0);
        ties += is_same;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(ties > 0);
}

UNIT(conflict, G9_earlier_then_higher_priority_then_smaller_node_wins)
{
    struct cluster_claim a = { 10, 0, "b@h:1", 5, 5 }, b = { 11, 9, "a@h:1", 1, 1 };
    CU_ASSERT(cluster_claim_compare(&a, &b) < 0);
    b.registered_at_ms = 10;
    CU_ASSERT(cluster_claim_compare(&a, &b) > 0);
    b.priority = 0;
    CU_ASSERT(cluster_claim_compare(&a, &b) > 0);
    a.node = "a@h:1";
    CU_ASSERT(cluster_claim_compare(&a, &b) > 0);
    a.incarnation = 1;
    CU_ASSERT(cluster_claim_compare(&a, &b) > 0);
    a.serial = 1;
    CU_ASSERT(cluster_claim_compare(&a, &b) == 0);
}

static struct net *
mesh(unsigned count, uint64_t seed)
{
    struct net *net = net_new(count, seed);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < i; j++)
            net_seed(net, (int)i, (int)j);
        net->nodes[i].config.reconnect_max_ms = 4000;
    }
    for (unsigned i = 0; i < count; i++)
        net_start(net, (int)i);
    CU_ASSERT(net_run_until(net, 3000, net_all_up));
    net_run(net, 100);
    return net;
}

static void
isolate(struct net *net, int node, bool is_cut)
{
    for (unsigned i = 0; i < net->count; i++)
        if ((int)i != node)
            net_cut(net, node, (int)i, is_cut);
}

static void
end(struct net *net)
{
    net_run(net, 2000);
    CU_ASSERT(net_equal(net));
    CU_ASSERT(net_books_match(net));
    OK(net);
    net_free(net);
    log_set_level(LOG_INFO);
}

UNIT(conflict, G9_after_a_partition_one_winner_and_one_event_on_every_node)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct net *net = mesh(3, seed);
        log_set_level(LOG_ERROR);
        isolate(net, 0, true);
        net_run(net, 6000);
        int first = seed % 2 == 0 ? 0 : 1, second = 1 - first;
        CU_ASSERT_EQUAL(net_register(net, first, SYS_GLOBAL, "n", 3, 0), 0);
        net_run(net, 10);
        CU_ASSERT_EQUAL(net_register(net, second, SYS_GLOBAL, "n", 6, 50), 0);
        net_run(net, 1000);
        isolate(net, 0, false);
        CU_ASSERT(net_run_until(net, 12000, net_all_up));
        net_run(net, 3000);                  /* two heartbeats and a second */
        for (int i = 0; i < 3; i++) {
            CU_ASSERT_EQUAL(net_owner(net, i, "n"), first);
            CU_ASSERT_EQUAL(net->nodes[i].conflicts, 1);
            CU_ASSERT_EQUAL(stats_get(net->nodes[i].config.stats, registry_conflicts), 1);
            CU_ASSERT_EQUAL(net->nodes[i].lost, i == second ? 1u : 0u);      /* G10 */
        }
        CU_ASSERT_EQUAL(net->nodes[second].last_lost_serial, 6);
        end(net);
    }
}

UNIT(conflict, row32_hundreds_of_names_on_both_sides_in_several_pages_each_told_once)
{
    struct net *net = net_new(4, 8);
    char name[256];
    net->capacity = 1024;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < i; j++)
            net_seed(net, i, j);
        net->nodes[i].config.reconnect_max_ms = 4000;
        net_start(net, i);
    }
    CU_ASSERT(net_run_until(net, 3000, net_all_up));
    log_set_level(LOG_ERROR);
    for (int i = 2; i < 4; i++) {
        net_cut(net, 0, i, true);
        net_cut(net, 1, i, true);
    }
    net_run(net, 6000);
    memset(name, 'x', sizeof name);
    name[255] = '\0';
    for (unsigned i = 0; i < 480; i++) {
        (void)snprintf(name, 8, "%06u", i);
        name[6] = 'x';
        CU_ASSERT_EQUAL(net_register(net, i % 2 == 0 ? 0 : 2, SYS_GLOBAL, name, 3, 0), 0);
        net_run(net, 2);
        CU_ASSERT_EQUAL(net_register(net, i % 2 == 0 ? 3 : 1, SYS_GLOBAL, name, 4, 0), 0);
    }
    for (int i = 2; i < 4; i++) {
        net_cut(net, 0, i, false);
        net_cut(net, 1, i, false);
    }
    CU_ASSERT(net_run_until(net, 12000, net_all_up));
    net_run(net, 3000);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(net->nodes[i].conflicts, 480);
    CU_ASSERT_EQUAL(net->nodes[3].lost, 240);
    CU_ASSERT_EQUAL(net->nodes[1].lost, 240);
    CU_ASSERT_EQUAL(net->nodes[0].lost + net->nodes[2].lost, 0);
    end(net);
}

UNIT(conflict, torture76_the_same_name_on_all_nodes_in_the_same_millisecond)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct net *net = mesh(2 + (unsigned)(seed % 4), seed);
        unsigned count = net->count, lost = 0, winner = 0;
        log_set_level(LOG_ERROR);
        for (unsigned i = 0; i < count; i++) {
            CU_ASSERT_EQUAL(net_register(net, (int)i, SYS_GLOBAL, "n", 4, i == seed % count ? 9 : 1), 0);
            winner = i == seed % count ? i : winner;
        }
        net_run(net, 200);
        for (unsigned i = 0; i < count; i++) {
            CU_ASSERT_EQUAL(net_owner(net, (int)i, "n"), (int)winner);
            CU_ASSERT_EQUAL(net->nodes[i].conflicts, count - 1);
            lost += net->nodes[i].lost;
        }
        CU_ASSERT_EQUAL(lost, count - 1);
        CU_ASSERT_EQUAL(net->nodes[winner].lost, 0);
        end(net);
    }
}

/* The third node knows both claims; the winner's node dies before the loser's withdrawal has come. */
UNIT(conflict, torture78_the_loser_is_not_resurrected_when_the_winners_node_dies)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct net *net = mesh(3, seed);
        log_set_level(LOG_ERROR);
        CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "n", 4, 9), 0);
        CU_ASSERT_EQUAL(net_register(net, 1, SYS_GLOBAL, "n", 4, 1), 0);
        for (unsigned k = (unsigned)(seed % 8); k > 0; k--)
            (void)net_step(net, net->now_ns + CLOCK_NS_PER_MS);
        net_kill(net, 0);
        net_run(net, 200);
        /* The loser heard of the winner, or it is still the rightful holder; either way both see the same. */
        int owner = net_owner(net, 1, "n");
        CU_ASSERT_EQUAL(owner, net->nodes[1].lost == 1 ? -1 : 1);
        CU_ASSERT_EQUAL(net_owner(net, 2, "n"), owner);
        CU_ASSERT_EQUAL(net_register(net, 2, SYS_GLOBAL, "n", 4, 0), owner < 0 ? 0 : NX_ECONFLICT);
        end(net);
    }
}

UNIT(conflict, a_loser_that_never_met_the_winner_keeps_its_name_when_that_is_gone)
{
    struct net *net = mesh(3, 5);
    log_set_level(LOG_ERROR);
    net_cut(net, 0, 1, true);                /* 2 sees both, they do not see each other */
    net_run(net, 6000);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "n", 4, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 1, SYS_GLOBAL, "n", 4, 0), 0);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_owner(net, 2, "n"), 0);
    CU_ASSERT_EQUAL(net_owner(net, 1, "n"), 1);
    CU_ASSERT_EQUAL(net->nodes[2].conflicts, 1);
    net_cut(net, 1, 2, true);                /* the loser goes and returns with its claim: the same conflict, told already */
    net_run(net, 5000);
    net_cut(net, 1, 2, false);
    net_run(net, 9000);
    CU_ASSERT_EQUAL(net->nodes[2].ups[1], 2);
    CU_ASSERT_EQUAL(net->nodes[2].conflicts, 1);
    CU_ASSERT_EQUAL(net_owner(net, 2, "n"), 0);
    net_kill(net, 0);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_owner(net, 2, "n"), 1);
    CU_ASSERT_EQUAL(net->nodes[1].lost, 0);
    end(net);
}

UNIT(conflict, torture79_a_removal_takes_only_its_own_claim)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct net *net = mesh(3, seed);
        log_set_level(LOG_ERROR);
        CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "n", 4, 0), 0);
        net_run(net, 100);
        CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, "n"), 0);
        bool is_taken = false;               /* another takes the name as soon as it can */
        while (!is_taken && net_step(net, net->now_ns + CLOCK_NS_PER_S))
            is_taken = net_register(net, 1, SYS_GLOBAL, "n", 8, 0) == 0;
        CU_ASSERT(is_taken);
        if (seed % 2 == 0)
            CU_ASSERT(net_register(net, 0, SYS_GLOBAL, "n", 12, 0) != NX_EINVAL);
        net_run(net, 200);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_EQUAL(net_owner(net, i, "n"), net_owner(net, 0, "n"));
        CU_ASSERT(net_owner(net, 0, "n") >= 0);
        end(net);
    }
}
