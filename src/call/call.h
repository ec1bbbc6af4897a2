/*
 * call.h - who waits for what: ids, deadlines, exactly one ending each.
 *
 * Lives here: the table of pending calls of one process.
 * Never here: who asked, coroutines, what the answer says.
 * Runs in: workers and the gate.
 *
 * An id is the caller's slot in the top 16 bits, below it 48 bits with a random start per life, +1. Ends: an answer that comes from the node and
 * session it was sent to; its deadline; the death of the target's process (here or on its node), or node; a cancel.
 */
#ifndef NOEXD_CALL_CALL_H
#define NOEXD_CALL_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"
#include "wire/envelope.h"

struct calls;

struct call_target { uint32_t node, session, generation; uint16_t slot; uint64_t serial; };

/* How a call ended. status: 0 = an answer (e->kind says reply, error or spawn reply; body is a view); NX_ETIMEDOUT; NX_ENODE; NX_ENOSERVER
 * (its process died); else e and body are NULL. Called exactly once, never from inside call_begin; the call is forgotten by then. It may begin,
 * cancel and answer others. */
typedef void call_end_fn(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body);

struct calls_config { struct loop *loop; uint16_t slot; uint32_t max_pending, max_per_node; /* 0 = 1 048 576 and 65 536 */ };

int  calls_new(const struct calls_config *config, struct calls **out, struct base_error *why);
void calls_free(struct calls **c);                     /* pending ones are forgotten without a callback; not from a callback */
/* deadline_ns 0 = none. Returns 0, NX_EBUSY (a bound; text says which is the caller's job), NX_ENOMEM, NX_EINVAL (no such node index). A call
 * is known by the node, or if that is 0 by the slot, in `target`: calls_fail_* finds it there. */
int  call_begin(struct calls *c, const struct call_target *target, uint64_t deadline_ns, call_end_fn *end, void *arg, uint64_t *call_id);
/* An answer has arrived. 0 = it ended a call; NX_ENOSERVER = nobody waits for it (late, doubled, of another node or session): count it. */
int  call_answer(struct calls *c, const struct envelope *e, const uint8_t *body);
int  call_cancel(struct calls *c, uint64_t call_id);   /* 0 = forgotten, no callback; NX_ENOSERVER = had ended */
void calls_fail_node(struct calls *c, uint32_t node, uint32_t session);              /* all of that node with this session or an older one */
void calls_fail_nodes(struct calls *c);                /* of all other nodes, whatever the session: there is no link worker any more */
/* Of this node: all calls to that slot with this generation, an older one, or 0 (whoever was there). */
void calls_fail_process(struct calls *c, uint16_t slot, uint32_t generation);
/* Of another node: all calls of that session to that slot with this generation or an older one. Those that went to any worker stay: nobody here knows
 * which one took them. */
void calls_fail_remote(struct calls *c, uint32_t node, uint32_t session, uint16_t slot, uint32_t generation);
const struct call_target *call_borrow_target(const struct calls *c, uint64_t call_id);   /* NULL if not pending */
size_t calls_count(const struct calls *c);

#endif
