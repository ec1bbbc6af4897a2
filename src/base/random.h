/*
 * random.h - random bytes from getrandom(2) and nowhere else.
 */
#ifndef NOEXD_BASE_RANDOM_H
#define NOEXD_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

int random_bytes(void *out, size_t len);             /* NX_ESYS if the kernel has no entropy: the caller must not go on */
int random_u64(uint64_t *out);                       /* never 0 */
uint32_t random_jitter(uint32_t value, uint32_t percent);   /* value +- percent; for back-off only, not for secrets */

#endif
