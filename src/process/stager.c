/*
 * stager.c - the throwaway process that copies modules to their content-named private files.
 *
 * Arguments: NONCE DIRECTORY UID FILE... Writes on descriptor 3, a line each: `staged INDEX HASH NEW PATH`, `refused INDEX text`, at the end `done NONCE`.
 * Opens: module/stage. Gives up: nothing to give up, it was exec'ed with one descriptor.
 * Runs in: its own process, started by the master.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "module/module.h"
#include "process/process.h"

int
process_stager_main(int argc, char **argv)
{
    log_set_process("stager");
    if (argc < 5)
        return 2;
    const char *nonce = argv[2], *dir = argv[3];
    uint32_t uid = (uint32_t)strtoul(argv[4], NULL, 10);
    for (int i = 5; i < argc; i++) {
        struct module_staged staged;
        struct base_error why = { 0 };
        int err = module_stage(argv[i], dir, uid, &staged, &why);
        if (err != 0) {
            dprintf(3, "refused %d %s\n", i - 5, why.text);
            return 1;
        }
        char hex[2 * MODULE_HASH + 1];
        for (size_t b = 0; b < MODULE_HASH; b++)
            snprintf(hex + 2 * b, 3, "%02x", staged.hash[b]);
        dprintf(3, "staged %d %s %d %s\n", i - 5, hex, staged.is_new, staged.path);
    }
    dprintf(3, "done %s\n", nonce);
    return 0;
}
