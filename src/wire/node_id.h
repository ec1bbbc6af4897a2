/*
 * node_id.h - `name@host:port`, checked and in one canonical spelling.
 *
 * Equality of nodes is equality of this text. An IPv6 host stands in brackets and is written in its canonical form, so two spellings of
 * one address are one node.
 */
#ifndef NOEXD_WIRE_NODE_ID_H
#define NOEXD_WIRE_NODE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { NODE_NAME_MAX = 64, NODE_HOST_MAX = 183, NODE_ID_MAX = 255 };

struct node_id {
    char text[NODE_ID_MAX + 1];          /* canonical */
    char name[NODE_NAME_MAX + 1];
    char host[NODE_HOST_MAX + 1];        /* without brackets */
    uint16_t port;
};

/* Exactly `len` bytes of text. NX_EINVAL, naming the offending part ("node id: port 0 is not between 1 and 65535 in app1@h:0"). */
int node_id_parse(const char *text, size_t len, struct node_id *out, struct base_error *why);
/* The same rule for a bare "host:port" (listen, advertise), name left empty; text = canonical "host:port". */
int node_address_parse(const char *text, size_t len, struct node_id *out, struct base_error *why);
int node_name_check(const char *name, size_t len, struct base_error *why);
bool node_host_is_wildcard(const char *host);       /* 0.0.0.0 or :: */

#endif
