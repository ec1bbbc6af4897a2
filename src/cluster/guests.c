/*
 * guests.c - bounds for connections that have proved nothing yet.
 *
 * Lives here: how many there may be, in all and from one address; early drop; penalties for wrong proofs; one log line in a while.
 * Never here: what they say (conn.c).
 * Runs in: the link worker, the simulator.
 *
 * After OpenSSH's MaxStartups and PerSourcePenalties. An address that holds a proved link, or loopback, is spared all but the total: a
 * stranger must not be able to lock out a member by misbehaving from its address.
 */
#include "cluster/cluster_priv.h"

#include <stdlib.h>
#include <string.h>

enum { SOURCES_MAX = 1024, EARLY_DROP_ABOVE = 16, EARLY_DROP_PERCENT = 30, PENALTY_MS = 5000, PENALTY_MAX_MS = 600000,
       LOG_EVERY_MS = 10000, LINES_PER_SECOND = 10 };

int
guests_init(struct guests *g)
{
    list_init(&g->sources);
    return strtable_new(&g->by_text);
}

void
guests_fini(struct guests *g)
{
    if (g->by_text == NULL)
        return;
    list_each_safe(it, next, &g->sources)
        free(list_item(it, struct source, all));
    strtable_free(&g->by_text);
}

static bool
is_loopback(const char *text)
{
    return strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0 || strncmp(text, "::ffff:127.", 11) == 0;
}

static bool
is_forgettable(const struct cluster *c, const struct source *s)
{
    return s->unproved == 0 && s->proved == 0 && (s->penalty_ms == 0 || s->penalty_until_ns + PENALTY_MAX_MS * CLOCK_NS_PER_MS <= c->now_ns);
}

static void
forget(struct guests *g, struct source *s)
{
    (void)strtable_take(g->by_text, s->text, strlen(s->text));
    list_remove(&s->all);
    g->count--;
    free(s);
}

/* Room for one more: the longest unused that means nothing any more; else one that only has a penalty, so that penalties cannot fill the table. */
static bool
make_room(struct cluster *c)
{
    struct guests *g = &c->guests;

    list_each(it, &g->sources) {
        struct source *s = list_item(it, struct source, all);
        if (is_forgettable(c, s)) {
            forget(g, s);
            return true;
        }
    }
    list_each(it, &g->sources) {
        struct source *s = list_item(it, struct source, all);
        if (s->unproved == 0 && s->proved == 0) {
            forget(g, s);
            return true;
        }
    }
    return false;
}

static int
source_get(struct cluster *c, const char *text, struct source **out)
{
    struct guests *g = &c->guests;
    size_t len = strnlen(text, CLUSTER_SOURCE_MAX - 1);
    struct source *s = strtable_get(g->by_text, text, len);

    if (s == NULL) {
        if (g->count >= SOURCES_MAX && !make_room(c))
            return NX_EBUSY;
        s = calloc(1, sizeof *s);
        if (s == NULL)
            return NX_ENOMEM;
        memcpy(s->text, text, len);
        s->is_trusted = is_loopback(s->text);
        if (strtable_put(g->by_text, s->text, len, s) != 0) {
            free(s);
            return NX_ENOMEM;
        }
        g->count++;
    } else
        list_remove(&s->all);
    list_push_back(&g->sources, &s->all);
    *out = s;
    return 0;
}

int
guests_enter(struct cluster *c, const char *text, struct source **out)
{
    struct guests *g = &c->guests;
    struct source *s;

    if (g->unproved >= c->config.max_guests)
        return NX_EBUSY;
    int err = source_get(c, text, &s);
    if (err != 0)
        return err;
    if (!s->is_trusted && s->proved == 0) {
        if (s->unproved >= c->config.max_guests_per_source || s->penalty_until_ns > c->now_ns)
            return NX_EBUSY;
        if (g->unproved >= EARLY_DROP_ABOVE && cluster_pick(c, 100) < EARLY_DROP_PERCENT)
            return NX_EBUSY;
    }
    s->unproved++;
    g->unproved++;
    *out = s;
    return 0;
}

void
guests_prove(struct cluster *c, struct source *s)
{
    nx_assert(s->unproved > 0 && c->guests.unproved > 0);
    s->unproved--;
    c->guests.unproved--;
    s->proved++;
    s->penalty_ms = 0;
    s->penalty_until_ns = 0;
}

void
guests_leave(struct cluster *c, struct source *s, bool was_proved)
{
    if (was_proved) {
        nx_assert(s->proved > 0);
        s->proved--;
        return;
    }
    nx_assert(s->unproved > 0 && c->guests.unproved > 0);
    s->unproved--;
    c->guests.unproved--;
}

void
guests_punish(struct cluster *c, struct source *s)
{
    if (s->is_trusted || s->proved > 0)
        return;
    bool is_old = s->penalty_until_ns + PENALTY_MAX_MS * CLOCK_NS_PER_MS <= c->now_ns;
    s->penalty_ms = s->penalty_ms == 0 || is_old ? PENALTY_MS : s->penalty_ms >= PENALTY_MAX_MS / 2 ? PENALTY_MAX_MS : s->penalty_ms * 2;
    s->penalty_until_ns = cluster_after_ms(c, s->penalty_ms);
}

/* Where to note that this is being said; -1 = it has been, or too much else has. */
static int
place_to_say(const struct cluster *c, const struct source *s, uint64_t reason)
{
    int place = -1;
    for (int i = 0; i < GUEST_REASONS; i++) {
        bool is_quiet = s->said[i].quiet_until_ns > c->now_ns;
        if (is_quiet && s->said[i].reason == reason)
            return -1;
        if (!is_quiet)
            place = i;
    }
    return place;
}

/* A stranger can make us log, and choose the reason: one line in 10 s for each address and reason, of at most four reasons; ten lines a
 * second for all of them. */
void
guests_log(struct cluster *c, struct source *s, const char *text)
{
    uint64_t reason = table_hash(0, text, strlen(text));
    int place = place_to_say(c, s, reason);
    if (place < 0 || !log_gate_pass(&c->log_gate, LINES_PER_SECOND)) {
        s->held += s->held < UINT32_MAX;
        return;
    }
    log_warn("cluster: handshake refused source=%s held_back=%u reason=%s", s->text, s->held, text);
    s->held = 0;
    s->said[place].reason = reason;
    s->said[place].quiet_until_ns = cluster_after_ms(c, LOG_EVERY_MS);
}
