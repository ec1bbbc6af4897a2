/*
 * test_secrets.c - what may be a secret file, and where its bytes are not.
 */
#include "process/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/process.h"
#include "testing.h"

static const char good[] = "0123456789abcdef0123456789abcdef0123456789abcdef";

static struct conf
conf_of(const char *path)
{
    struct conf conf = { .secret_count = 1 };
    conf.secrets[0] = (struct conf_secret){ .label = (char *)(uintptr_t)"main", .id = 7, .file = (char *)(uintptr_t)path, .send = true };
    return conf;
}

static int
load(const char *path, struct base_error *why)
{
    struct conf conf = conf_of(path);
    struct secrets *s = NULL;
    int err = secrets_load(&conf, &s, why);
    CU_ASSERT_EQUAL(s == NULL, err != 0);
    secrets_free(&s);
    CU_ASSERT_PTR_NULL(s);
    return err;
}

static void
refused(const char *path, int code, const char *part)
{
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(load(path, &why), code);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, path));
}

/* What the link worker would get. */
static size_t
through_a_pipe(const struct conf *conf, struct cluster_secret out[static CLUSTER_SECRETS_MAX])
{
    struct secrets *s = NULL;
    int fds[2];
    size_t count = 99;
    CU_ASSERT_EQUAL_FATAL(secrets_load(conf, &s, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    CU_ASSERT_EQUAL(secrets_write(s, fds[1], NULL), 0);
    (void)close(fds[1]);
    CU_ASSERT_EQUAL(secrets_read(fds[0], out, &count, NULL), 0);
    (void)close(fds[0]);
    secrets_free(&s);
    return count;
}

UNIT(secrets, a_good_file_arrives_at_the_other_end_of_the_pipe)
{
    struct conf conf = conf_of(testing_file("good.secret", good, sizeof good - 1, 0600));
    struct cluster_secret out[CLUSTER_SECRETS_MAX];
    CU_ASSERT_EQUAL(through_a_pipe(&conf, out), 1);
    CU_ASSERT_EQUAL(out[0].id, 7);
    CU_ASSERT_TRUE(out[0].send);
    CU_ASSERT_EQUAL(out[0].len, sizeof good - 1);
    CU_ASSERT_EQUAL(memcmp(out[0].key, good, sizeof good - 1), 0);
}

UNIT(secrets, line_ends_of_an_editor_are_not_part_of_it)
{
    char text[64];
    struct cluster_secret out[CLUSTER_SECRETS_MAX];
    int len = snprintf(text, sizeof text, "%s\r\n", good);
    struct conf conf = conf_of(testing_file("newline.secret", text, (size_t)len, 0400));
    CU_ASSERT_EQUAL(through_a_pipe(&conf, out), 1);
    CU_ASSERT_EQUAL(out[0].len, sizeof good - 1);
}

UNIT(secrets, all_of_them_arrive_and_none_is_fine)
{
    struct cluster_secret out[CLUSTER_SECRETS_MAX];
    struct conf conf = conf_of(testing_file("one.secret", good, sizeof good - 1, 0600));
    for (; conf.secret_count < CONF_SECRETS_MAX; conf.secret_count++) {
        conf.secrets[conf.secret_count] = conf.secrets[0];
        conf.secrets[conf.secret_count].id = (uint32_t)(100 + conf.secret_count);
    }
    CU_ASSERT_EQUAL(through_a_pipe(&conf, out), CONF_SECRETS_MAX);
    CU_ASSERT_EQUAL(out[3].id, 103);
    conf.secret_count = 0;
    CU_ASSERT_EQUAL(through_a_pipe(&conf, out), 0);
}

UNIT(secrets, M1_a_secret_that_others_may_read_is_refused)
{
    static const mode_t modes[] = { 0640, 0604, 0620, 0601, 0610 };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        refused(testing_file("open.secret", good, sizeof good - 1, modes[i]), NX_EINVAL, "chmod 600");
}

UNIT(secrets, M1_31_bytes_are_refused_and_32_are_not)
{
    refused(testing_file("short.secret", good, 31, 0600), NX_EINVAL, "at least 32");
    CU_ASSERT_EQUAL(load(testing_file("enough.secret", good, 32, 0600), NULL), 0);
    /* A newline does not make 31 bytes 32. */
    char text[32];
    memcpy(text, good, 31);
    text[31] = '\n';
    refused(testing_file("padded.secret", text, 32, 0600), NX_EINVAL, "at least 32");
}

UNIT(secrets, more_than_can_be_kept_is_refused_and_not_cut)
{
    char text[CLUSTER_SECRET_MAX + 1];
    memset(text, 'k', sizeof text);
    CU_ASSERT_EQUAL(load(testing_file("longest.secret", text, sizeof text - 1, 0600), NULL), 0);
    refused(testing_file("long.secret", text, sizeof text, 0600), NX_EINVAL, "at most 256");
}

UNIT(secrets, M1_a_missing_file_a_directory_a_link_and_a_fifo_are_refused)
{
    struct base_error why = { 0 };
    refused(testing_path("missing.secret"), NX_ESYS, "No such file");
    const char *dir = testing_path("dir.secret"), *fifo = testing_path("fifo.secret"), *link = testing_path("link.secret");
    CU_ASSERT_EQUAL(mkdir(dir, 0700), 0);
    refused(dir, NX_EINVAL, "not a regular file");
    CU_ASSERT_EQUAL(mkfifo(fifo, 0600), 0);
    refused(fifo, NX_EINVAL, "not a regular file");
    CU_ASSERT_EQUAL(symlink(testing_file("there.secret", good, sizeof good - 1, 0600), link), 0);
    CU_ASSERT_EQUAL(load(link, &why), NX_ESYS);
}

UNIT(secrets, a_torn_pipe_gives_nothing)
{
    int fds[2];
    struct cluster_secret out[CLUSTER_SECRETS_MAX];
    size_t count = 99;
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    CU_ASSERT_EQUAL(write(fds[1], good, sizeof good), (ssize_t)sizeof good);
    (void)close(fds[1]);
    CU_ASSERT_EQUAL(secrets_read(fds[0], out, &count, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(count, 99);
    (void)close(fds[0]);
}

/* Reads the address in the child: killed, where the page was not copied. */
static int
touch(void *arg)
{
    (void)signal(SIGSEGV, SIG_DFL);
    (void)close(2);                              /* a sanitizer's report of this fault is not wanted */
    (void)**(volatile uint8_t **)arg;
    return 0;
}

UNIT(secrets, the_page_with_them_is_in_no_forked_child)
{
    struct conf conf = conf_of(testing_file("page.secret", good, sizeof good - 1, 0600));
    struct secrets *s = NULL;
    CU_ASSERT_EQUAL_FATAL(secrets_load(&conf, &s, NULL), 0);
    const uint8_t *at = (const uint8_t *)s;
    CU_ASSERT_NOT_EQUAL(testing_wait(testing_fork(touch, &at)), 0);      /* a signal, or what a sanitizer makes of it */
    /* And this shows that the test can fail: an ordinary page is there. */
    uint8_t *other = calloc(1, 4096);
    CU_ASSERT_EQUAL(testing_wait(testing_fork(touch, &other)), 0);
    free(other);
    secrets_free(&s);
}

UNIT(secrets, keygen_writes_64_digits_to_a_private_file_and_never_over_one)
{
    const char *path = testing_path("new.secret");
    CU_ASSERT_EQUAL_FATAL(process_keygen(path), 0);
    struct stat st;
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 65);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(load(path, NULL), 0);
    int kept = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(null, 2);
    CU_ASSERT_EQUAL(process_keygen(path), 1);
    (void)dup2(kept, 2);
    (void)close(kept), (void)close(null);
}

UNIT(secrets, keygen_fails_where_nothing_can_be_written)
{
    int kept_out = dup(1), kept_err = dup(2), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    (void)fflush(stdout);
    (void)dup2(full, 1), (void)dup2(full, 2);
    int status = process_keygen(NULL);
    (void)dup2(kept_out, 1), (void)dup2(kept_err, 2);
    (void)close(kept_out), (void)close(kept_err), (void)close(full);
    CU_ASSERT_EQUAL(status, 1);
}
