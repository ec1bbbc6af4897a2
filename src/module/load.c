/*
 * load.c - the modules of one worker: what is loaded, and which code is the current one of each behavior.
 *
 * Lives here: the table by behavior name, generations side by side, counting, and which module an address belongs to.
 * Never here: servers; when to load or retire (process/ says so).
 * Runs in: workers.
 *
 * A code is one behavior of one generation. It is counted by the table while it is the current one and by each server that runs on it. A
 * file stays mapped until no code of it is counted, and then until modules_retire: the last count may be given back by a function
 * that was called by the module itself, and its code must not vanish below that.
 */
#include "module/module_priv.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/list.h"
#include "base/table.h"

struct loaded {                                       /* one file */
    struct list link;                                 /* in modules->loaded */
    struct image image;                               /* no handle: given back, but the linker does not let go of it */
    char *path;
    uint8_t hash[MODULE_HASH];
    size_t codes;                                     /* that exist */
    size_t place;                                     /* in modules->places */
    bool is_orphan;                                   /* its table is gone */
};

struct module_code {
    size_t count;
    struct loaded *from;                              /* NULL: built in */
    uint32_t generation;
    nx_behavior behavior;
    char name[NX_BEHAVIOR_NAME_MAX + 1];
};

/* Read by signal handlers: `path` is stored last and cleared first. */
struct place { _Atomic(const char *) path; uintptr_t base, low, high; };

struct modules {
    struct strtable *current;                         /* behavior name -> module_code */
    struct list loaded;
    struct place places[MODULE_LOADED_MAX];
};

int
modules_new(struct modules **out)
{
    struct modules *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NX_ENOMEM;
    list_init(&m->loaded);
    int err = strtable_new(&m->current);
    if (err != 0) {
        free(m);
        return err;
    }
    *out = m;
    return 0;
}

/* ---- files */

static struct loaded *
find_loaded(const struct modules *m, const uint8_t hash[static MODULE_HASH])
{
    list_each(it, &m->loaded) {
        struct loaded *l = list_item(it, struct loaded, link);
        if (memcmp(l->hash, hash, MODULE_HASH) == 0)
            return l;
    }
    return NULL;
}

static void
fill_place(struct place *p, const struct loaded *l)
{
    atomic_store_explicit(&p->path, NULL, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    p->base = l->image.base;
    p->low = l->image.low;
    p->high = l->image.high;
    atomic_store_explicit(&p->path, l->path, memory_order_release);
}

static int
take_place(struct modules *m, struct loaded *l, struct base_error *why)
{
    for (size_t i = 0; i < BASE_COUNT(m->places); i++) {
        if (atomic_load_explicit(&m->places[i].path, memory_order_relaxed) != NULL)
            continue;
        fill_place(&m->places[i], l);
        l->place = i;
        return 0;
    }
    return base_error_set(why, NX_EBUSY, l->path, "module %s: %d files are loaded already; restart required", l->path, MODULE_LOADED_MAX);
}

static void
free_loaded(struct loaded *l)
{
    free(l->path);
    free(l);
}

static int
open_file(struct modules *m, const char *path, const uint8_t hash[static MODULE_HASH], struct loaded **out, struct base_error *why)
{
    struct loaded *l = calloc(1, sizeof *l);
    if (l == NULL || (l->path = strdup(path)) == NULL) {
        free(l);
        return base_error_set(why, NX_ENOMEM, path, "module %s: out of memory", path);
    }
    memcpy(l->hash, hash, MODULE_HASH);
    int err = image_open(path, &l->image, why);
    if (err == 0) {
        err = take_place(m, l, why);
        if (err != 0)
            (void)image_close(&l->image, path);
    }
    if (err != 0) {
        free_loaded(l);
        return err;
    }
    list_push_back(&m->loaded, &l->link);
    *out = l;
    return 0;
}

/* Nobody counts it: unmap it. One that the linker keeps stays known, so that an address in it still has a name. */
static bool
close_file(struct modules *m, struct loaded *l)
{
    nx_assert(l->codes == 0);
    const char *path = l->path;
    atomic_store_explicit(&m->places[l->place].path, NULL, memory_order_release);
    if (!image_close(&l->image, path)) {
        atomic_store_explicit(&m->places[l->place].path, path, memory_order_release);
        return false;
    }
    list_remove(&l->link);
    free_loaded(l);
    return true;
}

/* ---- codes */

static int
code_new(struct loaded *from, const nx_behavior *behavior, const char *name, uint32_t generation, struct module_code **out)
{
    struct module_code *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NX_ENOMEM;
    *c = (struct module_code){ .count = 1, .from = from, .generation = generation, .behavior = *behavior };
    nx_assert(strlen(name) < sizeof c->name);
    strcpy(c->name, name);
    c->behavior.name = c->name;
    if (from != NULL)
        from->codes++;
    *out = c;
    return 0;
}

void
module_code_ref(struct module_code *c)
{
    nx_assert(c->count > 0 && c->count < SIZE_MAX);
    c->count++;
}

void
module_code_unref(struct module_code **code)
{
    struct module_code *c = *code;
    if (c == NULL)
        return;
    *code = NULL;
    nx_assert(c->count > 0);
    if (--c->count > 0)
        return;
    struct loaded *from = c->from;
    free(c);
    if (from != NULL && --from->codes == 0 && from->is_orphan)
        free_loaded(from);                            /* stays mapped: the process is at its end */
}

const nx_behavior *
module_code_behavior(const struct module_code *c)
{
    return &c->behavior;
}

const char *
module_code_name(const struct module_code *c)
{
    return c->name;
}

uint32_t
module_code_generation(const struct module_code *c)
{
    return c->generation;
}

const uint8_t *
module_code_hash(const struct module_code *c)
{
    static const uint8_t none[MODULE_HASH];
    return c->from != NULL ? c->from->hash : none;
}

/* ---- the table */

/* A name belongs to one file of a generation, and ours belong to nobody else. A later generation may move it to another file. */
static int
check_names(const struct modules *m, const struct loaded *l, const struct descriptor *d, uint32_t generation, struct base_error *why)
{
    for (size_t i = 0; i < d->count; i++) {
        const char *name = d->entries[i].name;
        const struct module_code *now = strtable_get(m->current, name, strlen(name));
        if (now == NULL || now->from == l)
            continue;
        if (now->from == NULL)
            return module_refuse(why, l->path, "behavior '%s' is noexd's own; give it another name", name);
        if (now->generation == generation)
            return module_refuse(why, l->path, "behavior '%s' is in module %s already", name, now->from->path);
    }
    return 0;
}

static bool
is_current(const struct modules *m, const struct loaded *l, const struct descriptor *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct module_code *now = strtable_get(m->current, d->entries[i].name, strlen(d->entries[i].name));
        if (now == NULL || now->from != l)
            return false;
    }
    return true;
}

/* All or none: what the table had comes back if there is no memory for the last of them. */
static int
make_current(struct modules *m, struct loaded *l, const struct descriptor *d, uint32_t generation)
{
    struct module_code *before[MODULE_BEHAVIORS_MAX], *code = NULL;
    size_t done = 0;
    int err = 0;

    for (; done < d->count && err == 0; done++) {
        const char *name = d->entries[done].name;
        before[done] = strtable_get(m->current, name, strlen(name));
        err = code_new(l, &d->entries[done].behavior, name, generation, &code);
        if (err == 0)
            err = strtable_put(m->current, name, strlen(name), code);
        if (err != 0)
            break;
        code = NULL;
    }
    module_code_unref(&code);
    for (size_t i = 0; i < done; i++) {
        const char *name = d->entries[i].name;
        if (err == 0) {
            module_code_unref(&before[i]);
            continue;
        }
        code = before[i] == NULL ? strtable_take(m->current, name, strlen(name)) : strtable_get(m->current, name, strlen(name));
        if (before[i] != NULL)
            (void)strtable_put(m->current, name, strlen(name), before[i]);      /* replacing needs no memory */
        module_code_unref(&code);
    }
    return err;
}

int
modules_load(struct modules *m, const char *path, const uint8_t hash[MODULE_HASH], uint32_t generation, struct base_error *why)
{
    struct descriptor *d = calloc(1, sizeof *d);
    struct loaded *l = find_loaded(m, hash);
    if (d == NULL)
        return base_error_set(why, NX_ENOMEM, path, "module %s: out of memory", path);

    int err = 0;
    if (l != NULL && l->image.handle == NULL) {       /* the linker kept it when it was retired: count it again */
        err = image_open(l->path, &l->image, why);
        if (err == 0)
            fill_place(&m->places[l->place], l);      /* it may have let go of it since then, and mapped it elsewhere now */
    } else if (l == NULL)
        err = open_file(m, path, hash, &l, why);
    if (err == 0)
        err = descriptor_read(&l->image, path, d, why);
    if (err == 0 && !is_current(m, l, d)) {           /* the same file again changes nothing */
        err = check_names(m, l, d, generation, why);
        if (err == 0) {
            err = make_current(m, l, d, generation);
            if (err != 0)
                base_error_set(why, err, path, "module %s: out of memory", path);
        }
    }
    if (l != NULL && l->codes == 0 && l->image.handle != NULL)
        (void)close_file(m, l);                       /* nothing of it is in use: refused just now */
    free(d);
    return err;
}

int
modules_add_builtin(struct modules *m, const nx_behavior *behavior, struct base_error *why)
{
    static const char path[] = "(built in)";
    struct module_code *code;
    const char *name = behavior->name;
    size_t len = strlen(name);

    int err = descriptor_check_behavior(behavior, name, len, path, why);
    if (err != 0)
        return err;
    if (strtable_get(m->current, name, len) != NULL)
        return module_refuse(why, path, "behavior '%s' is there already", name);
    err = code_new(NULL, behavior, name, 0, &code);
    if (err == 0) {
        err = strtable_put(m->current, name, len, code);
        if (err != 0)
            module_code_unref(&code);
    }
    return err == 0 ? 0 : base_error_set(why, err, name, "behavior '%s': out of memory", name);
}

int
modules_take(struct modules *m, const char *name, size_t len, struct module_code **out)
{
    struct module_code *c = strtable_get(m->current, name, len);
    if (c == NULL)
        return NX_ENOBEHAVIOR;
    module_code_ref(c);
    *out = c;
    return 0;
}

size_t
modules_count(const struct modules *m)
{
    return strtable_count(m->current);
}

size_t
modules_retire(struct modules *m)
{
    size_t closed = 0;
    list_each_safe(it, next, &m->loaded) {
        struct loaded *l = list_item(it, struct loaded, link);
        if (l->codes == 0 && l->image.handle != NULL)
            closed += close_file(m, l);
    }
    return closed;
}

void
modules_free(struct modules **modules)
{
    struct modules *m = *modules;
    if (m == NULL)
        return;
    *modules = NULL;
    size_t cursor = 0, len;
    const void *key;
    for (struct module_code *c; (c = strtable_next(m->current, &cursor, &key, &len)) != NULL; )
        module_code_unref(&c);
    strtable_free(&m->current);
    (void)modules_retire(m);
    list_each_safe(it, next, &m->loaded) {
        struct loaded *l = list_item(it, struct loaded, link);
        list_remove(&l->link);
        l->is_orphan = true;                          /* still counted by a server, or kept by the linker */
        if (l->codes == 0)
            free_loaded(l);
    }
    free(m);
}

const char *
modules_at(const struct modules *m, uintptr_t address, uintptr_t *offset)
{
    for (size_t i = 0; i < BASE_COUNT(m->places); i++) {
        const struct place *p = &m->places[i];
        const char *path = atomic_load_explicit(&p->path, memory_order_acquire);
        if (path == NULL || address < p->low || address >= p->high)
            continue;
        *offset = address - p->base;
        return path;
    }
    return NULL;
}
