/*
 * behaviors.h - the behavior table: what this node can run. Writer: the link worker (the master before the fork).
 */
#ifndef NOEXD_SHM_BEHAVIORS_H
#define NOEXD_SHM_BEHAVIORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct behaviors;

struct behaviors_entry {
    char name[129];
    char file[256];                        /* module file as configured, for people; "" = built in */
    uint32_t version;
    uint32_t generation;                   /* reload generation it came with */
    uint8_t hash[32];                      /* SHA-256 of the module file */
    bool is_present;
};

uint32_t behaviors_count(const struct behaviors *b);
int  behaviors_get(const struct behaviors *b, uint32_t index, struct behaviors_entry *out);    /* NX_EINVAL; NX_EBUSY */
int  behaviors_find(const struct behaviors *b, const char *name, size_t len, uint32_t *index); /* NX_ENOBEHAVIOR: unknown, not present */
int  behaviors_put(struct behaviors *b, const struct behaviors_entry *e, uint32_t *index);     /* adds or replaces by name; NX_EFULL */

#endif
