/*
 * descriptor.c - what a module says of itself.
 *
 * Lives here: finding `noexd_module`, checking each field of it before the next is used, and copying it.
 * Never here: running the module's code.
 * Runs in: the validator, workers (which check again what they have mapped).
 */
#include "module/module_priv.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const char symbol[] = "noexd_module";

typedef void callback(void);

static int
check_header(const struct image *image, const nx_module *d, const char *path, struct base_error *why)
{
    if (d == NULL)
        return module_refuse(why, path, "it has no '%s'; declare its behaviors with NX_MODULE(...)", symbol);
    /* Searched in what it is linked with as well. The first fields are the same in every version. */
    if ((uintptr_t)d % _Alignof(nx_module) != 0 || !image_holds(image, d, offsetof(nx_module, behavior_size), IMAGE_READ))
        return module_refuse(why, path, "its '%s' is not its own", symbol);
    if (d->magic != NX_MODULE_MAGIC)
        return module_refuse(why, path, "its '%s' is something else: wrong magic number", symbol);
    if (d->abi != NX_MODULE_ABI)
        return module_refuse(why, path, "built for ABI %u; this noexd has %u: build it again with this noexd's <noex/noex.h>", d->abi, NX_MODULE_ABI);
    if (d->size != sizeof *d || !image_holds(image, d, sizeof *d, IMAGE_READ) || d->behavior_size != sizeof(nx_behavior))
        return module_refuse(why, path, "sizes %u and %u where this noexd has %zu and %zu: build it again with this noexd's <noex/noex.h>",
                             d->size, d->size == sizeof *d ? d->behavior_size : 0, sizeof *d, sizeof(nx_behavior));
    for (size_t i = 0; i < BASE_COUNT(d->reserved); i++)
        if (d->reserved[i] != NULL)
            return module_refuse(why, path, "a reserved field of '%s' is not zero", symbol);
    if (d->count < 1 || d->count > MODULE_BEHAVIORS_MAX)
        return module_refuse(why, path, "%u behaviors; a module has 1 to %d", d->count, MODULE_BEHAVIORS_MAX);
    if ((uintptr_t)d->behaviors % _Alignof(nx_behavior) != 0 || !image_holds(image, d->behaviors, d->count * sizeof(nx_behavior), IMAGE_READ))
        return module_refuse(why, path, "its table of behaviors is not its own");
    return 0;
}

/* The name's length; 0 for one that does not lie in the module or does not end in time. */
static size_t
name_length(const struct image *image, const char *name)
{
    size_t len = 0;
    while (len <= NX_BEHAVIOR_NAME_MAX && image_holds(image, name + len, 1, IMAGE_READ))
        if (name[len++] == '\0')
            return len - 1;
    return 0;
}

int
descriptor_check_behavior(const nx_behavior *b, const char *name, size_t name_len, const char *path, struct base_error *why)
{
    if (name_len < 1 || name_len > NX_BEHAVIOR_NAME_MAX)
        return module_refuse(why, path, "a behavior whose name is empty or longer than %d bytes", NX_BEHAVIOR_NAME_MAX);
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") < name_len)
        return module_refuse(why, path, "a behavior whose name has other characters than letters, digits, '_', '-' and '.'");
    if (b->version == 0)
        return module_refuse(why, path, "behavior '%s' has version 0; count from 1", name);
    if (b->init == NULL || b->handle_call == NULL || b->handle_cast == NULL)
        return module_refuse(why, path, "behavior '%s' has no %s", name,
                             b->init == NULL ? "init" : b->handle_call == NULL ? "handle_call" : "handle_cast");
    for (size_t i = 0; i < BASE_COUNT(b->reserved); i++)
        if (b->reserved[i] != NULL)
            return module_refuse(why, path, "a reserved field of behavior '%s' is not zero", name);
    return 0;
}

/* Each callback is code of this module: a pointer elsewhere would dangle, or be called with wrong arguments. */
static int
check_callbacks(const struct image *image, const nx_behavior *b, const char *name, const char *path, struct base_error *why)
{
    const struct { const char *name; callback *at; } all[] = {
        { "init", (callback *)b->init }, { "handle_call", (callback *)b->handle_call }, { "handle_cast", (callback *)b->handle_cast },
        { "handle_info", (callback *)b->handle_info }, { "terminate", (callback *)b->terminate }, { "save", (callback *)b->save },
        { "load", (callback *)b->load },
    };
    for (size_t i = 0; i < BASE_COUNT(all); i++)
        if (all[i].at != NULL && !image_holds(image, (const void *)(uintptr_t)all[i].at, 1, IMAGE_EXECUTE))
            return module_refuse(why, path, "%s of behavior '%s' is not code of this module", all[i].name, name);
    return 0;
}

static int
take_entry(const struct image *image, const nx_behavior *b, const char *path, struct descriptor_entry *e, struct base_error *why)
{
    size_t len = b->name != NULL ? name_length(image, b->name) : 0;
    if (len > 0)
        memcpy(e->name, b->name, len);
    e->name[len] = '\0';
    int err = descriptor_check_behavior(b, e->name, len, path, why);
    if (err == 0)
        err = check_callbacks(image, b, e->name, path, why);
    e->behavior = *b;
    e->behavior.name = e->name;
    return err;
}

int
descriptor_read(const struct image *image, const char *path, struct descriptor *out, struct base_error *why)
{
    const nx_module *d = dlsym(image->handle, symbol);
    int err = check_header(image, d, path, why);
    if (err != 0)
        return err;
    if (d->selftest != NULL && !image_holds(image, (const void *)(uintptr_t)d->selftest, 1, IMAGE_EXECUTE))
        return module_refuse(why, path, "its selftest is not code of this module");
    out->selftest = d->selftest;
    out->count = d->count;
    for (size_t i = 0; i < d->count; i++) {
        err = take_entry(image, &d->behaviors[i], path, &out->entries[i], why);
        if (err != 0)
            return err;
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->entries[k].name, out->entries[i].name) == 0)
                return module_refuse(why, path, "two behaviors have the name '%s'", out->entries[i].name);
    }
    return 0;
}
