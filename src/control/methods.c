/*
 * methods.c - the list of what can be asked, with the parameters of each.
 *
 * Lives here: one line a method.
 * Never here: what a method does (methods_servers.c, methods_list.c, methods_names.c, methods_node.c, events.c).
 * Runs in: the gate.
 */
#include "control/control_priv.h"

#include <string.h>

#include "base/base.h"

#define P(name) PARAM_BIT(PARAM_##name)

static const struct method methods[] = {
    /* name          runs                  required                optional */
    { "status",      method_status,        0,                      0 },
    { "nodes",       method_nodes,         0,                      P(NODE) | P(UP) },
    { "workers",     method_workers,       0,                      0 },
    { "behaviors",   method_behaviors,     0,                      0 },
    { "servers",     method_servers,       0,                      0 },
    { "stats",       method_stats,         0,                      0 },
    { "names",       method_names,         0,                      P(SCOPE) | P(NODE) | P(PREFIX) | P(LIMIT) },
    { "start",       method_start,         P(BEHAVIOR),
      P(NODE) | P(NAME) | P(REGISTER) | P(ARGS) | P(SPAWN_TIMEOUT) | P(INIT_TIMEOUT) | P(PRIORITY) },
    { "call",        method_call,          P(TARGET) | P(MESSAGE), P(TIMEOUT) },
    { "cast",        method_cast,          P(TARGET) | P(MESSAGE), 0 },
    { "stop",        method_stop,          P(TARGET),              P(REASON) | P(TIMEOUT) },
    { "register",    method_register,      P(NAME) | P(TARGET),    P(SCOPE) | P(PRIORITY) },
    { "unregister",  method_unregister,    P(NAME),                P(SCOPE) },
    { "whereis",     method_whereis,       P(NAME),                P(SCOPE) },
    { "lookup",      method_lookup,        P(NAME),                P(SCOPE) },
    { "isRegistered", method_is_registered, P(NAME),               P(SCOPE) },
    { "events",      method_events,        0,                      P(NODES) | P(NAMES) },
};

const struct method *
method_find(struct rpc_slice name)
{
    for (size_t i = 0; i < BASE_COUNT(methods); i++)
        if (name.len == strlen(methods[i].name) && memcmp(name.at, methods[i].name, name.len) == 0)
            return &methods[i];
    return NULL;
}
