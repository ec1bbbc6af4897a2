/*
 * checksum.h - CRC32C over 64-bit words: finds bytes that a fault of the machine has changed. Private to this room.
 */
#ifndef NOEXD_SHM_CHECKSUM_H
#define NOEXD_SHM_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (start with ~0) over `count` words, in the byte order of this machine. */
uint32_t checksum_words(uint32_t crc, const uint64_t *words, size_t count);
/* Does the processor help? Then a whole body costs less than one cache miss, and every lookup can afford it. */
bool checksum_is_fast(void);
/* The same without the processor's help, so that a test can compare the two. */
uint32_t checksum_words_plain(uint32_t crc, const uint64_t *words, size_t count);

#endif
