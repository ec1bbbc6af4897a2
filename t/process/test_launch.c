/*
 * test_launch.c - what the master makes before its first fork: directories, and the word to whoever has started it.
 */
#include "process/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/process.h"
#include "testing.h"

static mode_t
mode_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

UNIT(launch, a_directory_is_made_with_its_parents_and_again_is_fine)
{
    const char *path = testing_path("a/b//c/");
    mode_t before = umask(022);
    CU_ASSERT_EQUAL(launch_make_dir(path, NULL), 0);
    CU_ASSERT_EQUAL(launch_make_dir(path, NULL), 0);
    (void)umask(before);
    CU_ASSERT_EQUAL(mode_of(testing_path("a/b/c")), 0755);
}

UNIT(launch, a_file_in_the_way_and_a_path_too_long_are_refused)
{
    struct base_error why = { 0 };
    char path[5000];
    (void)testing_file("file", "x", 1, 0644);
    CU_ASSERT_EQUAL(launch_make_dir(testing_path("file/below"), &why), NX_ESYS);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "file/below"));
    memset(path, '/', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    CU_ASSERT_EQUAL(launch_make_dir(path, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(launch_make_dir("", &why), NX_EINVAL);
}

UNIT(launch, a_directory_that_others_may_write_to_is_no_place_for_modules)
{
    const char *path = testing_path("copies");
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
    CU_ASSERT_EQUAL(chmod(path, 0755), 0);
    CU_ASSERT_EQUAL(launch_check_private(path, &why), 0);
    static const mode_t wide[] = { 0775, 0757, 01777 };
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(chmod(path, wide[i]), 0);
        CU_ASSERT_EQUAL(launch_check_private(path, &why), NX_EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "chmod"));
    }
    CU_ASSERT_EQUAL(launch_check_private(testing_path("copies-not-there"), &why), NX_ESYS);
    CU_ASSERT_EQUAL(launch_check_private(testing_file("copies-file", "x", 1, 0644), &why), NX_EINVAL);
}

UNIT(launch, a_directory_of_another_user_is_no_place_for_modules)
{
    const char *path = testing_path("theirs");
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
    if (chown(path, 65534, 65534) != 0) {
        unit_skip("only root can give a directory away");
        return;
    }
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(launch_check_private(path, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "65534"));
}

UNIT(launch, the_verdict_is_told_once)
{
    int fds[2];
    char text[64] = "";
    struct conf conf = { .log_file = (char *)(uintptr_t)"stderr" };
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    struct launch l = { .conf = &conf, .ready_fd = fds[1] };
    launch_tell_ready(&l, NULL);
    launch_tell_ready(&l, "too late");
    CU_ASSERT_EQUAL(l.ready_fd, -1);
    CU_ASSERT_EQUAL(read(fds[0], text, sizeof text), 6);
    CU_ASSERT_STRING_EQUAL(text, "ready\n");
    CU_ASSERT_EQUAL(read(fds[0], text, sizeof text), 0);
    (void)close(fds[0]);
}

UNIT(launch, a_complaint_does_not_wait_for_a_full_standard_error)
{
    int fds[2], kept = dup(2);
    char text[4096] = "";
    struct conf conf = { .log_file = (char *)(uintptr_t)"/some/file" };
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    (void)dup2(fds[1], 2);
    struct launch l = { .conf = &conf, .ready_fd = -1 };
    launch_tell_ready(&l, "first");
    CU_ASSERT_EQUAL(read(fds[0], text, sizeof text), 13);
    CU_ASSERT_STRING_EQUAL(text, "noexd: first\n");
    CU_ASSERT_EQUAL(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    while (write(fds[1], text, sizeof text) > 0)
        continue;
    CU_ASSERT_EQUAL(fcntl(fds[1], F_SETFL, 0), 0);       /* a write would wait for ever now */
    l = (struct launch){ .conf = &conf, .ready_fd = -1 };
    (void)alarm(10);
    launch_tell_ready(&l, "second");
    (void)alarm(0);
    (void)dup2(kept, 2);
    (void)close(kept), (void)close(fds[0]), (void)close(fds[1]);
}

/* ---------------------------------------------------------------- begin */

static int
begin_without_descriptors(void *arg)
{
    char *argv[] = { arg, NULL };
    (void)close(0), (void)close(2);
    (void)umask(0777);
    (void)signal(SIGCHLD, SIG_IGN);
    if (process_begin(1, argv) != 0)
        return 1;
    if (fcntl(0, F_GETFD) < 0 || fcntl(1, F_GETFD) < 0 || fcntl(2, F_GETFD) < 0)
        return 2;
    if (umask(0) != 022)
        return 3;
    if (signal(SIGCHLD, SIG_DFL) != SIG_DFL)
        return 4;
    int next = open("/dev/null", O_RDONLY);
    return next > 2 ? 0 : 5;
}

UNIT(begin, descriptors_mask_and_signals_are_settled_whatever_they_were)
{
    char name[] = "noexd";
    CU_ASSERT_EQUAL(testing_wait(testing_fork(begin_without_descriptors, name)), 0);
}
