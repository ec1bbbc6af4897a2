/*
 * buf.h - a growing run of bytes with a read end and a write end.
 *
 * Invariant: data + at .. data + end is the content; end <= cap. Never grows beyond `max` (0 = 1 GiB).
 */
#ifndef NOEXD_BASE_BUF_H
#define NOEXD_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf { uint8_t *data; size_t at, end, cap, max; };

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
int  buf_reserve(struct buf *b, size_t more, uint8_t **out);     /* room for `more` bytes at *out; NX_ENOMEM, NX_ETOOBIG */
void buf_commit(struct buf *b, size_t added);                    /* `added` of the reserved bytes are now content */
int  buf_put(struct buf *b, const void *bytes, size_t len);
int  buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int  buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_take(struct buf *b, size_t len);                        /* drop from the read end */
void buf_clear(struct buf *b);                                   /* keeps the memory */
static inline size_t buf_len(const struct buf *b) { return b->end - b->at; }
static inline const uint8_t *buf_data(const struct buf *b) { return b->data != NULL ? b->data + b->at : NULL; }
const char *buf_cstr(struct buf *b);                             /* NUL-terminated view, NULL if out of memory */

#endif
