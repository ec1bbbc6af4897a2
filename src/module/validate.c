/*
 * validate.c - is a staged module fit to run? Tried in a process that is thrown away.
 *
 * Lives here: the limits of that process, loading, the checks that need the module's code to run.
 * Never here: the process itself and its verdict (process/); who asks.
 * Runs in: the validator.
 */
#include "module/module_priv.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

enum { CPU_SECONDS = 5, DESCRIPTORS = 64 };
static const rlim_t address_space = (rlim_t)1 << 30;

/* What a module must leave as it was: handlers of signals and the number of threads belong to noexd. */
struct surroundings { struct sigaction actions[NSIG]; size_t threads; };

int
module_confine(struct base_error *why)
{
    const struct { int resource; rlim_t limit; const char *name; bool is_wanted; } all[] = {
        { RLIMIT_CPU, CPU_SECONDS, "RLIMIT_CPU", true },
        { RLIMIT_AS, address_space, "RLIMIT_AS", !IS_SANITIZED },        /* their shadow memory takes terabytes of addresses */
        { RLIMIT_NOFILE, DESCRIPTORS, "RLIMIT_NOFILE", true },
        { RLIMIT_CORE, 0, "RLIMIT_CORE", true },
    };
    for (size_t i = 0; i < BASE_COUNT(all); i++) {
        struct rlimit limit;
        if (!all[i].is_wanted)
            continue;
        if (getrlimit((__rlimit_resource_t)all[i].resource, &limit) != 0)
            return base_error_sys(why, errno, "getrlimit", all[i].name);
        if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > all[i].limit)
            limit.rlim_max = all[i].limit;
        limit.rlim_cur = limit.rlim_max;              /* stricter limits of our surroundings stay */
        if (setrlimit((__rlimit_resource_t)all[i].resource, &limit) != 0)
            return base_error_sys(why, errno, "setrlimit", all[i].name);
    }
    return 0;
}

static size_t
count_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    size_t count = 0;
    if (d == NULL)
        return 0;                                     /* no /proc: before and after are equal */
    while (readdir(d) != NULL)
        count++;
    (void)closedir(d);
    return count;
}

static void
look_around(struct surroundings *s)
{
    memset(s, 0, sizeof *s);
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, NULL, &s->actions[i]);     /* fails for the two that the C library keeps */
    s->threads = count_threads();
}

static int
check_surroundings(const struct surroundings *before, const char *path, struct base_error *why)
{
    struct surroundings after;
    look_around(&after);
    for (int i = 1; i < NSIG; i++)
        if (before->actions[i].sa_handler != after.actions[i].sa_handler)
            return module_refuse(why, path, "it has set a handler for signal %d (%s); signals are noexd's", i, strsignal(i));
    if (before->threads != after.threads)
        return module_refuse(why, path, "it has started threads; use servers, timers and casts");
    return 0;
}

int
module_validate(const char *path, struct module_info *out, struct base_error *why)
{
    static struct descriptor d;                       /* 14 KiB: not for a stack; one validation in a process */
    struct surroundings before;
    struct image image;

    look_around(&before);
    int err = image_open(path, &image, why);
    if (err == 0)
        err = descriptor_read(&image, path, &d, why);
    if (err != 0)
        return err;
    int result = d.selftest != NULL ? d.selftest() : 0;
    if (result != 0)
        return module_refuse(why, path, "its selftest says %d", result);
    err = check_surroundings(&before, path, why);
    if (err != 0)
        return err;

    struct module_info info = { .count = d.count };
    for (size_t i = 0; i < d.count; i++) {
        memcpy(info.behaviors[i].name, d.entries[i].name, sizeof info.behaviors[i].name);
        info.behaviors[i].version = d.entries[i].behavior.version;
    }
    *out = info;
    return 0;
}
