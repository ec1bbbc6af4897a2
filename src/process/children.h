/*
 * children.h - the master's children: fork, orders, death, respawn with back-off.
 */
#ifndef NOEXD_PROCESS_CHILDREN_H
#define NOEXD_PROCESS_CHILDREN_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "process/inherit.h"
#include "process/orders.h"
#include "process/secrets.h"

enum { CHILDREN_MAX = CONF_WORKERS_MAX + 2 };

enum child_state { CHILD_NONE, CHILD_STARTING, CHILD_READY, CHILD_STATES };

struct child_slot {
    enum child_kind kind;
    uint16_t slot;
    char name[24];                       /* "worker 0", "link worker", "gate" */
    int cpu, listen_fd;                  /* listen_fd: the master keeps it for the next life */
    enum child_state state;
    pid_t pid;
    int pidfd;                           /* -1 while there is no process */
    uint32_t generation;                 /* of the last life */
    struct orders orders;                /* and the channel they go by */
    bool is_told_to_start;               /* CHANNEL_START was ordered in this life */
    bool is_ending;                      /* it was sent SIGKILL: said once */
    uint64_t started_ns;
    uint64_t respawn_at_ns;              /* 0 = none planned */
    uint32_t quick_deaths;               /* in a row: decides the back-off */
    uint32_t restarts;
    /* The watchdog's last look. */
    uint64_t watched_handlers, watched_since_ns;
    uint64_t aborted_ns;                 /* SIGABRT was sent; 0 = not */
    bool is_warned;
};

struct children {
    struct inherit base;                 /* what is the same for all */
    const struct secrets *secrets;       /* borrowed */
    struct child_slot items[CHILDREN_MAX];
    size_t count;
    int pipe_bytes;                      /* of each pipe */
    bool is_stopping;                    /* no respawn any more */
    bool has_killed;                     /* since then: one that had to be ended by force */
};

/* Workers 0 .. n-1, then the gate and the link worker; nothing is forked yet. */
void children_init(struct children *c, const struct inherit *base, const struct secrets *secrets, int link_listen_fd, int gate_listen_fd);
void children_fini(struct children *c);

/* Fork all and order pipes between every two. All are told to start, the gate when the others are ready. After a failure some live: children_kill_all, and wait. */
int  children_start_all(struct children *c, struct base_error *why);
bool children_are_ready(const struct children *c);
size_t children_alive(const struct children *c);

/* Descriptors to poll; `at` has room for 2 * CHILDREN_MAX. Then what poll said, in the same order. *failed is filled by a child that says it cannot serve. */
size_t children_poll_fill(const struct children *c, struct pollfd *at);
void children_poll_done(struct children *c, const struct pollfd *at, size_t count, struct base_error *failed);

/* How long to wait after this death: 0, 100, 200, 400 .. 30 000 ms; a life of 60 s starts anew. */
uint64_t child_back_off_ms(struct child_slot *child, uint64_t now_ns);
/* Respawns that are due; the next moment, 0 = none. */
uint64_t children_tick(struct children *c, uint64_t now_ns);

/* From here on nobody is started again, and nobody can connect: the listening sockets are closed. */
void children_stop_begin(struct children *c);
/* One kind: stop in order, within the limit. A second word can only shorten the first. */
void children_stop(struct children *c, enum child_kind kind, bool drain, int64_t limit_ms);
/* SIGKILL: the pidfd tells when it is dead; one that is ending by itself keeps the status it has. */
void child_end(struct child_slot *child);
/* All of that kind that are still there: they did not end in time, and the log says so. */
void children_kill_late(struct children *c, enum child_kind kind);
void children_kill_all(struct children *c);
size_t children_alive_of(const struct children *c, enum child_kind kind);

/* "counter#3": a server as log lines name it. The behavior is an index of the behavior table; "#3" when it has no name there. */
enum { CHILD_SERVER_TEXT = 160 };
const char *children_server_text(const struct children *c, uint32_t behavior, uint64_t serial, char out[static CHILD_SERVER_TEXT]);

/* The reopened log to all. */
void children_tell_log(struct children *c, int log_fd);

/* Handlers that have not returned: named after two looks, ended after the limit. Processes that do not get ready, or do not take their orders: ended. Called every
 * WATCHDOG_MS. */
enum { WATCHDOG_MS = 100 };
void children_watch(struct children *c, uint64_t now_ns, int64_t handler_limit_ms);

#endif
