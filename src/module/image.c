/*
 * image.c - a module as the dynamic linker has mapped it.
 *
 * Lives here: dlopen and dlclose, which addresses are the module's own, with which rights.
 * Never here: what the module says of itself.
 * Runs in: the validator, workers.
 */
#include "module/module_priv.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

_Static_assert(IMAGE_READ == PF_R && IMAGE_EXECUTE == PF_X, "rights are those of program headers");

struct search { const struct link_map *map; struct image *image; bool is_found, is_full; };

static void
take_segments(const struct dl_phdr_info *info, struct search *s)
{
    struct image *image = s->image;
    image->base = info->dlpi_addr;
    image->low = UINTPTR_MAX;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD)
            continue;
        if (image->segment_count == IMAGE_SEGMENTS_MAX) {
            s->is_full = true;
            return;
        }
        uintptr_t low = info->dlpi_addr + p->p_vaddr, high = low + p->p_memsz;
        image->segments[image->segment_count].low = low;
        image->segments[image->segment_count].high = high;
        image->segments[image->segment_count++].flags = p->p_flags;
        image->low = low < image->low ? low : image->low;
        image->high = high > image->high ? high : image->high;
    }
}

/* Told apart by the address of its dynamic section: two objects may have one name, or one load address of 0. */
static int
on_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *s = arg;
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC && info->dlpi_addr + info->dlpi_phdr[i].p_vaddr == (uintptr_t)s->map->l_ld) {
            take_segments(info, s);
            s->is_found = true;
            return 1;
        }
    return 0;
}

int
image_open(const char *path, struct image *out, struct base_error *why)
{
    struct image image = { .handle = NULL };
    if (path[0] != '/')                               /* the linker would look for it in its own places */
        return module_refuse(why, path, "the path of a staged copy is absolute");
    image.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (image.handle == NULL) {
        const char *text = dlerror();
        return module_refuse(why, path, "cannot be loaded: %s", text != NULL ? text : "the linker does not say why");
    }
    struct search s = { .image = &image };
    if (dlinfo(image.handle, RTLD_DI_LINKMAP, &s.map) == 0)
        (void)dl_iterate_phdr(on_object, &s);
    if (!s.is_found || s.is_full) {
        (void)dlclose(image.handle);
        return module_refuse(why, path, s.is_full ? "more than %d segments" : "the linker does not know its segments", IMAGE_SEGMENTS_MAX);
    }
    *out = image;
    return 0;
}

bool
image_close(struct image *image, const char *path)
{
    (void)dlclose(image->handle);
    image->handle = NULL;
    void *left = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (left == NULL)
        return true;
    (void)dlclose(left);
    return false;
}

bool
image_holds(const struct image *image, const void *at, size_t len, uint32_t rights)
{
    uintptr_t low = (uintptr_t)at;
    for (size_t i = 0; i < image->segment_count; i++)
        if (low >= image->segments[i].low && low <= image->segments[i].high && len <= image->segments[i].high - low)
            return (image->segments[i].flags & rights) == rights;
    return false;
}
