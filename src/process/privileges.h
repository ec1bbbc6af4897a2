/*
 * privileges.h - whom the processes with user code run as.
 */
#ifndef NOEXD_PROCESS_PRIVILEGES_H
#define NOEXD_PROCESS_PRIVILEGES_H

#include "base/error.h"
#include "conf/conf.h"

/* Does the configured user exist? */
int  privileges_check(const struct conf *conf, struct base_error *why);
/* A line in the log about what is allowed and yet odd. */
void privileges_warn(const struct conf *conf);

/* Become `user` for good: groups, group, user. Nothing happens without root's rights, or if `user` is NULL. Clears PR_SET_PDEATHSIG. */
int  privileges_drop(const char *user, struct base_error *why);

#endif
