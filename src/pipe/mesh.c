/*
 * mesh.c - all pipes of one process, by the slot and the life of the process at the other end.
 *
 * Lives here: which life is attached where, its end (EOF, a broken pipe, the master's word, a successor), the flush at the end of a turn.
 * Never here: the pipes themselves (writer.c, reader.c); what a message means.
 * Runs in: workers, the link worker, the gate.
 *
 * Invariant: a peer stands in its slot from mesh_attach until its end begins; from then on it is only on the list `leaving`, until its
 * last message is delivered; then it is freed, and on_gone is called.
 */
#include "pipe/mesh.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "base/list.h"
#include "base/log.h"

enum { PLACE_LINK = SLOT_WORKERS_MAX, PLACE_GATE, PLACES };

struct peer {
    struct mesh *mesh;
    struct pipe_reader *reader;
    struct pipe_writer *writer;
    struct list dirty;                /* linked = has something for the flush */
    struct list leaving;
    uint32_t generation;
    uint16_t slot;
};

struct mesh {
    struct mesh_config config;
    struct loop_hook flush;
    struct list dirty, leaving;
    uint64_t flushed_turn;            /* the turn in which the flush ran last */
    uint64_t messages_out;
    struct peer *peers[PLACES];
};

/* The place of a slot in peers[], or PLACES if there is no such slot. */
static inline unsigned
place_of(uint16_t slot)
{
    if (slot < SLOT_WORKERS_MAX)
        return slot;
    return slot == SLOT_LINK ? PLACE_LINK : slot == SLOT_GATE ? PLACE_GATE : PLACES;
}

static struct peer *
peer_at(const struct mesh *m, uint16_t slot)
{
    unsigned place = place_of(slot);
    return place < PLACES ? m->peers[place] : NULL;
}

static bool
flush_all(void *arg)
{
    struct mesh *m = arg;
    bool more = false;
    m->flushed_turn = loop_turns(m->config.loop);
    list_each_safe(link, next, &m->dirty) {
        struct peer *p = list_item(link, struct peer, dirty);
        pipe_writer_flush(p->writer);             /* tells nobody anything now: what breaks is told at the end of the turn */
        if (pipe_writer_queued(p->writer) == 0)
            list_remove(&p->dirty);
        else if (!pipe_writer_is_waiting(p->writer))
            more = true;                          /* full, and there was no memory to be told when it takes more */
    }
    return more;
}

int
mesh_new(const struct mesh_config *config, struct mesh **out)
{
    struct mesh *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NX_ENOMEM;
    m->config = *config;
    list_init(&m->dirty);
    list_init(&m->leaving);
    m->flush = (struct loop_hook){ .rank = LOOP_RANK_FLUSH, .fn = flush_all, .arg = m };
    loop_add_hook(config->loop, &m->flush);
    *out = m;
    return 0;
}

/* ---- the end of a peer */

static void
peer_free(struct peer *p)
{
    list_remove(&p->dirty);
    list_remove(&p->leaving);
    pipe_reader_free(&p->reader);
    pipe_writer_free(&p->writer);
    free(p);
}

void
mesh_free(struct mesh **m_ptr)
{
    struct mesh *m = *m_ptr;
    if (m == NULL)
        return;
    *m_ptr = NULL;
    for (unsigned i = 0; i < PLACES; i++)
        if (m->peers[i] != NULL)
            peer_free(m->peers[i]);
    while (!list_is_empty(&m->leaving))
        peer_free(list_item(m->leaving.next, struct peer, leaving));
    loop_remove_hook(m->config.loop, &m->flush);
    free(m);
}

/* From now on nothing can be sent to it and its slot is free for a successor; its last messages may still come. */
static void
leave(struct peer *p)
{
    struct mesh *m = p->mesh;
    unsigned place = place_of(p->slot);
    if (m->peers[place] == p)
        m->peers[place] = NULL;
    if (!list_is_linked(&p->leaving))
        list_push_back(&m->leaving, &p->leaving);
    list_remove(&p->dirty);
}

static void
on_message(void *arg, const struct envelope *e, const uint8_t *body)
{
    struct peer *p = arg;
    p->mesh->config.on_message(p->mesh->config.arg, p->slot, e, body);      /* p and the mesh may be gone now */
}

static void
on_end(void *arg, int status, size_t torn_bytes)
{
    struct peer *p = arg;
    struct mesh *m = p->mesh;
    uint16_t slot = p->slot;
    uint32_t generation = p->generation;

    /* However it ended: that life is over for us, and its tail belongs to nobody. */
    if (status != 0)
        log_warn("pipe: closed slot=%u generation=%u reason=%s", slot, generation, nx_errname(status));
    else if (torn_bytes > 0)
        log_debug("pipe: torn tail thrown away slot=%u generation=%u bytes=%zu", slot, generation, torn_bytes);
    leave(p);
    peer_free(p);
    m->config.on_gone(m->config.arg, slot, generation);
}

/* Nobody reads what we write: that process is dying. What it said before is still in its pipe. */
static void
on_broken(void *arg)
{
    struct peer *p = arg;
    leave(p);
    pipe_reader_drain(p->reader);
}

/* ---- attach, detach */

static bool
is_newer(uint32_t generation, uint32_t than)
{
    return (int32_t)(generation - than) > 0;
}

static int
set_nonblocking(int fd, struct base_error *why)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return base_error_sys(why, errno, "make a pipe non-blocking", NULL);
    return 0;
}

static int
peer_new(struct mesh *m, uint16_t slot, uint32_t generation, int read_fd, int write_fd, struct peer **out, struct base_error *why)
{
    int err = set_nonblocking(read_fd, why);
    if (err == 0)
        err = set_nonblocking(write_fd, why);
    struct peer *p = err == 0 ? calloc(1, sizeof *p) : NULL;
    if (p == NULL)
        goto close_both;
    *p = (struct peer){ .mesh = m, .generation = generation, .slot = slot };
    list_init(&p->dirty);
    list_init(&p->leaving);
    if (pipe_writer_new(m->config.loop, write_fd, &m->config.limits, on_broken, p, &p->writer) != 0)
        goto free_peer;
    if (pipe_reader_new(m->config.loop, read_fd, m->config.limits.max_body, on_message, on_end, p, &p->reader) != 0)
        goto free_writer;
    *out = p;
    return 0;

free_writer:
    pipe_writer_free(&p->writer);                 /* closes write_fd */
    write_fd = -1;
free_peer:
    free(p);
close_both:
    (void)close(read_fd);
    if (write_fd >= 0)
        (void)close(write_fd);
    return err != 0 ? err : base_error_set(why, NX_ENOMEM, NULL, "pipes with slot %u: out of memory", slot);
}

static void
detach(struct peer *p)
{
    leave(p);
    pipe_reader_drain(p->reader);                 /* p ends with on_end: now, or behind the callback that we are in */
}

int
mesh_attach(struct mesh *m, uint16_t slot, uint32_t generation, int read_fd, int write_fd, struct base_error *why)
{
    unsigned place = place_of(slot);
    struct peer *old = peer_at(m, slot), *p = NULL;
    int err = 0;

    if (place == PLACES || generation == 0)
        err = base_error_set(why, NX_EINVAL, NULL, "pipes: there is no process in slot %u with generation %u", slot, generation);
    else if (old != NULL && !is_newer(generation, old->generation))
        err = base_error_set(why, NX_ENOSERVER, NULL, "pipes with slot %u: generation %u is older than %u", slot, generation, old->generation);
    if (err != 0) {
        (void)close(read_fd);
        (void)close(write_fd);
        return err;
    }
    err = peer_new(m, slot, generation, read_fd, write_fd, &p, why);
    if (err != 0)
        return err;
    m->peers[place] = p;                          /* first, so that a callback below that attaches again finds the newest life here */
    if (old != NULL)
        detach(old);
    return 0;
}

void
mesh_detach(struct mesh *m, uint16_t slot, uint32_t generation)
{
    struct peer *p = peer_at(m, slot);
    if (p != NULL && !is_newer(p->generation, generation))
        detach(p);
}

/* ---- sending */

int
mesh_put(struct mesh *m, uint16_t slot, uint32_t generation, const struct envelope *e, const void *body)
{
    struct peer *p = peer_at(m, slot);
    if (p == NULL || (generation != 0 && generation != p->generation))
        return NX_ENOSERVER;
    int err = pipe_writer_put(p->writer, e, body);
    if (err != 0)
        return err;
    m->messages_out++;
    if (!list_is_linked(&p->dirty)) {
        list_push_back(&m->dirty, &p->dirty);
        /* Behind this turn's flush, by something deferred, or between turns: the loop must not go to sleep over it. */
        if (m->flushed_turn == loop_turns(m->config.loop))
            loop_again(m->config.loop);
    }
    return 0;
}

uint32_t
mesh_generation(const struct mesh *m, uint16_t slot)
{
    const struct peer *p = peer_at(m, slot);
    return p != NULL ? p->generation : 0;
}

size_t
mesh_queued(const struct mesh *m, uint16_t slot)
{
    const struct peer *p = peer_at(m, slot);
    return p != NULL ? pipe_writer_queued(p->writer) : 0;
}

uint64_t
mesh_messages_out(const struct mesh *m)
{
    return m->messages_out;
}

size_t
mesh_unwritten(const struct mesh *m)
{
    size_t sum = 0;
    for (unsigned i = 0; i < PLACES; i++)
        if (m->peers[i] != NULL)
            sum += pipe_writer_queued(m->peers[i]->writer);
    return sum;
}
