/*
 * rpc.h - MessagePack-RPC as bytes: where a message ends, what it says, and the pieces that messages are built of.
 *
 * Request [0, id, method, [map]], answer [1, id, error, result], notification [2, method, [map]]. Nothing here decodes with
 * msgpack-c: a body that is only passed on keeps its bytes, and its depth is its own. Pure: no descriptor, no loop; the server
 * and the client both use it.
 */
#ifndef NOEXD_CONTROL_RPC_H
#define NOEXD_CONTROL_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct rpc_slice { const uint8_t *at; size_t len; };

/* ---- where does a message end? State between arrivals, zeroed at the beginning of each message: each byte is looked at once,
 * however it is cut. */
struct rpc_framer { size_t at; uint64_t left; };
/* 1 = the first *out bytes are one whole object (and the framer is ready for the next); 0 = more bytes are needed; NX_EBADMSG,
 * NX_ETOOBIG (it cannot fit into `max` bytes, known before they arrive). */
int rpc_frame(struct rpc_framer *f, const uint8_t *bytes, size_t len, size_t max, size_t *out, struct base_error *why);

/* ---- what does it say? */
enum rpc_kind { RPC_REQUEST = 0, RPC_RESPONSE = 1, RPC_NOTIFICATION = 2 };
struct rpc_message {
    enum rpc_kind kind;
    uint32_t id;                           /* request, response */
    struct rpc_slice method;               /* request, notification: the text */
    struct rpc_slice params;               /* the map (packed); len 0 = none given */
    bool is_error;
    struct rpc_slice error, result;        /* response: packed */
};
/* Of one whole object, as rpc_frame tells it. The bodies inside (parameters, error, result) are whole objects too, and still to
 * be scanned by whoever decodes them. NX_EBADMSG. */
int rpc_parse(const uint8_t *bytes, size_t len, struct rpc_message *out, struct base_error *why);
/* Is this the beginning of a request whose id can be read? For the answer to one that is malformed or too big. */
bool rpc_peek_id(const uint8_t *bytes, size_t len, uint32_t *id);

/* ---- reading one piece after another. Each take answers false, and takes nothing, if the next piece is another or cut off. */
struct rpc_cursor { const uint8_t *at, *end; };
bool rpc_take_array(struct rpc_cursor *c, uint32_t *count);
bool rpc_take_map(struct rpc_cursor *c, uint32_t *count);
bool rpc_take_nil(struct rpc_cursor *c);
bool rpc_take_bool(struct rpc_cursor *c, bool *out);
bool rpc_take_int(struct rpc_cursor *c, int64_t *out);                    /* also one packed as unsigned, if it fits */
bool rpc_take_text(struct rpc_cursor *c, struct rpc_slice *out);
bool rpc_take_ext(struct rpc_cursor *c, int8_t *type, struct rpc_slice *out);
bool rpc_take_any(struct rpc_cursor *c, struct rpc_slice *out);           /* one whole object, packed */

/* ---- writing. NX_ENOMEM, NX_ETOOBIG, as buf_put. */
int rpc_put_request(struct buf *out, uint32_t id, const char *method, const struct buf *params);   /* a packed map, or NULL */
int rpc_put_result(struct buf *out, uint32_t id, const void *result, size_t len);
int rpc_put_error(struct buf *out, uint32_t id, const void *error, size_t len);
int rpc_put_notification(struct buf *out, const char *method, const void *params, size_t len);
/* An array whose count is known at its end: begin gives a place, end writes the count there. */
int rpc_array_begin(struct buf *out, size_t *place);
void rpc_array_end(struct buf *out, size_t place, uint32_t count);         /* also of a map head: they are alike */
int rpc_put_map_head(struct buf *out, uint32_t count);
int rpc_put_text(struct buf *out, const char *text);

#endif
