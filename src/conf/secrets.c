/*
 * secrets.c - the cluster's secrets as the configuration names them.
 *
 * Lives here: their ids, which of them is sent, and whether their files are fit to hold a secret.
 * Never here: the secrets; no byte of them is read here.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
is_trusted_owner(const struct conf *c, uid_t owner)
{
    const struct passwd *user = c->user != NULL ? getpwnam(c->user) : NULL;
    return owner == 0 || owner == geteuid() || (user != NULL && owner == user->pw_uid);
}

/* lstat: whoever may move a symbolic link may choose the secret. */
static void
check_file(struct conf_reader *r, const struct conf_entry *e, const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        conf_complain(r, e->file, e->line, "secret file %s: %s; make one with noexd keygen FILE", path,
                      strerror(errno));
    else if (!S_ISREG(st.st_mode))
        conf_complain(r, e->file, e->line, "secret file %s is %s, not a regular file", path,
                      S_ISDIR(st.st_mode) ? "a directory" : S_ISLNK(st.st_mode) ? "a symbolic link" : "a device, pipe or socket");
    else if ((st.st_mode & 07777) != 0600 && (st.st_mode & 07777) != 0400)
        conf_complain(r, e->file, e->line, "secret file %s has mode %04o, so others may use it; chmod 0600 it", path,
                      (unsigned)(st.st_mode & 07777));
    else if (!is_trusted_owner(r->conf, st.st_uid))
        conf_complain(r, e->file, e->line, "secret file %s belongs to user %u; chown it to root or to noexd's user", path,
                      (unsigned)st.st_uid);
    else if (st.st_size < CONF_SECRET_BYTES_MIN || st.st_size > CONF_SECRET_BYTES_MAX)
        conf_complain(r, e->file, e->line, "secret file %s has %lld bytes; a secret has %d to %d", path, (long long)st.st_size,
                      CONF_SECRET_BYTES_MIN, CONF_SECRET_BYTES_MAX);
}

static void
take_file(struct conf_reader *r, cfg_t *section, struct conf_secret *s)
{
    const struct conf_entry *e = conf_entry_of(section, "file"), *begin = conf_begin_of(r, section);
    if (e == NULL || e->value[0] == '\0') {
        conf_complain(r, (e != NULL ? e : begin)->file, (e != NULL ? e : begin)->line, "secret '%s' has no file; add: file = \"PATH\"",
                      s->label);
        return;
    }
    char *dir = conf_path_dir(r, r->conf->file);
    s->file = dir != NULL ? conf_path_join(r, dir, e->value) : NULL;
    free(dir);
    if (s->file != NULL)
        check_file(r, e, s->file);
}

static void
take_secret(struct conf_reader *r, cfg_t *section, bool is_only_one, struct conf *c)
{
    struct conf_secret *s = &c->secrets[c->secret_count];
    const struct conf_entry *begin = conf_begin_of(r, section), *id = conf_entry_of(section, "id");

    s->label = conf_keep(r, strdup(cfg_title(section)));
    if (s->label == NULL)
        return;
    c->secret_count++;
    conf_take_count(r, section, "id", 0, (struct conf_range){ 1, UINT32_MAX }, &s->id);
    if (id == NULL)
        conf_complain(r, begin->file, begin->line, "secret '%s' has no id; add: id = NUMBER, the same on every node", s->label);
    for (size_t i = 0; i + 1 < c->secret_count; i++)
        if (s->id != 0 && c->secrets[i].id == s->id)
            conf_complain(r, id->file, id->line, "secrets '%s' and '%s' have the same id %u; give each its own", c->secrets[i].label,
                          s->label, s->id);
    conf_take_flag(r, section, "send", is_only_one, &s->send);
    take_file(r, section, s);
}

void
conf_build_secrets(struct conf_reader *r, cfg_t *node, struct conf *c)
{
    unsigned count = cfg_size(node, "secret"), senders = 0;
    if (count == 0)
        return;
    for (unsigned i = 0; i < count && i < CONF_SECRETS_MAX; i++) {
        cfg_t *section = cfg_getnsec(node, "secret", i);
        take_secret(r, section, count == 1, c);
        if (c->secret_count == i + 1 && c->secrets[i].send && senders++ > 0) {
            const struct conf_entry *e = conf_entry_of(section, "send");
            conf_complain(r, e->file, e->line, "secret '%s' is the second with send = on; one is sent, the others are only accepted",
                          c->secrets[i].label);
        }
    }
    if (senders == 0) {
        const struct conf_entry *begin = conf_begin_of(r, cfg_getnsec(node, "secret", 0));
        conf_complain(r, begin->file, begin->line, "no secret is sent; add send = on to one of them");
    }
}
