/*
 * test_behaviors.c - the behavior table.
 */
#include "shm/behaviors.h"
#include "shm_test.h"

static struct behaviors_entry
entry(const char *name, uint32_t version)
{
    struct behaviors_entry e = { .version = version, .generation = version * 2, .is_present = true };
    snprintf(e.name, sizeof e.name, "%s", name);
    snprintf(e.file, sizeof e.file, "%s.so", name);
    memset(e.hash, (int)version, sizeof e.hash);
    return e;
}

UNIT(behaviors, put_adds_by_name_and_replaces_at_the_same_index)
{
    struct shm *shm = test_shm(64);
    struct behaviors *b = shm_behaviors(shm);
    struct behaviors_entry e = entry("counter", 1), got;
    uint32_t index = 9;
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    CU_ASSERT_EQUAL(index, 0);
    e = entry("driver", 2);
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    CU_ASSERT_EQUAL(index, 1);
    e = entry("counter", 3);
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    CU_ASSERT_EQUAL(index, 0);
    CU_ASSERT_EQUAL(behaviors_count(b), 2);
    CU_ASSERT_EQUAL(behaviors_get(b, 0, &got), 0);
    CU_ASSERT(strcmp(got.name, "counter") == 0 && strcmp(got.file, "counter.so") == 0 && got.version == 3 && got.generation == 6);
    CU_ASSERT(got.is_present && got.hash[0] == 3 && got.hash[31] == 3);
    CU_ASSERT_EQUAL(behaviors_find(b, "driver", 6, &index), 0);
    CU_ASSERT_EQUAL(index, 1);
    CU_ASSERT_EQUAL(behaviors_find(b, "drive", 5, &index), NX_ENOBEHAVIOR);
    CU_ASSERT_EQUAL(behaviors_find(b, "driver\0x", 8, &index), NX_ENOBEHAVIOR);
    CU_ASSERT_EQUAL(behaviors_get(b, 2, &got), NX_EINVAL);
    shm_destroy(&shm);
}

UNIT(behaviors, one_that_is_gone_is_listed_but_not_found_and_comes_back_at_its_index)
{
    struct shm *shm = test_shm(64);
    struct behaviors *b = shm_behaviors(shm);
    struct behaviors_entry e = entry("counter", 1), got;
    uint32_t index = 9;
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    e.is_present = false;
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    CU_ASSERT_EQUAL(behaviors_find(b, "counter", 7, &index), NX_ENOBEHAVIOR);
    CU_ASSERT_EQUAL(behaviors_get(b, 0, &got), 0);
    CU_ASSERT(!got.is_present);
    e.is_present = true;
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    CU_ASSERT_EQUAL(index, 0);
    CU_ASSERT_EQUAL(behaviors_find(b, "counter", 7, &index), 0);
    shm_destroy(&shm);
}

UNIT(behaviors, names_of_128_bytes_fit_and_a_full_table_refuses)
{
    struct shm *shm = test_shm(64);
    struct behaviors *b = shm_behaviors(shm);
    struct behaviors_entry e = entry("x", 1), got;
    uint32_t index;
    memset(e.name, 'n', 128);
    memset(e.file, 'f', 255);
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    CU_ASSERT_EQUAL(behaviors_get(b, index, &got), 0);
    CU_ASSERT(strlen(got.name) == 128 && strlen(got.file) == 255);
    CU_ASSERT_EQUAL(behaviors_find(b, e.name, 128, &index), 0);
    memset(e.name, 'n', 129);                       /* no NUL */
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), NX_EINVAL);
    e = entry("", 1);
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), NX_EINVAL);
    for (unsigned i = 1; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "b%u", i);
        e = entry(name, i);
        CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), 0);
    }
    e = entry("ninth", 9);
    CU_ASSERT_EQUAL(behaviors_put(b, &e, &index), NX_EFULL);
    shm_destroy(&shm);
}
