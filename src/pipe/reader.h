/*
 * reader.h - the read end of one pipe: whole messages only.
 */
#ifndef NOEXD_PIPE_READER_H
#define NOEXD_PIPE_READER_H

#include "base/error.h"
#include "loop/loop.h"
#include "pipe/pipe.h"

struct pipe_reader;

/* A message is a view: envelope and body are valid during the callback only. The callback may free the reader, or drain it: both happen when
 * it has returned. */
typedef void pipe_message_fn(void *arg, const struct envelope *e, const uint8_t *body);
/* The end: 0 = EOF at a message boundary or with a torn tail thrown away; NX_EBADMSG = the writer broke the format (length above max_body);
 * NX_ENOMEM = while it was drained; NX_ESYS. Called once; it may free the reader. A message for which there is no memory waits in the pipe. */
typedef void pipe_end_fn(void *arg, int status, size_t torn_bytes);

int  pipe_reader_new(struct loop *loop, int fd, size_t max_body, pipe_message_fn *on_message, pipe_end_fn *on_end, void *arg,
                     struct pipe_reader **out);    /* owns fd (non-blocking); NX_ENOMEM: then fd stays the caller's */
void pipe_reader_free(struct pipe_reader **r);
/* The writer is known to be dead (the master says so) although a stray copy of its write end may live: read to EAGAIN, deliver, throw the tail
 * away, end with 0. All of it before this returns, unless it is called from a callback of this reader. Nothing if it has ended. */
void pipe_reader_drain(struct pipe_reader *r);

#endif
