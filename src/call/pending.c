/*
 * pending.c - the table of pending calls of one process.
 *
 * Lives here: ids, the bounds, the one timer, the ways in which a call ends.
 * Never here: who asked, sending, what an answer says; the order of deadlines (deadlines.c).
 * Runs in: workers and the gate.
 *
 * Ids are ours to choose, so the table needs no hashing and no probing: a call stands at its id modulo the size of the table, and an id
 * whose place is taken is skipped. The table is at most half full and ids run through it in a circle, so less than two places are looked
 * at for each call begun. Doubling never makes two calls meet; shrinking could, so that happens only when nothing is pending.
 *
 * Invariant: a call is in places[], in exactly one list (its group's, or the one that is being failed), and in deadlines if it has one.
 * Ending takes it out of all of them before anybody is told: so it ends once, whatever the callback does.
 */
#include "call/call.h"
#include "call/call_priv.h"

#include <stdlib.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/random.h"

enum {
    PLACES_MIN = 1024,
    PLACES_KEEP = 1 << 16,                        /* a bigger table is given back when nothing is pending any more */
    SPARE_MAX = 4096,                             /* ended ones kept for the next, 0.4 MiB */
    DEFAULT_MAX_PENDING = 1 << 20,
    DEFAULT_MAX_PER_NODE = 1 << 16,
    NODES_MAX = 1 << 16,                          /* the node table has at most 4096 */
    SLOT_GROUPS = SLOT_WORKERS_MAX + 1            /* the workers, and one for the link worker and the gate */
};
#define COUNTER_MASK ((UINT64_C(1) << 48) - 1)

/* Calls that share a fate: to one node, or to one process of this node. */
struct group { struct list calls; size_t count; };

struct pending {
    struct deadline deadline;
    struct list link;
    struct group *group;
    uint64_t id;
    struct call_target target;
    call_end_fn *end;
    void *arg;
};

struct calls {
    struct loop *loop;
    struct pending **places;
    size_t place_count, count;                    /* place_count is a power of two, count at most half of it */
    uint64_t slot_bits, counter;
    size_t max_pending, max_per_node;
    struct deadlines deadlines;
    struct loop_timer timer;
    struct list spares;
    size_t spare_count;
    struct group slots[SLOT_GROUPS];
    struct group **nodes;                         /* by node index, made when first needed */
    size_t node_count;
};

static void on_timer(void *arg);

int
calls_new(const struct calls_config *config, struct calls **out, struct base_error *why)
{
    uint64_t start;
    if (random_u64(&start) != 0)
        return base_error_set(why, NX_ESYS, NULL, "call: no random start for call ids");
    struct calls *c = calloc(1, sizeof *c);
    struct pending **places = calloc(PLACES_MIN, sizeof *places);
    if (c == NULL || places == NULL) {
        free(c);
        free(places);
        return base_error_set(why, NX_ENOMEM, NULL, "call: out of memory");
    }
    c->loop = config->loop;
    c->places = places;
    c->place_count = PLACES_MIN;
    c->slot_bits = (uint64_t)config->slot << 48;
    c->counter = start & COUNTER_MASK;
    c->max_pending = config->max_pending != 0 ? config->max_pending : DEFAULT_MAX_PENDING;
    c->max_per_node = config->max_per_node != 0 ? config->max_per_node : DEFAULT_MAX_PER_NODE;
    deadlines_init(&c->deadlines);
    loop_timer_init(&c->timer, on_timer, c);
    list_init(&c->spares);
    for (unsigned i = 0; i < SLOT_GROUPS; i++)
        list_init(&c->slots[i].calls);
    *out = c;
    return 0;
}

static void
free_list(struct list *calls)
{
    for (struct list *link; (link = list_pop_front(calls)) != NULL; )
        free(list_item(link, struct pending, link));
}

void
calls_free(struct calls **c_ptr)
{
    struct calls *c = *c_ptr;
    if (c == NULL)
        return;
    *c_ptr = NULL;
    loop_timer_cancel(c->loop, &c->timer);
    for (size_t i = 0; i < c->place_count; i++)   /* by place: those that are just being failed are in none of our lists */
        free(c->places[i]);
    free_list(&c->spares);
    for (size_t i = 0; i < c->node_count; i++)
        free(c->nodes[i]);
    free(c->nodes);
    free(c->places);
    deadlines_fini(&c->deadlines);
    free(c);
}

size_t
calls_count(const struct calls *c)
{
    return c->count;
}

/* ---- the table */

static struct pending *
find(const struct calls *c, uint64_t id)
{
    struct pending *p = c->places[id & (c->place_count - 1)];
    return p != NULL && p->id == id ? p : NULL;
}

static int
make_places(struct calls *c)
{
    size_t new_count = c->count == 0 ? PLACES_MIN : c->place_count * 2;
    struct pending **places = calloc(new_count, sizeof *places);
    if (places == NULL)
        return NX_ENOMEM;
    for (size_t i = 0; i < c->place_count && c->count > 0; i++)
        if (c->places[i] != NULL)
            places[c->places[i]->id & (new_count - 1)] = c->places[i];
    free(c->places);
    c->places = places;
    c->place_count = new_count;
    return 0;
}

static uint64_t
next_id(struct calls *c)
{
    do
        c->counter = c->counter == COUNTER_MASK ? 1 : c->counter + 1;
    while (c->places[c->counter & (c->place_count - 1)] != NULL);
    return c->slot_bits | c->counter;
}

static struct group *
slot_group(struct calls *c, uint16_t slot)
{
    return &c->slots[slot < SLOT_WORKERS_MAX ? slot : SLOT_WORKERS_MAX];
}

static int
node_group(struct calls *c, uint32_t node, struct group **out)
{
    if (node >= c->node_count) {
        if (node >= NODES_MAX)
            return NX_EINVAL;
        size_t want = c->node_count * 2 > node ? c->node_count * 2 : (size_t)node + 1;
        struct group **nodes = realloc(c->nodes, want * sizeof(struct group *));
        if (nodes == NULL)
            return NX_ENOMEM;
        while (c->node_count < want)
            nodes[c->node_count++] = NULL;
        c->nodes = nodes;
    }
    if (c->nodes[node] == NULL) {
        struct group *g = calloc(1, sizeof *g);
        if (g == NULL)
            return NX_ENOMEM;
        list_init(&g->calls);
        c->nodes[node] = g;
    }
    *out = c->nodes[node];
    return 0;
}

/* ---- deadlines: the timer stands at or before the earliest one; it is not moved when that call ends early, but fires for nothing then */

static int
watch_deadline(struct calls *c, struct pending *p, uint64_t at_ns)
{
    int err = deadlines_put(&c->deadlines, &p->deadline, at_ns);
    if (err != 0)
        return err;
    if (heap_has(&c->timer.node) && c->timer.node.key <= at_ns)
        return 0;
    err = loop_timer_set(c->loop, &c->timer, at_ns);
    if (err != 0)
        deadlines_remove(&c->deadlines, &p->deadline);
    return err;
}

/* ---- begin and end */

int
call_begin(struct calls *c, const struct call_target *target, uint64_t at_ns, call_end_fn *end, void *arg, uint64_t *call_id)
{
    if (c->count >= c->max_pending)
        return NX_EBUSY;
    if (c->count >= c->place_count / 2 && make_places(c) != 0)
        return NX_ENOMEM;
    struct group *group = slot_group(c, target->slot);
    if (target->node != 0) {
        int err = node_group(c, target->node, &group);
        if (err != 0)
            return err;
        if (group->count >= c->max_per_node)
            return NX_EBUSY;
    }

    struct pending *p;
    if (!list_is_empty(&c->spares)) {
        p = list_item(list_pop_front(&c->spares), struct pending, link);
        c->spare_count--;
    } else if ((p = malloc(sizeof *p)) == NULL) {
        return NX_ENOMEM;
    }
    deadline_init(&p->deadline);
    if (at_ns != 0 && watch_deadline(c, p, at_ns) != 0) {
        free(p);
        return NX_ENOMEM;
    }
    p->id = next_id(c);
    p->group = group;
    p->target = *target;
    p->end = end;
    p->arg = arg;
    c->places[p->id & (c->place_count - 1)] = p;
    c->count++;
    group->count++;
    list_push_back(&group->calls, &p->link);
    *call_id = p->id;
    return 0;
}

/* Out of everything. What is left is the caller's copy. */
static struct pending
forget(struct calls *c, struct pending *p)
{
    struct pending copy = *p;
    c->places[p->id & (c->place_count - 1)] = NULL;
    c->count--;
    p->group->count--;
    deadlines_remove(&c->deadlines, &p->deadline);
    list_remove(&p->link);
    if (c->spare_count < SPARE_MAX) {
        list_push_front(&c->spares, &p->link);
        c->spare_count++;
    } else {
        free(p);
    }
    if (c->count == 0 && c->place_count > PLACES_KEEP)
        (void)make_places(c);                     /* after a peak; if there is no memory for less, the big one will do */
    return copy;
}

static void
end_call(struct calls *c, struct pending *p, int status, const struct envelope *e, const uint8_t *body)
{
    struct pending ended = forget(c, p);
    ended.end(ended.arg, ended.id, status, &ended.target, e, body);
}

int
call_answer(struct calls *c, const struct envelope *e, const uint8_t *body)
{
    struct pending *p = envelope_is_answer(e->kind) ? find(c, e->call_id) : NULL;
    if (p == NULL || p->target.node != e->node || (e->node != 0 && p->target.session != e->session))
        return NX_ENOSERVER;
    end_call(c, p, 0, e, body);
    return 0;
}

int
call_cancel(struct calls *c, uint64_t call_id)
{
    struct pending *p = find(c, call_id);
    if (p == NULL)
        return NX_ENOSERVER;
    (void)forget(c, p);
    return 0;
}

const struct call_target *
call_borrow_target(const struct calls *c, uint64_t call_id)
{
    const struct pending *p = find(c, call_id);
    return p != NULL ? &p->target : NULL;
}

static void
on_timer(void *arg)
{
    struct calls *c = arg;
    uint64_t now = loop_now_ns(c->loop);
    struct deadline *first;
    size_t left = c->count;

    /* It keeps its place on the loop's heap, whatever the callbacks set: moving a timer cannot fail, setting one can. */
    (void)loop_timer_set(c->loop, &c->timer, UINT64_MAX);
    /* A callback may begin calls whose deadline has passed as well: as many as there are now, then the loop has its turn. */
    while ((first = deadlines_first(&c->deadlines)) != NULL && deadline_ns(first) <= now && left-- > 0)
        end_call(c, base_container_of(first, struct pending, deadline), NX_ETIMEDOUT, NULL, NULL);
    if (first != NULL)
        (void)loop_timer_set(c->loop, &c->timer, deadline_ns(first));
    else
        loop_timer_cancel(c->loop, &c->timer);
}

/* ---- the death of a target */

/* End those that were chosen, one after the other. Until its turn comes each is an ordinary pending call in a list of its own: a callback may
 * cancel it or answer it, and it is gone from here. */
static void
fail_all(struct calls *c, struct list *chosen, int status)
{
    while (!list_is_empty(chosen))
        end_call(c, list_item(chosen->next, struct pending, link), status, NULL, NULL);
}

static bool
is_newer(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

void
calls_fail_node(struct calls *c, uint32_t node, uint32_t session)
{
    struct list chosen;
    if (node == 0 || node >= c->node_count || c->nodes[node] == NULL)
        return;
    list_init(&chosen);
    list_each_safe(link, next, &c->nodes[node]->calls) {
        struct pending *p = list_item(link, struct pending, link);
        if (!is_newer(p->target.session, session)) {
            list_remove(link);
            list_push_back(&chosen, link);
        }
    }
    fail_all(c, &chosen, NX_ENODE);
}

void
calls_fail_nodes(struct calls *c)
{
    struct list chosen;
    list_init(&chosen);
    for (size_t i = 0; i < c->node_count; i++)
        if (c->nodes[i] != NULL)
            list_splice_back(&chosen, &c->nodes[i]->calls);
    fail_all(c, &chosen, NX_ENODE);
}

void
calls_fail_process(struct calls *c, uint16_t slot, uint32_t generation)
{
    struct list chosen;
    list_init(&chosen);
    list_each_safe(link, next, &slot_group(c, slot)->calls) {
        struct pending *p = list_item(link, struct pending, link);
        if (p->target.slot == slot && (p->target.generation == 0 || !is_newer(p->target.generation, generation))) {
            list_remove(link);
            list_push_back(&chosen, link);
        }
    }
    fail_all(c, &chosen, NX_ENOSERVER);
}

void
calls_fail_remote(struct calls *c, uint32_t node, uint32_t session, uint16_t slot, uint32_t generation)
{
    struct list chosen;
    if (node == 0 || node >= c->node_count || c->nodes[node] == NULL)
        return;
    list_init(&chosen);
    list_each_safe(link, next, &c->nodes[node]->calls) {
        struct pending *p = list_item(link, struct pending, link);
        if (p->target.slot == slot && p->target.session == session && p->target.generation != 0 && !is_newer(p->target.generation, generation)) {
            list_remove(link);
            list_push_back(&chosen, link);
        }
    }
    fail_all(c, &chosen, NX_ENOSERVER);
}
