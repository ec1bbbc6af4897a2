/*
 * test_heap.c - the order of deadlines, and removal from anywhere.
 */
#include "base/heap.h"

#include <stdlib.h>

#include "unit.h"

static void
check(const struct heap *h)
{
    for (size_t i = 0; i < h->count; i++) {
        CU_ASSERT_EQUAL_FATAL(h->items[i]->place, i + 1);
        if (i > 0)
            CU_ASSERT_FATAL(h->items[(i - 1) / 2]->key <= h->items[i]->key);
    }
}

UNIT(heap, keys_come_out_in_order)
{
    struct heap h;
    heap_init(&h);
    CU_ASSERT_PTR_NULL(heap_peek(&h));
    CU_ASSERT_PTR_NULL(heap_pop(&h));
    struct heap_node nodes[500];
    unsigned seed = 42;
    for (size_t i = 0; i < 500; i++) {
        heap_node_init(&nodes[i]);
        CU_ASSERT(!heap_has(&nodes[i]));
        CU_ASSERT_EQUAL(heap_push(&h, &nodes[i], (seed = seed * 1103515245u + 12345u) >> 20), 0);
        CU_ASSERT(heap_has(&nodes[i]));
        check(&h);
    }
    uint64_t last = 0;
    for (size_t i = 0; i < 500; i++) {
        struct heap_node *n = heap_peek(&h);
        CU_ASSERT_PTR_EQUAL_FATAL(heap_pop(&h), n);
        CU_ASSERT(n->key >= last);
        CU_ASSERT(!heap_has(n));
        last = n->key;
        check(&h);
    }
    CU_ASSERT_PTR_NULL(heap_pop(&h));
    heap_fini(&h);
}

UNIT(heap, any_node_can_be_removed_and_the_rest_keeps_its_order)
{
    struct heap h;
    heap_init(&h);
    enum { COUNT = 200 };
    struct heap_node nodes[COUNT];
    unsigned seed = 7;
    for (size_t i = 0; i < COUNT; i++)
        heap_node_init(&nodes[i]);
    size_t inside = 0;
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1103515245u + 12345u;
        struct heap_node *n = &nodes[(seed >> 8) % COUNT];
        if (heap_has(n)) {
            heap_remove(&h, n);
            inside--;
        } else {
            CU_ASSERT_EQUAL_FATAL(heap_push(&h, n, (seed >> 16) % 64), 0);
            inside++;
        }
        CU_ASSERT_EQUAL_FATAL(h.count, inside);
        check(&h);
    }
    heap_remove(&h, &nodes[0]);
    heap_remove(&h, &nodes[0]);                       /* in no heap: fine */
    heap_fini(&h);
    for (size_t i = 0; i < COUNT; i++)
        CU_ASSERT(!heap_has(&nodes[i]));
}

UNIT(heap, the_widest_keys_keep_their_order)
{
    struct heap h;
    heap_init(&h);
    struct heap_node a = { 0 }, b = { 0 }, c = { 0 };
    CU_ASSERT_EQUAL(heap_push(&h, &a, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(heap_push(&h, &b, 0), 0);
    CU_ASSERT_EQUAL(heap_push(&h, &c, UINT64_MAX - 1), 0);
    CU_ASSERT_PTR_EQUAL(heap_pop(&h), &b);
    CU_ASSERT_PTR_EQUAL(heap_pop(&h), &c);
    CU_ASSERT_PTR_EQUAL(heap_pop(&h), &a);
    heap_fini(&h);
}
