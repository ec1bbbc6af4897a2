/*
 * base.h - the ground floor: what every room may use and nobody needs to know noexd for.
 *
 * Lives here: error values (error.h), the log (log.h), the clock (clock.h), random bytes (random.h), a growing buffer
 * (buf.h), an intrusive list (list.h), an intrusive heap (heap.h), a hash table (table.h), UTF-8 (utf8.h), and nx_assert.
 * Never here: processes, sockets, messages, values.
 * Runs in: every process.
 */
#ifndef NOEXD_BASE_BASE_H
#define NOEXD_BASE_BASE_H

#include <stddef.h>

/* Our own promises. Stays on in release builds: a broken invariant ends this process, loudly, before it does harm.
 * Never used on anything that came from outside (network, pipe, module, file): that is checked and refused. */
#define nx_assert(cond) ((cond) ? (void)0 : base_abort(#cond, __FILE__, __LINE__))

_Noreturn void base_abort(const char *cond, const char *file, int line);

/* The struct that holds `member` at `ptr`. */
#define base_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define BASE_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
