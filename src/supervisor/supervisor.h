/*
 * supervisor.h - GenServers that keep other GenServers running, built on the public functions alone.
 *
 * Lives here: the behavior "supervisor" (supervisor.c): strategies, restart types, restart intensity, ordered shutdown.
 * Never here: anything that a user's module could not do.
 * Runs in: workers.
 *
 * Its init takes {name, strategy: "one_for_one"|"one_for_all"|"rest_for_one", maxRestarts, withinMs, children: [{label, behavior, args, scope, name,
 * priority, restart: "permanent"|"transient"|"temporary", shutdownMs}]}. Calls: {type:"children"} lists them.
 */
#ifndef NOEXD_SUPERVISOR_SUPERVISOR_H
#define NOEXD_SUPERVISOR_SUPERVISOR_H

#include <noex/noex.h>

/* The behavior, for modules_add_builtin. */
const nx_behavior *supervisor_behavior(void);

#endif
