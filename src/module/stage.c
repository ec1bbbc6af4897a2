/*
 * stage.c - from the operator's file to a copy that nobody changes, named by what is in it.
 *
 * Lives here: reading once, checking, hashing, storing; removing what is not used any more.
 * Never here: dlopen. The operator's path is never mapped: a file that is overwritten while it is mapped ends its process.
 * Runs in: the stager.
 */
#include "module/module_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/random.h"

enum { SETTLED_MS = 1000, WAIT_MS = 3000, STEP_MS = 50, HEX = 2 * MODULE_HASH, CHUNK = 64 << 10 };

static const char suffix[] = ".so", temporary_suffix[] = ".tmp";

/* The operator's file, all of it. */
struct content { uint8_t *bytes; size_t len; };

static void
hex(const uint8_t hash[static MODULE_HASH], char out[static HEX + 1])
{
    for (size_t i = 0; i < MODULE_HASH; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

/* ---- reading */

/* Whoever may write this file runs code in our workers. */
static int
check_stat(const struct stat *st, const char *file, uint32_t owner, struct base_error *why)
{
    if (!S_ISREG(st->st_mode))
        return module_refuse(why, file, "not a regular file");
    if (st->st_uid != 0 && st->st_uid != owner)
        return module_refuse(why, file, "it belongs to user %u; chown it to root or to user %u", (unsigned)st->st_uid, (unsigned)owner);
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return module_refuse(why, file, "others may write it (mode %04o); chmod go-w it", (unsigned)(st->st_mode & 07777));
    if (st->st_size > MODULE_FILE_MAX)
        return module_refuse(why, file, "it has %lld bytes, more than %d MiB", (long long)st->st_size, MODULE_FILE_MAX >> 20);
    return 0;
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int64_t
age_ms(const struct stat *st)
{
    return (int64_t)clock_wall_ms() - ((int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000);
}

/* A file is settled when it was last written a second ago. One dated in the future (a clock was wrong) when it has not
 * changed for a second before our eyes. */
static int
wait_until_settled(int fd, const char *file, uint32_t owner, struct stat *st, struct base_error *why)
{
    int64_t unchanged = 0;
    for (int waited = 0; ; waited += STEP_MS) {
        struct stat now;
        if (fstat(fd, &now) != 0)
            return base_error_sys(why, errno, "fstat", file);
        int err = check_stat(&now, file, owner, why);
        if (err != 0)
            return err;
        unchanged = waited > 0 && is_same(st, &now) ? unchanged + STEP_MS : 0;
        *st = now;
        int64_t age = age_ms(st);
        if (age >= SETTLED_MS || (age < 0 && unchanged >= SETTLED_MS))
            return 0;
        if (waited >= WAIT_MS)
            return module_refuse(why, file, "it is still being written; replace it by install(1) or mv, and reload again");
        (void)nanosleep(&(struct timespec){ .tv_nsec = STEP_MS * 1000000L }, NULL);
    }
}

/* Exactly len bytes, then the end. */
static int
read_whole(int fd, const char *file, struct content *c, struct base_error *why)
{
    size_t at = 0;
    while (at <= c->len) {                            /* one byte more than there should be */
        ssize_t n = read(fd, c->bytes + at, c->len + 1 - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return base_error_sys(why, errno, "read", file);
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return at == c->len ? 0 : module_refuse(why, file, "it changed while it was read; reload again");
}

static int
read_file(int fd, const char *file, uint32_t owner, struct content *c, struct base_error *why)
{
    struct stat before = { .st_size = 0 }, after;
    int err = wait_until_settled(fd, file, owner, &before, why);
    if (err != 0)
        return err;
    c->len = (size_t)before.st_size;
    c->bytes = malloc(c->len + 1);
    if (c->bytes == NULL)
        return base_error_set(why, NX_ENOMEM, file, "module %s: no memory for %zu bytes", file, c->len);
    err = read_whole(fd, file, c, why);
    if (err != 0)
        return err;
    if (fstat(fd, &after) != 0)
        return base_error_sys(why, errno, "fstat", file);
    if (!is_same(&before, &after))
        return module_refuse(why, file, "it changed while it was read; reload again");
    return elf_check(c->bytes, c->len, file, why);
}

/* ---- storing */

/* Is the copy there, and is it what its name says? Anything else is made anew. */
static bool
has_copy(const char *path, const struct content *c)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    struct stat st;
    uint8_t *chunk = malloc(CHUNK);
    bool is_good = chunk != NULL && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0444 &&
                   (st.st_uid == 0 || st.st_uid == geteuid()) && (size_t)st.st_size == c->len;
    for (size_t at = 0; is_good && at < c->len; ) {
        ssize_t n = read(fd, chunk, c->len - at < CHUNK ? c->len - at : CHUNK);
        is_good = n > 0 && memcmp(chunk, c->bytes + at, (size_t)n) == 0;
        at += is_good ? (size_t)n : 0;
    }
    free(chunk);
    (void)close(fd);                                  /* read-only: nothing can be lost */
    return is_good;
}

static int
write_whole(int fd, const struct content *c)
{
    for (size_t at = 0; at < c->len; ) {
        ssize_t n = write(fd, c->bytes + at, c->len - at);
        if (n < 0 && errno != EINTR)
            return -1;
        at += n > 0 ? (size_t)n : 0;
    }
    return fchmod(fd, 0444);
}

/* Under another name first: a reader sees the whole or nothing, and who has the old one mapped keeps it. No fsync: after a
 * crash of the machine has_copy finds out. */
static int
store(const char *dir, const char *name, const char *path, const struct content *c, struct base_error *why)
{
    char temporary[MODULE_PATH_MAX];
    uint64_t number;
    int err = random_u64(&number);
    if (err != 0)
        return base_error_set(why, err, path, "module %s: no random number for a temporary name", path);
    int len = snprintf(temporary, sizeof temporary, "%s/.%s.%016llx%s", dir, name, (unsigned long long)number, temporary_suffix);
    if (len < 0 || (size_t)len >= sizeof temporary)
        return module_refuse(why, dir, "the directory for copies has too long a path");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (fd < 0)
        return base_error_sys(why, errno, "open", temporary);
    int failed = write_whole(fd, c) != 0 ? errno : 0;
    if (close(fd) != 0 && failed == 0)
        failed = errno;
    if (failed == 0 && rename(temporary, path) != 0)
        failed = errno;
    if (failed == 0)
        return 0;
    (void)unlink(temporary);                          /* the first failure is the one to tell */
    return base_error_sys(why, failed, "write", temporary);
}

static int
keep(const char *dir, const struct content *c, struct module_staged *out, struct base_error *why)
{
    struct module_staged staged = { .is_new = false };
    char name[HEX + 1];
    unsigned len;

    if (EVP_Digest(c->bytes, c->len, staged.hash, &len, EVP_sha256(), NULL) != 1 || len != MODULE_HASH)
        return base_error_set(why, NX_ESYS, NULL, "SHA-256 failed in OpenSSL");
    hex(staged.hash, name);
    int n = snprintf(staged.path, sizeof staged.path, "%s/%s%s", dir, name, suffix);
    if (n < 0 || (size_t)n >= sizeof staged.path)
        return module_refuse(why, dir, "the directory for copies has too long a path");
    if (!has_copy(staged.path, c)) {
        int err = store(dir, name, staged.path, c, why);
        if (err != 0)
            return err;
        staged.is_new = true;
    }
    *out = staged;
    return 0;
}

int
module_stage(const char *file, const char *dir, uint32_t owner, struct module_staged *out, struct base_error *why)
{
    /* Nonblock: a FIFO under this name must not hold the reload up. */
    int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ELOOP ? module_refuse(why, file, "a symbolic link; put the file itself there") : base_error_sys(why, errno, "open", file);

    struct content c = { .bytes = NULL };
    int err = read_file(fd, file, owner, &c, why);
    (void)close(fd);                                  /* read-only: nothing can be lost */
    if (err == 0)
        err = keep(dir, &c, out, why);
    free(c.bytes);
    return err;
}

/* ---- sweeping */

static bool
is_hex(const char *name, size_t len)
{
    return strspn(name, "0123456789abcdef") >= len;
}

/* Named as we name copies, or as we name what becomes one: a stager that was killed leaves such a file. */
static bool
is_ours(const char *name)
{
    size_t len = strlen(name);
    if (len == HEX + sizeof suffix - 1)
        return is_hex(name, HEX) && strcmp(name + HEX, suffix) == 0;
    return len == 1 + HEX + 1 + 16 + sizeof temporary_suffix - 1 && name[0] == '.' && is_hex(name + 1, HEX) && name[1 + HEX] == '.' &&
           is_hex(name + HEX + 2, 16) && strcmp(name + HEX + 18, temporary_suffix) == 0;
}

static bool
is_kept(const char *name, const struct module_staged *kept, size_t count)
{
    char kept_name[HEX + 1];
    for (size_t i = 0; i < count; i++) {
        hex(kept[i].hash, kept_name);
        if (strncmp(name, kept_name, HEX) == 0)
            return true;
    }
    return false;
}

int
module_sweep(const char *dir, const struct module_staged *kept, size_t count, struct base_error *why)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return base_error_sys(why, errno, "opendir", dir);
    int err = 0;
    for (struct dirent *entry; (entry = readdir(d)) != NULL; )
        if (is_ours(entry->d_name) && !is_kept(entry->d_name, kept, count) && unlinkat(dirfd(d), entry->d_name, 0) != 0 && err == 0)
            err = base_error_sys(why, errno, "unlink", entry->d_name);      /* the others go all the same */
    (void)closedir(d);
    return err;
}
