/*
 * print.h - values for people and for programs: aligned tables, records, JSON lines.
 *
 * Never here: asking; the command line. Runs in: noexctl.
 */
#ifndef NOEXD_CONTROL_PRINT_H
#define NOEXD_CONTROL_PRINT_H

#include <stddef.h>
#include <stdio.h>

#include "noex/noex.h"

enum print_form {
    PRINT_PLAIN,                       /* as it is */
    PRINT_TIME,                        /* ms since 1970 as UTC; 0 = "-" */
    PRINT_DURATION,                    /* ms as "4d 02h", "03m 20s"; 0 = "-" */
    PRINT_BYTES,                       /* "1.5 MiB" */
    PRINT_SHORT                        /* a hash: its first 12 characters */
};
struct print_column { const char *key, *title; enum print_form form; };

/* Each returns 0, NX_ENOMEM, or NX_ESYS if the stream does not take it. Control characters are escaped. */
int print_json(FILE *out, nx_value v);                                        /* one line */
/* An array of maps; numbers stand to the right. */
int print_table(FILE *out, nx_value rows, const struct print_column *columns, size_t count);
/* One "title: text" a line; print_map: all of it, under its keys. */
int print_record(FILE *out, nx_value map, const struct print_column *fields, size_t count);
int print_map(FILE *out, nx_value map);
/* One line for a person, whatever is in the text: control characters are escaped. */
void print_complaint(FILE *out, const char *tool, const char *command, const char *text);

#endif
