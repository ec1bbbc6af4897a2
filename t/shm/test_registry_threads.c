/*
 * test_registry_threads.c - readers and the writer at the same time over one mapping: what ThreadSanitizer can see, and what
 * it cannot: a torn value, a name that is always there and was not found.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "shm_test.h"

enum { READERS = 3, STEADY = 16, FLICKER = 16 };

static struct shm *shm;
static atomic_bool is_over;
struct tally { uint64_t found, absent, busy, torn, missing, walked; };

static void *
reader(void *arg)
{
    struct tally *t = arg;
    struct registry_entry e;
    uint64_t state = 1 + (uint64_t)(uintptr_t)arg;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        char name[24];
        unsigned i = (unsigned)(test_random(&state) % (STEADY + FLICKER));
        snprintf(name, sizeof name, "%s %u", i < STEADY ? "steady" : "flicker", i);
        int err = test_find(shm, REGISTRY_GLOBAL, name, &e);
        t->found += err == 0;
        t->busy += err == NX_EBUSY;
        t->absent += err == NX_ENONAME;
        t->torn += err == 0 && (!test_entry_is_whole(&e) || strcmp(e.name, name) != 0);
        t->missing += err == NX_ENONAME && i < STEADY;
        if (test_random(&state) % 64 == 0) {
            uint64_t cursor = 0;
            while (registry_next(shm_registry(shm), shm_board(shm), shm_nodes(shm), &cursor, &e) == 1) {
                t->walked++;
                t->torn += !test_entry_is_whole(&e);
            }
        }
    }
    return NULL;
}

UNIT(registry_threads, readers_beside_a_writer_never_see_a_mixture_nor_miss_a_steady_name)
{
    static struct tally tally[READERS];
    pthread_t threads[READERS];
    struct registry_writer *w;
    char name[24];
    uint64_t state = 5, writes = 0;
    shm = test_shm(64);
    memset(tally, 0, sizeof tally);
    atomic_store(&is_over, false);
    CU_ASSERT_EQUAL_FATAL(registry_writer_open(shm_registry(shm), &w, NULL, NULL), 0);
    for (unsigned i = 0; i < STEADY; i++) {
        snprintf(name, sizeof name, "steady %u", i);
        CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, name, i), 0);
    }
    for (unsigned i = 0; i < READERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, reader, &tally[i]), 0);
    uint64_t end = clock_now_ns() + CLOCK_NS_PER_S * 3 / 2;
    while (clock_now_ns() < end) {
        unsigned i = (unsigned)(test_random(&state) % (STEADY + FLICKER));
        snprintf(name, sizeof name, "%s %u", i < STEADY ? "steady" : "flicker", i);
        if (i < STEADY || test_random(&state) % 2 == 0)
            (void)test_put(w, REGISTRY_GLOBAL, name, ++writes);
        else
            (void)registry_delete(w, REGISTRY_GLOBAL, name, strlen(name));
        snprintf(name, sizeof name, "new %ju", (uintmax_t)writes);      /* tombstones everywhere: the index is changed over often */
        (void)test_put(w, REGISTRY_GLOBAL, name, writes);
        (void)registry_delete(w, REGISTRY_GLOBAL, name, strlen(name));
    }
    atomic_store(&is_over, true);
    struct tally sum = { 0 };
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        sum.found += tally[i].found, sum.absent += tally[i].absent, sum.busy += tally[i].busy, sum.torn += tally[i].torn;
        sum.missing += tally[i].missing, sum.walked += tally[i].walked;
    }
    printf("# %ju writes; found %ju, absent %ju, busy %ju, walked %ju\n", (uintmax_t)writes, (uintmax_t)sum.found, (uintmax_t)sum.absent,
           (uintmax_t)sum.busy, (uintmax_t)sum.walked);
    CU_ASSERT_EQUAL(sum.torn, 0);
    CU_ASSERT_EQUAL(sum.missing, 0);
    CU_ASSERT(sum.found > 1000 && sum.absent > 0 && sum.walked > 0 && writes > 1000);
    CU_ASSERT_EQUAL(registry_check(shm_registry(shm), NULL), 0);
    registry_writer_close(&w);
    shm_destroy(&shm);
}
