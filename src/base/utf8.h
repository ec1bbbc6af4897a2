/*
 * utf8.h - is this valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF)?
 */
#ifndef NOEXD_BASE_UTF8_H
#define NOEXD_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_is_valid(const void *bytes, size_t len);

/* A registry name: 1-255 bytes of valid UTF-8, no NUL or other control character (C0, DEL, C1), not beginning with '#'. */
bool utf8_is_name(const void *bytes, size_t len);

#endif
