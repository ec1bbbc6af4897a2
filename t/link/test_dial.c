/*
 * test_dial.c - names and addresses: resolved beside the loop, tried one after the other, given up in time.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/dns.h>
#include <event2/util.h>

#include "base/clock.h"
#include "unit.h"
#include "world.h"

/* A name server that never says anything: the question is open when the dial is given up, and evdns answers it when the connection is gone. */
static int
silent_name_server(struct link_worker *l)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    CU_ASSERT_EQUAL_FATAL(evdns_base_clear_nameservers_and_suspend(l->dns), 0);
    CU_ASSERT_EQUAL_FATAL(evdns_base_nameserver_sockaddr_add(l->dns, (struct sockaddr *)&at, len, 0), 0);
    CU_ASSERT_EQUAL_FATAL(evdns_base_resume(l->dns), 0);
    return fd;
}

static void
short_handshake(struct conf *c)
{
    c->handshake_ms = 100;
}

UNIT(dial, a_name_that_no_server_answers_is_given_up_and_asked_again)
{
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", "b@nowhere.example:4369", short_handshake);
    int fd = silent_name_server(a->link);
    uint64_t first = a->link->next_id;
    WAIT(&w, a->link->next_id >= first + 4);           /* four dials, three of them over */
    struct nodes_entry e;
    CU_ASSERT_EQUAL(nodes_get(shm_nodes(a->shm), 1, &e), 0);
    CU_ASSERT_EQUAL(e.state, NODES_DOWN);
    CU_ASSERT_EQUAL(e.reason, NODES_CONNECTION_REFUSED);
    world_end(&w);                                     /* with a question open */
    (void)close(fd);
}

UNIT(dial, a_name_of_the_hosts_file_is_found_and_each_of_its_addresses_tried)
{
    struct world w;
    char seed[64];
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL);
    snprintf(seed, sizeof seed, "a@localhost:%u", (unsigned)a->conf.node.port);
    struct node *b = node_begin(&w, "b", seed, NULL);
    worlds_meet(&w, a, b);
    world_end(&w);
}

/* Nobody listens at the first two; the third is a. */
UNIT(dial, the_next_address_is_tried_when_one_refuses)
{
    struct world w;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", NULL, NULL), *b = node_begin(&w, "b", NULL, NULL);
    struct conn *c = connection_new(b->link, -1, true, "a");
    struct evutil_addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = EVUTIL_AI_NUMERICHOST }, *list = NULL, **end = &list;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)a->conf.node.port);
    static const char *const hosts[] = { "127.0.0.2", "127.0.0.3", "127.0.0.1" };
    for (size_t i = 0; i < BASE_COUNT(hosts); i++) {
        CU_ASSERT_EQUAL_FATAL(evutil_getaddrinfo(hosts[i], port, &hints, end), 0);
        end = &(*end)->ai_next;
    }
    c->addresses = c->address = list;
    dial_next(c);
    WAIT(&w, c->state == CONN_HANDSHAKE);              /* connected; cluster/ did not ask for it and says nothing */
    CU_ASSERT_PTR_NULL(c->address);
    world_end(&w);
}

UNIT(dial, M6_a_refused_dial_is_told_in_the_node_table)
{
    struct world w;
    struct nodes_entry e;
    world_begin(&w);
    struct node *a = node_begin(&w, "a", "b@127.0.0.1:1", NULL);
    WAIT(&w, nodes_get(shm_nodes(a->shm), 1, &e) == 0 && e.state == NODES_DOWN);
    CU_ASSERT_EQUAL(e.reason, NODES_CONNECTION_REFUSED);
    int files = open_files();
    uint64_t first = a->link->next_id;
    WAIT(&w, a->link->next_id >= first + 10);
    CU_ASSERT(open_files() <= files + 1);              /* one may be under way */
    world_end(&w);
}
