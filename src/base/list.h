/*
 * list.h - an intrusive doubly linked list. A link is in at most one list; a link not in a list points to itself.
 */
#ifndef NOEXD_BASE_LIST_H
#define NOEXD_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

struct list { struct list *next, *prev; };

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_is_empty(const struct list *l) { return l->next == l; }
static inline bool list_is_linked(const struct list *l) { return l->next != l; }
static inline void
list_insert_before(struct list *at, struct list *item)
{
    item->prev = at->prev;
    item->next = at;
    at->prev->next = item;
    at->prev = item;
}
static inline void list_push_back(struct list *l, struct list *item) { list_insert_before(l, item); }
static inline void list_push_front(struct list *l, struct list *item) { list_insert_before(l->next, item); }
static inline void
list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}
static inline struct list *
list_pop_front(struct list *l)              /* NULL if empty */
{
    if (list_is_empty(l))
        return NULL;
    struct list *item = l->next;
    list_remove(item);
    return item;
}
/* All of `from` to the end of `to`; `from` is empty afterwards. */
static inline void
list_splice_back(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
#define list_item(ptr, type, member) base_container_of(ptr, type, member)
#define list_each(it, l) for (struct list *it = (l)->next; it != (l); it = it->next)
#define list_each_safe(it, tmp, l) for (struct list *it = (l)->next, *tmp = it->next; it != (l); it = tmp, tmp = it->next)

#endif
