/*
 * shm_test.h - what the tests of this room share: a small node's memory, entries, random numbers that a seed repeats.
 */
#ifndef NOEXD_T_SHM_SHM_TEST_H
#define NOEXD_T_SHM_SHM_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/board.h"
#include "shm/nodes.h"
#include "shm/registry_writer.h"
#include "shm/shm.h"
#include "unit.h"

/* Which sanitizer watches: they make all of it 3 to 50 times slower, so some numbers of rounds are smaller then. */
#ifdef __has_feature
#define TEST_HAS(what) __has_feature(what)
#else
#define TEST_HAS(what) 0
#endif
#if defined(__SANITIZE_THREAD__) || TEST_HAS(thread_sanitizer)
#define TEST_SLOWER 20
#define TEST_TSAN 1
#elif defined(__SANITIZE_ADDRESS__) || TEST_HAS(address_sanitizer)
#define TEST_SLOWER 4
#define TEST_TSAN 0
#else
#define TEST_SLOWER 1
#define TEST_TSAN 0
#endif

enum { TEST_LIFE = 7, TEST_INCARNATION = 0xabc };

/* A node with four workers in life 7, whose memory nobody has given up. */
static inline struct shm *
test_shm(uint32_t registry_capacity)
{
    struct shm_config config = { .workers = 4, .registry_capacity = registry_capacity, .nodes_max = 16, .behaviors_max = 8 };
    struct shm *shm = NULL;
    struct base_error why = { 0 };
    if (shm_create(&config, &shm, &why) != 0) {
        fprintf(stderr, "shm_create: %s\n", why.text);
        abort();
    }
    for (uint16_t slot = 0; slot < 4; slot++)
        board_set(shm_board(shm), slot, &(struct board_slot){ .generation = TEST_LIFE, .state = BOARD_READY, .pid = 100 + slot });
    return shm;
}

static inline uint32_t
test_node(struct shm *shm, const char *text, enum nodes_state state, uint64_t incarnation, uint32_t session)
{
    struct node_id id;
    uint32_t index = 0;
    if (node_id_parse(text, strlen(text), &id, NULL) != 0 || nodes_add(shm_nodes(shm), &id, &index) != 0)
        abort();
    nodes_put(shm_nodes(shm), index, &(struct nodes_entry){ .state = state, .incarnation = incarnation, .session = session });
    return index;
}

/* An entry all of whose figures follow from `value`, so that a mixture of two shows. */
static inline struct registry_entry
test_entry(enum registry_scope scope, const char *name, size_t len, uint64_t value)
{
    struct registry_entry e = {
        .name_len = (uint16_t)len, .scope = (uint8_t)scope, .slot = (uint16_t)(value % 4), .generation = TEST_LIFE, .serial = value,
        .registered_at_ms = value * 3, .sequence = ~value, .priority = (int32_t)(uint32_t)(value * 5), .incarnation = value * 7,
    };
    memcpy(e.name, name, len);
    return e;
}

static inline bool
test_entry_is_whole(const struct registry_entry *e)
{
    struct registry_entry same = test_entry((enum registry_scope)e->scope, e->name, e->name_len, e->serial);
    return e->slot == same.slot && e->registered_at_ms == same.registered_at_ms && e->sequence == same.sequence
        && e->priority == same.priority && e->incarnation == same.incarnation && e->node == 0 && e->generation == TEST_LIFE;
}

static inline int
test_put(struct registry_writer *w, enum registry_scope scope, const char *name, uint64_t value)
{
    struct registry_entry e = test_entry(scope, name, strlen(name), value);
    return registry_put(w, &e);
}

static inline int
test_find(struct shm *shm, enum registry_scope scope, const char *name, struct registry_entry *out)
{
    return registry_find(shm_registry(shm), shm_board(shm), shm_nodes(shm), scope, name, strlen(name), out);
}

/* xorshift64*: the same numbers from the same seed on each machine. */
static inline uint64_t
test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif
