/*
 * test_latch.c - one latched record, its writer as fast as it can, readers beside it; and the tables that are made of it.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "shm/behaviors.h"
#include "shm/latch.h"
#include "shm_test.h"

enum { WORDS = 40, READERS = 2 };

static struct { struct latch latch; latch_word bodies[2][WORDS]; } record;
static struct shm *shm;
static atomic_bool is_over;
struct tally { uint64_t whole, busy, torn, backwards; };

static void *
read_record(void *arg)
{
    struct tally *t = arg;
    uint64_t words[WORDS], newest = 0;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        if (latch_read(&record.latch, record.bodies[0], WORDS, words) != 0) {
            t->busy++;
            continue;
        }
        for (unsigned i = 1; i < WORDS; i++)
            if (words[i] != words[0] + i) {
                t->torn++;
                break;
            }
        t->backwards += words[0] < newest;
        newest = words[0];
        t->whole++;
    }
    return NULL;
}

static void *
read_tables(void *arg)
{
    struct tally *t = arg;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        struct nodes_entry n;
        struct board_slot s;
        struct behaviors_entry b;
        uint32_t session = 0;
        int err = nodes_get(shm_nodes(shm), 1, &n);
        t->busy += err != 0;
        t->torn += err == 0 && (n.incarnation != n.bytes_received || n.session != n.incarnation || n.uptime_ms != n.incarnation);
        err = board_get(shm_board(shm), 3, &s);
        t->busy += err != 0;
        t->torn += err == 0 && (s.generation != s.restarts || s.started_at_ms != s.generation || s.pid != (int32_t)s.generation);
        err = behaviors_get(shm_behaviors(shm), 0, &b);
        t->busy += err != 0;
        t->torn += err == 0 && (b.version != b.generation || b.hash[0] != (uint8_t)b.version || b.hash[31] != (uint8_t)b.version);
        /* Of two lives, each with its session, never the one's life with the other's session. */
        if (nodes_route(shm_nodes(shm), 1, 1000, &session) == 0)
            t->torn += session != 1000;
        t->whole++;
    }
    return NULL;
}

static struct tally
run_beside(void *(*reader)(void *), void (*write_once)(uint64_t n), uint64_t *writes)
{
    static struct tally tally[READERS];
    struct tally sum = { 0 };
    pthread_t threads[READERS];
    memset(tally, 0, sizeof tally);
    atomic_store(&is_over, false);
    for (unsigned i = 0; i < READERS; i++)
        if (pthread_create(&threads[i], NULL, reader, &tally[i]) != 0)
            abort();
    uint64_t end = clock_now_ns() + CLOCK_NS_PER_S / 2;
    for (*writes = 0; *writes % 64 != 0 || clock_now_ns() < end; ++*writes)
        write_once(*writes);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        sum.whole += tally[i].whole, sum.busy += tally[i].busy, sum.torn += tally[i].torn, sum.backwards += tally[i].backwards;
    }
    printf("# %ju writes; %ju read whole, %ju busy\n", (uintmax_t)*writes, (uintmax_t)sum.whole, (uintmax_t)sum.busy);
    return sum;
}

static void
write_record(uint64_t n)
{
    uint64_t words[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = n + i;
    latch_write(&record.latch, record.bodies[0], WORDS, words);
}

static void
write_tables(uint64_t n)
{
    uint64_t v = 1000 + n % 5;
    struct nodes_entry node = { .state = NODES_UP, .incarnation = v, .session = (uint32_t)v, .uptime_ms = v, .bytes_received = v };
    struct board_slot slot = { .generation = (uint32_t)v, .started_at_ms = v, .restarts = (uint32_t)v, .pid = (int32_t)v };
    nodes_put(shm_nodes(shm), 1, &node);
    board_set(shm_board(shm), 3, &slot);
    struct behaviors_entry b = { .name = "b", .version = (uint32_t)v, .generation = (uint32_t)v, .is_present = true };
    uint32_t index;
    memset(b.hash, (int)(uint8_t)v, sizeof b.hash);
    if (behaviors_put(shm_behaviors(shm), &b, &index) != 0)
        abort();
}

UNIT(latch, readers_beside_the_fastest_writer_see_whole_records_in_their_order)
{
    uint64_t writes;
    write_record(0);
    struct tally t = run_beside(read_record, write_record, &writes);
    CU_ASSERT_EQUAL(t.torn, 0);
    CU_ASSERT_EQUAL(t.backwards, 0);
    CU_ASSERT(t.whole > 100 && writes > 1000);
}

UNIT(latch, nodes_board_and_behaviors_are_read_whole_while_they_change)
{
    uint64_t writes;
    shm = test_shm(64);
    test_node(shm, "app1@127.0.0.1:4369", NODES_UP, TEST_INCARNATION, 0);
    test_node(shm, "app2@127.0.0.1:4370", NODES_UP, 1000, 1000);
    write_tables(0);
    struct tally t = run_beside(read_tables, write_tables, &writes);
    CU_ASSERT_EQUAL(t.torn, 0);
    CU_ASSERT(t.whole > 100 && writes > 1000);
    shm_destroy(&shm);
}
