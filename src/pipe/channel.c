/*
 * channel.c - orders and descriptors between the master and one child, over a SOCK_SEQPACKET socket pair.
 *
 * Lives here: the fixed layout of a message, passing descriptors, the ways in which the other side can be gone.
 * Never here: waiting, the event loop, what an order means.
 * Runs in: the master, workers, the link worker, the gate.
 */
#include "pipe/channel.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

/* Both sides run the same program, so native order will do; the mark and the size tell when they do not. */
struct packet {
    uint32_t mark;
    uint32_t order;
    uint64_t value;
    uint32_t generation;
    uint16_t slot;
    uint16_t fd_count;
    char text[CHANNEL_TEXT];
};
enum { PACKET_MARK = 0x6e784331, PACKET_BYTES = 24 + CHANNEL_TEXT };          /* "nxC1": the digit is the version of the layout */
_Static_assert(sizeof(struct packet) == PACKET_BYTES, "no padding: every byte of a packet is set");

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * CHANNEL_FDS)];
};

static bool
is_order(uint32_t order)
{
    return order >= CHANNEL_PIPES && order <= CHANNEL_FAILED;
}

int
channel_pair(int fds[2], struct base_error *why)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return base_error_sys(why, errno, "make a channel", NULL);
    fds[0] = pair[0];
    fds[1] = pair[1];
    return 0;
}

/* ---- sending */

static int
send_error(int errnum)
{
    switch (errnum) {
    case EAGAIN:
    case ENOBUFS:
    case ETOOMANYREFS:                            /* descriptors in flight: the other side has to take some first */
        return NX_EBUSY;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return NX_ENODE;
    default:
        return NX_ESYS;
    }
}

int
channel_send(int fd, const struct channel_message *m)
{
    struct packet p = { .mark = PACKET_MARK, .order = m->order, .value = m->value, .generation = m->generation, .slot = m->slot,
                        .fd_count = m->fd_count };
    union control control;
    struct iovec bytes = { .iov_base = &p, .iov_len = sizeof p };
    struct msghdr msg = { .msg_iov = &bytes, .msg_iovlen = 1 };

    if (!is_order(m->order) || m->fd_count > CHANNEL_FDS)
        return NX_EINVAL;
    memcpy(p.text, m->text, strnlen(m->text, CHANNEL_TEXT - 1));              /* the rest is zero: nothing of our stack goes out */
    if (m->fd_count > 0) {
        size_t len = sizeof(int) * m->fd_count;
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(len);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(len);
        memcpy(CMSG_DATA(c), m->fds, len);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return send_error(errno);
    return n == (ssize_t)sizeof p ? 0 : NX_ESYS;  /* a packet goes whole or not at all */
}

/* ---- receiving */

static void
close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)close(fds[i]);
}

/* The descriptors that came along. They are in our table already, whatever else is wrong with the message. */
static unsigned
take_descriptors(struct msghdr *msg, int fds[static CHANNEL_FDS])
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (count < CHANNEL_FDS)
                fds[count++] = fd;
            else
                (void)close(fd);
        }
    }
    return count;
}

static bool
is_valid(const struct packet *p, size_t len, int flags, unsigned fd_count)
{
    return len == sizeof *p && (flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && p->mark == PACKET_MARK && is_order(p->order) &&
           p->fd_count == fd_count && memchr(p->text, 0, sizeof p->text) != NULL;
}

int
channel_receive(int fd, struct channel_message *out)
{
    struct packet p;
    union control control;
    struct iovec bytes = { .iov_base = &p, .iov_len = sizeof p };
    struct msghdr msg = { .msg_iov = &bytes, .msg_iovlen = 1 };
    int fds[CHANNEL_FDS] = { -1, -1 };

    /* ECONNRESET: the other side went away without reading all of ours. It is reported once, before what it said last: ask again. */
    ssize_t n;
    for (int resets = 0; ; ) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n >= 0 || (errno != EINTR && (errno != ECONNRESET || resets++ > 0)))
            break;
    }
    if (n < 0)
        return errno == EAGAIN ? 0 : errno == ECONNRESET ? NX_ENODE : NX_ESYS;

    unsigned fd_count = take_descriptors(&msg, fds);
    if (n == 0 && fd_count == 0)
        return NX_ENODE;                          /* we send no empty packet: this is the end */
    if (!is_valid(&p, (size_t)n, msg.msg_flags, fd_count)) {
        close_all(fds, fd_count);
        return NX_EBADMSG;
    }
    *out = (struct channel_message){ .order = p.order, .generation = p.generation, .value = p.value, .slot = p.slot, .fd_count = p.fd_count };
    memcpy(out->fds, fds, sizeof out->fds);
    memcpy(out->text, p.text, sizeof out->text);
    return 1;
}
