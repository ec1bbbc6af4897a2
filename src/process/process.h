/*
 * process.h - who runs what: the processes of one node, and what the command line asks of them.
 *
 * Lives here: the master (master.c: its loop; children.c: fork, reap, respawn with back-off, orders; launch.c: everything before the first fork; watchdog.c),
 * what survives a fork (inherit.h), the first steps of every child (child.c), one file for each kind of process (worker.c, link_worker.c, gate.c, stager.c,
 * validator.c), pid file and signals (pid_file.c), listening sockets (listen.c), secrets (secrets.c), staging seen from the master (staging.c).
 * Never here: protocol, policy of a room.
 * Runs in: all of them; each file says which.
 */
#ifndef NOEXD_PROCESS_PROCESS_H
#define NOEXD_PROCESS_PROCESS_H

#include <stdbool.h>

#include "base/error.h"
#include "conf/conf.h"

/* Remember argv, so that children can change their names in `ps`. Call first. */
void process_title_init(int argc, char **argv);
void process_title_set(const char *title);

/* Run a node until it is told to stop. Returns the exit status; complaints go to stderr until the log is open, then to both. */
int process_serve(struct conf *conf);

/* noexd -t: stage and validate every module in throwaway processes; nothing of the node is changed. Exit status. */
int process_test(const struct conf *conf);

/* noexd -s SIGNAL: stop, quit, reopen. Exit status. */
int process_signal(const struct conf *conf, const char *name);

/* noexd keygen [FILE]: 64 hex digits of getrandom, to FILE (made, 0600, never over an existing one) or standard output. Exit status. */
int process_keygen(const char *file);

/* The throwaway processes; the master starts them with these words as argv[1]. Exit status. */
#define PROCESS_STAGER_WORD    "--stager"
#define PROCESS_VALIDATOR_WORD "--validator"
int process_stager_main(int argc, char **argv);
int process_validator_main(int argc, char **argv);

#endif
