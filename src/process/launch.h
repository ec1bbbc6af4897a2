/*
 * launch.h - everything the master does before the first fork, in order, and undoes at its end.
 */
#ifndef NOEXD_PROCESS_LAUNCH_H
#define NOEXD_PROCESS_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "process/secrets.h"
#include "process/staging.h"
#include "shm/shm.h"

struct launch {
    const struct conf *conf;
    int pid_fd;
    int ready_fd;                        /* daemon: where the waiting parent reads the verdict; -1 */
    int signal_fd;                       /* signals are read here from the first file on that an end must remove */
    bool is_told;                        /* the verdict */
    bool has_control;                    /* the control socket's file is ours */
    struct secrets *secrets;
    struct staging *staging;
    struct shm *shm;
    uint64_t incarnation;
    int link_listen_fd, gate_listen_fd;
};

/* Directories, log, background, signals, pid file, limits, secrets, listeners, modules, shared memory. What was opened before a failure is closed by launch_close.
 * NX_ECANCELED: told to end meanwhile. */
int  launch_open(const struct conf *conf, struct launch *out, struct base_error *why);
void launch_close(struct launch *l);

/* The node serves (NULL) or cannot: to the terminal that started it. Told once; never waits. */
void launch_tell_ready(struct launch *l, const char *failure);

/* Make a directory and its missing parents, 0755. */
int  launch_make_dir(const char *path, struct base_error *why);
/* Is it a directory that only root or we can write to? */
int  launch_check_private(const char *path, struct base_error *why);

#endif
