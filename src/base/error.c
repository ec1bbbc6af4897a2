/*
 * error.c - codes into words, and errors as values.
 *
 * Lives here: nx_strerror and nx_errname over the list in noex/errors.h, struct base_error.
 * Never here: logging; the room that decides what to do about a failure logs it.
 * Runs in: every process.
 */
#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct error_entry { const char *name, *sentence; };

/* Indexed by -code. */
static const struct error_entry entries[] = {
    [0] = { "NX_OK", "ok" },
#define ERROR_ENTRY(error_name, number, error_sentence) [-(number)] = { #error_name, error_sentence },
    NX_ERRORS(ERROR_ENTRY)
#undef ERROR_ENTRY
};

static const struct error_entry *
find(int64_t code)
{
    if (code > 0 || code <= -(int64_t)(sizeof entries / sizeof entries[0]))
        return NULL;
    const struct error_entry *entry = &entries[-code];
    return entry->name != NULL ? entry : NULL;        /* a number that was never given out */
}

const char *
nx_strerror(int code)
{
    const struct error_entry *entry = find(code);
    return entry != NULL ? entry->sentence : "unknown error";
}

const char *
nx_errname(int code)
{
    const struct error_entry *entry = find(code);
    return entry != NULL ? entry->name : "NX_EUNKNOWN";
}

int
base_error_is_known(int64_t code)
{
    return code != 0 && find(code) != NULL;
}

/* Copies at most size - 1 bytes. These texts travel as strings, which must be valid UTF-8, so the cut is between characters. */
static void
copy_cut(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size);
    if (len == size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memmove(out, text, len);                          /* `text` may be `out` itself */
    out[len] = '\0';
}

int
base_error_set(struct base_error *why, int code, const char *subject, const char *fmt, ...)
{
    if (why == NULL)
        return code;

    /* Made beside `why` first: an argument may be why->text, when an error is wrapped in a longer sentence. */
    char text[BASE_ERROR_TEXT + 4];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);

    why->code = code;
    why->app_code = 0;
    why->timeout_ms = 0;
    copy_cut(why->subject, sizeof why->subject, subject != NULL ? subject : "");
    copy_cut(why->text, sizeof why->text, n >= 0 ? text : nx_strerror(code));
    return code;
}

int
base_error_sys(struct base_error *why, int errnum, const char *what, const char *subject)
{
    char space[128];
    const char *reason = strerror_r(errnum, space, sizeof space);     /* GNU's: returns the text */
    bool named = subject != NULL && subject[0] != '\0';
    return base_error_set(why, NX_ESYS, subject, "%s%s%s: %s", what, named ? " " : "", named ? subject : "", reason);
}
