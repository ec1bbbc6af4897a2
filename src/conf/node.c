/*
 * node.c - the section `node`: who we are in the cluster, and how we keep in touch.
 *
 * Lives here: name, addresses, seeds, times; what must be there together.
 * Never here: resolving a host; sockets.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

/* Without a listener nobody calls; the id still names a place, and refs carry it. */
static const char no_address[] = "127.0.0.1:4369";

static bool
take_address(struct conf_reader *r, const struct conf_entry *e, const char *name, struct node_id *out)
{
    struct base_error why = { .code = 0 };
    if (node_address_parse(e->value, strlen(e->value), out, &why) == 0)
        return true;
    conf_complain(r, e->file, e->line, "%s: %s; write \"HOST:PORT\"", name, why.text);
    return false;
}

/* The advertised address as text, NULL after a complaint. */
static const char *
take_addresses(struct conf_reader *r, cfg_t *node, struct conf *c, struct node_id *listen, struct node_id *advertise)
{
    const struct conf_entry *l = conf_entry_of(node, "listen"), *a = conf_entry_of(node, "advertise");

    if (l != NULL) {
        if (!take_address(r, l, "listen", listen))
            return NULL;
        c->listen_host = conf_keep(r, strdup(listen->host));
        c->listen_port = listen->port;
    }
    if (a != NULL) {
        if (!take_address(r, a, "advertise", advertise))
            return NULL;
        if (!node_host_is_wildcard(advertise->host))
            return advertise->text;
        conf_complain(r, a->file, a->line, "advertise = '%s': a peer could not call a wildcard address back; name one of this machine",
                      advertise->text);
        return NULL;
    }
    if (l == NULL)
        return no_address;
    if (!node_host_is_wildcard(listen->host))
        return listen->text;
    conf_complain(r, l->file, l->line, "listen = '%s' without advertise: a peer could not call a wildcard address back; "
                  "add: advertise = \"HOST:%u\"", listen->text, (unsigned)listen->port);
    return NULL;
}

static void
take_id(struct conf_reader *r, cfg_t *node, struct conf *c)
{
    struct node_id listen = { .port = 0 }, advertise = { .port = 0 };
    const struct conf_entry *begin = conf_begin_of(r, node);
    const char *title = cfg_title(node);
    struct base_error why = { .code = 0 };
    char text[NODE_ID_MAX + 2];

    int err = node_name_check(title, strlen(title), &why);
    if (err != 0)
        conf_complain(r, begin->file, begin->line, "%s; a letter, then letters, digits, '_' or '-'", why.text);
    const char *address = take_addresses(r, node, c, &listen, &advertise);
    if (err != 0 || address == NULL)
        return;
    int len = snprintf(text, sizeof text, "%s@%s", title, address);
    if (len < 0 || node_id_parse(text, (size_t)len, &c->node, &why) != 0)
        conf_complain(r, begin->file, begin->line, "%s", why.text);
}

static void
take_seeds(struct conf_reader *r, cfg_t *node, struct conf *c)
{
    size_t count = conf_entry_count(node, "seeds");
    if (count == 0)
        return;
    const struct conf_entry *first = conf_entry_of(node, "seeds");
    if (count > CONF_SEEDS_MAX) {
        conf_complain(r, first->file, first->line, "seeds names %zu nodes, more than %d; a few are enough, the others are learned", count,
                      CONF_SEEDS_MAX);
        return;
    }
    c->seeds = conf_keep(r, calloc(count, sizeof *c->seeds));
    for (size_t i = 0; c->seeds != NULL && i < count; i++) {
        const struct conf_entry *e = conf_entry_at(node, "seeds", i);
        struct node_id *seed = &c->seeds[c->seed_count];
        struct base_error why = { .code = 0 };
        if (node_id_parse(e->value, strlen(e->value), seed, &why) != 0)
            conf_complain(r, e->file, e->line, "seeds: %s; write \"NAME@HOST:PORT\"", why.text);
        else if (node_host_is_wildcard(seed->host))
            conf_complain(r, e->file, e->line, "seeds: '%s' is a wildcard address, which cannot be called", seed->text);
        else
            c->seed_count++;
    }
}

static void
take_cluster(struct conf_reader *r, cfg_t *node, struct conf *c)
{
    const struct conf_entry *e = conf_entry_of(node, "cluster");
    const char *name = e != NULL ? e->value : "noexd";
    if (!utf8_is_name(name, strlen(name)))
        conf_complain(r, e->file, e->line, "cluster: not a name; 1 to 255 bytes of UTF-8 without control characters, not beginning with '#'");
    c->cluster = conf_keep(r, strdup(name));
}

static void
take_times(struct conf_reader *r, cfg_t *node, struct conf *c)
{
    conf_take_duration(r, node, "heartbeat_interval", 5 * SECOND, (struct conf_range){ 10, HOUR }, &c->heartbeat_ms);
    conf_take_count(r, node, "heartbeat_misses", 3, (struct conf_range){ 1, 100 }, &c->heartbeat_misses);
    conf_take_duration(r, node, "reconnect_min", 1 * SECOND, (struct conf_range){ 10, HOUR }, &c->reconnect_min_ms);
    conf_take_duration(r, node, "reconnect_max", 30 * SECOND, (struct conf_range){ 10, HOUR }, &c->reconnect_max_ms);
    conf_take_duration(r, node, "handshake_timeout", 5 * SECOND, (struct conf_range){ 100, MINUTE }, &c->handshake_ms);
    if (c->reconnect_min_ms <= c->reconnect_max_ms)
        return;
    const struct conf_entry *e = conf_entry_of(node, "reconnect_min");
    if (e == NULL)
        e = conf_entry_of(node, "reconnect_max");
    conf_complain(r, e->file, e->line, "reconnect_min (%lldms) is longer than reconnect_max (%lldms); set both",
                  (long long)c->reconnect_min_ms, (long long)c->reconnect_max_ms);
}

/* What needs what: a listener or a seed means a cluster, and a cluster has a secret and can be called back. */
static void
check_cluster(struct conf_reader *r, cfg_t *node)
{
    const struct conf_entry *listen = conf_entry_of(node, "listen"), *seeds = conf_entry_of(node, "seeds");
    const struct conf_entry *at = listen != NULL ? listen : seeds;
    if (at == NULL)
        return;
    if (cfg_size(node, "secret") == 0)
        conf_complain(r, at->file, at->line, "%s without a secret; add: secret \"main\" { id = 1 file = \"cluster.secret\" }",
                      listen != NULL ? "listen" : "seeds");
    if (listen == NULL)
        conf_complain(r, at->file, at->line, "seeds without listen: a peer could not call back; add: listen = \"HOST:PORT\"");
}

void
conf_build_node(struct conf_reader *r, struct conf *c)
{
    static const char *const mismatches[] = { "warn", "refuse", NULL };
    int mismatch;

    if (cfg_size(r->root, "node") == 0) {
        conf_complain(r, r->top.file, r->top.line, "no section 'node'; add: node \"NAME\" { }");
        return;
    }
    cfg_t *node = cfg_getnsec(r->root, "node", 0);
    take_id(r, node, c);
    take_cluster(r, node, c);
    take_seeds(r, node, c);
    conf_build_secrets(r, node, c);
    check_cluster(r, node);
    take_times(r, node, c);
    conf_take_word(r, node, "behavior_mismatch", mismatches, 0, &mismatch);
    c->refuse_mismatch = mismatch == 1;
}
