/*
 * check.c - noexd -t: everything that a start would check, with nothing of the node changed.
 *
 * Lives here: a private directory for the staged copies, the stager and the validator run on it, the directory removed again.
 * Never here: the node's own directories, sockets, pid file.
 * Runs in: the command line of -t.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/privileges.h"
#include "process/process.h"
#include "process/secrets.h"
#include "process/signals.h"
#include "process/staging.h"

static void
remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    char path[MODULE_PATH_MAX + 256];
    for (struct dirent *e = d ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        (void)closedir(d);
    (void)rmdir(dir);
}

/* Beside the real copies if that place is there (it may be executed from), else where temporary files go. */
static int
make_dir(const struct conf *conf, char *dir, size_t size, struct base_error *why)
{
    const char *tmp = getenv("TMPDIR");
    const char *base = access(conf->modules_state_dir, W_OK | X_OK) == 0 ? conf->modules_state_dir : tmp != NULL && tmp[0] == '/' ? tmp : "/tmp";
    int len = snprintf(dir, size, "%s/noexd-test-XXXXXX", base);
    if (len < 0 || (size_t)len >= size)
        return base_error_set(why, NX_EINVAL, base, "-t: the path is too long: %.300s", base);
    if (mkdtemp(dir) == NULL)
        return base_error_sys(why, errno, "make a directory for -t below", base);
    if (chmod(dir, 0755) != 0) {                 /* the validator may run as another user */
        int e = errno;
        (void)rmdir(dir);
        return base_error_sys(why, e, "chmod", dir);
    }
    return 0;
}

static int
check_all(const struct conf *conf, int signal_fd, struct base_error *why)
{
    char dir[MODULE_PATH_MAX];
    struct staging *staging = NULL;
    struct secrets *secrets = NULL;
    int err = privileges_check(conf, why);
    if (err == 0)
        err = secrets_load(conf, &secrets, why);
    secrets_free(&secrets);
    if (err != 0 || (err = make_dir(conf, dir, sizeof dir, why)) != 0)
        return err;
    err = staging_run(conf, dir, signal_fd, &staging, why);
    staging_free(&staging);
    remove_dir(dir);
    return err;
}

int
process_test(const struct conf *conf)
{
    struct base_error why = { 0 };
    int signal_fd = -1;
    int err = signals_open(&signal_fd, &why);    /* Ctrl-C must not leave the directory behind */
    if (err == 0)
        err = check_all(conf, signal_fd, &why);
    if (signal_fd >= 0)
        (void)close(signal_fd);
    if (err != 0)
        fprintf(stderr, "noexd: %s\n", why.text);
    fprintf(stderr, "noexd: configuration file %s test %s\n", conf->file, err == 0 ? "is successful" : "failed");
    return err == 0 ? 0 : 1;
}
