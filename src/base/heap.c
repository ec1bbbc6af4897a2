/*
 * heap.c - an intrusive binary min-heap of deadlines.
 *
 * Lives here: push, remove, pop; the array of pointers.
 * Never here: what happens when a deadline comes.
 * Runs in: every process.
 *
 * Invariant: items[i]->place == i + 1, and items[i]->key is not below its parent's.
 */
#include "base/heap.h"

#include <stdlib.h>

#include "base/base.h"
#include "noex/errors.h"

void
heap_init(struct heap *h)
{
    *h = (struct heap){ 0 };
}

void
heap_fini(struct heap *h)
{
    for (size_t i = 0; i < h->count; i++)
        h->items[i]->place = 0;
    free(h->items);
    *h = (struct heap){ 0 };
}

void
heap_node_init(struct heap_node *n)
{
    *n = (struct heap_node){ 0 };
}

static void
put_at(struct heap *h, size_t i, struct heap_node *n)
{
    h->items[i] = n;
    n->place = i + 1;
}

static void
sift_up(struct heap *h, size_t i, struct heap_node *n)
{
    while (i > 0 && h->items[(i - 1) / 2]->key > n->key) {
        put_at(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put_at(h, i, n);
}

static void
sift_down(struct heap *h, size_t i, struct heap_node *n)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->items[child + 1]->key < h->items[child]->key)
            child++;
        if (h->items[child]->key >= n->key)
            break;
        put_at(h, i, h->items[child]);
        i = child;
    }
    put_at(h, i, n);
}

int
heap_push(struct heap *h, struct heap_node *n, uint64_t key)
{
    nx_assert(n->place == 0);
    if (h->count == h->cap) {
        size_t cap = h->cap != 0 ? h->cap * 2 : 16;
        if (cap > SIZE_MAX / sizeof(struct heap_node *))
            return NX_ENOMEM;
        struct heap_node **items = realloc(h->items, cap * sizeof(struct heap_node *));
        if (items == NULL)
            return NX_ENOMEM;
        h->items = items;
        h->cap = cap;
    }
    n->key = key;
    sift_up(h, h->count++, n);
    return 0;
}

void
heap_remove(struct heap *h, struct heap_node *n)
{
    if (n->place == 0)
        return;
    size_t i = n->place - 1;
    nx_assert(i < h->count && h->items[i] == n);
    n->place = 0;
    struct heap_node *last = h->items[--h->count];
    if (last == n)
        return;
    if (i > 0 && h->items[(i - 1) / 2]->key > last->key)
        sift_up(h, i, last);
    else
        sift_down(h, i, last);
}

struct heap_node *
heap_peek(const struct heap *h)
{
    return h->count > 0 ? h->items[0] : NULL;
}

struct heap_node *
heap_pop(struct heap *h)
{
    struct heap_node *n = heap_peek(h);
    if (n != NULL)
        heap_remove(h, n);
    return n;
}
