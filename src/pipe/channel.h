/*
 * channel.h - between the master and one child: orders and descriptors, over a SOCK_SEQPACKET socket pair.
 *
 * The master's side never blocks and keeps one message with descriptors in flight per child (the kernel counts descriptors in flight);
 * the child acknowledges each. The master has its own poll loop, so this file knows no event loop: both sides call send and receive.
 */
#ifndef NOEXD_PIPE_CHANNEL_H
#define NOEXD_PIPE_CHANNEL_H

#include <stdint.h>

#include "base/error.h"

enum channel_order {
    CHANNEL_PIPES = 1,      /* master -> child: fds[0] = read end from, fds[1] = write end to process (slot, generation); value: 1 = more follow */
    CHANNEL_DOWN,           /* master -> child: (slot, generation) is dead */
    CHANNEL_STOP,           /* master -> child: end orderly within `value` ms; slot 1 = work through the mailboxes first */
    CHANNEL_QUIT,           /* master -> child: end now */
    CHANNEL_LOG,            /* master -> child: fds[0] = the reopened log */
    CHANNEL_SECRETS,        /* master -> link worker: fds[0] = read end of a pipe with the secrets */
    CHANNEL_START,          /* master -> child: all your pipes are there: serve; answered by READY or FAILED */
    CHANNEL_ACK,            /* child -> master: a message with descriptors has arrived */
    CHANNEL_READY,          /* child -> master: serving */
    CHANNEL_FAILED          /* child -> master: cannot serve; text says why */
};

enum { CHANNEL_TEXT = 384, CHANNEL_FDS = 2 };

struct channel_message {
    uint32_t order;
    uint32_t generation;
    uint64_t value;
    uint16_t slot;
    uint16_t fd_count;
    int fds[CHANNEL_FDS];
    char text[CHANNEL_TEXT];
};

int channel_pair(int fds[2], struct base_error *why);                     /* both close-on-exec and non-blocking */
/* 0; NX_EBUSY: the other side has not read (try again when writable); NX_ENODE: it is gone; NX_EINVAL: no such order, too many descriptors;
 * NX_ESYS. Descriptors are not closed here. */
int channel_send(int fd, const struct channel_message *m);
/* 1 = *out filled, the descriptors in it are the caller's (close-on-exec; unused places of fds are -1); 0 = nothing there; NX_ENODE = the
 * other side is gone, and all it said has been received; NX_EBADMSG = truncated (MSG_CTRUNC) or malformed: fatal; NX_ESYS. */
int channel_receive(int fd, struct channel_message *out);

#endif
