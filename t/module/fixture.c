/*
 * fixture.c - see fixture.h.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

static char dir[512];

static char *
next_path(void)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    return paths[next++ % 8];
}

const char *
module_file(const char *name)
{
    const char *modules = getenv("NX_TEST_MODULES");
    char file[PATH_MAX], *path = next_path();
    if (modules == NULL)
        printf("# NX_TEST_MODULES is not set: it names the directory with t/module/modules/*.c, each built as a .so\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(modules);
    snprintf(file, sizeof file, "%s/%s.so", modules, name);
    if (realpath(file, path) == NULL)
        printf("# no %s\n", file);
    CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(file, path));
    return path;
}

uint8_t *
module_bytes(const char *name, size_t *len)
{
    FILE *f = fopen(module_file(name), "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    uint8_t *bytes = malloc(1 << 20);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    *len = fread(bytes, 1, 1 << 20, f);
    CU_ASSERT_FATAL(*len > 1000 && *len < 1 << 20);
    fclose(f);
    return bytes;
}

const char *
fixture_begin(void)
{
    char path[480];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/noexd-module-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
    char *real = realpath(path, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(real);
    snprintf(dir, sizeof dir, "%s", real);
    free(real);
    CU_ASSERT_EQUAL(mkdir(fixture_path("staged"), 0755), 0);
    return dir;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void
fixture_end(void)
{
    CU_ASSERT_EQUAL(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *
fixture_path(const char *name)
{
    char *path = next_path();
    snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return path;
}

size_t
fixture_count(const char *name)
{
    DIR *d = opendir(fixture_path(name));
    size_t count = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count - 2;
}

void
fixture_write(const char *name, const void *bytes, size_t len, mode_t mode)
{
    int fd = open(fixture_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, bytes, len), (ssize_t)len);
    CU_ASSERT_EQUAL(fchmod(fd, mode), 0);
    close(fd);
    fixture_age(name, 60);
}

void
fixture_age(const char *name, int64_t seconds)
{
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, fixture_path(name), times, 0), 0);
}

size_t
in_child(void (*run)(int fd, const void *arg), const void *arg, void *out, size_t size, int *status)
{
    int fds[2];
    size_t len = 0;
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_CLOEXEC), 0);
    fflush(stdout);
    pid_t pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL);               /* a sanitizer's report is not what is looked for */
        close(fds[0]);
        run(fds[1], arg);
        _exit(3);
    }
    close(fds[1]);
    for (ssize_t n; len < size && (n = read(fds[0], (char *)out + len, size - len)) > 0; )
        len += (size_t)n;
    close(fds[0]);
    CU_ASSERT_EQUAL(waitpid(pid, status, 0), pid);
    return len;
}
