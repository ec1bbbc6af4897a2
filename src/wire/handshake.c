/*
 * handshake.c - the four handshake messages as bytes, and the keys that their transcript gives.
 *
 * Lives here: fixed layouts, every rule that one message alone can break, key derivation, proofs.
 * Never here: who may speak when, whose secret it is, own name or nonce or incarnation coming back: that is the peer's machine.
 * Runs in: the link worker.
 */
#include "wire/handshake.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/base.h"
#include "wire/wire.h"

enum {
    /* All messages */
    AT_MAGIC = 0, AT_TYPE = 4, AT_FLAGS = 5, AT_LENGTH = 6, HEAD = 8,
    /* HELLO; behind it the secret ids, then the node name */
    H1_VERSION_MIN = 8, H1_VERSION_MAX = 9, H1_FEATURES = 12, H1_INCARNATION = 16, H1_NONCE = 24, H1_TAG = 56, H1_WALL = 64,
    H1_IDS = 88, H1_NAME_LEN = 89, H1_FIXED = 96, H1_MIN = H1_FIXED + 4 + 1, H1_MAX = H1_FIXED + 4 * HS_SECRETS_MAX + NODE_ID_MAX,
    /* CHALLENGE; behind it the node name */
    H2_VERSION = 8, H2_FEATURES = 12, H2_INCARNATION = 16, H2_NONCE = 24, H2_SECRET = 56, H2_WALL = 60, H2_NAME_LEN = 84,
    H2_FIXED = 88, H2_MIN = H2_FIXED + 1, H2_MAX = H2_FIXED + NODE_ID_MAX,
    SECRET_MIN = 32,
};
_Static_assert(H1_MIN == 101 && H1_MAX == 367 && H2_MIN == 89 && H2_MAX == 343, "lengths of the design");
_Static_assert((int)H1_MAX <= (int)HS_MAX && (int)H2_MAX <= (int)HS_MAX,
               "each message fits the buffer of a link that is not proved yet");

struct run { uint16_t at, len; };
static const struct run hello_reserved[] = { { 10, 2 }, { 72, 16 }, { 90, 6 } };
static const struct run challenge_reserved[] = { { 9, 3 }, { 68, 16 }, { 85, 3 } };

static const uint8_t magic[4] = { 'N', 'X', 'D', '1' };

/* ---------------------------------------------------------------- encoding */

static void
put_head(uint8_t *out, uint8_t type, uint8_t flags, size_t len)
{
    memcpy(out + AT_MAGIC, magic, sizeof magic);
    out[AT_TYPE] = type;
    out[AT_FLAGS] = flags;
    wire_put16(out + AT_LENGTH, (uint16_t)len);
}

size_t
hs_hello_encode(const struct hs_hello *h, uint8_t out[static HS_MAX])
{
    size_t name_len = strlen(h->node.text), ids_len = 4u * h->secret_count, len = H1_FIXED + ids_len + name_len;

    nx_assert(h->secret_count >= 1 && h->secret_count <= HS_SECRETS_MAX && name_len >= 1);
    memset(out, 0, H1_FIXED);
    put_head(out, HS_HELLO, h->flags, len);
    out[H1_VERSION_MIN] = h->version_min;
    out[H1_VERSION_MAX] = h->version_max;
    wire_put32(out + H1_FEATURES, h->features);
    wire_put64(out + H1_INCARNATION, h->incarnation);
    memcpy(out + H1_NONCE, h->nonce, HS_NONCE);
    memcpy(out + H1_TAG, h->cluster_tag, sizeof h->cluster_tag);
    wire_put64(out + H1_WALL, h->wall_ms);
    out[H1_IDS] = h->secret_count;
    out[H1_NAME_LEN] = (uint8_t)name_len;
    for (unsigned i = 0; i < h->secret_count; i++)
        wire_put32(out + H1_FIXED + 4 * i, h->secret_ids[i]);
    memcpy(out + H1_FIXED + ids_len, h->node.text, name_len);
    return len;
}

size_t
hs_challenge_encode(const struct hs_challenge *c, uint8_t out[static HS_MAX])
{
    size_t name_len = strlen(c->node.text), len = H2_FIXED + name_len;

    nx_assert(name_len >= 1);
    memset(out, 0, H2_FIXED);
    put_head(out, HS_CHALLENGE, c->flags, len);
    out[H2_VERSION] = c->version;
    wire_put32(out + H2_FEATURES, c->features);
    wire_put64(out + H2_INCARNATION, c->incarnation);
    memcpy(out + H2_NONCE, c->nonce, HS_NONCE);
    wire_put32(out + H2_SECRET, c->secret_id);
    wire_put64(out + H2_WALL, c->wall_ms);
    out[H2_NAME_LEN] = (uint8_t)name_len;
    memcpy(out + H2_FIXED, c->node.text, name_len);
    return len;
}

/* ---------------------------------------------------------------- decoding */

static int
refuse(struct base_error *why, const char *complaint)
{
    return base_error_set(why, NX_EBADMSG, NULL, "handshake: %s", complaint);
}

int
hs_length(const uint8_t *bytes, size_t len, uint8_t type, struct base_error *why)
{
    static const struct { uint16_t min, max; } range[] = {
        [HS_HELLO] = { H1_MIN, H1_MAX }, [HS_CHALLENGE] = { H2_MIN, H2_MAX },
        [HS_PROOF_I] = { HS_PROOF_LEN, HS_PROOF_LEN }, [HS_PROOF_A] = { HS_PROOF_LEN, HS_PROOF_LEN },
    };
    size_t total;

    nx_assert(type >= HS_HELLO && type <= HS_PROOF_A);
    /* What is there is judged at once: four wrong bytes need not wait for the deadline. */
    if (memcmp(bytes, magic, len < sizeof magic ? len : sizeof magic) != 0)
        return refuse(why, "wrong magic");
    if (len > AT_TYPE && bytes[AT_TYPE] != type)
        return base_error_set(why, NX_EBADMSG, NULL, "handshake: message of type %u, expected %u", bytes[AT_TYPE], type);
    if (len < HEAD)
        return 0;
    total = wire_get16(bytes + AT_LENGTH);
    if (total < range[type].min || total > range[type].max)
        return base_error_set(why, NX_EBADMSG, NULL, "handshake: length %zu of a message of type %u", total, type);
    return (int)total;
}

/* The part common to HELLO and CHALLENGE. */
static int
check_whole(const uint8_t *bytes, size_t len, uint8_t type, const struct run *reserved, size_t runs, struct base_error *why)
{
    static const uint8_t zero[16];
    int total = hs_length(bytes, len, type, why);

    if (total < 0)
        return total;
    if (total == 0 || (size_t)total != len)
        return refuse(why, "the message is not as long as it says");
    if ((bytes[AT_FLAGS] & ~HS_FLAG_TLS) != 0)
        return refuse(why, "a reserved flag is set");
    for (size_t i = 0; i < runs; i++)
        if (memcmp(bytes + reserved[i].at, zero, reserved[i].len) != 0)
            return refuse(why, "a reserved byte is not 0");
    return 0;
}

static int
take_node(const uint8_t *bytes, size_t len, struct node_id *out, struct base_error *why)
{
    struct base_error inner;

    if (node_id_parse((const char *)bytes, len, out, &inner) != 0)
        return refuse(why, inner.text);
    if (strlen(out->text) != len || memcmp(out->text, bytes, len) != 0)
        return refuse(why, "the node id is not in its canonical form");
    if (node_host_is_wildcard(out->host))
        return refuse(why, "the host of the node id is a wildcard: nobody could call back");
    return 0;
}

int
hs_hello_decode(const uint8_t *bytes, size_t len, struct hs_hello *out, struct base_error *why)
{
    struct hs_hello h = { .flags = 0 };
    int err = check_whole(bytes, len, HS_HELLO, hello_reserved, BASE_COUNT(hello_reserved), why);

    if (err != 0)
        return err;
    h.secret_count = bytes[H1_IDS];
    size_t ids_len = 4u * h.secret_count, name_len = bytes[H1_NAME_LEN];
    if (h.secret_count < 1 || h.secret_count > HS_SECRETS_MAX)
        return refuse(why, "the number of secret ids is not 1 to 4");
    if (name_len < 1 || H1_FIXED + ids_len + name_len != len)
        return refuse(why, "the parts do not add up to the length");
    h.version_min = bytes[H1_VERSION_MIN];
    h.version_max = bytes[H1_VERSION_MAX];
    if (h.version_min > HS_VERSION || h.version_max < HS_VERSION)
        return base_error_set(why, NX_EBADMSG, NULL, "handshake: no common version: the other speaks %u to %u, this node %d",
                              h.version_min, h.version_max, HS_VERSION);
    h.flags = bytes[AT_FLAGS];
    h.features = wire_get32(bytes + H1_FEATURES);
    h.incarnation = wire_get64(bytes + H1_INCARNATION);
    h.wall_ms = wire_get64(bytes + H1_WALL);
    memcpy(h.nonce, bytes + H1_NONCE, HS_NONCE);
    memcpy(h.cluster_tag, bytes + H1_TAG, sizeof h.cluster_tag);
    for (unsigned i = 0; i < h.secret_count; i++)
        h.secret_ids[i] = wire_get32(bytes + H1_FIXED + 4 * i);
    err = take_node(bytes + H1_FIXED + ids_len, name_len, &h.node, why);
    if (err == 0)
        *out = h;
    return err;
}

int
hs_challenge_decode(const uint8_t *bytes, size_t len, struct hs_challenge *out, struct base_error *why)
{
    struct hs_challenge c = { .flags = 0 };
    int err = check_whole(bytes, len, HS_CHALLENGE, challenge_reserved, BASE_COUNT(challenge_reserved), why);

    if (err != 0)
        return err;
    size_t name_len = bytes[H2_NAME_LEN];
    if (name_len < 1 || H2_FIXED + name_len != len)
        return refuse(why, "the parts do not add up to the length");
    c.version = bytes[H2_VERSION];
    if (c.version != HS_VERSION)
        return base_error_set(why, NX_EBADMSG, NULL, "handshake: version %u was chosen, this node speaks %d", c.version,
                              HS_VERSION);
    c.flags = bytes[AT_FLAGS];
    c.features = wire_get32(bytes + H2_FEATURES);
    c.incarnation = wire_get64(bytes + H2_INCARNATION);
    c.secret_id = wire_get32(bytes + H2_SECRET);
    c.wall_ms = wire_get64(bytes + H2_WALL);
    memcpy(c.nonce, bytes + H2_NONCE, HS_NONCE);
    err = take_node(bytes + H2_FIXED, name_len, &c.node, why);
    if (err == 0)
        *out = c;
    return err;
}

/* ---------------------------------------------------------------- keys */

static int
hmac(const uint8_t key[static HS_KEY], const uint8_t *data, size_t len, uint8_t out[static HS_HASH])
{
    size_t made = 0;

    if (EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, HS_KEY, data, len, out, HS_HASH, &made) == NULL || made != HS_HASH)
        return NX_ESYS;
    return 0;
}

/* HKDF-Expand for one block of SHA-256: HMAC(key, label || 01). */
static int
expand(const uint8_t key[static HS_KEY], const char *label, uint8_t *out, size_t len)
{
    uint8_t info[64], block[HS_HASH];
    size_t label_len = strlen(label);

    nx_assert(label_len < sizeof info && len <= sizeof block);
    memcpy(info, label, label_len);
    info[label_len] = 1;
    int err = hmac(key, info, label_len + 1, block);
    if (err == 0)
        memcpy(out, block, len);
    OPENSSL_cleanse(block, sizeof block);
    return err;
}

static int
hash_transcript(const uint8_t *h1, size_t h1_len, const uint8_t *h2, size_t h2_len, const uint8_t *exporter,
                uint8_t out[static HS_HASH])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(ctx, h1, h1_len) == 1 &&
                EVP_DigestUpdate(ctx, h2, h2_len) == 1 && (exporter == NULL || EVP_DigestUpdate(ctx, exporter, HS_HASH) == 1) &&
                EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return done ? 0 : NX_ESYS;
}

void
hs_cluster_tag(const char *cluster, uint8_t out[static 8])
{
    static const char label[] = "noexd cluster";            /* its NUL is the separator */
    uint8_t digest[HS_HASH];

    /* Hashing needs memory only; without it a node cannot start either. */
    int err = hash_transcript((const uint8_t *)label, sizeof label, (const uint8_t *)cluster, strlen(cluster), NULL, digest);
    nx_assert(err == 0);
    memcpy(out, digest, 8);
}

int
hs_derive(const uint8_t *h1, size_t h1_len, const uint8_t *h2, size_t h2_len, const uint8_t *exporter,
          const uint8_t *secret, size_t secret_len, struct hs_keys *out, struct base_error *why)
{
    struct hs_keys k;
    size_t made = 0;

    if (secret_len < SECRET_MIN)
        return base_error_set(why, NX_EINVAL, NULL, "handshake: a secret of %zu bytes, at least %d are needed", secret_len,
                              SECRET_MIN);
    int err = hash_transcript(h1, h1_len, h2, h2_len, exporter, k.transcript);
    if (err == 0 && (EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, k.transcript, HS_HASH, secret, secret_len, k.prk, HS_HASH,
                               &made) == NULL || made != HS_HASH))
        err = NX_ESYS;
    if (err == 0)
        err = expand(k.prk, "noexd/1 hs i", k.proof_key_i, HS_KEY);
    if (err == 0)
        err = expand(k.prk, "noexd/1 hs a", k.proof_key_a, HS_KEY);
    if (err == 0)
        err = expand(k.prk, "noexd/1 data i>a", k.data_ia, HS_KEY);
    if (err == 0)
        err = expand(k.prk, "noexd/1 data a>i", k.data_ai, HS_KEY);
    if (err == 0)
        err = expand(k.prk, "noexd/1 sid", k.sid, HS_SID);
    if (err == 0)
        *out = k;
    else
        base_error_set(why, err, NULL, "handshake: the crypto library could not derive the keys");
    hs_keys_wipe(&k);
    return err;
}

int
hs_proof_i(const struct hs_keys *k, uint8_t h3[static HS_PROOF_LEN])
{
    uint8_t data[HS_HASH + HEAD];

    put_head(h3, HS_PROOF_I, 0, HS_PROOF_LEN);
    memcpy(data, k->transcript, HS_HASH);
    memcpy(data + HS_HASH, h3, HEAD);
    return hmac(k->proof_key_i, data, sizeof data, h3 + HEAD);
}

int
hs_proof_a(const struct hs_keys *k, const uint8_t h3[static HS_PROOF_LEN], uint8_t h4[static HS_PROOF_LEN])
{
    uint8_t data[HS_HASH + HS_PROOF_LEN + HEAD];

    put_head(h4, HS_PROOF_A, 0, HS_PROOF_LEN);
    memcpy(data, k->transcript, HS_HASH);
    memcpy(data + HS_HASH, h3, HS_PROOF_LEN);
    memcpy(data + HS_HASH + HS_PROOF_LEN, h4, HEAD);
    return hmac(k->proof_key_a, data, sizeof data, h4 + HEAD);
}

/* The whole message is compared, so a wrong head costs and tells the same as a wrong proof. */
static int
check_proof(int err, uint8_t expected[static HS_PROOF_LEN], const uint8_t given[static HS_PROOF_LEN])
{
    if (err == 0 && CRYPTO_memcmp(expected, given, HS_PROOF_LEN) != 0)
        err = NX_EBADMSG;
    OPENSSL_cleanse(expected, HS_PROOF_LEN);
    return err;
}

int
hs_proof_check_i(const struct hs_keys *k, const uint8_t h3[static HS_PROOF_LEN])
{
    uint8_t expected[HS_PROOF_LEN];
    return check_proof(hs_proof_i(k, expected), expected, h3);
}

int
hs_proof_check_a(const struct hs_keys *k, const uint8_t h3[static HS_PROOF_LEN], const uint8_t h4[static HS_PROOF_LEN])
{
    uint8_t expected[HS_PROOF_LEN];
    return check_proof(hs_proof_a(k, h3, expected), expected, h4);
}

int
hs_next_key(const uint8_t key[static HS_KEY], uint8_t out[static HS_KEY])
{
    return expand(key, "noexd/1 upd", out, HS_KEY);
}

void
hs_keys_wipe(struct hs_keys *k)
{
    OPENSSL_cleanse(k, sizeof *k);
}
