/*
 * listen.h - listening sockets, opened by the master, inherited by the link worker and the gate.
 */
#ifndef NOEXD_PROCESS_LISTEN_H
#define NOEXD_PROCESS_LISTEN_H

#include <stdint.h>

#include "base/error.h"

/* A TCP socket, non-blocking, close-on-exec. A busy port is named with the process that holds it, where /proc tells. */
int listen_tcp(const char *host, uint16_t port, int *fd, struct base_error *why);

/* A Unix socket of this mode. A stale file (nobody answers) is replaced; a living one is NX_ECONFLICT. */
int listen_unix(const char *path, uint32_t mode, int *fd, struct base_error *why);

#endif
