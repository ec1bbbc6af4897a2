/*
 * gone.c - the names of a server that has ended.
 *
 * Lives here: telling the registrar, waiting for its word before anybody hears of the end, and those ends of which it could not be told in time.
 * Never here: the end itself (server.c); giving names (names.c).
 * Runs in: workers.
 *
 * The registry cannot see that a server has ended, only that its worker has. So the word of an end may be late, but not lost: what the link worker has not
 * confirmed is told to each of its successors again.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>
#include <stdlib.h>

enum { GONE_RETRY_MS = 50 };

/* Tell the registrar that a server with this serial is no more. */
static int
ask(struct runtime *rt, uint64_t serial, uint64_t deadline_ns, call_end_fn *end, void *arg, uint64_t *call_id)
{
    struct sys_spawn_reply gone;
    struct buf body;
    buf_init(&body, 1024);
    route_ref_to_wire(rt->config.route, route_self_ref(rt->config.route, serial), &gone.ref);
    int err = sys_spawn_reply_encode(&gone, &body);
    struct envelope e = { .kind = KIND_SERVER_GONE, .slot = SLOT_LINK, .serial = serial, .deadline_ns = deadline_ns, .body_len = (uint32_t)buf_len(&body),
                          .generation = board_generation(shm_board(rt->config.shm), SLOT_LINK) };
    struct call_target target = { .slot = SLOT_LINK, .generation = e.generation };
    if (err == 0)
        err = call_begin(rt->config.calls, &target, deadline_ns, end, arg, &e.call_id);
    if (err == 0) {
        err = route_send(rt->config.route, &e, buf_data(&body));
        if (err != 0)
            (void)call_cancel(rt->config.calls, e.call_id);
        else
            *call_id = e.call_id;
    }
    buf_fini(&body);
    return err;
}

static uint64_t
deadline(void)
{
    return clock_now_ns() + NAMES_MS * CLOCK_NS_PER_MS;
}

/* ---- ends that nobody waits for */

struct unconfirmed { struct list link; uint64_t serial, call_id; };

static void
on_confirmed(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct unconfirmed *u = arg;
    (void)call_id, (void)target, (void)e, (void)body;
    u->call_id = 0;
    if (status != 0)
        return;                       /* told again by gone_owner_ready */
    list_remove(&u->link);
    free(u);
}

static void
tell(struct runtime *rt, struct unconfirmed *u)
{
    int err = u->call_id == 0 ? ask(rt, u->serial, deadline(), on_confirmed, u, &u->call_id) : 0;
    if (err != 0 && log_gate_pass(&rt->warn_gate, LOGS_PER_SECOND))
        log_warn("genserver: cannot tell the registrar of an ended server yet serial=%" PRIu64 " error=%s", u->serial, nx_errname(err));
}

void
gone_tell(struct runtime *rt, uint64_t serial)
{
    struct unconfirmed *u = calloc(1, sizeof *u);
    if (u == NULL) {
        log_error("genserver: out of memory, the names of an ended server may stay serial=%" PRIu64, serial);
        return;
    }
    u->serial = serial;
    list_push_back(&rt->unconfirmed, &u->link);
    tell(rt, u);
}

void
gone_owner_ready(struct runtime *rt)
{
    list_each(it, &rt->unconfirmed)   /* an answer comes by the pipe, never from inside */
        tell(rt, list_item(it, struct unconfirmed, link));
}

void
gone_close(struct runtime *rt)
{
    for (struct list *it; (it = list_pop_front(&rt->unconfirmed)) != NULL; ) {
        struct unconfirmed *u = list_item(it, struct unconfirmed, link);
        if (u->call_id != 0)
            (void)call_cancel(rt->config.calls, u->call_id);
        free(u);
    }
}

/* ---- a server whose end waits for it */

static void
on_names_gone(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct server *s = arg;
    struct runtime *rt = runtime_here;
    (void)call_id, (void)target, (void)e, (void)body;
    uint64_t now = clock_now_ns();
    s->own->gone_call = 0;
    /* The link worker died: its successor is asked again, since it may have found the names before it could know that they are over. */
    if (status == NX_ENOSERVER && now < s->own->gone_deadline_ns
        && loop_timer_set(rt->config.loop, &s->own->gone_timer, now + GONE_RETRY_MS * CLOCK_NS_PER_MS) == 0)
        return;
    if (status != 0) {
        log_warn("genserver: names of an ended server not confirmed removed serial=%" PRIu64 " error=%s", s->serial, nx_errname(status));
        gone_tell(rt, s->serial);
    }
    server_finish(rt, s);
}

static void
ask_for(void *server)
{
    struct server *s = server;
    int err = ask(runtime_here, s->serial, s->own->gone_deadline_ns, on_names_gone, s, &s->own->gone_call);
    if (err != 0)
        on_names_gone(s, 0, err == NX_EBUSY || err == NX_ENOSERVER ? NX_ENOSERVER : err, NULL, NULL, NULL);
}

bool
gone_begin(struct runtime *rt, struct server *s)
{
    if (server_own(s) == NULL) {
        gone_tell(rt, s->serial);
        return false;
    }
    loop_timer_init(&s->own->gone_timer, ask_for, s);
    s->own->gone_deadline_ns = deadline();
    ask_for(s);
    return true;
}

void
server_give_up(struct runtime *rt, struct server *s)
{
    if (s->own->gone_call != 0)
        (void)call_cancel(rt->config.calls, s->own->gone_call);
    server_finish(rt, s);
}
