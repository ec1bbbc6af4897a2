/*
 * orders.h - what the master still has to tell one child, in order; nothing is lost, nothing waits.
 *
 * One message with descriptors is on its way at a time (the kernel counts descriptors in flight), until the child says that it has them.
 */
#ifndef NOEXD_PROCESS_ORDERS_H
#define NOEXD_PROCESS_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "pipe/channel.h"

enum { ORDERS_MAX = 1024 };

struct orders {
    int fd;                              /* the master's end of the channel; -1 = there is nobody to tell */
    struct list queue;                   /* not sent yet */
    uint32_t count;
    bool is_awaiting_ack;                /* descriptors are on their way */
    uint64_t moved_ns;                   /* when an order was last taken, or put where none waited */
};

void orders_init(struct orders *o);
void orders_open(struct orders *o, int fd);      /* owns fd */
void orders_close(struct orders *o);             /* forgets all; fine if it is closed */

/* Queue one; its descriptors are owned by the queue, on failure too. 0 (also when there is nobody to tell), NX_EFULL, NX_ENOMEM: this child will miss something. */
int  orders_push(struct orders *o, const struct channel_message *m);
/* Send what can be sent now. 0 (also when the child is gone: its death is told elsewhere), or an error: this child has missed something. */
int  orders_send(struct orders *o);
/* The child has the descriptors of the last message. */
void orders_acknowledged(struct orders *o);
/* Pipes to a life in `slot` that is over are not handed out any more. */
void orders_forget(struct orders *o, uint16_t slot);

/* Would orders_send send something if the channel had room? */
bool orders_are_sendable(const struct orders *o);
/* Is something not sent, or not acknowledged? */
bool orders_are_waiting(const struct orders *o);

#endif
