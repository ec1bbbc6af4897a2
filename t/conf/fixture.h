/*
 * fixture.h - a directory of its own for each test, with a configuration in it.
 */
#ifndef NOEXD_T_CONF_FIXTURE_H
#define NOEXD_T_CONF_FIXTURE_H

#include <stddef.h>
#include <sys/types.h>

#include "conf/conf.h"

/* A prefix: a new directory below TMPDIR. Its path, until fixture_end. */
const char *fixture_begin(void);
void fixture_end(void);                                            /* removes it */
const char *fixture_path(const char *name);                        /* PREFIX/name; good for a few calls */
void fixture_write(const char *name, const void *bytes, size_t len, mode_t mode);
void fixture_secret(const char *name);                             /* 32 bytes, 0600 */

/* Load `text` as PREFIX/n.conf with -g directives (may be NULL). The complaints, with the prefix and its slash left out; "" = loaded. */
const char *fixture_load(const char *text, const char *directives, struct conf **out);
/* The same for a text that does not end at its first NUL. */
const char *fixture_load_bytes(const void *text, size_t len, const char *directives, struct conf **out);

/* Shorthands, each with a fixture of its own. */
void refuses(const char *text, const char *complaint);             /* the first complaint begins so; one line each; nothing was made */
void refuses_with(const char *text, const char *directives, const char *complaint);
void accepts(const char *text);

#endif
