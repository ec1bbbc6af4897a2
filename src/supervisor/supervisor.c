/*
 * supervisor.c - the behavior "supervisor": starts its children in order, restarts them by their rules, stops them in reverse order.
 *
 * Lives here: strategies (who else restarts when one ends), restart types (whether it does), restart intensity (how often before giving up).
 * Never here: anything that a user's module could not do; the configuration.
 * Runs in: workers.
 *
 * A child is watched by a monitor. Its end arrives as NX_INFO_DOWN and counts against the intensity once, however many are restarted with it; a start that fails is
 * tried again after a pause, and each further try counts too. Beyond max restarts within the period the supervisor ends with reason error, its children first.
 */
#include "supervisor/supervisor.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { CHILDREN_MAX = 1024, RESTARTS_MAX = 1000, RETRY_MS = 100, TEXT_MAX = 255 };
enum { ERR_ARGS = 1, ERR_CHILD = 2, ERR_UNKNOWN_TYPE = 3 };
enum strategy { ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE };
enum restart { PERMANENT, TRANSIENT, TEMPORARY };

static const char *const strategy_names[] = { "one_for_one", "one_for_all", "rest_for_one" };
static const char *const restart_names[] = { "permanent", "transient", "temporary" };

struct child {
    char label[TEXT_MAX + 1], behavior[NX_BEHAVIOR_NAME_MAX + 1], name[NX_NAME_MAX + 1];      /* name "" = none */
    void *args; size_t args_len;                                                               /* packed, ours */
    int scope;
    int32_t priority;
    enum restart restart;
    int64_t shutdown_ms;
    nx_ref ref;                          /* serial 0 = not running */
    uint64_t monitor;
    bool is_wanted;                      /* it should run: if it does not, the retry timer starts it */
    uint64_t restarts;
};

struct supervisor {
    char name[TEXT_MAX + 1];
    enum strategy strategy;
    uint32_t max_restarts;
    int64_t within_ms;
    struct child *children; size_t count;
    uint64_t restart_times[RESTARTS_MAX];      /* a ring of the last max_restarts moments */
    size_t restart_at, restart_count;
    bool is_retrying;
};

static void
supervisor_free(struct supervisor *s)
{
    for (size_t i = 0; s != NULL && i < s->count; i++)
        free(s->children[i].args);
    if (s != NULL)
        free(s->children);
    free(s);
}

static int
index_of(const char *text, const char *const *names, size_t count, int *out)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (int)i;
            return 0;
        }
    return NX_EINVAL;
}

static int
copy_text(char *out, size_t size, const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    if (len >= size)
        return NX_EINVAL;
    memcpy(out, text != NULL ? text : "", len + 1);
    return 0;
}

/* ---------------------------------------------------------------- arguments */

static int
read_child(nx_self *self, nx_value v, struct child *c)
{
    const char *label = NULL, *behavior = NULL, *name = NULL, *restart = "permanent";
    nx_value args = { 0 };
    int priority = 0, kind = 0;
    c->shutdown_ms = 5000;
    int err = nx_unpack(v, "{s:s,s:s,s?v,s?i,s?s,s?i,s?s,s?I}", "label", &label, "behavior", &behavior, "args", &args, "scope", &c->scope, "name", &name,
                        "priority", &priority, "restart", &restart, "shutdownMs", &c->shutdown_ms);
    if (err != 0)
        return err;
    if (copy_text(c->label, sizeof c->label, label) != 0 || copy_text(c->behavior, sizeof c->behavior, behavior) != 0 ||
        copy_text(c->name, sizeof c->name, name) != 0 || c->label[0] == '\0' || c->behavior[0] == '\0')
        return nx_fail(self, ERR_ARGS, "supervisor: child \"%.60s\": label, behavior or name is empty or too long", label);
    if (index_of(restart, restart_names, BASE_COUNT(restart_names), &kind) != 0)
        return nx_fail(self, ERR_ARGS, "supervisor: child \"%s\": restart \"%.60s\": use permanent, transient or temporary", label, restart);
    if (c->shutdown_ms < 0 || (c->scope != 0) != (c->name[0] != '\0'))
        return nx_fail(self, ERR_ARGS, "supervisor: child \"%s\": shutdownMs below 0, or a name without a scope (or the reverse)", label);
    c->restart = (enum restart)kind;
    c->priority = priority;
    if (nx_is_value(args)) {
        nx_value packed = nx_make(self, "v", args);
        if (!nx_is_value(packed) || (c->args = malloc(packed.packed_len)) == NULL)
            return NX_ENOMEM;
        memcpy(c->args, packed.packed, packed.packed_len);
        c->args_len = packed.packed_len;
    }
    return 0;
}

static bool
is_array(nx_value v)
{
    return nx_count(v) > 0 ? !nx_is_value(nx_key_at(v, 0)) : nx_unpack(v, "[]") == 0;
}

static int
read_args(nx_self *self, nx_value args, struct supervisor *s)
{
    const char *name = NULL, *strategy = "one_for_one";
    int64_t max_restarts = 3;
    nx_value children = { 0 };
    int kind = 0;
    s->within_ms = 5000;
    int err = nx_unpack(args, "{s:s,s?s,s?I,s?I,s:v}", "name", &name, "strategy", &strategy, "maxRestarts", &max_restarts, "withinMs", &s->within_ms,
                        "children", &children);
    if (err != 0)
        return err;
    if (copy_text(s->name, sizeof s->name, name) != 0 || index_of(strategy, strategy_names, BASE_COUNT(strategy_names), &kind) != 0)
        return nx_fail(self, ERR_ARGS, "supervisor \"%.60s\": strategy \"%.60s\": use one_for_one, one_for_all or rest_for_one", name, strategy);
    if (max_restarts < 0 || max_restarts > RESTARTS_MAX || s->within_ms < 1 || nx_count(children) > CHILDREN_MAX)
        return nx_fail(self, ERR_ARGS, "supervisor \"%s\": maxRestarts (0-%d), withinMs (1 or more) or the number of children (at most %d) is out of range",
                       s->name, RESTARTS_MAX, CHILDREN_MAX);
    if (!is_array(children))
        return nx_fail(self, ERR_ARGS, "supervisor \"%s\": children is not an array", s->name);
    s->strategy = (enum strategy)kind;
    s->max_restarts = (uint32_t)max_restarts;
    size_t count = nx_count(children);
    if (count > 0 && (s->children = calloc(count, sizeof *s->children)) == NULL)
        return NX_ENOMEM;
    for (; s->count < count; s->count++)
        if ((err = read_child(self, nx_at(children, s->count), &s->children[s->count])) != 0) {
            s->count++;                      /* its args may be there: freed with the rest */
            return err;
        }
    return 0;
}

/* ---------------------------------------------------------------- children */

/* 0 = told, and not waited for. */
static int64_t
stop_limit(const struct child *c)
{
    return c->shutdown_ms > 0 ? c->shutdown_ms : 1;
}

static int
child_start(nx_self *self, struct supervisor *s, struct child *c)
{
    nx_start_options options = { .name = c->name[0] != '\0' ? c->name : NULL, .scope = c->scope, .priority = c->priority,
                                 .args = { .packed = c->args, .packed_len = c->args_len } };
    c->is_wanted = true;
    int err = nx_start(self, c->behavior, &options, &c->ref);
    if (err != 0) {
        nx_log(self, NX_LOG_WARN, "supervisor \"%s\": child \"%s\" not started: %s: %s", s->name, c->label, nx_errname(err), nx_error(self)->text);
        c->ref = (nx_ref){ 0 };
        return err;
    }
    err = nx_monitor(self, c->ref, &c->monitor);
    if (err != 0) {                          /* unwatched, it would never be restarted */
        nx_log(self, NX_LOG_WARN, "supervisor \"%s\": child \"%s\" cannot be watched: %s", s->name, c->label, nx_errname(err));
        (void)nx_stop(self, c->ref, NX_SHUTDOWN, stop_limit(c));
        c->ref = (nx_ref){ 0 };
    }
    return err;
}

static void
child_stop(nx_self *self, struct supervisor *s, struct child *c)
{
    c->is_wanted = false;
    if (c->ref.serial == 0)
        return;
    (void)nx_demonitor(self, c->monitor);
    int err = nx_stop(self, c->ref, NX_SHUTDOWN, stop_limit(c));
    if (err == NX_ECANCELED)                 /* we are being stopped ourselves: terminate comes, and stops it */
        return;
    if (err != 0 && err != NX_ENOSERVER && c->shutdown_ms > 0)
        nx_log(self, NX_LOG_WARN, "supervisor \"%s\": child \"%s\" did not stop within %lld ms: %s", s->name, c->label, (long long)c->shutdown_ms, nx_errname(err));
    c->ref = (nx_ref){ 0 };
}

static void
stop_from(nx_self *self, struct supervisor *s, size_t first)
{
    for (size_t i = s->count; i > first; i--)
        child_stop(self, s, &s->children[i - 1]);
}

/* One more restart: is it within the intensity? */
static bool
may_restart(struct supervisor *s)
{
    uint64_t now = nx_now_ms();
    if (s->max_restarts == 0)
        return false;
    if (s->restart_count == s->max_restarts) {
        uint64_t oldest = s->restart_times[s->restart_at];
        if (now - oldest < (uint64_t)s->within_ms)
            return false;
    } else {
        s->restart_count++;
    }
    s->restart_times[s->restart_at] = now;
    s->restart_at = (s->restart_at + 1) % s->max_restarts;
    return true;
}

/* Count a restart; false = one too many, and this supervisor ends. */
static bool
count_restart(nx_self *self, struct supervisor *s)
{
    if (may_restart(s))
        return true;
    nx_log(self, NX_LOG_ERROR, "supervisor \"%s\": more than %u restarts within %lld ms: giving up", s->name, s->max_restarts, (long long)s->within_ms);
    nx_exit(self, NX_ERROR);
    return false;
}

/* Start what should run and does not, in order. A failure leaves the rest to the retry timer. */
static void
start_wanted(nx_self *self, struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (!c->is_wanted || c->ref.serial != 0)
            continue;
        c->restarts++;
        if (child_start(self, s, c) == 0)
            continue;
        if (!s->is_retrying && nx_send_after(self, RETRY_MS, (nx_value){ 0 }, NULL) != 0)
            nx_exit(self, NX_ERROR);         /* nothing would ever start it */
        s->is_retrying = true;
        return;
    }
}

/* The retry timer may find that another child's end has brought all of them up. */
static bool
needs_start(const struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].is_wanted && s->children[i].ref.serial == 0)
            return true;
    return false;
}

/* Those that end with child `index`, in reverse order; what should run is started again with it. One that waits for its next try is no exception. */
static void
stop_others(nx_self *self, struct supervisor *s, size_t index)
{
    size_t first = s->strategy == ONE_FOR_ALL ? 0 : index + 1;
    for (size_t i = s->count; s->strategy != ONE_FOR_ONE && i > first; i--) {
        struct child *other = &s->children[i - 1];
        bool was_wanted = other->is_wanted;
        child_stop(self, s, other);
        other->is_wanted = was_wanted && (i - 1 == index || other->restart != TEMPORARY);
    }
}

static void
child_ended(nx_self *self, struct supervisor *s, size_t index, const nx_info *info)
{
    struct child *c = &s->children[index];
    bool is_restarted = c->restart == PERMANENT || (c->restart == TRANSIENT && info->reason != NX_NORMAL && info->reason != NX_SHUTDOWN);
    nx_log(self, is_restarted ? NX_LOG_WARN : NX_LOG_INFO, "supervisor \"%s\": child \"%s\" ended: %s%s", s->name, c->label, nx_reason_name(info->reason),
           is_restarted ? ": restarting" : "");
    c->ref = (nx_ref){ 0 };
    c->is_wanted = is_restarted;
    if (!is_restarted || !count_restart(self, s))
        return;
    stop_others(self, s, index);
    start_wanted(self, s);
}

/* ---------------------------------------------------------------- callbacks */

static int
supervisor_init(nx_self *self, nx_value args, void **state)
{
    struct supervisor *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NX_ENOMEM;
    int err = read_args(self, args, s);
    for (size_t i = 0; i < s->count && err == 0; i++) {
        err = child_start(self, s, &s->children[i]);
        if (err != 0) {
            char text[400];
            size_t len = strnlen(nx_error(self)->text, sizeof text - 1);
            memcpy(text, nx_error(self)->text, len);
            text[len] = '\0';
            stop_from(self, s, 0);
            err = nx_fail(self, ERR_CHILD, "supervisor \"%s\": child \"%s\": %s", s->name, s->children[i].label, text);
        }
    }
    if (err != 0) {
        supervisor_free(s);
        return err;
    }
    *state = s;
    return 0;
}

static int
supervisor_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    const struct supervisor *s = state;
    const char *type = NULL;
    int err = nx_unpack(msg, "{s:s}", "type", &type);
    if (err != 0)
        return err;
    if (strcmp(type, "children") != 0)
        return nx_fail(self, ERR_UNKNOWN_TYPE, "supervisor: unknown type \"%.60s\"; use children", type);
    nx_value *items = calloc(s->count + 1, sizeof *items);
    if (items == NULL)
        return NX_ENOMEM;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        items[i] = c->ref.serial != 0
                       ? nx_make(self, "{s:s,s:s,s:s,s:u,s:r}", "label", c->label, "behavior", c->behavior, "restart", restart_names[c->restart],
                                 "restarts", c->restarts, "ref", c->ref)
                       : nx_make(self, "{s:s,s:s,s:s,s:u,s:n}", "label", c->label, "behavior", c->behavior, "restart", restart_names[c->restart],
                                 "restarts", c->restarts, "ref");
    }
    err = nx_pack_array(reply, items, s->count);
    free(items);
    return err;
}

static int
supervisor_cast(nx_self *self, void *state, nx_value msg)
{
    (void)state, (void)msg;
    return nx_fail(self, ERR_UNKNOWN_TYPE, "supervisor: takes no casts");
}

static int
supervisor_info(nx_self *self, void *state, const nx_info *info)
{
    struct supervisor *s = state;
    if (info->kind == NX_INFO_TIMER) {
        s->is_retrying = false;
        if (needs_start(s) && count_restart(self, s))
            start_wanted(self, s);
        return 0;
    }
    for (size_t i = 0; info->kind == NX_INFO_DOWN && i < s->count; i++)
        if (s->children[i].ref.serial != 0 && s->children[i].monitor == info->tag) {
            child_ended(self, s, i, info);
            break;
        }
    return 0;
}

static void
supervisor_terminate(nx_self *self, void *state, nx_reason reason)
{
    (void)reason;
    stop_from(self, state, 0);
    supervisor_free(state);
}

const nx_behavior *
supervisor_behavior(void)
{
    static const nx_behavior behavior = NX_BEHAVIOR("supervisor", .version = 1, .init = supervisor_init, .handle_call = supervisor_call,
                                                    .handle_cast = supervisor_cast, .handle_info = supervisor_info, .terminate = supervisor_terminate);
    return &behavior;
}
