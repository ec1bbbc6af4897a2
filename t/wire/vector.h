/*
 * vector.h - the known-answer vector of the design: two hellos, a secret, and what must come out of them.
 */
#ifndef NOEXD_T_WIRE_VECTOR_H
#define NOEXD_T_WIRE_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#include "wire/handshake.h"

struct vector {
    struct hs_hello hello;
    struct hs_challenge challenge;
    uint8_t secret[32];
    uint8_t h1[HS_MAX], h2[HS_MAX];
    size_t h1_len, h2_len;
    struct hs_keys keys;
};

void vector_make(struct vector *v);                                  /* asserts that everything could be made */
void vector_hex(const char *hex, uint8_t *out, size_t len);          /* spaces are skipped; asserts exactly len bytes */
int  vector_is(const uint8_t *bytes, size_t len, const char *hex);

#endif
