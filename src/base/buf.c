/*
 * buf.c - a growing run of bytes.
 *
 * Lives here: growth (doubling, checked), compaction when the read end has moved on.
 * Never here: descriptors, formats.
 * Runs in: every process.
 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "noex/errors.h"

enum { BUF_FIRST = 256 };
static const size_t BUF_MAX_DEFAULT = (size_t)1 << 30;

void
buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max != 0 ? max : BUF_MAX_DEFAULT };
}

void
buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){ .max = b->max };
}

static void
compact(struct buf *b)
{
    size_t len = b->end - b->at;
    if (b->at > 0 && len > 0)
        memmove(b->data, b->data + b->at, len);
    b->at = 0;
    b->end = len;
}

/* A block of `cap` bytes with the content at its beginning. */
static int
enlarge(struct buf *b, size_t cap)
{
    uint8_t *data = realloc(b->data, cap);
    if (data == NULL)
        return NX_ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

/* Room for `more` bytes behind the content, of which `spare` (a NUL that is never content) may lie beyond max. */
static int
reserve(struct buf *b, size_t more, size_t spare)
{
    nx_assert(b->at <= b->end && b->end <= b->cap);
    size_t len = b->end - b->at;
    size_t limit = b->max < SIZE_MAX - spare ? b->max + spare : b->max;
    if (len > limit || more > limit - len)
        return NX_ETOOBIG;
    if (more <= b->cap - b->end)
        return 0;

    /* Moving pays when no more is moved than was taken since the last move; else a slow reader makes it quadratic. */
    if (more <= b->cap - len && (b->at >= len || b->cap >= limit)) {
        compact(b);
        return 0;
    }
    size_t cap = b->cap > limit / 2 ? limit : b->cap * 2;
    if (cap < BUF_FIRST)
        cap = BUF_FIRST;
    if (cap < len + more)
        cap = len + more;
    if (cap > limit)
        cap = limit;
    compact(b);
    return enlarge(b, cap);
}

int
buf_reserve(struct buf *b, size_t more, uint8_t **out)
{
    int err = reserve(b, more, 0);
    if (err != 0)
        return err;
    *out = b->data != NULL ? b->data + b->end : NULL;       /* nothing reserved in nothing */
    return 0;
}

void
buf_commit(struct buf *b, size_t added)
{
    nx_assert(added <= b->cap - b->end);
    b->end += added;
}

int
buf_put(struct buf *b, const void *bytes, size_t len)
{
    if (len == 0)
        return 0;
    int err = reserve(b, len, 0);
    if (err != 0)
        return err;
    memcpy(b->data + b->end, bytes, len);
    b->end += len;
    return 0;
}

int
buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int err = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return err;
}

int
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    size_t room = b->cap - b->end;
    int n = vsnprintf(room > 0 ? (char *)b->data + b->end : NULL, room, fmt, ap);
    int err = 0;
    if (n < 0)
        err = NX_EINVAL;                              /* a format the C library refuses */
    else if ((size_t)n > b->max - (b->end - b->at))
        err = NX_ETOOBIG;
    else if ((size_t)n >= room) {
        err = reserve(b, (size_t)n + 1, 1);
        if (err == 0)
            (void)vsnprintf((char *)b->data + b->end, (size_t)n + 1, fmt, again);
    }
    if (err == 0)
        b->end += (size_t)n;
    va_end(again);
    return err;
}

void
buf_take(struct buf *b, size_t len)
{
    nx_assert(len <= b->end - b->at);
    b->at += len;
    if (b->at == b->end)
        b->at = b->end = 0;
}

void
buf_clear(struct buf *b)
{
    b->at = b->end = 0;
}

const char *
buf_cstr(struct buf *b)
{
    if (reserve(b, 1, 1) != 0)
        return NULL;
    b->data[b->end] = '\0';
    return (const char *)b->data + b->at;
}
