/*
 * test_registry_damage.c - bits that a fault of the machine has changed (torture 61): a reader never falls, check tells, the
 * owner repairs.
 */
#include <fcntl.h>
#include <unistd.h>

#include "shm/registry_layout.h"

#include "base/log.h"
#include "shm_test.h"

enum { NAMES = 48, ROUNDS = 400 };

static struct shm *shm;
static struct registry *r;

static unsigned
read_all(void)
{
    struct registry_entry e;
    uint64_t cursor = 0;
    unsigned wrong = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        char name[24];
        snprintf(name, sizeof name, "name %u", i);
        int err = test_find(shm, REGISTRY_LOCAL, name, &e);
        if (checksum_is_fast())            /* otherwise only recovery looks at checksums */
            wrong += err == 0 && (!test_entry_is_whole(&e) || strcmp(e.name, name) != 0);
        wrong += err != 0 && err != NX_ENONAME && err != NX_EBUSY;
    }
    while (registry_next(r, shm_board(shm), shm_nodes(shm), &cursor, &e) == 1)
        wrong += !test_entry_is_whole(&e);
    return wrong;
}

UNIT(registry_damage, flipped_bits_give_no_wrong_answer_and_a_successor_repairs_all)
{
    uint64_t seed = UINT64_C(0x5eed0061), state = seed;
    unsigned wrong = 0, told = 0, dropped = 0;
    struct registry_writer *w;
    struct registry_recovery found;
    printf("# seed %#jx\n", (uintmax_t)seed);
    shm = test_shm(64);
    r = shm_registry(shm);
    r->hash_key = seed;                    /* the same places in each run; a real start draws its own */
    registry_header_write(r);
    size_t size = registry_size(64);
    CU_ASSERT_EQUAL_FATAL(registry_writer_open(r, &w, NULL, NULL), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < NAMES; i++) {
            char name[24];
            snprintf(name, sizeof name, "name %u", i);
            wrong += test_put(w, REGISTRY_LOCAL, name, round + i) != 0;
        }
        wrong += registry_check(r, NULL) != 0;
        unsigned flips = 1 + (unsigned)(test_random(&state) % 60);
        for (unsigned i = 0; i < flips; i++) {
            size_t at = REGISTRY_HEADER_BYTES + test_random(&state) % (size - REGISTRY_HEADER_BYTES);
            if (i == 0 && round % 4 == 0)
                at = test_random(&state) % 40;                    /* the words of the header that never change */
            ((uint8_t *)(void *)r->header)[at] ^= (uint8_t)(1u << test_random(&state) % 8);
        }
        wrong += read_all();
        struct base_error why = { 0 };
        bool is_told = registry_check(r, &why) != 0;
        told += is_told;
        registry_writer_close(&w);
        wrong += registry_writer_open(r, &w, &found, NULL) != 0;
        wrong += registry_check(r, NULL) != 0;
        wrong += read_all();
        wrong += !is_told && (found.bad != 0 || found.freed != 0 || found.swept != 0);         /* what recovery finds, check tells */
        dropped += NAMES - found.live;
    }
    printf("# told %u times of %u, %u names dropped of %u\n", told, ROUNDS, dropped, ROUNDS * NAMES);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(told > ROUNDS / 2 && dropped > 0);
    registry_writer_close(&w);
    shm_destroy(&shm);
}

UNIT(registry_damage, a_put_that_meets_a_damaged_body_repairs_it)
{
    struct registry_entry e;
    struct registry_writer *w;
    int ends[2];
    char line[512] = "";
    shm = test_shm(64);
    r = shm_registry(shm);
    CU_ASSERT_EQUAL_FATAL(registry_writer_open(r, &w, NULL, NULL), 0);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "hurt", 1), 0);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "well", 2), 0);
    for (uint32_t slot = 0; slot < 2; slot++) {
        uint64_t words[BODY_WORDS];
        if (registry_slot_read(r, slot, words) == 1 && memcmp(&words[BODY_FIXED], "hurt", 4) == 0)
            r->slots[slot].bodies[latch_begin(&r->slots[slot].latch) & 1][BODY_W_SERIAL] ^= 64;
    }
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(registry_check(r, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "checksum"));
    if (checksum_is_fast()) {
        CU_ASSERT_EQUAL(test_find(shm, REGISTRY_LOCAL, "hurt", &e), NX_EBUSY);
        CU_ASSERT_EQUAL(registry_writer_find(w, REGISTRY_LOCAL, "hurt", 4, &e), NX_ENONAME);
    }
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    log_take_fd(ends[1]);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "hurt", 3), 0);
    CU_ASSERT_EQUAL(log_open("stderr", NULL), 0);
    CU_ASSERT(read(ends[0], line, sizeof line - 1) > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "registry was damaged, repaired live=1"));
    close(ends[0]);
    CU_ASSERT_EQUAL(test_find(shm, REGISTRY_LOCAL, "hurt", &e), 0);
    CU_ASSERT_EQUAL(e.serial, 3);
    CU_ASSERT_EQUAL(test_find(shm, REGISTRY_LOCAL, "well", &e), 0);
    CU_ASSERT_EQUAL(registry_check(r, NULL), 0);
    registry_writer_close(&w);
    shm_destroy(&shm);
}

UNIT(registry_damage, a_segment_of_another_make_is_not_attached)
{
    size_t size = registry_size(64);
    uint64_t *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    struct registry *made, *other = NULL;
    struct base_error why = { 0 };
    memset(memory, 0, size);
    CU_ASSERT_EQUAL_FATAL(registry_new(memory, 64, 9, &made), 0);
    CU_ASSERT_EQUAL(registry_attach(memory, size, &other, &why), 0);
    registry_free(&other);
    CU_ASSERT_EQUAL(registry_attach(memory, size - 1, &other, &why), NX_EBADMSG);
    CU_ASSERT_EQUAL(registry_attach(memory, 10, &other, &why), NX_EBADMSG);
    made->header->layout ^= 1;
    CU_ASSERT_EQUAL(registry_attach(memory, size, &other, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NULL(other);
    registry_free(&made);
    free(memory);
}
