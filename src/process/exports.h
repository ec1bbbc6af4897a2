/*
 * exports.h - the functions of noex.h, kept in the program although nothing in it calls them: modules do.
 */
#ifndef NOEXD_PROCESS_EXPORTS_H
#define NOEXD_PROCESS_EXPORTS_H

/* Does nothing but refer to them all. */
void process_exports_keep(void);

#endif
