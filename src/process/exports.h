/*
 * exports.h - the functions of noex.h, kept in the program although nothing in it calls them: modules do.
 */
#ifndef NOEXD_PROCESS_EXPORTS_H
#define NOEXD_PROCESS_EXPORTS_H

#include <stddef.h>

/* Does nothing but refer to them all. */
void process_exports_keep(void);
/* Their names, one after the other; NULL at the end. */
const char *process_exports_name(size_t index);

#endif
