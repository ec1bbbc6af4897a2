/*
 * test_client.c - the client against what a tool may meet: no socket, nobody there, a gate that is late or gone.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ask.h"
#include "base/clock.h"
#include "unit.h"
#include "value/value.h"

#define SAYS(text, part) CU_ASSERT_PTR_NOT_NULL(strstr(text, part))

UNIT(client, a_missing_socket_is_named_with_the_remedy)
{
    struct client *c = NULL;
    struct base_error why = { 0 };
    char path[200];
    CU_ASSERT_EQUAL(client_open("/tmp/noexd-t-control.no-such", 1000, &c, &why), NX_ESYS);
    SAYS(why.text, "/tmp/noexd-t-control.no-such");
    SAYS(why.text, "is noexd running");
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    CU_ASSERT_EQUAL(client_open(path, 1000, &c, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(client_open("", 1000, &c, &why), NX_EINVAL);
    CU_ASSERT_PTR_NULL(c);
}

UNIT(client, a_socket_that_nobody_serves_is_said_to_be_so)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct client *c = NULL;
    struct base_error why = { 0 };
    (void)snprintf(to.sun_path, sizeof to.sun_path, "/tmp/noexd-t-control.dead.%d", (int)getpid());
    (void)unlink(to.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    (void)close(fd);
    CU_ASSERT_EQUAL(client_open(to.sun_path, 1000, &c, &why), NX_ESYS);
    SAYS(why.text, "nobody listens");
    (void)unlink(to.sun_path);
}

UNIT(client, a_file_that_is_no_socket_is_said_to_be_none)
{
    struct client *c = NULL;
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL(client_open("/etc/passwd", 1000, &c, &why), NX_ESYS);
    CU_ASSERT_STRING_EQUAL(why.text, "/etc/passwd is not a socket");
    CU_ASSERT_EQUAL(client_open("/tmp", 1000, &c, &why), NX_ESYS);
    CU_ASSERT_STRING_EQUAL(why.text, "/tmp is not a socket");
    CU_ASSERT_PTR_NULL(c);
}

/* In a child, which gives up root's privilege to open anything; as nobody it reaches no socket of mode 0600 that is not its own. */
UNIT(client, a_socket_of_somebody_else_is_named_with_its_owner_and_mode)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int status = -1;
    if (geteuid() != 0) {
        unit_skip("only root has a socket that others may not open");
        return;
    }
    (void)snprintf(to.sun_path, sizeof to.sun_path, "/tmp/noexd-t-control.mine.%d", (int)getpid());
    (void)unlink(to.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 1), 0);
    CU_ASSERT_EQUAL_FATAL(chmod(to.sun_path, 0600), 0);
    pid_t child = fork();
    if (child == 0) {
        struct client *c = NULL;
        struct base_error why = { 0 };
        char want[200];
        (void)snprintf(want, sizeof want, "socket %s belongs to root, mode 0600: run as that user or set control { mode }", to.sun_path);
        _exit(setuid(65534) != 0 || client_open(to.sun_path, 1000, &c, &why) != NX_ESYS || strcmp(why.text, want) != 0);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    (void)close(fd);
    (void)unlink(to.sun_path);
}

UNIT(client, a_late_answer_is_not_taken_for_the_next)
{
    struct node n;
    struct base_error why = { 0 };
    nx_packer p;
    nx_value v;
    node_start(&n);
    struct client *c = ask_open(&n);
    value_packer_init(&p, 0);
    CU_ASSERT_EQUAL(nx_pack(&p, "{s:s,s:s,s:i}", "target", "here", "message", "hang", "timeoutMs", 200), 0);
    uint64_t begin = clock_now_ns();
    CU_ASSERT_EQUAL(client_request(c, "call", &p.bytes, 50, &v, &why), NX_ETIMEDOUT);
    CU_ASSERT_TRUE(clock_now_ns() - begin < 190 * CLOCK_NS_PER_MS);
    CU_ASSERT_EQUAL(client_request(c, "call", &p.bytes, 5000, &v, &why), NX_ETIMEDOUT);     /* the gate's own: behind the late one */
    SAYS(why.text, "timed out after 200 ms");
    CU_ASSERT_STRING_EQUAL(ask(c, "isRegistered", "{\"name\":\"here\"}"), "true");
    value_packer_fini(&p);
    client_close(&c);
    node_finish(&n);
}

UNIT(client, events_that_come_during_a_request_are_kept_in_order)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "events", "{\"names\":false}"), "true");
    SAYS(ask_event(c, 5000), "node_up");
    SAYS(ask_event(c, 5000), "ready");
    for (int i = 0; i < 5; i++) {
        node_order(&n, ORDER_PEER_DOWN);
        node_order(&n, ORDER_PEER_UP);
    }
    node_order(&n, ORDER_SYNC);
    CU_ASSERT_STRING_EQUAL(ask(c, "isRegistered", "{\"name\":\"here\"}"), "true");
    for (int i = 0; i < 5; i++) {
        SAYS(ask_event(c, 0), "node_down");
        SAYS(ask_event(c, 0), "node_up");
    }
    CU_ASSERT_STRING_EQUAL(ask_event(c, 0), "");
    client_close(&c);
    node_finish(&n);
}

UNIT(client, waiting_for_events_ends_when_it_is_told_to)
{
    struct node n;
    struct base_error why = { 0 };
    nx_value v;
    int stop[2];
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_EQUAL_FATAL(pipe(stop), 0);
    CU_ASSERT_EQUAL(write(stop[1], "x", 1), 1);
    CU_ASSERT_EQUAL(client_next_event(c, NX_FOREVER, stop[0], -1, &v, &why), 0);
    (void)close(stop[0]);
    (void)close(stop[1]);
    client_close(&c);
    node_finish(&n);
}

UNIT(client, waiting_for_events_ends_when_the_reader_of_the_output_has_gone)
{
    struct node n;
    struct base_error why = { 0 };
    nx_value v;
    int out[2];
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_EQUAL_FATAL(pipe(out), 0);
    CU_ASSERT_EQUAL(client_next_event(c, 50, -1, out[1], &v, &why), 0);
    (void)close(out[0]);
    CU_ASSERT_EQUAL(client_next_event(c, NX_FOREVER, -1, out[1], &v, &why), 0);
    (void)close(out[1]);
    client_close(&c);
    node_finish(&n);
}

UNIT(client, a_gate_that_dies_is_an_error_at_once)
{
    struct node n;
    struct base_error why = { 0 };
    nx_packer p;
    nx_value v;
    node_start(&n);
    struct client *c = ask_open(&n);
    value_packer_init(&p, 0);
    CU_ASSERT_EQUAL(nx_pack(&p, "{s:s,s:s,s:s}", "target", "here", "message", "hang", "timeoutMs", "infinity"), 0);
    CU_ASSERT_EQUAL_FATAL(kill(n.pid, SIGKILL), 0);
    int err = client_request(c, "call", &p.bytes, 10000, &v, &why);
    CU_ASSERT_EQUAL(err, NX_ESYS);
    SAYS(why.text, "closed the connection");
    CU_ASSERT_EQUAL(client_next_event(c, 1000, -1, -1, &v, &why), NX_ESYS);
    CU_ASSERT_EQUAL(waitpid(n.pid, NULL, 0), n.pid);
    value_packer_fini(&p);
    client_close(&c);
    (void)close(n.order_fd);
    (void)close(n.done_fd);
    (void)unlink(n.path);
}
