/*
 * secrets.h - the cluster's secrets: read by the master only, told to the link worker through a pipe, copied into no other process.
 */
#ifndef NOEXD_PROCESS_SECRETS_H
#define NOEXD_PROCESS_SECRETS_H

#include "cluster/cluster.h"
#include "conf/conf.h"

struct secrets;      /* a page that no fork copies and no core dump shows */

/* Read all secret files. NX_EINVAL / NX_ESYS with the file and the remedy in the text. */
int  secrets_load(const struct conf *conf, struct secrets **out, struct base_error *why);
void secrets_free(struct secrets **s);      /* wiped */

/* The master's side: write them into the pipe `fd` (they fit into it) and close nothing. */
int  secrets_write(const struct secrets *s, int fd, struct base_error *why);
/* The link worker's side: read to the end of the pipe. The caller wipes `out` after use. */
int  secrets_read(int fd, struct cluster_secret out[static CLUSTER_SECRETS_MAX], size_t *count, struct base_error *why);

#endif
