/*
 * params.c - the parameters of all methods: one list of names, types and bounds.
 *
 * Lives here: reading the map of a request into struct params; the complaint names the key.
 * Never here: what a method does with them.
 * Runs in: the gate.
 */
#include "control/control_priv.h"

#include <string.h>

#include "base/base.h"
#include "base/utf8.h"

enum param_type { TYPE_TEXT, TYPE_NUMBER, TYPE_FLAG, TYPE_TIMEOUT, TYPE_TARGET, TYPE_VALUE };

/* A timeout travels as 32 bits of milliseconds. */
static const struct param_rule { const char *key; enum param_type type; int64_t min, max; } rules[PARAMS] = {
    [PARAM_SCOPE] = { "scope", TYPE_TEXT, 0, 0 },
    [PARAM_NODE] = { "node", TYPE_TEXT, 0, 0 },
    [PARAM_PREFIX] = { "prefix", TYPE_TEXT, 0, 0 },
    [PARAM_LIMIT] = { "limit", TYPE_NUMBER, 0, UINT32_MAX },
    [PARAM_BEHAVIOR] = { "behavior", TYPE_TEXT, 0, 0 },
    [PARAM_NAME] = { "name", TYPE_TEXT, 0, 0 },
    [PARAM_REGISTER] = { "register", TYPE_TEXT, 0, 0 },
    [PARAM_ARGS] = { "args", TYPE_VALUE, 0, 0 },
    [PARAM_SPAWN_TIMEOUT] = { "spawnTimeoutMs", TYPE_NUMBER, 1, UINT32_MAX },
    [PARAM_INIT_TIMEOUT] = { "initTimeoutMs", TYPE_NUMBER, 1, UINT32_MAX },
    [PARAM_PRIORITY] = { "priority", TYPE_NUMBER, INT32_MIN, INT32_MAX },
    [PARAM_TARGET] = { "target", TYPE_TARGET, 0, 0 },
    [PARAM_MESSAGE] = { "message", TYPE_VALUE, 0, 0 },
    [PARAM_TIMEOUT] = { "timeoutMs", TYPE_TIMEOUT, 1, UINT32_MAX },
    [PARAM_REASON] = { "reason", TYPE_TEXT, 0, 0 },
    [PARAM_NODES] = { "nodes", TYPE_FLAG, 0, 0 },
    [PARAM_NAMES] = { "names", TYPE_FLAG, 0, 0 },
    [PARAM_UP] = { "up", TYPE_FLAG, 0, 0 },
};

static bool
slice_is(struct rpc_slice text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

static int
read_text(struct rpc_cursor *c, const char *key, struct param_value *out, struct base_error *why)
{
    if (!rpc_take_text(c, &out->text))
        return base_error_set(why, NX_EINVAL, key, "parameter %s: must be a string", key);
    if (!utf8_is_valid(out->text.at, out->text.len))
        return base_error_set(why, NX_EINVAL, key, "parameter %s: is not valid UTF-8", key);
    return 0;
}

static int
read_number(struct rpc_cursor *c, const struct param_rule *rule, struct param_value *out, struct base_error *why)
{
    if (rpc_take_int(c, &out->number) && out->number >= rule->min && out->number <= rule->max)
        return 0;
    return base_error_set(why, NX_EINVAL, rule->key, "parameter %s: must be a whole number from %lld to %lld", rule->key,
                          (long long)rule->min, (long long)rule->max);
}

static int
read_timeout(struct rpc_cursor *c, const struct param_rule *rule, struct param_value *out, struct base_error *why)
{
    if (rpc_take_int(c, &out->number) && out->number >= rule->min && out->number <= rule->max)
        return 0;
    if (rpc_take_text(c, &out->text) && slice_is(out->text, "infinity")) {
        out->number = NX_FOREVER;
        return 0;
    }
    return base_error_set(why, NX_EINVAL, rule->key,
                          "parameter %s: must be a whole number of milliseconds from %lld to %lld, or \"infinity\"",
                          rule->key, (long long)rule->min, (long long)rule->max);
}

/* A ref may come as the text that tools print, or as the ext that stands in replies. */
static int
read_target(struct rpc_cursor *c, const char *key, struct param_value *out, struct base_error *why)
{
    struct rpc_cursor ahead = *c;
    struct rpc_slice ext;
    int8_t type;
    if (!rpc_take_ext(&ahead, &type, &ext))
        return read_text(c, key, out, why);
    if (type != VALUE_EXT_REF)
        return base_error_set(why, NX_EINVAL, key, "parameter %s: must be a ref or a name", key);
    out->text = (struct rpc_slice){ NULL, 0 };
    return 0;
}

static int
read_one(const struct param_rule *rule, struct param_value *out, struct base_error *why)
{
    struct rpc_cursor c = { out->raw.at, out->raw.at + out->raw.len };
    switch (rule->type) {
    case TYPE_TEXT: return read_text(&c, rule->key, out, why);
    case TYPE_NUMBER: return read_number(&c, rule, out, why);
    case TYPE_TIMEOUT: return read_timeout(&c, rule, out, why);
    case TYPE_TARGET: return read_target(&c, rule->key, out, why);
    case TYPE_FLAG:
        return rpc_take_bool(&c, &out->flag) ? 0
            : base_error_set(why, NX_EINVAL, rule->key, "parameter %s: must be true or false", rule->key);
    case TYPE_VALUE: break;
    }
    return 0;
}

static int
find(struct rpc_slice key, uint32_t allowed, struct base_error *why)
{
    for (int i = 0; i < PARAMS; i++)
        if ((allowed & PARAM_BIT(i)) != 0 && slice_is(key, rules[i].key))
            return i;
    bool is_shown = key.len <= 64 && utf8_is_valid(key.at, key.len);
    return base_error_set(why, NX_EINVAL, NULL, "parameter %.*s: this method has no such parameter", is_shown ? (int)key.len : 1,
                          is_shown ? (const char *)key.at : "?");
}

static int
read_pair(struct rpc_cursor *c, uint32_t allowed, struct params *p, struct base_error *why)
{
    struct rpc_slice key, raw;
    if (!rpc_take_text(c, &key) || !rpc_take_any(c, &raw))
        return base_error_set(why, NX_EINVAL, NULL, "the parameters: a key is not a string");
    int i = find(key, allowed, why);
    if (i < 0)
        return i;
    if (p->of[i].raw.at != NULL)
        return base_error_set(why, NX_EINVAL, rules[i].key, "parameter %s: given twice", rules[i].key);
    p->of[i].raw = raw;
    /* A nil is what many clients send for "not given"; only a value may be nil. */
    if (rules[i].type != TYPE_VALUE && raw.len == 1 && raw.at[0] == 0xc0)
        return 0;
    p->of[i].is_set = true;
    return read_one(&rules[i], &p->of[i], why);
}

int
params_read(struct rpc_slice map, uint32_t required, uint32_t optional, struct params *out, struct base_error *why)
{
    struct rpc_cursor c = { map.at, map.at + map.len };
    struct params p = { 0 };
    uint32_t pairs = 0;

    if (map.len > 0 && !rpc_take_map(&c, &pairs))
        return base_error_set(why, NX_EINVAL, NULL, "the parameters are not a map");
    for (uint32_t i = 0; i < pairs; i++) {
        int err = read_pair(&c, required | optional, &p, why);
        if (err != 0)
            return err;
    }
    for (int i = 0; i < PARAMS; i++)
        if ((required & PARAM_BIT(i)) != 0 && !p.of[i].is_set)
            return base_error_set(why, NX_EINVAL, rules[i].key, "parameter %s: is missing", rules[i].key);
    *out = p;
    return 0;
}

int
params_scope(const struct params *p, enum param which, int missing, int *out, struct base_error *why)
{
    struct rpc_slice text = p->of[which].text;
    if (!p->of[which].is_set)
        *out = missing;
    else if (slice_is(text, "local"))
        *out = NX_LOCAL;
    else if (slice_is(text, "global"))
        *out = NX_GLOBAL;
    else if (which == PARAM_REGISTER && slice_is(text, "none"))
        *out = 0;
    else
        return base_error_set(why, NX_EINVAL, rules[which].key, "parameter %s: must be %s", rules[which].key,
                              which == PARAM_REGISTER ? "none, local or global" : "local or global");
    return 0;
}
