/*
 * mesh.h - all pipes of one process: a writer and a reader for each other process of the node, by slot and life.
 *
 * Slots are those of envelope.h: 0-63, SLOT_LINK, SLOT_GATE. Flushes all writers at the end of each turn (LOOP_RANK_FLUSH).
 */
#ifndef NOEXD_PIPE_MESH_H
#define NOEXD_PIPE_MESH_H

#include "pipe/reader.h"
#include "pipe/writer.h"

struct mesh;

struct mesh_config {
    struct loop *loop;
    struct pipe_limits limits;
    /* A message from the process in `slot` (already of its current life). View: valid during the callback. */
    void (*on_message)(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
    /* The process in slot is gone: its pipe gave EOF or broke, or mesh_detach or a newer life came. Once per life, after its last message. A new
     * life may be attached meanwhile, so mesh_generation need not be `generation`; if none is, one may be attached here. */
    void (*on_gone)(void *arg, uint16_t slot, uint32_t generation);
    void *arg;
};

int  mesh_new(const struct mesh_config *config, struct mesh **out);
void mesh_free(struct mesh **m);       /* without callbacks; not from a callback inside mesh_attach or mesh_detach */
/* Fresh pipes with the process in slot, of that life (not 0); replaces older ones (they are drained first). Owns both descriptors, on failure
 * too. NX_EINVAL: no such slot; NX_ENOSERVER: that life is not newer than the attached one; NX_ENOMEM, NX_ESYS. */
int  mesh_attach(struct mesh *m, uint16_t slot, uint32_t generation, int read_fd, int write_fd, struct base_error *why);
/* The master's word that this life is over: drain, then close. Nothing happens if a newer life is attached. Called from a callback about
 * a message of that very process, the rest is drained when the callback has returned. */
void mesh_detach(struct mesh *m, uint16_t slot, uint32_t generation);
/* 0; NX_ENOSERVER: no process attached in that slot (or not of `generation`, if that is not 0); else as pipe_writer_put. */
int  mesh_put(struct mesh *m, uint16_t slot, uint32_t generation, const struct envelope *e, const void *body);
uint32_t mesh_generation(const struct mesh *m, uint16_t slot);       /* 0 = not attached */
size_t mesh_queued(const struct mesh *m, uint16_t slot);
uint64_t mesh_messages_out(const struct mesh *m);
/* Bytes that no pipe has taken yet; 0 = everything is written. For an orderly stop. */
size_t mesh_unwritten(const struct mesh *m);

#endif
