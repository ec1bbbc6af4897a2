/*
 * inherit.h - everything that survives the fork into a child, and nothing else does.
 *
 * Beside these: descriptors 0, 1, 2 and the log. The child closes every other descriptor; the page with the secrets is not copied into it.
 */
#ifndef NOEXD_PROCESS_INHERIT_H
#define NOEXD_PROCESS_INHERIT_H

#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "process/staging.h"
#include "shm/shm.h"

enum child_kind { CHILD_LINK, CHILD_GATE, CHILD_WORKER };

struct inherit {
    const struct conf *conf;             /* the heap as it was; borrowed */
    struct shm *shm;                     /* mappings; shm_enter seals what is not this child's */
    const struct staging *staging;       /* paths and hashes of the modules */
    const char *version;                 /* of the program */
    uint64_t incarnation, started_ns;
    pid_t master;
    enum child_kind kind;
    uint16_t slot;
    uint32_t generation;
    int cpu;                             /* -1 = not pinned */
    int channel_fd;                      /* to the master */
    int listen_fd;                       /* the link worker's or the gate's; -1 = none */
};

/* The whole life of a child: from the fork to its exit status. */
int child_main(struct inherit *in);

#endif
