/*
 * staging.h - modules as the master knows them: names, paths, hashes, never code.
 */
#ifndef NOEXD_PROCESS_STAGING_H
#define NOEXD_PROCESS_STAGING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "conf/conf.h"
#include "module/module.h"

struct staging_module {
    const char *name, *file;             /* of the configuration; borrowed */
    struct module_staged staged;
    struct module_info info;
};
struct staging { struct staging_module *modules; size_t count; };

/*
 * Run the stager, then the validator, each in a process of its own, and wait for their verdicts (bounded: 10 s and 5 s a module at most; `signal_fd`: see
 * signals.h, -1 = none). `dir` gets the copies; copies of other modules in it are removed. On failure `why` names the module, its file and the reason; NX_ECANCELED
 * when a signal said to end. Refuses two modules with one behavior (B2), and a configured server whose behavior no module has.
 */
int  staging_run(const struct conf *conf, const char *dir, int signal_fd, struct staging **out, struct base_error *why);
void staging_free(struct staging **s);

#endif
