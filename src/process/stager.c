/*
 * stager.c - the throwaway process that copies modules to their content-named private files.
 *
 * Arguments: NONCE DIRECTORY UID FILE... Writes on descriptor 3, a line each: `staged INDEX HASH NEW PATH`, `refused INDEX text`, at the end `done NONCE`. When all
 * are there, copies in the directory that none of them needs are removed.
 * Opens: module/stage. Gives up: nothing to give up, it was exec'ed with one descriptor.
 * Runs in: its own process, started by the master.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "module/module.h"
#include "process/process.h"

static void
tell_staged(int index, const struct module_staged *m)
{
    char hex[2 * MODULE_HASH + 1];
    for (size_t i = 0; i < MODULE_HASH; i++)
        snprintf(hex + 2 * i, 3, "%02x", m->hash[i]);
    dprintf(3, "staged %d %s %d %s\n", index, hex, m->is_new, m->path);
}

int
process_stager_main(int argc, char **argv)
{
    log_set_process("stager");
    if (argc < 6)
        return 2;
    const char *nonce = argv[2], *dir = argv[3];
    uint32_t uid = (uint32_t)strtoul(argv[4], NULL, 10);
    int count = argc - 5;
    struct base_error why = { 0 };
    struct module_staged *staged = calloc((size_t)count, sizeof *staged);
    if (staged == NULL) {
        dprintf(3, "refused 0 out of memory\n");
        return 1;
    }
    for (int i = 0; i < count; i++) {
        if (module_stage(argv[5 + i], dir, uid, &staged[i], &why) != 0) {
            dprintf(3, "refused %d %s\n", i, why.text);
            free(staged);
            return 1;
        }
        tell_staged(i, &staged[i]);
    }
    if (module_sweep(dir, staged, (size_t)count, &why) != 0)
        log_warn("stager: old copies stay: %s", why.text);
    free(staged);
    dprintf(3, "done %s\n", nonce);
    return 0;
}
