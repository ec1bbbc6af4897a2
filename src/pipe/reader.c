/*
 * reader.c - the read end of one pipe: bytes in, whole messages out, as views into the buffer they were read into.
 *
 * Lives here: the buffer, finding messages in it, the end of the pipe with its torn tail, freeing from inside a callback.
 * Never here: writing; what a message means.
 * Runs in: workers, the link worker, the gate.
 *
 * Invariant: bytes[at .. end) is what was read and not yet delivered, less than one whole message between two reads; end <= cap.
 * A message that does not fit behind `at` is moved to the front, or into a buffer of its own size, once: so each byte is
 * copied at most once here, however small the pieces are that it arrives in.
 */
#include "pipe/reader.h"

#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

enum {
    READ_BYTES = 64 * 1024,           /* what a pipe holds */
    BUFFER_BYTES = 2 * READ_BYTES,    /* so that a whole read fits behind the beginning of a message */
    READS_PER_TURN = 4,               /* then the other descriptors have their turn */
    SMALL_READ = 16 * 1024,           /* less room than this at the end: move a short beginning to the front */
    RETRY_MS = 20,                    /* pause of a pipe for whose message there is no memory */
    BIG_BUFFER_READS = 64             /* a bigger buffer goes when it was not needed for so many reads */
};

struct pipe_reader {
    struct loop *loop;
    struct event *readable;
    uint8_t *bytes;
    size_t at, end, cap;
    size_t max_body;
    uint64_t total;                   /* bytes read */
    unsigned small_reads;
    unsigned depth;                   /* callbacks of this reader on the stack */
    bool ended;                       /* on_end has been called */
    bool drain;
    bool freed;
    struct loop_timer retry;
    struct loop_defer free_later;
    pipe_message_fn *on_message;
    pipe_end_fn *on_end;
    void *arg;
    int fd;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_retry(void *arg);

int
pipe_reader_new(struct loop *loop, int fd, size_t max_body, pipe_message_fn *on_message, pipe_end_fn *on_end, void *arg, struct pipe_reader **out)
{
    struct pipe_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NX_ENOMEM;
    r->bytes = malloc(BUFFER_BYTES);
    r->readable = event_new(loop_borrow_base(loop), fd, EV_READ | EV_PERSIST, on_readable, r);
    if (r->bytes == NULL || r->readable == NULL || event_add(r->readable, NULL) != 0) {
        if (r->readable != NULL)
            event_free(r->readable);
        free(r->bytes);
        free(r);
        return NX_ENOMEM;
    }
    loop_timer_init(&r->retry, on_retry, r);
    r->loop = loop;
    r->fd = fd;
    r->cap = BUFFER_BYTES;
    r->max_body = max_body;
    r->on_message = on_message;
    r->on_end = on_end;
    r->arg = arg;
    *out = r;
    return 0;
}

static void
free_memory(void *arg)
{
    struct pipe_reader *r = arg;
    free(r->bytes);
    free(r);
}

void
pipe_reader_free(struct pipe_reader **r_ptr)
{
    struct pipe_reader *r = *r_ptr;
    if (r == NULL)
        return;
    *r_ptr = NULL;
    r->freed = true;
    loop_timer_cancel(r->loop, &r->retry);
    event_free(r->readable);                      /* before the close: a stray copy of the pipe would keep it in epoll */
    r->readable = NULL;
    (void)close(r->fd);
    /* Inside a callback the view that was handed up, and r itself, are still in use further up the stack. */
    if (r->depth > 0)
        loop_defer(r->loop, &r->free_later, free_memory, r);
    else
        free_memory(r);
}

static void
end_with(struct pipe_reader *r, int status)
{
    size_t torn = r->end - r->at;
    r->ended = true;
    r->at = r->end = 0;
    (void)event_del(r->readable);
    loop_timer_cancel(r->loop, &r->retry);
    r->depth++;
    r->on_end(r->arg, status, torn);
    r->depth--;
}

/* ---- messages in the buffer */

static bool
is_over(const struct pipe_reader *r)
{
    return r->ended || r->freed;
}

/* Bytes of the message that begins at `at`, 0 = its header is not complete. Its length may be anything: see fits(). */
static size_t
message_len(const struct pipe_reader *r, struct envelope *e)
{
    if (r->end - r->at < WIRE_PIPE_HEADER)
        return 0;
    envelope_decode_pipe(r->bytes + r->at, e);
    return WIRE_PIPE_HEADER + (size_t)e->body_len;
}

static void
deliver(struct pipe_reader *r)
{
    struct envelope e;
    size_t len;

    r->depth++;
    while (!is_over(r) && (len = message_len(r, &e)) != 0) {
        if (e.body_len > r->max_body) {           /* refused before anything is allocated for it */
            end_with(r, NX_EBADMSG);
            break;
        }
        if (len > r->end - r->at)
            break;
        const uint8_t *body = r->bytes + r->at + WIRE_PIPE_HEADER;
        r->at += len;
        r->on_message(r->arg, &e, body);
    }
    r->depth--;
}

static int
change_buffer(struct pipe_reader *r, size_t cap)
{
    uint8_t *bytes = malloc(cap);
    if (bytes == NULL)
        return NX_ENOMEM;
    memcpy(bytes, r->bytes + r->at, r->end - r->at);
    free(r->bytes);
    r->bytes = bytes;
    r->end -= r->at;
    r->at = 0;
    r->cap = cap;
    r->small_reads = 0;
    return 0;
}

static void
move_to_front(struct pipe_reader *r)
{
    memmove(r->bytes, r->bytes + r->at, r->end - r->at);
    r->end -= r->at;
    r->at = 0;
}

/* Before a read: room for what is missing of the message in progress. */
static int
make_room(struct pipe_reader *r)
{
    struct envelope e;
    size_t held = r->end - r->at;

    if (held == 0) {
        r->at = r->end = 0;
        if (r->cap == BUFFER_BYTES || ++r->small_reads < BIG_BUFFER_READS)
            return 0;
        return change_buffer(r, BUFFER_BYTES);
    }
    size_t whole = message_len(r, &e);            /* at most max_body and a header: deliver() has looked at it */
    if (whole == 0)
        whole = WIRE_PIPE_HEADER;
    if (whole > r->cap)
        return change_buffer(r, whole);
    if (whole > BUFFER_BYTES)
        r->small_reads = 0;                       /* the bigger buffer earns its keep */
    if (whole > r->cap - r->at || (held <= SMALL_READ && r->cap - r->end < SMALL_READ))
        move_to_front(r);
    return 0;
}

/* ---- reading */

enum read_result { READ_FULL, READ_SHORT, READ_EMPTY, READ_END };

/* No memory for a message that is on its way. Its writer is well, and its bounds hold what comes behind: so this pipe rests for a while. */
static void
rest(struct pipe_reader *r)
{
    if (loop_timer_set(r->loop, &r->retry, loop_now_ns(r->loop) + RETRY_MS * CLOCK_NS_PER_MS) == 0)
        (void)event_del(r->readable);             /* else the next turn tries again already */
}

static void
on_retry(void *arg)
{
    struct pipe_reader *r = arg;
    if (event_add(r->readable, NULL) != 0)
        rest(r);
}

/* One read(2) and the messages it completes. READ_END: nothing more will come, or the callback has freed the reader. */
static enum read_result
read_once(struct pipe_reader *r)
{
    int err = make_room(r);
    if (err != 0 && !r->drain) {
        rest(r);
        return READ_EMPTY;
    }
    if (err != 0) {                               /* its writer is dead: it ends here and now */
        end_with(r, err);
        return READ_END;
    }
    size_t want = r->cap - r->end < READ_BYTES ? r->cap - r->end : READ_BYTES;
    ssize_t n;
    do
        n = read(r->fd, r->bytes + r->end, want);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return READ_EMPTY;
    if (n <= 0) {
        end_with(r, n == 0 ? 0 : NX_ESYS);
        return READ_END;
    }
    r->end += (size_t)n;
    r->total += (uint64_t)n;
    deliver(r);
    if (is_over(r))
        return READ_END;
    return (size_t)n < want ? READ_SHORT : READ_FULL;
}

/* A dead writer left at most what a pipe holds. A stray copy of its write end in living hands could go on for ever; it may not. */
static void
drain_now(struct pipe_reader *r)
{
    int size = fcntl(r->fd, F_GETPIPE_SZ);
    uint64_t limit = r->total + (size > 0 ? (uint64_t)size : BUFFER_BYTES);
    while (r->total < limit) {
        enum read_result result = read_once(r);
        if (result == READ_END)
            return;
        if (result == READ_EMPTY)
            break;
    }
    end_with(r, 0);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct pipe_reader *r = arg;
    (void)fd, (void)what;

    r->depth++;                                   /* so that a callback that frees r leaves us its memory */
    enum read_result result = READ_FULL;
    for (int reads = 0; result == READ_FULL && reads < READS_PER_TURN && !r->drain; reads++)
        result = read_once(r);
    if (r->drain && !is_over(r))
        drain_now(r);
    r->depth--;
}

void
pipe_reader_drain(struct pipe_reader *r)
{
    if (is_over(r) || r->drain)
        return;
    r->drain = true;
    if (r->depth > 0)
        return;                                   /* on_readable is on the stack and looks */
    r->depth++;
    drain_now(r);
    r->depth--;                                   /* if a callback freed it, its memory goes at the end of the turn */
}
