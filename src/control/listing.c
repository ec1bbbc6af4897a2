/*
 * listing.c - what each listing of the gate looks like to a person.
 *
 * Lives here: columns and their order.
 * Never here: how a cell or a table is printed; asking.
 * Runs in: noexctl.
 */
#include "control/listing.h"

#include <string.h>

#include "base/base.h"
#include "control/print.h"
#include "value/value.h"

static const struct print_column status[] = {
    { "node", "node", 0 }, { "version", "version", 0 }, { "cluster", "cluster", 0 }, { "incarnation", "incarnation", 0 },
    { "startedAt", "started", PRINT_TIME }, { "uptimeMs", "uptime", PRINT_DURATION }, { "workers", "workers", 0 },
    { "workersReady", "workers ready", 0 }, { "servers", "servers", 0 }, { "behaviors", "behaviors", 0 },
    { "nodesKnown", "nodes known", 0 },
    { "nodesUp", "nodes up", 0 }, { "namesLocal", "names, local", 0 }, { "namesGlobal", "names, global", 0 },
    { "namesRemote", "of other nodes", 0 }, { "clients", "clients", 0 },
};
static const struct print_column nodes[] = {
    { "id", "NODE", 0 }, { "status", "STATUS", 0 }, { "reason", "REASON", 0 }, { "servers", "SERVERS", 0 },
    { "uptimeMs", "UPTIME", PRINT_DURATION },
    { "lastHeartbeatMs", "LAST HEARTBEAT", PRINT_TIME }, { "messagesSent", "SENT", 0 }, { "messagesReceived", "RECEIVED", 0 },
};
static const struct print_column workers[] = {
    { "role", "ROLE", 0 }, { "slot", "SLOT", 0 }, { "state", "STATE", 0 }, { "pid", "PID", 0 }, { "cpu", "CPU", 0 },
    { "servers", "SERVERS", 0 },
    { "messages", "MESSAGES", 0 }, { "callsPending", "PENDING", 0 }, { "memoryBytes", "MEMORY", PRINT_BYTES },
    { "restarts", "RESTARTS", 0 },
    { "uptimeMs", "UPTIME", PRINT_DURATION },
};
static const struct print_column behaviors[] = {
    { "name", "BEHAVIOR", 0 }, { "version", "VERSION", 0 }, { "hash", "HASH", PRINT_SHORT }, { "live", "LIVE", 0 },
    { "starts", "STARTS", 0 },
    { "crashes", "CRASHES", 0 }, { "messages", "MESSAGES", 0 }, { "file", "FILE", 0 },
};
static const struct print_column servers[] = {
    { "ref", "REF", 0 }, { "behavior", "BEHAVIOR", 0 }, { "names", "NAMES", 0 }, { "state", "STATE", 0 },
    { "queued", "QUEUED", 0 },
    { "messages", "MESSAGES", 0 },
};
static const struct print_column names[] = {
    { "name", "NAME", 0 }, { "scope", "SCOPE", 0 }, { "ref", "REF", 0 }, { "priority", "PRIORITY", 0 },
    { "registeredAt", "REGISTERED", PRINT_TIME },
};

/* rows: the key of the array in the result; NULL = the result itself is the listing. */
enum shape { SHAPE_TABLE, SHAPE_RECORD, SHAPE_MAP };
static const struct listing {
    const char *name, *rows;
    enum shape shape;
    const struct print_column *columns;
    size_t count;
} listings[] = {
    { "status", NULL, SHAPE_RECORD, status, BASE_COUNT(status) },
    { "nodes", NULL, SHAPE_TABLE, nodes, BASE_COUNT(nodes) },
    { "workers", NULL, SHAPE_TABLE, workers, BASE_COUNT(workers) },
    { "behaviors", NULL, SHAPE_TABLE, behaviors, BASE_COUNT(behaviors) },
    { "servers", "servers", SHAPE_TABLE, servers, BASE_COUNT(servers) },
    { "names", "names", SHAPE_TABLE, names, BASE_COUNT(names) },
    { "stats", NULL, SHAPE_MAP, NULL, 0 },
};

static int
print_one(FILE *out, const struct listing *l, nx_value v)
{
    switch (l->shape) {
    case SHAPE_TABLE: return print_table(out, v, l->columns, l->count);
    case SHAPE_RECORD: return print_record(out, v, l->columns, l->count);
    case SHAPE_MAP: break;
    }
    return print_map(out, v);
}

int
listing_print(FILE *out, const char *name, nx_value result, bool is_json)
{
    for (size_t i = 0; i < BASE_COUNT(listings); i++) {
        const struct listing *l = &listings[i];
        if (strcmp(l->name, name) != 0)
            continue;
        nx_value v = l->rows != NULL ? value_get(result, l->rows) : result;
        return is_json ? print_json(out, v) : print_one(out, l, v);
    }
    return NX_EINVAL;
}

bool
listing_is_partial(nx_value result, char *text, size_t size, bool *is_failure)
{
    nx_value missing = value_get(result, "missing");
    int worker = -1, is_snapshot = 1;
    const char *why = "";
    *is_failure = value_count(missing) > 0;
    if (*is_failure) {
        (void)nx_unpack(value_at(missing, 0), "{s:i,s:s}", "worker", &worker, "text", &why);
        (void)snprintf(text, size, "not complete: worker %d: %s%s", worker, why, value_count(missing) > 1 ? " (and others)" : "");
        return true;
    }
    if (!value_is_map(result) || nx_unpack(result, "{s?b}", "isSnapshot", &is_snapshot) != 0 || is_snapshot)
        return false;
    (void)snprintf(text, size, "names changed while they were listed: not a snapshot");
    return true;
}
