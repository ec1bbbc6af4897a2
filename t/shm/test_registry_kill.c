/*
 * test_registry_kill.c - the owner killed for real, at moments that nobody has chosen, while readers look.
 */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/registry_layout.h"
#include "shm_test.h"

enum { KILLS = 200, NAMES = 200 };

/* What the victim is about to do and what is done, in memory that outlives it. */
struct progress { _Atomic uint64_t started, done; };
struct operation { unsigned name; uint64_t value; };             /* value 0 = delete */

/* The n-th operation of all, the same in each process. Half of them delete. */
static struct operation
operation(uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    uint64_t dice = test_random(&state);
    return (struct operation){ (unsigned)(dice % NAMES), dice >> 32 & 1 ? number + 1 : 0 };
}

static size_t
operation_name(unsigned i, char out[static 64])
{
    int len = snprintf(out, 64, "%s %u", i % 3 == 0 ? "a name that is long enough for six words of it" : "name", i);
    return (size_t)len;
}

static void
victim(struct shm *shm, struct progress *p)
{
    struct registry_writer *w;
    char name[64];
    if (shm_enter(shm, SHM_LINK, SLOT_LINK, NULL) != 0 || registry_writer_open(shm_registry(shm), &w, NULL, NULL) != 0)
        _exit(1);
    for (uint64_t number = atomic_load(&p->done);; number++) {
        struct operation op = operation(number);
        size_t len = operation_name(op.name, name);
        struct registry_entry e = test_entry(REGISTRY_GLOBAL, name, len, op.value);
        atomic_store(&p->started, number + 1);
        int err = op.value != 0 ? registry_put(w, &e) : registry_delete(w, REGISTRY_GLOBAL, name, len);
        if (err != 0 && err != NX_ENONAME)
            _exit(1);
        atomic_store(&p->done, number + 1);
    }
}

/* How many names are not as the model says. The one in flight may be as before or as after; then the model follows. */
static unsigned
compare(struct shm *shm, uint64_t model[static NAMES], const struct operation *in_flight)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        struct registry_entry e;
        char name[64];
        operation_name(i, name);
        int err = test_find(shm, REGISTRY_GLOBAL, name, &e);
        uint64_t value = err == 0 ? e.serial : 0;
        wrong += err != 0 && err != NX_ENONAME;
        wrong += err == 0 && !test_entry_is_whole(&e);
        if (in_flight != NULL && in_flight->name == i && value == in_flight->value)
            model[i] = value;
        wrong += value != model[i];
    }
    return wrong;
}

UNIT(registry_kill, two_hundred_owners_killed_at_random_lose_nothing_and_invent_nothing)
{
    uint64_t model[NAMES] = { 0 }, replayed = 0, state = UINT64_C(0x5eed0200);
    unsigned wrong = 0, interrupted = 0, dirty = 0, other_deaths = 0;
    struct shm *shm = test_shm(256);
    struct registry *r = shm_registry(shm);
    struct progress *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(p, MAP_FAILED);
    fflush(stdout);
    for (unsigned kills = 0; kills < KILLS; kills++) {
        uint64_t wait_for = atomic_load(&p->done) + 1 + test_random(&state) % 300;
        unsigned spins = (unsigned)(test_random(&state) % 512);
        pid_t pid = fork();
        if (pid == 0)
            victim(shm, p);
        int status = 0;
        while (atomic_load(&p->done) < wait_for && waitpid(pid, &status, WNOHANG) == 0)
            sched_yield();
        while (spins-- > 0)
            (void)atomic_load(&p->started);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        other_deaths += !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;

        for (; replayed < atomic_load(&p->done); replayed++) {
            struct operation op = operation(replayed);
            model[op.name] = op.value;
        }
        struct operation in_flight = operation(replayed);
        bool is_in_flight = atomic_load(&p->started) > replayed;
        interrupted += is_in_flight;
        wrong += compare(shm, model, is_in_flight ? &in_flight : NULL);
        dirty += registry_check(r, NULL) != 0;

        struct registry_writer *w;
        struct registry_recovery found;
        wrong += registry_writer_open(r, &w, &found, NULL) != 0;
        wrong += found.bad != 0 || found.freed + found.swept > 1;
        wrong += registry_check(r, NULL) != 0;
        wrong += compare(shm, model, NULL);                       /* recovery changes nothing that could be seen */
        registry_writer_close(&w);
    }
    printf("# %ju operations, %u kills: %u inside an operation, %u left work for the successor\n", (uintmax_t)replayed, KILLS,
           interrupted, dirty);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(other_deaths, 0);
    CU_ASSERT(interrupted > KILLS / 10);
    munmap(p, 4096);
    shm_destroy(&shm);
}
