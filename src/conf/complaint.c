/*
 * complaint.c - what is wrong with a configuration, one line each: "PATH:LINE: text".
 *
 * Lives here: the form and the bound of complaints, and how a stranger's text is shown in one.
 * Never here: deciding what is wrong.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_BYTES = 64 };

void
conf_complain(struct conf_reader *r, const char *file, int line, const char *fmt, ...)
{
    if (r->complaint_count++ >= CONF_COMPLAINTS_MAX)
        return;                                       /* the first twenty are work enough */
    va_list ap;
    va_start(ap, fmt);
    (void)buf_printf(r->complaints, "%s:%d: ", file, line);
    (void)buf_vprintf(r->complaints, fmt, ap);
    (void)buf_put(r->complaints, "\n", 1);
    va_end(ap);
}

const char *
conf_shown(const char *text, char out[static CONF_SHOWN])
{
    size_t at = 0, i = 0;
    for (; text[i] != '\0'; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (i >= SHOWN_BYTES && (byte & 0xc0) != 0x80)          /* cut between characters, not inside one */
            break;
        if (i >= SHOWN_BYTES + 3)
            break;
        if (byte < 0x20 || byte == 0x7f)
            at += (size_t)snprintf(out + at, 5, "\\x%02x", byte);
        else
            out[at++] = (char)byte;
    }
    if (text[i] != '\0') {
        memcpy(out + at, "...", 3);
        at += 3;
    }
    out[at] = '\0';
    return out;
}

void *
conf_keep(struct conf_reader *r, void *p)
{
    if (p == NULL)
        conf_complain(r, r->conf->file != NULL ? r->conf->file : "noexd", 1, "out of memory");
    return p;
}
