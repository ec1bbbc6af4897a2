/*
 * strangers.c - what somebody says who is no member yet, or never.
 *
 * Lives here: wrong first bytes, hellos with some bytes changed, wrong proofs, a recorded handshake.
 * Never here: how it is done right (peer.c).
 * Runs in: peer.
 */
#include <string.h>

#include "base/base.h"
#include "peer.h"

#define BYTES(text) text, sizeof text - 1

/* ---------------------------------------------------------------- before the handshake */

static const struct raw { const char *name, *bytes; size_t len; } raws[] = {
    { "garbage", BYTES("\xff\xff\xff\xff") },
    { "zeros", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0") },
    { "http", BYTES("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") },
    { "tls", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") },
    { "ssh", BYTES("SSH-2.0-OpenSSH_9.2\r\n") },
    { "silence", BYTES("") },
};

/* ---------------------------------------------------------------- a hello with some bytes changed */

enum { H1_NAME = 100 };                          /* with one secret id */

static const struct patch { const char *name; size_t at; const char *bytes; size_t len; } patches[] = {
    { "magic", 0, BYTES("NXD2") },
    { "type", 4, BYTES("\x02") },
    { "tls_flag", 5, BYTES("\x01") },
    { "unknown_flag", 5, BYTES("\x80") },
    { "length_0", 6, BYTES("\0\0") },
    { "length_5", 6, BYTES("\0\5") },
    { "length_100", 6, BYTES("\0\144") },
    { "length_368", 6, BYTES("\1\160") },
    { "length_65535", 6, BYTES("\xff\xff") },
    { "version", 8, BYTES("\2\2") },
    { "versions_swapped", 8, BYTES("\2\1") },
    { "reserved", 10, BYTES("\0\1") },
    { "incarnation_0", 16, BYTES("\0\0\0\0\0\0\0\0") },
    { "reserved_end", 87, BYTES("\1") },
    { "no_secret_ids", 88, BYTES("\0") },
    { "five_secret_ids", 88, BYTES("\5") },
    { "name_length_0", 89, BYTES("\0") },
    { "name_length_255", 89, BYTES("\xff") },
    { "name_too_short", 89, BYTES("\1") },
    { "name_newline", H1_NAME, BYTES("\n") },
    { "name_nul", H1_NAME, BYTES("\0") },
    { "name_percent", H1_NAME, BYTES("%") },
    { "name_utf8", H1_NAME, BYTES("\xc3") },
    { "name_dots", H1_NAME, BYTES(".") },
};

static void
patched_hello(struct peer *p, const struct patch *t)
{
    peer_dial(p);
    peer_hello(p);
    memcpy(p->h1 + t->at, t->bytes, t->len);
    peer_write(p, p->h1, p->h1_len);
    peer_end(p);
}

/* ---------------------------------------------------------------- the rest of the handshake */

static void
honest_hello(struct peer *p)
{
    peer_dial(p);
    peer_hello(p);
    peer_write(p, p->h1, p->h1_len);
    peer_end(p);
}

static void
hello_with_tail(struct peer *p)
{
    peer_dial(p);
    peer_hello(p);
    p->h1[p->h1_len] = 0;
    peer_write(p, p->h1, p->h1_len + 1);
    peer_end(p);
}

/* A byte in 100 ms: the time limit is for the whole, not for each read. */
static void
slow_hello(struct peer *p)
{
    uint64_t begin = peer_now_ms();
    int got = 0;
    peer_dial(p);
    peer_hello(p);
    for (size_t i = 0; i < p->h1_len && got == 0; i++) {
        peer_write(p, p->h1 + i, 1);
        got = peer_fill(p, peer_now_ms() + 100);
    }
    p->last_write_ms = begin;
    peer_end(p);
}

static void
challenged(struct peer *p)
{
    peer_dial(p);
    peer_hello(p);
    peer_write(p, p->h1, p->h1_len);
    peer_challenge(p);
}

static void
proof(struct peer *p, size_t len)
{
    peer_write(p, p->h3, len);
    peer_end(p);
}

static void wrong_proof(struct peer *p) { challenged(p); p->h3[HS_PROOF_LEN - 1] ^= 1; proof(p, HS_PROOF_LEN); }
static void zero_proof(struct peer *p) { challenged(p); memset(p->h3 + 8, 0, 32); proof(p, HS_PROOF_LEN); }
static void short_proof(struct peer *p) { challenged(p); p->h3[7] = 39; proof(p, HS_PROOF_LEN - 1); }
static void honest_proof(struct peer *p) { challenged(p); proof(p, HS_PROOF_LEN); }
static void no_proof(struct peer *p) { challenged(p); peer_end(p); }
static void hello_twice(struct peer *p) { challenged(p); peer_write(p, p->h1, p->h1_len); peer_end(p); }
static void challenge_back(struct peer *p) { challenged(p); peer_write(p, p->h2, p->h2_len); peer_end(p); }

static void
proof_with_tail(struct peer *p)
{
    uint8_t both[2 * HS_PROOF_LEN];
    challenged(p);
    memcpy(both, p->h3, HS_PROOF_LEN);
    memcpy(both + HS_PROOF_LEN, p->h3, HS_PROOF_LEN);
    peer_write(p, both, sizeof both);
    peer_end(p);
}

static void
data_before_proof(struct peer *p)
{
    static const uint8_t nil = 0xc0;
    challenged(p);
    memcpy(p->key, p->keys.data_ia, sizeof p->key);
    struct envelope e = peer_envelope(p, KIND_CAST, 1);
    e.call_id = 0;
    peer_send(p, &e, &nil);
    peer_end(p);
}

/* All that we sent on a link that came up, once more: the other side's nonce is new, so our proof is of another handshake. */
static void
replay(struct peer *p)
{
    uint8_t h3[HS_PROOF_LEN];
    peer_up(p);
    memcpy(h3, p->h3, sizeof h3);
    peer_dial(p);
    peer_write(p, p->h1, p->h1_len);
    peer_challenge(p);
    peer_write(p, h3, sizeof h3);
    peer_end(p);
}

/* ---------------------------------------------------------------- by name */

static const struct trick { const char *name; void (*run)(struct peer *p); } tricks[] = {
    { "honest_hello", honest_hello }, { "hello_with_tail", hello_with_tail }, { "slow_hello", slow_hello },
    { "wrong_proof", wrong_proof }, { "zero_proof", zero_proof }, { "short_proof", short_proof },
    { "honest_proof", honest_proof }, { "no_proof", no_proof }, { "hello_twice", hello_twice },
    { "challenge_back", challenge_back }, { "proof_with_tail", proof_with_tail }, { "data_before_proof", data_before_proof },
    { "replay", replay },
};

bool
strangers_trick(struct peer *p, const char *name)
{
    for (size_t i = 0; i < BASE_COUNT(raws); i++) {
        if (strcmp(raws[i].name, name) == 0) {
            peer_dial(p);
            peer_write(p, raws[i].bytes, raws[i].len);
            peer_end(p);
            return true;
        }
    }
    for (size_t i = 0; i < BASE_COUNT(patches); i++)
        if (strncmp(name, "hello_", 6) == 0 && strcmp(patches[i].name, name + 6) == 0)
            return patched_hello(p, &patches[i]), true;
    for (size_t i = 0; i < BASE_COUNT(tricks); i++)
        if (strcmp(tricks[i].name, name) == 0)
            return tricks[i].run(p), true;
    return false;
}
