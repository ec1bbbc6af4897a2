/*
 * error.h - errors are values: a code and what it is about.
 *
 * A function that can fail in more than one way that a person must tell apart takes `struct base_error *why` last, fills it and
 * returns the same code. `why` may be NULL; then only the code remains.
 */
#ifndef NOEXD_BASE_ERROR_H
#define NOEXD_BASE_ERROR_H

#include <stdarg.h>
#include <stdint.h>

#include "noex/errors.h"

enum { BASE_ERROR_TEXT = 480, BASE_ERROR_SUBJECT = 320 };

struct base_error {
    int code;                            /* NX_E..., 0 = none */
    int64_t app_code;                    /* NX_EAPP: the handler's own number */
    int64_t timeout_ms;                  /* NX_ETIMEDOUT, NX_EINITTIMEOUT */
    char subject[BASE_ERROR_SUBJECT];    /* the node, ref, name or behavior it is about, as text; "" = none */
    char text[BASE_ERROR_TEXT];          /* one sentence for a person; names the thing, the place and the remedy */
};

/* Fill `why` (may be NULL) and return `code`. `subject` may be NULL. Cuts long texts, always NUL-terminated. */
int base_error_set(struct base_error *why, int code, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A failed system call: code NX_ESYS, text "WHAT SUBJECT: strerror(errnum)". Returns NX_ESYS. */
int base_error_sys(struct base_error *why, int errnum, const char *what, const char *subject);

/* Is `code` one of the list in noex/errors.h? */
int base_error_is_known(int64_t code);

#endif
