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
    /* The process in slot is gone: its pipe gave EOF or broke, or mesh_detach was called. Once per life. */
    void (*on_gone)(void *arg, uint16_t slot, uint32_t generation);
    void *arg;
};

int  mesh_new(const struct mesh_config *config, struct mesh **out);
void mesh_free(struct mesh **m);
/* Fresh pipes with the process in slot, of that life; replaces older ones (they are drained first). Owns both descriptors. */
int  mesh_attach(struct mesh *m, uint16_t slot, uint32_t generation, int read_fd, int write_fd, struct base_error *why);
/* The master's word that this life is over: drain, then close. Nothing happens if a newer life is attached. */
void mesh_detach(struct mesh *m, uint16_t slot, uint32_t generation);
/* 0; NX_ENOSERVER: no process attached in that slot (or not of `generation`, if that is not 0); else as pipe_writer_put. */
int  mesh_put(struct mesh *m, uint16_t slot, uint32_t generation, const struct envelope *e, const void *body);
uint32_t mesh_generation(const struct mesh *m, uint16_t slot);       /* 0 = not attached */
size_t mesh_queued(const struct mesh *m, uint16_t slot);
uint64_t mesh_messages_out(const struct mesh *m);
/* Everything written? For an orderly stop. */
size_t mesh_unwritten(const struct mesh *m);

#endif
