/*
 * test_membership.c - who sees whom, when, and why not: cases M2 to M11 and row 26.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net.h"
#include "unit.h"

#define OK(net) do { if ((net)->faults > 0) CU_FAIL((net)->fault); } while (0)

UNIT(membership, M2_unreachable_seeds_are_dialed_for_ever_with_doubling_pauses)
{
    struct net *net = net_new(2, 1);
    net_seed(net, 0, 1);
    net_start(net, 0);
    net_run(net, 1000);
    CU_ASSERT(net->dials[0] >= 1 && net->dials[0] <= 2);
    net_run(net, 14000);                     /* after 1, 3, 7, 15 s, +- 20 % */
    CU_ASSERT(net->dials[0] >= 4 && net->dials[0] <= 6);
    uint64_t before = net->dials[0];
    net_run(net, 600000);                    /* then every 30 s */
    CU_ASSERT(net->dials[0] - before >= 600 / 36 && net->dials[0] - before <= 600 / 24 + 2);
    struct nodes_entry e = net_entry(net, 0, 1);
    CU_ASSERT_EQUAL(e.state, NODES_DOWN);
    CU_ASSERT_EQUAL(e.reason, NODES_CONNECTION_REFUSED);
    net_start(net, 1);
    CU_ASSERT(net_run_until(net, 37000, net_all_up));
    OK(net);
    net_free(net);
}

UNIT(membership, M3_itself_among_the_seeds_is_ignored)
{
    struct net *net = net_new(2, 2);
    net_seed(net, 0, 0);
    net_seed(net, 0, 1);
    net_start(net, 0);
    net_start(net, 1);
    net_run(net, 3000);
    CU_ASSERT(net_all_up(net));
    CU_ASSERT_EQUAL(nodes_count(net->nodes[0].config.nodes), 2);
    OK(net);
    net_free(net);
}

static struct node_id
add_alias(struct net *net, int node, const char *text)
{
    struct node_id id;
    struct base_error why;
    CU_ASSERT_FATAL(node_id_parse(text, strlen(text), &id, &why) == 0);
    (void)strcpy(net->alias, text);
    net->alias_node = node;
    return id;
}

UNIT(membership, M3_itself_by_another_address_is_found_out_and_left_alone)
{
    struct net *net = net_new(2, 3);
    struct node_id other = add_alias(net, 0, "me@localhost:4369");
    net_seed(net, 0, 1);
    ((struct node_id *)(uintptr_t)net->nodes[0].config.seeds)[0] = other;
    net_start(net, 0);
    net_run(net, 250000);
    CU_ASSERT_EQUAL(net->dials[0], 1);
    CU_ASSERT_EQUAL(net->nodes[0].ups[0] + net->nodes[0].ups[1], 0);
    OK(net);
    net_free(net);
}

UNIT(membership, M3_one_node_reached_by_two_addresses_is_one_node)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct net *net = net_new(2, seed);
        struct node_id other = add_alias(net, 1, "other@localhost:4370");
        net_seed(net, 0, 1);
        net_seed(net, 0, 1);
        ((struct node_id *)(uintptr_t)net->nodes[0].config.seeds)[1] = other;
        if (seed % 2 == 0)
            net_seed(net, 1, 0);
        net_start(net, 0);
        net_start(net, 1);
        CU_ASSERT(net_run_until(net, 1000, net_all_up));
        net_run(net, 70000);
        CU_ASSERT(net_all_up(net));
        CU_ASSERT_EQUAL(net->nodes[0].ups[1], 1);
        CU_ASSERT_EQUAL(net->nodes[1].ups[0], 1);
        CU_ASSERT(net->dials[0] <= 2);
        OK(net);
        net_free(net);
    }
}

UNIT(membership, M4_a_chain_of_seeds_becomes_a_mesh_within_two_heartbeats)
{
    struct net *net = net_new(3, 4);
    net_seed(net, 1, 0);
    net_seed(net, 2, 1);
    for (int i = 0; i < 3; i++)
        net_start(net, i);
    CU_ASSERT(net_run_until(net, 2000, net_all_up));
    OK(net);
    net_free(net);

    net = net_new(5, 5);
    for (int i = 1; i < 5; i++)
        net_seed(net, i, i - 1);
    for (int i = 4; i >= 0; i--) {           /* the last first: each finds its seed absent and tries again */
        net_start(net, i);
        net_run(net, 300);
    }
    CU_ASSERT(net_run_until(net, 6000, net_all_up));
    OK(net);
    net_free(net);
}

/* Only one of the two can dial (the other is behind a firewall): it is told by a third within two heartbeats. */
UNIT(membership, M4_news_of_a_node_reach_those_that_it_cannot_dial)
{
    struct net *net = net_new(3, 21);
    net_seed(net, 0, 1);
    net_seed(net, 2, 1);
    net->is_refusing[0] = true;
    net_start(net, 0);
    net_start(net, 1);
    net_run(net, 1300);
    net_start(net, 2);
    CU_ASSERT(net_run_until(net, 2000, net_all_up));
    OK(net);
    net_free(net);
}

static struct net *
pair(uint64_t seed)
{
    struct net *net = net_new(2, seed);
    net_seed(net, 0, 1);
    net_seed(net, 1, 0);
    net_start(net, 0);
    net_start(net, 1);
    CU_ASSERT(net_run_until(net, 1000, net_all_up));
    return net;
}

UNIT(membership, M5_the_node_table_tells_all_about_a_node_that_is_up)
{
    struct net *net = pair(6);
    net->nodes[1].servers = 42;
    net_run(net, 10000);
    struct nodes_entry e = net_entry(net, 0, 1);
    uint64_t wall = net->wall_ms + net->now_ns / CLOCK_NS_PER_MS;
    CU_ASSERT_STRING_EQUAL(e.id.text, "app2@127.0.0.1:4370");
    CU_ASSERT_STRING_EQUAL(e.id.host, "127.0.0.1");
    CU_ASSERT_EQUAL(e.id.port, 4370);
    CU_ASSERT_EQUAL(e.state, NODES_UP);
    CU_ASSERT_EQUAL(e.reason, NODES_REASON_NONE);
    CU_ASSERT_EQUAL(e.incarnation, net->nodes[1].config.incarnation);
    CU_ASSERT_EQUAL(e.servers, 42);
    CU_ASSERT(e.uptime_ms > 8000 && e.uptime_ms <= 11000);
    CU_ASSERT(e.last_heartbeat_ms + 1500 > wall && e.last_heartbeat_ms <= wall);
    CU_ASSERT(e.up_since_ms + 11000 > wall && e.up_since_ms + 9000 < wall);
    OK(net);
    net_free(net);
}

UNIT(membership, M6_a_killed_node_is_down_at_once_with_connection_closed)
{
    struct net *net = pair(7);
    net_run(net, 5000);
    net_kill(net, 1);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
    CU_ASSERT_EQUAL(net->nodes[0].reason[1], NODES_CONNECTION_CLOSED);
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net_entry(net, 0, 1).reason, NODES_CONNECTION_REFUSED);
    CU_ASSERT_EQUAL(net_entry(net, 0, 1).session, 1);
    OK(net);
    net_free(net);
}

UNIT(membership, M6_silence_is_a_heartbeat_timeout_in_its_time)
{
    struct net *net = pair(8);
    net_run(net, 5000);
    net_cut(net, 0, 1, true);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1] + net->nodes[1].downs[0], 0);
    net_run(net, 2100);                      /* 3 intervals and one more, and 100 ms */
    CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
    CU_ASSERT_EQUAL(net->nodes[0].reason[1], NODES_HEARTBEAT_TIMEOUT);
    CU_ASSERT_EQUAL(net->nodes[1].reason[0], NODES_HEARTBEAT_TIMEOUT);
    net_cut(net, 0, 1, false);
    CU_ASSERT(net_run_until(net, 10000, net_all_up));
    CU_ASSERT_EQUAL(net->nodes[0].ups[1], 2);
    OK(net);
    net_free(net);
}

UNIT(membership, M6_an_orderly_stop_is_a_graceful_shutdown)
{
    struct net *net = pair(9);
    net_run(net, 5000);
    net_leave(net, 1);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
    CU_ASSERT_EQUAL(net->nodes[0].reason[1], NODES_GRACEFUL_SHUTDOWN);
    OK(net);
    net_free(net);
}

UNIT(membership, M7_a_new_life_of_a_node_replaces_the_old_one_once)
{
    for (int who = 0; who < 2; who++) {      /* the one with the smaller id, the one with the larger */
        for (int is_silent = 0; is_silent < 2; is_silent++) {
            int stays = 1 - who;
            struct net *net = pair(10);
            net_run(net, 5000);
            uint64_t old = net->nodes[who].config.incarnation;
            if (is_silent)
                net_vanish(net, who);        /* its end is not heard of: only the new proof tells */
            else
                net_kill(net, who);
            net_start(net, who);
            CU_ASSERT(net_run_until(net, 5000, net_all_up));
            CU_ASSERT_EQUAL(net->nodes[stays].downs[who], 1);
            CU_ASSERT_EQUAL(net->nodes[stays].ups[who], 2);
            CU_ASSERT_NOT_EQUAL(net_entry(net, stays, who).incarnation, old);
            CU_ASSERT_EQUAL(net_entry(net, stays, who).session, 1);
            OK(net);
            net_free(net);
        }
    }
}

UNIT(membership, M8_traffic_is_life_and_replaces_light_heartbeats_but_not_full_ones)
{
    struct net *net = pair(11);
    net_run(net, 2000);
    struct net_node *a = &net->nodes[0], *b = &net->nodes[1];
    uint64_t conn_a = 0, conn_b = 0;
    for (unsigned i = 0; i < net->wire_top; i++) {
        for (int side = 0; net->wires[i]->is_used && side < 2; side++) {
            if (net->wires[i]->end[side].node == 0)
                conn_a = net->wires[i]->end[side].number;
            else
                conn_b = net->wires[i]->end[side].number;
        }
    }
    uint64_t before = net->messages[0];
    for (int i = 0; i < 200; i++) {          /* 20 s of traffic, a frame each 100 ms */
        struct cluster_time t = { .now_ns = net->now_ns, .wall_ms = net->wall_ms + net->now_ns / CLOCK_NS_PER_MS };
        cluster_sent(a->cluster, t, conn_a);
        cluster_alive(b->cluster, t, conn_b);
        net_run(net, 100);
    }
    CU_ASSERT(net->messages[0] - before >= 4 && net->messages[0] - before <= 5);
    CU_ASSERT_EQUAL(b->downs[0], 0);
    before = net->messages[0];
    net_run(net, 20000);
    CU_ASSERT(net->messages[0] - before >= 19);
    OK(net);
    net_free(net);
}

UNIT(membership, row26_a_node_whose_own_loop_was_stopped_declares_nobody_down)
{
    struct net *net = pair(12);
    net_run(net, 5000);
    net_freeze(net, 0, true);          /* less than the limit: the other keeps it */
    net_run(net, 2400);
    net_freeze(net, 0, false);
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1] + net->nodes[1].downs[0], 0);
    net_cut(net, 0, 1, true);                /* stopped, and nothing to read at once when it wakes: still an interval of grace */
    net_freeze(net, 0, true);
    net_run(net, 3300);
    net_freeze(net, 0, false);
    net_run(net, 500);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1], 0);
    net_run(net, 3500);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
    OK(net);
    net_free(net);
}

UNIT(membership, M10_a_wrong_secret_gives_no_link_and_one_try_per_back_off)
{
    struct net *net = net_new(2, 13);
    net_seed(net, 0, 1);
    net->nodes[0].config.secrets[0].key[0] ^= 1;
    net_start(net, 0);
    net_start(net, 1);
    net_run(net, 30000);
    CU_ASSERT_EQUAL(net->nodes[0].proved_count + net->nodes[1].proved_count, 0);
    CU_ASSERT(net->dials[0] >= 4 && net->dials[0] <= 7);
    CU_ASSERT_EQUAL(net_entry(net, 0, 1).reason, NODES_CONNECTION_REFUSED);
    CU_ASSERT_EQUAL(nodes_count(net->nodes[1].config.nodes), 1);             /* a name that was not proved is not remembered */
    OK(net);
    net_free(net);
}

UNIT(membership, M11_all_nodes_are_listed_the_dead_and_the_never_seen_too)
{
    struct net *net = net_new(4, 14);
    for (int i = 1; i < 4; i++)
        net_seed(net, 0, i);
    net_start(net, 0);
    net_start(net, 1);
    net_start(net, 2);
    net_run(net, 8000);
    net_kill(net, 2);
    net_run(net, 100);
    CU_ASSERT_EQUAL(nodes_count(net->nodes[0].config.nodes), 4);
    CU_ASSERT_EQUAL(net_entry(net, 0, 0).state, NODES_UP);
    CU_ASSERT_EQUAL(net_entry(net, 0, 1).state, NODES_UP);
    CU_ASSERT_EQUAL(net_entry(net, 0, 2).state, NODES_DOWN);
    CU_ASSERT_EQUAL(net_entry(net, 0, 3).state, NODES_DOWN);
    CU_ASSERT_EQUAL(net_entry(net, 0, 3).incarnation, 0);
    CU_ASSERT(net_entry(net, 0, 0).uptime_ms > 5000);
    OK(net);
    net_free(net);
}

UNIT(membership, torture16_a_clock_ten_years_off_still_gives_a_link)
{
    struct net *net = net_new(2, 15);
    net_seed(net, 0, 1);
    net->nodes[1].skew_ms = INT64_C(10) * 365 * 86400 * 1000;
    net_start(net, 0);
    net_start(net, 1);
    CU_ASSERT(net_run_until(net, 1000, net_all_up));
    OK(net);
    net_free(net);
}

UNIT(membership, torture67_a_cut_in_one_direction_is_down_on_both_sides)
{
    for (int from = 0; from < 2; from++) {
        struct net *net = pair(16);
        net_run(net, 5000);
        net_cut_way(net, from, 1 - from, true);
        net_run(net, 9000);
        CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
        CU_ASSERT_EQUAL(net->nodes[1].downs[0], 1);
        net_cut_way(net, from, 1 - from, false);
        CU_ASSERT(net_run_until(net, 40000, net_all_up));
        OK(net);
        net_free(net);
    }
}

UNIT(membership, row29_a_link_worker_that_died_comes_back_with_its_node_known_and_own_names_kept)
{
    struct net *net = pair(17);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "mine", 5, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_LOCAL, "here", 5, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "dying", 6, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 1, SYS_GLOBAL, "theirs", 9, 0), 0);
    net_run(net, 100);
    CU_ASSERT(net_equal(net));
    net_kill_link(net, 0);
    net_worker_generation(net, 0, 2, 2);     /* a worker died while nobody was there to hear of it */
    struct registry_entry e;
    CU_ASSERT(net_find(net, 0, SYS_GLOBAL, "theirs", &e));       /* lookups go on unharmed */
    net_run(net, 50);
    CU_ASSERT_EQUAL(net->nodes[1].downs[0], 1);
    net_respawn_link(net, 0);
    CU_ASSERT(!net_find(net, 0, SYS_GLOBAL, "theirs", &e));      /* its session is over */
    CU_ASSERT_EQUAL(net_entry(net, 0, 1).session, 1);
    CU_ASSERT(net_run_until(net, 200, net_all_up));              /* dialled at once, not after a back-off */
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
    CU_ASSERT_EQUAL(net->nodes[0].ups[1], 2);
    CU_ASSERT(net_find(net, 0, SYS_GLOBAL, "theirs", &e));
    CU_ASSERT(net_find(net, 0, SYS_LOCAL, "here", &e));
    CU_ASSERT(net_find(net, 1, SYS_GLOBAL, "mine", &e));
    CU_ASSERT(!net_find(net, 1, SYS_GLOBAL, "dying", &e));
    CU_ASSERT(net_equal(net));
    CU_ASSERT(net_books_match(net));
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "more", 9, 0), 0);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_owner(net, 1, "more"), 0);
    OK(net);
    net_free(net);
}
