/*
 * writer.h - the write end of one pipe: this turn's batch, one write.
 */
#ifndef NOEXD_PIPE_WRITER_H
#define NOEXD_PIPE_WRITER_H

#include <stdbool.h>

#include "base/error.h"
#include "loop/loop.h"
#include "pipe/pipe.h"

struct pipe_writer;

/* Owns fd (non-blocking). on_broken (may be NULL): the reader is gone (EPIPE); called once, from the loop, never from inside a put; it may
 * free the writer. The process must ignore SIGPIPE: a pipe has no flag for that. NX_ENOMEM; then fd stays the caller's. */
int  pipe_writer_new(struct loop *loop, int fd, const struct pipe_limits *limits, void (*on_broken)(void *arg), void *arg,
                     struct pipe_writer **out);
void pipe_writer_free(struct pipe_writer **w);     /* closes; what was not written is lost */
/* Copy one message into the batch. It is written at pipe_writer_flush or when 64 KiB are full. Returns 0, NX_EBUSY (bound reached, by
 * kind: see struct pipe_limits), NX_ENOMEM, NX_ETOOBIG (above max_body), NX_ENOSERVER (the reader is gone). Whole or not at all. */
int  pipe_writer_put(struct pipe_writer *w, const struct envelope *e, const void *body);
/* Write what the pipe takes now; the rest goes when it is writable. Called by the mesh at the end of a turn. */
void pipe_writer_flush(struct pipe_writer *w);
bool   pipe_writer_is_waiting(const struct pipe_writer *w);          /* the pipe is full, and the loop will tell when it takes more */
size_t pipe_writer_queued(const struct pipe_writer *w);

#endif
