/*
 * test_elf.c - headers of shared objects, cut and patched.
 */
#include "module/module_priv.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "unit.h"

static void
refuses(const void *bytes, size_t len, const char *part)
{
    struct base_error why = { .code = 0 };
    CU_ASSERT_EQUAL(elf_check(bytes, len, "/x.so", &why), NX_EINVAL);
    CU_ASSERT_EQUAL(strncmp(why.text, "module /x.so: ", 14), 0);
    CU_ASSERT_STRING_EQUAL(why.subject, "/x.so");
    if (strstr(why.text, part) == NULL)
        printf("# expected '%s' in: %s\n", part, why.text);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
}

UNIT(elf, a_real_module_passes_and_no_shorter_piece_of_it_does)
{
    size_t len;
    uint8_t *bytes = module_bytes("good", &len);
    CU_ASSERT_EQUAL(elf_check(bytes, len, "/x.so", NULL), 0);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *piece = malloc(cut + 1);             /* of its own size, so that a sanitizer sees a read behind it */
        CU_ASSERT_PTR_NOT_NULL_FATAL(piece);
        memcpy(piece, bytes, cut);
        if (elf_check(piece, cut, "/x.so", NULL) != NX_EINVAL) {
            printf("# accepted at %zu of %zu bytes\n", cut, len);
            CU_FAIL("a piece was accepted");
        }
        free(piece);
    }
    free(bytes);
}

static ElfW(Phdr) *
first_load(uint8_t *bytes)
{
    ElfW(Ehdr) *e = (ElfW(Ehdr) *)(void *)bytes;
    ElfW(Phdr) *p = (ElfW(Phdr) *)(void *)(bytes + e->e_phoff);
    while (p->p_type != PT_LOAD)
        p++;
    return p;
}

UNIT(elf, each_wrong_header_is_named)
{
    size_t len;
    uint8_t *good = module_bytes("good", &len), *bytes = malloc(len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    ElfW(Ehdr) *e = (ElfW(Ehdr) *)(void *)bytes;
#define PATCHED(change, part) do { memcpy(bytes, good, len); change; refuses(bytes, len, part); } while (0)
    PATCHED(bytes[0] = 0, "not an ELF file");
    PATCHED(e->e_ident[EI_CLASS] ^= 3, "another kind of machine");
    PATCHED(e->e_ident[EI_DATA] ^= 3, "another kind of machine");
    PATCHED(e->e_machine ^= 1, "another kind of machine");
    PATCHED(e->e_version = 0, "unknown form");
    PATCHED(e->e_ident[EI_VERSION] = 9, "unknown form");
    PATCHED(e->e_ehsize--, "unknown form");
    PATCHED(e->e_type = ET_EXEC, "not a shared object");
    PATCHED(e->e_type = ET_REL, "not a shared object");
    PATCHED(e->e_phnum = 0, "no program headers");
    PATCHED(e->e_phentsize = 8, "no program headers");
    PATCHED(e->e_phnum = 0xfffe, "the program headers end beyond");
    PATCHED(e->e_phoff = len, "the program headers end beyond");
    PATCHED(e->e_phoff = (ElfW(Off))-8, "the program headers end beyond");
    PATCHED(first_load(bytes)->p_offset = (ElfW(Off))-1, "ends beyond the file");
    PATCHED(first_load(bytes)->p_filesz = len + 1, "impossible sizes");
    PATCHED((first_load(bytes)->p_filesz = len + 1, first_load(bytes)->p_memsz = len + 1), "ends beyond the file");
    PATCHED((first_load(bytes)->p_vaddr = 4096, first_load(bytes)->p_memsz = (ElfW(Off))-1), "impossible sizes");
    PATCHED(e->e_shoff = len - 1, "the section headers end beyond");
    PATCHED(e->e_shnum = 0xfff0, "the section headers end beyond");
    PATCHED(e->e_shentsize = 1, "the section headers end beyond");
    PATCHED(((ElfW(Shdr) *)(void *)(bytes + e->e_shoff))[1].sh_size = len, "section 1 ends beyond");
    memcpy(bytes, good, len);
    for (size_t i = 0; i < e->e_phnum; i++)
        ((ElfW(Phdr) *)(void *)(bytes + e->e_phoff))[i].p_type = PT_NULL;
    refuses(bytes, len, "nothing to load");
    memcpy(bytes, good, len);
    e->e_shoff = 0;                                   /* stripped of section headers: allowed */
    CU_ASSERT_EQUAL(elf_check(bytes, len, "/x.so", NULL), 0);
    refuses("#!/bin/sh\necho hello, this is a text and no shared object at all, but long enough\n", 80, "not an ELF file");
    free(bytes);
    free(good);
}
