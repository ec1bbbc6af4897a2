/*
 * test_nodes.c - the node table: indexes that stay, the way to a node, bounds, and what a killed writer leaves.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/catalog.h"
#include "shm_test.h"

UNIT(nodes, an_index_stays_with_its_id_and_is_found_by_the_text)
{
    struct shm *shm = test_shm(64);
    struct nodes *n = shm_nodes(shm);
    uint32_t index = 99;
    CU_ASSERT_EQUAL(test_node(shm, "app1@127.0.0.1:4369", NODES_UP, TEST_INCARNATION, 0), 0);
    CU_ASSERT_EQUAL(test_node(shm, "app2@[::1]:4370", NODES_DOWN, 5, 3), 1);
    CU_ASSERT_EQUAL(test_node(shm, "app1@127.0.0.1:4369", NODES_UP, TEST_INCARNATION, 0), 0);
    CU_ASSERT_EQUAL(nodes_count(n), 2);
    CU_ASSERT_EQUAL(nodes_find(n, "app2@[::1]:4370", 15, &index), 0);
    CU_ASSERT_EQUAL(index, 1);
    CU_ASSERT_EQUAL(nodes_find(n, "app2@[::1]:4370", 14, &index), NX_ENODE);
    CU_ASSERT_EQUAL(nodes_find(n, "app2@[::1]:43700", 16, &index), NX_ENODE);
    CU_ASSERT_EQUAL(nodes_find(n, "", 0, &index), NX_ENODE);
    CU_ASSERT_STRING_EQUAL(nodes_borrow_id(n, 1), "app2@[::1]:4370");
    CU_ASSERT_PTR_NULL(nodes_borrow_id(n, 2));
    struct nodes_entry e = { .state = NODES_CONNECTING, .reason = NODES_CONNECTION_REFUSED, .incarnation = 6, .session = 7, .servers = 8,
        .uptime_ms = 9, .last_heartbeat_ms = 10, .up_since_ms = 11, .messages_sent = 12, .messages_received = 13, .bytes_sent = 14,
        .bytes_received = 15 }, got;
    nodes_put(n, 1, &e);
    CU_ASSERT_EQUAL(nodes_get(n, 1, &got), 0);
    CU_ASSERT(got.state == e.state && got.reason == e.reason && got.incarnation == 6 && got.session == 7 && got.servers == 8);
    CU_ASSERT(got.uptime_ms == 9 && got.last_heartbeat_ms == 10 && got.up_since_ms == 11 && got.messages_sent == 12);
    CU_ASSERT(got.messages_received == 13 && got.bytes_sent == 14 && got.bytes_received == 15);
    CU_ASSERT_STRING_EQUAL(got.id.text, "app2@[::1]:4370");
    CU_ASSERT_STRING_EQUAL(got.id.name, "app2");
    CU_ASSERT_STRING_EQUAL(got.id.host, "::1");
    CU_ASSERT_EQUAL(got.id.port, 4370);
    CU_ASSERT_EQUAL(nodes_get(n, 2, &got), NX_ENODE);
    shm_destroy(&shm);
}

UNIT(nodes, a_way_leads_only_to_the_life_that_is_up)
{
    struct shm *shm = test_shm(64);
    struct nodes *n = shm_nodes(shm);
    uint32_t session = 99;
    test_node(shm, "app1@127.0.0.1:4369", NODES_UP, TEST_INCARNATION, 4);
    test_node(shm, "app2@127.0.0.1:4370", NODES_UP, 5, 3);
    CU_ASSERT_EQUAL(nodes_route(n, 1, 5, &session), 0);
    CU_ASSERT_EQUAL(session, 3);
    CU_ASSERT_EQUAL(nodes_route(n, 0, TEST_INCARNATION, &session), 0);
    CU_ASSERT_EQUAL(session, 0);
    session = 99;
    CU_ASSERT_EQUAL(nodes_route(n, 1, 6, &session), NX_ENOSERVER);
    CU_ASSERT_EQUAL(nodes_route(n, 2, 5, &session), NX_ENODE);
    CU_ASSERT_EQUAL(nodes_route(n, UINT32_MAX, 5, &session), NX_ENODE);
    const enum nodes_state not_up[] = { NODES_UNKNOWN, NODES_CONNECTING, NODES_DOWN };
    for (size_t i = 0; i < 3; i++) {
        nodes_put(n, 1, &(struct nodes_entry){ .state = not_up[i], .incarnation = 5 });
        CU_ASSERT_EQUAL(nodes_route(n, 1, 5, &session), NX_ENODE);
    }
    CU_ASSERT_EQUAL(session, 99);
    shm_destroy(&shm);
}

UNIT(nodes, a_full_table_refuses_the_next_node_and_knows_the_old_ones)
{
    struct shm *shm = test_shm(64);
    struct node_id id;
    char text[64];
    uint32_t index;
    for (unsigned i = 0; i < 16; i++) {
        snprintf(text, sizeof text, "n%u@10.0.0.1:%u", i, 4000 + i);
        CU_ASSERT_EQUAL(test_node(shm, text, NODES_UP, i, 0), i);
    }
    CU_ASSERT_EQUAL(node_id_parse("last@10.0.0.1:1", 15, &id, NULL), 0);
    CU_ASSERT_EQUAL(nodes_add(shm_nodes(shm), &id, &index), NX_EFULL);
    CU_ASSERT_EQUAL(nodes_find(shm_nodes(shm), text, strlen(text), &index), 0);
    CU_ASSERT_EQUAL(index, 15);
    CU_ASSERT_EQUAL(nodes_count(shm_nodes(shm)), 16);
    memset(&id, 0, sizeof id);
    CU_ASSERT_EQUAL(nodes_add(shm_nodes(shm), &id, &index), NX_EINVAL);
    shm_destroy(&shm);
}

UNIT(nodes, states_and_reasons_have_their_documented_names)
{
    CU_ASSERT_STRING_EQUAL(nodes_state_name(NODES_UP), "up");
    CU_ASSERT_STRING_EQUAL(nodes_state_name(NODES_CONNECTING), "connecting");
    CU_ASSERT_STRING_EQUAL(nodes_state_name((enum nodes_state)77), "unknown");
    CU_ASSERT_STRING_EQUAL(nodes_reason_name(NODES_REASON_NONE), "");
    CU_ASSERT_STRING_EQUAL(nodes_reason_name(NODES_HEARTBEAT_TIMEOUT), "heartbeat_timeout");
    CU_ASSERT_STRING_EQUAL(nodes_reason_name(NODES_CONNECTION_CLOSED), "connection_closed");
    CU_ASSERT_STRING_EQUAL(nodes_reason_name(NODES_CONNECTION_REFUSED), "connection_refused");
    CU_ASSERT_STRING_EQUAL(nodes_reason_name(NODES_GRACEFUL_SHUTDOWN), "graceful_shutdown");
    CU_ASSERT_STRING_EQUAL(nodes_reason_name((enum nodes_reason)-1), "");
}

/* A writer killed at a random point of an add: its successor adds the same node, and no index is given twice. */
UNIT(nodes, a_writer_killed_while_it_adds_leaves_a_table_that_goes_on)
{
    enum { CAPACITY = 64, KEY = 128, WORDS = 8 };
    size_t size = catalog_size(CAPACITY, KEY, WORDS);
    uint8_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(at, MAP_FAILED);
    struct catalog c;
    unsigned wrong = 0;
    uint64_t state = 99;
    catalog_open(&c, at, CAPACITY, KEY, WORDS, 12345);
    for (int round = 0; round < 60; round++) {
        memset(at, 0, size);
        pid_t pid = fork();
        if (pid == 0) {
            for (;;) {                     /* fills the table and begins again, so that any moment is one of an add */
                uint64_t body[WORDS] = { 0 };
                uint32_t index;
                for (unsigned i = 0; i < CAPACITY; i++) {
                    char key[KEY] = { 0 };
                    snprintf(key, sizeof key, "key %u", i);
                    body[0] = i;
                    (void)catalog_add(&c, key, sizeof key, body, &index);
                }
                memset(at, 0, size);
            }
        }
        while (catalog_count(&c) < test_random(&state) % 60)
            usleep(1);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        for (unsigned i = 0; i < CAPACITY; i++) {
            char key[KEY] = { 0 };
            uint64_t body[WORDS] = { i };
            uint32_t index;
            snprintf(key, sizeof key, "key %u", i);
            if (catalog_find(&c, key, strlen(key), &index) != 0)
                wrong += catalog_add(&c, key, sizeof key, body, &index) != 0;
        }
        for (unsigned i = 0; i < CAPACITY; i++) {
            char key[KEY] = { 0 };
            uint64_t body[WORDS];
            uint32_t index = 0;
            snprintf(key, sizeof key, "key %u", i);
            wrong += catalog_find(&c, key, strlen(key), &index) != 0 || catalog_read(&c, index, body) != 0 || body[0] != i
                || strcmp(catalog_borrow_key(&c, index), key) != 0;
        }
        wrong += catalog_count(&c) != CAPACITY;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    munmap(at, size);
}
