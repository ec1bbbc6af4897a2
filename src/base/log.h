/*
 * log.h - one line an event: `2026-11-23T14:42:58.123Z level process[pid] room: event key=value ...`.
 *
 * Never blocks: a line that cannot be written now is counted, and the first line that gets through again says how many were
 * lost. Never logs a secret or a body. Control bytes in a line are escaped as \xNN. Not for signal handlers.
 */
#ifndef NOEXD_BASE_LOG_H
#define NOEXD_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* Until the first of these, lines go to descriptor 2. The log does not own descriptor 2. */
int  log_open(const char *path, struct base_error *why);     /* append, 0640, close-on-exec; "stderr" = descriptor 2 */
int  log_reopen(struct base_error *why);                     /* the same path again, after a rotation */
void log_take_fd(int fd);                                    /* owns fd from now on; the former one is closed */
int  log_fd(void);                                           /* borrowed */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_process(const char *name);                      /* "master", "worker 0", ...; copied, cut at 31 bytes */
int  log_level_parse(const char *text, enum log_level *out); /* "error", "warn", "info", "debug"; NX_EINVAL */
const char *log_level_name(enum log_level level);
uint64_t log_lost(void);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* For what a stranger can trigger: at most `per_second` lines pass a gate in a second; the first line of the next second is
 * preceded by one that tells how many were held back. Storage belongs to the caller, zeroed. */
struct log_gate { uint64_t second; uint32_t passed; uint32_t held; };
bool log_gate_pass(struct log_gate *gate, uint32_t per_second);

#endif
