/*
 * testing.h - what the tests of pipes share: numbered messages whose bodies can be checked, and counting of descriptors.
 */
#ifndef NOEXD_T_PIPE_TESTING_H
#define NOEXD_T_PIPE_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "wire/envelope.h"

/* Message number n with a body of len bytes: both can be told from the message itself. */
struct envelope testing_envelope(uint64_t n, uint8_t kind, uint32_t len);
const uint8_t *testing_body(uint64_t n, uint32_t len);              /* valid until the next call; len up to 2 MiB */
bool testing_is_whole(const struct envelope *e, const uint8_t *body);
/* Appends the bytes of the message as they stand on a pipe; returns their number. */
size_t testing_encode(uint64_t n, uint8_t kind, uint32_t len, uint8_t *out);

int  testing_fds(void);                                             /* open descriptors of this process */
void testing_pipe(int fds[2]);                                      /* non-blocking, close-on-exec */
struct loop *testing_loop(void);                                    /* also ignores SIGPIPE */
bool testing_reap(int pid);                                         /* waits; true = exited with 0 */

#endif
