/*
 * envelope.c - the 32-byte routing header and its 16-byte companion on pipes, and what the kinds of messages are for.
 *
 * Lives here: encoding, decoding, and who may send which kind. Offsets are those of the table in envelope.h's design page.
 * Never here: bodies; resolving a node index.
 * Runs in: workers, the link worker, the gate.
 */
#include "wire/envelope.h"

#include <string.h>

#include "wire/wire.h"

void
envelope_encode(const struct envelope *e, uint8_t out[static WIRE_HEADER])
{
    wire_put32(out, e->body_len);
    out[4] = e->kind;
    out[5] = e->flags;
    wire_put16(out + 6, e->slot);
    wire_put64(out + 8, e->serial);
    wire_put64(out + 16, e->call_id);
    wire_put32(out + 24, e->remaining_ms);
    wire_put32(out + 28, e->generation);
}

void
envelope_decode(const uint8_t in[static WIRE_HEADER], struct envelope *out)
{
    *out = (struct envelope){
        .body_len = wire_get32(in),
        .kind = in[4],
        .flags = in[5],
        .slot = wire_get16(in + 6),
        .serial = wire_get64(in + 8),
        .call_id = wire_get64(in + 16),
        .remaining_ms = wire_get32(in + 24),
        .generation = wire_get32(in + 28),
    };
}

void
envelope_encode_pipe(const struct envelope *e, uint8_t out[static WIRE_PIPE_HEADER])
{
    memcpy(out, &e->node, 4);
    memcpy(out + 4, &e->session, 4);
    memcpy(out + 8, &e->deadline_ns, 8);
    envelope_encode(e, out + WIRE_PREFIX);
}

void
envelope_decode_pipe(const uint8_t in[static WIRE_PIPE_HEADER], struct envelope *out)
{
    envelope_decode(in + WIRE_PREFIX, out);
    memcpy(&out->node, in, 4);
    memcpy(&out->session, in + 4, 4);
    memcpy(&out->deadline_ns, in + 8, 8);
}

bool
envelope_kind_from_peer(uint8_t kind)
{
    return (kind >= KIND_CALL && kind < KIND_WIRE_END) || kind == KIND_WORKER_DOWN;
}

bool
envelope_kind_from_worker(uint8_t kind)
{
    switch (kind) {
    case KIND_CALL: case KIND_CAST: case KIND_REPLY: case KIND_ERROR: case KIND_SPAWN: case KIND_SPAWN_REPLY:
    case KIND_MONITOR: case KIND_MONITOR_EVENT: case KIND_DEMONITOR: case KIND_STOP:
    case KIND_LINK: case KIND_UNLINK: case KIND_EXIT: case KIND_REGISTER: case KIND_UNREGISTER:
    case KIND_SPAWN_ACK: case KIND_SPAWN_CANCEL:
    case KIND_SUBSCRIBE: case KIND_DEADLOCK_PROBE: case KIND_LIST: case KIND_SERVER_GONE: case KIND_LINK_STATUS:
        return true;
    default:
        return false;
    }
}

bool
envelope_is_request(uint8_t kind)
{
    switch (kind) {
    case KIND_CALL: case KIND_SPAWN: case KIND_STOP: case KIND_REGISTER: case KIND_UNREGISTER:
    case KIND_LIST: case KIND_SERVER_GONE: case KIND_LINK_STATUS:
        return true;
    default:
        return false;
    }
}

bool
envelope_is_answer(uint8_t kind)
{
    return kind == KIND_REPLY || kind == KIND_ERROR || kind == KIND_SPAWN_REPLY;
}
