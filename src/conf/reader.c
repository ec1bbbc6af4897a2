/*
 * reader.c - libConfuse's side: texts into a tree of entries, each with its file and line.
 *
 * Lives here: the grammar (which settings exist where), the callbacks of libConfuse, includes, "set twice".
 * Never here: what a value means: an entry is text.
 * Runs in: the master, `noexd -t`.
 *
 * Every setting is a CFGT_PTR whose value callback makes an entry, because libConfuse keeps no line per value and stops at the first
 * wrong one; so all values are judged afterwards, and several complaints can be made at once. Its callbacks carry no argument of ours and
 * its scanner is one per process, hence the one static pointer.
 */
#include "conf/conf_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/utf8.h"

static struct conf_reader *reading;                   /* non-NULL while libConfuse is at work */

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result);
static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv);
static void on_error(cfg_t *cfg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* A hidden setting in each section: its default is "parsed" when the section begins, which is the only word about where that was. No
 * file can set it by accident: it has a space in its name. */
static char begin_name[] = " begin", begin_value[] = "here";

#define ONE(name)  CFG_PTR_CB(name, NULL, CFGF_NODEFAULT, on_value, NULL)
#define LIST(name) CFG_PTR_LIST_CB(name, NULL, CFGF_NODEFAULT, on_value, NULL)
#define BEGIN      CFG_PTR_CB(begin_name, begin_value, CFGF_NONE, on_value, NULL)
#define TITLED     (CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES)

static cfg_opt_t log_settings[] = { BEGIN, ONE("level"), CFG_END() };
static cfg_opt_t secret_settings[] = { BEGIN, ONE("id"), ONE("file"), ONE("send"), CFG_END() };
static cfg_opt_t module_settings[] = { BEGIN, ONE("file"), CFG_END() };
static cfg_opt_t control_settings[] = { BEGIN, ONE("listen"), ONE("mode"), CFG_END() };

static cfg_opt_t node_settings[] = {
    BEGIN, ONE("listen"), ONE("advertise"), ONE("cluster"), LIST("seeds"), CFG_SEC("secret", secret_settings, TITLED),
    ONE("heartbeat_interval"), ONE("heartbeat_misses"), ONE("reconnect_min"), ONE("reconnect_max"), ONE("handshake_timeout"),
    ONE("behavior_mismatch"), CFG_END()
};

static cfg_opt_t server_settings[] = {
    BEGIN, ONE("behavior"), ONE("args"), ONE("register"), ONE("name"), ONE("priority"), ONE("restart"), ONE("shutdown"), CFG_END()
};

static cfg_opt_t supervisor_settings[] = {
    BEGIN, ONE("strategy"), ONE("max_restarts"), ONE("within"), CFG_SEC("server", server_settings, TITLED), CFG_END()
};

static cfg_opt_t root_settings[] = {
    ONE("worker_processes"), LIST("worker_cpu_affinity"), ONE("link_cpu_affinity"), ONE("user"), ONE("daemon"), ONE("pid"),
    CFG_SEC("log", log_settings, TITLED), CFG_SEC("node", node_settings, TITLED),
    ONE("modules_dir"), ONE("modules_state_dir"), CFG_SEC("module", module_settings, TITLED),
    CFG_SEC("supervisor", supervisor_settings, TITLED), CFG_SEC("control", control_settings, CFGF_MULTI),
    ONE("registry_capacity"), ONE("nodes_max"), ONE("max_body"), ONE("mailbox_messages"), ONE("mailbox_bytes"),
    ONE("handler_limit"), ONE("shutdown_timeout"), ONE("max_servers"),
    CFG_FUNC("include", on_include), CFG_END()
};

static const struct { const char *path; unsigned max; } section_limits[] = {
    { "log", 1 }, { "node", 1 }, { "control", 1 }, { "node|secret", CONF_SECRETS_MAX }, { "module", CONF_MODULES_MAX },
    { "supervisor", CONF_SUPERVISORS_MAX }, { "supervisor|server", CONF_SERVERS_MAX },
};

/* Once set, the next '=' is a second one. A list is told apart from its own second value by being emptied first. */
static bool
is_set_twice(const cfg_opt_t *opt, const struct conf_entry *before)
{
    return before != NULL && ((opt->flags & CFGF_LIST) == 0 || opt->nvalues == 1);
}

static int
on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct conf_reader *r = reading;
    const struct conf_entry *before = table_get(r->seen, (uintptr_t)opt);

    if (is_set_twice(opt, before)) {
        conf_complain(r, r->file, cfg->line, "'%s' is set already, in %s:%d; keep one of them", opt->name, before->file, before->line);
        return -1;
    }
    if (!utf8_is_valid(value, strlen(value))) {       /* the file is; an escape or a variable may not be */
        conf_complain(r, r->file, cfg->line, "'%s' is not UTF-8", opt->name);
        return -1;
    }
    struct conf_entry *e = conf_keep(r, calloc(1, sizeof *e));
    if (e == NULL)
        return -1;
    *e = (struct conf_entry){ .next = r->entries, .value = conf_keep(r, strdup(value)), .file = r->file, .line = cfg->line };
    r->entries = e;
    if (e->value == NULL || table_put(r->seen, (uintptr_t)opt, e) != 0)
        return -1;
    *(void **)result = e;
    return 0;
}

/* The end of a section. Bounded here, while reading, because libConfuse compares each title with all before it. */
static int
on_section(cfg_t *cfg, cfg_opt_t *opt)
{
    (void)cfg;
    unsigned max = 0;
    for (size_t i = 0; i < BASE_COUNT(section_limits); i++) {
        const char *name = strrchr(section_limits[i].path, '|');
        if (strcmp(name != NULL ? name + 1 : section_limits[i].path, opt->name) == 0)
            max = section_limits[i].max;
    }
    unsigned count = cfg_opt_size(opt);
    if (count <= max)
        return 0;
    const struct conf_entry *at = conf_begin_of(reading, cfg_opt_getnsec(opt, count - 1));
    conf_complain(reading, at->file, at->line, "more than %u section%s '%s'; remove this one", max, max == 1 ? "" : "s", opt->name);
    return -1;
}

static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    static const char unknown[] = "no such option ", duplicate[] = "found duplicate title ";
    char text[256], shown[CONF_SHOWN];
    bool is_root = strcmp(cfg_name(cfg), "root") == 0;

    (void)vsnprintf(text, sizeof text, fmt, ap);
    if (strncmp(text, unknown, sizeof unknown - 1) == 0)
        conf_complain(reading, reading->file, cfg->line, "unknown setting %s%s%s%s; noexd.conf(5) lists all",
                      conf_shown(text + sizeof unknown - 1, shown), is_root ? "" : " in section '", is_root ? "" : cfg_name(cfg),
                      is_root ? "" : "'");
    else if (strncmp(text, duplicate, sizeof duplicate - 1) == 0)
        conf_complain(reading, reading->file, cfg->line, "a section with the title %s is there already; give this one another",
                      conf_shown(text + sizeof duplicate - 1, shown));
    else
        conf_complain(reading, reading->file, cfg->line, "%s; a setting is NAME = VALUE, a section NAME { ... } or NAME \"TITLE\" { ... }",
                      conf_shown(text, shown));
}

/* include("file"), relative to the file that says it. Not libConfuse's own, which opens files itself and loses count of lines when one
 * ends inside a section. */
static int
on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    (void)opt;
    struct conf_reader *r = reading;
    const char *file = r->file;
    int line = cfg->line, err = -1;
    size_t source;

    if (argc != 1 || argv[0][0] == '\0') {
        conf_complain(r, file, line, "include takes the name of one file: include(\"FILE\")");
        return -1;
    }
    if (r->depth == CONF_INCLUDE_DEPTH_MAX) {
        conf_complain(r, file, line, "includes are nested more than %d deep", CONF_INCLUDE_DEPTH_MAX);
        return -1;
    }
    char *dir = conf_path_dir(r, strcmp(file, "-g") == 0 ? r->conf->file : file);
    char *path = dir != NULL ? conf_path_join(r, dir, argv[0]) : NULL;
    if (path != NULL && conf_source_read(r, path, file, line, &source) == 0) {
        r->depth++;
        err = conf_reader_parse(r, source);
        r->depth--;
        r->file = file;
        cfg->line = line;
    }
    free(path);
    free(dir);
    return err;
}

int
conf_reader_init(struct conf_reader *r, struct conf *c, struct buf *complaints)
{
    *r = (struct conf_reader){ .conf = c, .complaints = complaints, .top = { .file = c->file, .line = 1 } };
    if (table_new(&r->seen) != 0) {
        (void)conf_keep(r, NULL);
        return -1;
    }
    nx_assert(reading == NULL);
    reading = r;                                      /* the hidden defaults of sections call on_value */
    r->root = conf_keep(r, cfg_init(root_settings, CFGF_NONE));
    reading = NULL;
    if (r->root == NULL)
        return -1;
    (void)cfg_set_error_function(r->root, on_error);
    for (size_t i = 0; i < BASE_COUNT(section_limits); i++)
        (void)cfg_set_validate_func(r->root, section_limits[i].path, on_section);
    return 0;
}

void
conf_reader_fini(struct conf_reader *r)
{
    if (r->root != NULL)
        (void)cfg_free(r->root);
    table_free(&r->seen);
    for (struct conf_entry *e = r->entries, *next; e != NULL; e = next) {
        next = e->next;
        free(e->value);
        free(e);
    }
}

/* Also below itself, for an include: libConfuse keeps a stack of texts, and this call's state is on ours. */
int
conf_reader_parse(struct conf_reader *r, size_t source)
{
    const char *file = r->conf->sources[source].path;
    size_t len = r->conf->sources[source].len;
    unsigned complaints = r->complaint_count;
    int err = -1;

    char *text = conf_keep(r, malloc(len + 1));
    if (text == NULL)
        return -1;
    memcpy(text, r->conf->sources[source].text, len);
    text[len] = '\n';                                 /* never empty; and the last token ends before the text does */
    FILE *stream = conf_scan(r, file, text, len) == 0 ? conf_keep(r, fmemopen(text, len + 1, "r")) : NULL;
    if (stream != NULL) {
        struct conf_reader *outer = reading;
        reading = r;
        r->file = file;
        r->identity[source].is_open = true;
        err = cfg_parse_fp(r->root, stream) == CFG_SUCCESS ? 0 : -1;
        r->identity[source].is_open = false;
        reading = outer;
        (void)fclose(stream);
    }
    if (err != 0 && r->complaint_count == complaints)
        conf_complain(r, file, r->root->line, "cannot be parsed");
    free(text);
    return err;
}

/* The one second value that on_value does not see: a list that was given and is emptied again. */
void
conf_reader_check(struct conf_reader *r)
{
    size_t cursor = 0;
    uint64_t key;
    const struct conf_entry *e;
    while ((e = table_next(r->seen, &cursor, &key)) != NULL) {
        const cfg_opt_t *opt = (const cfg_opt_t *)(uintptr_t)key;
        if (opt->nvalues == 0)
            conf_complain(r, e->file, e->line, "'%s' is set here and again, to nothing, further down; keep one of them", opt->name);
    }
}

const struct conf_entry *
conf_entry_at(cfg_t *section, const char *name, size_t index)
{
    return cfg_getnptr(section, name, (unsigned)index);
}

const struct conf_entry *
conf_entry_of(cfg_t *section, const char *name)
{
    return conf_entry_at(section, name, 0);
}

size_t
conf_entry_count(cfg_t *section, const char *name)
{
    return cfg_size(section, name);
}

const struct conf_entry *
conf_begin_of(const struct conf_reader *r, cfg_t *section)
{
    return section != r->root ? conf_entry_of(section, begin_name) : &r->top;
}
