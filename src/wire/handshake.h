/*
 * handshake.h - the four messages of the handshake, their transcript and the keys that come out of it.
 *
 * Layout: wire.md section 1. Pure: encode and decode of fixed layouts, and key derivation. Who may speak when is cluster/peer.c.
 */
#ifndef NOEXD_WIRE_HANDSHAKE_H
#define NOEXD_WIRE_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/node_id.h"

enum { HS_MAX = 512, HS_NONCE = 32, HS_HASH = 32, HS_KEY = 32, HS_SID = 16, HS_SECRETS_MAX = 4, HS_PROOF_LEN = 40, HS_VERSION = 1 };
enum { HS_HELLO = 1, HS_CHALLENGE = 2, HS_PROOF_I = 3, HS_PROOF_A = 4 };
enum { HS_FLAG_TLS = 1 };

struct hs_hello {
    uint8_t flags, version_min, version_max, secret_count;
    uint32_t features;
    uint64_t incarnation, wall_ms;
    uint8_t nonce[HS_NONCE], cluster_tag[8];
    uint32_t secret_ids[HS_SECRETS_MAX];
    struct node_id node;
};
struct hs_challenge {
    uint8_t flags, version;
    uint32_t features, secret_id;
    uint64_t incarnation, wall_ms;
    uint8_t nonce[HS_NONCE];
    struct node_id node;
};
struct hs_keys {                              /* wiped by hs_keys_wipe */
    uint8_t transcript[HS_HASH], prk[HS_HASH];
    uint8_t proof_key_i[HS_KEY], proof_key_a[HS_KEY];
    uint8_t data_ia[HS_KEY], data_ai[HS_KEY];
    uint8_t sid[HS_SID];
};

size_t hs_hello_encode(const struct hs_hello *h, uint8_t out[static HS_MAX]);
size_t hs_challenge_encode(const struct hs_challenge *c, uint8_t out[static HS_MAX]);
/* The whole length of a message whose first bytes are here: > 0; 0 = need at least 8 bytes; NX_EBADMSG = not ours (magic, type other
 * than `type`, length out of range for it). */
int hs_length(const uint8_t *bytes, size_t len, uint8_t type, struct base_error *why);
int hs_hello_decode(const uint8_t *bytes, size_t len, struct hs_hello *out, struct base_error *why);       /* NX_EBADMSG */
int hs_challenge_decode(const uint8_t *bytes, size_t len, struct hs_challenge *out, struct base_error *why);

void hs_cluster_tag(const char *cluster, uint8_t out[static 8]);
int  hs_derive(const uint8_t *h1, size_t h1_len, const uint8_t *h2, size_t h2_len, const uint8_t *exporter /* 32 or NULL */,
               const uint8_t *secret, size_t secret_len, struct hs_keys *out, struct base_error *why);
int  hs_proof_i(const struct hs_keys *k, uint8_t h3[static HS_PROOF_LEN]);                 /* writes the whole of H3 */
int  hs_proof_a(const struct hs_keys *k, const uint8_t h3[static HS_PROOF_LEN], uint8_t h4[static HS_PROOF_LEN]);
int  hs_proof_check_i(const struct hs_keys *k, const uint8_t h3[static HS_PROOF_LEN]);     /* 0 or NX_EBADMSG; constant time */
int  hs_proof_check_a(const struct hs_keys *k, const uint8_t h3[static HS_PROOF_LEN], const uint8_t h4[static HS_PROOF_LEN]);
int  hs_next_key(const uint8_t key[static HS_KEY], uint8_t out[static HS_KEY]);
void hs_keys_wipe(struct hs_keys *k);

#endif
