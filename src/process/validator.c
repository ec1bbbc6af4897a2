/*
 * validator.c - the throwaway process that loads every staged module once, so that no bad one ever reaches a worker.
 *
 * Arguments: NONCE PATH... Writes on descriptor 3, a line each: `begin INDEX`, `behavior INDEX VERSION NAME`, `refused INDEX text`, at the end `done NONCE`. Only that
 * last line is success: a constructor may end the process with status 0.
 * Opens: module/validate, under tight limits. Gives up: everything, it has no shared memory, no socket and one pipe.
 * Runs in: its own process, started by the master.
 */
#include <stdio.h>

#include "base/log.h"
#include "module/module.h"
#include "process/exports.h"
#include "process/process.h"

int
process_validator_main(int argc, char **argv)
{
    log_set_process("validator");
    process_exports_keep();
    if (argc < 3)
        return 2;
    struct base_error why = { 0 };
    if (module_confine(&why) != 0) {
        dprintf(3, "refused 0 %s\n", why.text);
        return 1;
    }
    for (int i = 3; i < argc; i++) {
        struct module_info info = { 0 };
        dprintf(3, "begin %d\n", i - 3);
        if (module_validate(argv[i], &info, &why) != 0) {
            dprintf(3, "refused %d %s\n", i - 3, why.text);
            return 1;
        }
        for (size_t b = 0; b < info.count; b++)
            dprintf(3, "behavior %d %u %s\n", i - 3, info.behaviors[b].version, info.behaviors[b].name);
    }
    dprintf(3, "done %s\n", argv[2]);
    return 0;
}
