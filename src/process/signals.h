/*
 * signals.h - signals as something to read: no handler of ours runs in the master, nor in -t.
 */
#ifndef NOEXD_PROCESS_SIGNALS_H
#define NOEXD_PROCESS_SIGNALS_H

#include <stdbool.h>

#include "base/error.h"

/* Block what a master is told by signals and open a descriptor for it, non-blocking, close-on-exec. SIGPIPE is ignored from here on. */
int  signals_open(int *fd, struct base_error *why);
/* The next signal that has arrived; 0 = none. */
int  signals_take(int fd);
/* Does it say: end? (SIGTERM, SIGINT, SIGQUIT) */
bool signals_is_end(int number);

/* A child of the master, once it is itself: the terminal's signals are the master's to act on, none is blocked. */
void signals_of_child(void);
/* A program that is about to be started: as if nobody had ever touched them. */
void signals_of_program(void);

#endif
