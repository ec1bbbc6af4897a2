/*
 * ref.c - refs: in this process's numbering of nodes, on the wire, as text.
 *
 * Lives here: the number of a node, strangers included; the codec for values; the functions on refs of noex.h.
 * Never here: whether the server of a ref lives; the byte and text forms themselves (the wire room).
 * Runs in: workers and the gate.
 *
 * A stranger is a node that came in a ref and that the node table does not know. It gets a number of this process for good, and
 * is looked up in the table again at each use: when the link worker has met it, refs taken in earlier reach it too.
 */
#include "route/route.h"
#include "route/route_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "value/value.h"

_Static_assert((int)VALUE_EXT_REF_MAX == (int)WIRE_REF_MAX, "a ref on the wire is a ref in a body");
_Static_assert((int)NX_REF_TEXT_MAX == (int)WIRE_REF_TEXT_MAX, "every ref text fits a module's buffer");

static struct route *installed;               /* the one route of this process: noex.h functions take no other argument */

/* ---- nodes and their numbers */

static const char *
node_text(const struct route *r, uint32_t node)
{
    if (node < ROUTE_STRANGERS_BASE)
        return nodes_borrow_id(r->nodes, node);
    uint32_t i = node - ROUTE_STRANGERS_BASE;
    return i < r->stranger_count ? r->strangers[i] : NULL;
}

uint32_t
ref_node_index(const struct route *r, uint32_t node)
{
    uint32_t index;
    const char *text = node < ROUTE_STRANGERS_BASE ? NULL : node_text(r, node);
    return text != NULL && nodes_find(r->nodes, text, strlen(text), &index) == 0 ? index : node;
}

static int
node_number(struct route *r, const char *id, uint32_t *out, struct base_error *why)
{
    size_t len = strlen(id);
    if (nodes_find(r->nodes, id, len, out) == 0)
        return 0;
    char **known = strtable_get(r->stranger_numbers, id, len);
    if (known != NULL) {
        *out = ROUTE_STRANGERS_BASE + (uint32_t)(known - r->strangers);
        return 0;
    }
    if (r->stranger_count == ROUTE_STRANGERS_MAX)
        return base_error_set(why, NX_EFULL, id, "ref: node %s is not known, and neither are %u others", id, ROUTE_STRANGERS_MAX);
    char **place = &r->strangers[r->stranger_count];
    if ((*place = strdup(id)) == NULL || strtable_put(r->stranger_numbers, id, len, place) != 0) {
        free(*place);
        *place = NULL;
        return base_error_set(why, NX_ENOMEM, NULL, "ref: out of memory");
    }
    *out = ROUTE_STRANGERS_BASE + r->stranger_count++;
    return 0;
}

/* ---- refs and their forms */

static bool
is_nothing(nx_ref ref)
{
    return ref.serial == 0 && ref.incarnation == 0;
}

static int
ref_to_wire(const struct route *r, nx_ref ref, struct wire_ref *out)
{
    const char *id = node_text(r, ref.node);
    if (id == NULL)
        return NX_EINVAL;             /* a number that this process never gave: the bytes of a ref made up by a module */
    *out = (struct wire_ref){ .incarnation = ref.incarnation, .serial = ref.serial, .generation = ref.generation, .slot = ref.slot };
    memcpy(out->node, id, strnlen(id, NODE_ID_MAX));
    return 0;
}

nx_ref
route_self_ref(const struct route *r, uint64_t serial)
{
    return (nx_ref){ .incarnation = r->incarnation, .serial = serial, .node = 0, .generation = r->config.generation, .slot = r->config.slot };
}

void
route_ref_to_wire(const struct route *r, nx_ref ref, struct wire_ref *out)
{
    if (ref_to_wire(r, ref, out) != 0)
        (void)ref_to_wire(r, (nx_ref){ .serial = 0 }, out);           /* index 0 is always there */
}

int
route_ref_from_wire(struct route *r, const struct wire_ref *in, nx_ref *out, struct base_error *why)
{
    nx_ref ref = { .incarnation = in->incarnation, .serial = in->serial, .generation = in->generation, .slot = in->slot };
    if (is_nothing(ref)) {
        *out = (nx_ref){ .serial = 0 };                               /* nothing is the same thing on every node */
        return 0;
    }
    int err = node_number(r, in->node, &ref.node, why);
    if (err == 0)
        *out = ref;
    return err;
}

void
route_ref_from_entry(const struct route *r, const struct registry_entry *e, nx_ref *out)
{
    (void)r;                          /* entries are numbered by the node table already */
    *out = (nx_ref){ .incarnation = e->incarnation, .serial = e->serial, .node = e->node, .generation = e->generation, .slot = e->slot };
}

const char *
route_ref_node(const struct route *r, nx_ref ref)
{
    return is_nothing(ref) ? NULL : node_text(r, ref.node);
}

int
route_ref_text(const struct route *r, nx_ref ref, char *out, size_t size)
{
    struct wire_ref wire;
    int err = ref_to_wire(r, ref, &wire);
    return err != 0 ? err : wire_ref_to_text(&wire, out, size);
}

/* ---- the codec for values */

static int
codec_encode(nx_ref ref, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len)
{
    struct wire_ref wire;
    int err = ref_to_wire(installed, ref, &wire);
    if (err == 0)
        *len = wire_ref_encode(&wire, out);
    return err;
}

static int
codec_decode(const uint8_t *body, size_t len, nx_ref *out, struct base_error *why)
{
    struct wire_ref wire;
    int err = wire_ref_decode(body, len, &wire, why);
    return err != 0 ? err : route_ref_from_wire(installed, &wire, out, why);
}

static int
codec_to_text(const uint8_t *body, size_t len, char *out, size_t size)
{
    struct wire_ref wire;
    int err = wire_ref_decode(body, len, &wire, NULL);
    return err != 0 ? err : wire_ref_to_text(&wire, out, size);
}

static int
codec_from_text(const char *text, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len, struct base_error *why)
{
    struct wire_ref wire;
    int err = wire_ref_from_text(text, strlen(text), &wire, why);
    if (err == 0)
        *len = wire_ref_encode(&wire, out);
    return err;
}

void
route_install_ref_codec(struct route *r)
{
    static const struct value_ref_codec codec = { .encode = codec_encode, .decode = codec_decode, .to_text = codec_to_text,
                                                  .from_text = codec_from_text };
    installed = r;
    value_set_ref_codec(&codec);
}

void
route_uninstall_ref_codec(struct route *r)
{
    if (installed != r)
        return;
    value_set_ref_codec(NULL);
    installed = NULL;
}

/* ---- noex.h */

bool
nx_ref_equal(nx_ref a, nx_ref b)
{
    if (a.incarnation != b.incarnation || a.serial != b.serial || a.generation != b.generation || a.slot != b.slot)
        return false;
    if (a.node == b.node)
        return true;
    /* One of them may have been taken in when its node was still a stranger. */
    return installed != NULL && ref_node_index(installed, a.node) == ref_node_index(installed, b.node);
}

int
nx_ref_text(nx_ref ref, char *out, size_t size)
{
    return installed != NULL && out != NULL ? route_ref_text(installed, ref, out, size) : NX_EINVAL;
}

int
nx_ref_parse(const char *text, nx_ref *out)
{
    struct base_error *why = value_last_error();
    struct wire_ref wire;
    if (installed == NULL || text == NULL || out == NULL)
        return base_error_set(why, NX_EINVAL, NULL, "ref: there is no text to read, or nowhere to put the ref");
    int err = wire_ref_from_text(text, strlen(text), &wire, why);
    return err != 0 ? err : route_ref_from_wire(installed, &wire, out, why);
}

const char *
nx_ref_node(nx_ref ref)
{
    return installed != NULL ? route_ref_node(installed, ref) : NULL;
}

const char *
nx_node(void)
{
    return installed != NULL ? nodes_borrow_id(installed->nodes, 0) : NULL;
}
