/*
 * conf_priv.h - what the files of this room share: the reader, its entries, and the ways to take a setting from them.
 */
#ifndef NOEXD_CONF_CONF_PRIV_H
#define NOEXD_CONF_CONF_PRIV_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <confuse.h>

#include "base/table.h"
#include "conf/conf.h"

/* One value as it was written, and where. Lives as long as the reader; `file` is the path of a source of the configuration. */
struct conf_entry {
    struct conf_entry *next;
    char *value;
    const char *file;
    int line;
};

/* One reading of a configuration. */
struct conf_reader {
    struct conf *conf;                        /* being filled */
    struct buf *complaints;
    unsigned complaint_count;
    const char *file;                         /* the source that is being parsed: its path */
    struct { dev_t dev; ino_t ino; bool is_open; } identity[CONF_FILES_MAX + 1];      /* by source index; zero for -g */
    unsigned depth;                           /* of includes */
    struct conf_entry *entries;               /* all of them, newest first */
    struct conf_entry top;                    /* where the root begins */
    struct table *seen;                       /* cfg_opt_t * -> the entry that set it */
    cfg_t *root;
};

/* ---- complaints (complaint.c) */
enum { CONF_SHOWN = 4 * (64 + 3) + 4 };
void conf_complain(struct conf_reader *r, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A piece of somebody's text in a form that fits into a complaint: one line, not long. */
const char *conf_shown(const char *text, char out[static CONF_SHOWN]);
/* `p`, or a complaint about memory and NULL. */
void *conf_keep(struct conf_reader *r, void *p);

/* ---- sources (source.c, scan.c): 0, or -1 after a complaint */
int  conf_source_read(struct conf_reader *r, const char *path, const char *from_file, int from_line, size_t *index);
int  conf_source_add(struct conf_reader *r, const char *path, const char *text, size_t len, size_t *index);
/* Is this text whole: encoding, quotes, comments, braces, escapes, variables? Blanks the comments and a BOM in it. */
int  conf_scan(struct conf_reader *r, const char *file, char *text, size_t len);

/* ---- libConfuse (reader.c): files into entries; 0, or -1 after a complaint */
int  conf_reader_init(struct conf_reader *r, struct conf *c, struct buf *complaints);
void conf_reader_fini(struct conf_reader *r);
int  conf_reader_parse(struct conf_reader *r, size_t source);
void conf_reader_check(struct conf_reader *r);                         /* after the last of them */
const struct conf_entry *conf_entry_of(cfg_t *section, const char *name);            /* NULL = not given */
const struct conf_entry *conf_entry_at(cfg_t *section, const char *name, size_t index);
size_t conf_entry_count(cfg_t *section, const char *name);
/* Where a section begins; the root begins with the main file. */
const struct conf_entry *conf_begin_of(const struct conf_reader *r, cfg_t *section);

/* ---- settings (settings.c): *out = the default, or what is written; anything wrong is a complaint and leaves the default */
struct conf_range { uint64_t min, max; };
void conf_take_duration(struct conf_reader *r, cfg_t *section, const char *name, int64_t default_ms, struct conf_range range, int64_t *out_ms);
void conf_take_size(struct conf_reader *r, cfg_t *section, const char *name, uint64_t default_bytes, struct conf_range range, uint64_t *out);
void conf_take_count(struct conf_reader *r, cfg_t *section, const char *name, uint32_t default_count, struct conf_range range, uint32_t *out);
void conf_take_flag(struct conf_reader *r, cfg_t *section, const char *name, bool is_default_on, bool *out);
/* words: one after another, NULL at the end; the answer is an index. */
void conf_take_word(struct conf_reader *r, cfg_t *section, const char *name, const char *const *words, int default_index, int *out);
/* A whole number of digits; false if it is none or above max. */
bool conf_parse_count(const char *text, uint64_t max, uint64_t *out);

/* ---- paths (paths.c): new strings, NULL after a complaint */
char *conf_path_join(struct conf_reader *r, const char *dir, const char *name);
/* Absolute: itself. With a slash: below the prefix. Else: below PREFIX/place; place "" = the prefix. */
char *conf_path_resolve(struct conf_reader *r, const struct conf_entry *e, const char *name, const char *place);
char *conf_path_dir(struct conf_reader *r, const char *file);
/* The prefix, absolute, without a slash at its end. */
char *conf_path_prefix(struct conf_reader *r, const char *prefix);

/* ---- from entries to struct conf */
void conf_build_cpus(struct conf_reader *r, struct conf *c);           /* cpus.c: workers and affinity */
void conf_build_node(struct conf_reader *r, struct conf *c);           /* node.c */
void conf_build_secrets(struct conf_reader *r, cfg_t *node, struct conf *c);    /* secrets.c */
void conf_build_supervisors(struct conf_reader *r, struct conf *c);    /* supervisors.c */
void conf_build(struct conf_reader *r, struct conf *c);                /* build.c: all of it */

#endif
