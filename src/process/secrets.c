/*
 * secrets.c - secret files, the page that keeps them, the pipe that carries them.
 *
 * Lives here: reading with the checks of a secret (mode, length), MADV_DONTFORK, MADV_DONTDUMP, wiping; keygen.
 * Never here: logging a byte of them.
 * Runs in: the master; secrets_read in the link worker.
 */
#include "process/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/random.h"
#include "process/process.h"

struct secrets { size_t count; struct cluster_secret items[CLUSTER_SECRETS_MAX]; };

enum { SECRET_MIN = 32 };

static int
read_one(const struct conf_secret *c, struct cluster_secret *out, struct base_error *why)
{
    int fd = open(c->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return base_error_sys(why, errno, "open secret", c->file);
    struct stat st;
    int err = 0;
    ssize_t got = -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = base_error_set(why, NX_EINVAL, c->file, "secret \"%s\": %s is not a regular file", c->label, c->file);
    else if ((st.st_mode & 0077) != 0)
        err = base_error_set(why, NX_EINVAL, c->file, "secret \"%s\": %s has mode %04o: others may read it; chmod 600 it", c->label, c->file, st.st_mode & 07777);
    else if ((uint64_t)st.st_size > sizeof out->key)
        err = base_error_set(why, NX_EINVAL, c->file, "secret \"%s\": %s holds %lld bytes; at most %zu are used", c->label, c->file, (long long)st.st_size,
                             sizeof out->key);
    else if ((got = read(fd, out->key, sizeof out->key)) < 0)
        err = base_error_sys(why, errno, "read secret", c->file);
    (void)close(fd);
    if (err != 0)
        return err;
    while (got > 0 && (out->key[got - 1] == '\n' || out->key[got - 1] == '\r'))      /* an editor's last line end is not part of it */
        got--;
    if (got < SECRET_MIN)
        return base_error_set(why, NX_EINVAL, c->file, "secret \"%s\": %s holds %zd bytes; at least %d are needed: make one with noexd keygen", c->label, c->file, got, SECRET_MIN);
    out->id = c->id;
    out->send = c->send;
    out->len = (size_t)got;
    return 0;
}

int
secrets_load(const struct conf *conf, struct secrets **out, struct base_error *why)
{
    _Static_assert((int)CONF_SECRETS_MAX <= (int)CLUSTER_SECRETS_MAX, "every configured secret has a place");
    struct secrets *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return base_error_sys(why, errno, "mmap", "a page for the secrets");
    if (madvise(s, sizeof *s, MADV_DONTFORK) != 0 || madvise(s, sizeof *s, MADV_DONTDUMP) != 0) {
        int e = errno;
        (void)munmap(s, sizeof *s);
        return base_error_sys(why, e, "madvise", "the page of the secrets");
    }
    for (size_t i = 0; i < conf->secret_count; i++) {
        int err = read_one(&conf->secrets[i], &s->items[i], why);
        if (err != 0) {
            secrets_free(&s);
            return err;
        }
        s->count++;
    }
    *out = s;
    return 0;
}

void
secrets_free(struct secrets **s)
{
    if (*s == NULL)
        return;
    OPENSSL_cleanse(*s, sizeof **s);
    (void)munmap(*s, sizeof **s);
    *s = NULL;
}

int
secrets_write(const struct secrets *s, int fd, struct base_error *why)
{
    _Static_assert(sizeof *s <= 4096, "one write into an empty pipe is whole");
    ssize_t n = write(fd, s, sizeof *s);
    if (n != (ssize_t)sizeof *s)
        return base_error_sys(why, n < 0 ? errno : EIO, "write", "the secrets to the link worker");
    return 0;
}

int
secrets_read(int fd, struct cluster_secret out[static CLUSTER_SECRETS_MAX], size_t *count, struct base_error *why)
{
    struct secrets s;
    size_t have = 0;
    while (have < sizeof s) {
        ssize_t n = read(fd, (uint8_t *)&s + have, sizeof s - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    int err = 0;
    if (have != sizeof s || s.count > CLUSTER_SECRETS_MAX) {
        err = base_error_set(why, NX_EBADMSG, NULL, "the secrets did not arrive from the master");
    } else {
        memcpy(out, s.items, sizeof s.items);
        *count = s.count;
    }
    OPENSSL_cleanse(&s, sizeof s);
    return err;
}

/* All of it, or nothing: a file that was begun is removed again. */
static int
keygen_write(const char *file, const char *text, size_t len)
{
    int fd = file != NULL ? open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : STDOUT_FILENO;
    if (fd < 0)
        return errno;
    ssize_t n = write(fd, text, len);
    int e = n == (ssize_t)len ? 0 : n < 0 ? errno : ENOSPC;
    if (file == NULL)
        return e;
    if (close(fd) != 0 && e == 0)
        e = errno;
    if (e != 0)
        (void)unlink(file);
    return e;
}

int
process_keygen(const char *file)
{
    uint8_t key[32];
    char text[2 * sizeof key + 2];
    if (random_bytes(key, sizeof key) != 0) {
        fprintf(stderr, "noexd: keygen: the kernel gives no random bytes\n");
        return 1;
    }
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    text[2 * sizeof key] = '\n';
    int e = keygen_write(file, text, 2 * sizeof key + 1);
    if (e != 0)
        fprintf(stderr, "noexd: keygen: %s: %s\n", file != NULL ? file : "standard output", strerror(e));
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(text, sizeof text);
    return e == 0 ? 0 : 1;
}
