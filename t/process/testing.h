/*
 * testing.h - a place for files, and processes of this very program, for the tests of src/process.
 *
 * This program is what /proc/self/exe names here, so it also plays the stager, the validator, and throwaway processes with a script (testing.c).
 */
#ifndef NOEXD_T_PROCESS_TESTING_H
#define NOEXD_T_PROCESS_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "unit.h"

/* A path below a directory that is made at the first use and removed with all that is in it when the program ends. In one of a few static places. */
const char *testing_path(const char *name);
/* A file of these bytes and mode there. */
const char *testing_file(const char *name, const char *text, size_t len, mode_t mode);
bool testing_exists(const char *path);

/* Fork, run fn(arg) in the child, which exits with what it returns. */
pid_t testing_fork(int (*fn)(void *arg), void *arg);
/* Its exit status; 128 + number for a signal. */
int   testing_wait(pid_t pid);
/* A child's line to its parent: it is where it should be. */
void  testing_tell(int fd);
bool  testing_hear(int fd);

/* Run as a throwaway process with this word as argv[1]: see testing.c. */
#define TESTING_WORD "--script"

#endif
