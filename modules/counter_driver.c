/*
 * counter_driver.c - the two programs of the distributed counter: made of timers, calls and event subscriptions, nothing else.
 *
 * Lives here: behavior "counter_driver". Args: {role: "primary" | "secondary", name?: registered name ("shared-counter")}.
 *   primary     starts the behavior "counter" under the global name (or adopts the one that is there), then each second reads it and adds 1
 *   secondary   each 2 seconds finds the global name, reads the counter and adds 5
 * Both tell in the log what happens in the cluster. Calls: {type: "stats"} -> {role, increments, sum, failures, paused};
 * {type: "pause"} stops the timer, so that a reader can compare the sums with the counter.
 */
#include <noex/noex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRIMARY_MS = 1000, PRIMARY_ADDS = 1, SECONDARY_MS = 2000, SECONDARY_ADDS = 5, CALL_MS = 5000, ERR_ROLE = 1, ERR_UNKNOWN_TYPE = 2 };

struct driver {
    bool is_primary, is_paused;
    char name[NX_NAME_MAX + 1];
    char who[16];                        /* what the counter shows as lastUpdatedBy */
    uint64_t timer;
    int64_t increments, sum;             /* acknowledged ones, and what they add up to */
    int64_t failures;
};

/* Say which call failed, in the words of the error. */
static void
complain(nx_self *self, struct driver *d, const char *what, int err)
{
    d->failures++;
    nx_log(self, NX_LOG_WARN, "%s failed: %s (%s): %s", what, nx_errname(err), nx_strerror(err), nx_error(self)->text);
}

/* The counter under its global name; the primary starts it if there is none. */
static int
find_counter(nx_self *self, struct driver *d, nx_ref *out)
{
    if (nx_whereis(self, NX_GLOBAL, d->name, out))
        return 0;
    if (!d->is_primary)
        return nx_lookup(self, NX_GLOBAL, d->name, out);
    nx_log(self, NX_LOG_INFO, "Spawning primary counter...");
    int err = nx_start(self, "counter", &(nx_start_options){ .name = d->name, .scope = NX_GLOBAL }, out);
    if (err == 0)
        nx_log(self, NX_LOG_INFO, "Primary counter registered globally");
    else if (err == NX_ECONFLICT && nx_whereis(self, NX_GLOBAL, d->name, out))      /* another node was faster: theirs serves as well */
        err = 0;
    return err;
}

static void
step(nx_self *self, struct driver *d)
{
    nx_ref counter;
    nx_value reply;
    int64_t count = 0, adds = d->is_primary ? PRIMARY_ADDS : SECONDARY_ADDS;
    const char *by = "nobody";
    int err = find_counter(self, d, &counter);
    if (err != 0) {
        complain(self, d, "Finding the counter", err);
        return;
    }
    if ((err = nx_call(self, counter, nx_make(self, "{s:s}", "type", "get"), CALL_MS, &reply)) != 0 ||
        (err = nx_unpack(reply, "{s:I,s?s}", "count", &count, "lastUpdatedBy", &by)) != 0) {
        complain(self, d, "Reading the counter", err);
        return;
    }
    if (d->is_primary)
        nx_log(self, NX_LOG_INFO, "Counter: %lld (by %s)", (long long)count, by);
    else
        nx_log(self, NX_LOG_INFO, "Read counter: %lld", (long long)count);
    err = nx_call(self, counter, nx_make(self, "{s:s,s:I,s:s}", "type", "increment", "by", adds, "from", d->who), CALL_MS, &reply);
    if (err == 0)
        err = nx_unpack(reply, "{s:I}", "count", &count);
    if (err != 0) {
        complain(self, d, "Incrementing the counter", err);
        return;
    }
    d->increments++;
    d->sum += adds;
    if (!d->is_primary)
        nx_log(self, NX_LOG_INFO, "After increment: %lld", (long long)count);
}

static int
driver_init(nx_self *self, nx_value args, void **state)
{
    const char *role = NULL, *name = "shared-counter";
    int err = nx_unpack(args, "{s:s,s?s!}", "role", &role, "name", &name);
    if (err != 0)
        return err;
    if (strcmp(role, "primary") != 0 && strcmp(role, "secondary") != 0)
        return nx_fail(self, ERR_ROLE, "counter_driver: role \"%.60s\" is neither primary nor secondary", role);
    if (strlen(name) > NX_NAME_MAX)
        return nx_fail(self, ERR_ROLE, "counter_driver: the name is longer than %d bytes", NX_NAME_MAX);
    struct driver *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NX_ENOMEM;
    d->is_primary = strcmp(role, "primary") == 0;
    snprintf(d->name, sizeof d->name, "%s", name);
    snprintf(d->who, sizeof d->who, "%s-node", d->is_primary ? "primary" : "secondary");
    nx_log(self, NX_LOG_INFO, "Cluster started as %s", nx_node());
    if ((err = nx_subscribe(self, NX_EVENTS_NODES | NX_EVENTS_NAMES | NX_EVENTS_SNAPSHOT)) != 0 ||
        (err = nx_send_after(self, d->is_primary ? 0 : SECONDARY_MS, (nx_value){ 0 }, &d->timer)) != 0) {
        free(d);
        return err;
    }
    *state = d;
    return 0;
}

static int
driver_info(nx_self *self, void *state, const nx_info *info)
{
    struct driver *d = state;
    switch (info->kind) {
    case NX_INFO_TIMER: {
        if (d->is_paused)                    /* it was in the mailbox already when the pause came */
            return 0;
        /* Set again first: the period does not grow by the time that the calls take. */
        int err = nx_send_after(self, d->is_primary ? PRIMARY_MS : SECONDARY_MS, (nx_value){ 0 }, &d->timer);
        step(self, d);
        return err;
    }
    case NX_INFO_NODE_UP:
        nx_log(self, NX_LOG_INFO, "Node joined: %s", info->node);
        return 0;
    case NX_INFO_NODE_DOWN:
        nx_log(self, NX_LOG_INFO, "Node left: %s (%s)", info->node, info->text);
        return 0;
    case NX_INFO_REGISTERED:
        if (info->scope == NX_GLOBAL)
            nx_log(self, NX_LOG_INFO, "Global registration: %s -> %s", info->name, nx_ref_node(info->ref));
        return 0;
    case NX_INFO_UNREGISTERED:
        if (info->scope == NX_GLOBAL)
            nx_log(self, NX_LOG_INFO, "Global unregistration: %s", info->name);
        return 0;
    case NX_INFO_CONFLICT:
        nx_log(self, NX_LOG_WARN, "Global conflict: %s -> %s", info->name, nx_ref_node(info->ref));
        return 0;
    default:
        return 0;
    }
}

static int
driver_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    struct driver *d = state;
    const char *type = NULL;
    int err = nx_unpack(msg, "{s:s}", "type", &type);
    if (err != 0)
        return err;
    if (strcmp(type, "pause") == 0) {
        (void)nx_cancel_timer(self, d->timer);
        d->is_paused = true;
    } else if (strcmp(type, "stats") != 0) {
        return nx_fail(self, ERR_UNKNOWN_TYPE, "counter_driver: unknown type \"%.60s\"; use stats or pause", type);
    }
    return nx_pack(reply, "{s:s,s:I,s:I,s:I,s:b}", "role", d->is_primary ? "primary" : "secondary", "increments", d->increments, "sum", d->sum,
                   "failures", d->failures, "paused", (int)d->is_paused);
}

static int
driver_cast(nx_self *self, void *state, nx_value msg)
{
    (void)state, (void)msg;
    return nx_fail(self, ERR_UNKNOWN_TYPE, "counter_driver: takes no casts");
}

static void
driver_terminate(nx_self *self, void *state, nx_reason reason)
{
    (void)self, (void)reason;
    free(state);
}

NX_MODULE(NX_BEHAVIOR("counter_driver", .version = 1, .init = driver_init, .handle_call = driver_call, .handle_cast = driver_cast,
                      .handle_info = driver_info, .terminate = driver_terminate));
