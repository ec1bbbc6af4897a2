/*
 * segment.c - the memory of the pieces: made once, backed whole, sealed, and given up by all but the writer.
 *
 * Lives here: memfd, fallocate, mmap, seals, and what a child does with what it inherited.
 * Never here: what is in a piece.
 * Runs in: the master (create), every child once (enter).
 */
#include "shm/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/random.h"
#include "shm/shm_priv.h"
#include "shm/stats.h"

enum piece_index { PIECE_REGISTRY, PIECE_BEHAVIORS, PIECE_NODES, PIECE_BOARD, PIECE_STATS };
enum { PIECES_MAX = PIECE_STATS + SHM_WORKERS_MAX + 2, PIECE_NAME = 16 };

struct piece { char name[PIECE_NAME]; void *at; size_t len; enum shm_role writer; uint16_t writer_slot; int fd; };

struct shm {
    struct shm_config config;
    unsigned count;
    struct piece pieces[PIECES_MAX];       /* the four tables, then the statistics of the workers, of the link worker, of the gate */
    struct registry *registry;
    struct behaviors *behaviors;
    struct nodes *nodes;
};

static int
shm_check_config(const struct shm_config *c, struct base_error *why)
{
    const struct { const char *name; uint32_t value, min, max; } bounds[] = {
        { "workers", c->workers, 1, SHM_WORKERS_MAX },
        { "registry_capacity", c->registry_capacity, SHM_REGISTRY_MIN, SHM_REGISTRY_MAX },
        { "nodes_max", c->nodes_max, SHM_NODES_MIN, SHM_NODES_MAX },
        { "behaviors_max", c->behaviors_max, 1, SHM_BEHAVIORS_MAX },
    };
    for (size_t i = 0; i < BASE_COUNT(bounds); i++)
        if (bounds[i].value < bounds[i].min || bounds[i].value > bounds[i].max)
            return base_error_set(why, NX_EINVAL, bounds[i].name, "shared memory: %s %u is not between %u and %u",
                                  bounds[i].name, bounds[i].value, bounds[i].min, bounds[i].max);
    return 0;
}

static void
shm_plan_piece(struct shm *shm, const char *name, size_t len, enum shm_role writer, uint16_t writer_slot)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct piece *p = &shm->pieces[shm->count++];
    snprintf(p->name, sizeof p->name, "%s", name);
    p->at = MAP_FAILED;
    p->len = (len + page - 1) / page * page;
    p->writer = writer;
    p->writer_slot = writer_slot;
    p->fd = -1;
}

static void
shm_plan(struct shm *shm)
{
    const struct shm_config *c = &shm->config;
    shm_plan_piece(shm, "registry", registry_size(c->registry_capacity), SHM_LINK, SLOT_LINK);
    shm_plan_piece(shm, "behaviors", behaviors_size(c->behaviors_max), SHM_LINK, SLOT_LINK);
    shm_plan_piece(shm, "nodes", nodes_size(c->nodes_max), SHM_LINK, SLOT_LINK);
    shm_plan_piece(shm, "board", board_size(), SHM_MASTER, SLOT_ANY);
    for (uint32_t slot = 0; slot < c->workers; slot++) {
        char name[PIECE_NAME];
        snprintf(name, sizeof name, "stats %hu", (unsigned short)slot);
        shm_plan_piece(shm, name, sizeof(struct stats), SHM_WORKER, (uint16_t)slot);
    }
    shm_plan_piece(shm, "stats link", sizeof(struct stats), SHM_LINK, SLOT_LINK);
    shm_plan_piece(shm, "stats gate", sizeof(struct stats), SHM_GATE, SLOT_GATE);
}

/* Runs in the child of shm_back(): one int for each piece, 0 or errno, until the first that fails. */
_Noreturn static void
shm_back_in_child(const struct shm *shm, int out)
{
    /* If there is not enough memory, let the kernel choose this process: nothing depends on it. */
    int adj = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    ssize_t told = adj >= 0 ? write(adj, "1000", 4) : 0;
    (void)told;             /* not allowed: then the kernel chooses as it likes, and the test of the answer is the same */
    for (unsigned i = 0; i < shm->count; i++) {
        int failed;
        do
            failed = fallocate(shm->pieces[i].fd, 0, 0, (off_t)shm->pieces[i].len) != 0 ? errno : 0;
        while (failed == EINTR);
        if (write(out, &failed, sizeof failed) != (ssize_t)sizeof failed || failed != 0)
            break;
    }
    _exit(0);
}

static int
shm_no_memory(const struct piece *p, const char *reason, struct base_error *why)
{
    return base_error_set(why, NX_ENOMEM, p->name,
                          "shared memory: %s needs %zu bytes: %s; raise the memory limit or lower the capacity",
                          p->name, p->len, reason);
}

/* What the child has answered: pieces backed before the first that was not. */
static int
shm_back_answer(const struct shm *shm, int in, struct base_error *why)
{
    for (unsigned i = 0; i < shm->count; i++) {
        const struct piece *p = &shm->pieces[i];
        int failed = 0;
        ssize_t got;
        do
            got = read(in, &failed, sizeof failed);
        while (got < 0 && errno == EINTR);
        if (got != (ssize_t)sizeof failed)
            return shm_no_memory(p, "the kernel ended the process that asked for it", why);
        if (failed == ENOSPC || failed == ENOMEM)
            return shm_no_memory(p, strerror(failed), why);
        if (failed != 0)
            return base_error_set(why, NX_ESYS, p->name, "shared memory: fallocate of %zu bytes for %s: %s", p->len, p->name,
                                  strerror(failed));
        struct stat st;
        if (fstat(p->fd, &st) != 0 || (uint64_t)st.st_size != p->len || (uint64_t)st.st_blocks * 512 < p->len)
            return shm_no_memory(p, "the kernel did not back it", why);
    }
    return 0;
}

/*
 * Every page is there before anyone writes to it: no SIGBUS, ever. A child asks for the pages, since inside a memory cgroup
 * the kernel does not refuse, it kills; so the caller can still say what was too big.
 */
static int
shm_back(const struct shm *shm, struct base_error *why)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return base_error_sys(why, errno, "pipe2", "shared memory");
    pid_t pid = fork();
    if (pid == 0)
        shm_back_in_child(shm, ends[1]);
    int fork_errno = errno;
    (void)close(ends[1]);
    int err = pid < 0 ? base_error_sys(why, fork_errno, "fork", "shared memory") : shm_back_answer(shm, ends[0], why);
    (void)close(ends[0]);
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    return err;
}

static int
shm_seal(struct piece *p, struct base_error *why)
{
    p->at = mmap(NULL, p->len, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    if (p->at == MAP_FAILED)
        return base_error_sys(why, errno, "mmap", p->name);
    /* From here on nobody can make a writable mapping, not even this process; the one just made stays, and children
     * inherit it. */
    if (fcntl(p->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return base_error_sys(why, errno, "seal (Linux 5.1 or later is needed)", p->name);
    return 0;
}

static int
shm_make_pieces(struct shm *shm, struct base_error *why)
{
    for (unsigned i = 0; i < shm->count; i++) {
        struct piece *p = &shm->pieces[i];
        p->fd = memfd_create(p->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (p->fd < 0)
            return base_error_sys(why, errno, "memfd_create", p->name);
    }
    int err = shm_back(shm, why);
    for (unsigned i = 0; i < shm->count && err == 0; i++)
        err = shm_seal(&shm->pieces[i], why);
    return err;
}

static int
shm_make_handles(struct shm *shm, struct base_error *why)
{
    const struct shm_config *c = &shm->config;
    uint64_t registry_key, behaviors_key, nodes_key;        /* new with each start: names that collide cannot be prepared */
    if (random_u64(&registry_key) != 0 || random_u64(&behaviors_key) != 0 || random_u64(&nodes_key) != 0)
        return base_error_set(why, NX_ESYS, "getrandom", "shared memory: no random bytes from the kernel");
    int err = registry_new(shm->pieces[PIECE_REGISTRY].at, c->registry_capacity, registry_key, &shm->registry);
    if (err == 0)
        err = behaviors_new(shm->pieces[PIECE_BEHAVIORS].at, c->behaviors_max, behaviors_key, &shm->behaviors);
    if (err == 0)
        err = nodes_new(shm->pieces[PIECE_NODES].at, c->nodes_max, nodes_key, &shm->nodes);
    return err == 0 ? 0 : base_error_set(why, err, "shared memory", "shared memory: no memory for its handles");
}

int
shm_create(const struct shm_config *config, struct shm **out, struct base_error *why)
{
    int err = shm_check_config(config, why);
    if (err != 0)
        return err;
    struct shm *shm = calloc(1, sizeof *shm);
    if (shm == NULL)
        return base_error_set(why, NX_ENOMEM, "shared memory", "shared memory: no memory for its handle");
    shm->config = *config;
    shm_plan(shm);
    err = shm_make_pieces(shm, why);
    if (err == 0)
        err = shm_make_handles(shm, why);
    if (err != 0) {
        shm_destroy(&shm);
        return err;
    }
    *out = shm;
    return 0;
}

static bool
shm_is_ours(const struct piece *p, enum shm_role role, uint16_t slot)
{
    return p->writer == role && p->writer_slot == slot;
}

int
shm_enter(struct shm *shm, enum shm_role role, uint16_t slot, struct base_error *why)
{
    bool fits = (role == SHM_LINK && slot == SLOT_LINK) || (role == SHM_GATE && slot == SLOT_GATE)
        || (role == SHM_WORKER && slot < shm->config.workers);
    if (!fits)          /* the master among them: what it gave up, no later child could write */
        return base_error_set(why, NX_EINVAL, "shared memory", "shared memory: no child of role %d has slot %u", (int)role, slot);
    for (unsigned i = 0; i < shm->count; i++) {
        struct piece *p = &shm->pieces[i];
        if (shm_is_ours(p, role, slot)) {
            if (madvise(p->at, p->len, MADV_DONTFORK) != 0)
                return base_error_sys(why, errno, "madvise", p->name);
        } else {
            /* A new mapping in the place of the old one, not mprotect: what was mapped writable once can be made writable
             * again, but a read-only mapping of a sealed descriptor cannot. */
            void *at = mmap(p->at, p->len, PROT_READ, MAP_SHARED | MAP_FIXED, p->fd, 0);
            if (at == MAP_FAILED)
                return base_error_sys(why, errno, "mmap", p->name);
        }
        (void)close(p->fd);
        p->fd = -1;
    }
    return 0;
}

void
shm_destroy(struct shm **shm)
{
    struct shm *s = *shm;
    if (s == NULL)
        return;
    registry_free(&s->registry);
    behaviors_free(&s->behaviors);
    nodes_free(&s->nodes);
    for (unsigned i = 0; i < s->count; i++) {
        struct piece *p = &s->pieces[i];
        if (p->at != MAP_FAILED)
            (void)munmap(p->at, p->len);
        if (p->fd >= 0)
            (void)close(p->fd);
    }
    free(s);
    *shm = NULL;
}

struct registry *
shm_registry(struct shm *shm)
{
    return shm->registry;
}

struct behaviors *
shm_behaviors(struct shm *shm)
{
    return shm->behaviors;
}

struct nodes *
shm_nodes(struct shm *shm)
{
    return shm->nodes;
}

struct board *
shm_board(struct shm *shm)
{
    return shm->pieces[PIECE_BOARD].at;
}

struct stats *
shm_stats(struct shm *shm, uint16_t slot)
{
    uint32_t workers = shm->config.workers;
    if (slot < workers)
        return shm->pieces[PIECE_STATS + slot].at;
    if (slot == SLOT_LINK)
        return shm->pieces[PIECE_STATS + workers].at;
    if (slot == SLOT_GATE)
        return shm->pieces[PIECE_STATS + workers + 1].at;
    return NULL;
}

uint32_t
shm_workers(const struct shm *shm)
{
    return shm->config.workers;
}

bool
shm_piece_at(const struct shm *shm, unsigned index, struct shm_piece *out)
{
    if (index >= shm->count)
        return false;
    const struct piece *p = &shm->pieces[index];
    *out = (struct shm_piece){
        .name = p->name, .at = p->at, .len = p->len, .writer = p->writer, .writer_slot = p->writer_slot, .fd = p->fd,
    };
    return true;
}
