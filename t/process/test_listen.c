/*
 * test_listen.c - listening sockets, and what is said when the place is taken.
 */
#include "process/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

static uint16_t
port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

static bool
has_flags(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

UNIT(listen, a_port_is_open_non_blocking_and_close_on_exec)
{
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(listen_tcp("127.0.0.1", 0, &fd, NULL), 0);
    CU_ASSERT_TRUE(has_flags(fd));
    int on = 0;
    socklen_t len = sizeof on;
    CU_ASSERT_EQUAL(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len), 0);
    CU_ASSERT_EQUAL(on, 1);
    (void)close(fd);
}

UNIT(listen, a_busy_port_names_its_holder)
{
    int fd = -1, second = -1;
    struct base_error why = { 0 };
    char part[64];
    CU_ASSERT_EQUAL_FATAL(listen_tcp("127.0.0.1", 0, &fd, NULL), 0);
    CU_ASSERT_EQUAL(listen_tcp("127.0.0.1", port_of(fd), &second, &why), NX_ESYS);
    snprintf(part, sizeof part, "held by process %d, ", (int)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    snprintf(part, sizeof part, "127.0.0.1:%u", port_of(fd));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    CU_ASSERT_EQUAL(second, -1);
    (void)close(fd);
}

struct stranger { int fd, ready[2], go[2]; };

static int
keep_port(void *arg)
{
    const struct stranger *s = arg;
    testing_tell(s->ready[1]);
    return testing_hear(s->go[0]) ? 0 : 1;
}

UNIT(listen, the_holder_is_the_one_of_this_address_not_of_another_with_the_same_port)
{
    struct stranger s = { .fd = -1 };
    CU_ASSERT_EQUAL_FATAL(listen_tcp("127.0.0.1", 0, &s.fd, NULL), 0);
    uint16_t port = port_of(s.fd);
    CU_ASSERT_EQUAL_FATAL(pipe(s.ready), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(s.go), 0);
    pid_t pid = testing_fork(keep_port, &s);
    CU_ASSERT_TRUE_FATAL(testing_hear(s.ready[0]));
    (void)close(s.fd);                                   /* now the child alone holds 127.0.0.1 */
    int ours = -1, fd = -1;
    CU_ASSERT_EQUAL_FATAL(listen_tcp("127.0.0.2", port, &ours, NULL), 0);
    struct base_error why = { 0 };
    char part[64];
    CU_ASSERT_EQUAL(listen_tcp("127.0.0.1", port, &fd, &why), NX_ESYS);
    snprintf(part, sizeof part, "held by process %d,", (int)pid);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    CU_ASSERT_EQUAL(listen_tcp("127.0.0.2", port, &fd, &why), NX_ESYS);
    snprintf(part, sizeof part, "held by process %d,", (int)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    testing_tell(s.go[1]);
    CU_ASSERT_EQUAL(testing_wait(pid), 0);
    (void)close(ours);
    for (int i = 0; i < 2; i++)
        (void)close(s.ready[i]), (void)close(s.go[i]);
}

UNIT(listen, IPv6_and_IPv4_can_have_the_same_port)
{
    int six = -1, four = -1;
    if (listen_tcp("::1", 0, &six, NULL) != 0) {
        unit_skip("no IPv6 here");
        return;
    }
    CU_ASSERT_EQUAL(listen_tcp("127.0.0.1", port_of(six), &four, NULL), 0);
    int again = -1;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(listen_tcp("::1", port_of(six), &again, &why), NX_ESYS);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "[::1]:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "held by process"));
    (void)close(six);
    if (four >= 0)
        (void)close(four);
}

UNIT(listen, an_address_that_is_not_ours_and_a_name_that_is_none_are_refused)
{
    int fd = -1;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(listen_tcp("192.0.2.1", 4369, &fd, &why), NX_ESYS);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "192.0.2.1:4369"));
    CU_ASSERT_EQUAL(listen_tcp("not a host", 4369, &fd, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "not a host"));
    CU_ASSERT_EQUAL(fd, -1);
}

/* ---------------------------------------------------------------- Unix sockets */

static int
connect_to(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, (struct sockaddr *)&addr, sizeof addr);
    (void)close(fd);
    return r;
}

UNIT(listen, a_unix_socket_has_the_mode_that_was_asked_for_whatever_the_umask)
{
    static const mode_t masks[] = { 0, 022, 0777 };
    for (size_t i = 0; i < 3; i++) {
        const char *path = testing_path("mode.sock");
        int fd = -1;
        mode_t before = umask(masks[i]);
        CU_ASSERT_EQUAL_FATAL(listen_unix(path, 0660, &fd, NULL), 0);
        CU_ASSERT_EQUAL(umask(before), masks[i]);
        struct stat st;
        CU_ASSERT_EQUAL(stat(path, &st), 0);
        CU_ASSERT_EQUAL(st.st_mode & 07777, 0660);
        CU_ASSERT_TRUE(has_flags(fd));
        CU_ASSERT_EQUAL(connect_to(path), 0);
        (void)close(fd);
        (void)unlink(path);
    }
}

UNIT(listen, a_stale_unix_socket_is_replaced)
{
    const char *path = testing_path("stale.sock");
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(listen_unix(path, 0600, &fd, NULL), 0);
    (void)close(fd);
    CU_ASSERT_TRUE_FATAL(testing_exists(path));
    CU_ASSERT_EQUAL(listen_unix(path, 0600, &fd, NULL), 0);
    CU_ASSERT_EQUAL(connect_to(path), 0);
    (void)close(fd);
}

UNIT(listen, a_living_unix_socket_is_left_alone)
{
    const char *path = testing_path("live.sock");
    int fd = -1, second = -1;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL_FATAL(listen_unix(path, 0600, &fd, NULL), 0);
    CU_ASSERT_EQUAL(listen_unix(path, 0600, &second, &why), NX_ECONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, path));
    CU_ASSERT_EQUAL(second, -1);
    CU_ASSERT_EQUAL(connect_to(path), 0);
    (void)close(fd);
}

UNIT(listen, a_file_that_is_no_socket_is_never_removed)
{
    const char *path = testing_file("precious.sock", "x", 1, 0600);
    int fd = -1;
    CU_ASSERT_EQUAL(listen_unix(path, 0600, &fd, NULL), NX_ECONFLICT);
    CU_ASSERT_TRUE(testing_exists(path));
}

UNIT(listen, a_path_too_long_for_a_unix_socket_is_refused_with_the_bound)
{
    char path[300];
    int fd = -1;
    struct base_error why = { 0 };
    memset(path, 'x', sizeof path - 1);
    path[0] = '/', path[sizeof path - 1] = '\0';
    CU_ASSERT_EQUAL(listen_unix(path, 0600, &fd, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "107 bytes"));
}

UNIT(listen, a_port_of_a_process_that_is_ending_is_waited_for)
{
    int fd = -1, ours = -1, ready[2];
    char byte;
    CU_ASSERT_EQUAL_FATAL(listen_tcp("127.0.0.1", 0, &fd, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    uint16_t port = port_of(fd);
    pid_t pid = fork();
    if (pid == 0) {
        (void)!write(ready[1], "r", 1);
        (void)poll(NULL, 0, 150);            /* it ends on its own, not at once */
        _exit(0);
    }
    (void)close(fd);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    CU_ASSERT_EQUAL(listen_tcp("127.0.0.1", port, &ours, NULL), 0);
    (void)close(ours);
    (void)close(ready[0]), (void)close(ready[1]);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
}
