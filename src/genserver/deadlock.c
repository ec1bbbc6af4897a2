/*
 * deadlock.c - call cycles inside a node.
 *
 * Lives here: following the chain "its handler waits for a server whose handler waits for ..." from a call that has just arrived, on this worker and, by
 * probes, on the others; ending the call that closes a cycle.
 * Never here: cycles over other nodes: they end by their timeouts.
 * Runs in: workers.
 *
 * A cycle is complete when its last call arrives, and then all its other handlers are parked already; so it is enough to follow the chain from each call that
 * arrives at a server whose handler waits. A link of the chain counts only while the callee still works for that call, handles it or has it queued: else a
 * reply is on its way, and there is no cycle.
 *
 * The call that ends so is taken back from the mailbox where it is queued: run later, for nobody, it would go round the circle again. A probe whose link is
 * its own beginning says that to another worker.
 */
#include "genserver/genserver_priv.h"

#include <stdio.h>

enum { QUEUE_LOOK = 256 };            /* queued messages looked through for a call */

static const struct wait *
waits(const struct server *s)
{
    const struct wait *w = s->wait;
    return w != NULL && !w->is_done && (w->kind == WAIT_CALL || w->kind == WAIT_START) ? w : NULL;
}

static bool
works_for(const struct server *s, uint64_t call_id)
{
    if (s->handling == call_id || (s->start != NULL && !s->start->is_answered && s->start->from.node == 0 && s->start->from.call_id == call_id))
        return true;
    unsigned looked = 0;
    for (const struct msg *m = s->mailbox.first; m != NULL && looked < QUEUE_LOOK; m = m->next, looked++)
        if (m->what == MSG_CALL && m->envelope.node == 0 && m->envelope.call_id == call_id)
            return true;
    return false;
}

/* "#A waits for #B waits for #A", as far as it can be seen from here. */
static void
describe(struct runtime *rt, const struct server *first, char *out, size_t size)
{
    char ref[NX_REF_TEXT_MAX];
    size_t at = 0;
    const struct server *s = first;
    for (int hop = 0; hop <= PROBE_HOPS; hop++) {
        if (nx_ref_text(server_ref(rt, s), ref, sizeof ref) != 0)
            break;
        int n = snprintf(out + at, size - at, "%s%.380s", hop > 0 ? " waits for " : "", ref);
        if (n < 0 || (size_t)n >= size - at)
            break;
        at += (size_t)n;
        const struct wait *w = waits(s);
        if ((hop > 0 && s == first) || w == NULL)
            break;
        const struct server *next = w->target.slot == rt->config.slot ? server_find(rt, w->target.serial) : NULL;
        if (next == NULL) {
            if (nx_ref_text(w->to, ref, sizeof ref) == 0)
                (void)snprintf(out + at, size - at, " waits for %.380s waits for ...", ref);
            break;
        }
        s = next;
    }
}

static void send_probe(struct runtime *rt, const struct wait *w, struct sys_probe *p);

static void
take_back(struct runtime *rt, uint64_t serial, uint64_t call_id)
{
    struct server *s = server_find(rt, serial);
    struct msg *m = s != NULL ? mailbox_take_call(&s->mailbox, call_id) : NULL;
    if (m != NULL)
        msg_free(&m);
}

static void
found(struct runtime *rt, struct server *s, struct sys_probe *p)
{
    struct wait *w = s->wait;
    char text[BASE_ERROR_TEXT] = "", ref[NX_REF_TEXT_MAX];
    describe(rt, s, text, sizeof text);
    if (nx_ref_text(w->to, ref, sizeof ref) != 0)
        ref[0] = '\0';
    (void)failure_set(w->runner, NX_EDEADLOCK, ref, "call cycle: %.460s", text);
    if (w->target.slot == rt->config.slot)
        take_back(rt, w->target.serial, w->call_id);
    else
        send_probe(rt, w, p);         /* p->call_id is w->call_id */
    invoke_finish(rt, w, NX_EDEADLOCK);
}

static void
send_probe(struct runtime *rt, const struct wait *w, struct sys_probe *p)
{
    struct buf body;
    buf_init(&body, 1024);
    /* The envelope's call id is the link of the chain that leads there: this worker's own pending call. */
    struct envelope e = { .kind = KIND_DEADLOCK_PROBE, .slot = w->target.slot, .serial = w->target.serial, .generation = w->target.generation,
                          .call_id = w->call_id };
    int err = sys_probe_encode(p, &body);
    e.body_len = (uint32_t)buf_len(&body);
    if (err == 0)
        (void)route_send(rt->config.route, &e, buf_data(&body));      /* lost: the calls of the cycle end by their timeouts */
    buf_fini(&body);
}

static void
follow(struct runtime *rt, struct server *s, struct sys_probe *p)
{
    for (; p->hops < PROBE_HOPS; p->hops++) {
        const struct wait *w = waits(s);
        if (w == NULL || w->target.node != 0)
            return;
        if (w->call_id == p->call_id) {
            found(rt, s, p);
            return;
        }
        if (w->target.slot != rt->config.slot) {
            p->hops++;
            send_probe(rt, w, p);
            return;
        }
        s = server_find(rt, w->target.serial);
        if (s == NULL || !works_for(s, w->call_id))
            return;
    }
}

void
deadlock_check(struct runtime *rt, struct server *s, uint64_t call_id)
{
    if (waits(s) == NULL)
        return;
    struct sys_probe p = { .call_id = call_id, .hops = 0 };
    /* Who began is known by the worker in the call id, and there by the call itself. */
    route_ref_to_wire(rt->config.route, (nx_ref){ 0 }, &p.initiator);
    p.initiator.slot = envelope_caller_slot(call_id);
    follow(rt, s, &p);
}

void
deadlock_probe(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct sys_probe p;
    struct base_error why;
    if (e->node != 0 || envelope_caller_slot(e->call_id) != from_slot || sys_probe_decode(body, e->body_len, &p, &why) != 0) {
        stats_add(rt->stats, bad_messages, 1);
        return;
    }
    if (e->generation != rt->config.generation)
        return;
    struct server *s = server_find(rt, e->serial);
    if (p.call_id == e->call_id)
        take_back(rt, e->serial, e->call_id);
    else if (s != NULL && works_for(s, e->call_id))
        follow(rt, s, &p);
}
