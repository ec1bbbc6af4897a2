/*
 * fixture.c - see fixture.h.
 */
#include "fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

static char prefix[512], complaints[8192];

const char *
fixture_begin(void)
{
    char path[480];
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/noexd-conf-XXXXXX", dir != NULL ? dir : "/tmp");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
    CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(path, prefix));
    return prefix;
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
    CU_ASSERT_EQUAL(nftw(prefix, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    prefix[0] = '\0';
}

const char *
fixture_path(const char *name)
{
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", prefix, name);
    return path;
}

void
fixture_write(const char *name, const void *bytes, size_t len, mode_t mode)
{
    int fd = open(fixture_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, bytes, len), (ssize_t)len);
    CU_ASSERT_EQUAL(fchmod(fd, mode), 0);
    close(fd);
}

void
fixture_secret(const char *name)
{
    fixture_write(name, "0123456789abcdef0123456789abcdef", 32, 0600);
}

/* Complaints begin with a path; ours is another one each time. */
static void
drop_prefix(struct buf *from)
{
    const char *at = buf_cstr(from);
    size_t len = strlen(prefix), end = 0;
    while (*at != '\0' && end + 1 < sizeof complaints) {
        if (strncmp(at, prefix, len) == 0 && at[len] == '/')
            at += len + 1;
        else
            complaints[end++] = *at++;
    }
    complaints[end] = '\0';
}

const char *
fixture_load_bytes(const void *text, size_t len, const char *directives, struct conf **out)
{
    struct buf buf;
    fixture_write("n.conf", text, len, 0644);
    struct conf_options o = { .prefix = prefix, .file = "n.conf", .directives = directives, .default_prefix = "/nowhere" };
    buf_init(&buf, 0);
    *out = NULL;
    int err = conf_load(&o, out, &buf);
    CU_ASSERT_EQUAL(err, buf_len(&buf) == 0 ? 0 : NX_EINVAL);
    CU_ASSERT_EQUAL(*out == NULL, err != 0);
    drop_prefix(&buf);
    buf_fini(&buf);
    return complaints;
}

const char *
fixture_load(const char *text, const char *directives, struct conf **out)
{
    return fixture_load_bytes(text, strlen(text), directives, out);
}

void
refuses_with(const char *text, const char *directives, const char *complaint)
{
    struct conf *c;
    fixture_begin();
    fixture_secret("s");
    const char *said = fixture_load(text, directives, &c);
    CU_ASSERT_EQUAL(strncmp(said, complaint, strlen(complaint)), 0);
    if (strncmp(said, complaint, strlen(complaint)) != 0)
        printf("# expected: %s\n# said: %s", complaint, said);
    CU_ASSERT(said[0] == '\0' || said[strlen(said) - 1] == '\n');
    conf_free(&c);
    fixture_end();
}

void
refuses(const char *text, const char *complaint)
{
    refuses_with(text, NULL, complaint);
}

void
accepts(const char *text)
{
    struct conf *c;
    fixture_begin();
    fixture_secret("s");
    const char *said = fixture_load(text, NULL, &c);
    CU_ASSERT_STRING_EQUAL(said, "");
    if (said[0] != '\0')
        printf("# said: %s", said);
    conf_free(&c);
    CU_ASSERT_PTR_NULL(c);
    fixture_end();
}
