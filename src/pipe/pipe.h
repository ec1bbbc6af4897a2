/*
 * pipe.h - messages between the processes of one node, over pipe(2).
 *
 * Lives here: the batch writer (writer.h), the reader of whole messages (reader.h), the set of a process's pipes (mesh.h), the master's
 * channel that carries descriptors and orders (channel.h).
 * Never here: what a message means.
 * Runs in: workers, the link worker, the gate; channel.h also in the master.
 *
 * One pipe per direction and pair, fresh for every life of a process, its write end held by the writer alone. A dead writer gives EOF;
 * a torn tail is thrown away.
 */
#ifndef NOEXD_PIPE_PIPE_H
#define NOEXD_PIPE_PIPE_H

#include <stddef.h>

#include "wire/envelope.h"

/* Bounds of one writer's queue, in bytes that wait: at `soft` and above requests and casts are refused with NX_EBUSY (the sender drops the
 * cast); answers and system messages pass as long as they fit below `hard`, then NX_EBUSY for all. An empty queue takes one message. */
struct pipe_limits { size_t soft_bytes, hard_bytes, max_body; };
#define PIPE_LIMITS_DEFAULT { .soft_bytes = 8u << 20, .hard_bytes = 64u << 20, .max_body = 1u << 20 }

#endif
