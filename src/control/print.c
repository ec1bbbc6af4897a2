/*
 * print.c - values for people and for programs.
 *
 * Lives here: how a cell looks, how columns line up, JSON lines.
 * Never here: which columns a listing has (noexctl.c); asking.
 * Runs in: noexctl.
 */
#include "control/print.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/buf.h"
#include "value/value.h"

enum { COLUMNS_MAX = 16, HASH_SHOWN = 12 };

static int
settle(FILE *out)
{
    return fflush(out) != 0 || ferror(out) ? NX_ESYS : 0;
}

int
print_json(FILE *out, nx_value v)
{
    struct buf b;
    buf_init(&b, 0);
    int err = value_to_json(v, 0, &b);
    if (err == 0)
        err = buf_put(&b, "\n", 1);
    if (err == 0 && fwrite(buf_data(&b), 1, buf_len(&b), out) != buf_len(&b))
        err = NX_ESYS;
    buf_fini(&b);
    return err != 0 ? err : settle(out);
}

/* ---------------------------------------------------------------- cells */

static int
put_escaped(struct buf *b, const char *text, size_t len)
{
    int err = 0;
    for (size_t i = 0; i < len && err == 0; i++) {
        unsigned char c = (unsigned char)text[i];
        /* The C1 controls of UTF-8 begin with c2: a terminal obeys them too. */
        bool is_c1 = c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0;
        if (c >= 0x20 && c != 0x7f && !is_c1)
            err = buf_put(b, text + i, 1);
        else if (is_c1)
            err = buf_printf(b, "\\u00%02x", (unsigned)(unsigned char)text[++i]);
        else
            err = buf_printf(b, "\\x%02x", c);
    }
    return err;
}

static int
put_time(struct buf *b, uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];
    if (gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return buf_printf(b, "%" PRIu64, ms);
    return buf_printf(b, "%s", text);
}

static int
put_duration(struct buf *b, uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (s < 60)
        return buf_printf(b, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
    if (s < 3600)
        return buf_printf(b, "%" PRIu64 "m %02" PRIu64 "s", s / 60, s % 60);
    if (s < 86400)
        return buf_printf(b, "%" PRIu64 "h %02" PRIu64 "m", s / 3600, s % 3600 / 60);
    return buf_printf(b, "%" PRIu64 "d %02" PRIu64 "h", s / 86400, s % 86400 / 3600);
}

static int
put_bytes(struct buf *b, uint64_t bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
    double n = (double)bytes / 1024;
    size_t unit = 0;
    if (bytes < 1024)
        return buf_printf(b, "%" PRIu64 " B", bytes);
    for (; n >= 1024 && unit + 1 < BASE_COUNT(units); unit++)
        n /= 1024;
    return buf_printf(b, "%.1f %s", n, units[unit]);
}

/* What is not text or number; a ref without the quotes that JSON puts around it. */
static int
put_json(struct buf *b, nx_value v)
{
    struct buf json;
    buf_init(&json, 0);
    int err = value_to_json(v, 0, &json);
    size_t len = buf_len(&json);
    bool is_quoted = err == 0 && len >= 2 && buf_data(&json)[0] == '"';
    if (err == 0)
        err = put_escaped(b, (const char *)buf_data(&json) + is_quoted, len - 2 * (size_t)is_quoted);
    buf_fini(&json);
    return err;
}

static int put_cell(struct buf *b, nx_value v, enum print_form form, bool *is_number);

static int
put_list(struct buf *b, nx_value v)
{
    bool ignored;
    int err = value_count(v) == 0 ? buf_printf(b, "-") : 0;
    for (size_t i = 0; i < value_count(v) && err == 0; i++) {
        if (i > 0)
            err = buf_printf(b, ",");
        nx_value item = value_is_map(value_at(v, i)) ? value_get(value_at(v, i), "name") : value_at(v, i);
        if (err == 0 && nx_is_value(item))
            err = put_cell(b, item, PRINT_PLAIN, &ignored);
    }
    return err;
}

static int
put_cell(struct buf *b, nx_value v, enum print_form form, bool *is_number)
{
    const char *text;
    size_t len;
    uint64_t n;
    int64_t negative;
    *is_number = false;
    if (!nx_is_value(v) || value_is_nil(v))
        return buf_printf(b, "-");
    if (value_is_string(v, &text, &len)) {
        if (form == PRINT_SHORT && len > HASH_SHOWN)
            len = HASH_SHOWN;
        return len > 0 ? put_escaped(b, text, len) : buf_printf(b, "-");
    }
    if (value_is_array(v))
        return put_list(b, v);
    if (nx_unpack(v, "u", &n) != 0) {
        *is_number = nx_unpack(v, "I", &negative) == 0;
        return put_json(b, v);
    }
    *is_number = form != PRINT_TIME;
    if (n == 0 && (form == PRINT_TIME || form == PRINT_DURATION))
        return buf_printf(b, "-");
    switch (form) {
    case PRINT_TIME: return put_time(b, n);
    case PRINT_DURATION: return put_duration(b, n);
    case PRINT_BYTES: return put_bytes(b, n);
    case PRINT_PLAIN: case PRINT_SHORT: break;
    }
    return buf_printf(b, "%" PRIu64, n);
}

/* ---------------------------------------------------------------- tables */

struct cell { char *text; size_t width; bool is_number; };

/* Characters, not bytes: names are UTF-8. */
static size_t
width_of(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static int
make_cell(nx_value v, enum print_form form, struct cell *out)
{
    struct buf b;
    buf_init(&b, 0);
    int err = put_cell(&b, v, form, &out->is_number);
    const char *text = err == 0 ? buf_cstr(&b) : NULL;
    out->text = text != NULL ? strdup(text) : NULL;
    out->width = out->text != NULL ? width_of(out->text) : 0;
    buf_fini(&b);
    return err != 0 ? err : out->text != NULL ? 0 : NX_ENOMEM;
}

static void
print_padded(FILE *out, const char *text, size_t width, size_t column, bool is_right, bool is_last)
{
    int pad = (int)(column - width);
    if (is_right)
        fprintf(out, "%*s%s", pad, "", text);
    else
        fprintf(out, "%s%*s", text, is_last ? 0 : pad, "");
    fprintf(out, "%s", is_last ? "\n" : "  ");
}

static int
print_cells(FILE *out, const struct cell *cells, size_t rows, const struct print_column *columns, size_t count)
{
    size_t widths[COLUMNS_MAX];
    bool is_right[COLUMNS_MAX];
    for (size_t k = 0; k < count; k++) {
        widths[k] = width_of(columns[k].title);
        is_right[k] = rows > 0;
        for (size_t i = 0; i < rows; i++) {
            const struct cell *cell = &cells[i * count + k];
            widths[k] = cell->width > widths[k] ? cell->width : widths[k];
            is_right[k] = is_right[k] && (cell->is_number || strcmp(cell->text, "-") == 0);
        }
    }
    for (size_t k = 0; k < count; k++)
        print_padded(out, columns[k].title, width_of(columns[k].title), widths[k], is_right[k], k + 1 == count);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < count; k++)
            print_padded(out, cells[i * count + k].text, cells[i * count + k].width, widths[k], is_right[k], k + 1 == count);
    return settle(out);
}

int
print_table(FILE *out, nx_value rows, const struct print_column *columns, size_t count)
{
    size_t n = value_count(rows);
    struct cell *cells = calloc(n * count + 1, sizeof *cells);
    nx_assert(count <= COLUMNS_MAX);
    int err = cells == NULL ? NX_ENOMEM : 0;
    for (size_t i = 0; i < n && err == 0; i++)
        for (size_t k = 0; k < count && err == 0; k++)
            err = make_cell(value_get(value_at(rows, i), columns[k].key), columns[k].form, &cells[i * count + k]);
    if (err == 0)
        err = print_cells(out, cells, n, columns, count);
    for (size_t i = 0; cells != NULL && i < n * count; i++)
        free(cells[i].text);
    free(cells);
    return err;
}

/* ---------------------------------------------------------------- records */

static int
print_field(FILE *out, const char *title, size_t width, nx_value v, enum print_form form)
{
    struct cell cell;
    int err = make_cell(v, form, &cell);
    if (err != 0)
        return err;
    fprintf(out, "%s:%*s %s\n", title, (int)(width - width_of(title)), "", cell.text);
    free(cell.text);
    return 0;
}

int
print_record(FILE *out, nx_value map, const struct print_column *fields, size_t count)
{
    size_t width = 0;
    int err = 0;
    for (size_t i = 0; i < count; i++)
        width = width_of(fields[i].title) > width ? width_of(fields[i].title) : width;
    for (size_t i = 0; i < count && err == 0; i++)
        err = print_field(out, fields[i].title, width, value_get(map, fields[i].key), fields[i].form);
    return err != 0 ? err : settle(out);
}

int
print_map(FILE *out, nx_value map)
{
    size_t width = 0, len, n = value_count(map);
    const char *key;
    int err = 0;
    for (size_t i = 0; i < n; i++)
        if (value_is_string(value_key_at(map, i), &key, &len) && width_of(key) > width)
            width = width_of(key);
    for (size_t i = 0; i < n && err == 0; i++)
        if (value_is_string(value_key_at(map, i), &key, &len))
            err = print_field(out, key, width, value_at(map, i), PRINT_PLAIN);
    return err != 0 ? err : settle(out);
}

void
print_complaint(FILE *out, const char *tool, const char *command, const char *text)
{
    struct buf b;
    buf_init(&b, 0);
    const char *line = put_escaped(&b, text, strlen(text)) == 0 ? buf_cstr(&b) : NULL;
    fprintf(out, "%s: %s%s%s\n", tool, command != NULL ? command : "", command != NULL ? ": " : "",
            line != NULL ? line : "out of memory");
    buf_fini(&b);
}
