/*
 * test_staging.c - the stager and the validator as the master runs them, on real modules; this program plays both.
 */
#include "process/staging.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/launch.h"
#include "testing.h"

/* clang 14 tells by __has_feature, gcc by a macro. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#define IS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define IS_SANITIZED 0
#endif

static char *
text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* A module of the tests; NULL where they have not been built. Old enough to have settled. */
static char *
module_of(const char *name)
{
    static char paths[4][4096];
    static unsigned at;
    const char *dir = getenv("NX_TEST_MODULES");
    char *path = paths[at++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s.so", dir != NULL ? dir : "", name);
    if (dir == NULL || access(path, R_OK) != 0)
        return NULL;
    struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
    (void)utimensat(AT_FDCWD, path, old, 0);
    return path;
}

static const char *
copies(const char *name)
{
    const char *dir = testing_path(name);
    CU_ASSERT_EQUAL_FATAL(launch_make_dir(dir, NULL), 0);
    return dir;
}

static size_t
files_in(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    if (d != NULL)
        (void)closedir(d);
    return n;
}

/* One module: staged and validated in `dir`. */
static int
run_one(const char *name, const char *dir, struct staging **out, struct base_error *why)
{
    struct conf_module m = { .name = text(name), .file = module_of(name) };
    struct conf conf = { .modules = &m, .module_count = 1 };
    return staging_run(&conf, dir, -1, out, why);
}

static void
refused(const char *name, const char *part)
{
    struct staging *s = NULL;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(run_one(name, copies("refused"), &s, &why), NX_EINVAL);
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, name));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    CU_ASSERT_PTR_NULL(strstr(why.text, testing_path("refused")));      /* the copy is gone when somebody reads this */
    if (strstr(why.text, part) == NULL)
        printf("# expected '%s' in: %s\n", part, why.text);
}

static bool
can_run(void)
{
    if (module_of("good") == NULL)
        unit_skip("NX_TEST_MODULES does not name built modules");
    return module_of("good") != NULL;
}

UNIT(staging, B1_a_good_module_is_copied_and_tells_its_behaviors)
{
    if (!can_run())
        return;
    struct staging *s = NULL;
    struct base_error why = { 0 };
    const char *dir = copies("good");
    CU_ASSERT_EQUAL(run_one("good", dir, &s, &why), 0);
    if (s == NULL)
        printf("# %s\n", why.text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    CU_ASSERT_EQUAL(s->count, 1);
    CU_ASSERT_EQUAL(s->modules[0].info.count, 2);
    CU_ASSERT_STRING_EQUAL(s->modules[0].info.behaviors[0].name, "good");
    CU_ASSERT_EQUAL(s->modules[0].info.behaviors[1].version, 7);
    CU_ASSERT_EQUAL(strncmp(s->modules[0].staged.path, dir, strlen(dir)), 0);
    CU_ASSERT_TRUE(s->modules[0].staged.is_new);
    struct stat st;
    CU_ASSERT_EQUAL(stat(s->modules[0].staged.path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0444);
    staging_free(&s);
    CU_ASSERT_EQUAL(run_one("good", dir, &s, NULL), 0);
    CU_ASSERT_FALSE(s->modules[0].staged.is_new);
    staging_free(&s);
}

UNIT(staging, copies_that_no_module_needs_any_more_are_swept_and_other_files_are_not)
{
    if (!can_run())
        return;
    const char *dir = copies("sweep");
    char old[512], other[512];
    snprintf(old, sizeof old, "sweep/%064d.so", 7);
    snprintf(other, sizeof other, "sweep/notes.txt");
    (void)testing_file(old, "x", 1, 0444);
    (void)testing_file(other, "x", 1, 0644);
    CU_ASSERT_EQUAL(files_in(dir), 2);
    struct staging *s = NULL;
    CU_ASSERT_EQUAL(run_one("good", dir, &s, NULL), 0);
    staging_free(&s);
    CU_ASSERT_FALSE(testing_exists(testing_path(old)));
    CU_ASSERT_TRUE(testing_exists(testing_path(other)));
    CU_ASSERT_EQUAL(files_in(dir), 2);
}

UNIT(staging, a_module_that_is_refused_sweeps_nothing)
{
    if (!can_run())
        return;
    struct staging *s = NULL;
    (void)copies("kept");
    const char *old = "kept/0000000000000000000000000000000000000000000000000000000000000000.so";
    (void)testing_file(old, "x", 1, 0444);
    (void)testing_file("text.so", "not a module", 12, 0644);
    struct conf_module m[] = { { .name = text("good"), .file = module_of("good") }, { .name = text("text"), .file = text(testing_path("text.so")) } };
    struct conf conf = { .modules = m, .module_count = 2 };
    CU_ASSERT_EQUAL(staging_run(&conf, testing_path("kept"), -1, &s, NULL), NX_EINVAL);
    CU_ASSERT_TRUE(testing_exists(testing_path(old)));
}

UNIT(staging, B2_modules_with_a_fault_are_refused_by_name)
{
    if (!can_run())
        return;
    refused("missing_init", "init");
    refused("zero_version", "version");
    refused("undefined_symbol", "undefined");
    refused("no_descriptor", "noexd_module");
    refused("selftest_fails", "selftest");
}

UNIT(staging, B2_a_module_that_ends_its_process_with_success_is_refused)
{
    if (!can_run())
        return;
    refused("exits", "without a verdict");
}

UNIT(staging, B2_a_module_that_crashes_is_refused)
{
    if (!can_run())
        return;
#if IS_SANITIZED
    refused("crashes", "without a verdict");     /* the sanitizer takes the signal */
#else
    refused("crashes", "the module crashed while it was loaded (signal 11, Segmentation fault)");
#endif
}

UNIT(staging, reasons_name_the_operators_file_and_not_the_copy)
{
    if (!can_run())
        return;
    refused("undefined_symbol", module_of("undefined_symbol"));
    refused("missing_init", module_of("missing_init"));
    refused("exits", module_of("exits"));
}

static int
validate_spins(void *arg)
{
    struct rlimit limit = { .rlim_cur = 1, .rlim_max = 1 };      /* s of CPU time; stricter than the validator's own */
    (void)arg;
    struct staging *s = NULL;
    struct base_error why = { 0 };
    return setrlimit(RLIMIT_CPU, &limit) == 0 && run_one("spins", copies("spins"), &s, &why) == NX_EINVAL &&
           strstr(why.text, "\"spins\"") != NULL && strstr(why.text, "was still loading after ") != NULL && strstr(why.text, "signal") == NULL ? 0 : 1;
}

UNIT(staging, B2_a_module_that_does_not_finish_loading_is_refused)
{
    if (!can_run())
        return;
    CU_ASSERT_EQUAL(testing_wait(testing_fork(validate_spins, NULL)), 0);
}

UNIT(staging, B2_two_modules_with_one_behavior_are_refused)
{
    if (!can_run())
        return;
    struct conf_module m[] = { { .name = text("first"), .file = module_of("good") }, { .name = text("second"), .file = module_of("good_next") } };
    if (m[1].file == NULL)
        m[1].file = m[0].file;
    struct conf conf = { .modules = m, .module_count = 2 };
    struct staging *s = NULL;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(staging_run(&conf, copies("two"), -1, &s, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "\"good\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "\"second\""));
}

UNIT(staging, a_configured_server_needs_a_behavior_that_some_module_has)
{
    struct conf_server server = { .label = text("one"), .behavior = text("nowhere") };
    struct conf_supervisor supervisor = { .name = text("main"), .servers = &server, .server_count = 1 };
    struct conf conf = { .supervisors = &supervisor, .supervisor_count = 1 };
    struct staging *s = NULL;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(staging_run(&conf, testing_path("none"), -1, &s, &why), NX_ENOBEHAVIOR);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "\"nowhere\""));
    server.behavior = text("supervisor");        /* always there */
    CU_ASSERT_EQUAL(staging_run(&conf, testing_path("none"), -1, &s, &why), 0);
    CU_ASSERT_EQUAL(s->count, 0);
    staging_free(&s);
}

UNIT(staging, a_missing_file_is_named)
{
    struct conf_module m = { .name = text("gone"), .file = text(testing_path("gone.so")) };
    struct conf conf = { .modules = &m, .module_count = 1 };
    struct staging *s = NULL;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(staging_run(&conf, copies("missing"), -1, &s, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "gone.so"));
}
