/*
 * title.c - what `ps` shows for a process: "noexd: worker 0".
 *
 * Lives here: the bytes of argv, written over.
 * Runs in: every process of a node.
 */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "process/process.h"

static char *title_at;
static size_t title_size;

void
process_title_init(int argc, char **argv)
{
    if (argc < 1)
        return;
    title_at = argv[0];
    char *end = argv[0] + strlen(argv[0]) + 1;
    for (int i = 1; i < argc && argv[i] == end; i++)      /* the kernel lays them out in a row */
        end = argv[i] + strlen(argv[i]) + 1;
    title_size = (size_t)(end - title_at);
}

void
process_title_set(const char *title)
{
    if (title_at != NULL) {
        memset(title_at, 0, title_size);
        snprintf(title_at, title_size, "noexd: %s", title);
    }
    char comm[16];
    snprintf(comm, sizeof comm, "noexd %.9s", title);
    (void)prctl(PR_SET_NAME, comm, 0, 0, 0);
}
