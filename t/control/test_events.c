/*
 * test_events.c - what clients follow: nothing is missed, nothing told twice.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "unit.h"

#define SAYS(text, part) CU_ASSERT_PTR_NOT_NULL(strstr(text, part))
enum { SOON = 5000 };

/* The three global names, in whatever order, then `ready`. */
static void
expect_names(struct client *c, int count)
{
    int everywhere = 0, far = 0, both = 0;
    for (int i = 0; i < count; i++) {
        const char *e = ask_event(c, SOON);
        SAYS(e, "{\"event\":\"registered\",\"name\":\"");
        SAYS(e, "\"scope\":\"global\"");
        everywhere += strstr(e, "\"everywhere\"") != NULL;
        far += strstr(e, "\"name\":\"far\",\"ref\":\"#" NODE_PEER "/2222222222222222/0.1.12\"") != NULL;
        both += strstr(e, "/0.1.14\"") != NULL;
    }
    CU_ASSERT_TRUE(everywhere == 1 && far == 1 && both == 1);
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"ready\"}");
}

static void
expect_quiet(struct node *n, struct client *c)
{
    /* An answer is behind all events that were sent before. */
    node_order(n, ORDER_SYNC);
    CU_ASSERT_STRING_EQUAL(ask(c, "isRegistered", "{\"name\":\"here\"}"), "true");
    CU_ASSERT_STRING_EQUAL(ask_event(c, 0), "");
}

UNIT(events, M5_G5_a_snapshot_comes_first_then_each_change_once)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "events", NULL), "true");
    SAYS(ask_event(c, SOON), "{\"event\":\"node_up\",\"node\":\"" NODE_PEER "\",\"host\":\"127.0.0.1\",\"port\":4370,\"status\":\"up\",\"servers\":5,\"uptimeMs\":");
    expect_names(c, 3);

    node_order(&n, ORDER_OLD_EVENT);       /* it was in the snapshot */
    node_order(&n, ORDER_REGISTER);
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"registered\",\"name\":\"later\",\"ref\":\"#" NODE_SELF "/1111111111111111/0.1.77\",\"scope\":\"global\"}");
    node_order(&n, ORDER_OTHER_EVENTS);
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"conflict\",\"name\":\"fought\",\"winner\":\"#" NODE_SELF "/1111111111111111/0.1.1\",\"loser\":\"#"
                           NODE_SELF "/1111111111111111/0.1.2\"}");
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"synced\",\"node\":\"" NODE_PEER "\",\"count\":12}");
    SAYS(ask_event(c, SOON), "{\"event\":\"unregistered\",\"name\":\"fought\"");
    node_order(&n, ORDER_PEER_UP);         /* known already */
    node_order(&n, ORDER_PEER_DOWN);
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"node_down\",\"node\":\"" NODE_PEER "\",\"reason\":\"heartbeat_timeout\"}");
    node_order(&n, ORDER_PEER_DOWN);
    node_order(&n, ORDER_PEER_UP);
    SAYS(ask_event(c, SOON), "{\"event\":\"node_up\"");
    expect_quiet(&n, c);
    client_close(&c);
    node_finish(&n);
}

UNIT(events, nodes_and_names_can_be_chosen)
{
    struct node n;
    node_start(&n);
    struct client *nodes = ask_open(&n), *names = ask_open(&n), *none = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(nodes, "events", "{\"names\":false}"), "true");
    SAYS(ask_event(nodes, SOON), "node_up");
    CU_ASSERT_STRING_EQUAL(ask_event(nodes, SOON), "{\"event\":\"ready\"}");
    CU_ASSERT_STRING_EQUAL(ask(names, "events", "{\"nodes\":false}"), "true");
    expect_names(names, 3);
    CU_ASSERT_STRING_EQUAL(ask(none, "events", NULL), "true");
    SAYS(ask_event(none, SOON), "node_up");
    expect_names(none, 3);
    CU_ASSERT_STRING_EQUAL(ask(none, "events", "{\"nodes\":false,\"names\":false}"), "true");
    node_order(&n, ORDER_REGISTER);
    node_order(&n, ORDER_PEER_DOWN);
    SAYS(ask_event(nodes, SOON), "node_down");
    SAYS(ask_event(names, SOON), "\"later\"");
    expect_quiet(&n, nodes);
    expect_quiet(&n, none);

    /* The link worker is told when the last has gone. */
    CU_ASSERT_EQUAL(n.seen->subscribes, 1);
    CU_ASSERT_EQUAL(n.seen->unsubscribes, 0);
    client_close(&names);
    CU_ASSERT_TRUE(node_until(&n, &n.seen->unsubscribes, 1));
    client_close(&nodes);
    client_close(&none);
    node_finish(&n);
}

UNIT(events, a_new_link_worker_means_a_new_snapshot)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "events", "{\"nodes\":false}"), "true");
    expect_names(c, 3);
    node_order(&n, ORDER_LINK_DIES);
    struct client *late = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(late, "events", "{\"nodes\":false}"), "true");
    expect_quiet(&n, late);                /* it waits for the successor */
    node_order(&n, ORDER_LINK_RETURNS);
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"reset\"}");
    expect_names(c, 3);
    expect_names(late, 3);
    node_order(&n, ORDER_REGISTER);
    SAYS(ask_event(c, SOON), "\"later\"");
    SAYS(ask_event(late, SOON), "\"later\"");
    client_close(&c);
    client_close(&late);
    node_finish(&n);
}

/* Its successor may tell of the end before it has a way to us: we see it ourselves. */
UNIT(events, without_a_link_worker_no_node_is_up)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n), *late = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "events", "{\"names\":false}"), "true");
    SAYS(ask_event(c, SOON), "node_up");
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"ready\"}");
    node_order(&n, ORDER_LINK_DIES);
    CU_ASSERT_STRING_EQUAL(ask_event(c, SOON), "{\"event\":\"node_down\",\"node\":\"" NODE_PEER "\",\"reason\":\"connection_closed\"}");
    CU_ASSERT_STRING_EQUAL(ask(late, "events", "{\"names\":false}"), "true");
    CU_ASSERT_STRING_EQUAL(ask_event(late, SOON), "{\"event\":\"ready\"}");
    node_order(&n, ORDER_LINK_RETURNS);
    node_order(&n, ORDER_PEER_DOWN);       /* told already */
    node_order(&n, ORDER_PEER_UP);
    SAYS(ask_event(c, SOON), "{\"event\":\"node_up\",\"node\":\"" NODE_PEER "\"");
    SAYS(ask_event(late, SOON), "{\"event\":\"node_up\",\"node\":\"" NODE_PEER "\"");
    expect_quiet(&n, c);
    client_close(&c);
    client_close(&late);
    node_finish(&n);
}

UNIT(events, a_link_worker_that_sleeps_is_waited_for)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    node_order(&n, ORDER_LINK_SLEEPS);
    CU_ASSERT_STRING_EQUAL(ask(c, "events", "{\"nodes\":false}"), "true");
    expect_quiet(&n, c);
    node_order(&n, ORDER_LINK_DIES);
    node_order(&n, ORDER_LINK_RETURNS);
    expect_names(c, 3);
    client_close(&c);
    node_finish(&n);
}
