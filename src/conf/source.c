/*
 * source.c - the files of a configuration: each read once, whole, and kept.
 *
 * Lives here: opening, the bounds of size and number, knowing a file again under another name.
 * Never here: what is in them.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes `text`, which is freed on failure. */
static int
add(struct conf_reader *r, const char *path, char *text, size_t len, size_t *index)
{
    struct conf *c = r->conf;
    struct conf_source *grown = conf_keep(r, realloc(c->sources, (c->source_count + 1) * sizeof *grown));
    if (grown != NULL)
        c->sources = grown;
    char *name = grown != NULL ? conf_keep(r, strdup(path)) : NULL;
    if (name == NULL) {
        free(text);
        return -1;
    }
    c->sources[c->source_count] = (struct conf_source){ .path = name, .text = text, .len = len };
    *index = c->source_count++;
    return 0;
}

int
conf_source_add(struct conf_reader *r, const char *path, const char *text, size_t len, size_t *index)
{
    char *copy = conf_keep(r, malloc(len + 1));
    if (copy == NULL)
        return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return add(r, path, copy, len, index);
}

/* All of it, up to one byte beyond the bound; NULL with errno. */
static char *
slurp(int fd, size_t *len)
{
    size_t cap = 4096, at = 0;
    char *text = malloc(cap);
    while (text != NULL) {
        if (at == cap - 1) {
            char *grown = realloc(text, cap *= 2);
            if (grown == NULL)
                break;
            text = grown;
        }
        ssize_t n = read(fd, text + at, cap - 1 - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        at += (size_t)n;
        if (n == 0 || at > CONF_FILE_BYTES_MAX) {
            text[at] = '\0';
            *len = at;
            return text;
        }
    }
    int errnum = text != NULL ? errno : ENOMEM;
    free(text);
    errno = errnum;
    return NULL;
}

static int
read_open(struct conf_reader *r, int fd, const char *path, const char *from_file, int from_line, size_t *index)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        conf_complain(r, from_file, from_line, "cannot read %s: %s", path, strerror(errno));
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        conf_complain(r, from_file, from_line, "cannot read %s: it is not a regular file", path);
        return -1;
    }
    for (size_t i = 0; i < r->conf->source_count; i++) {
        if (r->identity[i].ino != st.st_ino || r->identity[i].dev != st.st_dev)
            continue;
        conf_complain(r, from_file, from_line, "%s %s; include each file once", path,
                      r->identity[i].is_open ? "includes itself" : "is included already");
        return -1;
    }
    size_t len;
    char *text = slurp(fd, &len);
    if (text == NULL) {
        conf_complain(r, from_file, from_line, "cannot read %s: %s", path, strerror(errno));
        return -1;
    }
    if (len > CONF_FILE_BYTES_MAX) {
        conf_complain(r, from_file, from_line, "%s is larger than 1 MiB, which no configuration is", path);
        free(text);
        return -1;
    }
    int err = add(r, path, text, len, index);
    if (err == 0) {
        r->identity[*index].dev = st.st_dev;
        r->identity[*index].ino = st.st_ino;
    }
    return err;
}

int
conf_source_read(struct conf_reader *r, const char *path, const char *from_file, int from_line, size_t *index)
{
    if (r->conf->source_count == CONF_FILES_MAX) {
        conf_complain(r, from_file, from_line, "more than %d files; join some of them", CONF_FILES_MAX);
        return -1;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);       /* nonblock: a FIFO must not hold a start up */
    if (fd < 0) {
        conf_complain(r, from_file, from_line, "cannot read %s: %s", path, strerror(errno));
        return -1;
    }
    int err = read_open(r, fd, path, from_file, from_line, index);
    (void)close(fd);                                  /* read-only: nothing can be lost */
    return err;
}
