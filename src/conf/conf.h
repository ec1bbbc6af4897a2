/*
 * conf.h - noexd.conf, read with libConfuse into one struct, with file and line for each complaint.
 *
 * Lives here: the grammar, defaults, checks of each value and of values against each other, the text of -T.
 * Never here: acting on it; opening sockets, loading modules, reading secrets (their files are only named here).
 * Runs in: the master, `noexd -t`.
 */
#ifndef NOEXD_CONF_CONF_H
#define NOEXD_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "wire/node_id.h"

enum {
    CONF_WORKERS_MAX = 64, CONF_SECRETS_MAX = 4, CONF_CPUS_MAX = 1024,
    CONF_SECRET_BYTES_MIN = 32, CONF_SECRET_BYTES_MAX = 256,
    CONF_REGISTRY_MIN = 64, CONF_REGISTRY_MAX = 1 << 20,       /* as shm/shm.h has them, which this room may not see */
    CONF_NODES_MIN = 2, CONF_NODES_MAX = 4096,
    CONF_SEEDS_MAX = 256, CONF_MODULES_MAX = 256, CONF_SUPERVISORS_MAX = 256, CONF_SERVERS_MAX = 1024,
    CONF_FILES_MAX = 64, CONF_FILE_BYTES_MAX = 1 << 20, CONF_INCLUDE_DEPTH_MAX = 10, CONF_COMPLAINTS_MAX = 20,
};

struct conf_secret { char *label; uint32_t id; char *file; /* resolved */ bool send; };
struct conf_module { char *name; char *file; /* resolved path of the operator's file */ };

struct conf_server {                       /* a child of a configured supervisor */
    char *label;                           /* unique in its supervisor */
    char *behavior;
    void *args; size_t args_len;           /* MessagePack, from JSON text; never NULL: nil by default */
    int scope;                             /* 0, NX_LOCAL, NX_GLOBAL */
    char *name;                            /* registered name, NULL = none */
    int32_t priority;
    enum conf_restart { CONF_PERMANENT, CONF_TRANSIENT, CONF_TEMPORARY } restart;
    int64_t shutdown_ms;
};
struct conf_supervisor {
    char *name;
    enum conf_strategy { CONF_ONE_FOR_ONE, CONF_ONE_FOR_ALL, CONF_REST_FOR_ONE } strategy;
    uint32_t max_restarts;
    int64_t within_ms;
    struct conf_server *servers; size_t server_count;
};

/* All files that were read, for -T and for the stager: path and bytes as they are on the disk, in the order of reading. */
struct conf_source { char *path; char *text; size_t len; };

struct conf {
    char *prefix;                          /* absolute, no trailing slash */
    char *file;                            /* absolute path of the main file */
    char *user;                            /* NULL = stay */
    bool daemon;                           /* false: stay in the foreground; on by default */
    uint32_t workers;                      /* resolved: auto = CPUs this process may use, 1-64 */
    int affinity[CONF_WORKERS_MAX];        /* CPU of each worker; -1 = not pinned */
    int link_affinity;                     /* CPU of the link worker; -1 = not pinned */
    char *pid_file;                        /* resolved */
    char *modules_state_dir;               /* resolved: private copies of modules */
    char *log_file; enum log_level log_level;     /* resolved, or "stderr" */

    struct node_id node;                   /* the advertised id */
    char *cluster;                         /* cluster name, "noexd" by default */
    char *listen_host; uint16_t listen_port;                  /* host NULL = no link listener: a node without a cluster */
    struct node_id *seeds; size_t seed_count;
    struct conf_secret secrets[CONF_SECRETS_MAX]; size_t secret_count;
    int64_t heartbeat_ms; uint32_t heartbeat_misses;
    int64_t reconnect_min_ms, reconnect_max_ms, handshake_ms;
    bool refuse_mismatch;                  /* behavior_mismatch = refuse */

    char *modules_dir;
    struct conf_module *modules; size_t module_count;
    struct conf_supervisor *supervisors; size_t supervisor_count;

    char *control_path;                    /* resolved path of the Unix socket; NULL = none */
    uint32_t control_mode;                 /* 0600 */

    uint32_t registry_capacity, nodes_max;
    size_t max_body;
    uint32_t mailbox_messages; uint64_t mailbox_bytes;
    int64_t handler_limit_ms;
    int64_t shutdown_ms;
    uint32_t max_servers;                  /* of one worker */

    struct conf_source *sources; size_t source_count;         /* ask conf_source_at */
};

struct conf_options {
    const char *prefix;                    /* -p, or NULL = the built-in one */
    const char *file;                      /* -c, or NULL = PREFIX/etc/noexd/noexd.conf; relative to the prefix */
    const char *directives;                /* -g, text appended to the file (a source named "-g"), or NULL */
    const char *default_prefix;            /* PREFIX of the build; files below it: etc/noexd, var/log, var/run, var/lib/noexd, lib/noexd/modules */
};

/*
 * Read and check everything. Complaints go, one a line, to `complaints` as "PATH:LINE: text" (never more than 20), each naming the thing and
 * the remedy. Returns 0 and *out, or NX_EINVAL with at least one complaint. Each file is read once, whole.
 * Secret files are stat'ed: missing, a directory, readable by others, or shorter than 32 bytes are complaints (M1).
 * One call at a time in a process: libConfuse's scanner is one for all.
 */
int  conf_load(const struct conf_options *options, struct conf **out, struct buf *complaints);
void conf_free(struct conf **c);
size_t conf_source_count(const struct conf *c);
const struct conf_source *conf_source_at(const struct conf *c, size_t index);

#endif
