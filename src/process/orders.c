/*
 * orders.c - the queue of orders to one child.
 *
 * Lives here: its bound, the descriptors in it, one message with descriptors in flight.
 * Never here: what an order means; what happens to a child that does not take them (children.c, watchdog.c).
 * Runs in: the master.
 */
#include "process/orders.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

struct order { struct list link; struct channel_message message; };

static struct order *
first_of(const struct orders *o)
{
    return list_item(o->queue.next, struct order, link);
}

static void
close_descriptors(const struct channel_message *m)
{
    for (uint16_t i = 0; i < m->fd_count; i++)
        (void)close(m->fds[i]);
}

static void
drop(struct orders *o, struct order *order)
{
    list_remove(&order->link);
    o->count--;
    close_descriptors(&order->message);
    free(order);
}

void
orders_init(struct orders *o)
{
    *o = (struct orders){ .fd = -1 };
    list_init(&o->queue);
}

void
orders_open(struct orders *o, int fd)
{
    orders_close(o);
    o->fd = fd;
}

void
orders_close(struct orders *o)
{
    while (!list_is_empty(&o->queue))
        drop(o, first_of(o));
    if (o->fd >= 0)
        (void)close(o->fd);
    o->fd = -1;
    o->is_awaiting_ack = false;
}

int
orders_push(struct orders *o, const struct channel_message *m)
{
    struct order *order = o->fd >= 0 && o->count < ORDERS_MAX ? malloc(sizeof *order) : NULL;
    if (order == NULL) {
        close_descriptors(m);
        return o->fd < 0 ? 0 : o->count >= ORDERS_MAX ? NX_EFULL : NX_ENOMEM;
    }
    if (!orders_are_waiting(o))
        o->moved_ns = clock_now_ns();
    order->message = *m;
    list_init(&order->link);
    list_push_back(&o->queue, &order->link);
    o->count++;
    return 0;
}

int
orders_send(struct orders *o)
{
    int lost = 0;
    while (orders_are_sendable(o)) {
        struct order *order = first_of(o);
        int err = channel_send(o->fd, &order->message);
        if (err == NX_EBUSY)
            break;
        if (err != 0 && err != NX_ENODE && lost == 0)
            lost = err;
        o->is_awaiting_ack = err == 0 && order->message.fd_count > 0 ? true : o->is_awaiting_ack;
        o->moved_ns = clock_now_ns();
        drop(o, order);
    }
    return lost;
}

void
orders_acknowledged(struct orders *o)
{
    o->is_awaiting_ack = false;
    o->moved_ns = clock_now_ns();
}

void
orders_forget(struct orders *o, uint16_t slot)
{
    list_each_safe(it, next, &o->queue) {
        struct order *order = list_item(it, struct order, link);
        if (order->message.order == CHANNEL_PIPES && order->message.slot == slot)
            drop(o, order);
    }
}

bool
orders_are_sendable(const struct orders *o)
{
    return o->fd >= 0 && !list_is_empty(&o->queue) && !(o->is_awaiting_ack && first_of(o)->message.fd_count > 0);
}

bool
orders_are_waiting(const struct orders *o)
{
    return o->is_awaiting_ack || !list_is_empty(&o->queue);
}
