/*
 * build.c - from entries to struct conf: everything outside of the section `node` and the supervisors.
 *
 * Lives here: paths, log, control socket, modules, bounds. The defaults stand here, one line a setting, and in conf/noexd.conf.
 * Never here: acting on any of it.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/utf8.h"
#include "noex/noex.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND, KIB = 1 << 10, MIB = 1 << 20 };

static const char run_place[] = "var/run/noexd", log_place[] = "var/log/noexd";

/* A path setting: what is written, or the default, made absolute. */
static char *
take_path(struct conf_reader *r, const char *name, const char *default_path, const char *place)
{
    const struct conf_entry *e = conf_entry_of(r->root, name);
    return conf_path_resolve(r, e != NULL ? e : &r->top, e != NULL ? e->value : default_path, place);
}

static void
take_user(struct conf_reader *r, struct conf *c)
{
    const struct conf_entry *e = conf_entry_of(r->root, "user");
    char shown[CONF_SHOWN];
    if (e == NULL)
        return;
    errno = 0;
    if (e->value[0] == '\0' || getpwnam(e->value) == NULL)
        conf_complain(r, e->file, e->line, "user = '%s': %s", conf_shown(e->value, shown),
                      errno != 0 && errno != ENOENT ? strerror(errno) : "there is no such user; make it or name another");
    else
        c->user = conf_keep(r, strdup(e->value));
}

static void
take_log(struct conf_reader *r, struct conf *c)
{
    cfg_t *section = cfg_size(r->root, "log") > 0 ? cfg_getnsec(r->root, "log", 0) : NULL;
    const struct conf_entry *begin = section != NULL ? conf_begin_of(r, section) : &r->top;
    const char *title = section != NULL ? cfg_title(section) : "error.log";
    const struct conf_entry *level = section != NULL ? conf_entry_of(section, "level") : NULL;
    char shown[CONF_SHOWN];

    c->log_file = strcmp(title, "stderr") == 0 ? conf_keep(r, strdup(title)) : conf_path_resolve(r, begin, title, log_place);
    c->log_level = LOG_INFO;
    if (level != NULL && log_level_parse(level->value, &c->log_level) != 0)
        conf_complain(r, level->file, level->line, "level = '%s' is not error, warn, info or debug", conf_shown(level->value, shown));
}

static void
take_mode(struct conf_reader *r, const struct conf_entry *e, struct conf *c)
{
    char shown[CONF_SHOWN];
    size_t len = strlen(e->value);
    unsigned long mode = strtoul(e->value, NULL, 8);
    if (len == 0 || len > 5 || strspn(e->value, "01234567") != len || mode > 0777 || (mode & 0600) != 0600)
        conf_complain(r, e->file, e->line, "mode = '%s' is not an octal number from 0600 to 0777 that lets the owner read and write",
                      conf_shown(e->value, shown));
    else
        c->control_mode = (uint32_t)mode;
}

static void
take_control(struct conf_reader *r, struct conf *c)
{
    static const char scheme[] = "unix:";
    cfg_t *section = cfg_size(r->root, "control") > 0 ? cfg_getnsec(r->root, "control", 0) : NULL;
    const struct conf_entry *listen = section != NULL ? conf_entry_of(section, "listen") : NULL;
    const struct conf_entry *mode = section != NULL ? conf_entry_of(section, "mode") : NULL;
    const struct conf_entry *at = listen != NULL ? listen : &r->top;
    const char *where = listen != NULL ? listen->value : "unix:noexd.sock";
    char shown[CONF_SHOWN];

    c->control_mode = 0600;
    if (mode != NULL)
        take_mode(r, mode, c);
    if (strcmp(where, "off") == 0)
        return;
    if (strncmp(where, scheme, sizeof scheme - 1) != 0) {
        conf_complain(r, at->file, at->line, "listen = '%s' is not \"unix:PATH\" or off", conf_shown(where, shown));
        return;
    }
    c->control_path = conf_path_resolve(r, at, where + sizeof scheme - 1, run_place);
    struct sockaddr_un address;
    if (c->control_path != NULL && strlen(c->control_path) >= sizeof address.sun_path)
        conf_complain(r, at->file, at->line, "the control socket %s has a path of more than %zu bytes, which the system refuses", c->control_path,
                      sizeof address.sun_path - 1);
}

static void
take_module(struct conf_reader *r, cfg_t *section, struct conf *c)
{
    const struct conf_entry *e = conf_entry_of(section, "file"), *begin = conf_begin_of(r, section);
    struct conf_module *m = &c->modules[c->module_count];
    const char *name = cfg_title(section);
    char shown[CONF_SHOWN], *own = NULL;

    if (!utf8_is_name(name, strlen(name)) || strlen(name) > NX_BEHAVIOR_NAME_MAX || strchr(name, '/') != NULL) {
        conf_complain(r, begin->file, begin->line, "module '%s': the name is not 1 to %d bytes without '/'", conf_shown(name, shown),
                      NX_BEHAVIOR_NAME_MAX);
        return;
    }
    if (e != NULL && e->value[0] == '\0') {
        conf_complain(r, e->file, e->line, "module '%s': the file is empty; write file = \"%s.so\"", name, name);
        return;
    }
    if (e == NULL && conf_keep(r, asprintf(&own, "%s.so", name) < 0 ? NULL : own) == NULL)
        return;
    m->name = conf_keep(r, strdup(name));
    m->file = c->modules_dir != NULL ? conf_path_join(r, c->modules_dir, e != NULL ? e->value : own) : NULL;
    c->module_count++;
    free(own);
    for (size_t i = 0; m->file != NULL && i + 1 < c->module_count; i++)
        if (c->modules[i].file != NULL && strcmp(c->modules[i].file, m->file) == 0)
            conf_complain(r, (e != NULL ? e : begin)->file, (e != NULL ? e : begin)->line,
                          "modules '%s' and '%s' are the same file; remove one of them", c->modules[i].name, name);
}

static void
take_modules(struct conf_reader *r, struct conf *c)
{
    c->modules_dir = take_path(r, "modules_dir", "lib/noexd/modules", "");
    c->modules_state_dir = take_path(r, "modules_state_dir", "var/lib/noexd/modules", "");
    unsigned count = cfg_size(r->root, "module");
    if (count == 0)
        return;
    c->modules = conf_keep(r, calloc(count, sizeof *c->modules));
    for (unsigned i = 0; c->modules != NULL && i < count; i++)
        take_module(r, cfg_getnsec(r->root, "module", i), c);
}

static void
take_bounds(struct conf_reader *r, struct conf *c)
{
    uint64_t max_body;
    conf_take_count(r, r->root, "registry_capacity", 16384, (struct conf_range){ CONF_REGISTRY_MIN, CONF_REGISTRY_MAX }, &c->registry_capacity);
    conf_take_count(r, r->root, "nodes_max", 256, (struct conf_range){ CONF_NODES_MIN, CONF_NODES_MAX }, &c->nodes_max);
    conf_take_size(r, r->root, "max_body", 1 * MIB, (struct conf_range){ 1 * KIB, 16 * MIB }, &max_body);
    c->max_body = (size_t)max_body;
    conf_take_count(r, r->root, "mailbox_messages", 10000, (struct conf_range){ 1, 10000000 }, &c->mailbox_messages);
    conf_take_size(r, r->root, "mailbox_bytes", 64 * MIB, (struct conf_range){ 4 * KIB, (uint64_t)64 << 30 }, &c->mailbox_bytes);
    conf_take_duration(r, r->root, "handler_limit", 10 * SECOND, (struct conf_range){ 100, HOUR }, &c->handler_limit_ms);
    conf_take_duration(r, r->root, "shutdown_timeout", 30 * SECOND, (struct conf_range){ 100, HOUR }, &c->shutdown_ms);
    conf_take_count(r, r->root, "max_servers", 100000, (struct conf_range){ 1, 10000000 }, &c->max_servers);
}

/* A message that no mailbox can hold could never be delivered. */
static void
check_bounds(struct conf_reader *r, const struct conf *c)
{
    const struct conf_entry *e = conf_entry_of(r->root, "mailbox_bytes");
    if (e == NULL)
        e = conf_entry_of(r->root, "max_body");
    if (c->mailbox_bytes < c->max_body)
        conf_complain(r, e->file, e->line, "mailbox_bytes (%llu) is less than max_body (%zu): the largest message would never fit; set both",
                      (unsigned long long)c->mailbox_bytes, c->max_body);
}

void
conf_build(struct conf_reader *r, struct conf *c)
{
    conf_build_cpus(r, c);
    take_user(r, c);
    conf_take_flag(r, r->root, "daemon", true, &c->daemon);
    c->pid_file = take_path(r, "pid", "noexd.pid", run_place);
    take_log(r, c);
    conf_build_node(r, c);
    take_modules(r, c);
    take_bounds(r, c);
    check_bounds(r, c);
    conf_build_supervisors(r, c);
    take_control(r, c);
}
