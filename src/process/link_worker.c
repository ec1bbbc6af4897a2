/*
 * link_worker.c - the link worker: links to other nodes, membership, the registry's only writer.
 *
 * Opens: loop, link (with the mesh and cluster/). Gives up: module code (it never loads any), write access to the board and to other processes' pages.
 * Runs in: the link worker.
 */
#include <openssl/crypto.h>
#include <unistd.h>

#include "link/link.h"
#include "process/child.h"
#include "process/secrets.h"

static int
link_worker_open(struct child *c, struct base_error *why)
{
    const struct inherit *in = c->in;
    struct cluster_secret secrets[CLUSTER_SECRETS_MAX];
    size_t count = 0;
    int err = secrets_read(c->secrets_fd, secrets, &count, why);
    (void)close(c->secrets_fd);
    c->secrets_fd = -1;
    struct link_worker *l = NULL;
    if (err == 0) {
        struct link_config config = { .loop = c->loop, .shm = in->shm, .conf = in->conf, .listen_fd = in->listen_fd, .incarnation = in->incarnation,
                                      .started_ns = in->started_ns, .secrets = secrets, .secret_count = count };
        err = link_new(&config, &l, why);
    }
    OPENSSL_cleanse(secrets, sizeof secrets);
    if (err != 0)
        return err;
    c->room = l;
    c->mesh = link_borrow_mesh(l);
    return 0;
}

static void
link_worker_up(struct child *c, uint16_t slot, uint32_t generation)
{
    link_process_up(c->room, slot, generation);
}

static void
link_worker_down(struct child *c, uint16_t slot, uint32_t generation)
{
    link_process_down(c->room, slot, generation);
}

static void
link_worker_stop(struct child *c, bool drain, uint64_t deadline_ns)
{
    (void)drain;
    link_stop(c->room, deadline_ns, child_done, c);
}

static void
link_worker_close(struct child *c)
{
    struct link_worker *l = c->room;
    link_free(&l);
}

const struct child_kind_ops child_link_worker = {
    .name = "link worker", .role = SHM_LINK, .open = link_worker_open, .up = link_worker_up, .down = link_worker_down, .stop = link_worker_stop, .close = link_worker_close,
};
