/*
 * paths.c - where a relative path leads.
 *
 * Lives here: joining, and the rule: absolute stays, with a slash below the prefix, a bare name below its usual place.
 * Never here: whether anything is there.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *
conf_path_join(struct conf_reader *r, const char *dir, const char *name)
{
    char *path;
    if (name[0] == '/')
        return conf_keep(r, strdup(name));
    return conf_keep(r, asprintf(&path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name) < 0 ? NULL : path);
}

char *
conf_path_resolve(struct conf_reader *r, const struct conf_entry *e, const char *name, const char *place)
{
    bool is_bare = strchr(name, '/') == NULL && place[0] != '\0';
    if (name[0] == '\0' || strlen(r->conf->prefix) + strlen(place) + strlen(name) + 3 > PATH_MAX) {
        conf_complain(r, e->file, e->line, name[0] == '\0' ? "the path is empty" : "the path is longer than the system allows");
        return NULL;
    }
    char *dir = conf_path_join(r, r->conf->prefix, is_bare ? place : "");
    char *path = dir != NULL ? conf_path_join(r, is_bare ? dir : r->conf->prefix, name) : NULL;
    free(dir);
    return path;
}

char *
conf_path_dir(struct conf_reader *r, const char *file)
{
    const char *slash = strrchr(file, '/');
    if (slash == NULL)
        return conf_keep(r, strdup("."));
    return conf_keep(r, strndup(file, slash == file ? 1 : (size_t)(slash - file)));
}

char *
conf_path_prefix(struct conf_reader *r, const char *prefix)
{
    char here[PATH_MAX];
    if (prefix[0] != '/' && getcwd(here, sizeof here) == NULL) {
        conf_complain(r, prefix, 1, "the prefix is relative, and the current directory cannot be found");
        return NULL;
    }
    char *path = conf_path_join(r, prefix[0] != '/' ? here : "", prefix);
    for (size_t len = path != NULL ? strlen(path) : 0; len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    return path;
}
