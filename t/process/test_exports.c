/*
 * test_exports.c - every function that noex.h declares is kept for modules.
 */
#include "process/exports.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

static bool
is_kept(const char *name, size_t len)
{
    const char *kept;
    for (size_t i = 0; (kept = process_exports_name(i)) != NULL; i++)
        if (strlen(kept) == len && memcmp(kept, name, len) == 0)
            return true;
    return false;
}

static size_t
kept_count(void)
{
    size_t n = 0;
    while (process_exports_name(n) != NULL)
        n++;
    return n;
}

/* The header without comments and preprocessor lines. */
static char *
read_header(const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return NULL;
    static char raw[1 << 17], text[1 << 17];
    size_t len = fread(raw, 1, sizeof raw - 1, f), out = 0;
    raw[len] = '\0';
    (void)fclose(f);
    bool line_start = true, is_directive = false;
    for (size_t i = 0; i < len; i++) {
        if (raw[i] == '/' && raw[i + 1] == '*') {
            const char *end = strstr(raw + i + 2, "*/");
            if (end == NULL)
                return NULL;
            i = (size_t)(end - raw) + 1;
            continue;
        }
        if (line_start && raw[i] == '#')
            is_directive = true;
        if (!is_directive)
            text[out++] = raw[i];
        if (raw[i] == '\n' && !(i > 0 && raw[i - 1] == '\\'))
            is_directive = false;
        line_start = raw[i] == '\n';
    }
    text[out] = '\0';
    return text;
}

/* `nx_name(` is a function's declaration: pointers to functions and types are written otherwise. */
static size_t
check_declarations(const char *text)
{
    size_t found = 0;
    for (const char *at = text; *at != '\0'; at++) {
        bool is_word = strncmp(at, "nx_", 3) == 0 && (at == text || !(isalnum((unsigned char)at[-1]) || at[-1] == '_'));
        if (!is_word)
            continue;
        size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        if (at[len] == '(') {
            found++;
            CU_ASSERT_TRUE(is_kept(at, len));
            if (!is_kept(at, len))
                printf("# not in exports.c: %.*s\n", (int)len, at);
        }
        at += len - 1;
    }
    return found;
}

UNIT(exports, every_function_of_the_public_header_is_kept)
{
    const char *src = getenv("NX_SRC");
    if (src == NULL) {
        unit_skip("NX_SRC does not name the source tree");
        return;
    }
    char path[4096];
    size_t found = 0;
    static const char *const headers[] = { "noex.h", "errors.h" };
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/src/include/noex/%s", src, headers[i]);
        const char *text = read_header(path);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        found += check_declarations(text);
    }
    CU_ASSERT(found > 40);
    CU_ASSERT_EQUAL(found, kept_count());        /* nor is one kept that is not declared */
}

UNIT(exports, no_name_stands_twice)
{
    const char *name;
    for (size_t i = 0; (name = process_exports_name(i)) != NULL; i++)
        for (size_t j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(name, process_exports_name(j));
    process_exports_keep();
}
