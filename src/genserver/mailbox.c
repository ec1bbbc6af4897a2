/*
 * mailbox.c - the bounded queue in front of each GenServer, and the messages in it.
 *
 * Lives here: a message as one allocation, put, take, the two bounds (messages, bytes).
 * Never here: pipes, decoding of a body, waking the server. A mailbox does not know who sent a message.
 * Runs in: workers.
 */
#include "genserver/genserver_priv.h"

#include <stdlib.h>

struct msg *
msg_new(enum msg_what what, const struct envelope *e, const void *body, size_t len)
{
    if (len > UINT32_MAX)
        return NULL;
    struct msg *m = malloc(sizeof *m + len);
    if (m == NULL)
        return NULL;
    m->next = NULL;
    m->tag = 0;
    if (e != NULL)
        m->envelope = *e;
    else
        m->envelope = (struct envelope){ 0 };
    m->envelope.body_len = (uint32_t)len;
    m->what = (uint8_t)what;
    if (len > 0)
        memcpy(m->body, body, len);
    return m;
}

struct msg *
msg_from_memory(void *memory, enum msg_what what)
{
    struct msg *m = memory;
    *m = (struct msg){ .what = (uint8_t)what };
    return m;
}

void
msg_free(struct msg **m)
{
    free(*m);
    *m = NULL;
}

/* The header counts too: ten thousand empty messages are not free. */
static uint64_t
weight(const struct msg *m)
{
    return sizeof *m + m->envelope.body_len;
}

void
mailbox_put(struct mailbox *box, struct msg *m)
{
    m->next = NULL;
    if (box->last != NULL)
        box->last->next = m;
    else
        box->first = m;
    box->last = m;
    box->count++;
    box->bytes += weight(m);
}

void
mailbox_put_first(struct mailbox *box, struct msg *m)
{
    m->next = box->first;
    box->first = m;
    if (box->last == NULL)
        box->last = m;
    box->count++;
    box->bytes += weight(m);
}

struct msg *
mailbox_take(struct mailbox *box)
{
    struct msg *m = box->first;
    if (m == NULL)
        return NULL;
    box->first = m->next;
    if (box->first == NULL)
        box->last = NULL;
    m->next = NULL;
    box->count--;
    box->bytes -= weight(m);
    nx_assert((box->count == 0) == (box->first == NULL));
    return m;
}

struct msg *
mailbox_take_call(struct mailbox *box, uint64_t call_id)
{
    struct msg *before = NULL;
    for (struct msg *m = box->first; m != NULL; before = m, m = m->next) {
        if (m->what != MSG_CALL || m->envelope.node != 0 || m->envelope.call_id != call_id)
            continue;
        if (before != NULL)
            before->next = m->next;
        else
            box->first = m->next;
        if (box->last == m)
            box->last = before;
        m->next = NULL;
        box->count--;
        box->bytes -= weight(m);
        return m;
    }
    return NULL;
}

bool
mailbox_has_room(const struct mailbox *box, size_t len, uint32_t max_messages, uint64_t max_bytes)
{
    return box->count < max_messages && box->bytes <= max_bytes && sizeof(struct msg) + len <= max_bytes - box->bytes;
}
