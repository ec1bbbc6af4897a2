/*
 * frame.h - one signed envelope around a batch of messages: seal and open.
 *
 * Layout and receiver order: wire.md section 2, "Frames". One EVP_MAC context per direction, re-initialised with a null key.
 * A frame_seal collects messages into a buffer of its own until it is sealed; a frame_open reads bytes that a connection has.
 */
#ifndef NOEXD_WIRE_FRAME_H
#define NOEXD_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "wire/envelope.h"

enum frame_type { FRAME_DATA = 0x10, FRAME_PING = 0x11, FRAME_PONG = 0x12, FRAME_KEY_UPDATE = 0x13, FRAME_CLOSE = 0x14 };
enum frame_close_reason { FRAME_CLOSE_SHUTDOWN = 1, FRAME_CLOSE_MOVED = 2, FRAME_CLOSE_PROTOCOL = 3, FRAME_CLOSE_OVERLOAD = 4,
                          FRAME_CLOSE_DUPLICATE = 5 };
enum { FRAME_HEADER = 16, FRAME_TAG = 32, FRAME_KEY = 32, FRAME_MAX_MESSAGES = 4096, FRAME_SEAL_AT = 65536,
       FRAME_MAX_PAYLOAD = 131072, FRAME_MAX = 4 + 12 + FRAME_MAX_PAYLOAD + FRAME_TAG };

/* ---- sending */
struct frame_sealer;
int  frame_sealer_new(const uint8_t key[static FRAME_KEY], struct frame_sealer **out);   /* the key is copied, and wiped at free */
void frame_sealer_free(struct frame_sealer **s);
/* Room for one message (header written from e, body copied) in the open batch of `out`. Returns 0; NX_EFULL when the batch must be
 * sealed first (4096 messages, or it would pass FRAME_MAX_PAYLOAD); NX_ETOOBIG for a body above WIRE_PIECE_MAX, which travels in
 * pieces (pieces.h), or when `out` has reached its bound; NX_EBADMSG for a kind or flags that the peer would refuse; NX_ENOMEM. On
 * failure nothing is added. The open batch is the end of `out`: nobody else appends to it or takes from it before frame_seal.
 * e->remaining_ms is what travels, the caller computes it. */
int  frame_add(struct frame_sealer *s, struct buf *out, const struct envelope *e, const void *body);
/* The same for a message or piece as pieces_next gives them: with ENVELOPE_PIECE in e->flags the body is prefix and chunk, else the
 * chunk alone (and prefix may be NULL). e->body_len counts both. */
int  frame_add2(struct frame_sealer *s, struct buf *out, const struct envelope *e, const uint8_t *prefix, const void *chunk,
                size_t chunk_len);
bool frame_has_open(const struct frame_sealer *s);
size_t frame_open_bytes(const struct frame_sealer *s);                                    /* payload bytes so far */
/* Seal the open batch: length, count, sequence number and tag are written into `out`. Nothing to do without one. NX_EFULL: the
 * sequence numbers are used up, the link needs a new handshake; NX_ESYS: the crypto library failed. Both leave the
 * batch open, never sent. */
int  frame_seal(struct frame_sealer *s, struct buf *out);
/* A frame without messages, after sealing what is open. payload: 8 bytes for ping and pong, 1 for close, NULL for key update, after
 * which the sealer goes on with next(key). */
int  frame_put_control(struct frame_sealer *s, struct buf *out, enum frame_type type, const uint8_t *payload, size_t len);
uint64_t frame_sealed_bytes(const struct frame_sealer *s);                                /* under the current key */
uint64_t frame_sealer_sequence(const struct frame_sealer *s);                             /* of the next frame */

/* ---- receiving */
struct frame_opener;
struct frame_view { enum frame_type type; uint16_t count; const uint8_t *payload; size_t len; size_t total; };
int  frame_opener_new(const uint8_t key[static FRAME_KEY], struct frame_opener **out);
void frame_opener_free(struct frame_opener **o);
/* Look at the first `len` bytes. 1 = a whole valid frame is in *out (payload points into bytes; out->total to drop afterwards), and
 * its messages tile the payload; 0 = more bytes are needed; NX_EBADMSG (or NX_ESYS) = close the link, text says why. Handles key
 * updates itself (and still returns the view). */
int  frame_open(struct frame_opener *o, const uint8_t *bytes, size_t len, struct frame_view *out, struct base_error *why);
uint64_t frame_opener_sequence(const struct frame_opener *o);                             /* of the next frame */
/* The messages of a data frame, one by one. Start with *at = 0; true while there is one; body points into the frame. Kinds of 128
 * and above are among them, for the caller to count and skip; every other kind is one that a peer may send. */
bool frame_next(const struct frame_view *v, size_t *at, struct envelope *e, const uint8_t **body);

/* Torture and tests only: go on from `sequence` (the last one ever used is 2^63 - 1). Both ends must agree. */
void frame_sealer_jump(struct frame_sealer *s, uint64_t sequence);
void frame_opener_jump(struct frame_opener *o, uint64_t sequence);

/* Proves that this OpenSSL signs as the vectors say, and that a re-initialised context gives the same tag. Called once at start. */
int  frame_selftest(struct base_error *why);

#endif
