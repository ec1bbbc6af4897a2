/*
 * deaths.c - the death of a process of this node, told to the other nodes; and theirs, told here.
 *
 * Lives here: who has died and is not announced yet, KIND_WORKER_DOWN in both directions.
 * Never here: names of the dead (cluster/); what the end of a process means to those that wait for it (call/, genserver/).
 * Runs in: the link worker.
 *
 * The peers hear of a death in the dead one's own stream, so behind all that it said; and when its names have been swept, so that whoever is woken by it finds
 * the name free. Behind it comes nothing of that life: all of its pipe had been read, and what arrives for it now is answered. Its successor must not
 * speak before: starts that it asks for would be taken for those of the dead one, so its attachment ends the wait for the names.
 */
#include "link/link_priv.h"
#include "noex/noex.h"

static bool
can_die(uint16_t slot)
{
    return slot < SLOT_WORKERS_MAX || slot == SLOT_GATE;
}

void
deaths_tell(struct link_worker *l, uint16_t slot)
{
    unsigned index = link_slot_index(slot);
    if (!can_die(slot) || l->dead[index] == 0)
        return;
    struct envelope e = { .kind = KIND_WORKER_DOWN, .slot = slot, .generation = l->dead[index] };
    l->dead[index] = 0;
    l->dead_count--;
    for (uint32_t i = 1; i < l->nodes_max; i++) {
        struct conn *c = l->by_node[i];
        if (c != NULL && connection_put(c, slot, &e, NULL) == NX_ENOMEM)
            connection_fail(c, NODES_CONNECTION_CLOSED);      /* the end of the session ends all that waits there, if this cannot */
    }
}

void
deaths_of_ours(struct link_worker *l, uint16_t slot, uint32_t generation)
{
    unsigned index = link_slot_index(slot);
    if (!can_die(slot) || generation == 0)
        return;
    deaths_tell(l, slot);                    /* its predecessor, if that still waits */
    l->dead[index] = generation;
    l->dead_count++;
}

/* At the end of a turn, behind the ticks that sweep and before the flush. */
bool
deaths_turn(void *arg)
{
    struct link_worker *l = arg;
    if (l->dead_count == 0 || cluster_is_sweeping(l->cluster))
        return false;
    for (uint16_t slot = 0; slot < SLOT_WORKERS_MAX; slot++)
        deaths_tell(l, slot);
    deaths_tell(l, SLOT_GATE);
    return false;
}

/* What is not as it should be is not this kind of message: skipped, as by one who does not know it. */
void
deaths_of_theirs(struct conn *c, const struct envelope *e)
{
    struct link_worker *l = c->l;
    if (c->node == 0 || !can_die(e->slot) || e->generation == 0 || e->serial != 0 || e->call_id != 0 || e->body_len != 0 || e->flags != 0) {
        l->skipped++;
        return;
    }
    struct envelope out = { .node = c->node, .session = c->session, .kind = KIND_REMOTE_DOWN, .slot = e->slot, .generation = e->generation };
    for (uint16_t slot = 0; slot < shm_workers(l->shm); slot++)
        feed_to_process(l, slot, &out, NULL);
    feed_to_process(l, SLOT_GATE, &out, NULL);
}
