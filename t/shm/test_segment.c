/*
 * test_segment.c - the sealing, on real processes: who is not the writer of a piece cannot become it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/stats.h"
#include "shm_test.h"
#include "wire/envelope.h"

/* In a child: a failed check ends it with a line that the parent's run shows. */
#define CHILD_CHECK(cond) \
    do { \
        if (!(cond)) { \
            dprintf(1, "# child: %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno); \
            _exit(1); \
        } \
    } while (0)

static int
reap(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static unsigned
open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

/* Touch one byte in a child of its own; the signal that ended it, 0 for none. */
static int
signal_of_touch(volatile uint8_t *at, bool is_write)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        uint8_t value = *at;
        if (is_write)
            *at = value;
        _exit(0);
    }
    int status = reap(pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
child_checks_a_foreign_piece(const struct shm_piece *p, int fd)
{
    volatile uint8_t *at = p->at;
    CHILD_CHECK(mprotect(p->at, p->len, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    CHILD_CHECK(signal_of_touch(at, false) == 0);
    CHILD_CHECK(signal_of_touch(at, true) == SIGSEGV);
    CHILD_CHECK(signal_of_touch(at + p->len - 1, true) == SIGSEGV);
    CHILD_CHECK(mmap(NULL, p->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    void *again = mmap(NULL, p->len, PROT_READ, MAP_SHARED, fd, 0);
    CHILD_CHECK(again != MAP_FAILED && mprotect(again, p->len, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    CHILD_CHECK(pwrite(fd, "x", 1, 0) == -1 && errno == EPERM);
    CHILD_CHECK(ftruncate(fd, 0) == -1 && errno == EPERM);
    CHILD_CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)p->len) == -1 && errno == EPERM);
    CHILD_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reopened = open(path, O_RDWR | O_CLOEXEC);
    CHILD_CHECK(reopened < 0 || mmap(NULL, p->len, PROT_READ | PROT_WRITE, MAP_SHARED, reopened, 0) == MAP_FAILED);
    int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    CHILD_CHECK(mem < 0 || pwrite(mem, "x", 1, (off_t)(uintptr_t)p->at) != 1);
    close(mem);
    close(reopened);
    munmap(again, p->len);
}

static void
child_checks_its_own_piece(const struct shm_piece *p, int fd)
{
    volatile uint8_t *at = p->at;
    at[0] = at[0];
    at[p->len - 1] = at[p->len - 1];
    CHILD_CHECK(signal_of_touch(at, false) == SIGSEGV);           /* a child of the writer has lost the pages */
    CHILD_CHECK(mmap(NULL, p->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
}

/* A process of this role keeps `own` pieces and can change nothing else. */
static void
role_is_sealed(enum shm_role role, uint16_t slot, unsigned own)
{
    struct shm *shm = test_shm(64);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int kept[80];
        struct shm_piece p;
        unsigned count = 0, writable = 0, before = open_descriptors();
        for (; shm_piece_at(shm, count, &p); count++) {
            CHILD_CHECK(p.fd >= 0);
            kept[count] = dup(p.fd);               /* a child that cheats: shm_enter closes only what it knows */
        }
        CHILD_CHECK(shm_enter(shm, role, slot, NULL) == 0);
        CHILD_CHECK(open_descriptors() == before);                /* `count` dupes more, `count` originals less */
        for (unsigned i = 0; i < count; i++) {
            CHILD_CHECK(shm_piece_at(shm, i, &p) && p.fd == -1);
            if (p.writer == role && p.writer_slot == slot) {
                child_checks_its_own_piece(&p, kept[i]);
                writable++;
            } else {
                child_checks_a_foreign_piece(&p, kept[i]);
            }
        }
        CHILD_CHECK(writable == own);
        _exit(0);
    }
    CU_ASSERT_EQUAL(reap(pid), 0);
    shm_destroy(&shm);
}

UNIT(segment, a_worker_can_write_its_own_statistics_and_nothing_else_by_no_means)
{
    role_is_sealed(SHM_WORKER, 0, 1);
    role_is_sealed(SHM_WORKER, 3, 1);
}

UNIT(segment, the_gate_can_write_its_own_statistics_and_nothing_else_by_no_means)
{
    role_is_sealed(SHM_GATE, SLOT_GATE, 1);
}

UNIT(segment, the_link_worker_can_write_registry_behaviors_nodes_and_its_statistics_and_nothing_else)
{
    role_is_sealed(SHM_LINK, SLOT_LINK, 4);
}

UNIT(segment, a_worker_reads_through_the_old_pointers_and_counts_in_its_own_page)
{
    struct shm *shm = test_shm(64);
    struct registry_writer *w;
    CU_ASSERT_EQUAL_FATAL(registry_writer_open(shm_registry(shm), &w, NULL, NULL), 0);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "before", 1), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct registry_entry e;
        CHILD_CHECK(shm_enter(shm, SHM_WORKER, 2, NULL) == 0);
        CHILD_CHECK(test_find(shm, REGISTRY_LOCAL, "before", &e) == 0 && e.serial == 1);
        stats_add(shm_stats(shm, 2), calls_initiated, 5);
        while (test_find(shm, REGISTRY_LOCAL, "after", &e) != 0)       /* put by the parent, when it sees the count */
            usleep(100);
        CHILD_CHECK(board_generation(shm_board(shm), 2) == TEST_LIFE);
        _exit(0);
    }
    while (stats_get(shm_stats(shm, 2), calls_initiated) != 5)
        usleep(100);
    CU_ASSERT_EQUAL(test_put(w, REGISTRY_LOCAL, "after", 2), 0);
    CU_ASSERT_EQUAL(reap(pid), 0);
    CU_ASSERT_PTR_NULL(shm_stats(shm, 4));
    CU_ASSERT_PTR_NULL(shm_stats(shm, SLOT_ANY));
    CU_ASSERT_PTR_NOT_NULL(shm_stats(shm, SLOT_LINK));
    CU_ASSERT_PTR_NOT_NULL(shm_stats(shm, SLOT_GATE));
    registry_writer_close(&w);
    shm_destroy(&shm);
}

UNIT(segment, a_respawned_owner_can_write_what_its_dead_predecessor_wrote)
{
    struct shm *shm = test_shm(64);
    struct registry_entry e;
    for (unsigned life = 1; life <= 3; life++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            struct registry_writer *w;
            struct registry_recovery found;
            char name[16];
            CHILD_CHECK(shm_enter(shm, SHM_LINK, SLOT_LINK, NULL) == 0);
            CHILD_CHECK(registry_writer_open(shm_registry(shm), &w, &found, NULL) == 0);
            CHILD_CHECK(found.live == life - 1 && found.bad == 0);
            snprintf(name, sizeof name, "life %u", life);
            CHILD_CHECK(test_put(w, REGISTRY_GLOBAL, name, life) == 0);
            test_node(shm, name[5] == '1' ? "a@b:1" : name[5] == '2' ? "a@b:2" : "a@b:3", NODES_UP, 1, 1);
            kill(getpid(), SIGKILL);
        }
        int status = reap(pid);
        CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    CU_ASSERT_EQUAL(test_find(shm, REGISTRY_GLOBAL, "life 1", &e), 0);
    CU_ASSERT_EQUAL(test_find(shm, REGISTRY_GLOBAL, "life 3", &e), 0);
    CU_ASSERT_EQUAL(nodes_count(shm_nodes(shm)), 3);
    CU_ASSERT_EQUAL(registry_check(shm_registry(shm), NULL), 0);
    shm_destroy(&shm);
}

UNIT(segment, each_page_is_there_before_use_and_nothing_stays_after_destroy)
{
    unsigned before = open_descriptors(), count = 0;
    struct shm *shm = test_shm(4096);
    struct shm_piece p;
    struct stat st;
    for (; shm_piece_at(shm, count, &p); count++) {
        CU_ASSERT_EQUAL(fstat(p.fd, &st), 0);
        CU_ASSERT((size_t)st.st_size == p.len && (size_t)st.st_blocks * 512 >= p.len);
        CU_ASSERT((fcntl(p.fd, F_GETFD) & FD_CLOEXEC) != 0);
        CU_ASSERT_EQUAL(fcntl(p.fd, F_GET_SEALS), F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    }
    CU_ASSERT_EQUAL(count, 4 + 4 + 2);
    shm_destroy(&shm);
    CU_ASSERT_PTR_NULL(shm);
    shm_destroy(&shm);
    CU_ASSERT_EQUAL(open_descriptors(), before);
}

UNIT(segment, a_wrong_size_or_role_is_refused_by_name)
{
    struct shm_config bad = { .workers = 65, .registry_capacity = 64, .nodes_max = 2, .behaviors_max = 1 };
    struct base_error why = { 0 };
    struct shm *shm = NULL;
    CU_ASSERT_EQUAL(shm_create(&bad, &shm, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "workers 65"));
    bad.workers = 1;
    bad.registry_capacity = (1 << 20) + 1;
    CU_ASSERT_EQUAL(shm_create(&bad, &shm, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "registry_capacity"));
    bad.registry_capacity = 64;
    bad.nodes_max = 1;
    CU_ASSERT_EQUAL(shm_create(&bad, &shm, &why), NX_EINVAL);
    bad.nodes_max = 2;
    bad.behaviors_max = 0;
    CU_ASSERT_EQUAL(shm_create(&bad, &shm, &why), NX_EINVAL);
    CU_ASSERT_PTR_NULL(shm);
    shm = test_shm(64);
    CU_ASSERT_EQUAL(shm_enter(shm, SHM_MASTER, 0, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(shm_enter(shm, SHM_WORKER, 4, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(shm_enter(shm, SHM_LINK, 0, &why), NX_EINVAL);
    shm_destroy(&shm);
}

/* A limit on the size of files is what a test can set; the kernel answers it by a signal, as it answers a memory cgroup
 * that is full, or by an error if the signal is ignored. */
static void
too_little_memory(bool ignore_signal, int code, const char *part)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct shm_config config = { .workers = 2, .registry_capacity = 16384, .nodes_max = 16, .behaviors_max = 8 };
        struct rlimit limit = { 1 << 20, 1 << 20 }, none = { 0, 0 };
        struct base_error why = { 0 };
        struct shm *shm = NULL;
        unsigned before = open_descriptors();
        setrlimit(RLIMIT_CORE, &none);
        setrlimit(RLIMIT_FSIZE, &limit);
        signal(SIGXFSZ, ignore_signal ? SIG_IGN : SIG_DFL);
        int err = shm_create(&config, &shm, &why);
        CHILD_CHECK(err == code && why.code == code && shm == NULL);
        CHILD_CHECK(strstr(why.text, "registry") != NULL && strstr(why.text, part) != NULL);
        CHILD_CHECK(strstr(why.text, "12062720") != NULL);             /* a page, two indexes, 16384 slots */
        CHILD_CHECK(open_descriptors() == before);
        CHILD_CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);    /* no child is left */
        _exit(0);
    }
    CU_ASSERT_EQUAL(reap(pid), 0);
}

UNIT(segment, memory_that_the_kernel_does_not_give_is_a_clear_refusal_even_if_the_kernel_kills)
{
    too_little_memory(false, NX_ENOMEM, "the kernel ended the process that asked for it");
    too_little_memory(true, NX_ESYS, "File too large");
}
