/*
 * test_handshake.c - the four messages and their keys: the known-answer vector, every rule, each cut, each flipped bit.
 */
#include "wire/handshake.h"

#include <string.h>

#include "unit.h"
#include "vector.h"
#include "wire/wire.h"

UNIT(handshake, the_known_answer_vector_is_reproduced)
{
    struct vector v;
    uint8_t h3[HS_PROOF_LEN], h4[HS_PROOF_LEN], next[HS_KEY];

    vector_make(&v);
    CU_ASSERT_EQUAL(v.h1_len, 123);
    CU_ASSERT_EQUAL(v.h2_len, 107);
    CU_ASSERT_TRUE(vector_is(v.keys.transcript, 32, "959fe8ebcc179dba9172520075680cde0558fefd9feafefc7af384e03c4f506c"));
    CU_ASSERT_TRUE(vector_is(v.keys.prk, 32, "f23b80880a673bfa70e21407f036f9432be692b90ba907d143d188b1ed83fa48"));
    CU_ASSERT_TRUE(vector_is(v.keys.data_ia, 32, "a9331a6716c92fda43febcbdfc7a75cbf183f500f925df93eb5f17dcd40d8234"));
    CU_ASSERT_TRUE(vector_is(v.keys.data_ai, 32, "db637b7048eed223fa7d1e9158438fe6d0b2b071f9a3c8aa90439b7f9d863bbe"));
    CU_ASSERT_TRUE(vector_is(v.keys.sid, 16, "5fdee829da060de57bbf4948177de116"));
    CU_ASSERT_EQUAL(hs_proof_i(&v.keys, h3), 0);
    CU_ASSERT_TRUE(vector_is(h3, HS_PROOF_LEN, "4e584431 03 00 0028 2cd7fd351a090f9b1c746459e67b6d6ef66d16f8a9457f8866c54d7e2297e5bd"));
    CU_ASSERT_EQUAL(hs_proof_a(&v.keys, h3, h4), 0);
    CU_ASSERT_TRUE(vector_is(h4, HS_PROOF_LEN, "4e584431 04 00 0028 a618df8782f7fc013eb896dd6bebaa20baa9a948f412b20f331d94cf235e66ee"));
    CU_ASSERT_EQUAL(hs_next_key(v.keys.data_ia, next), 0);
    CU_ASSERT_TRUE(vector_is(next, 32, "4651869506529e3baa7a6cc0c105476c675aa8cf47bc7fa28657d4a035525738"));
    CU_ASSERT_EQUAL(hs_proof_check_i(&v.keys, h3), 0);
    CU_ASSERT_EQUAL(hs_proof_check_a(&v.keys, h3, h4), 0);
}

UNIT(handshake, hello_stands_at_the_offsets_of_the_design)
{
    struct vector v;
    vector_make(&v);
    CU_ASSERT_TRUE(vector_is(v.h1, 24, "4e584431 01 00 007b 01 01 0000 00000000 0102030405060708"));
    CU_ASSERT_EQUAL(memcmp(v.h1 + 24, v.hello.nonce, 32), 0);
    CU_ASSERT_EQUAL(memcmp(v.h1 + 56, v.hello.cluster_tag, 8), 0);
    CU_ASSERT_EQUAL(wire_get64(v.h1 + 64), 1700000000000);
    CU_ASSERT_TRUE(vector_is(v.h1 + 72, 32, "00000000000000000000000000000000 02 13 000000000000 00000007 00000008"));
    CU_ASSERT_EQUAL(memcmp(v.h1 + 104, "app1@127.0.0.1:4369", 19), 0);
}

UNIT(handshake, challenge_stands_at_the_offsets_of_the_design)
{
    struct vector v;
    vector_make(&v);
    CU_ASSERT_TRUE(vector_is(v.h2, 24, "4e584431 02 00 006b 01 000000 00000000 1112131415161718"));
    CU_ASSERT_EQUAL(memcmp(v.h2 + 24, v.challenge.nonce, 32), 0);
    CU_ASSERT_EQUAL(wire_get32(v.h2 + 56), 7);
    CU_ASSERT_EQUAL(wire_get64(v.h2 + 60), 1700000000005);
    CU_ASSERT_TRUE(vector_is(v.h2 + 68, 20, "00000000000000000000000000000000 13 000000"));
    CU_ASSERT_EQUAL(memcmp(v.h2 + 88, "app2@127.0.0.1:4370", 19), 0);
}

UNIT(handshake, what_was_encoded_decodes_to_the_same)
{
    struct vector v;
    struct hs_hello h;
    struct hs_challenge c;

    vector_make(&v);
    v.hello.flags = HS_FLAG_TLS;
    v.hello.features = 0xdeadbeef;
    v.hello.version_min = 0, v.hello.version_max = 9;
    v.h1_len = hs_hello_encode(&v.hello, v.h1);
    CU_ASSERT_EQUAL_FATAL(hs_hello_decode(v.h1, v.h1_len, &h, NULL), 0);
    CU_ASSERT_EQUAL(h.flags, HS_FLAG_TLS);
    CU_ASSERT_EQUAL(h.version_min, 0);
    CU_ASSERT_EQUAL(h.version_max, 9);
    CU_ASSERT_EQUAL(h.features, 0xdeadbeef);
    CU_ASSERT_EQUAL(h.incarnation, v.hello.incarnation);
    CU_ASSERT_EQUAL(h.wall_ms, v.hello.wall_ms);
    CU_ASSERT_EQUAL(h.secret_count, 2);
    CU_ASSERT_EQUAL(h.secret_ids[0], 7);
    CU_ASSERT_EQUAL(h.secret_ids[1], 8);
    CU_ASSERT_EQUAL(memcmp(h.nonce, v.hello.nonce, HS_NONCE), 0);
    CU_ASSERT_EQUAL(memcmp(h.cluster_tag, v.hello.cluster_tag, 8), 0);
    CU_ASSERT_STRING_EQUAL(h.node.text, "app1@127.0.0.1:4369");
    CU_ASSERT_EQUAL(h.node.port, 4369);

    CU_ASSERT_EQUAL_FATAL(hs_challenge_decode(v.h2, v.h2_len, &c, NULL), 0);
    CU_ASSERT_EQUAL(c.version, 1);
    CU_ASSERT_EQUAL(c.secret_id, 7);
    CU_ASSERT_EQUAL(c.incarnation, v.challenge.incarnation);
    CU_ASSERT_EQUAL(c.wall_ms, v.challenge.wall_ms);
    CU_ASSERT_EQUAL(memcmp(c.nonce, v.challenge.nonce, HS_NONCE), 0);
    CU_ASSERT_STRING_EQUAL(c.node.text, "app2@127.0.0.1:4370");
}

UNIT(handshake, the_longest_and_the_shortest_message_fit)
{
    struct vector v;
    struct hs_hello h;
    struct hs_challenge c;

    vector_make(&v);
    memset(v.hello.node.text, 'a', 64);
    v.hello.node.text[64] = '@';
    for (size_t i = 65; i < 65 + 183; i++)
        v.hello.node.text[i] = i % 50 == 49 ? '.' : 'b';
    memcpy(v.hello.node.text + 65 + 183, ":65535", 7);
    v.hello.secret_count = 4;
    v.h1_len = hs_hello_encode(&v.hello, v.h1);
    CU_ASSERT_EQUAL(v.h1_len, 366);               /* a node id reaches 254 of the 255 bytes that the layout allows */
    CU_ASSERT_EQUAL(hs_hello_decode(v.h1, v.h1_len, &h, NULL), 0);
    memcpy(v.challenge.node.text, "a@b:1", 6);
    v.h2_len = hs_challenge_encode(&v.challenge, v.h2);
    CU_ASSERT_EQUAL(hs_challenge_decode(v.h2, v.h2_len, &c, NULL), 0);
    CU_ASSERT_EQUAL(c.node.port, 1);
}

UNIT(handshake, length_is_known_from_the_first_eight_bytes)
{
    struct vector v;
    uint8_t h3[HS_PROOF_LEN];

    vector_make(&v);
    CU_ASSERT_EQUAL(hs_proof_i(&v.keys, h3), 0);
    for (size_t len = 0; len < 8; len++) {
        CU_ASSERT_EQUAL(hs_length(v.h1, len, HS_HELLO, NULL), 0);
        CU_ASSERT_EQUAL(hs_length(h3, len, HS_PROOF_I, NULL), 0);
    }
    for (size_t len = 8; len <= v.h1_len; len++)
        CU_ASSERT_EQUAL(hs_length(v.h1, len, HS_HELLO, NULL), 123);
    CU_ASSERT_EQUAL(hs_length(v.h2, 8, HS_CHALLENGE, NULL), 107);
    CU_ASSERT_EQUAL(hs_length(h3, 8, HS_PROOF_I, NULL), 40);
}

UNIT(handshake, a_stranger_is_known_by_his_first_wrong_byte)
{
    static const char *const strangers[] = { "\xff\xff\xff\xff", "GET / HTTP/1.1\r\n", "\x16\x03\x01\x02", "SSH-2.0-", "NXD2", "NY" };
    struct base_error why;
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        CU_ASSERT_EQUAL(hs_length((const uint8_t *)strangers[i], strlen(strangers[i]), HS_HELLO, &why), NX_EBADMSG);
    CU_ASSERT_EQUAL(hs_length((const uint8_t *)"NXD1\x02", 5, HS_HELLO, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "type 2, expected 1"));
    CU_ASSERT_EQUAL(hs_length((const uint8_t *)"\0\0\0\x82\x10", 5, HS_PROOF_I, &why), NX_EBADMSG);      /* a data frame instead of H3 */
}

UNIT(handshake, a_length_out_of_range_is_refused)
{
    static const struct { uint8_t type; uint16_t length; int is_fine; } cases[] = {
        { HS_HELLO, 0, 0 }, { HS_HELLO, 5, 0 }, { HS_HELLO, 100, 0 }, { HS_HELLO, 101, 1 }, { HS_HELLO, 367, 1 }, { HS_HELLO, 368, 0 },
        { HS_HELLO, 65535, 0 }, { HS_CHALLENGE, 88, 0 }, { HS_CHALLENGE, 89, 1 }, { HS_CHALLENGE, 343, 1 }, { HS_CHALLENGE, 344, 0 },
        { HS_PROOF_I, 31 + 8, 0 }, { HS_PROOF_I, 40, 1 }, { HS_PROOF_I, 41, 0 }, { HS_PROOF_A, 39, 0 }, { HS_PROOF_A, 40, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t head[8] = { 'N', 'X', 'D', '1', cases[i].type, 0, (uint8_t)(cases[i].length >> 8), (uint8_t)cases[i].length };
        CU_ASSERT_EQUAL(hs_length(head, 8, cases[i].type, NULL), cases[i].is_fine ? cases[i].length : NX_EBADMSG);
    }
}

UNIT(handshake, a_message_cut_at_any_length_or_with_a_byte_behind_it_is_refused)
{
    struct vector v;
    struct hs_hello h;
    struct hs_challenge c;

    vector_make(&v);
    for (size_t len = 0; len <= v.h1_len + 1; len++)
        if (len != v.h1_len)
            CU_ASSERT_EQUAL(hs_hello_decode(v.h1, len, &h, NULL), NX_EBADMSG);
    for (size_t len = 0; len <= v.h2_len + 1; len++)
        if (len != v.h2_len)
            CU_ASSERT_EQUAL(hs_challenge_decode(v.h2, len, &c, NULL), NX_EBADMSG);
}

UNIT(handshake, each_reserved_bit_set_is_refused)
{
    static const struct { uint16_t at, len; } hello[] = { { 10, 2 }, { 72, 16 }, { 90, 6 } },
                                                   challenge[] = { { 9, 3 }, { 68, 16 }, { 85, 3 } };
    struct vector v;
    struct hs_hello h;
    struct hs_challenge c;
    struct base_error why;

    vector_make(&v);
    for (size_t r = 0; r < 3; r++) {
        for (unsigned bit = 0; bit < hello[r].len * 8u; bit++) {
            uint8_t *byte = v.h1 + hello[r].at + bit / 8;
            *byte ^= (uint8_t)(1u << bit % 8);
            CU_ASSERT_EQUAL(hs_hello_decode(v.h1, v.h1_len, &h, &why), NX_EBADMSG);
            CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "reserved"));
            *byte = 0;
        }
        for (unsigned bit = 0; bit < challenge[r].len * 8u; bit++) {
            uint8_t *byte = v.h2 + challenge[r].at + bit / 8;
            *byte ^= (uint8_t)(1u << bit % 8);
            CU_ASSERT_EQUAL(hs_challenge_decode(v.h2, v.h2_len, &c, &why), NX_EBADMSG);
            CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "reserved"));
            *byte = 0;
        }
    }
    for (unsigned bit = 1; bit < 8; bit++) {
        v.h1[5] = v.h2[5] = (uint8_t)(1u << bit);
        CU_ASSERT_EQUAL(hs_hello_decode(v.h1, v.h1_len, &h, &why), NX_EBADMSG);
        CU_ASSERT_EQUAL(hs_challenge_decode(v.h2, v.h2_len, &c, &why), NX_EBADMSG);
    }
    v.h1[5] = v.h2[5] = 0;
    CU_ASSERT_EQUAL(hs_hello_decode(v.h1, v.h1_len, &h, &why), 0);
    CU_ASSERT_EQUAL(hs_challenge_decode(v.h2, v.h2_len, &c, &why), 0);
}

/* Set one byte, expect a refusal that says `part`, put it back. */
static void
refuses_h1(struct vector *v, size_t at, uint8_t value, const char *part)
{
    struct hs_hello h;
    struct base_error why;
    uint8_t before = v->h1[at];
    v->h1[at] = value;
    CU_ASSERT_EQUAL(hs_hello_decode(v->h1, v->h1_len, &h, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    v->h1[at] = before;
}

static void
refuses_h2(struct vector *v, size_t at, uint8_t value, const char *part)
{
    struct hs_challenge c;
    struct base_error why;
    uint8_t before = v->h2[at];
    v->h2[at] = value;
    CU_ASSERT_EQUAL(hs_challenge_decode(v->h2, v->h2_len, &c, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    v->h2[at] = before;
}

UNIT(handshake, parts_that_do_not_add_up_are_refused)
{
    struct vector v;
    vector_make(&v);
    refuses_h1(&v, 88, 0, "1 to 4");
    refuses_h1(&v, 88, 5, "1 to 4");
    refuses_h1(&v, 88, 255, "1 to 4");
    refuses_h1(&v, 88, 1, "add up");
    refuses_h1(&v, 88, 3, "add up");
    refuses_h1(&v, 89, 0, "add up");
    refuses_h1(&v, 89, 18, "add up");
    refuses_h1(&v, 89, 20, "add up");
    refuses_h1(&v, 89, 255, "add up");
    refuses_h1(&v, 7, 124, "as long as it says");
    refuses_h2(&v, 84, 0, "add up");
    refuses_h2(&v, 84, 20, "add up");
    refuses_h2(&v, 84, 255, "add up");
}

UNIT(handshake, a_bad_node_id_is_refused)
{
    struct vector v;
    vector_make(&v);
    refuses_h1(&v, 104, '\0', "name");
    refuses_h1(&v, 104, '\n', "name");
    refuses_h1(&v, 105, '%', "name");
    refuses_h1(&v, 105, 0xff, "name");
    refuses_h1(&v, 105, '.', "name");
    refuses_h2(&v, 88, '1', "name");
    refuses_h2(&v, 106, 'x', "port");
}

static void
rename_hello(struct vector *v, const char *text)
{
    (void)strcpy(v->hello.node.text, text);
    v->h1_len = hs_hello_encode(&v->hello, v->h1);
}

UNIT(handshake, a_node_id_that_is_not_canonical_or_a_wildcard_is_refused)
{
    struct vector v;
    struct hs_hello h;
    struct base_error why;
    vector_make(&v);
    rename_hello(&v, "app1@[2001:DB8::1]:4369");
    CU_ASSERT_EQUAL(hs_hello_decode(v.h1, v.h1_len, &h, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "canonical"));
    rename_hello(&v, "app1@0.0.0.0:4369");
    CU_ASSERT_EQUAL(hs_hello_decode(v.h1, v.h1_len, &h, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "wildcard"));
    rename_hello(&v, "app1@[2001:db8::1]:4369");
    CU_ASSERT_EQUAL(hs_hello_decode(v.h1, v.h1_len, &h, &why), 0);
}

UNIT(handshake, versions_without_a_common_one_are_refused)
{
    struct vector v;
    vector_make(&v);
    refuses_h1(&v, 8, 2, "no common version");
    refuses_h1(&v, 9, 0, "no common version");
    v.h1[9] = 5;
    refuses_h1(&v, 8, 2, "no common version");
    refuses_h2(&v, 8, 0, "version 0 was chosen");
    refuses_h2(&v, 8, 2, "version 2 was chosen");
}

UNIT(handshake, each_bit_of_the_transcript_changes_the_keys_and_the_proofs)
{
    struct vector v;
    struct hs_keys k;
    uint8_t h3[HS_PROOF_LEN], h4[HS_PROOF_LEN], mine[HS_PROOF_LEN];

    vector_make(&v);
    CU_ASSERT_EQUAL(hs_proof_i(&v.keys, h3), 0);
    CU_ASSERT_EQUAL(hs_proof_a(&v.keys, h3, h4), 0);
    for (size_t bit = 0; bit < (v.h1_len + v.h2_len) * 8; bit++) {
        uint8_t *byte = bit / 8 < v.h1_len ? v.h1 + bit / 8 : v.h2 + bit / 8 - v.h1_len;
        *byte ^= (uint8_t)(1u << bit % 8);
        CU_ASSERT_EQUAL(hs_derive(v.h1, v.h1_len, v.h2, v.h2_len, NULL, v.secret, sizeof v.secret, &k, NULL), 0);
        CU_ASSERT_EQUAL(hs_proof_check_i(&k, h3), NX_EBADMSG);
        CU_ASSERT_EQUAL(hs_proof_check_a(&k, h3, h4), NX_EBADMSG);
        CU_ASSERT_EQUAL(hs_proof_i(&k, mine), 0);
        CU_ASSERT_EQUAL(hs_proof_check_i(&v.keys, mine), NX_EBADMSG);
        CU_ASSERT_NOT_EQUAL(memcmp(k.data_ia, v.keys.data_ia, HS_KEY), 0);
        CU_ASSERT_NOT_EQUAL(memcmp(k.data_ai, v.keys.data_ai, HS_KEY), 0);
        *byte ^= (uint8_t)(1u << bit % 8);
    }
}

UNIT(handshake, each_bit_of_the_proofs_is_checked)
{
    struct vector v;
    uint8_t h3[HS_PROOF_LEN], h4[HS_PROOF_LEN];

    vector_make(&v);
    CU_ASSERT_EQUAL(hs_proof_i(&v.keys, h3), 0);
    CU_ASSERT_EQUAL(hs_proof_a(&v.keys, h3, h4), 0);
    for (unsigned bit = 0; bit < HS_PROOF_LEN * 8; bit++) {
        h3[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CU_ASSERT_EQUAL(hs_proof_check_i(&v.keys, h3), NX_EBADMSG);
        CU_ASSERT_EQUAL(hs_proof_check_a(&v.keys, h3, h4), NX_EBADMSG);
        h3[bit / 8] ^= (uint8_t)(1u << bit % 8);
        h4[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CU_ASSERT_EQUAL(hs_proof_check_a(&v.keys, h3, h4), NX_EBADMSG);
        h4[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    memset(h3 + 8, 0, 32);
    CU_ASSERT_EQUAL(hs_proof_check_i(&v.keys, h3), NX_EBADMSG);
}

UNIT(handshake, one_proof_is_not_the_other)
{
    struct vector v;
    uint8_t h3[HS_PROOF_LEN], back[HS_PROOF_LEN];

    vector_make(&v);
    CU_ASSERT_EQUAL(hs_proof_i(&v.keys, h3), 0);
    memcpy(back, h3, sizeof back);
    back[4] = HS_PROOF_A;
    CU_ASSERT_EQUAL(hs_proof_check_a(&v.keys, h3, back), NX_EBADMSG);
    CU_ASSERT_NOT_EQUAL(memcmp(v.keys.data_ia, v.keys.data_ai, HS_KEY), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(v.keys.proof_key_i, v.keys.proof_key_a, HS_KEY), 0);
}

UNIT(handshake, another_secret_or_another_tls_session_gives_other_keys)
{
    struct vector v;
    struct hs_keys plain, tls, other;
    uint8_t exporter[32] = { 1 };

    vector_make(&v);
    plain = v.keys;
    CU_ASSERT_EQUAL(hs_derive(v.h1, v.h1_len, v.h2, v.h2_len, exporter, v.secret, sizeof v.secret, &tls, NULL), 0);
    exporter[31] = 1;
    CU_ASSERT_EQUAL(hs_derive(v.h1, v.h1_len, v.h2, v.h2_len, exporter, v.secret, sizeof v.secret, &other, NULL), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(plain.data_ia, tls.data_ia, HS_KEY), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(other.data_ia, tls.data_ia, HS_KEY), 0);
    v.secret[31] ^= 1;
    CU_ASSERT_EQUAL(hs_derive(v.h1, v.h1_len, v.h2, v.h2_len, NULL, v.secret, sizeof v.secret, &other, NULL), 0);
    CU_ASSERT_EQUAL(memcmp(plain.transcript, other.transcript, HS_HASH), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(plain.prk, other.prk, HS_HASH), 0);
}

UNIT(handshake, a_secret_of_31_bytes_is_refused)
{
    struct vector v;
    struct base_error why;
    vector_make(&v);
    CU_ASSERT_EQUAL(hs_derive(v.h1, v.h1_len, v.h2, v.h2_len, NULL, v.secret, 31, &v.keys, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "31 bytes"));
}

UNIT(handshake, clusters_have_their_tags_and_wiped_keys_are_gone)
{
    uint8_t a[8], b[8], none[8];
    struct vector v;
    static const struct hs_keys zero;

    hs_cluster_tag("prod", a);
    hs_cluster_tag("test", b);
    hs_cluster_tag("", none);
    CU_ASSERT_NOT_EQUAL(memcmp(a, b, 8), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(none, b, 8), 0);
    vector_make(&v);
    hs_keys_wipe(&v.keys);
    CU_ASSERT_EQUAL(memcmp(&v.keys, &zero, sizeof zero), 0);
}
