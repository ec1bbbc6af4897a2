/*
 * launch.h - everything the master does before the first fork, in order, and undoes at its end.
 */
#ifndef NOEXD_PROCESS_LAUNCH_H
#define NOEXD_PROCESS_LAUNCH_H

#include <stdint.h>

#include "conf/conf.h"
#include "process/secrets.h"
#include "process/staging.h"
#include "shm/shm.h"

struct launch {
    const struct conf *conf;
    int pid_fd;
    int ready_fd;                        /* daemon: where the waiting parent reads the verdict; -1 */
    struct secrets *secrets;
    struct staging *staging;
    struct shm *shm;
    uint64_t incarnation;
    int link_listen_fd, gate_listen_fd;
};

/* Directories, log, background, pid file, limits, secrets, listeners, modules, shared memory. What was opened before a failure is closed by launch_close. */
int  launch_open(const struct conf *conf, struct launch *out, struct base_error *why);
void launch_close(struct launch *l);

/* The node serves (text NULL) or cannot: to the terminal that started it. */
void launch_tell_ready(struct launch *l, const char *failure);

/* Make a directory and its missing parents. */
int  launch_make_dir(const char *path, struct base_error *why);

#endif
