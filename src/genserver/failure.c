/*
 * failure.c - the last failure of a callback: what nx_error shows, and how a failure travels to others.
 *
 * Lives here: keeping it, nx_error, nx_fail, to and from the body of an error message, what a callback's result means.
 * Never here: deciding what fails.
 * Runs in: workers.
 */
#include "genserver/genserver_priv.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

int
failure_set(struct runner *r, int code, const char *subject, const char *fmt, ...)
{
    struct base_error *f = &r->failure;
    f->code = code;
    f->app_code = 0;
    f->timeout_ms = 0;
    (void)snprintf(f->subject, sizeof f->subject, "%s", subject != NULL ? subject : "");
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    value_last_error()->code = 0;     /* older than this one */
    return code;
}

int
failure_keep(struct runner *r, const struct base_error *why)
{
    r->failure = *why;
    value_last_error()->code = 0;
    return why->code;
}

void
failure_absorb(struct runner *r)
{
    struct base_error *last = value_last_error();
    if (last->code == 0)
        return;
    r->failure = *last;
    last->code = 0;
}

const nx_failure *
nx_error(nx_self *self)
{
    static const nx_failure nothing = { .subject = "", .text = "" };
    struct runner *r = runner_of(self);
    if (r == NULL)
        return &nothing;
    failure_absorb(r);
    if (r->failure.code == 0)
        return &nothing;
    r->shown = (nx_failure){ .code = r->failure.code, .app_code = r->failure.app_code, .timeout_ms = r->failure.timeout_ms,
                             .subject = r->failure.subject, .text = r->failure.text };
    return &r->shown;
}

int
nx_fail(nx_self *self, int64_t app_code, const char *fmt, ...)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EAPP;
    char text[BASE_ERROR_TEXT];       /* the arguments may be texts of nx_error, which lie where this goes */
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt != NULL ? fmt : "(no text)", ap);
    va_end(ap);
    (void)failure_set(r, NX_EAPP, NULL, "%s", text);
    r->failure.app_code = app_code;
    return NX_EAPP;
}

int
failure_encode(const struct base_error *why, struct failure_body *out)
{
    struct sys_error e = { .code = why->code, .app_code = why->app_code, .timeout_ms = why->timeout_ms,
                           .subject = { why->subject, strlen(why->subject) }, .text = { why->text, strlen(why->text) } };
    /* Without the heap: that there is no memory must be said too. */
    out->buf = (struct buf){ .data = out->bytes, .cap = sizeof out->bytes, .max = sizeof out->bytes };
    int err = sys_error_encode(&e, &out->buf);
    if (err != 0) {                                   /* a module's text that is no UTF-8: the code matters more */
        buf_clear(&out->buf);
        e.subject.len = e.text.len = 0;
        e.timeout_ms = 0;
        err = sys_error_encode(&e, &out->buf);
    }
    return err;
}

static void
copy_text(char *out, size_t size, struct sys_text text)
{
    size_t len = text.len < size - 1 ? text.len : size - 1;
    if (len > 0)
        memcpy(out, text.at, len);
    out[len] = '\0';
}

void
failure_decode(const void *body, size_t len, struct base_error *out)
{
    struct sys_error e;
    struct base_error why;
    if (sys_error_decode(body, len, &e, &why) != 0) {
        (void)base_error_set(out, NX_EBADMSG, NULL, "malformed error message: %s", why.text);
        return;
    }
    if (!base_error_is_known(e.code) || e.code == 0) {        /* of a newer noexd, or made up */
        (void)base_error_set(out, NX_EAPP, NULL, "unknown error %d", (int)e.code);
        out->app_code = e.code;
        return;
    }
    out->code = e.code;
    out->app_code = e.app_code;
    out->timeout_ms = e.timeout_ms;
    copy_text(out->subject, sizeof out->subject, e.subject);
    copy_text(out->text, sizeof out->text, e.text);
    if (out->text[0] == '\0')
        copy_text(out->text, sizeof out->text, (struct sys_text){ nx_strerror(out->code), strlen(nx_strerror(out->code)) });
}

void
failure_of_result(struct runner *r, int64_t result, struct base_error *out)
{
    failure_absorb(r);
    if (result < 0 && r->failure.code == result) {            /* nx_fail, or a failed nx_ function whose code was passed on */
        *out = r->failure;
        return;
    }
    if (result < 0 && base_error_is_known(result)) {
        (void)base_error_set(out, (int)result, NULL, "%s", nx_strerror((int)result));
        return;
    }
    (void)base_error_set(out, NX_EAPP, NULL, "the handler returned %lld", (long long)result);
    out->app_code = result;
}
