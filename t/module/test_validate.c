/*
 * test_validate.c - real modules with one fault each, tried as the validator tries them: in a process that is thrown away.
 */
#include "module/module.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "fixture.h"
#include "unit.h"
#include "value/value.h"

struct verdict { int code; struct base_error why; struct module_info info; };

static void
validate(int fd, const void *path)
{
    static struct verdict v;
    v.code = module_confine(&v.why);
    if (v.code == 0)
        v.code = module_validate(path, &v.info, &v.why);
    (void)!write(fd, &v, sizeof v);
    _exit(0);
}

/* The verdict, or NULL if there was none. */
static const struct verdict *
verdict_of(const char *name, int *status)
{
    static struct verdict v;
    int ignored;
    memset(&v, 0, sizeof v);
    size_t len = in_child(validate, module_file(name), &v, sizeof v, status != NULL ? status : &ignored);
    return len == sizeof v ? &v : NULL;
}

static void
refuses(const char *name, const char *part)
{
    const struct verdict *v = verdict_of(name, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    CU_ASSERT_EQUAL(v->code, NX_EINVAL);
    CU_ASSERT_EQUAL(v->why.code, NX_EINVAL);
    CU_ASSERT_EQUAL(v->info.count, 0);
    CU_ASSERT_EQUAL(strncmp(v->why.text, "module /", 8), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(v->why.text, part));
    if (strstr(v->why.text, part) == NULL)
        printf("# expected '%s' in: %s\n", part, v->why.text);
}

UNIT(validate, B1_a_good_module_tells_its_behaviors)
{
    CU_ASSERT_PTR_NOT_NULL((void *)(uintptr_t)nx_pack);       /* what the module calls is in this program */
    const struct verdict *v = verdict_of("good", NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    CU_ASSERT_EQUAL(v->code, 0);
    if (v->code != 0)
        printf("# %s\n", v->why.text);
    CU_ASSERT_EQUAL_FATAL(v->info.count, 2);
    CU_ASSERT_STRING_EQUAL(v->info.behaviors[0].name, "good");
    CU_ASSERT_EQUAL(v->info.behaviors[0].version, 1);
    CU_ASSERT_STRING_EQUAL(v->info.behaviors[1].name, "good.other");
    CU_ASSERT_EQUAL(v->info.behaviors[1].version, 7);
    v = verdict_of("good_next", NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    CU_ASSERT_EQUAL(v->info.behaviors[0].version, 2);
}

UNIT(validate, B2_names_and_versions)
{
    refuses("no_name", "a behavior whose name is empty or longer than 128 bytes");
    refuses("null_name", "a behavior whose name is empty");
    refuses("wild_name", "a behavior whose name is empty");
    refuses("long_name", "a behavior whose name is empty or longer than 128 bytes");
    refuses("bad_name", "other characters than letters");
    refuses("twice", "two behaviors have the name 'twice'");
    refuses("zero_version", "behavior 'zero' has version 0; count from 1");
}

UNIT(validate, B2_required_callbacks)
{
    refuses("missing_init", "behavior 'm' has no init");
    refuses("missing_call", "behavior 'm' has no handle_call");
    refuses("missing_cast", "behavior 'm' has no handle_cast");
}

UNIT(validate, B3_the_other_callbacks_are_optional)
{
    const struct verdict *v = verdict_of("longest_name", NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    CU_ASSERT_EQUAL(v->code, 0);
    CU_ASSERT_EQUAL_FATAL(v->info.count, 1);
    CU_ASSERT_EQUAL(strlen(v->info.behaviors[0].name), NX_BEHAVIOR_NAME_MAX);
}

UNIT(validate, B2_callbacks_outside_of_the_module)
{
    refuses("foreign_callback", "terminate of behavior 'f' is not code of this module");
    refuses("data_callback", "load of behavior 'd' is not code of this module");
}

UNIT(validate, B2_descriptors_of_another_make)
{
    refuses("no_descriptor", "it has no 'noexd_module'; declare its behaviors with NX_MODULE(...)");
    refuses("bad_magic", "wrong magic number");
    refuses("bad_abi", "built for ABI 2; this noexd has 1: build it again");
    refuses("bad_size", "build it again with this noexd's <noex/noex.h>");
    refuses("no_behaviors", "0 behaviors; a module has 1 to 64");
    refuses("too_many", "65 behaviors; a module has 1 to 64");
    refuses("wild_table", "its table of behaviors is not its own");
    refuses("reserved", "a reserved field of behavior 'r' is not zero");
}

UNIT(validate, what_only_running_shows)
{
    refuses("undefined_symbol", "undefined symbol: nobody_has_this");
    refuses("selftest_fails", "its selftest says 42");
    refuses("sets_signal", "it has set a handler for signal 15");
    refuses("threads", "it has started threads");
}

UNIT(validate, a_file_that_is_not_there_or_no_module)
{
    struct base_error why = { .code = 0 };
    struct module_info info;
    CU_ASSERT_EQUAL(module_validate("/nonexistent/x.so", &info, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "cannot be loaded: "));
    CU_ASSERT_EQUAL(module_validate("libc.so.6", &info, &why), NX_EINVAL);       /* never from the linker's own places */
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "the path of a staged copy is absolute"));
}

/* No verdict is a refusal, whatever the exit status says. */
UNIT(validate, a_constructor_that_ends_the_process_gives_no_verdict)
{
    int status;
    CU_ASSERT_PTR_NULL(verdict_of("crashes", &status));
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CU_ASSERT_PTR_NULL(verdict_of("exits", &status));
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
validate_one_second(int fd, const void *path)
{
    struct rlimit limit = { 1, 1 };
    (void)setrlimit(RLIMIT_CPU, &limit);              /* stricter than module_confine, which must leave it so */
    validate(fd, path);
}

UNIT(validate, a_constructor_that_does_not_end_is_ended)
{
    struct verdict v;
    int status;
    CU_ASSERT_EQUAL(in_child(validate_one_second, module_file("spins"), &v, sizeof v, &status), 0);
    CU_ASSERT(WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL));
}

static void
tell_limits(int fd, const void *arg)
{
    struct rlimit limits[4];
    (void)arg;
    if (module_confine(NULL) != 0)
        _exit(1);
    (void)getrlimit(RLIMIT_CPU, &limits[0]);
    (void)getrlimit(RLIMIT_AS, &limits[1]);
    (void)getrlimit(RLIMIT_NOFILE, &limits[2]);
    (void)getrlimit(RLIMIT_CORE, &limits[3]);
    (void)!write(fd, limits, sizeof limits);
    _exit(0);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

UNIT(validate, the_limits_are_the_promised_ones)
{
    struct rlimit limits[4];
    int status;
    CU_ASSERT_EQUAL_FATAL(in_child(tell_limits, NULL, limits, sizeof limits, &status), sizeof limits);
    CU_ASSERT(limits[0].rlim_cur == 5 && limits[0].rlim_max == 5);
    CU_ASSERT(limits[2].rlim_cur == 64 && limits[2].rlim_max == 64);
    CU_ASSERT(limits[3].rlim_cur == 0 && limits[3].rlim_max == 0);
#ifndef SANITIZED
    CU_ASSERT(limits[1].rlim_cur == (rlim_t)1 << 30 && limits[1].rlim_max == (rlim_t)1 << 30);
#endif
}

UNIT(validate, a_constructor_that_wants_too_much_memory_does_not_get_it)
{
#ifdef SANITIZED
    unit_skip("a sanitizer needs more address space than the limit");
#else
    int status;
    CU_ASSERT_PTR_NULL(verdict_of("greedy", &status));
    CU_ASSERT(WIFSIGNALED(status));
#endif
}
