/*
 * test_channel.c - orders and descriptors, and every way in which the other side can be wrong or gone.
 */
#include "pipe/channel.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "testing.h"
#include "unit.h"

enum { PACKET_BYTES = 24 + CHANNEL_TEXT };

static void
open_channel(int fds[2])
{
    CU_ASSERT_EQUAL_FATAL(channel_pair(fds, NULL), 0);
}

static void
close_channel(int fds[2])
{
    (void)close(fds[0]);
    (void)close(fds[1]);
}

UNIT(channel, both_ends_are_close_on_exec_and_do_not_block)
{
    int fds[2];
    open_channel(fds);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        CU_ASSERT(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    }
    struct channel_message m;
    CU_ASSERT_EQUAL(channel_receive(fds[0], &m), 0);
    close_channel(fds);
}

UNIT(channel, an_order_arrives_as_it_was_sent)
{
    int fds[2];
    open_channel(fds);
    struct channel_message m = { .order = CHANNEL_FAILED, .generation = 0xdeadbeef, .value = UINT64_MAX - 1, .slot = 0xFFFE, .text = "no such file" }, got;
    memset(&got, 0xaa, sizeof got);
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), 0);
    CU_ASSERT_EQUAL(channel_receive(fds[1], &got), 1);
    CU_ASSERT_EQUAL(got.order, CHANNEL_FAILED);
    CU_ASSERT_EQUAL(got.generation, 0xdeadbeef);
    CU_ASSERT_EQUAL(got.value, UINT64_MAX - 1);
    CU_ASSERT_EQUAL(got.slot, 0xFFFE);
    CU_ASSERT_EQUAL(got.fd_count, 0);
    CU_ASSERT_EQUAL(got.fds[0], -1);
    CU_ASSERT_STRING_EQUAL(got.text, "no such file");
    memset(m.text, 'x', sizeof m.text);           /* one that is not terminated is cut, not read over */
    CU_ASSERT_EQUAL(channel_send(fds[1], &m), 0);
    CU_ASSERT_EQUAL(channel_receive(fds[0], &got), 1);
    CU_ASSERT_EQUAL(strlen(got.text), CHANNEL_TEXT - 1);
    CU_ASSERT_EQUAL(channel_receive(fds[0], &got), 0);
    close_channel(fds);
}

UNIT(channel, wrong_orders_are_not_sent)
{
    int fds[2];
    open_channel(fds);
    struct channel_message m = { .order = 0 };
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), NX_EINVAL);
    m.order = CHANNEL_FAILED + 1;
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), NX_EINVAL);
    m.order = CHANNEL_PIPES;
    m.fd_count = CHANNEL_FDS + 1;
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), NX_EINVAL);
    close_channel(fds);
}

UNIT(channel, descriptors_arrive_in_another_process_close_on_exec_and_usable)
{
    int before = testing_fds(), fds[2], there[2], back[2];
    open_channel(fds);
    pid_t child = fork();
    if (child == 0) {
        struct channel_message got;
        char word[8] = "";
        (void)close(fds[0]);
        for (int tries = 0; channel_receive(fds[1], &got) == 0; tries++)
            if (tries > 1000000)
                _exit(1);
        if (got.order != CHANNEL_PIPES || got.fd_count != 2)
            _exit(2);
        for (int i = 0; i < 2; i++)
            if ((fcntl(got.fds[i], F_GETFD) & FD_CLOEXEC) == 0)
                _exit(3);
        if (read(got.fds[0], word, sizeof word) != 4 || write(got.fds[1], "pong", 4) != 4)
            _exit(4);
        _exit(strcmp(word, "ping") == 0 ? 0 : 5);
    }
    (void)close(fds[1]);
    CU_ASSERT_EQUAL_FATAL(pipe(there), 0);        /* without close-on-exec: the flag is the receiver's */
    CU_ASSERT_EQUAL_FATAL(pipe(back), 0);
    CU_ASSERT_EQUAL(write(there[1], "ping", 4), 4);
    struct channel_message m = { .order = CHANNEL_PIPES, .slot = 3, .generation = 9, .fd_count = 2, .fds = { there[0], back[1] } };
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), 0);
    close_channel(there);
    (void)close(back[1]);
    char word[8] = "";
    CU_ASSERT_EQUAL(read(back[0], word, sizeof word), 4);
    CU_ASSERT_STRING_EQUAL(word, "pong");
    CU_ASSERT(testing_reap(child));
    struct channel_message got;
    CU_ASSERT_EQUAL(channel_receive(fds[0], &got), NX_ENODE);
    (void)close(fds[0]);
    (void)close(back[0]);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(channel, a_hundred_descriptors_leave_none_behind)
{
    int before = testing_fds(), fds[2];
    open_channel(fds);
    for (int i = 0; i < 100; i++) {
        int one[2];
        testing_pipe(one);
        struct channel_message m = { .order = CHANNEL_PIPES, .fd_count = 2, .fds = { one[0], one[1] } }, got;
        CU_ASSERT_EQUAL(channel_send(fds[0], &m), 0);
        close_channel(one);
        CU_ASSERT_EQUAL(channel_receive(fds[1], &got), 1);
        CU_ASSERT_EQUAL(got.fd_count, 2);
        close_channel(got.fds);
    }
    /* Sent and never received: they go with the channel. */
    int one[2];
    testing_pipe(one);
    struct channel_message m = { .order = CHANNEL_LOG, .fd_count = 1, .fds = { one[0], -1 } };
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), 0);
    close_channel(one);
    close_channel(fds);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

/* A packet as a stranger would send it. */
static void
send_raw(int fd, const void *bytes, size_t len, const int *passed, unsigned count)
{
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int) * 16)]; } control;
    struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    memset(&control, 0, sizeof control);
    if (count > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(c), passed, sizeof(int) * count);
    }
    CU_ASSERT_EQUAL(sendmsg(fd, &msg, 0), (ssize_t)len);
}

UNIT(channel, malformed_packets_are_fatal_and_their_descriptors_are_closed)
{
    int fds[2], probe[2];
    uint8_t good[PACKET_BYTES + 8] = { 0 }, bad[PACKET_BYTES + 8];
    struct channel_message m = { .order = CHANNEL_LOG, .fd_count = 1 }, got;
    open_channel(fds);
    testing_pipe(probe);
    m.fds[0] = probe[0];
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), 0);
    CU_ASSERT_EQUAL(recv(fds[1], good, sizeof good, 0), PACKET_BYTES);     /* the real thing, to be spoilt */
    int before = testing_fds();
    int many[8] = { probe[0], probe[1], probe[0], probe[1], probe[0], probe[1], probe[0], probe[1] };

    struct { const char *what; size_t len; unsigned fds; int at, value; } cases[] = {
        { "one byte", 1, 1, -1, 0 },
        { "too short", PACKET_BYTES - 1, 1, -1, 0 },
        { "too long", PACKET_BYTES + 1, 1, -1, 0 },
        { "wrong mark", PACKET_BYTES, 1, 0, 0xee },
        { "wrong order", PACKET_BYTES, 1, 4, 0x77 },
        { "no descriptor where one is announced", PACKET_BYTES, 0, -1, 0 },
        { "two where one is announced", PACKET_BYTES, 2, -1, 0 },
        { "three: truncated by the kernel", PACKET_BYTES, 3, -1, 0 },
        { "eight: truncated by the kernel", PACKET_BYTES, 8, -1, 0 },
        { "text without an end", PACKET_BYTES, 1, -2, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bad, good, sizeof bad);
        if (cases[i].at >= 0)
            bad[cases[i].at] = (uint8_t)cases[i].value;
        if (cases[i].at == -2)
            memset(bad + 24, 'x', CHANNEL_TEXT);
        send_raw(fds[0], bad, cases[i].len, many, cases[i].fds);
        int err = channel_receive(fds[1], &got);
        if (err != NX_EBADMSG)
            printf("# %s: %d\n", cases[i].what, err);
        CU_ASSERT_EQUAL(err, NX_EBADMSG);
        CU_ASSERT_EQUAL(testing_fds(), before);
    }
    send_raw(fds[0], good, PACKET_BYTES, many, 1);                         /* unspoilt, it passes */
    CU_ASSERT_EQUAL(channel_receive(fds[1], &got), 1);
    (void)close(got.fds[0]);
    close_channel(probe);
    close_channel(fds);
}

UNIT(channel, a_full_channel_says_busy_and_loses_nothing)
{
    int fds[2];
    open_channel(fds);
    uint64_t sent = 0;
    struct channel_message m = { .order = CHANNEL_DOWN }, got;
    int err;
    while ((m.value = sent, err = channel_send(fds[0], &m)) == 0)
        sent++;
    CU_ASSERT_EQUAL(err, NX_EBUSY);
    CU_ASSERT(sent > 0);
    for (uint64_t i = 0; i < sent; i++) {
        CU_ASSERT_EQUAL_FATAL(channel_receive(fds[1], &got), 1);
        CU_ASSERT_EQUAL(got.value, i);
    }
    CU_ASSERT_EQUAL(channel_receive(fds[1], &got), 0);
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), 0);
    close_channel(fds);
}

UNIT(channel, the_last_words_of_one_that_did_not_listen_are_heard)
{
    int fds[2];
    open_channel(fds);
    struct channel_message m = { .order = CHANNEL_DOWN }, got;
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), 0);                          /* never read by the other side */
    m = (struct channel_message){ .order = CHANNEL_FAILED, .text = "cannot load a module" };
    CU_ASSERT_EQUAL(channel_send(fds[1], &m), 0);
    (void)close(fds[1]);
    CU_ASSERT_EQUAL(channel_receive(fds[0], &got), 1);
    CU_ASSERT_STRING_EQUAL(got.text, "cannot load a module");
    CU_ASSERT_EQUAL(channel_receive(fds[0], &got), NX_ENODE);
    CU_ASSERT_EQUAL(channel_send(fds[0], &m), NX_ENODE);                   /* and no SIGPIPE */
    (void)close(fds[0]);
}
