/*
 * fixture.h - real modules, directories to put copies of them in, and a process to throw away.
 */
#ifndef NOEXD_T_MODULE_FIXTURE_H
#define NOEXD_T_MODULE_FIXTURE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "module/module.h"

/* Absolute path of NX_TEST_MODULES/name.so, built from modules/name.c. Good for a few calls. */
const char *module_file(const char *name);
/* Its bytes; the caller frees. */
uint8_t *module_bytes(const char *name, size_t *len);

const char *fixture_begin(void);                                   /* a new directory, with `staged` in it */
void fixture_end(void);
const char *fixture_path(const char *name);                        /* DIR/name; good for a few calls */
size_t fixture_count(const char *name);                            /* files in DIR/name */
/* A file that was last written a minute ago. */
void fixture_write(const char *name, const void *bytes, size_t len, mode_t mode);
void fixture_age(const char *name, int64_t seconds);               /* ... or so many seconds ago; negative: in the future */

/* Run in a process of its own; the length of what it wrote to `fd` (at most `size` bytes, into out), and how it ended. */
size_t in_child(void (*run)(int fd, const void *arg), const void *arg, void *out, size_t size, int *status);

#endif
