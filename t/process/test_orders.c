/*
 * test_orders.c - the queue of orders to one child, over a real channel whose other end is read here.
 */
#include "process/orders.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "testing.h"

static size_t
open_descriptors(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d) != NULL)
        n++;
    (void)closedir(d);
    return n;
}

struct fixture { struct orders orders; int child; size_t before; };

static void
fixture_open(struct fixture *f)
{
    int pair[2];
    f->before = open_descriptors();
    CU_ASSERT_EQUAL_FATAL(channel_pair(pair, NULL), 0);
    orders_init(&f->orders);
    orders_open(&f->orders, pair[0]);
    f->child = pair[1];
}

/* Nothing that the queue owned stays open. */
static void
fixture_close(struct fixture *f)
{
    orders_close(&f->orders);
    (void)close(f->child);
    CU_ASSERT_EQUAL(open_descriptors(), f->before);
}

static struct channel_message
pipes_to(uint16_t slot, uint32_t generation)
{
    struct channel_message m = { .order = CHANNEL_PIPES, .slot = slot, .generation = generation, .fd_count = 2 };
    CU_ASSERT_EQUAL_FATAL(pipe2(m.fds, O_CLOEXEC), 0);
    return m;
}

static void
push_pipes(struct fixture *f, uint16_t slot, uint32_t generation)
{
    struct channel_message m = pipes_to(slot, generation);
    CU_ASSERT_EQUAL(orders_push(&f->orders, &m), 0);
}

/* The next order that has arrived, its descriptors closed; 0 = none. */
static uint32_t
next(struct fixture *f, uint16_t *slot)
{
    struct channel_message m;
    if (channel_receive(f->child, &m) <= 0)
        return 0;
    for (unsigned i = 0; i < m.fd_count; i++)
        (void)close(m.fds[i]);
    if (slot != NULL)
        *slot = m.slot;
    return m.order;
}

UNIT(orders, they_arrive_in_order_and_one_with_descriptors_waits_for_the_word_about_the_last)
{
    struct fixture f;
    uint16_t slot = 0;
    fixture_open(&f);
    push_pipes(&f, 1, 1);
    push_pipes(&f, 2, 1);
    CU_ASSERT_EQUAL(orders_push(&f.orders, &(struct channel_message){ .order = CHANNEL_START }), 0);
    CU_ASSERT_EQUAL(orders_send(&f.orders), 0);
    CU_ASSERT_EQUAL(next(&f, &slot), CHANNEL_PIPES);
    CU_ASSERT_EQUAL(slot, 1);
    CU_ASSERT_EQUAL(next(&f, NULL), 0);
    CU_ASSERT_FALSE(orders_are_sendable(&f.orders));
    CU_ASSERT_TRUE(orders_are_waiting(&f.orders));
    orders_acknowledged(&f.orders);
    CU_ASSERT_TRUE(orders_are_sendable(&f.orders));
    CU_ASSERT_EQUAL(orders_send(&f.orders), 0);
    CU_ASSERT_EQUAL(next(&f, &slot), CHANNEL_PIPES);
    CU_ASSERT_EQUAL(slot, 2);
    CU_ASSERT_EQUAL(next(&f, NULL), CHANNEL_START);      /* it carries none, and need not wait */
    orders_acknowledged(&f.orders);
    CU_ASSERT_FALSE(orders_are_waiting(&f.orders));
    fixture_close(&f);
}

UNIT(orders, pipes_to_a_dead_life_are_forgotten_and_closed_and_the_rest_stays)
{
    struct fixture f;
    uint16_t slot = 0;
    fixture_open(&f);
    push_pipes(&f, 1, 1);
    CU_ASSERT_EQUAL(orders_send(&f.orders), 0);          /* on its way: cannot be taken back */
    size_t base = open_descriptors();
    push_pipes(&f, 1, 2);
    push_pipes(&f, 2, 1);
    CU_ASSERT_EQUAL(orders_push(&f.orders, &(struct channel_message){ .order = CHANNEL_DOWN, .slot = 1 }), 0);
    orders_forget(&f.orders, 1);
    CU_ASSERT_EQUAL(open_descriptors(), base + 2);
    CU_ASSERT_EQUAL(f.orders.count, 2);
    CU_ASSERT_EQUAL(next(&f, NULL), CHANNEL_PIPES);
    orders_acknowledged(&f.orders);
    CU_ASSERT_EQUAL(orders_send(&f.orders), 0);
    CU_ASSERT_EQUAL(next(&f, &slot), CHANNEL_PIPES);
    CU_ASSERT_EQUAL(slot, 2);
    CU_ASSERT_EQUAL(next(&f, &slot), CHANNEL_DOWN);
    CU_ASSERT_EQUAL(slot, 1);
    fixture_close(&f);
}

UNIT(orders, the_queue_is_bounded_and_what_does_not_fit_is_closed)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < ORDERS_MAX; i++)
        CU_ASSERT_EQUAL(orders_push(&f.orders, &(struct channel_message){ .order = CHANNEL_DOWN }), 0);
    size_t base = open_descriptors();
    struct channel_message m = pipes_to(1, 1);
    CU_ASSERT_EQUAL(orders_push(&f.orders, &m), NX_EFULL);
    CU_ASSERT_EQUAL(open_descriptors(), base);
    fixture_close(&f);
}

UNIT(orders, a_child_that_does_not_read_loses_nothing)
{
    struct fixture f;
    int sent = 0, got = 0;
    fixture_open(&f);
    for (; sent < ORDERS_MAX; sent++)
        CU_ASSERT_EQUAL(orders_push(&f.orders, &(struct channel_message){ .order = CHANNEL_DOWN, .slot = 1 }), 0);
    CU_ASSERT_EQUAL(orders_send(&f.orders), 0);
    CU_ASSERT_TRUE(f.orders.count > 0);                  /* the channel is full */
    while (next(&f, NULL) != 0) {
        got++;
        CU_ASSERT_EQUAL(orders_send(&f.orders), 0);
    }
    CU_ASSERT_EQUAL(got, sent);
    CU_ASSERT_FALSE(orders_are_waiting(&f.orders));
    fixture_close(&f);
}

UNIT(orders, a_child_that_is_gone_is_told_nothing_and_nothing_is_kept_for_it)
{
    struct fixture f;
    fixture_open(&f);
    push_pipes(&f, 1, 1);
    (void)close(f.child);
    CU_ASSERT_EQUAL(orders_send(&f.orders), 0);
    CU_ASSERT_EQUAL(f.orders.count, 0);
    orders_close(&f.orders);
    size_t base = open_descriptors();
    push_pipes(&f, 1, 1);
    CU_ASSERT_EQUAL(open_descriptors(), base);
    CU_ASSERT_EQUAL(f.orders.count, 0);
    f.child = dup(0);
    fixture_close(&f);
}

UNIT(orders, a_message_that_cannot_be_sent_is_told)
{
    struct fixture f;
    fixture_open(&f);
    CU_ASSERT_EQUAL(orders_push(&f.orders, &(struct channel_message){ .order = 9999 }), 0);
    CU_ASSERT_EQUAL(orders_send(&f.orders), NX_EINVAL);
    CU_ASSERT_FALSE(orders_are_waiting(&f.orders));
    fixture_close(&f);
}
