/*
 * methods_list.c - servers: a question to every worker of this node, and one answer of their answers.
 *
 * Lives here: the fan: one call to each worker, the parts as they come.
 * Never here: what a worker tells of a server: the maps are passed on.
 * Runs in: the gate.
 */
#include "control/control_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"

struct fan_part { struct fan *fan; uint64_t call_id; uint16_t slot; };

struct fan {
    struct request *request;
    struct fan_part parts[SLOT_WORKERS_MAX];
    uint32_t waiting;                      /* parts whose call_id is not 0 */
    struct buf servers; uint32_t count;    /* maps, one behind the other */
    nx_packer missing; uint32_t missing_count;
    int err;                               /* of putting a part there */
};

static void
fan_free(struct fan *f)
{
    buf_fini(&f->servers);
    value_packer_fini(&f->missing);
    free(f);
}

void
request_fan_cancel(struct request *r)
{
    if (r->fan == NULL)
        return;
    for (size_t i = 0; i < BASE_COUNT(r->fan->parts); i++)
        if (r->fan->parts[i].call_id != 0)
            (void)call_cancel(request_control(r)->config.calls, r->fan->parts[i].call_id);
    fan_free(r->fan);
    r->fan = NULL;
}

/* {servers: [...], missing: [{worker, text}]} */
static int
pack_result(const struct fan *f, nx_packer *out)
{
    size_t place;
    int err = rpc_put_map_head(&out->bytes, 2);
    if (err == 0)
        err = rpc_put_text(&out->bytes, "servers");
    if (err == 0)
        err = rpc_array_begin(&out->bytes, &place);
    if (err == 0)
        err = buf_put(&out->bytes, buf_data(&f->servers), buf_len(&f->servers));
    if (err != 0)
        return err;
    rpc_array_end(&out->bytes, place, f->count);
    err = rpc_put_text(&out->bytes, "missing");
    if (err == 0)
        err = rpc_array_begin(&out->bytes, &place);
    if (err == 0)
        err = buf_put(&out->bytes, buf_data(&f->missing.bytes), buf_len(&f->missing.bytes));
    if (err == 0)
        rpc_array_end(&out->bytes, place, f->missing_count);
    return err;
}

static void
finish(struct fan *f)
{
    struct request *r = f->request;
    nx_packer out;
    value_packer_init(&out, CONTROL_RESULT_MAX);
    int err = f->err != 0 ? f->err : pack_result(f, &out);
    r->fan = NULL;
    fan_free(f);
    if (err == 0) {
        request_reply_packed(r, &out);
        return;
    }
    value_packer_fini(&out);
    request_fail_code(r, err, NULL, "%s: the list of servers", nx_strerror(err));
}

static int
add_missing(struct fan *f, uint16_t slot, const char *text)
{
    f->missing_count++;
    return nx_pack(&f->missing, "{s:i,s:s}", "worker", (int)slot, "text", text);
}

/* A worker's answer ends where a message ends. Was there more to tell? */
static int
check_cut(struct fan *f, uint16_t slot, size_t len, uint32_t count)
{
    struct control *c = request_control(f->request);
    const struct stats *st = shm_stats(c->config.shm, slot);
    char text[96];
    if (len + CONTROL_ENVELOPE < c->limits.max_body || st == NULL || stats_get(st, servers_live) <= count)
        return 0;
    (void)snprintf(text, sizeof text, "%u of its %llu servers are shown", (unsigned)count,
                   (unsigned long long)stats_get(st, servers_live));
    return add_missing(f, slot, text);
}

/* An array of maps: its elements, without its head. */
static int
add_servers(struct fan *f, uint16_t slot, const struct envelope *e, const uint8_t *body)
{
    const struct value_limits limits = { .max_body = e->body_len, .max_depth = 32, .max_objects = UINT32_MAX,
                                         .max_pairs = UINT32_MAX };
    struct rpc_cursor at = { body, body + e->body_len };
    uint32_t count;
    int err = value_scan(body, e->body_len, &limits, NULL);
    if (err != 0)
        return err;
    if (!rpc_take_array(&at, &count))
        return NX_EBADMSG;
    err = buf_put(&f->servers, at.at, (size_t)(at.end - at.at));
    if (err != 0)
        return err;
    f->count += count;
    return check_cut(f, slot, e->body_len, count);
}

static void
on_part(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct fan_part *part = arg;
    struct fan *f = part->fan;
    struct base_error why = { 0 };
    int err = 0;
    (void)call_id, (void)target;

    part->call_id = 0;
    f->waiting--;
    if (status == 0 && e->kind == KIND_REPLY) {
        err = add_servers(f, part->slot, e, body);
    } else if (status == 0) {
        request_error_from(e, body, &why);
        err = add_missing(f, part->slot, why.text);
    } else if (status == NX_ETIMEDOUT) {
        err = add_missing(f, part->slot, "did not answer in time: a handler of it is busy");
    }                                      /* its process has ended: so have its servers */
    if (f->err == 0)
        f->err = err;
    if (f->waiting == 0)
        finish(f);
}

static int
ask(struct fan *f, uint16_t slot, uint32_t generation)
{
    static const uint8_t nil = 0xc0;
    struct control *c = request_control(f->request);
    struct fan_part *part = &f->parts[slot];
    struct call_target target = { .generation = generation, .slot = slot };
    struct envelope e = { .kind = KIND_LIST, .slot = slot, .generation = generation, .body_len = sizeof nil,
                          .deadline_ns = clock_deadline(clock_now_ns(), CONTROL_LIST_MS) };
    *part = (struct fan_part){ .fan = f, .slot = slot };
    int err = call_begin(c->config.calls, &target, e.deadline_ns, on_part, part, &part->call_id);
    if (err != 0) {
        part->call_id = 0;
        return add_missing(f, slot, nx_strerror(err));
    }
    e.call_id = part->call_id;
    err = route_send(c->config.route, &e, &nil);
    if (err == 0) {
        f->waiting++;
        return 0;
    }
    (void)call_cancel(c->config.calls, part->call_id);
    part->call_id = 0;
    return err == NX_ENOSERVER ? 0 : add_missing(f, slot, nx_strerror(err));
}

void
method_servers(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    struct fan *f = calloc(1, sizeof *f);
    (void)p;
    if (f == NULL) {
        request_fail_code(r, NX_ENOMEM, NULL, "out of memory");
        return;
    }
    f->request = r;
    r->fan = f;
    buf_init(&f->servers, CONTROL_RESULT_MAX);
    value_packer_init(&f->missing, CONTROL_RESULT_MAX);
    for (uint16_t i = 0; i < shm_workers(c->config.shm) && i < SLOT_WORKERS_MAX && f->err == 0; i++) {
        uint32_t generation = board_generation(control_board(c), i);
        if (generation != 0)
            f->err = ask(f, i, generation);
    }
    /* An answer never comes from inside call_begin, so what is waited for is known here. */
    if (f->waiting == 0)
        finish(f);
}
