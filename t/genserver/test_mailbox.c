/*
 * test_mailbox.c - order and bounds.
 */
#include "genserver/genserver_priv.h"

#include "unit.h"

static void
fill(struct mailbox *box, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct msg *m = msg_new(MSG_CAST, NULL, "body", 4);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        m->tag = i;
        mailbox_put(box, m);
    }
}

UNIT(mailbox, messages_come_out_in_order)
{
    struct mailbox box = { .first = NULL };
    CU_ASSERT_PTR_NULL(mailbox_take(&box));
    fill(&box, 3);
    struct msg *first = msg_new(MSG_STOP, NULL, NULL, 0);
    first->tag = 99;
    mailbox_put_first(&box, first);
    CU_ASSERT_EQUAL(box.count, 4);
    static const uint64_t order[] = { 99, 0, 1, 2 };
    for (int i = 0; i < 4; i++) {
        struct msg *m = mailbox_take(&box);
        CU_ASSERT_EQUAL(m->tag, order[i]);
        msg_free(&m);
        CU_ASSERT_PTR_NULL(m);
    }
    CU_ASSERT_PTR_NULL(mailbox_take(&box));
    CU_ASSERT_EQUAL(box.count, 0);
    CU_ASSERT_EQUAL(box.bytes, 0);
    fill(&box, 1);                                    /* works again after it was empty */
    struct msg *m = mailbox_take(&box);
    CU_ASSERT_EQUAL(m->envelope.body_len, 4);
    CU_ASSERT_EQUAL(memcmp(m->body, "body", 4), 0);
    msg_free(&m);
}

UNIT(mailbox, has_two_bounds)
{
    struct mailbox box = { .first = NULL };
    CU_ASSERT(mailbox_has_room(&box, 100, 1, 1 << 20));
    CU_ASSERT(!mailbox_has_room(&box, 100, 0, 1 << 20));
    CU_ASSERT(!mailbox_has_room(&box, 100, 1, 100));  /* the header counts */
    CU_ASSERT(!mailbox_has_room(&box, 1, 1, 0));
    fill(&box, 2);
    CU_ASSERT(!mailbox_has_room(&box, 0, 2, 1 << 20));
    CU_ASSERT(mailbox_has_room(&box, 0, 3, 1 << 20));
    CU_ASSERT(mailbox_has_room(&box, 10, 3, box.bytes + sizeof(struct msg) + 10));
    CU_ASSERT(!mailbox_has_room(&box, 11, 3, box.bytes + sizeof(struct msg) + 10));
    CU_ASSERT(!mailbox_has_room(&box, 0, 3, box.bytes - 1));
    for (struct msg *m; (m = mailbox_take(&box)) != NULL; )
        msg_free(&m);
}
