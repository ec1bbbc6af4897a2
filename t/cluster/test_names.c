/*
 * test_names.c - the global registry as processes and peers see it: cases G1 to G12, R1 to R3, torture 41, 59, 79, 80, 82.
 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "net.h"
#include "unit.h"

#define OK(net) do { if ((net)->faults > 0) CU_FAIL((net)->fault); } while (0)

static struct net *
mesh(unsigned count, uint64_t seed)
{
    struct net *net = net_new(count, seed);
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            net_seed(net, (int)i, (int)j);
    for (unsigned i = 0; i < count; i++)
        net_start(net, (int)i);
    CU_ASSERT(net_run_until(net, 3000, net_all_up));
    net_run(net, 100);
    return net;
}

static void
end(struct net *net)
{
    CU_ASSERT(net_books_match(net));
    OK(net);
    net_free(net);
}

UNIT(names, G1_a_registration_is_seen_here_at_once_and_everywhere_within_100_ms)
{
    struct net *net = mesh(3, 1);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "counter", 42, 3), 0);
    CU_ASSERT_EQUAL(net_owner(net, 0, "counter"), 0);
    net_run(net, 100);
    for (int i = 0; i < 3; i++) {
        struct registry_entry e;
        CU_ASSERT(net_find(net, i, SYS_GLOBAL, "counter", &e));
        CU_ASSERT_EQUAL(e.serial, 42);
        CU_ASSERT_EQUAL(e.priority, 3);
        CU_ASSERT_EQUAL(e.incarnation, net->nodes[0].config.incarnation);
        CU_ASSERT_EQUAL(net->nodes[i].registered, 1);
    }
    end(net);
}

UNIT(names, G1_the_order_is_commit_events_delta_answer)
{
    struct net *net = mesh(2, 2);
    net->nodes[0].order_len = 0;
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "a", 1, 0), 0);
    CU_ASSERT_STRING_EQUAL(net->nodes[0].order, "teda");
    net->nodes[0].order_len = 0;
    CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, "a"), 0);
    CU_ASSERT_STRING_EQUAL(net->nodes[0].order, "eda");
    end(net);
}

UNIT(names, G1_a_peer_may_ask_for_a_server_of_this_node_and_no_other)
{
    struct net *net = mesh(2, 3);
    struct wire_ref foreign = net_ref(net, 1, 2, 9), gone = net_ref(net, 0, 2, 9), earlier = net_ref(net, 0, 2, 9);
    CU_ASSERT_EQUAL(net_register_ref(net, 0, SYS_GLOBAL, "x", &foreign, 0), NX_EINVAL);
    CU_ASSERT(strstr(net->nodes[0].last_error.text, "another node") != NULL);
    gone.generation++;
    CU_ASSERT_EQUAL(net_register_ref(net, 0, SYS_GLOBAL, "x", &gone, 0), NX_ENOSERVER);
    earlier.incarnation++;
    CU_ASSERT_EQUAL(net_register_ref(net, 0, SYS_GLOBAL, "x", &earlier, 0), NX_ENOSERVER);
    CU_ASSERT_EQUAL(net_owner(net, 0, "x"), -1);
    end(net);
}

/* From the peer's connection, as kind 17 and 18. */
static int
ask_as_peer(struct net *net, int node, uint8_t kind, const struct buf *body)
{
    struct net_node *n = &net->nodes[node];
    uint64_t number = net_end_of(net, node)->number;
    struct envelope e = { .kind = kind, .body_len = (uint32_t)buf_len(body), .slot = SLOT_LINK, .call_id = UINT64_C(3) << 48 | 77 };
    struct cluster_time t = { .now_ns = net->now_ns, .wall_ms = net->wall_ms + net->now_ns / CLOCK_NS_PER_MS };
    n->last_kind = 0;
    int err = cluster_message(n->cluster, t, number, &e, buf_data(body));
    if (err != 0)
        return err;
    if (kind != KIND_REGISTER && kind != KIND_UNREGISTER)
        return 0;
    CU_ASSERT_EQUAL(n->last_call, e.call_id);
    return n->last_kind == KIND_REPLY ? 0 : n->last_error.code;
}

UNIT(names, G1_a_registration_asked_for_by_a_peer_is_answered_after_the_commit)
{
    struct net *net = mesh(2, 4);
    struct sys_register r = { .name = { "for-you", 7 }, .scope = SYS_GLOBAL, .ref = net_ref(net, 0, 1, 5) };
    struct buf body;
    buf_init(&body, 0);
    CU_ASSERT_EQUAL(sys_register_encode(&r, &body), 0);
    CU_ASSERT_EQUAL(ask_as_peer(net, 0, KIND_REGISTER, &body), 0);
    CU_ASSERT_EQUAL(net_owner(net, 0, "for-you"), 0);
    buf_clear(&body);
    r.scope = SYS_LOCAL;
    CU_ASSERT_EQUAL(sys_register_encode(&r, &body), 0);
    CU_ASSERT_EQUAL(ask_as_peer(net, 0, KIND_REGISTER, &body), NX_EINVAL);
    buf_clear(&body);
    CU_ASSERT_EQUAL(buf_put(&body, "\xc1", 1), 0);
    CU_ASSERT_EQUAL(ask_as_peer(net, 0, KIND_REGISTER, &body), NX_EBADMSG);  /* typed, to the caller: the link stays */
    CU_ASSERT(net_all_up(net));
    buf_fini(&body);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_owner(net, 1, "for-you"), 0);
    end(net);
}

UNIT(names, G2_a_taken_name_is_a_conflict_with_its_owner_and_the_same_again_is_fine)
{
    struct net *net = mesh(2, 5);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "one", 4, 0), 0);
    net_run(net, 100);
    unsigned events = net->nodes[0].events;
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "one", 4, 0), 0);
    CU_ASSERT_EQUAL(net->nodes[0].events, events);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "one", 8, 0), NX_ECONFLICT);
    CU_ASSERT_STRING_EQUAL(net->nodes[0].last_error.subject, net->nodes[0].id.text);
    CU_ASSERT_EQUAL(net_register(net, 1, SYS_GLOBAL, "one", 4, 0), NX_ECONFLICT);
    CU_ASSERT_STRING_EQUAL(net->nodes[1].last_error.subject, net->nodes[0].id.text);
    CU_ASSERT(strstr(net->nodes[1].last_error.text, "one") != NULL);
    end(net);
}

UNIT(names, G3_only_the_owner_unregisters)
{
    struct net *net = mesh(2, 6);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "one", 4, 0), 0);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_unregister(net, 1, SYS_GLOBAL, "one"), NX_ECONFLICT);
    CU_ASSERT_STRING_EQUAL(net->nodes[1].last_error.subject, net->nodes[0].id.text);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_owner(net, 0, "one"), 0);
    CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, "two"), NX_ENONAME);
    CU_ASSERT_STRING_EQUAL(net->nodes[0].last_error.subject, "two");
    CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, "one"), 0);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_owner(net, 0, "one"), -1);
    CU_ASSERT_EQUAL(net_owner(net, 1, "one"), -1);
    CU_ASSERT_EQUAL(net->nodes[1].unregistered, 1);
    end(net);
}

UNIT(names, R1_local_names_stay_at_home_and_have_events)
{
    struct net *net = mesh(2, 7);
    struct registry_entry e;
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_LOCAL, "x", 4, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_LOCAL, "x", 8, 0), NX_ECONFLICT);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "x", 8, 0), 0);         /* two scopes, two names */
    CU_ASSERT_EQUAL(net_register(net, 1, SYS_LOCAL, "x", 12, 0), 0);
    net_run(net, 100);
    CU_ASSERT(net_find(net, 0, SYS_LOCAL, "x", &e) && e.serial == 4);
    CU_ASSERT(net_find(net, 1, SYS_LOCAL, "x", &e) && e.serial == 12);
    CU_ASSERT_EQUAL(net->nodes[0].registered, 2);
    CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_LOCAL, "x"), 0);
    CU_ASSERT(net_find(net, 1, SYS_LOCAL, "x", &e));
    CU_ASSERT_EQUAL(net_owner(net, 1, "x"), 0);
    end(net);
}

UNIT(names, G6_a_joining_node_gets_all_names_in_pages_and_one_synced_for_each_peer)
{
    struct net *net = net_new(3, 8);
    char name[256];
    net->capacity = 2048;
    net_seed(net, 2, 0);
    net_seed(net, 2, 1);
    net_seed(net, 1, 0);
    net_start(net, 0);
    net_start(net, 1);
    CU_ASSERT(net_run_until(net, 1000, net_all_up));
    memset(name, 'n', sizeof name);
    for (unsigned i = 0; i < 500; i++) {     /* long names: several pages */
        (void)snprintf(name, 32, "%030u", i);
        name[30] = 'n';
        name[255] = '\0';
        CU_ASSERT_EQUAL(net_register(net, i < 400 ? 0 : 1, SYS_GLOBAL, name, i + 1, 0), 0);
    }
    net_run(net, 200);
    net_start(net, 2);
    CU_ASSERT(net_run_until(net, 2000, net_all_up));
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->nodes[2].synced, 2);
    CU_ASSERT_EQUAL(net->nodes[0].synced, 2);        /* app2 and app3, each once */
    CU_ASSERT_EQUAL(net->nodes[2].registered, 500);
    CU_ASSERT(net_equal(net));
    end(net);
}

UNIT(names, torture82_changes_during_a_sync_in_pages_are_neither_lost_nor_doubled)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct net *net = net_new(2, seed);
        char name[256];
        log_set_level(LOG_ERROR);
        net->capacity = 1024;
        net_seed(net, 1, 0);
        net_start(net, 0);
        memset(name, 'n', sizeof name);
        name[255] = '\0';
        for (unsigned i = 0; i < 500; i++) {         /* three pages */
            (void)snprintf(name, 8, "%06u", i);
            name[6] = 'n';
            CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, name, i + 1, 0), 0);
        }
        net->latency_us = 50;
        net_start(net, 1);
        for (unsigned k = 0; k < 300; k++) {
            (void)net_step(net, net->now_ns + CLOCK_NS_PER_MS);
            (void)snprintf(name, 8, "%06u", (unsigned)(net_random(net) % 505));
            name[6] = 'n';
            if (net_random(net) % 2 == 0)
                (void)net_register(net, 0, SYS_GLOBAL, name, k + 1000, 0);
            else
                (void)net_unregister(net, 0, SYS_GLOBAL, name);
        }
        net_run(net, 300);
        CU_ASSERT(net_equal(net));
        CU_ASSERT_EQUAL(net->nodes[1].synced, 1);
        CU_ASSERT_EQUAL(stats_get(net->nodes[0].config.stats, registry_syncs), 1);       /* no digest was found to differ */
        end(net);
        log_set_level(LOG_INFO);
    }
}

UNIT(names, torture82_what_a_sync_would_have_sent_next_may_go_between_two_pages)
{
    struct net *net = net_new(2, 20);
    char name[256];
    log_set_level(LOG_ERROR);
    net->capacity = 1024;
    net_seed(net, 1, 0);
    net_start(net, 0);
    memset(name, 'n', sizeof name);
    name[255] = '\0';
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(name, 8, "%06u", i);
        name[6] = 'n';
        CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, name, i + 1, 0), 0);
    }
    net_start(net, 1);
    while (net->messages[0] < 3)             /* behaviors, heartbeat, page 0 */
        CU_ASSERT_FATAL(net_step(net, net->now_ns + CLOCK_NS_PER_S));
    for (unsigned i = 100; i < 400; i++) {
        (void)snprintf(name, 8, "%06u", i);
        name[6] = 'n';
        CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, name), 0);
    }
    net_run(net, 500);
    CU_ASSERT_EQUAL(registry_count(net->nodes[1].config.registry, REGISTRY_GLOBAL), 200);
    CU_ASSERT(net_equal(net));
    CU_ASSERT_EQUAL(stats_get(net->nodes[0].config.stats, registry_syncs), 1);
    end(net);
    log_set_level(LOG_INFO);
}

UNIT(names, G7_names_of_a_node_that_is_down_go_and_return_with_it)
{
    struct net *net = mesh(3, 9);
    for (unsigned i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        CU_ASSERT_EQUAL(net_register(net, 1, SYS_GLOBAL, name, i + 1, 0), 0);
    }
    net_run(net, 100);
    net_cut(net, 0, 1, true);
    net->nodes[0].order_len = 0;
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net->nodes[0].unregistered, 20);
    CU_ASSERT_EQUAL(strncmp(net->nodes[0].order, "De", 2), 0);   /* the node first */
    CU_ASSERT_EQUAL(net_owner(net, 0, "n3"), -1);
    CU_ASSERT_EQUAL(net_owner(net, 2, "n3"), 1);     /* row 31: the third one sees both */
    net_cut(net, 0, 1, false);
    CU_ASSERT(net_run_until(net, 10000, net_all_up));
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->nodes[0].registered, 40);
    CU_ASSERT_EQUAL(net->nodes[2].registered, 20);
    CU_ASSERT(net_equal(net));
    end(net);
}

UNIT(names, G8_names_go_with_their_server_once_everywhere)
{
    struct net *net = mesh(3, 10);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "a", 7, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "b", 7, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_LOCAL, "c", 7, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "stays", 11, 0), 0);
    net_run(net, 100);
    net->nodes[0].order_len = 0;
    CU_ASSERT_EQUAL(net_server_gone(net, 0, 7), 0);
    CU_ASSERT_STRING_EQUAL(net->nodes[0].order, "eeedda");      /* R2: gone before anyone is told that it is over */
    CU_ASSERT_EQUAL(net_server_gone(net, 0, 7), 0);              /* nothing left: fine */
    net_run(net, 100);
    for (int i = 1; i < 3; i++) {
        CU_ASSERT_EQUAL(net->nodes[i].unregistered, 2);
        CU_ASSERT_EQUAL(net_owner(net, i, "stays"), 0);
    }
    end(net);
}

UNIT(names, torture80_names_go_with_their_worker_in_batches)
{
    struct net *net = mesh(2, 11);
    for (unsigned i = 0; i < 120; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        CU_ASSERT_EQUAL(net_register(net, 0, i % 3 == 0 ? SYS_LOCAL : SYS_GLOBAL, name, 4 * i + 1, 0), 0);    /* all of worker 1 */
    }
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "stays", 2, 0), 0);
    net_run(net, 100);
    net_worker_generation(net, 0, 1, 0);     /* one store of the master: readers see none of them any more */
    CU_ASSERT_EQUAL(net_owner(net, 0, "n1"), -1);
    net_worker_generation(net, 0, 1, 2);
    CU_ASSERT_EQUAL(net_owner(net, 0, "n1"), -1);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "n1", 9, 0), 0);        /* its successor may have the name before the sweep */
    struct cluster_time t = { .now_ns = net->now_ns, .wall_ms = net->wall_ms };
    cluster_worker_down(net->nodes[0].cluster, t, 1, 1);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->nodes[0].unregistered, 120);
    CU_ASSERT_EQUAL(net->nodes[1].unregistered, 80);
    CU_ASSERT_EQUAL(net_owner(net, 1, "n1"), 0);
    CU_ASSERT_EQUAL(net_owner(net, 1, "stays"), 0);
    CU_ASSERT_EQUAL(registry_count(net->nodes[0].config.registry, REGISTRY_GLOBAL), 2);
    CU_ASSERT(net_equal(net));
    end(net);
}

UNIT(names, G11_a_removal_that_a_peer_missed_is_known_to_it_after_its_return)
{
    struct net *net = mesh(2, 12);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "ghost", 4, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "stays", 4, 0), 0);
    net_run(net, 100);
    net_cut(net, 0, 1, true);
    CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, "ghost"), 0);
    net_run(net, 6000);
    net_cut(net, 0, 1, false);
    CU_ASSERT(net_run_until(net, 10000, net_all_up));
    net_run(net, 100);
    CU_ASSERT_EQUAL(net_owner(net, 1, "ghost"), -1);
    CU_ASSERT_EQUAL(net_owner(net, 1, "stays"), 0);
    CU_ASSERT(net_equal(net));
    end(net);
}

static int lost_messages;

static int
drop_deltas(struct net *net, int from, int to, uint8_t kind)
{
    (void)to;
    bool is_dropped = from == 0 && kind == KIND_REGISTRY_DELTA && net_random(net) % 3 == 0;
    lost_messages += is_dropped;
    return is_dropped;
}

static int
drop_syncs(struct net *net, int from, int to, uint8_t kind)
{
    (void)to;
    bool is_dropped = from == 0 && (kind == KIND_REGISTRY_DELTA || kind == KIND_REGISTRY_SYNC) && net_random(net) % 2 == 0;
    lost_messages += is_dropped;
    return is_dropped;
}

/* Promise 33. The last change may be lost too: then only the full heartbeat tells. */
UNIT(names, row33_lost_deltas_and_pages_are_repaired_by_a_sync_within_30_seconds)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct net *net = mesh(2, seed);
        log_set_level(LOG_ERROR);
        net->drop = seed % 2 == 0 ? drop_deltas : drop_syncs;
        lost_messages = 0;
        for (unsigned k = 0; k < 60; k++) {
            char name[16];
            (void)snprintf(name, sizeof name, "n%u", (unsigned)(net_random(net) % 12));
            if (net_random(net) % 2 == 0)
                (void)net_register(net, 0, SYS_GLOBAL, name, k + 1, 0);
            else
                (void)net_unregister(net, 0, SYS_GLOBAL, name);
            net_run(net, 100);
        }
        CU_ASSERT(lost_messages > 0);
        net->drop = NULL;
        net_run(net, 7000);                  /* 30 s at the default interval of 5 s; this one is 1 s */
        CU_ASSERT(net_equal(net));
        CU_ASSERT_EQUAL(net->nodes[1].synced, 1);
        end(net);
        log_set_level(LOG_INFO);
    }
}

UNIT(names, G12_statistics_count_names_syncs_and_conflicts)
{
    struct net *net = mesh(2, 14);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "a", 4, 0), 0);
    CU_ASSERT_EQUAL(net_register(net, 1, SYS_GLOBAL, "b", 4, 0), 0);
    net_run(net, 100);
    CU_ASSERT_EQUAL(registry_count(net->nodes[0].config.registry, REGISTRY_GLOBAL), 2);
    CU_ASSERT_EQUAL(stats_get(net->nodes[0].config.stats, registry_syncs), 1);
    CU_ASSERT_EQUAL(stats_get(net->nodes[0].config.stats, registry_conflicts), 0);
    end(net);
}

UNIT(names, torture59_a_full_registry_is_a_typed_error_and_leaves_no_gap)
{
    struct net *net = mesh(2, 15);
    unsigned done = 0;
    log_set_level(LOG_ERROR);
    for (unsigned i = 0; i < 300; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        int err = net_register(net, 0, SYS_GLOBAL, name, i + 1, 0);
        done += err == 0;
        CU_ASSERT(err == 0 || err == NX_EFULL);
    }
    CU_ASSERT_EQUAL(done, 256);
    net_run(net, 100);
    CU_ASSERT_EQUAL(registry_count(net->nodes[1].config.registry, REGISTRY_GLOBAL), 128);    /* a peer may fill half */
    CU_ASSERT_EQUAL(stats_get(net->nodes[0].config.stats, registry_syncs), 1);
    for (unsigned i = 0; i < 200; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, name), 0);
    }
    net_run(net, 12000);
    CU_ASSERT(net_equal(net));               /* what had no room is there now */
    CU_ASSERT_EQUAL(registry_count(net->nodes[1].config.registry, REGISTRY_GLOBAL), 56);
    OK(net);
    net_free(net);
    log_set_level(LOG_INFO);
}

UNIT(names, torture59_a_refused_registration_leaves_no_gap_in_the_sequence)
{
    struct net *net = net_new(2, 19);
    log_set_level(LOG_ERROR);
    net_seed(net, 1, 0);
    net->capacity = 64;
    net_start(net, 0);
    net->capacity = 256;
    net_start(net, 1);
    CU_ASSERT(net_run_until(net, 1000, net_all_up));
    for (unsigned i = 0; i < 70; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, name, i + 1, 0), i < 64 ? 0 : NX_EFULL);
    }
    CU_ASSERT_EQUAL(net_unregister(net, 0, SYS_GLOBAL, "n1"), 0);
    CU_ASSERT_EQUAL(net_register(net, 0, SYS_GLOBAL, "n69", 1, 0), 0);
    net_run(net, 6000);
    CU_ASSERT(net_equal(net));
    CU_ASSERT_EQUAL(stats_get(net->nodes[0].config.stats, registry_syncs), 1);
    end(net);
    log_set_level(LOG_INFO);
}

UNIT(names, torture59_foreign_names_that_do_not_fit_wait_for_room)
{
    struct net *net = mesh(4, 16);
    log_set_level(LOG_ERROR);
    for (int node = 0; node < 4; node++) {
        for (unsigned i = 0; i < 80; i++) {  /* 320 names, room for 256 */
            char name[16];
            (void)snprintf(name, sizeof name, "n%d.%u", node, i);
            int err = net_register(net, node, SYS_GLOBAL, name, i + 1, 0);
            CU_ASSERT(err == 0 || err == NX_EFULL);
        }
    }
    net_run(net, 200);
    for (int node = 0; node < 4; node++) {
        CU_ASSERT_EQUAL(registry_count(net->nodes[node].config.registry, REGISTRY_GLOBAL), 256);
        for (unsigned i = 0; i < 40; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "n%d.%u", node, i);
            (void)net_unregister(net, node, SYS_GLOBAL, name);
        }
    }
    net_run(net, 7000);
    CU_ASSERT(net_equal(net));
    OK(net);
    net_free(net);
    log_set_level(LOG_INFO);
}

/* What a member that breaks the rules sends. */
static void
put_entry(struct buf *body, uint8_t kind, uint64_t sequence, const char *name, size_t len, uint64_t digest)
{
    struct sys_entry e = { .name = { name, len }, .sequence = sequence, .registered_at_ms = 1, .serial = 1, .generation = 1, .slot = 1 };
    struct sys_delta_head delta = { .digest = digest, .count = 1 };
    struct sys_sync_head sync = { .sequence = sequence, .digest = digest, .count = 1, .is_last = true };
    buf_clear(body);
    CU_ASSERT_EQUAL(sys_entries_begin(body, kind, kind == KIND_REGISTRY_DELTA ? (const void *)&delta : (const void *)&sync, false), 0);
    CU_ASSERT_EQUAL(sys_entries_add(body, &e), 0);
    CU_ASSERT_EQUAL(sys_entries_end(body), 0);
}

UNIT(names, torture41_entries_out_of_their_sequence_are_refused_and_counted)
{
    struct net *net = mesh(2, 17);
    struct buf body;
    buf_init(&body, 0);
    log_set_level(LOG_ERROR);
    for (int i = 0; i < 3; i++) {
        char name[] = "x0";
        name[1] = (char)('0' + i);
        CU_ASSERT_EQUAL(net_register(net, 1, SYS_GLOBAL, name, 1, 0), 0);
    }
    net_run(net, 100);
    uint64_t before = stats_get(net->nodes[0].config.stats, bad_messages);
    put_entry(&body, KIND_REGISTRY_DELTA, 1, "back", 4, 0);      /* backwards */
    CU_ASSERT_EQUAL(ask_as_peer(net, 0, KIND_REGISTRY_DELTA, &body), 0);
    CU_ASSERT_EQUAL(net_owner(net, 0, "back"), -1);
    CU_ASSERT_EQUAL(stats_get(net->nodes[0].config.stats, bad_messages), before + 1);
    net_run(net, 100);
    CU_ASSERT(net_equal(net));               /* asked for again, and got */
    net_run(net, 1100);
    put_entry(&body, KIND_REGISTRY_DELTA, 900, "gap", 3, 0);
    CU_ASSERT_EQUAL(ask_as_peer(net, 0, KIND_REGISTRY_DELTA, &body), 0);
    CU_ASSERT_EQUAL(net_owner(net, 0, "gap"), -1);
    net_run(net, 1200);
    CU_ASSERT(net_equal(net));
    buf_fini(&body);
    end(net);
    log_set_level(LOG_INFO);
}

UNIT(names, torture41_bodies_that_are_not_what_they_say_end_the_link)
{
    static const uint8_t kinds[] = { KIND_REGISTRY_DELTA, KIND_REGISTRY_SYNC, KIND_HEARTBEAT, KIND_BEHAVIORS, KIND_CALL };
    for (size_t i = 0; i < sizeof kinds; i++) {
        struct net *net = mesh(2, 18);
        struct buf body;
        log_set_level(LOG_ERROR);
        buf_init(&body, 0);
        CU_ASSERT_EQUAL(buf_put(&body, "\x81\xa1z\x01", 4), 0);         /* {"z": 1} */
        CU_ASSERT_EQUAL(ask_as_peer(net, 0, kinds[i], &body), NX_EBADMSG);
        net_run(net, 100);
        CU_ASSERT_EQUAL(net->nodes[0].downs[1], 1);
        CU_ASSERT_EQUAL(net->nodes[1].downs[0], 1);
        CU_ASSERT(net_run_until(net, 5000, net_all_up));
        buf_fini(&body);
        end(net);
        log_set_level(LOG_INFO);
    }
}
