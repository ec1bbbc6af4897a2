/*
 * test_checksum.c - CRC32C against the published check value, and both ways against each other.
 */
#include "shm/checksum.h"
#include "shm_test.h"

UNIT(checksum, of_the_rfc_3720_pattern_is_the_published_value)
{
    uint64_t zeros[4] = { 0 }, ones[4];
    memset(ones, 0xff, sizeof ones);
    CU_ASSERT_EQUAL(~checksum_words_plain(UINT32_MAX, zeros, 4), 0x8a9136aau);
    CU_ASSERT_EQUAL(~checksum_words_plain(UINT32_MAX, ones, 4), 0x62a8ab43u);
}

UNIT(checksum, is_the_same_with_and_without_the_processors_help)
{
    uint64_t state = 42, words[40];
    for (int round = 0; round < 1000; round++) {
        for (size_t i = 0; i < 40; i++)
            words[i] = test_random(&state);
        size_t count = test_random(&state) % 41;
        CU_ASSERT_EQUAL(checksum_words(UINT32_MAX, words, count), checksum_words_plain(UINT32_MAX, words, count));
    }
    if (!checksum_is_fast())
        unit_skip("this processor has no CRC32C instruction: one way only");
}
