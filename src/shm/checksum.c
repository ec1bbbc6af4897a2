/*
 * checksum.c - CRC32C (Castagnoli), by the processor's instruction where there is one.
 *
 * Lives here: both ways to compute it, and the choice.
 * Never here: what is being sealed by it.
 * Runs in: every process.
 */
#include "shm/checksum.h"

/* Four bits at a time: the reflected polynomial 0x82f63b78 divided by hand needs no table that would have to be generated. */
static const uint32_t nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t
checksum_words_plain(uint32_t crc, const uint64_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (unsigned shift = 0; shift < 64; shift += 4)
            crc = crc >> 4 ^ nibble[(crc ^ (uint32_t)(words[i] >> shift)) & 15];
    return crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t
checksum_words_sse42(uint32_t crc, const uint64_t *words, size_t count)
{
    uint64_t wide = crc;
    for (size_t i = 0; i < count; i++)
        wide = __builtin_ia32_crc32di(wide, words[i]);
    return (uint32_t)wide;
}

bool
checksum_is_fast(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}

uint32_t
checksum_words(uint32_t crc, const uint64_t *words, size_t count)
{
    return checksum_is_fast() ? checksum_words_sse42(crc, words, count) : checksum_words_plain(crc, words, count);
}

#else

bool
checksum_is_fast(void)
{
    return false;
}

uint32_t
checksum_words(uint32_t crc, const uint64_t *words, size_t count)
{
    return checksum_words_plain(crc, words, count);
}

#endif
