/*
 * pid_file.h - one master per configuration: a lock on the pid file, not its content, says who runs.
 */
#ifndef NOEXD_PROCESS_PID_FILE_H
#define NOEXD_PROCESS_PID_FILE_H

#include <sys/types.h>

#include "base/error.h"

/* Open, lock and write the pid file; *fd stays open for the life of the master. NX_ECONFLICT when another process holds the lock (its pid in the
 * text). The lock is of POSIX's kind: closing any descriptor of this file gives it up, so nobody else in this process opens it. */
int pid_file_open(const char *path, int *fd, struct base_error *why);
void pid_file_remove(const char *path, int fd);
/* Who holds the lock? NX_ENOSERVER: nobody. */
int pid_file_holder(const char *path, pid_t *out, struct base_error *why);

#endif
