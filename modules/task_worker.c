/*
 * task_worker.c - the other half of the documented task queue: does what task_coordinator.c hands out, some of it badly on purpose.
 *
 * Lives here: behavior "task_worker". Put real work where `execute` is.
 *   start   args: nil or {failurePercent?: 0, seed?: 1, workMs?: 0, slots?: 16, coordinator?: global name ("task-coordinator")}
 *   calls   {type: "execute", id, attempt, payload} -> {node, checksum}, after workMs; failurePercent of them fail instead, chosen by seed,
 *           id and attempt alone, so that a run can be repeated
 *           {type: "stats"} -> {registered, slots, busy, executed, completed, failed, refused}
 * Registers with the coordinator when its name appears, and again each second: whoever of the two was away, they find each other.
 * Errors: 1 = unknown type, 2 = wrong args, 3 = the task failed; NX_EBUSY = twice as many tasks as slots are in work (those of a
 * coordinator that has given them up go on beside the new ones).
 */
#include <noex/noex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MAX = 256, REGISTER_MS = 1000, CALL_MS = 5000, TAG_REGISTER = 1 };

enum { ERR_UNKNOWN_TYPE = 1, ERR_ARGS = 2, ERR_TASK = 3 };

struct job {
    uint64_t timer;                      /* 0 = nothing in work here */
    nx_from asker;
    uint64_t id, attempt;
    uint32_t checksum;
};

struct worker {
    int64_t failure_percent, work_ms, slots;
    uint64_t seed;
    char coordinator[NX_NAME_MAX + 1];
    uint64_t renewal;                    /* the timer of the next registration */
    bool is_registered, is_registering;
    struct job jobs[2 * SLOTS_MAX];      /* the first 2 * slots */
    uint64_t busy, executed, completed, failed, refused;
};

/* ---------------------------------------------------------------- the work */

static uint32_t
checksum(nx_self *self, nx_value payload)      /* FNV-1a of the packed form */
{
    nx_value packed = nx_make(self, "v", payload);
    const unsigned char *at = packed.packed;
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < packed.packed_len; i++)
        sum = (sum ^ at[i]) * 16777619u;
    return sum;
}

static bool
shall_fail(const struct worker *w, uint64_t id, uint64_t attempt)      /* splitmix64 of all three */
{
    uint64_t z = w->seed * 0x9e3779b97f4a7c15u + id * 0xd1342543de82ef95u + attempt * 0xaf251af3b0f025b5u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (int64_t)((z ^ (z >> 31)) % 100) < w->failure_percent;
}

static void
finish(nx_self *self, struct worker *w, struct job *job)
{
    char text[96];
    int err;
    if (shall_fail(w, job->id, job->attempt)) {
        w->failed++;
        snprintf(text, sizeof text, "task %llu went wrong at attempt %llu", (unsigned long long)job->id, (unsigned long long)job->attempt);
        err = nx_reply_error(self, job->asker, NX_EAPP, ERR_TASK, text);
    } else {
        w->completed++;
        err = nx_reply(self, job->asker, nx_make(self, "{s:s,s:u}", "node", nx_node(), "checksum", (uint64_t)job->checksum));
    }
    if (err != 0)                        /* the coordinator's call times out */
        nx_log(self, NX_LOG_WARN, "Answering task %llu failed: %s", (unsigned long long)job->id, nx_errname(err));
    job->timer = 0;
    w->busy--;
}

/* Begin; the end comes with a timer, so that many tasks are in work at once and the worker stays awake. */
static int
execute(nx_self *self, struct worker *w, nx_value msg)
{
    uint64_t id = 0, attempt = 0;
    nx_value payload;
    struct job *job = NULL;
    int err = nx_unpack(msg, "{s:u,s:u,s:v}", "id", &id, "attempt", &attempt, "payload", &payload);
    if (err != 0)
        return err;
    for (int64_t i = 0; i < 2 * w->slots && job == NULL; i++)
        if (w->jobs[i].timer == 0)
            job = &w->jobs[i];
    if (job == NULL) {
        w->refused++;
        return NX_EBUSY;
    }
    *job = (struct job){ .asker = nx_caller(self), .id = id, .attempt = attempt, .checksum = checksum(self, payload) };
    if ((err = nx_send_after(self, w->work_ms, (nx_value){ 0 }, &job->timer)) != 0)
        return err;
    w->busy++;
    w->executed++;
    return NX_NOREPLY;
}

/* ---------------------------------------------------------------- finding the coordinator */

static void
register_here(nx_self *self, struct worker *w)
{
    nx_ref to;
    if (w->is_registering || !nx_whereis(self, NX_GLOBAL, w->coordinator, &to))
        return;
    /* Without waiting: the first task may arrive before the answer. */
    int err = nx_call_async(self, to, nx_make(self, "{s:s,s:r,s:I}", "type", "register_worker", "ref", nx_self_ref(self), "slots", w->slots), CALL_MS,
                            TAG_REGISTER);
    w->is_registering = err == 0;
    if (err != 0)
        w->is_registered = false;
}

static void
registered(nx_self *self, struct worker *w, int status)
{
    w->is_registering = false;
    if (status != 0 && w->is_registered)
        nx_log(self, NX_LOG_WARN, "The coordinator is away: %s", nx_error(self)->text);
    if (status == 0 && !w->is_registered)
        nx_log(self, NX_LOG_INFO, "Registered with %s", w->coordinator);
    w->is_registered = status == 0;
}

static int
worker_info(nx_self *self, void *state, const nx_info *info)
{
    struct worker *w = state;
    switch (info->kind) {
    case NX_INFO_TIMER:
        if (info->timer == w->renewal) {
            register_here(self, w);
            return nx_send_after(self, REGISTER_MS, (nx_value){ 0 }, &w->renewal);
        }
        for (int64_t i = 0; i < 2 * w->slots; i++)
            if (w->jobs[i].timer == info->timer) {
                finish(self, w, &w->jobs[i]);
                break;
            }
        return 0;
    case NX_INFO_REPLY:
        registered(self, w, info->status);
        return 0;
    case NX_INFO_REGISTERED:
        if (info->scope == NX_GLOBAL && strcmp(info->name, w->coordinator) == 0)
            register_here(self, w);
        return 0;
    case NX_INFO_UNREGISTERED:
        if (info->scope == NX_GLOBAL && strcmp(info->name, w->coordinator) == 0)
            w->is_registered = false;
        return 0;
    default:
        return 0;
    }
}

/* ---------------------------------------------------------------- its life */

static int
worker_init(nx_self *self, nx_value args, void **state)
{
    int64_t percent = 0, work_ms = 0, slots = 16;
    uint64_t seed = 1;
    const char *name = "task-coordinator";
    int err = nx_unpack(args, "n");
    if (err != 0 && (err = nx_unpack(args, "{s?I,s?u,s?I,s?I,s?s!}", "failurePercent", &percent, "seed", &seed, "workMs", &work_ms, "slots", &slots,
                                     "coordinator", &name)) != 0)
        return err;
    if (percent < 0 || percent > 100 || work_ms < 0 || slots < 1 || slots > SLOTS_MAX || strlen(name) > NX_NAME_MAX)
        return nx_fail(self, ERR_ARGS, "task_worker: failurePercent is 0 to 100, workMs 0 or more, slots 1 to %d, coordinator a name", SLOTS_MAX);
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NX_ENOMEM;
    w->failure_percent = percent;
    w->work_ms = work_ms;
    w->slots = slots;
    w->seed = seed;
    snprintf(w->coordinator, sizeof w->coordinator, "%s", name);
    if ((err = nx_subscribe(self, NX_EVENTS_NAMES)) != 0 || (err = nx_send_after(self, 0, (nx_value){ 0 }, &w->renewal)) != 0) {
        free(w);
        return err;
    }
    *state = w;
    return 0;
}

static int
worker_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    struct worker *w = state;
    const char *type = NULL;
    int err = nx_unpack(msg, "{s:s}", "type", &type);
    if (err != 0)
        return err;
    if (strcmp(type, "execute") == 0)
        return execute(self, w, msg);
    if (strcmp(type, "stats") != 0)
        return nx_fail(self, ERR_UNKNOWN_TYPE, "task_worker: unknown type \"%.60s\"; use execute or stats", type);
    return nx_pack(reply, "{s:b,s:I,s:u,s:u,s:u,s:u,s:u}", "registered", (int)w->is_registered, "slots", w->slots, "busy", w->busy, "executed", w->executed,
                   "completed", w->completed, "failed", w->failed, "refused", w->refused);
}

static int
worker_cast(nx_self *self, void *state, nx_value msg)
{
    (void)state, (void)msg;
    return nx_fail(self, ERR_UNKNOWN_TYPE, "task_worker: takes no casts");
}

static void
worker_terminate(nx_self *self, void *state, nx_reason reason)
{
    (void)self, (void)reason;
    free(state);
}

NX_MODULE(NX_BEHAVIOR("task_worker", .version = 1, .init = worker_init, .handle_call = worker_call, .handle_cast = worker_cast,
                      .handle_info = worker_info, .terminate = worker_terminate));
