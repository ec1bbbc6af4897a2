/*
 * pieces.h - large bodies: cut into pieces by the sender, joined again by the receiver.
 *
 * A body above 64 KiB travels as several messages with the same routing header. Each has ENVELOPE_PIECE, all but the last
 * ENVELOPE_MORE, and its body is a prefix of 4 bytes (stream 2, reserved 2) and at most 64 KiB of the whole. The stream is the
 * sending worker's slot (or that of the gate or the link worker), so pieces of different workers may be mixed on one link, and those
 * of one worker are in order.
 */
#ifndef NOEXD_WIRE_PIECES_H
#define NOEXD_WIRE_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "wire/envelope.h"

/* ---- cutting. Start with *at = 0; true while there is a message to send, described for frame_add2. A body of at most 64 KiB comes
 * out as itself, once. Between two calls other messages may be sent. The flags of `whole` do not travel. */
bool pieces_next(const struct envelope *whole, const uint8_t *body, size_t *at, uint16_t stream, struct envelope *piece,
                 uint8_t prefix[static WIRE_PIECE_PREFIX], const uint8_t **chunk, size_t *chunk_len);

/* ---- joining: one joiner for each peer; free it, or clear it, when the peer is lost */
struct pieces_joiner;
int  pieces_joiner_new(size_t max_body, struct pieces_joiner **out);
void pieces_joiner_free(struct pieces_joiner **j);
void pieces_joiner_clear(struct pieces_joiner *j);             /* every unfinished body is dropped and its memory given back */
size_t pieces_joiner_bytes(const struct pieces_joiner *j);     /* held by unfinished bodies */
/*
 * One piece, as frame_next gave it (body_len >= WIRE_PIECE_PREFIX).
 *   1   the body is whole: *whole is its envelope, `joined` (empty before) its bytes, the caller's to buf_fini
 *   0   more pieces must come, or this one belongs to a body that was dropped
 *   NX_ETOOBIG, NX_ENOMEM   told once for a body: *whole tells whose it was (body_len 0), the rest is dropped; the link goes on
 *   NX_EBADMSG              the peer broke the rules (no such stream, another header in mid-body, an empty piece): close the link
 */
int pieces_join(struct pieces_joiner *j, const struct envelope *piece, const uint8_t *body, struct envelope *whole, struct buf *joined,
                struct base_error *why);

#endif
