/*
 * supervisors.c - configured supervisors and their servers.
 *
 * Lives here: labels, names, arguments from JSON to MessagePack; what must be there together.
 * Never here: whether a behavior exists: the validator knows that.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "noex/noex.h"
#include "value/value.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND };

static bool
is_behavior_name(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= NX_BEHAVIOR_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == len;
}

static bool
check_label(struct conf_reader *r, cfg_t *section)
{
    const struct conf_entry *begin = conf_begin_of(r, section);
    char shown[CONF_SHOWN];
    if (utf8_is_name(cfg_title(section), strlen(cfg_title(section))))
        return true;
    conf_complain(r, begin->file, begin->line,
                  "%s '%s': the label is not 1 to 255 bytes of UTF-8 without control characters, not beginning with '#'",
                  cfg_name(section), conf_shown(cfg_title(section), shown));
    return false;
}

static void
take_behavior(struct conf_reader *r, cfg_t *section, struct conf_server *s)
{
    const struct conf_entry *e = conf_entry_of(section, "behavior"), *begin = conf_begin_of(r, section);
    char shown[CONF_SHOWN];
    if (e == NULL)
        conf_complain(r, begin->file, begin->line, "server '%s' has no behavior; add: behavior = \"NAME\"", s->label);
    else if (!is_behavior_name(e->value))
        conf_complain(r, e->file, e->line, "behavior = '%s' is not 1 to 128 letters, digits, '_', '-' or '.'", conf_shown(e->value, shown));
    else
        s->behavior = conf_keep(r, strdup(e->value));
}

static void
take_args(struct conf_reader *r, cfg_t *section, size_t max_body, struct conf_server *s)
{
    const struct conf_entry *e = conf_entry_of(section, "args"), *at = e != NULL ? e : conf_begin_of(r, section);
    const char *json = e != NULL ? e->value : "null";
    struct base_error why = { .code = 0 };
    char shown[CONF_SHOWN];
    nx_packer packer;

    value_packer_init(&packer, max_body);
    int err = value_from_json(&packer, json, strlen(json), &why);
    if (err == NX_ETOOBIG)
        conf_complain(r, at->file, at->line, "args of server '%s' are larger than max_body", s->label);
    else if (err != 0)
        conf_complain(r, at->file, at->line, "args of server '%s' are not JSON: %s; write them in single quotes", s->label,
                      conf_shown(why.text, shown));
    else {
        nx_value packed = value_packer_value(&packer);
        s->args = conf_keep(r, malloc(packed.packed_len));
        s->args_len = packed.packed_len;
        if (s->args != NULL)
            memcpy(s->args, packed.packed, packed.packed_len);
    }
    value_packer_fini(&packer);
}

static void
take_name(struct conf_reader *r, cfg_t *section, struct conf_server *s)
{
    static const char *const scopes[] = { "none", "local", "global", NULL };       /* in the order of enum nx_scope */
    _Static_assert(NX_LOCAL == 1 && NX_GLOBAL == 2, "indexes of scopes");
    const struct conf_entry *e = conf_entry_of(section, "name"), *scope = conf_entry_of(section, "register");
    char shown[CONF_SHOWN];

    conf_take_word(r, section, "register", scopes, 0, &s->scope);
    if (e != NULL && !utf8_is_name(e->value, strlen(e->value)))
        conf_complain(r, e->file, e->line, "name = '%s' is not 1 to 255 bytes of UTF-8 without control characters, not beginning with '#'",
                      conf_shown(e->value, shown));
    else if (e != NULL)
        s->name = conf_keep(r, strdup(e->value));
    if (e != NULL && s->scope == 0)
        conf_complain(r, e->file, e->line, "server '%s' has a name but is not registered; add: register = local or global", s->label);
    if (e == NULL && s->scope != 0)
        conf_complain(r, scope->file, scope->line, "server '%s' is registered without a name; add: name = \"NAME\"", s->label);
}

static void
take_priority(struct conf_reader *r, cfg_t *section, struct conf_server *s)
{
    const struct conf_entry *e = conf_entry_of(section, "priority");
    char shown[CONF_SHOWN];
    uint64_t size;
    if (e == NULL)
        return;
    bool is_negative = e->value[0] == '-';
    if (conf_parse_count(e->value + is_negative, (uint64_t)INT32_MAX + is_negative, &size))
        s->priority = (int32_t)(is_negative ? -(int64_t)size : (int64_t)size);
    else
        conf_complain(r, e->file, e->line, "priority = '%s' is not a number between -2147483648 and 2147483647", conf_shown(e->value, shown));
}

static void
take_server(struct conf_reader *r, cfg_t *section, size_t max_body, struct conf_supervisor *to)
{
    static const char *const restarts[] = { "permanent", "transient", "temporary", NULL };
    _Static_assert(CONF_PERMANENT == 0 && CONF_TRANSIENT == 1 && CONF_TEMPORARY == 2, "indexes of restarts");
    struct conf_server *s = &to->servers[to->server_count];
    int restart;

    s->label = check_label(r, section) ? conf_keep(r, strdup(cfg_title(section))) : NULL;
    if (s->label == NULL)
        return;
    to->server_count++;
    take_behavior(r, section, s);
    take_args(r, section, max_body, s);
    take_name(r, section, s);
    take_priority(r, section, s);
    conf_take_word(r, section, "restart", restarts, CONF_PERMANENT, &restart);
    s->restart = (enum conf_restart)restart;
    conf_take_duration(r, section, "shutdown", 5 * SECOND, (struct conf_range){ 0, HOUR }, &s->shutdown_ms);
}

static void
take_supervisor(struct conf_reader *r, cfg_t *section, struct conf *c)
{
    static const char *const strategies[] = { "one_for_one", "one_for_all", "rest_for_one", NULL };
    _Static_assert(CONF_ONE_FOR_ONE == 0 && CONF_ONE_FOR_ALL == 1 && CONF_REST_FOR_ONE == 2, "indexes of strategies");
    struct conf_supervisor *s = &c->supervisors[c->supervisor_count];
    unsigned count = cfg_size(section, "server");
    int strategy;

    s->name = check_label(r, section) ? conf_keep(r, strdup(cfg_title(section))) : NULL;
    if (s->name == NULL)
        return;
    c->supervisor_count++;
    conf_take_word(r, section, "strategy", strategies, CONF_ONE_FOR_ONE, &strategy);
    s->strategy = (enum conf_strategy)strategy;
    conf_take_count(r, section, "max_restarts", 3, (struct conf_range){ 0, 1000000 }, &s->max_restarts);
    conf_take_duration(r, section, "within", 5 * SECOND, (struct conf_range){ 1, 24 * HOUR }, &s->within_ms);
    if (count == 0)
        return;
    s->servers = conf_keep(r, calloc(count, sizeof *s->servers));
    for (unsigned i = 0; s->servers != NULL && i < count; i++)
        take_server(r, cfg_getnsec(section, "server", i), c->max_body, s);
}

/* Two servers of one file that want one name: the second would fail at each start. */
static void
check_names(struct conf_reader *r, const struct conf *c)
{
    struct strtable *taken[NX_GLOBAL + 1] = { NULL };
    int err = 0;
    for (int scope = NX_LOCAL; scope <= NX_GLOBAL && err == 0; scope++)
        err = strtable_new(&taken[scope]);

    for (size_t i = 0; i < c->supervisor_count && err == 0; i++) {
        const struct conf_supervisor *supervisor = &c->supervisors[i];
        cfg_t *section = cfg_gettsec(r->root, "supervisor", supervisor->name);
        for (size_t k = 0; k < supervisor->server_count && err == 0; k++) {
            struct conf_server *s = &supervisor->servers[k];
            if (s->name == NULL || s->scope == 0)
                continue;
            const struct conf_server *other = strtable_get(taken[s->scope], s->name, strlen(s->name));
            const struct conf_entry *e = conf_entry_of(cfg_gettsec(section, "server", s->label), "name");
            if (other != NULL)
                conf_complain(r, e->file, e->line, "server '%s' has the name '%s' that server '%s' has already; give it another", s->label,
                              s->name, other->label);
            else
                err = strtable_put(taken[s->scope], s->name, strlen(s->name), s);
        }
    }
    if (err != 0)
        (void)conf_keep(r, NULL);
    for (int scope = NX_LOCAL; scope <= NX_GLOBAL; scope++)
        strtable_free(&taken[scope]);
}

void
conf_build_supervisors(struct conf_reader *r, struct conf *c)
{
    unsigned count = cfg_size(r->root, "supervisor");
    if (count == 0)
        return;
    c->supervisors = conf_keep(r, calloc(count, sizeof *c->supervisors));
    for (unsigned i = 0; c->supervisors != NULL && i < count; i++)
        take_supervisor(r, cfg_getnsec(r->root, "supervisor", i), c);
    check_names(r, c);
}
