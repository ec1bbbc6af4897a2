/*
 * module.h - user code: from the operator's file to callbacks that can be called.
 *
 * Lives here: staging (stage.c: read once, check, hash, store under a content name), validation (validate.c: in a throwaway process),
 * loading into a worker and the table of what is loaded, by behavior name (load.c).
 * Never here: servers, messages, processes: who forks the stager and the validator is process/.
 * Runs in: the stager and the validator (their own processes), workers. Never in the master, the link worker or the gate.
 */
#ifndef NOEXD_MODULE_MODULE_H
#define NOEXD_MODULE_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "noex/noex.h"

enum { MODULE_HASH = 32, MODULE_PATH_MAX = 4096, MODULE_BEHAVIORS_MAX = 64, MODULE_FILE_MAX = 64 << 20,
       MODULE_LOADED_MAX = 256 };

/* ---- stage (in the stager) */
struct module_staged { uint8_t hash[MODULE_HASH]; char path[MODULE_PATH_MAX]; bool is_new; };
/*
 * Copy the operator's file to DIR/<hash in hex>.so: opened once with O_NOFOLLOW, regular, owned by root or `owner` (uid), not writable by group or
 * others, at most MODULE_FILE_MAX, size and mtime the same before and after reading, ELF of this class and machine with all headers inside,
 * SHA-256, temporary name + rename, mode 0444. A file that has not settled (younger than 1 s) is waited for, up to 3 s. A copy that is there is checked
 * against its name, and made anew if it differs.
 * `dir` exists (process/ makes it, 0755). NX_EINVAL with the reason and the path; NX_ESYS.
 */
int module_stage(const char *file, const char *dir, uint32_t owner, struct module_staged *out, struct base_error *why);
/* Remove files in dir that are named like staged modules (or are left over from a stager that died) and are not among `kept`. */
int module_sweep(const char *dir, const struct module_staged *kept, size_t count, struct base_error *why);

/* ---- validate (in the validator) */
struct module_behavior_info { char name[NX_BEHAVIOR_NAME_MAX + 1]; uint32_t version; };
struct module_info { struct module_behavior_info behaviors[MODULE_BEHAVIORS_MAX]; size_t count; };
/* dlopen RTLD_NOW | RTLD_LOCAL, find noexd_module, check magic, ABI, sizes, names, versions, required callbacks (and that they lie inside the module's
 * mapping), run its selftest, see that it started no thread and set no signal handler. NX_EINVAL with the reason (B2). The module stays loaded. */
int module_validate(const char *path, struct module_info *out, struct base_error *why);
/* Limits for the throwaway process: CPU 5 s, address space 1 GiB (not under sanitizers), 64 descriptors, no core. */
int module_confine(struct base_error *why);

/* ---- load (in a worker) */
struct modules;                          /* everything loaded in this process */
struct module_code;                      /* one behavior of one generation: counted */

int  modules_new(struct modules **out);
void modules_free(struct modules **m);
/* Load a staged file (absolute path) as generation g; its behaviors become the current ones of their names, all of them or, on an error, none. A file
 * that is current already changes nothing and keeps its generation. NX_EINVAL (also: a name of another file of the same generation, or of a built-in
 * behavior), NX_ENOMEM, NX_EBUSY (MODULE_LOADED_MAX files are mapped: restart required). Loading an older file again is the way back to it. */
int  modules_load(struct modules *m, const char *path, const uint8_t hash[MODULE_HASH], uint32_t generation, struct base_error *why);
/* A behavior that is part of noexd itself (the supervisor). Borrowed for ever. */
int  modules_add_builtin(struct modules *m, const nx_behavior *behavior, struct base_error *why);
/* The current code of a behavior, counted: each server holds one. NX_ENOBEHAVIOR. */
int  modules_take(struct modules *m, const char *name, size_t len, struct module_code **out);
void module_code_ref(struct module_code *c);
void module_code_unref(struct module_code **c);
const nx_behavior *module_code_behavior(const struct module_code *c);    /* borrowed while counted; names are copies of ours */
const char *module_code_name(const struct module_code *c);
uint32_t module_code_generation(const struct module_code *c);
const uint8_t *module_code_hash(const struct module_code *c);
size_t modules_count(const struct modules *m);         /* behaviors, built-in ones too */
/* Unmap files of which no code is counted any more; how many went. Between two turns of the loop, never below a callback of a module: giving back the last
 * count unmaps nothing by itself. */
size_t modules_retire(struct modules *m);
/* Which module holds this code address? For crash notes: path and offset. NULL if none. Safe in a signal handler. */
const char *modules_at(const struct modules *m, uintptr_t address, uintptr_t *offset);

#endif
