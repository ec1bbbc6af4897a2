/*
 * test_registry_step.c - the writer stopped after each single instruction of each write, and the reader likewise.
 *
 * The linear form of the stepper: a child runs one operation on a shared registry under PTRACE_SINGLESTEP. What readers see
 * and what a successor finds depends on the bytes of the registry alone, so both are examined after each instruction that has
 * changed a byte, and that is all of them. The registry is examined in place by a reader, and as a copy by a successor's
 * recovery, as if the child had been killed there.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/registry_layout.h"
#include "shm_test.h"

enum { CAPACITY = 64, NAMES = 12, INDEX_WORDS = 128 };

/* The operations. Each changes at most one name, from one value to another; 0 = absent. */
enum what { STEP_PUT, STEP_DELETE, STEP_RECOVER };
struct step_case { const char *label; enum what what; unsigned name; uint64_t after; };

static struct shm *shm;
static struct registry *r;                 /* over shared anonymous memory, so that a copy of it can be attached */
static uint8_t *memory, *last, *copy;
static size_t size;
static uint64_t values[NAMES];             /* what is registered now */

static const char *
step_name(unsigned i, char out[static 64])
{
    snprintf(out, 64, "%s %u", i % 2 == 0 ? "n" : "a name that needs several words", i);
    return out;
}

/* What a reader finds: a value, 0 = absent, UINT64_MAX = an answer that must not be. */
static uint64_t
observe(const struct registry *from, unsigned i)
{
    struct registry_entry e;
    char name[64];
    step_name(i, name);
    int err = registry_find(from, shm_board(shm), shm_nodes(shm), REGISTRY_GLOBAL, name, strlen(name), &e);
    if (err == NX_ENONAME)
        return 0;
    return err == 0 && test_entry_is_whole(&e) && strcmp(e.name, name) == 0 ? e.serial : UINT64_MAX;
}

static void
setup(void)
{
    shm = test_shm(CAPACITY);
    size = registry_size(CAPACITY);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    last = malloc(size);
    copy = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    if (memory == MAP_FAILED || last == NULL || copy == NULL || registry_new(memory, CAPACITY, 0x1234567, &r) != 0)
        abort();
    memset(values, 0, sizeof values);
}

static void
teardown(void)
{
    registry_free(&r);
    munmap(memory, size);
    free(last);
    free(copy);
    shm_destroy(&shm);
}

/* Six names, and `tombstones` in the index. */
static void
populate(unsigned tombstones)
{
    struct registry_writer *w;
    char name[64];
    if (registry_writer_open(r, &w, NULL, NULL) != 0)
        abort();
    for (unsigned i = 0; i < NAMES / 2; i++) {
        values[i] = 100 + i;
        CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, step_name(i, name), values[i]), 0);
    }
    CU_ASSERT(registry_rebuild(w) && registry_rebuild(w));         /* so that the area to be built next is not empty */
    for (unsigned i = 0; w->tombstones < tombstones; i++) {
        snprintf(name, sizeof name, "gone %u", i);
        CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, name, 1), 0);
        CU_ASSERT_EQUAL(registry_delete(w, REGISTRY_LOCAL, name, strlen(name)), 0);
    }
    registry_writer_close(&w);
}

struct tally { uint64_t instructions, states, dirty; unsigned wrong; bool has_changed; };

/* A successor on a copy: afterwards all is in order, and it sees what a reader sees. */
static void
examine_successor(struct tally *t, const uint64_t seen[static NAMES])
{
    struct registry *other;
    struct registry_writer *w;
    struct registry_recovery found;
    struct base_error why = { 0 };
    memcpy(copy, memory, size);
    if (registry_attach(copy, size, &other, NULL) != 0) {
        t->wrong++;
        return;
    }
    t->dirty += registry_check(other, NULL) != 0;
    if (registry_writer_open(other, &w, &found, NULL) != 0 || found.bad != 0 || registry_check(other, &why) != 0) {
        printf("# after recovery: bad=%u %s\n", found.bad, why.text);
        t->wrong++;
    }
    for (unsigned i = 0; i < NAMES; i++)
        t->wrong += observe(other, i) != seen[i];
    registry_writer_close(&w);
    registry_free(&other);
}

static void
examine(struct tally *t, const struct step_case *c)
{
    uint64_t seen[NAMES];
    t->states++;
    for (unsigned i = 0; i < NAMES; i++) {
        seen[i] = observe(r, i);
        if (c->what == STEP_RECOVER || c->name != i) {
            t->wrong += seen[i] != values[i];
        } else if (seen[i] == c->after) {
            t->has_changed = true;
        } else {
            t->wrong += seen[i] != values[i] || t->has_changed;       /* the old value, and only until the new one was seen */
        }
    }
    examine_successor(t, seen);
}

static void
child_operation(const struct step_case *c)
{
    struct registry_writer *w;
    char name[64];
    step_name(c->name, name);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(42);
    if (c->what == STEP_RECOVER) {
        raise(SIGSTOP);
        if (registry_writer_open(r, &w, NULL, NULL) != 0)
            _exit(1);
    } else {
        if (registry_writer_open(r, &w, NULL, NULL) != 0)
            _exit(1);
        raise(SIGSTOP);
        int err = c->what == STEP_PUT ? test_put(w, REGISTRY_GLOBAL, name, c->after)
            : registry_delete(w, REGISTRY_GLOBAL, name, strlen(name));
        if (err != 0)
            _exit(1);
    }
    raise(SIGSTOP);
    _exit(0);
}

/* Step the child through its operation. False: this system does not let us. */
static bool
step_through(const struct step_case *c, struct tally *t)
{
    int status;
    if (TEST_TSAN) {
        unit_skip("ThreadSanitizer does not see other processes, and makes each step fifty");
        return false;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        child_operation(c);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
        unit_skip("ptrace is not permitted here");
        return false;
    }
    memcpy(last, memory, size);
    examine(t, c);
    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
            t->wrong++;
            break;
        }
        if (WSTOPSIG(status) == SIGSTOP)
            break;
        t->instructions++;
        if (memcmp(last, memory, size) != 0) {
            memcpy(last, memory, size);
            examine(t, c);
        }
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return true;
}

static void
run_case(const struct step_case *c)
{
    struct tally t = { 0 };
    if (!step_through(c, &t))
        return;
    printf("# %s: %ju instructions, %ju states, %ju with work for a successor\n", c->label, (uintmax_t)t.instructions,
           (uintmax_t)t.states, (uintmax_t)t.dirty);
    CU_ASSERT_EQUAL(t.wrong, 0);
    CU_ASSERT(t.instructions > 100 && t.states > 5);
    if (c->what != STEP_RECOVER) {
        CU_ASSERT(t.has_changed);
        values[c->name] = c->after;
    }
    struct registry_writer *w;                     /* what the child had in its heap is gone: it was killed in the end */
    CU_ASSERT_EQUAL_FATAL(registry_writer_open(r, &w, NULL, NULL), 0);
    CU_ASSERT_EQUAL(registry_check(r, NULL), 0);
    registry_writer_close(&w);
}

UNIT(registry_step, killed_after_any_instruction_of_an_insert_the_name_is_there_or_not)
{
    setup();
    populate(0);
    run_case(&(struct step_case){ "insert, short name", STEP_PUT, 6, 206 });
    run_case(&(struct step_case){ "insert, long name", STEP_PUT, 7, 207 });
    teardown();
    setup();
    populate(INDEX_WORDS / 4 - 1);
    run_case(&(struct step_case){ "a last delete", STEP_DELETE, 5, 0 });
    run_case(&(struct step_case){ "insert into its own tombstone", STEP_PUT, 5, 205 });
    teardown();
}

UNIT(registry_step, killed_after_any_instruction_of_an_update_there_is_the_old_entry_or_the_new_one)
{
    setup();
    populate(3);
    run_case(&(struct step_case){ "update", STEP_PUT, 0, 300 });
    run_case(&(struct step_case){ "update, long name", STEP_PUT, 1, 301 });
    run_case(&(struct step_case){ "update again, into the first body", STEP_PUT, 1, 401 });
    teardown();
}

UNIT(registry_step, killed_after_any_instruction_of_a_delete_the_name_is_gone_or_there_and_never_comes_back)
{
    setup();
    populate(3);
    run_case(&(struct step_case){ "delete", STEP_DELETE, 2, 0 });
    run_case(&(struct step_case){ "delete, long name", STEP_DELETE, 3, 0 });
    teardown();
}

UNIT(registry_step, killed_after_any_instruction_of_a_change_to_a_fresh_index_all_names_are_there)
{
    setup();
    populate(INDEX_WORDS / 4);             /* the next delete is one tombstone too many */
    uint64_t root = latch_load(&r->header->root);
    run_case(&(struct step_case){ "delete with a new index", STEP_DELETE, 4, 0 });
    CU_ASSERT_EQUAL(latch_load(&r->header->root), root + !TEST_TSAN);
    teardown();
}

/* The three things that recovery has to do, and it is killed itself meanwhile. */
UNIT(registry_step, killed_after_any_instruction_of_a_recovery_nothing_is_lost_for_the_next_one)
{
    char name[64];
    uint64_t words[BODY_WORDS];
    struct registry_recovery found;
    struct registry_writer *w;
    uint32_t slot;
    setup();
    populate(3);
    /* A delete that was killed before its tombstone; an insert that was killed before its index word. */
    step_name(2, name);
    uint64_t hash = registry_hash(r, REGISTRY_GLOBAL, name, strlen(name));
    CU_ASSERT_EQUAL_FATAL(registry_seek(r, hash, REGISTRY_GLOBAL, name, strlen(name), &slot, words), 0);
    registry_slot_kill(r, slot);
    values[2] = 0;
    step_name(9, name);
    struct registry_entry e = test_entry(REGISTRY_GLOBAL, name, strlen(name), 209);
    body_pack(&e, registry_hash(r, REGISTRY_GLOBAL, name, strlen(name)), words);
    registry_slot_write(r, 40, words);
    uint8_t *before = malloc(size);
    memcpy(before, memory, size);
    CU_ASSERT_EQUAL(registry_writer_open(r, &w, &found, NULL), 0);
    CU_ASSERT(found.swept == 1 && found.freed == 1 && found.bad == 0 && found.live == 5);
    registry_writer_close(&w);
    memcpy(memory, before, size);
    free(before);
    run_case(&(struct step_case){ "recovery", STEP_RECOVER, 0, 0 });
    teardown();
}

/* ---- the reader under the stepper */

/* What the reading child has found, in shared memory. */
struct answer { _Atomic uint64_t count; _Atomic int err; _Atomic uint64_t serial; _Atomic int is_whole; };

_Noreturn static void
child_reader(struct answer *a, const char *name)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(42);
    raise(SIGSTOP);
    for (;;) {
        struct registry_entry e;
        int err = registry_find(r, shm_board(shm), shm_nodes(shm), REGISTRY_GLOBAL, name, strlen(name), &e);
        atomic_store(&a->err, err);
        atomic_store(&a->serial, err == 0 ? e.serial : 0);
        atomic_store(&a->is_whole, err != 0 || test_entry_is_whole(&e));
        atomic_fetch_add(&a->count, 1);
    }
}

/* Torture 64, and worse: between any two instructions of a lookup there can be a hundred commits. */
UNIT(registry_step, a_reader_interrupted_anywhere_by_commits_answers_whole_and_recent_or_busy)
{
    if (TEST_TSAN) {
        unit_skip("ThreadSanitizer does not see other processes, and makes each step fifty");
        return;
    }
    enum { LOOKUPS = 300 / TEST_SLOWER, EVERY = 150 * TEST_SLOWER };
    uint64_t state = UINT64_C(0x5eed0064), value = 1000, at_start = 1000, answers = 0;
    unsigned wrong = 0, busy = 0, commits = 0;
    struct registry_writer *w;
    int status;
    setup();
    struct answer *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(a, MAP_FAILED);
    CU_ASSERT_EQUAL_FATAL(registry_writer_open(r, &w, NULL, NULL), 0);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_GLOBAL, "the steady name", value), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        child_reader(a, "the steady name");
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
        unit_skip("ptrace is not permitted here");
        goto out;
    }
    for (unsigned step = 0; answers < LOOKUPS && step < 4000000; step++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
            wrong++;
            break;
        }
        if (atomic_load(&a->count) != answers) {
            answers = atomic_load(&a->count);
            int err = atomic_load(&a->err);
            busy += err == NX_EBUSY;
            wrong += err != 0 && err != NX_EBUSY;                     /* it is never absent */
            wrong += !atomic_load(&a->is_whole);
            wrong += err == 0 && (atomic_load(&a->serial) < at_start || atomic_load(&a->serial) > value);
            at_start = value;              /* a value that was current when the lookup began, or newer */
        }
        if (test_random(&state) % EVERY != 0)
            continue;
        static const unsigned bursts[] = { 1, 2, 2, 3, 4, 40 };
        for (unsigned i = bursts[test_random(&state) % 6]; i > 0; i--) {
            char name[32];
            snprintf(name, sizeof name, "passing %u", commits++);
            (void)test_put(w, REGISTRY_GLOBAL, name, commits);        /* with deletes: slots and index areas are used again */
            (void)registry_delete(w, REGISTRY_GLOBAL, name, strlen(name));
            (void)test_put(w, REGISTRY_GLOBAL, "the steady name", ++value);
        }
        if (test_random(&state) % 2 == 0 && registry_rebuild(w))      /* and as the next rebuild begins: the old area is cleared */
            memset((void *)(uintptr_t)r->areas[(latch_load(&r->header->root) + 1) & 1], 0, r->index_words * sizeof(uint64_t));
    }
    printf("# %ju lookups, %u commits, %u times busy, root %ju\n", (uintmax_t)answers, commits, busy,
           (uintmax_t)latch_load(&r->header->root));
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(answers == LOOKUPS && commits > 20);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
out:
    registry_writer_close(&w);
    munmap(a, 4096);
    teardown();
}
