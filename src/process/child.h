/*
 * child.h - what a worker, the link worker and the gate have in common: the first steps after the fork, the master's channel, the end.
 */
#ifndef NOEXD_PROCESS_CHILD_H
#define NOEXD_PROCESS_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "pipe/mesh.h"
#include "process/inherit.h"

struct child;

/* One kind of process, as a list of what happens in its life, in this order. */
struct child_kind_ops {
    const char *name;
    enum shm_role role;
    /* Open the rooms; the loop is there. Sets child->mesh and child->room. */
    int  (*open)(struct child *c, struct base_error *why);
    /* All pipes are there: serve. */
    int  (*start)(struct child *c, struct base_error *why);
    /* A process of this node lives, its pipes are attached. */
    void (*up)(struct child *c, uint16_t slot, uint32_t generation);
    /* A process of this node is dead, its pipes are closed. */
    void (*down)(struct child *c, uint16_t slot, uint32_t generation);
    /* End in order; call child_done when there is nothing left to do. */
    void (*stop)(struct child *c, bool drain, uint64_t deadline_ns);
    void (*close)(struct child *c);
};

struct child {
    const struct inherit *in;
    const struct child_kind_ops *ops;
    struct loop *loop;
    struct mesh *mesh;               /* borrowed from the room that owns it */
    void *room;                      /* the kind's own */
    struct event *channel_event;
    struct loop_hook turn_hook;
    uint64_t memory_at_ns;           /* when the memory was asked for last */
    struct loop_timer stop_timer;
    int secrets_fd;                  /* link worker: arrives before `open`; -1 */
    uint64_t stop_deadline_ns;
    bool is_done, is_stopping;
    int status;
};

extern const struct child_kind_ops child_worker, child_link_worker, child_gate;

/* Everything is answered: leave when the pipes are written. */
void child_done(void *child);

/* This process's own page begins a new life: no handler runs, nothing lives. Fatal signals leave a note in it and then kill the process as they would have. */
int  crash_note_install(const struct inherit *in, struct base_error *why);

#endif
