/*
 * counter.c - the documented counter: a number that any GenServer of the cluster may raise, lower and read.
 *
 * Lives here: behavior "counter". State: the count, who changed it last, and the last 100 changes.
 *   start      args: nil or {start: integer}
 *   calls      {type: "get"} -> {count, lastUpdatedBy};  {type: "getHistory"} -> [{op, amount, by, count, atMs}, ...], oldest first
 *   calls and casts   {type: "increment" | "decrement", by?: amount (1), from?: who}, {type: "reset", from?: who} -> {count, lastUpdatedBy}
 * Errors: 1 = unknown type, 2 = the count would leave 64 bits.
 * Build: cc -shared -fPIC $(pkg-config --cflags noex) -o counter.so counter.c
 */
#include <noex/noex.h>

#include <stdlib.h>
#include <string.h>

enum { HISTORY_MAX = 100, WHO_MAX = 64 };

enum { ERR_UNKNOWN_TYPE = 1, ERR_RANGE = 2 };

enum op { OP_INCREMENT, OP_DECREMENT, OP_RESET };      /* not texts: a state may outlive this file's code in a reload */

static const char *
op_name(enum op op)
{
    return op == OP_INCREMENT ? "increment" : op == OP_DECREMENT ? "decrement" : "reset";
}

struct change {
    enum op op;
    int64_t amount, count;
    uint64_t at_ms;
    char by[WHO_MAX];
};

struct counter {
    int64_t count;
    char last_updated_by[WHO_MAX];
    struct change history[HISTORY_MAX];  /* a ring: the oldest is at `first` */
    size_t first, changes;
};

static void
copy_who(char out[static WHO_MAX], const char *who)
{
    size_t len = strnlen(who, WHO_MAX - 1);
    while (len > 0 && len == WHO_MAX - 1 && ((unsigned char)who[len] & 0xC0) == 0x80)      /* never cut a character in two */
        len--;
    memcpy(out, who, len);
    out[len] = '\0';
}

static void
remember(struct counter *c, enum op op, int64_t amount, const char *who)
{
    size_t at = (c->first + c->changes) % HISTORY_MAX;
    if (c->changes < HISTORY_MAX)
        c->changes++;
    else
        c->first = (c->first + 1) % HISTORY_MAX;
    struct change *h = &c->history[at];
    h->op = op;
    h->amount = amount;
    h->count = c->count;
    h->at_ms = nx_wall_ms();
    copy_who(h->by, who);
    copy_who(c->last_updated_by, who);
}

/* increment, decrement, reset: the same for a call and a cast. */
static int
change(nx_self *self, struct counter *c, nx_value msg)
{
    const char *type = NULL, *who = "unknown";
    int64_t by = 1, next = 0;
    int err = nx_unpack(msg, "{s:s,s?I,s?s}", "type", &type, "by", &by, "from", &who);
    if (err != 0)
        return err;
    if (strcmp(type, "increment") == 0) {
        if (__builtin_add_overflow(c->count, by, &next))
            return nx_fail(self, ERR_RANGE, "counter: %lld + %lld does not fit into 64 bits", (long long)c->count, (long long)by);
        c->count = next;
        remember(c, OP_INCREMENT, by, who);
        return 0;
    }
    if (strcmp(type, "decrement") == 0) {
        if (__builtin_sub_overflow(c->count, by, &next))
            return nx_fail(self, ERR_RANGE, "counter: %lld - %lld does not fit into 64 bits", (long long)c->count, (long long)by);
        c->count = next;
        remember(c, OP_DECREMENT, by, who);
        return 0;
    }
    if (strcmp(type, "reset") == 0) {
        c->count = 0;
        remember(c, OP_RESET, 0, who);
        return 0;
    }
    return nx_fail(self, ERR_UNKNOWN_TYPE, "counter: unknown type \"%.60s\"; use get, getHistory, increment, decrement or reset", type);
}

static int
pack_count(const struct counter *c, nx_packer *to)
{
    if (c->last_updated_by[0] == '\0')
        return nx_pack(to, "{s:I,s:n}", "count", c->count, "lastUpdatedBy");
    return nx_pack(to, "{s:I,s:s}", "count", c->count, "lastUpdatedBy", c->last_updated_by);
}

static int
pack_history(nx_self *self, const struct counter *c, nx_packer *to)
{
    static const char one[] = "{s:s,s:I,s:s,s:I,s:u}";
    nx_value items[HISTORY_MAX];
    for (size_t i = 0; i < c->changes; i++) {
        const struct change *h = &c->history[(c->first + i) % HISTORY_MAX];
        items[i] = nx_make(self, one, "op", op_name(h->op), "amount", h->amount, "by", h->by, "count", h->count, "atMs", h->at_ms);
    }
    return nx_pack_array(to, items, c->changes);
}

static int
counter_init(nx_self *self, nx_value args, void **state)
{
    int64_t start = 0;
    (void)self;
    if (nx_unpack(args, "n") != 0) {
        int err = nx_unpack(args, "{s?I!}", "start", &start);
        if (err != 0)
            return err;
    }
    struct counter *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NX_ENOMEM;
    c->count = start;
    *state = c;
    return 0;
}

static int
counter_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    struct counter *c = state;
    const char *type = NULL;
    int err = nx_unpack(msg, "{s:s}", "type", &type);
    if (err != 0)
        return err;
    if (strcmp(type, "getHistory") == 0)
        return pack_history(self, c, reply);
    if (strcmp(type, "get") != 0 && (err = change(self, c, msg)) != 0)
        return err;
    return pack_count(c, reply);
}

static int
counter_cast(nx_self *self, void *state, nx_value msg)
{
    return change(self, state, msg);
}

static void
counter_terminate(nx_self *self, void *state, nx_reason reason)
{
    (void)self, (void)reason;
    free(state);
}

NX_MODULE(NX_BEHAVIOR("counter", .version = 1, .init = counter_init, .handle_call = counter_call, .handle_cast = counter_cast,
                      .terminate = counter_terminate));
