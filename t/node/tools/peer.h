/*
 * peer.h - what peer.c does for the tricks of strangers.c, frames.c and messages.c: a connection, an honest handshake, frames with a valid tag.
 */
#ifndef NOEXD_T_NODE_TOOLS_PEER_H
#define NOEXD_T_NODE_TOOLS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/ref.h"

struct peer {
    uint16_t port;
    const char *cluster, *name, *from;
    uint32_t secret_id;
    uint8_t secret[1024]; size_t secret_len;
    struct wire_ref target;                /* of calls */
    uint64_t patience_ms, wall_ahead_ms;

    int fd;
    struct buf in; size_t got;             /* got: bytes that have come on this connection */
    uint64_t last_write_ms, incarnation, call_id;
    uint8_t h1[HS_MAX], h2[HS_MAX], h3[HS_PROOF_LEN];
    size_t h1_len, h2_len;
    struct hs_keys keys;
    uint8_t key[FRAME_KEY];                /* that we sign with */
    uint64_t sequence;                     /* of our next frame */
    uint8_t frame_flags;
    struct frame_opener *opener;
};

/* Each in its file, by name; false: no such trick there. */
bool strangers_trick(struct peer *p, const char *name);
bool frames_trick(struct peer *p, const char *name);
bool messages_trick(struct peer *p, const char *name);

void peer_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
uint64_t peer_now_ms(void);
void peer_sleep_ms(unsigned ms);

void peer_dial(struct peer *p);
void peer_write(struct peer *p, const void *bytes, size_t len);
int  peer_fill(struct peer *p, uint64_t until_ms);
void peer_end(struct peer *p);

void peer_hello(struct peer *p);                             /* makes H1; does not send it */
void peer_challenge(struct peer *p);                         /* reads H2, makes H3 */
void peer_prove(struct peer *p);
void peer_up(struct peer *p);                                /* all of it */

size_t peer_seal(struct peer *p, uint8_t type, uint16_t count, const void *payload, size_t len, uint8_t *out);
void peer_frame(struct peer *p, uint8_t type, uint16_t count, const void *payload, size_t len);
int  peer_next_frame(struct peer *p, uint64_t until_ms, struct frame_view *v);
size_t peer_message(const struct envelope *e, const void *body, uint8_t *out);
struct envelope peer_envelope(struct peer *p, uint8_t kind, size_t len);     /* to the target, with a call id of its own */
void peer_send(struct peer *p, const struct envelope *e, const void *body);
void peer_answer(struct peer *p, uint64_t call_id);
void peer_call(struct peer *p);

#endif
