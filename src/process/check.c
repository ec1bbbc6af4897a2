/*
 * check.c - noexd -t: everything that a start would check, with nothing of the node changed.
 *
 * Lives here: a private directory for the staged copies, the stager and the validator run on it, the directory removed again.
 * Never here: the node's own directories, sockets, pid file.
 * Runs in: the command line of -t.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process/process.h"
#include "process/secrets.h"
#include "process/staging.h"

static void
remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    char path[4400];
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

int
process_test(const struct conf *conf)
{
    char dir[4096];
    struct base_error why = { 0 };
    /* Beside the real copies if that place is there (it may be executed from), else where temporary files go. */
    const char *tmp = getenv("TMPDIR");
    const char *base = access(conf->modules_state_dir, W_OK | X_OK) == 0 ? conf->modules_state_dir : tmp != NULL && tmp[0] == '/' ? tmp : "/tmp";
    snprintf(dir, sizeof dir, "%s/noexd-test-XXXXXX", base);
    if (mkdtemp(dir) == NULL) {
        fprintf(stderr, "noexd: -t: cannot make a directory below %s\n", base);
        return 1;
    }
    struct staging *s = NULL;
    struct secrets *secrets = NULL;
    int err = secrets_load(conf, &secrets, &why);
    if (err == 0)
        err = staging_run(conf, dir, &s, &why);
    for (size_t i = 0; err == 0 && i < conf->supervisor_count; i++)
        for (size_t j = 0; err == 0 && j < conf->supervisors[i].server_count; j++) {
            const struct conf_server *server = &conf->supervisors[i].servers[j];
            int is_known = strcmp(server->behavior, "supervisor") == 0;
            for (size_t m = 0; m < s->count; m++)
                for (size_t b = 0; b < s->modules[m].info.count; b++)
                    is_known |= strcmp(s->modules[m].info.behaviors[b].name, server->behavior) == 0;
            if (!is_known)
                err = base_error_set(&why, NX_ENOBEHAVIOR, server->behavior, "supervisor \"%s\", server \"%s\": no module has the behavior \"%s\"",
                                     conf->supervisors[i].name, server->label, server->behavior);
        }
    staging_free(&s);
    secrets_free(&secrets);
    remove_dir(dir);
    if (err != 0) {
        fprintf(stderr, "noexd: %s\nnoexd: configuration file %s test failed\n", why.text, conf->file);
        return 1;
    }
    fprintf(stderr, "noexd: configuration file %s test is successful\n", conf->file);
    return 0;
}
