/*
 * test_list.c - order, membership and splicing of intrusive lists.
 */
#include "base/list.h"

#include "unit.h"

struct thing { int number; struct list link; };

static void
check_order(const struct list *l, const int *numbers, size_t count)
{
    size_t i = 0;
    list_each(it, l) {
        CU_ASSERT_FATAL(i < count);
        CU_ASSERT_EQUAL(list_item(it, struct thing, link)->number, numbers[i++]);
        CU_ASSERT_PTR_EQUAL(it->next->prev, it);
    }
    CU_ASSERT_EQUAL(i, count);
}

UNIT(list, items_come_in_the_order_they_were_put)
{
    struct list l;
    struct thing t[4];
    list_init(&l);
    CU_ASSERT(list_is_empty(&l));
    CU_ASSERT_PTR_NULL(list_pop_front(&l));
    for (int i = 0; i < 4; i++) {
        t[i].number = i;
        list_init(&t[i].link);
        CU_ASSERT(!list_is_linked(&t[i].link));
    }
    list_push_back(&l, &t[1].link);
    list_push_back(&l, &t[2].link);
    list_push_front(&l, &t[0].link);
    list_insert_before(&t[2].link, &t[3].link);
    check_order(&l, (const int[]){ 0, 1, 3, 2 }, 4);
    list_remove(&t[1].link);
    CU_ASSERT(!list_is_linked(&t[1].link));
    list_remove(&t[1].link);                          /* once more is no harm */
    check_order(&l, (const int[]){ 0, 3, 2 }, 3);
    CU_ASSERT_PTR_EQUAL(list_pop_front(&l), &t[0].link);
    check_order(&l, (const int[]){ 3, 2 }, 2);
}

UNIT(list, a_safe_walk_may_remove_what_it_stands_on)
{
    struct list l;
    struct thing t[5];
    list_init(&l);
    for (int i = 0; i < 5; i++) {
        t[i].number = i;
        list_push_back(&l, &t[i].link);
    }
    list_each_safe(it, tmp, &l)
        if (list_item(it, struct thing, link)->number % 2 == 0)
            list_remove(it);
    check_order(&l, (const int[]){ 1, 3 }, 2);
}

UNIT(list, splicing_moves_all_and_leaves_nothing)
{
    struct list a, b;
    struct thing t[4];
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 4; i++) {
        t[i].number = i;
        list_push_back(i < 2 ? &a : &b, &t[i].link);
    }
    list_splice_back(&a, &b);
    check_order(&a, (const int[]){ 0, 1, 2, 3 }, 4);
    CU_ASSERT(list_is_empty(&b));
    list_splice_back(&a, &b);
    check_order(&a, (const int[]){ 0, 1, 2, 3 }, 4);
    list_splice_back(&b, &a);
    check_order(&b, (const int[]){ 0, 1, 2, 3 }, 4);
    CU_ASSERT(list_is_empty(&a));
}
