/*
 * listing.h - what each listing of the gate looks like to a person: its columns, in their order.
 *
 * Never here: how a cell or a table is printed (print.h); asking. Runs in: noexctl.
 */
#ifndef NOEXD_CONTROL_LISTING_H
#define NOEXD_CONTROL_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "noex/noex.h"

/* The result of method `name` ("status", "nodes", "workers", "behaviors", "servers", "names", "stats"). 0, NX_EINVAL (no such
 * listing), or as print_table. */
int  listing_print(FILE *out, const char *name, nx_value result, bool is_json);
/* Does the result itself say that something is missing in it? Then one line about it is in `text`; *is_failure: parts could not
 * be had. */
bool listing_is_partial(nx_value result, char *text, size_t size, bool *is_failure);

#endif
