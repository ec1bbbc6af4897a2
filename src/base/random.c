/*
 * random.c - random bytes from getrandom(2).
 *
 * Lives here: bytes, a 64-bit number, jitter.
 * Never here: a generator of our own; keys and nonces come from the kernel or not at all.
 * Runs in: every process.
 */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

#include "noex/errors.h"

int
random_bytes(void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return NX_ESYS;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int
random_u64(uint64_t *out)
{
    uint64_t value = 0;
    while (value == 0) {
        int err = random_bytes(&value, sizeof value);
        if (err != 0)
            return err;
    }
    *out = value;
    return 0;
}

uint32_t
random_jitter(uint32_t value, uint32_t percent)
{
    uint64_t spread = (uint64_t)value * (percent < 100 ? percent : 100) / 100;
    uint64_t draw;
    if (spread == 0 || random_bytes(&draw, sizeof draw) != 0)
        return value;                                 /* back-off without jitter is better than no back-off */
    uint64_t result = value - spread + draw % (2 * spread + 1);
    return result < UINT32_MAX ? (uint32_t)result : UINT32_MAX;
}
