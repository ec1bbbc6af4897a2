/*
 * privileges.c - from root to the configured user.
 *
 * Lives here: the one place that calls setuid.
 * Never here: the way back.
 * Runs in: every child of the master, the validator; the check in the master and in -t.
 */
#include "process/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "base/log.h"

int
privileges_check(const struct conf *conf, struct base_error *why)
{
    if (conf->user != NULL && getpwnam(conf->user) == NULL)
        return base_error_set(why, NX_EINVAL, conf->user, "%s: user \"%s\" does not exist", conf->file, conf->user);
    return 0;
}

void
privileges_warn(const struct conf *conf)
{
    const struct passwd *p = conf->user != NULL ? getpwnam(conf->user) : NULL;
    if (conf->user == NULL && geteuid() == 0)
        log_warn("master: workers run as root; name a user in %s", conf->file);
    if (p != NULL && geteuid() != 0 && p->pw_uid != geteuid())
        log_warn("master: not started by root: user \"%s\" of %s is not used", conf->user, conf->file);
}

int
privileges_drop(const char *user, struct base_error *why)
{
    if (user == NULL || geteuid() != 0)
        return 0;
    errno = 0;
    const struct passwd *p = getpwnam(user);
    if (p == NULL)
        return errno != 0 ? base_error_sys(why, errno, "look up user", user) : base_error_set(why, NX_EINVAL, user, "user \"%s\" does not exist", user);
    uid_t uid = p->pw_uid;
    gid_t gid = p->pw_gid;
    if (initgroups(user, gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
        return base_error_sys(why, errno, "become user", user);
    if (uid != 0 && setuid(0) == 0)
        return base_error_set(why, NX_ESYS, user, "could become root again after becoming \"%s\"", user);
    return 0;
}
