/*
 * vector.c - the known-answer vector, made by the code under test.
 */
#include "vector.h"

#include <string.h>

#include "unit.h"

static void
count_up(uint8_t *out, size_t len, uint8_t from, size_t period)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(from + i % period);
}

static void
node(const char *text, struct node_id *out)
{
    CU_ASSERT_EQUAL_FATAL(node_id_parse(text, strlen(text), out, NULL), 0);
}

void
vector_make(struct vector *v)
{
    memset(v, 0, sizeof *v);
    v->hello = (struct hs_hello){
        .version_min = 1, .version_max = 1, .incarnation = 0x0102030405060708, .wall_ms = 1700000000000,
        .secret_count = 2, .secret_ids = { 7, 8 },
    };
    node("app1@127.0.0.1:4369", &v->hello.node);
    count_up(v->hello.nonce, HS_NONCE, 0xa0, 16);
    hs_cluster_tag("prod", v->hello.cluster_tag);
    v->challenge = (struct hs_challenge){
        .version = 1, .secret_id = 7, .incarnation = 0x1112131415161718, .wall_ms = 1700000000005,
    };
    node("app2@127.0.0.1:4370", &v->challenge.node);
    count_up(v->challenge.nonce, HS_NONCE, 0x50, 16);
    count_up(v->secret, sizeof v->secret, 0, 32);
    v->h1_len = hs_hello_encode(&v->hello, v->h1);
    v->h2_len = hs_challenge_encode(&v->challenge, v->h2);
    CU_ASSERT_EQUAL_FATAL(hs_derive(v->h1, v->h1_len, v->h2, v->h2_len, NULL, v->secret, sizeof v->secret, &v->keys, NULL), 0);
}

void
vector_hex(const char *hex, uint8_t *out, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t nibbles = 0;

    for (; *hex != '\0'; hex++) {
        if (*hex == ' ')
            continue;
        const char *d = strchr(digits, *hex);
        CU_ASSERT_FATAL(d != NULL && nibbles < 2 * len);
        out[nibbles / 2] = (uint8_t)(out[nibbles / 2] << 4 | (d - digits));
        nibbles++;
    }
    CU_ASSERT_EQUAL_FATAL(nibbles, 2 * len);
}

int
vector_is(const uint8_t *bytes, size_t len, const char *hex)
{
    uint8_t expected[512];
    CU_ASSERT_FATAL(len <= sizeof expected);
    vector_hex(hex, expected, len);
    return memcmp(bytes, expected, len) == 0;
}
