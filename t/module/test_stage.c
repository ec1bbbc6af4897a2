/*
 * test_stage.c - from the operator's file to a copy: what is refused, what is stored, what is swept.
 */
#include "module/module.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "unit.h"

static int
stage(const char *name, struct module_staged *out, struct base_error *why)
{
    return module_stage(fixture_path(name), fixture_path("staged"), geteuid(), out, why);
}

static void
refuses(const char *name, const char *part)
{
    struct module_staged out = { .is_new = true };
    struct base_error why = { .code = 0 };
    size_t before = fixture_count("staged");
    CU_ASSERT_EQUAL(stage(name, &out, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    if (strstr(why.text, part) == NULL)
        printf("# expected '%s' in: %s\n", part, why.text);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, fixture_path(name)));
    CU_ASSERT_EQUAL(out.path[0], '\0');
    CU_ASSERT_EQUAL(fixture_count("staged"), before);
}

UNIT(stage, a_copy_is_named_by_its_content)
{
    struct module_staged a, b, c;
    struct stat st;
    char name[80] = "";
    size_t len;

    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("one.so", bytes, len, 0644);
    fixture_write("two.so", bytes, len, 0555);
    CU_ASSERT_EQUAL_FATAL(stage("one.so", &a, NULL), 0);
    CU_ASSERT(a.is_new);
    for (int i = 0; i < MODULE_HASH; i++)
        snprintf(name + 2 * i, 3, "%02x", a.hash[i]);
    CU_ASSERT_EQUAL(strncmp(a.path, fixture_path("staged"), strlen(fixture_path("staged"))), 0);
    CU_ASSERT_EQUAL(strncmp(strrchr(a.path, '/') + 1, name, 64), 0);
    CU_ASSERT_STRING_EQUAL(strrchr(a.path, '/') + 65, ".so");
    CU_ASSERT_EQUAL(stat(a.path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0444);
    CU_ASSERT_EQUAL((size_t)st.st_size, len);

    /* The same again, and the same under another name: no work. */
    CU_ASSERT_EQUAL(stage("one.so", &b, NULL), 0);
    CU_ASSERT(!b.is_new);
    CU_ASSERT_EQUAL(stage("two.so", &c, NULL), 0);
    CU_ASSERT(!c.is_new);
    CU_ASSERT_STRING_EQUAL(a.path, c.path);
    CU_ASSERT_EQUAL(memcmp(a.hash, c.hash, MODULE_HASH), 0);
    CU_ASSERT_EQUAL(fixture_count("staged"), 1);

    /* Same name, size and time, another content: a hash has no such blind spot. */
    struct stat before;
    CU_ASSERT_EQUAL(stat(fixture_path("one.so"), &before), 0);
    uint8_t *version = memmem(bytes, len, "good.other", 10);
    CU_ASSERT_PTR_NOT_NULL_FATAL(version);
    version[9] = 'R';
    fixture_write("one.so", bytes, len, 0644);
    struct timespec times[2] = { before.st_atim, before.st_mtim };
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, fixture_path("one.so"), times, 0), 0);
    CU_ASSERT_EQUAL(stage("one.so", &b, NULL), 0);
    CU_ASSERT(b.is_new);
    CU_ASSERT_STRING_NOT_EQUAL(a.path, b.path);
    CU_ASSERT_EQUAL(fixture_count("staged"), 2);
    free(bytes);
    fixture_end();
}

/* sha256sum is not ours: what it says of the copy is the name of the copy. */
UNIT(stage, the_name_is_the_sha256_that_others_compute)
{
    struct module_staged a;
    char command[5000], said[65] = "";
    size_t len;

    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("one.so", bytes, len, 0644);
    free(bytes);
    CU_ASSERT_EQUAL_FATAL(stage("one.so", &a, NULL), 0);
    snprintf(command, sizeof command, "sha256sum '%s' 2>/dev/null", a.path);
    FILE *f = popen(command, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    if (fread(said, 1, 64, f) != 64)
        unit_skip("no sha256sum here");
    else
        CU_ASSERT_EQUAL(strncmp(strrchr(a.path, '/') + 1, said, 64), 0);
    pclose(f);
    fixture_end();
}

UNIT(stage, a_copy_that_is_not_what_its_name_says_is_made_anew)
{
    struct module_staged a, b;
    struct stat st;
    size_t len;

    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("one.so", bytes, len, 0644);
    CU_ASSERT_EQUAL_FATAL(stage("one.so", &a, NULL), 0);
    for (int damage = 0; damage < 5; damage++) {
        int mapped = open(a.path, O_RDONLY | O_CLOEXEC);
        CU_ASSERT_EQUAL(chmod(a.path, 0644), 0);
        int fd = open(a.path, O_RDWR | O_CLOEXEC);
        CU_ASSERT_FATAL(fd >= 0 && mapped >= 0);
        uint8_t byte = (uint8_t)(bytes[len / 2] ^ 1);
        if (damage == 0)
            CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, (off_t)len / 2), 1);
        if (damage == 1)
            CU_ASSERT_EQUAL(ftruncate(fd, (off_t)len / 2), 0);
        if (damage == 2)
            CU_ASSERT_EQUAL(ftruncate(fd, (off_t)len + 1), 0);
        if (damage == 3) {                            /* right, but somebody else's link: not ours to trust */
            CU_ASSERT_EQUAL(rename(a.path, fixture_path("elsewhere.so")), 0);
            CU_ASSERT_EQUAL(symlink(fixture_path("elsewhere.so"), a.path), 0);
        }
        if (damage < 3)
            CU_ASSERT_EQUAL(fchmod(fd, 0444), 0);     /* damage 4: writable */
        close(fd);
        CU_ASSERT_EQUAL(stage("one.so", &b, NULL), 0);
        CU_ASSERT(b.is_new);
        CU_ASSERT_STRING_EQUAL(a.path, b.path);
        CU_ASSERT_EQUAL(lstat(b.path, &st), 0);
        CU_ASSERT(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0444 && (size_t)st.st_size == len);
        struct stat old;
        CU_ASSERT_EQUAL(fstat(mapped, &old), 0);
        CU_ASSERT_NOT_EQUAL(old.st_ino, st.st_ino);   /* who has the old one mapped keeps it as it is */
        close(mapped);
        CU_ASSERT_EQUAL(stage("one.so", &b, NULL), 0);
        CU_ASSERT(!b.is_new);
    }
    free(bytes);
    fixture_end();
}

UNIT(stage, what_is_no_trustworthy_file_is_refused)
{
    size_t len;
    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("good.so", bytes, len, 0644);
    CU_ASSERT_EQUAL(symlink("good.so", fixture_path("link.so")), 0);
    refuses("link.so", "a symbolic link");
    CU_ASSERT_EQUAL(mkdir(fixture_path("dir.so"), 0755), 0);
    refuses("dir.so", "not a regular file");
    CU_ASSERT_EQUAL(mkfifo(fixture_path("fifo.so"), 0600), 0);
    refuses("fifo.so", "not a regular file");
    fixture_write("group.so", bytes, len, 0664);
    refuses("group.so", "others may write it (mode 0664); chmod go-w it");
    fixture_write("others.so", bytes, len, 0646);
    refuses("others.so", "others may write it");
    if (geteuid() == 0) {
        struct module_staged out;
        fixture_write("foreign.so", bytes, len, 0644);
        CU_ASSERT_EQUAL(chown(fixture_path("foreign.so"), 65533, 65533), 0);
        refuses("foreign.so", "it belongs to user 65533; chown it to root");
        CU_ASSERT_EQUAL(module_stage(fixture_path("foreign.so"), fixture_path("staged"), 65533, &out, NULL), 0);
        CU_ASSERT_EQUAL(module_sweep(fixture_path("staged"), NULL, 0, NULL), 0);
    }
    fixture_write("empty.so", "", 0, 0644);
    refuses("empty.so", "0 bytes are not a shared object");
    fixture_write("text.so", "int main(void) { return 0; }  /* long enough to be a header of an ELF file */\n", 78, 0644);
    refuses("text.so", "not an ELF file");
    fixture_write("big.so", bytes, len, 0644);
    CU_ASSERT_EQUAL(truncate(fixture_path("big.so"), (off_t)MODULE_FILE_MAX + 1), 0);
    fixture_age("big.so", 60);
    refuses("big.so", "more than 64 MiB");
    bytes[18] ^= 1;                                   /* e_machine */
    fixture_write("other.so", bytes, len, 0644);
    refuses("other.so", "another kind of machine");
    free(bytes);
    fixture_end();
}

UNIT(stage, cut_at_each_512_bytes_it_is_refused)
{
    size_t len, cuts = 0;
    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    for (size_t cut = 0; cut < len; cut += 512, cuts++) {
        struct module_staged out;
        fixture_write("cut.so", bytes, cut, 0644);
        CU_ASSERT_EQUAL(stage("cut.so", &out, NULL), NX_EINVAL);
    }
    CU_ASSERT(cuts > 10);
    CU_ASSERT_EQUAL(fixture_count("staged"), 0);
    free(bytes);
    fixture_end();
}

static int64_t
elapsed_ms(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - from->tv_sec) * 1000 + (now.tv_nsec - from->tv_nsec) / 1000000;
}

UNIT(stage, a_young_file_is_waited_for)
{
    struct module_staged out;
    struct timespec begin;
    size_t len;

    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("young.so", bytes, len, 0644);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    CU_ASSERT_EQUAL(stage("young.so", &out, NULL), 0);
    CU_ASSERT(elapsed_ms(&begin) < 500);              /* a minute old: at once */

    fixture_age("young.so", 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    CU_ASSERT_EQUAL(stage("young.so", &out, NULL), 0);
    CU_ASSERT(elapsed_ms(&begin) >= 900);

    fixture_age("young.so", -3600);                   /* dated in the future: as soon as it stands still */
    clock_gettime(CLOCK_MONOTONIC, &begin);
    CU_ASSERT_EQUAL(stage("young.so", &out, NULL), 0);
    CU_ASSERT(elapsed_ms(&begin) >= 900);
    free(bytes);
    fixture_end();
}

static pid_t
grow(const char *path)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        for (int i = 0; i < 2000 && write(fd, "x", 1) == 1; i++)
            (void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
        _exit(0);
    }
    return pid;
}

UNIT(stage, a_file_that_grows_is_refused)
{
    struct timespec begin;
    size_t len;
    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("grows.so", bytes, len, 0644);
    free(bytes);
    fixture_age("grows.so", 0);
    pid_t pid = grow(fixture_path("grows.so"));
    CU_ASSERT_FATAL(pid > 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    refuses("grows.so", "it is still being written");
    int64_t waited = elapsed_ms(&begin);
    CU_ASSERT(waited >= 2900 && waited < 6000);
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
    fixture_end();
}

UNIT(stage, a_failure_of_the_system_is_told_and_leaves_nothing)
{
    struct module_staged out;
    struct base_error why = { .code = 0 };
    char deep[MODULE_PATH_MAX];
    size_t len;

    fixture_begin();
    CU_ASSERT_EQUAL(stage("none.so", &out, &why), NX_ESYS);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "none.so: No such file or directory"));
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("good.so", bytes, len, 0644);
    free(bytes);
    CU_ASSERT_EQUAL(module_stage(fixture_path("good.so"), fixture_path("nowhere"), geteuid(), &out, &why), NX_ESYS);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "nowhere/"));
    memset(deep, 'd', sizeof deep);
    deep[0] = '/';
    deep[sizeof deep - 20] = '\0';
    CU_ASSERT_EQUAL(module_stage(fixture_path("good.so"), deep, geteuid(), &out, &why), NX_EINVAL);

    /* A directory under the copy's name cannot be replaced; the temporary file is removed. */
    CU_ASSERT_EQUAL_FATAL(stage("good.so", &out, NULL), 0);
    CU_ASSERT_EQUAL(unlink(out.path), 0);
    CU_ASSERT_EQUAL(mkdir(out.path, 0755), 0);
    CU_ASSERT_EQUAL(stage("good.so", &out, &why), NX_ESYS);
    CU_ASSERT_EQUAL(fixture_count("staged"), 1);
    fixture_end();
}

UNIT(stage, sweep_removes_what_is_ours_and_not_kept)
{
    static const char *const stay[] = {
        "staged/README", "staged/0123.so", "staged/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg.so",
        "staged/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.so.old",
        "staged/.0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.tmp",
    };
    static const char *const go[] = {
        "staged/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.so",
        "staged/.0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.0123456789abcdef.tmp",
    };
    struct module_staged kept[2];
    size_t len;

    fixture_begin();
    uint8_t *bytes = module_bytes("good", &len);
    fixture_write("good.so", bytes, len, 0644);
    free(bytes);
    bytes = module_bytes("good_next", &len);
    fixture_write("next.so", bytes, len, 0644);
    free(bytes);
    CU_ASSERT_EQUAL_FATAL(stage("good.so", &kept[0], NULL), 0);
    CU_ASSERT_EQUAL_FATAL(stage("next.so", &kept[1], NULL), 0);
    for (size_t i = 0; i < sizeof stay / sizeof stay[0]; i++)
        fixture_write(stay[i], "x", 1, 0444);
    for (size_t i = 0; i < sizeof go / sizeof go[0]; i++)
        fixture_write(go[i], "x", 1, 0444);
    CU_ASSERT_EQUAL(fixture_count("staged"), 9);
    CU_ASSERT_EQUAL(module_sweep(fixture_path("staged"), kept, 2, NULL), 0);
    CU_ASSERT_EQUAL(fixture_count("staged"), 7);
    CU_ASSERT_EQUAL(access(kept[0].path, R_OK), 0);
    CU_ASSERT_EQUAL(module_sweep(fixture_path("staged"), kept + 1, 1, NULL), 0);
    CU_ASSERT_EQUAL(fixture_count("staged"), 6);
    CU_ASSERT_NOT_EQUAL(access(kept[0].path, F_OK), 0);
    CU_ASSERT_EQUAL(access(kept[1].path, R_OK), 0);
    for (size_t i = 0; i < sizeof stay / sizeof stay[0]; i++)
        CU_ASSERT_EQUAL(access(fixture_path(stay[i]), F_OK), 0);

    struct base_error why = { .code = 0 };
    CU_ASSERT_EQUAL(module_sweep(fixture_path("nowhere"), NULL, 0, &why), NX_ESYS);
    fixture_end();
}
