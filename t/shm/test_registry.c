/*
 * test_registry.c - names: insert, update, delete, walk, bounds, what hides an entry; against a plain map; churn; times.
 */
#include "shm/registry_layout.h"

#include "base/base.h"
#include "base/clock.h"
#include "shm_test.h"

static struct shm *shm;
static struct registry *r;
static struct registry_writer *w;

static void
setup(uint32_t capacity)
{
    shm = test_shm(capacity);
    r = shm_registry(shm);
    r->hash_key = UINT64_C(0x5eed5eed5eed5eed);    /* the same places in each run; a real start draws its own */
    registry_header_write(r);
    if (registry_writer_open(r, &w, NULL, NULL) != 0)
        abort();
}

static void
teardown(void)
{
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(registry_check(r, &why), 0);
    if (why.code != 0)
        printf("# %s\n", why.text);
    registry_writer_close(&w);
    shm_destroy(&shm);
}

static int
find(enum registry_scope scope, const char *name, struct registry_entry *out)
{
    return test_find(shm, scope, name, out);
}

UNIT(registry, a_name_is_found_after_put_and_not_after_delete)
{
    struct registry_entry e;
    setup(64);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "counter", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "counter", 42), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "counter", &e), 0);
    CU_ASSERT_EQUAL(e.serial, 42);
    CU_ASSERT_STRING_EQUAL(e.name, "counter");
    CU_ASSERT_EQUAL(e.name_len, 7);
    CU_ASSERT_EQUAL(e.scope, REGISTRY_LOCAL);
    CU_ASSERT(test_entry_is_whole(&e));
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "counte", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "counter2", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_LOCAL), 1);
    CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_LOCAL, "counter", 7), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "counter", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_LOCAL, "counter", 7), NX_ENONAME);
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_LOCAL), 0);
    teardown();
}

UNIT(registry, put_of_a_present_name_replaces_it_and_keeps_the_slot)
{
    struct registry_entry e;
    setup(64);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, "x", 1), 0);
    uint64_t before = registry_version(r);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, "x", 2), 0);
    CU_ASSERT_EQUAL(registry_version(r), before + 1);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "x", &e), 0);
    CU_ASSERT_EQUAL(e.serial, 2);
    CU_ASSERT(test_entry_is_whole(&e));
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_GLOBAL), 1);
    teardown();
}

UNIT(registry, the_two_scopes_do_not_see_each_other)
{
    struct registry_entry e;
    setup(64);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "same", 1), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "same", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, "same", 2), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "same", &e), 0);
    CU_ASSERT_EQUAL(e.serial, 1);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "same", &e), 0);
    CU_ASSERT_EQUAL(e.serial, 2);
    CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_LOCAL, "same", 4), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "same", &e), 0);
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_LOCAL), 0);
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_GLOBAL), 1);
    teardown();
}

UNIT(registry, names_of_each_length_to_255_and_wrong_arguments_are_told)
{
    struct registry_entry e = { 0 };
    char name[300];
    memset(name, 'n', sizeof name);
    setup(256);
    for (size_t len = 1; len <= 255; len++) {
        e = test_entry(REGISTRY_GLOBAL, name, len, len);
        CU_ASSERT_EQUAL(registry_put(w, &e), 0);
    }
    for (size_t len = 1; len <= 255; len++) {
        memset(&e, 0x55, sizeof e);
        CU_ASSERT_EQUAL(registry_find(r, shm_board(shm), shm_nodes(shm), REGISTRY_GLOBAL, name, len, &e), 0);
        CU_ASSERT_EQUAL(e.serial, len);
        CU_ASSERT(e.name_len == len && strlen(e.name) == len && memcmp(e.name, name, len) == 0);
    }
    memset(&e, 0x55, sizeof e);
    struct registry_entry untouched = e;
    CU_ASSERT_EQUAL(registry_find(r, shm_board(shm), shm_nodes(shm), REGISTRY_GLOBAL, name, 256, &e), NX_EINVAL);
    CU_ASSERT_EQUAL(registry_find(r, shm_board(shm), shm_nodes(shm), REGISTRY_GLOBAL, name, 0, &e), NX_EINVAL);
    CU_ASSERT_EQUAL(registry_find(r, shm_board(shm), shm_nodes(shm), (enum registry_scope)3, name, 1, &e), NX_EINVAL);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "n", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(memcmp(&e, &untouched, sizeof e), 0);
    e = test_entry(REGISTRY_LOCAL, "x", 1, 1);
    e.name_len = 256;
    CU_ASSERT_EQUAL(registry_put(w, &e), NX_EINVAL);
    e.name_len = 0;
    CU_ASSERT_EQUAL(registry_put(w, &e), NX_EINVAL);
    e = test_entry((enum registry_scope)0, "x", 1, 1);
    CU_ASSERT_EQUAL(registry_put(w, &e), NX_EINVAL);
    e = test_entry(REGISTRY_LOCAL, "x", 1, 1);
    e.node = 4096;
    CU_ASSERT_EQUAL(registry_put(w, &e), NX_EINVAL);
    CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_LOCAL, name, 256), NX_ENONAME);
    teardown();
}

UNIT(registry, a_full_registry_refuses_the_next_name_and_takes_it_after_a_delete)
{
    struct registry_entry e;
    char name[16];
    setup(64);
    CU_ASSERT_EQUAL(registry_capacity(r), 64);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "n%u", i);
        CU_ASSERT_EQUAL(test_put(w, i % 2 ? REGISTRY_LOCAL : REGISTRY_GLOBAL, name, i), 0);
    }
    uint64_t before = registry_version(r);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "one more", 1), NX_EFULL);
    CU_ASSERT_EQUAL(registry_version(r), before);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "one more", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "n5", 500), 0);                  /* replacing needs no room */
    CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_GLOBAL, "n4", 2), 0);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "one more", 1), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "one more", &e), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "n5", &e), 0);
    CU_ASSERT_EQUAL(e.serial, 500);
    teardown();
}

UNIT(registry, an_overflow_sends_searches_for_unknown_names_to_the_owner)
{
    struct registry_entry e;
    setup(64);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "known", 1), 0);
    registry_writer_set_overflow(w, true);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "unknown", &e), NX_EBUSY);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "known", &e), 0);
    registry_writer_set_overflow(w, false);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "unknown", &e), NX_ENONAME);
    registry_writer_set_overflow(w, true);
    registry_writer_close(&w);
    CU_ASSERT_EQUAL(registry_writer_open(r, &w, NULL, NULL), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "unknown", &e), NX_ENONAME);
    teardown();
}

UNIT(registry, one_store_of_the_master_hides_all_names_of_a_dead_worker_for_ever)
{
    struct registry_entry e;
    uint64_t cursor = 0;
    setup(64);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, "one", 1), 0);                 /* on worker 1 */
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "two", 2), 0);                  /* on worker 2 */
    board_set(shm_board(shm), 1, &(struct board_slot){ .generation = 0, .state = BOARD_DOWN });
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "one", &e), NX_ENONAME);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "two", &e), 0);
    CU_ASSERT_EQUAL(registry_next(r, shm_board(shm), shm_nodes(shm), &cursor, &e), 1);
    CU_ASSERT_STRING_EQUAL(e.name, "two");
    CU_ASSERT_EQUAL(registry_next(r, shm_board(shm), shm_nodes(shm), &cursor, &e), 0);
    board_set(shm_board(shm), 1, &(struct board_slot){ .generation = TEST_LIFE + 1, .state = BOARD_READY });
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "one", &e), NX_ENONAME);
    /* The writer still sees it, to sweep it, and it still counts. */
    CU_ASSERT_EQUAL(registry_writer_find(w, REGISTRY_GLOBAL, "one", 3, &e), 0);
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_GLOBAL), 1);
    CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_GLOBAL, "one", 3), 0);
    /* A worker that was never on the board is not alive. */
    e = test_entry(REGISTRY_LOCAL, "void", 4, 1);
    e.slot = 63;
    e.generation = 0;
    CU_ASSERT_EQUAL(registry_put(w, &e), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, "void", &e), NX_ENONAME);
    teardown();
}

UNIT(registry, a_foreign_name_lives_as_long_as_its_node_is_up_in_that_life)
{
    struct registry_entry e;
    setup(64);
    uint32_t self = test_node(shm, "app1@127.0.0.1:4369", NODES_UP, TEST_INCARNATION, 0);
    uint32_t peer = test_node(shm, "app2@127.0.0.1:4370", NODES_UP, 77, 1);
    CU_ASSERT_EQUAL(self, 0);
    e = test_entry(REGISTRY_GLOBAL, "theirs", 6, 5);
    e.node = peer;
    e.incarnation = 77;
    e.slot = 63;                                       /* a worker of that node: this board does not matter */
    CU_ASSERT_EQUAL(registry_put(w, &e), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "theirs", &e), 0);
    CU_ASSERT_EQUAL(e.node, peer);
    CU_ASSERT_EQUAL(registry_writer_count(w, REGISTRY_GLOBAL, peer), 1);
    CU_ASSERT_EQUAL(registry_writer_count(w, REGISTRY_GLOBAL, 0), 0);
    struct nodes_entry n;
    CU_ASSERT_EQUAL(nodes_get(shm_nodes(shm), peer, &n), 0);
    n.state = NODES_DOWN;
    nodes_put(shm_nodes(shm), peer, &n);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "theirs", &e), NX_ENONAME);
    n.state = NODES_UP;
    n.incarnation = 78;
    nodes_put(shm_nodes(shm), peer, &n);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "theirs", &e), NX_ENONAME);
    n.incarnation = 77;
    nodes_put(shm_nodes(shm), peer, &n);
    CU_ASSERT_EQUAL(find(REGISTRY_GLOBAL, "theirs", &e), 0);
    /* The same name taken over by this node: the count moves with it. */
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, "theirs", 9), 0);
    CU_ASSERT_EQUAL(registry_writer_count(w, REGISTRY_GLOBAL, peer), 0);
    CU_ASSERT_EQUAL(registry_writer_count(w, REGISTRY_GLOBAL, 0), 1);
    CU_ASSERT_EQUAL(registry_writer_count(w, REGISTRY_GLOBAL, 5000), 0);
    teardown();
}

UNIT(registry, sequence_and_timestamp_never_go_back_and_survive_the_writer)
{
    setup(64);
    CU_ASSERT_EQUAL(registry_sequence(w), 0);
    CU_ASSERT_EQUAL(registry_next_sequence(w), 1);
    CU_ASSERT_EQUAL(registry_next_sequence(w), 2);
    CU_ASSERT_EQUAL(registry_sequence(w), 2);
    CU_ASSERT_EQUAL(registry_next_timestamp(w, 1000), 1000);
    CU_ASSERT_EQUAL(registry_next_timestamp(w, 1000), 1001);
    CU_ASSERT_EQUAL(registry_next_timestamp(w, 5), 1002);                       /* the wall clock has jumped back */
    registry_writer_close(&w);
    CU_ASSERT_EQUAL(registry_writer_open(r, &w, NULL, NULL), 0);
    CU_ASSERT_EQUAL(registry_sequence(w), 3);                                   /* one may have been given out and lost */
    CU_ASSERT_EQUAL(registry_next_sequence(w), 4);
    CU_ASSERT(registry_next_timestamp(w, 0) > 1002);
    CU_ASSERT_EQUAL(registry_next_timestamp(w, 2000), 2000);
    teardown();
}

UNIT(registry, the_writer_may_delete_what_it_walks_over)
{
    struct registry_entry e;
    char name[16];
    uint64_t cursor = 0;
    unsigned seen = 0;
    setup(64);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "n%u", i);
        CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, name, i), 0);
    }
    while (registry_writer_next(w, &cursor, &e) == 1) {
        seen++;
        if (e.serial % 2 == 0)
            CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_LOCAL, e.name, e.name_len), 0);
    }
    CU_ASSERT_EQUAL(seen, 64);
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_LOCAL), 32);
    cursor = seen = 0;
    while (registry_next(r, shm_board(shm), shm_nodes(shm), &cursor, &e) == 1) {
        seen++;
        CU_ASSERT_EQUAL(e.serial % 2, 1);
    }
    CU_ASSERT_EQUAL(seen, 32);
    teardown();
}

/* Names that begin at one word and go in one step: the worst that the index can meet. */
UNIT(registry, names_that_collide_in_each_probe_are_all_found_or_refused)
{
    enum { CROWD = 70 };
    static char names[CROWD][24];
    struct registry_entry e;
    unsigned count = 0, fit = 0;
    setup(128);
    for (uint64_t i = 0; count < CROWD; i++) {
        char name[24];
        int len = snprintf(name, sizeof name, "c%ju", (uintmax_t)i);
        uint64_t hash = registry_hash(r, REGISTRY_LOCAL, name, (size_t)len);
        if (registry_probe(r, hash, 0) == 17 && registry_probe(r, hash, 1) == 20)
            memcpy(names[count++], name, sizeof name);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        int err = test_put(w, REGISTRY_LOCAL, names[i], i);
        CU_ASSERT(err == (i < REGISTRY_PROBES ? 0 : NX_EFULL));
        fit += err == 0;
    }
    CU_ASSERT_EQUAL(fit, REGISTRY_PROBES);
    for (unsigned i = 0; i < CROWD; i++)
        CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, names[i], &e), i < fit ? 0 : NX_ENONAME);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "elsewhere", 1), 0);
    CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_LOCAL, names[0], strlen(names[0])), 0);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, names[CROWD - 1], 99), 0);      /* in the tombstone */
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, names[CROWD - 1], &e), 0);
    CU_ASSERT_EQUAL(find(REGISTRY_LOCAL, names[63], &e), 0);
    teardown();
}

/* Torture 60: who knows the hash function but not this start's key cannot make names that crowd. */
UNIT(registry, names_crafted_for_another_key_do_not_crowd)
{
    setup(16384);
    unsigned made = 0, longest = 0;
    for (uint64_t i = 0; made < 10000; i++) {
        char name[24];
        int len = snprintf(name, sizeof name, "k%ju", (uintmax_t)i);
        if ((table_hash(1 + REGISTRY_LOCAL, name, (size_t)len) >> 32 & 31) != 0)          /* all in a 32nd of the table, by that key */
            continue;
        made++;
        CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, name, i), 0);
    }
    const latch_word *area = r->areas[latch_load(&r->header->root) & 1];
    for (uint32_t slot = 0; slot < 10000; slot++) {
        uint64_t words[BODY_WORDS];
        CU_ASSERT_EQUAL(registry_slot_read(r, slot, words), 1);
        unsigned n = 0;
        while (latch_load(&area[registry_probe(r, words[BODY_W_HASH], n)]) != registry_word(words[BODY_W_HASH], slot))
            n++;
        longest = n > longest ? n : longest;
    }
    printf("# 10000 crafted names: longest search %u words\n", longest + 1);
    CU_ASSERT(longest < 24);
    teardown();
}

/* ---- against a plain map */

enum { POOL = 1500, MAP_CAPACITY = 1024, OPERATIONS = 200000 };

struct model { bool is_present; uint64_t value; enum registry_scope scope; uint16_t len; char name[256]; };

static void
model_compare(const struct model *pool, unsigned present)
{
    struct registry_entry e;
    uint64_t cursor = 0;
    unsigned walked = 0;
    for (unsigned i = 0; i < POOL; i++) {
        int err = registry_find(r, shm_board(shm), shm_nodes(shm), pool[i].scope, pool[i].name, pool[i].len, &e);
        CU_ASSERT_EQUAL(err, pool[i].is_present ? 0 : NX_ENONAME);
        CU_ASSERT(err != 0 || (e.serial == pool[i].value && test_entry_is_whole(&e)));
    }
    while (registry_next(r, shm_board(shm), shm_nodes(shm), &cursor, &e) == 1)
        walked++;
    CU_ASSERT_EQUAL(walked, present);
    CU_ASSERT_EQUAL(registry_count(r, REGISTRY_LOCAL) + registry_count(r, REGISTRY_GLOBAL), present);
    CU_ASSERT_EQUAL(registry_writer_count(w, REGISTRY_LOCAL, 0), registry_count(r, REGISTRY_LOCAL));
    CU_ASSERT_EQUAL(registry_check(r, NULL), 0);
}

UNIT(registry, two_hundred_thousand_random_operations_agree_with_a_plain_map)
{
    static struct model pool[POOL];
    uint64_t seed = UINT64_C(0x5eed0001), state = seed;
    unsigned present = 0, refused = 0;
    setup(MAP_CAPACITY);
    memset(pool, 0, sizeof pool);
    printf("# seed %#jx\n", (uintmax_t)seed);
    for (unsigned i = 0; i < POOL; i++) {           /* half of the names are in both scopes; lengths from 4 to 255 */
        struct model *m = &pool[i];
        m->scope = i % 2 == 0 ? REGISTRY_LOCAL : REGISTRY_GLOBAL;
        m->len = (uint16_t)(i / 2 % 252 + 4);
        memset(m->name, 'a' + (int)(i / 2 % 26), m->len);
        char number[8];
        snprintf(number, sizeof number, "%04u", i / 2);
        memcpy(m->name + (i % 4 < 2 ? 0 : m->len - 4), number, 4);
    }
    for (unsigned op = 0; op < OPERATIONS; op++) {
        uint64_t dice = test_random(&state);
        struct model *m = &pool[dice % POOL];
        struct registry_entry e;
        unsigned what = (unsigned)(dice >> 40) % 100;
        unsigned puts = op / 20000 % 2 == 0 ? 55 : 20;          /* it fills up, and empties again */
        if (what < puts) {
            e = test_entry(m->scope, m->name, m->len, op);
            int err = registry_put(w, &e);
            bool fits = m->is_present || present < MAP_CAPACITY;
            CU_ASSERT_EQUAL(err, fits ? 0 : NX_EFULL);
            refused += !fits;
            if (fits) {
                present += !m->is_present;
                m->is_present = true;
                m->value = op;
            }
        } else if (what < 75) {
            CU_ASSERT_EQUAL(registry_delete(w, m->scope, m->name, m->len), m->is_present ? 0 : NX_ENONAME);
            present -= m->is_present;
            m->is_present = false;
        } else {
            int err = registry_find(r, shm_board(shm), shm_nodes(shm), m->scope, m->name, m->len, &e);
            CU_ASSERT_EQUAL(err, m->is_present ? 0 : NX_ENONAME);
            CU_ASSERT(err != 0 || (e.serial == m->value && test_entry_is_whole(&e)));
        }
        if (op % 20000 == 19999) {
            model_compare(pool, present);
            struct registry_recovery found;                      /* a quiet successor finds just what there is */
            registry_writer_close(&w);
            CU_ASSERT_EQUAL(registry_writer_open(r, &w, &found, NULL), 0);
            CU_ASSERT(found.live == present && found.freed == 0 && found.swept == 0 && found.bad == 0);
            model_compare(pool, present);
        }
    }
    printf("# %u refused as full, root %ju\n", refused, (uintmax_t)latch_load(&r->header->root));
    CU_ASSERT(refused > 0);
    CU_ASSERT(latch_load(&r->header->root) > 0);                 /* the index was changed over at least once */
    teardown();
}

/* Torture 63. */
UNIT(registry, a_million_times_register_and_unregister_leaks_nothing)
{
    enum { TIMES = 1000000 / TEST_SLOWER };
    setup(64);
    struct registry_entry e = test_entry(REGISTRY_GLOBAL, "churn", 5, 1);
    uint32_t free_before = w->free_count;
    uint64_t began = clock_now_ns();
    unsigned wrong = 0;
    for (unsigned i = 0; i < TIMES; i++)
        wrong += registry_put(w, &e) != 0 || registry_delete(w, REGISTRY_GLOBAL, "churn", 5) != 0;
    printf("# %u ns for one put and one delete\n", (unsigned)((clock_now_ns() - began) / TIMES));
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(w->free_count, free_before);
    CU_ASSERT_EQUAL(latch_load(&r->header->high_water), 1);
    teardown();
}

UNIT(registry, names_that_are_new_each_time_leave_few_tombstones)
{
    setup(256);
    unsigned wrong = 0, most = 0;
    for (unsigned i = 0; i < 50000; i++) {
        char name[24];
        snprintf(name, sizeof name, "name %u", i);
        wrong += test_put(w, REGISTRY_LOCAL, name, i) != 0;
        if (i >= 100) {
            snprintf(name, sizeof name, "name %u", i - 100);
            wrong += registry_delete(w, REGISTRY_LOCAL, name, strlen(name)) != 0;
        }
        most = w->tombstones > most ? w->tombstones : most;
        if (i % 1000 == 0)
            CU_ASSERT_EQUAL(registry_check(r, NULL), 0);         /* counts the tombstones itself */
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(most <= r->index_words / 4);
    CU_ASSERT(latch_load(&r->header->root) > 10);
    teardown();
}

UNIT(registry, all_of_65536_names_are_found_and_the_time_is_told)
{
    enum { NAMES = 65536 };
    struct registry_entry e;
    char name[32];
    uint64_t state = 1, times[3];
    unsigned wrong = 0;
    setup(NAMES);
    times[0] = clock_now_ns();
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "server-%u", i);
        wrong += test_put(w, REGISTRY_LOCAL, name, i) != 0;
    }
    times[0] = clock_now_ns() - times[0];
    static char picked[NAMES][16];
    for (unsigned i = 0; i < NAMES; i++)
        snprintf(picked[i], sizeof picked[i], "server-%u", (unsigned)(test_random(&state) % NAMES));
    uint64_t best = UINT64_MAX, best_put = UINT64_MAX;
    for (int round = 0; round < 5; round++) {
        times[1] = clock_now_ns();
        for (unsigned i = 0; i < NAMES; i++)
            wrong += find(REGISTRY_LOCAL, picked[i], &e) != 0;
        times[1] = clock_now_ns() - times[1];
        best = times[1] < best ? times[1] : best;
        times[2] = clock_now_ns();
        for (unsigned i = 0; i < NAMES; i++)
            wrong += test_put(w, REGISTRY_LOCAL, picked[i], i) != 0;
        times[2] = clock_now_ns() - times[2];
        best_put = times[2] < best_put ? times[2] : best_put;
    }
    uint64_t began = clock_now_ns();
    struct registry_recovery found;
    registry_writer_close(&w);
    CU_ASSERT_EQUAL(registry_writer_open(r, &w, &found, NULL), 0);
    uint64_t recovery = clock_now_ns() - began;
    CU_ASSERT_EQUAL(found.live, NAMES);
    began = clock_now_ns();
    CU_ASSERT(registry_rebuild(w));
    printf("# 65536 names: find %ju ns, insert %ju ns, update %ju ns; recovery %ju us, new index %ju us\n", (uintmax_t)best / NAMES,
           (uintmax_t)times[0] / NAMES, (uintmax_t)best_put / NAMES, (uintmax_t)recovery / 1000,
           (uintmax_t)(clock_now_ns() - began) / 1000);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(recovery < CLOCK_NS_PER_S * TEST_SLOWER);          /* the bound for a repair; 50 ms is what it should take */
    teardown();
}
