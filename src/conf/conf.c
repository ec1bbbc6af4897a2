/*
 * conf.c - one reading of the configuration, from options to struct conf.
 *
 * Lives here: which files in which order, the life of struct conf.
 * Never here: the grammar (reader.c), values (settings.c, build.c).
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static const char default_file[] = "etc/noexd/noexd.conf", directives_name[] = "-g";

/* Everything that is written, into entries: the main file with its includes, then the command line. */
static int
read_all(struct conf_reader *r, const struct conf_options *o)
{
    size_t main_file, directives;
    if (conf_source_read(r, r->conf->file, r->conf->file, 1, &main_file) != 0 || conf_reader_parse(r, main_file) != 0)
        return -1;
    if (o->directives != NULL && (conf_source_add(r, directives_name, o->directives, strlen(o->directives), &directives) != 0 ||
                                  conf_reader_parse(r, directives) != 0))
        return -1;
    conf_reader_check(r);
    return 0;
}

static int
find_file(struct conf_reader *r, const struct conf_options *o, struct conf *c)
{
    c->prefix = conf_path_prefix(r, o->prefix != NULL ? o->prefix : o->default_prefix);
    c->file = c->prefix != NULL ? conf_path_join(r, c->prefix, o->file != NULL ? o->file : default_file) : NULL;
    return c->file != NULL ? 0 : -1;
}

int
conf_load(const struct conf_options *options, struct conf **out, struct buf *complaints)
{
    nx_assert(options->prefix != NULL || options->default_prefix != NULL);
    struct conf *c = calloc(1, sizeof *c);
    struct conf_reader r = { .conf = c, .complaints = complaints };
    if (c == NULL) {
        (void)buf_printf(complaints, "noexd:1: out of memory\n");
        return NX_ENOMEM;
    }
    if (find_file(&r, options, c) == 0 && conf_reader_init(&r, c, complaints) == 0 && read_all(&r, options) == 0)
        conf_build(&r, c);
    conf_reader_fini(&r);
    if (r.complaint_count > 0) {
        conf_free(&c);
        return NX_EINVAL;
    }
    *out = c;
    return 0;
}

static void
free_supervisor(struct conf_supervisor *s)
{
    for (size_t i = 0; i < s->server_count; i++) {
        free(s->servers[i].label);
        free(s->servers[i].behavior);
        free(s->servers[i].args);
        free(s->servers[i].name);
    }
    free(s->servers);
    free(s->name);
}

void
conf_free(struct conf **conf)
{
    struct conf *c = *conf;
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->secret_count; i++) {
        free(c->secrets[i].label);
        free(c->secrets[i].file);
    }
    for (size_t i = 0; i < c->module_count; i++) {
        free(c->modules[i].name);
        free(c->modules[i].file);
    }
    for (size_t i = 0; i < c->supervisor_count; i++)
        free_supervisor(&c->supervisors[i]);
    for (size_t i = 0; i < c->source_count; i++) {
        free(c->sources[i].path);
        free(c->sources[i].text);
    }
    free(c->modules);
    free(c->supervisors);
    free(c->sources);
    free(c->seeds);
    char *const texts[] = {
        c->prefix, c->file, c->user, c->pid_file, c->modules_state_dir, c->log_file, c->cluster, c->listen_host, c->modules_dir,
        c->control_path,
    };
    for (size_t i = 0; i < BASE_COUNT(texts); i++)
        free(texts[i]);
    free(c);
    *conf = NULL;
}

size_t
conf_source_count(const struct conf *c)
{
    return c->source_count;
}

const struct conf_source *
conf_source_at(const struct conf *c, size_t index)
{
    return index < c->source_count ? &c->sources[index] : NULL;
}
