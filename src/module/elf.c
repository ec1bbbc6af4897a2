/*
 * elf.c - the headers of a shared object, checked before the dynamic linker sees them.
 *
 * Lives here: class, byte order, machine, and that each table and segment lies inside the file. ld.so trusts all of that: a file cut
 * short ends in SIGBUS when a page behind its end is touched.
 * Never here: relocations, symbols: the validator's dlopen answers for those.
 * Runs in: the stager.
 */
#include "module/module_priv.h"

#include <elf.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The linker puts this at the beginning of our own program: what we are, a module has to be. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

int
module_refuse(struct base_error *why, const char *path, const char *fmt, ...)
{
    char text[BASE_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return base_error_set(why, NX_EINVAL, path, "module %s: %s", path, text);
}

static bool
is_inside(uint64_t offset, uint64_t size, size_t len)
{
    return offset <= len && size <= len - offset;
}

static int
check_ident(const ElfW(Ehdr) *e, const char *path, struct base_error *why)
{
    const ElfW(Ehdr) *own = &__ehdr_start;
    if (memcmp(e->e_ident, ELFMAG, SELFMAG) != 0)
        return module_refuse(why, path, "not an ELF file; build it with -shared");
    if (e->e_ident[EI_CLASS] != own->e_ident[EI_CLASS] || e->e_ident[EI_DATA] != own->e_ident[EI_DATA] || e->e_machine != own->e_machine)
        return module_refuse(why, path, "built for another kind of machine (class %u, machine %u; noexd is %u, %u)", e->e_ident[EI_CLASS],
                             e->e_machine, own->e_ident[EI_CLASS], own->e_machine);
    if (e->e_ident[EI_VERSION] != EV_CURRENT || e->e_version != EV_CURRENT || e->e_ehsize != sizeof *e)
        return module_refuse(why, path, "an ELF header of unknown form");
    if (e->e_type != ET_DYN)
        return module_refuse(why, path, "not a shared object; link it with -shared");
    return 0;
}

static int
check_segment(const ElfW(Phdr) *p, size_t index, size_t len, const char *path, struct base_error *why)
{
    if (p->p_type == PT_LOAD && (p->p_filesz > p->p_memsz || p->p_vaddr + p->p_memsz < p->p_vaddr))
        return module_refuse(why, path, "segment %zu has impossible sizes", index);
    if (!is_inside(p->p_offset, p->p_filesz, len))
        return module_refuse(why, path, "segment %zu ends beyond the file: it is cut short", index);
    return 0;
}

static int
check_segments(const uint8_t *bytes, const ElfW(Ehdr) *e, size_t len, const char *path, struct base_error *why)
{
    bool has_load = false, has_dynamic = false;

    if (e->e_phnum == 0 || e->e_phnum == PN_XNUM || e->e_phentsize != sizeof(ElfW(Phdr)))
        return module_refuse(why, path, "no program headers of the expected form");
    if (!is_inside(e->e_phoff, (uint64_t)e->e_phnum * sizeof(ElfW(Phdr)), len))
        return module_refuse(why, path, "the program headers end beyond the file: it is cut short");
    for (size_t i = 0; i < e->e_phnum; i++) {
        ElfW(Phdr) p;
        memcpy(&p, bytes + e->e_phoff + i * sizeof p, sizeof p);        /* e_phoff need not be aligned */
        int err = check_segment(&p, i, len, path, why);
        if (err != 0)
            return err;
        has_load |= p.p_type == PT_LOAD;
        has_dynamic |= p.p_type == PT_DYNAMIC;
    }
    return has_load && has_dynamic ? 0 : module_refuse(why, path, "nothing to load in it; link it with -shared");
}

/* The section headers stand at the end of a file, so they are what shows first that it was cut. A stripped file may have none. */
static int
check_sections(const uint8_t *bytes, const ElfW(Ehdr) *e, size_t len, const char *path, struct base_error *why)
{
    if (e->e_shoff == 0)
        return 0;
    if (e->e_shentsize != sizeof(ElfW(Shdr)) || !is_inside(e->e_shoff, (uint64_t)e->e_shnum * sizeof(ElfW(Shdr)), len))
        return module_refuse(why, path, "the section headers end beyond the file: it is cut short");
    for (size_t i = 0; i < e->e_shnum; i++) {
        ElfW(Shdr) s;
        memcpy(&s, bytes + e->e_shoff + i * sizeof s, sizeof s);
        if (s.sh_type != SHT_NOBITS && s.sh_type != SHT_NULL && !is_inside(s.sh_offset, s.sh_size, len))
            return module_refuse(why, path, "section %zu ends beyond the file: it is cut short", i);
    }
    return 0;
}

int
elf_check(const void *bytes, size_t len, const char *path, struct base_error *why)
{
    ElfW(Ehdr) e;
    if (len < sizeof e)
        return module_refuse(why, path, "%zu bytes are not a shared object", len);
    memcpy(&e, bytes, sizeof e);
    int err = check_ident(&e, path, why);
    if (err == 0)
        err = check_segments(bytes, &e, len, path, why);
    if (err == 0)
        err = check_sections(bytes, &e, len, path, why);
    return err;
}
