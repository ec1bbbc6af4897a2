/*
 * json_read.c - JSON text into packed bytes.
 *
 * Lives here: jansson's tree into msgpack, the {"$...":...} forms, unsigned integers that jansson does not know, the place of an
 * error.
 * Never here: writing (json_write.c).
 * Runs in: the gate, noexctl, the master (arguments in the configuration).
 */
#include "value/value_priv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/base.h"
#include "noex/errors.h"

/* ---- integers from 2^63 to 2^64 - 1
 *
 * jansson's integers are signed and it refuses these. So where the text holds one (hardly ever), it reads a copy in which each such
 * number is spelled {"$uint":"..."}, the form that we accept anyhow; error places are mapped back. */

static const char big_open[] = "{\"$uint\":\"", big_close[] = "\"}";
enum { BIG_OPEN = sizeof big_open - 1, BIG_ADDED = sizeof big_open - 1 + sizeof big_close - 1 };

static bool
is_big(const char *digits, size_t len)
{
    if (len == 19)
        return memcmp(digits, "9223372036854775807", 19) > 0;
    return len == 20 && memcmp(digits, "18446744073709551615", 20) <= 0;
}

static bool
is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* The next number token at or behind *from that is such an integer. Text inside strings is not looked at. */
static bool
next_big(const char *text, size_t len, size_t *from, size_t *token_len)
{
    size_t i = *from;
    while (i < len) {
        if (text[i] == '"') {
            for (i++; i < len && text[i] != '"'; i++)
                i += text[i] == '\\';
            i++;
        } else if (is_number_byte(text[i])) {
            size_t n = 1;
            bool digits_only = text[i] >= '1' && text[i] <= '9';
            for (; i + n < len && is_number_byte(text[i + n]); n++)
                digits_only &= text[i + n] >= '0' && text[i + n] <= '9';
            if (digits_only && is_big(text + i, n)) {
                *from = i;
                *token_len = n;
                return true;
            }
            i += n;
        } else
            i++;
    }
    return false;
}

static int
spell_big(const char *text, size_t len, struct buf *out)
{
    size_t from = 0, n = 0, done = 0;
    int err = 0;
    while (err == 0 && next_big(text, len, &from, &n)) {
        err = buf_put(out, text + done, from - done);
        if (err == 0)
            err = buf_put(out, big_open, BIG_OPEN);
        if (err == 0)
            err = buf_put(out, text + from, n);
        if (err == 0)
            err = buf_put(out, big_close, sizeof big_close - 1);
        done = from += n;
    }
    return err != 0 || done == 0 ? err : buf_put(out, text + done, len - done);
}

/* An offset in the copy, as one in the original. */
static size_t
original_offset(const char *text, size_t len, size_t offset)
{
    size_t from = 0, n = 0, added = 0;
    for (; next_big(text, len, &from, &n); from += n, added += BIG_ADDED) {
        if (offset <= from + added)
            break;
        if (offset < from + added + n + BIG_ADDED)
            return from + n;
    }
    return offset - added < len ? offset - added : len;
}

/* ---- the place of an error: lines and characters (not bytes) from 1 */

static int
refuse_at(struct base_error *why, const char *text, size_t len, size_t offset, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < len; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80)
            column++;
    }
    return base_error_set(why, NX_EINVAL, NULL, "%zu:%zu: %s", line, column, what);
}

/* ---- the tree into msgpack */

struct json_reader { struct buf *out; struct base_error *why; };

static int
refuse(struct json_reader *r, const char *what)
{
    return base_error_set(r->why, NX_EINVAL, NULL, "JSON: %s", what);
}

static int
read_string(struct json_reader *r, const json_t *json)
{
    const char *text = json_string_value(json);
    size_t len = json_string_length(json);
    if (text[0] == '#' && value_codec != NULL && strlen(text) == len) {
        uint8_t body[VALUE_EXT_REF_MAX];
        size_t body_len = 0;
        if (value_codec->from_text(text, body, &body_len, NULL) == 0)
            return value_put_ext(r->out, VALUE_EXT_REF, body, body_len);
    }
    return value_put_str(r->out, text, len);
}

/* A base64 string as a binary or an ext. */
static int
read_base64(struct json_reader *r, const json_t *json, bool is_ext, int8_t type)
{
    struct buf bytes;
    buf_init(&bytes, 0);
    int err = value_base64_decode(json_string_value(json), json_string_length(json), &bytes);
    if (err == NX_EINVAL)
        err = refuse(r, is_ext ? "\"data\" of an \"$ext\" is not base64" : "\"$bin\" is not base64");
    else if (err == 0)
        err = is_ext ? value_put_ext(r->out, type, buf_data(&bytes), buf_len(&bytes))
                     : value_put_bin(r->out, buf_data(&bytes), buf_len(&bytes));
    buf_fini(&bytes);
    return err;
}

static int
read_float_form(struct json_reader *r, const char *name)
{
    if (strcmp(name, "nan") == 0)
        return value_put_double(r->out, (double)NAN);
    if (strcmp(name, "inf") == 0)
        return value_put_double(r->out, (double)INFINITY);
    if (strcmp(name, "-inf") == 0)
        return value_put_double(r->out, -(double)INFINITY);
    return refuse(r, "\"$float\" is none of \"nan\", \"inf\", \"-inf\"");
}

static int
read_uint_form(struct json_reader *r, const char *digits)
{
    size_t len = strlen(digits);
    errno = 0;
    unsigned long long x = len > 0 && len == strspn(digits, "0123456789") ? strtoull(digits, NULL, 10) : 0;
    if (errno != 0 || len == 0 || len != strspn(digits, "0123456789"))
        return refuse(r, "\"$uint\" is not the digits of an integer of 64 bits");
    return value_put_uint(r->out, x);
}

/* An object that stands for something else? Then *done, and the result. Anything that only looks similar is a map. */
static int
read_form(struct json_reader *r, const json_t *json, bool *done)
{
    const json_t *type = json_object_get(json, "$ext"), *data = json_object_get(json, "data");
    *done = true;
    if (json_object_size(json) == 2 && json_is_integer(type) && json_is_string(data)) {
        json_int_t number = json_integer_value(type);
        if (number < INT8_MIN || number > INT8_MAX)
            return refuse(r, "\"$ext\" is not between -128 and 127");
        return read_base64(r, data, true, (int8_t)number);
    }
    if (json_object_size(json) == 1) {
        const json_t *value;
        if (json_is_string(value = json_object_get(json, "$bin")))
            return read_base64(r, value, false, 0);
        if (json_is_string(value = json_object_get(json, "$float")))
            return read_float_form(r, json_string_value(value));
        if (json_is_string(value = json_object_get(json, "$uint")))
            return read_uint_form(r, json_string_value(value));
    }
    *done = false;
    return 0;
}

static int read_one(struct json_reader *r, json_t *json, unsigned depth);

static int
read_object(struct json_reader *r, json_t *json, unsigned depth)
{
    bool done;
    int err = read_form(r, json, &done);
    if (err != 0 || done)
        return err;
    if (depth >= VALUE_DEPTH_MAX)
        return refuse(r, "nested too deep");
    err = value_put_map(r->out, json_object_size(json));
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) {
        if (err == 0)
            err = value_put_str(r->out, key, strlen(key));
        if (err == 0)
            err = read_one(r, value, depth + 1);
    }
    return err;
}

static int
read_array(struct json_reader *r, json_t *json, unsigned depth)
{
    if (depth >= VALUE_DEPTH_MAX)
        return refuse(r, "nested too deep");
    int err = value_put_array(r->out, json_array_size(json));
    for (size_t i = 0; i < json_array_size(json) && err == 0; i++)
        err = read_one(r, json_array_get(json, i), depth + 1);
    return err;
}

static int
read_one(struct json_reader *r, json_t *json, unsigned depth)
{
    switch (json_typeof(json)) {
    case JSON_NULL:    return value_put_nil(r->out);
    case JSON_TRUE:    return value_put_bool(r->out, true);
    case JSON_FALSE:   return value_put_bool(r->out, false);
    case JSON_INTEGER: return value_put_int(r->out, json_integer_value(json));
    case JSON_REAL:    return value_put_double(r->out, json_real_value(json));
    case JSON_STRING:  return read_string(r, json);
    case JSON_ARRAY:   return read_array(r, json, depth);
    case JSON_OBJECT:  return read_object(r, json, depth);
    default:           return refuse(r, "of a type that is not known here");
    }
}

int
value_from_json(nx_packer *out, const char *text, size_t len, struct base_error *why)
{
    const char *nul = len > 0 ? memchr(text, '\0', len) : NULL;
    if (nul != NULL)                                  /* jansson swallows one that follows a number */
        return refuse_at(why, text, len, (size_t)(nul - text), "NUL byte");

    struct buf copy;
    buf_init(&copy, 0);
    json_t *json = NULL;
    int err = spell_big(text, len, &copy);
    if (err != 0) {
        base_error_set(why, err, NULL, "JSON of %zu bytes", len);
        goto end;
    }
    bool spelled = buf_len(&copy) > 0;
    json_error_t error;
    json = json_loadb(spelled ? (const char *)buf_data(&copy) : text, spelled ? buf_len(&copy) : len,
                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (json == NULL && json_error_code(&error) == json_error_out_of_memory) {
        err = base_error_set(why, NX_ENOMEM, NULL, "no memory for JSON of %zu bytes", len);
        goto end;
    }
    if (json == NULL) {
        size_t offset = error.position > 0 ? (size_t)error.position : 0;
        err = refuse_at(why, text, len, spelled ? original_offset(text, len, offset) : offset, error.text);
        goto end;
    }
    struct json_reader r = { .out = &out->bytes, .why = why };
    size_t before = buf_len(&out->bytes);
    err = read_one(&r, json, 0);
    if (err == 0)
        out->count++;
    else {
        out->bytes.end = out->bytes.at + before;
        if (err != NX_EINVAL)
            base_error_set(why, err, NULL, "JSON of %zu bytes makes more than %zu packed", len, out->bytes.max);
    }
end:
    json_decref(json);
    buf_fini(&copy);
    return err;
}
