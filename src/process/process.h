/*
 * process.h - who runs what: the processes of one node, and what the command line asks of them.
 *
 * Lives here: the master (master.c: its loop; launch.c: everything before the first fork; children.c: fork, reap, respawn with back-off; orders.c: what they are told;
 * watchdog.c: who does not get on), what survives a fork (inherit.h), the first steps of every child (child.c), one file for each kind of process (worker.c,
 * link_worker.c, gate.c, stager.c, validator.c), staging seen from the master (staging.c, throwaway.c), pid file (pid_file.c), listening sockets (listen.c), secrets
 * (secrets.c), signals (signals.c), privileges (privileges.c).
 * Never here: protocol, policy of a room.
 * Runs in: all of them; each file says which.
 */
#ifndef NOEXD_PROCESS_PROCESS_H
#define NOEXD_PROCESS_PROCESS_H

#include <stdbool.h>

#include "base/error.h"
#include "conf/conf.h"

/* What each start settles first: descriptors 0 to 2, umask, signals that are ignored, the title. 0, or NX_ESYS: without /dev/null there is no going on. */
int  process_begin(int argc, char **argv);

/* Remember argv, so that children can change their names in `ps`. */
void process_title_init(int argc, char **argv);
void process_title_set(const char *title);

/* Run a node until it is told to stop. Returns the exit status; complaints go to stderr until the log is open, then to both. `version`: what clients are told. */
int process_serve(const struct conf *conf, const char *version);

/* noexd -t: stage and validate every module in throwaway processes; nothing of the node is changed. Exit status. */
int process_test(const struct conf *conf);

/* noexd -s SIGNAL: stop, quit, reopen. Exit status. */
int process_signal(const char *pid_file, const char *name);
/* The same with the pid file's usual place, for when the configuration cannot be read any more. */
int process_signal_by_prefix(const char *prefix, const char *name);

/* noexd keygen [FILE]: 64 hex digits of getrandom, to FILE (made, 0600, never over an existing one) or standard output. Exit status. */
int process_keygen(const char *file);

/* The throwaway processes; the master starts them with these words as argv[1]. Exit status. */
#define PROCESS_STAGER_WORD    "--stager"
#define PROCESS_VALIDATOR_WORD "--validator"
int process_stager_main(int argc, char **argv);
int process_validator_main(int argc, char **argv);

#endif
