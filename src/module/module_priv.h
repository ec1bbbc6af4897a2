/*
 * module_priv.h - what the files of this room share: ELF checks, a mapped module, its descriptor.
 */
#ifndef NOEXD_MODULE_MODULE_PRIV_H
#define NOEXD_MODULE_MODULE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "module/module.h"

/* ---- elf.c: is this a shared object that this process could map? NX_EINVAL with the reason, `path` only for the text. */
int elf_check(const void *bytes, size_t len, const char *path, struct base_error *why);

/* ---- image.c: a file that dlopen has mapped */
enum { IMAGE_SEGMENTS_MAX = 16 };
enum { IMAGE_READ = 4, IMAGE_EXECUTE = 1 };                    /* as PF_R and PF_X */

struct image {
    void *handle;
    uintptr_t base;                                             /* what addresses in the file are relative to */
    uintptr_t low, high;                                        /* first byte, one behind the last */
    struct { uintptr_t low, high; uint32_t flags; } segments[IMAGE_SEGMENTS_MAX];
    size_t segment_count;
};

/* dlopen RTLD_NOW | RTLD_LOCAL: its constructors run. `path` is absolute. NX_EINVAL with the linker's own words. */
int  image_open(const char *path, struct image *out, struct base_error *why);
/* Is it unmapped now? false: the linker keeps it (thread-local C++ objects, nodelete). */
bool image_close(struct image *image, const char *path);
/* Do all of these bytes lie in one segment with these rights? */
bool image_holds(const struct image *image, const void *at, size_t len, uint32_t rights);

/* ---- descriptor.c: what a module says of itself, checked and copied; only callbacks still point into the module */
struct descriptor_entry { nx_behavior behavior; char name[NX_BEHAVIOR_NAME_MAX + 1]; };
struct descriptor {
    struct descriptor_entry entries[MODULE_BEHAVIORS_MAX];
    size_t count;
    int (*selftest)(void);
};
int descriptor_read(const struct image *image, const char *path, struct descriptor *out, struct base_error *why);
/* The rules that a built-in behavior must keep as well: name, version, required callbacks, nothing reserved. */
int descriptor_check_behavior(const nx_behavior *b, const char *name, size_t name_len, const char *path, struct base_error *why);

/* NX_EINVAL, subject = path, text "module PATH: ...". */
int module_refuse(struct base_error *why, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
