/*
 * events.c - news about names, for the processes of this node.
 *
 * Lives here: the bodies of registry events.
 * Never here: who subscribed; the order of events (their callers keep it: commit, event, delta, answer).
 * Runs in: the link worker, the simulator.
 */
#include "cluster/cluster_priv.h"

#include <string.h>

static void
put_ref(const struct cluster *c, const struct claim *claim, struct wire_ref *out)
{
    const char *node = claim->node == 0 ? c->config.self.text : c->peers[claim->node]->id.text;

    *out = (struct wire_ref){ .incarnation = claim->incarnation, .serial = claim->serial, .generation = claim->generation, .slot = claim->slot };
    memcpy(out->node, node, strlen(node) + 1);
}

static void
emit(struct cluster *c, uint16_t slot, uint64_t serial, struct sys_registry_event *event)
{
    event->version = registry_version(c->config.registry);
    buf_clear(&c->body);
    if (sys_registry_event_encode(event, &c->body) != 0) {
        log_error("cluster: registry event lost kind=%d: out of memory", event->kind);
        return;
    }
    c->config.out.registry_event(c->config.arg, slot, serial, buf_data(&c->body), buf_len(&c->body));
}

static struct sys_registry_event
event_of(struct cluster *c, int kind, const struct name *name, const struct claim *ref, const struct claim *other)
{
    struct sys_registry_event event = { .kind = kind, .scope = name->scope, .name = { name->text, name->len } };

    event.has_ref = true;
    put_ref(c, ref, &event.ref);
    if (other != NULL) {
        event.has_other = true;
        put_ref(c, other, &event.other);
    }
    return event;
}

void
event_name(struct cluster *c, int kind, const struct name *name, const struct claim *ref, const struct claim *other)
{
    struct sys_registry_event event = event_of(c, kind, name, ref, other);
    emit(c, SLOT_ANY, 0, &event);
}

/* To the worker of one of our servers: it has got the name (ref = itself), or lost it (ref = the winner, other = itself). */
void
event_own(struct cluster *c, int kind, const struct name *name, const struct claim *own, const struct claim *ref)
{
    struct sys_registry_event event = event_of(c, kind, name, ref, ref == own ? NULL : own);
    emit(c, own->slot, own->serial, &event);
}

void
event_synced(struct cluster *c, const struct peer *p)
{
    struct sys_registry_event event = { .kind = SYS_SYNCED, .scope = SYS_GLOBAL, .node = { p->id.text, strlen(p->id.text) },
                                        .count = p->claim_count };
    emit(c, SLOT_ANY, 0, &event);
}
