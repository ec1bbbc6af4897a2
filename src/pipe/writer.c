/*
 * writer.c - the write end of one pipe: a queue of bytes in chunks, written at 64 KiB or at the end of the turn.
 *
 * Lives here: the queue, its two bounds, waiting until the pipe takes more, noticing that the reader is gone.
 * Never here: reading; which process is at the other end.
 * Runs in: workers, the link worker, the gate.
 *
 * Invariant: every chunk but the last is filled to its end (so a message may lie across two), no chunk but the last is empty,
 * and queued = the sum of their contents.
 */
#include "pipe/writer.h"

#include <event2/event.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/list.h"

/* A chunk is 64 KiB with its head, not 64 KiB and a head: allocators round that up to the next class. */
enum { CHUNK_SIZE = 64 * 1024, CHUNK_HEAD = sizeof(struct list) + 2 * sizeof(size_t), CHUNK_BYTES = CHUNK_SIZE - CHUNK_HEAD, SPARE_MAX = 2 };

struct chunk { struct list link; size_t at, end; uint8_t bytes[CHUNK_BYTES]; };
_Static_assert(sizeof(struct chunk) == CHUNK_SIZE, "a chunk fills its allocation");

struct pipe_writer {
    struct loop *loop;
    struct event *writable;
    struct pipe_limits limits;
    struct list chunks, spares;
    size_t spare_count;
    size_t queued;
    bool waiting;                     /* the pipe was full: the loop tells when it takes more */
    bool broken;
    struct loop_defer tell;
    void (*on_broken)(void *arg);
    void *arg;
    int fd;
};

static void on_writable(evutil_socket_t fd, short what, void *arg);

int
pipe_writer_new(struct loop *loop, int fd, const struct pipe_limits *limits, void (*on_broken)(void *arg), void *arg, struct pipe_writer **out)
{
    struct pipe_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NX_ENOMEM;
    w->writable = event_new(loop_borrow_base(loop), fd, EV_WRITE | EV_PERSIST, on_writable, w);
    if (w->writable == NULL) {
        free(w);
        return NX_ENOMEM;
    }
    list_init(&w->chunks);
    list_init(&w->spares);
    w->loop = loop;
    w->fd = fd;
    w->limits = *limits;
    w->on_broken = on_broken;
    w->arg = arg;
    *out = w;
    return 0;
}

static void
free_chunks(struct list *chunks)
{
    for (struct list *link; (link = list_pop_front(chunks)) != NULL; )
        free(list_item(link, struct chunk, link));
}

void
pipe_writer_free(struct pipe_writer **w_ptr)
{
    struct pipe_writer *w = *w_ptr;
    if (w == NULL)
        return;
    *w_ptr = NULL;
    loop_undefer(&w->tell);
    event_free(w->writable);                      /* before the close: epoll must forget the descriptor while it is ours */
    (void)close(w->fd);
    free_chunks(&w->chunks);
    free_chunks(&w->spares);
    free(w);
}

bool
pipe_writer_is_waiting(const struct pipe_writer *w)
{
    return w->waiting;
}

size_t
pipe_writer_queued(const struct pipe_writer *w)
{
    return w->queued;
}

/* ---- filling */

static struct chunk *
last_chunk(const struct pipe_writer *w)
{
    return list_is_empty(&w->chunks) ? NULL : list_item(w->chunks.prev, struct chunk, link);
}

static size_t
room_in(const struct chunk *c)
{
    return c == NULL ? 0 : CHUNK_BYTES - c->end;
}

/* So many spare chunks that `len` more bytes surely fit: a message is queued whole or not at all. */
static int
reserve(struct pipe_writer *w, size_t len)
{
    size_t room = room_in(last_chunk(w));
    size_t needed = len <= room ? 0 : (len - room + CHUNK_BYTES - 1) / CHUNK_BYTES;
    while (w->spare_count < needed) {
        struct chunk *c = malloc(sizeof *c);
        if (c == NULL)
            return NX_ENOMEM;
        list_push_back(&w->spares, &c->link);
        w->spare_count++;
    }
    return 0;
}

static void
append(struct pipe_writer *w, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    while (len > 0) {
        struct chunk *c = last_chunk(w);
        if (room_in(c) == 0) {
            c = list_item(list_pop_front(&w->spares), struct chunk, link);
            w->spare_count--;
            c->at = c->end = 0;
            list_push_back(&w->chunks, &c->link);
        }
        size_t part = len < room_in(c) ? len : room_in(c);
        memcpy(c->bytes + c->end, from, part);
        c->end += part;
        w->queued += part;
        from += part;
        len -= part;
    }
}

static void
retire(struct pipe_writer *w, struct chunk *c)
{
    list_remove(&c->link);
    if (w->spare_count < SPARE_MAX) {
        list_push_front(&w->spares, &c->link);    /* the one that is still warm is used next */
        w->spare_count++;
    } else {
        free(c);
    }
}

static bool
is_over_bound(const struct pipe_writer *w, uint8_t kind, size_t len)
{
    if (w->queued == 0)
        return false;                             /* whatever the bounds are: an empty queue takes one message */
    if (len > w->limits.hard_bytes || w->queued > w->limits.hard_bytes - len)
        return true;
    return w->queued >= w->limits.soft_bytes && (kind == KIND_CAST || envelope_is_request(kind));
}

int
pipe_writer_put(struct pipe_writer *w, const struct envelope *e, const void *body)
{
    size_t len = WIRE_PIPE_HEADER + (size_t)e->body_len;
    if (e->body_len > w->limits.max_body)
        return NX_ETOOBIG;
    if (w->broken)
        return NX_ENOSERVER;
    if (is_over_bound(w, e->kind, len))
        return NX_EBUSY;

    struct chunk *c = last_chunk(w);
    if (room_in(c) >= len) {
        envelope_encode_pipe(e, c->bytes + c->end);
        if (e->body_len > 0)
            memcpy(c->bytes + c->end + WIRE_PIPE_HEADER, body, e->body_len);
        c->end += len;
        w->queued += len;
    } else {
        uint8_t header[WIRE_PIPE_HEADER];
        if (reserve(w, len) != 0)
            return NX_ENOMEM;
        envelope_encode_pipe(e, header);
        append(w, header, sizeof header);
        append(w, body, e->body_len);
    }
    if (w->queued >= CHUNK_BYTES)
        pipe_writer_flush(w);
    return 0;
}

/* ---- emptying */

static void
tell_broken(void *arg)
{
    struct pipe_writer *w = arg;
    if (w->on_broken != NULL)
        w->on_broken(w->arg);                     /* may free w */
}

/* Nobody will read this any more. EPIPE is the usual reason; any other is as final, since a pipe has no other way to recover. */
static void
set_broken(struct pipe_writer *w)
{
    w->broken = true;
    free_chunks(&w->chunks);
    w->queued = 0;
    (void)event_del(w->writable);
    loop_defer(w->loop, &w->tell, tell_broken, w);
}

static void
set_waiting(struct pipe_writer *w, bool waiting)
{
    if (w->waiting == waiting)
        return;
    if (waiting && event_add(w->writable, NULL) != 0)
        return;                                   /* out of memory: the next flush tries again */
    if (!waiting)
        (void)event_del(w->writable);
    w->waiting = waiting;
}

static void
write_out(struct pipe_writer *w)
{
    while (w->queued > 0) {
        struct chunk *c = list_item(w->chunks.next, struct chunk, link);
        ssize_t n = write(w->fd, c->bytes + c->at, c->end - c->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            set_broken(w);
            return;
        }
        if (n > 0) {
            c->at += (size_t)n;
            w->queued -= (size_t)n;
        }
        if (c->at < c->end) {                     /* a part, or nothing: the pipe is full */
            set_waiting(w, true);
            return;
        }
        if (w->queued > 0)
            retire(w, c);
        else
            c->at = c->end = 0;                   /* the last one stays: the next turn's batch goes there */
    }
    set_waiting(w, false);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    write_out(arg);
}

void
pipe_writer_flush(struct pipe_writer *w)
{
    if (!w->waiting && !w->broken)
        write_out(w);
}
