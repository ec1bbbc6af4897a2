/*
 * pack.c - nx_pack: values into bytes by a format string.
 *
 * Lives here: the formats of nx_pack, read once from left to right.
 * Never here: the bytes of single items (value_priv.h, packer.c).
 * Runs in: every process that sends a body.
 *
 * A container's count is known only at its closing bracket: its head is written as one byte first and widened, which moves what
 * follows, in the rare case of more than 15 elements.
 */
#include "value/value_priv.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/base.h"
#include "noex/errors.h"

struct packing {
    struct buf *b;
    const char *fmt;                                  /* all of it */
    const char *at;
    struct base_error *why;
    va_list ap;
};

static struct base_error last_error;

struct base_error *
value_last_error(void)
{
    return &last_error;
}

static int __attribute__((cold, noinline))
refuse(struct packing *k, const char *what)
{
    return base_error_set(k->why, NX_EINVAL, NULL, "%s at character %zu of format \"%.100s\"", what, (size_t)(k->at - k->fmt) + 1,
                          k->fmt);
}

/* The next letter, without consuming it; what is only for the eye is skipped. */
static inline char
peek(struct packing *k)
{
    while (*k->at == ' ' || *k->at == ',' || *k->at == ':' || *k->at == '\n' || *k->at == '\t')
        k->at++;
    return *k->at;
}

/* `s` or `s#`, behind the letter. */
static int
pack_string(struct packing *k, bool is_key)
{
    const char *text = va_arg(k->ap, const char *);
    size_t len = 0;
    if (*k->at == '#') {
        k->at++;
        len = va_arg(k->ap, size_t);
    } else if (text != NULL)
        len = strlen(text);
    if (text == NULL && (is_key || len > 0))
        return refuse(k, is_key ? "NULL for a key" : "NULL for a string that has a length");
    return text != NULL ? value_put_str(k->b, text, len) : value_put_nil(k->b);
}

static int
pack_binary(struct packing *k)
{
    const void *bytes = va_arg(k->ap, const void *);
    size_t len = va_arg(k->ap, size_t);
    if (bytes == NULL && len > 0)
        return refuse(k, "NULL for a binary that has a length");
    return value_put_bin(k->b, bytes, len);
}

static int
pack_ref(struct packing *k)
{
    nx_ref ref = va_arg(k->ap, nx_ref);
    uint8_t body[VALUE_EXT_REF_MAX];
    size_t len = 0;
    if (value_codec == NULL || value_codec->encode(ref, body, &len) != 0)
        return refuse(k, "a ref to nothing or to a node never heard of");
    return value_put_ext(k->b, VALUE_EXT_REF, body, len);
}

/* The count at last: `start` is where the one-byte head is, from the beginning of the content. */
static int
close_container(struct packing *k, size_t start, size_t count, bool is_map)
{
    struct buf *b = k->b;
    uint8_t *head = b->data + b->at + start;
    if (count < 16) {
        *head = (uint8_t)((is_map ? 0x80 : 0x90) | count);
        return 0;
    }
    uint8_t *unused;
    size_t more = count <= UINT16_MAX ? 2 : 4;        /* a format string of 4 GiB elements does not exist */
    int err = buf_reserve(b, more, &unused);
    if (err != 0)
        return err;
    head = b->data + b->at + start;
    memmove(head + 1 + more, head + 1, (size_t)(b->data + b->end - head) - 1);
    b->end += more;
    if (more == 2) {
        head[0] = is_map ? 0xde : 0xdc;
        value_store16(head + 1, (uint16_t)count);
    } else {
        head[0] = is_map ? 0xdf : 0xdd;
        value_store32(head + 1, (uint32_t)count);
    }
    return 0;
}

static int pack_one(struct packing *k, unsigned depth);

/* Behind the opening bracket. */
static int
pack_container(struct packing *k, bool is_map, unsigned depth)
{
    if (depth >= VALUE_DEPTH_MAX)
        return refuse(k, "brackets nested too deep");
    size_t start = buf_len(k->b), count = 0;
    int err = value_put_byte(k->b, 0);
    for (; err == 0 && peek(k) != (is_map ? '}' : ']'); count++) {
        if (is_map) {
            if (*k->at != 's')
                return refuse(k, *k->at == '\0' ? "missing '}'" : "a key must be 's'");
            k->at++;
            err = pack_string(k, true);
            if (err != 0)
                return err;
        }
        err = pack_one(k, depth + 1);
    }
    if (err != 0)
        return err;
    k->at++;
    return close_container(k, start, count, is_map);
}

static int
pack_one(struct packing *k, unsigned depth)
{
    int err;
    char letter = peek(k);
    if (letter == '\0')
        return refuse(k, "a value is missing");
    k->at++;
    switch (letter) {
    case 'n': return value_put_nil(k->b);
    case 'b': return value_put_bool(k->b, va_arg(k->ap, int) != 0);
    case 'i': return value_put_int(k->b, va_arg(k->ap, int));
    case 'I': return value_put_int(k->b, va_arg(k->ap, int64_t));
    case 'u': return value_put_uint(k->b, va_arg(k->ap, uint64_t));
    case 'f': return value_put_double(k->b, va_arg(k->ap, double));
    case 's': return pack_string(k, false);
    case 'y': return pack_binary(k);
    case 'r': return pack_ref(k);
    case 'v':
        err = value_put(k->b, va_arg(k->ap, nx_value));
        return err == NX_EINVAL ? refuse(k, "no value, or one nested too deep") : err;
    case '{': return pack_container(k, true, depth);
    case '[': return pack_container(k, false, depth);
    default:
        k->at--;
        return refuse(k, "wrong letter");
    }
}

int
value_vpack(nx_packer *p, struct base_error *why, const char *fmt, va_list ap)
{
    if (p == NULL || fmt == NULL)
        return base_error_set(why, NX_EINVAL, NULL, "no packer or no format");
    struct packing k = { .b = &p->bytes, .fmt = fmt, .at = fmt, .why = why };
    va_copy(k.ap, ap);
    size_t before = buf_len(&p->bytes), count = 0;
    int err;
    do {
        err = pack_one(&k, 0);
        count++;
    } while (err == 0 && peek(&k) != '\0');
    va_end(k.ap);
    if (err == 0) {
        p->count += count;
        return 0;
    }
    p->bytes.end = p->bytes.at + before;
    if (err == NX_ETOOBIG)
        base_error_set(why, err, NULL, "more than %zu bytes", p->bytes.max);
    else if (err == NX_ENOMEM)
        base_error_set(why, err, NULL, "no memory beyond %zu bytes", before);
    return err;
}

int
nx_vpack(nx_packer *to, const char *fmt, va_list ap)
{
    int err = value_vpack(to, &last_error, fmt, ap);
    if (err != 0)
        base_error_set(&last_error, err, last_error.subject, "nx_pack: %s", last_error.text);
    return err;
}

int
nx_pack(nx_packer *to, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int err = nx_vpack(to, fmt, ap);
    va_end(ap);
    return err;
}
