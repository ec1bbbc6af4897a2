/*
 * task_coordinator.c - the documented task queue: hands tasks to workers on any node, and keeps books that add up whatever dies.
 *
 * Lives here: behavior "task_coordinator"; task_worker.c finds it by its global name. The state is in memory: it ends with this server.
 *   start   args: nil or {maxRetries?: 10, maxTasks?: 100000, maxBytes?: 64 MiB, taskTimeoutMs?: 30000}
 *   calls   {type: "submit", payload: any} -> id            {type: "submit_many", payloads: [any, ...]} -> {first, count}: how many were taken
 *           {type: "status", id} -> {id, state, attempts, failures, reassignments, node, result, error}
 *           {type: "stats"} -> the counters, see pack_stats          {type: "workers"} -> [{ref, node, slots, busy, completed, failed, lost}, ...]
 *           {type: "register_worker", ref, slots} -> nil, as often as the worker likes
 *           {type: "check"} -> {ok, done, problems: text, and the sums}: audits the books
 *   casts   submit, submit_many, register_worker
 * A task is tried at most 1 + maxRetries times, and ends once: completed or failed. A worker that ends or is not reachable loses what it
 * has in hand to the others, so a task may run twice; its second answer is ignored and counted.
 * Bounded: maxTasks tasks are remembered and maxBytes of payloads and results. The oldest ones that have ended are forgotten (the books
 * keep their sums); where none is left to forget the queue is full, and a submit is refused.
 * Errors: 1 = unknown type, 2 = the queue is full, 3 = no such task, 4 = too many workers or slots.
 */
#include <noex/noex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS_MAX = 64, SLOTS_MAX = 256, RETRIES_MAX = 200, TASKS_MAX = 1000000, PROBLEMS_TEXT_MAX = 2048 };
enum { MAILBOX_MESSAGES = 2 * WORKERS_MAX * SLOTS_MAX };       /* the answers to everything in hand, and as many submits */

enum { ERR_UNKNOWN_TYPE = 1, ERR_FULL = 2, ERR_NO_TASK = 3, ERR_WORKER = 4 };

enum task_state { TASK_WAITING, TASK_IN_HAND, TASK_COMPLETED, TASK_FAILED };

struct task {
    uint64_t id;
    uint64_t behind;                     /* the id that stands behind it in the queue; 0 = none */
    void *body;                          /* packed: the payload until it ends, then the result, or the last error's text */
    size_t body_len;
    enum task_state state;
    uint16_t worker;                     /* in hand: whose */
    uint8_t attempts, failures, reassignments, completions;
};

struct worker {
    bool is_used;
    nx_ref ref;
    uint64_t monitor;
    uint32_t slots, busy;
    uint64_t in_hand[SLOTS_MAX];         /* ids, the first `busy` */
    uint64_t completed, failed, lost;
};

/* What the tasks add up to. For each task, and so for the sums: attempts = completed + failures + reassignments + 1 if it is in hand. */
struct books { uint64_t submitted, completed, failed, attempts, failures, reassignments, retries; };

struct coordinator {
    uint32_t max_retries;
    uint64_t max_tasks, max_bytes;
    int64_t task_timeout_ms;
    struct task *tasks;                  /* a ring of max_tasks: ids first_id to next_id - 1, each at id % max_tasks */
    uint64_t first_id, next_id, bytes;
    uint64_t queue_head, queue_tail;
    uint64_t waiting, in_hand;
    struct books now, forgotten;         /* of all tasks; of those that are not in the ring any more */
    struct worker workers[WORKERS_MAX];
    uint16_t last_worker;                /* who was given the last task, so that the next one begins behind */
    uint64_t stale, refused, workers_lost, nodes_lost, workers_completed;
};

/* ---------------------------------------------------------------- tasks */

static struct task *
task_at(const struct coordinator *c, uint64_t id)
{
    return &c->tasks[id % c->max_tasks];
}

static struct task *
task_find(const struct coordinator *c, uint64_t id)
{
    return id >= c->first_id && id < c->next_id ? task_at(c, id) : NULL;
}

static bool
has_ended(const struct task *t)
{
    return t->state == TASK_COMPLETED || t->state == TASK_FAILED;
}

static void
add_to_books(struct books *b, const struct task *t)
{
    b->submitted++;
    b->completed += t->completions;
    b->failed += t->state == TASK_FAILED;
    b->attempts += t->attempts;
    b->failures += t->failures;
    b->reassignments += t->reassignments;
}

static void
drop_body(struct coordinator *c, struct task *t)
{
    c->bytes -= t->body_len;
    free(t->body);
    t->body = NULL;
    t->body_len = 0;
}

/* Forget tasks that have ended, oldest first, until `tasks` and `bytes` more fit. */
static bool
make_room(struct coordinator *c, uint64_t tasks, uint64_t bytes)
{
    if (tasks > c->max_tasks || bytes > c->max_bytes)
        return false;
    while (c->next_id - c->first_id > c->max_tasks - tasks || c->bytes > c->max_bytes - bytes) {
        struct task *t = task_find(c, c->first_id);
        if (t == NULL || !has_ended(t))
            return false;
        add_to_books(&c->forgotten, t);
        drop_body(c, t);
        c->first_id++;
    }
    return true;
}

/* The value with its packed form, which can be copied. */
static nx_value
packed_of(nx_self *self, nx_value value)
{
    return value.packed != NULL ? value : nx_make(self, "v", value);
}

/* Keep a value beyond this callback, in place of what the task had. Without room the task has none; only a submit minds. Not for a task that
 * has ended: it might be forgotten here. */
static int
set_body(nx_self *self, struct coordinator *c, struct task *t, nx_value value)
{
    nx_value packed = packed_of(self, value);
    drop_body(c, t);
    if (packed.packed == NULL)
        return NX_EINVAL;
    if (!make_room(c, 0, packed.packed_len))
        return NX_EFULL;
    if ((t->body = malloc(packed.packed_len)) == NULL)
        return NX_ENOMEM;
    memcpy(t->body, packed.packed, packed.packed_len);
    t->body_len = packed.packed_len;
    c->bytes += packed.packed_len;
    return 0;
}

static void
queue_put(struct coordinator *c, struct task *t)
{
    t->state = TASK_WAITING;
    t->behind = 0;
    if (c->queue_tail != 0)
        task_at(c, c->queue_tail)->behind = t->id;
    else
        c->queue_head = t->id;
    c->queue_tail = t->id;
    c->waiting++;
}

static void
queue_take_head(struct coordinator *c)
{
    struct task *t = task_at(c, c->queue_head);
    c->queue_head = t->behind;
    if (c->queue_head == 0)
        c->queue_tail = 0;
    t->behind = 0;
    c->waiting--;
}

static int
submit(nx_self *self, struct coordinator *c, nx_value payload, uint64_t *id)
{
    nx_value packed = packed_of(self, payload);
    if (!make_room(c, 1, packed.packed_len)) {
        c->refused++;
        return nx_fail(self, ERR_FULL, "task_coordinator: the queue is full: %llu tasks have not ended, %llu bytes are kept",
                       (unsigned long long)(c->waiting + c->in_hand), (unsigned long long)c->bytes);
    }
    struct task *t = task_at(c, c->next_id);
    memset(t, 0, sizeof *t);
    int err = set_body(self, c, t, packed);
    if (err != 0)
        return err;
    t->id = c->next_id++;
    c->now.submitted++;
    queue_put(c, t);
    *id = t->id;
    return 0;
}

/* ---------------------------------------------------------------- workers */

static uint64_t
tag_of(const struct task *t, unsigned attempt)      /* which attempt of which task: what an answer must match */
{
    return t->id << 8 | attempt;
}

static void
hand_put(struct coordinator *c, struct worker *w, struct task *t)
{
    w->in_hand[w->busy++] = t->id;
    t->worker = (uint16_t)(w - c->workers);
    t->state = TASK_IN_HAND;
    t->attempts++;
    c->now.attempts++;
    c->in_hand++;
}

static void
hand_remove(struct coordinator *c, struct worker *w, const struct task *t)
{
    for (uint32_t i = 0; i < w->busy; i++)
        if (w->in_hand[i] == t->id) {
            w->in_hand[i] = w->in_hand[--w->busy];
            c->in_hand--;
            return;
        }
}

/* The worker with the most free slots; among equals the one behind the last. NULL: all are busy. */
static struct worker *
find_free_worker(struct coordinator *c)
{
    struct worker *best = NULL;
    for (unsigned i = 1; i <= WORKERS_MAX; i++) {
        struct worker *w = &c->workers[(c->last_worker + i) % WORKERS_MAX];
        if (w->is_used && w->busy < w->slots && (best == NULL || w->slots - w->busy > best->slots - best->busy))
            best = w;
    }
    return best;
}

/* An attempt has come to nothing: the task waits again, or has been tried often enough. */
static void
try_again(nx_self *self, struct coordinator *c, struct task *t, const char *why)
{
    if (t->attempts <= c->max_retries) {
        c->now.retries++;
        queue_put(c, t);
        return;
    }
    (void)set_body(self, c, t, nx_make(self, "s", why));
    t->state = TASK_FAILED;
    c->now.failed++;
    nx_log(self, NX_LOG_WARN, "Task %llu failed for good after %u attempts: %s", (unsigned long long)t->id, (unsigned)t->attempts, why);
}

static void
lose_task(nx_self *self, struct coordinator *c, struct worker *w, struct task *t, const char *why)
{
    hand_remove(c, w, t);
    w->lost++;
    t->reassignments++;
    c->now.reassignments++;
    try_again(self, c, t, why);
}

static void
fail_task(nx_self *self, struct coordinator *c, struct worker *w, struct task *t, const char *why)
{
    hand_remove(c, w, t);
    w->failed++;
    t->failures++;
    c->now.failures++;
    try_again(self, c, t, why);
}

static void
drop_worker(nx_self *self, struct coordinator *c, struct worker *w, const char *why)
{
    const char *node = nx_ref_node(w->ref);
    nx_log(self, NX_LOG_INFO, "Worker lost: %s (%s), %u tasks go to others", node != NULL ? node : "?", why, (unsigned)w->busy);
    while (w->busy > 0)
        lose_task(self, c, w, task_at(c, w->in_hand[0]), why);
    (void)nx_demonitor(self, w->monitor);
    c->workers_lost++;
    memset(w, 0, sizeof *w);
}

static int
hand_out(nx_self *self, struct coordinator *c, struct worker *w, struct task *t)
{
    nx_value payload = { .packed = t->body, .packed_len = t->body_len };
    nx_value msg = nx_make(self, "{s:s,s:u,s:i,s:v}", "type", "execute", "id", t->id, "attempt", t->attempts + 1, "payload", payload);
    int err = nx_call_async(self, w->ref, msg, c->task_timeout_ms, tag_of(t, t->attempts + 1u));
    if (err != 0)
        return err;
    queue_take_head(c);
    hand_put(c, w, t);
    c->last_worker = t->worker;
    return 0;
}

/* Give waiting tasks to free workers until one of the two runs out. */
static void
assign(nx_self *self, struct coordinator *c)
{
    struct worker *w;
    while (c->queue_head != 0 && (w = find_free_worker(c)) != NULL) {
        struct task *t = task_at(c, c->queue_head);
        int err = hand_out(self, c, w, t);
        if (err == NX_ETOOBIG) {             /* the payload just fitted into its submit: no worker can be blamed */
            queue_take_head(c);
            hand_put(c, w, t);
            fail_task(self, c, w, t, nx_errname(err));
        } else if (err != 0) {               /* it registers again, within a second, if it is still there */
            drop_worker(self, c, w, nx_errname(err));
        }
    }
}

static struct worker *
find_worker(struct coordinator *c, nx_ref ref)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (c->workers[i].is_used && nx_ref_equal(c->workers[i].ref, ref))
            return &c->workers[i];
    return NULL;
}

static int
register_worker(nx_self *self, struct coordinator *c, nx_value msg)
{
    nx_ref ref;
    int slots = 0, err = nx_unpack(msg, "{s:r,s:i}", "ref", &ref, "slots", &slots);
    if (err != 0)
        return err;
    if (slots < 1 || slots > SLOTS_MAX)
        return nx_fail(self, ERR_WORKER, "task_coordinator: a worker has 1 to %d slots, not %d", SLOTS_MAX, slots);
    struct worker *w = find_worker(c, ref);
    if (w != NULL) {
        w->slots = (uint32_t)slots;
        return 0;
    }
    for (unsigned i = 0; w == NULL && i < WORKERS_MAX; i++)
        if (!c->workers[i].is_used)
            w = &c->workers[i];
    if (w == NULL)
        return nx_fail(self, ERR_WORKER, "task_coordinator: there are %d workers already", WORKERS_MAX);
    if ((err = nx_monitor(self, ref, &w->monitor)) != 0)
        return err;
    w->is_used = true;
    w->ref = ref;
    w->slots = (uint32_t)slots;
    nx_log(self, NX_LOG_INFO, "Worker joined: %s, %d slots", nx_ref_node(ref), slots);
    return 0;
}

/* ---------------------------------------------------------------- answers */

/* The one place where an attempt ends, unless its worker was lost before. NX_EAPP is the task's own failure; any other error is the worker's. */
static void
attempt_ended(nx_self *self, struct coordinator *c, uint64_t tag, int status, nx_value result)
{
    struct task *t = task_find(c, tag >> 8);
    if (t == NULL || t->state != TASK_IN_HAND || tag_of(t, t->attempts) != tag) {
        c->stale++;
        return;
    }
    struct worker *w = &c->workers[t->worker];
    if (status == 0) {
        hand_remove(c, w, t);
        (void)set_body(self, c, t, result);
        t->state = TASK_COMPLETED;
        t->completions++;
        c->now.completed++;
        c->workers_completed++;
        w->completed++;
    } else if (status == NX_EAPP) {
        fail_task(self, c, w, t, nx_error(self)->text);
    } else {
        lose_task(self, c, w, t, nx_errname(status));
    }
}

static int
coordinator_info(nx_self *self, void *state, const nx_info *info)
{
    struct coordinator *c = state;
    uint64_t ended = c->now.completed + c->now.failed;
    switch (info->kind) {
    case NX_INFO_REPLY:
        attempt_ended(self, c, info->tag, info->status, info->value);
        break;
    case NX_INFO_DOWN:
        for (unsigned i = 0; i < WORKERS_MAX; i++)
            if (c->workers[i].is_used && c->workers[i].monitor == info->tag)
                drop_worker(self, c, &c->workers[i], nx_reason_name(info->reason));
        break;
    case NX_INFO_NODE_DOWN:
        nx_log(self, NX_LOG_INFO, "Node left: %s (%s)", info->node, info->text);
        c->nodes_lost++;
        for (unsigned i = 0; i < WORKERS_MAX; i++)
            if (c->workers[i].is_used && strcmp(nx_ref_node(c->workers[i].ref), info->node) == 0)
                drop_worker(self, c, &c->workers[i], info->text);
        break;
    case NX_INFO_NODE_UP:
        nx_log(self, NX_LOG_INFO, "Node joined: %s", info->node);
        break;
    case NX_INFO_NAME_LOST:
        nx_log(self, NX_LOG_WARN, "The name %s now belongs to a coordinator on %s: the workers go there", info->name, nx_ref_node(info->ref));
        break;
    default:
        return 0;
    }
    assign(self, c);
    if (c->now.completed + c->now.failed > ended && c->waiting + c->in_hand == 0)
        nx_log(self, NX_LOG_INFO, "All %llu tasks have ended: %llu completed, %llu failed", (unsigned long long)c->now.submitted,
               (unsigned long long)c->now.completed, (unsigned long long)c->now.failed);
    return 0;
}

/* ---------------------------------------------------------------- the audit */

struct audit { char problems[PROBLEMS_TEXT_MAX]; size_t len, count; };      /* sentences; those that fit */

static void
expect(struct audit *a, bool is_so, const char *what, uint64_t got, uint64_t wanted)
{
    if (is_so)
        return;
    a->count++;
    size_t room = sizeof a->problems - a->len;
    int n = snprintf(a->problems + a->len, room, "%s%s: %llu, not %llu", a->len > 0 ? "; " : "", what, (unsigned long long)got,
                     (unsigned long long)wanted);
    if (n > 0 && (size_t)n < room)
        a->len += (size_t)n;
    else
        a->problems[a->len] = '\0';
}

static void
expect_equal(struct audit *a, const char *what, uint64_t got, uint64_t wanted)
{
    expect(a, got == wanted, what, got, wanted);
}

static void
audit_task(struct audit *a, const struct coordinator *c, const struct task *t, uint64_t id)
{
    unsigned held = 0;
    bool is_in_hand = t->state == TASK_IN_HAND;
    expect_equal(a, "the id at the place of a task", t->id, id);
    expect_equal(a, "completions of a task", t->completions, t->state == TASK_COMPLETED);
    expect_equal(a, "attempts of a task", t->attempts, (uint64_t)t->completions + t->failures + t->reassignments + is_in_hand);
    expect(a, t->attempts <= c->max_retries + 1, "attempts of a task", t->attempts, c->max_retries + 1);
    if (!is_in_hand)
        return;
    const struct worker *w = &c->workers[t->worker];
    for (uint32_t i = 0; i < w->busy; i++)
        held += w->in_hand[i] == t->id;
    expect_equal(a, "times that a task in hand is in its worker's hands", held, 1);
}

/* Count everything anew, from the tasks themselves, and compare with the running counters. */
static int
pack_check(const struct coordinator *c, nx_packer *to)
{
    struct audit a = { .count = 0 };
    struct books sum = c->forgotten;
    uint64_t by_state[4] = { 0 }, busy = 0, queued = 0, bytes = 0;
    for (uint64_t id = c->first_id; id < c->next_id; id++) {
        const struct task *t = task_at(c, id);
        audit_task(&a, c, t, id);
        add_to_books(&sum, t);
        by_state[t->state]++;
        bytes += t->body_len;
    }
    for (uint64_t id = c->queue_head; id != 0 && queued <= c->waiting; id = task_at(c, id)->behind, queued++)
        expect_equal(&a, "the state of a task in the queue", task_at(c, id)->state, TASK_WAITING);
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        busy += c->workers[i].busy;
    expect_equal(&a, "ids given out", c->next_id - 1, c->now.submitted);
    expect_equal(&a, "submitted", sum.submitted, c->now.submitted);
    expect_equal(&a, "completed", sum.completed, c->now.completed);
    expect_equal(&a, "completed, by the workers' counts", c->workers_completed, c->now.completed);
    expect_equal(&a, "failed", sum.failed, c->now.failed);
    expect_equal(&a, "attempts", sum.attempts, c->now.attempts);
    expect_equal(&a, "failures", sum.failures, c->now.failures);
    expect_equal(&a, "reassignments", sum.reassignments, c->now.reassignments);
    expect_equal(&a, "waiting", by_state[TASK_WAITING], c->waiting);
    expect_equal(&a, "in the queue", queued, c->waiting);
    expect_equal(&a, "in hand", by_state[TASK_IN_HAND], c->in_hand);
    expect_equal(&a, "in workers' hands", busy, c->in_hand);
    expect_equal(&a, "bytes kept", bytes, c->bytes);
    expect_equal(&a, "completed, failed, waiting and in hand", c->now.completed + c->now.failed + c->waiting + c->in_hand, c->now.submitted);
    expect_equal(&a, "completions, failures, reassignments and in hand", c->now.completed + c->now.failures + c->now.reassignments + c->in_hand,
                 c->now.attempts);
    expect_equal(&a, "retries and failed", c->now.retries + c->now.failed, c->now.failures + c->now.reassignments);
    return nx_pack(to, "{s:b,s:b,s:s,s:u,s:u,s:u,s:u,s:u,s:u}", "ok", a.count == 0, "done", c->waiting + c->in_hand == 0, "problems", a.problems,
                   "submitted", sum.submitted, "completed", sum.completed, "failed", sum.failed, "attempts", sum.attempts, "failures", sum.failures,
                   "reassignments", sum.reassignments);
}

/* ---------------------------------------------------------------- questions */

static int
pack_stats(const struct coordinator *c, nx_packer *to)
{
    uint64_t workers = 0, slots = 0;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        workers += c->workers[i].is_used;
        slots += c->workers[i].slots;
    }
    return nx_pack(to, "{s:u,s:u,s:u,s:u,s:u, s:u,s:u,s:u,s:u, s:u,s:u,s:u,s:u,s:u,s:u,s:u,s:u}", "submitted", c->now.submitted, "refused", c->refused,
                   "waiting", c->waiting, "inHand", c->in_hand, "completed", c->now.completed, "failed", c->now.failed, "attempts", c->now.attempts,
                   "failures", c->now.failures, "reassignments", c->now.reassignments, "retries", c->now.retries, "staleResults", c->stale, "workers",
                   workers, "slots", slots, "workersLost", c->workers_lost, "nodesLost", c->nodes_lost, "remembered", c->next_id - c->first_id,
                   "bytes", c->bytes);
}

static int
pack_status(nx_self *self, const struct coordinator *c, nx_value msg, nx_packer *to)
{
    static const char *const names[] = { "waiting", "in hand", "completed", "failed" };
    uint64_t id = 0;
    int err = nx_unpack(msg, "{s:u}", "id", &id);
    if (err != 0)
        return err;
    const struct task *t = task_find(c, id);
    if (t == NULL)
        return nx_fail(self, ERR_NO_TASK, "task_coordinator: no task %llu%s", (unsigned long long)id, id > 0 && id < c->first_id ? " any more" : "");
    nx_value nil = nx_make(self, "n"), body = t->body != NULL ? (nx_value){ .packed = t->body, .packed_len = t->body_len } : nil;
    return nx_pack(to, "{s:u,s:s,s:i,s:i,s:i,s:s,s:v,s:v}", "id", id, "state", names[t->state], "attempts", (int)t->attempts, "failures", (int)t->failures,
                   "reassignments", (int)t->reassignments, "node", t->state == TASK_IN_HAND ? nx_ref_node(c->workers[t->worker].ref) : NULL, "result",
                   t->state == TASK_COMPLETED ? body : nil, "error", t->state == TASK_FAILED ? body : nil);
}

static int
pack_workers(nx_self *self, const struct coordinator *c, nx_packer *to)
{
    nx_value items[WORKERS_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        const struct worker *w = &c->workers[i];
        if (w->is_used)
            items[count++] = nx_make(self, "{s:r,s:s,s:u,s:u,s:u,s:u,s:u}", "ref", w->ref, "node", nx_ref_node(w->ref), "slots", (uint64_t)w->slots, "busy",
                                     (uint64_t)w->busy, "completed", w->completed, "failed", w->failed, "lost", w->lost);
    }
    return nx_pack_array(to, items, count);
}

/* ---------------------------------------------------------------- calls and casts */

/* As many of them as there is room for; none at all is an error. */
static int
submit_many(nx_self *self, struct coordinator *c, nx_value msg, uint64_t *first, uint64_t *count)
{
    nx_value payloads;
    int err = nx_unpack(msg, "{s:v}", "payloads", &payloads);
    if (err != 0)
        return err;
    *first = c->next_id;
    *count = 0;
    for (size_t i = 0, n = nx_count(payloads); i < n && err == 0; i++) {
        uint64_t id;
        if ((err = submit(self, c, nx_at(payloads, i), &id)) == 0)
            ++*count;
    }
    return *count > 0 ? 0 : err;
}

/* What a call and a cast have in common. `reply` is NULL for a cast. */
static int
handle(nx_self *self, struct coordinator *c, nx_value msg, nx_packer *reply)
{
    const char *type = NULL;
    uint64_t id = 0, count = 0;
    int err = nx_unpack(msg, "{s:s}", "type", &type);
    if (err != 0)
        return err;
    if (strcmp(type, "submit") == 0) {
        nx_value payload;
        if ((err = nx_unpack(msg, "{s:v}", "payload", &payload)) == 0 && (err = submit(self, c, payload, &id)) == 0 && reply != NULL)
            err = nx_pack(reply, "u", id);
    } else if (strcmp(type, "submit_many") == 0) {
        if ((err = submit_many(self, c, msg, &id, &count)) == 0 && reply != NULL)
            err = nx_pack(reply, "{s:u,s:u}", "first", id, "count", count);
    } else if (strcmp(type, "register_worker") == 0) {
        err = register_worker(self, c, msg);
    } else {
        return nx_fail(self, ERR_UNKNOWN_TYPE, "task_coordinator: unknown type \"%.60s\"; use submit, submit_many, status, stats, workers, check or "
                       "register_worker", type);
    }
    assign(self, c);
    return err;
}

static int
coordinator_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    struct coordinator *c = state;
    const char *type = NULL;
    int err = nx_unpack(msg, "{s:s}", "type", &type);
    if (err != 0)
        return err;
    if (strcmp(type, "status") == 0)
        return pack_status(self, c, msg, reply);
    if (strcmp(type, "stats") == 0)
        return pack_stats(c, reply);
    if (strcmp(type, "workers") == 0)
        return pack_workers(self, c, reply);
    if (strcmp(type, "check") == 0)
        return pack_check(c, reply);
    return handle(self, c, msg, reply);
}

static int
coordinator_cast(nx_self *self, void *state, nx_value msg)
{
    return handle(self, state, msg, NULL);
}

/* ---------------------------------------------------------------- its life */

static int
coordinator_init(nx_self *self, nx_value args, void **state)
{
    int64_t retries = 10, tasks = 100000, bytes = 64 << 20, timeout = 30000;
    int err = nx_unpack(args, "n");
    if (err != 0 && (err = nx_unpack(args, "{s?I,s?I,s?I,s?I!}", "maxRetries", &retries, "maxTasks", &tasks, "maxBytes", &bytes, "taskTimeoutMs",
                                     &timeout)) != 0)
        return err;
    if (retries < 0 || retries > RETRIES_MAX || tasks < 1 || tasks > TASKS_MAX || bytes < 1 || timeout < 1)
        return nx_fail(self, ERR_FULL, "task_coordinator: maxRetries is 0 to %d, maxTasks 1 to %d, maxBytes and taskTimeoutMs 1 or more", RETRIES_MAX,
                       TASKS_MAX);
    struct coordinator *c = calloc(1, sizeof *c);
    if (c == NULL || (c->tasks = calloc((size_t)tasks, sizeof *c->tasks)) == NULL) {
        free(c);
        return NX_ENOMEM;
    }
    c->max_retries = (uint32_t)retries;
    c->max_tasks = (uint64_t)tasks;
    c->max_bytes = (uint64_t)bytes;
    c->task_timeout_ms = timeout;
    c->first_id = c->next_id = 1;
    if ((err = nx_subscribe(self, NX_EVENTS_NODES)) != 0) {
        free(c->tasks);
        free(c);
        return err;
    }
    *state = c;
    return 0;
}

static void
coordinator_terminate(nx_self *self, void *state, nx_reason reason)
{
    struct coordinator *c = state;
    (void)self, (void)reason;
    for (uint64_t id = c->first_id; id < c->next_id; id++)
        free(task_at(c, id)->body);
    free(c->tasks);
    free(c);
}

NX_MODULE(NX_BEHAVIOR("task_coordinator", .version = 1, .max_messages = MAILBOX_MESSAGES, .init = coordinator_init, .handle_call = coordinator_call,
                      .handle_cast = coordinator_cast, .handle_info = coordinator_info, .terminate = coordinator_terminate));
