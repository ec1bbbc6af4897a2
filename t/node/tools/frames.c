/*
 * frames.c - frames of a member that are not as they should be.
 *
 * Lives here: wrong tags, numbers, counts, lengths and types; control frames; ends in the middle.
 * Never here: how it is done right (peer.c).
 * Runs in: peer.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "peer.h"
#include "wire/wire.h"

/* ---------------------------------------------------------------- frames; the tag is right unless a bit is flipped behind it */

/* The message in it is a cast to the target, which does nothing. `set_at`: into the payload, before it is signed. */
static const struct bad_frame {
    const char *name;
    uint8_t type, flags; uint16_t count; int sequence_by;
    size_t set_at, set_len; const char *set;
    int flip_at;                                 /* from the end if negative; 0 = none */
} bad_frames[] = {
    { "flipped_tag", FRAME_DATA, 0, 1, 0, 0, 0, NULL, -1 },
    { "flipped_body", FRAME_DATA, 0, 1, 0, 0, 0, NULL, FRAME_HEADER + WIRE_HEADER },
    { "flipped_count", FRAME_DATA, 0, 1, 0, 0, 0, NULL, 7 },
    { "sequence_repeated", FRAME_DATA, 0, 1, -1, 0, 0, NULL, 0 },
    { "sequence_skipped", FRAME_DATA, 0, 1, 1, 0, 0, NULL, 0 },
    { "count_0", FRAME_DATA, 0, 0, 0, 0, 0, NULL, 0 },
    { "count_more", FRAME_DATA, 0, 2, 0, 0, 0, NULL, 0 },
    { "count_4097", FRAME_DATA, 0, 4097, 0, 0, 0, NULL, 0 },
    { "inner_length_huge", FRAME_DATA, 0, 1, 0, 0, 4, "\xff\xff\xff\xff", 0 },
    { "inner_length_over_tag", FRAME_DATA, 0, 1, 0, 0, 4, "\0\0\0\2", 0 },
    { "inner_length_short", FRAME_DATA, 0, 1, 0, 0, 4, "\0\0\0\0", 0 },
    { "frame_type", 0x42, 0, 0, 0, 0, 0, NULL, 0 },
    { "frame_flags", FRAME_DATA, 1, 1, 0, 0, 0, NULL, 0 },
    { "message_flags", FRAME_DATA, 0, 1, 0, 5, 1, "\4", 0 },
    { "more_without_piece", FRAME_DATA, 0, 1, 0, 5, 1, "\1", 0 },
    { "kind_0", FRAME_DATA, 0, 1, 0, 4, 1, "\0", 0 },
    { "kind_22", FRAME_DATA, 0, 1, 0, 4, 1, "\26", 0 },
    { "kind_64", FRAME_DATA, 0, 1, 0, 4, 1, "\100", 0 },
    { "kind_71", FRAME_DATA, 0, 1, 0, 4, 1, "\107", 0 },
    { "heartbeat_garbage", FRAME_DATA, 0, 1, 0, 4, 1, "\11", 0 },
    { "delta_garbage", FRAME_DATA, 0, 1, 0, 4, 1, "\7", 0 },
    { "sync_garbage", FRAME_DATA, 0, 1, 0, 4, 1, "\10", 0 },
    { "behaviors_garbage", FRAME_DATA, 0, 1, 0, 4, 1, "\25", 0 },
    { "ping_with_count", FRAME_PING, 0, 1, 0, 0, 0, NULL, 0 },
    { "ping_of_33", FRAME_PING, 0, 0, 0, 0, 0, NULL, 0 },
};

static void
bad_frame(struct peer *p, const struct bad_frame *t)
{
    static const uint8_t nil = 0xc0;
    uint8_t message[WIRE_HEADER + 1], frame[512];
    struct envelope e = peer_envelope(p, KIND_CAST, 1);

    peer_up(p);
    e.call_id = 0;
    size_t len = peer_message(&e, &nil, message);
    peer_frame(p, FRAME_DATA, 1, message, len);          /* so that there is a sequence number to repeat */
    if (t->set_len > 0)
        memcpy(message + t->set_at, t->set, t->set_len);
    p->frame_flags = t->flags;
    p->sequence += (uint64_t)(int64_t)t->sequence_by;
    size_t total = peer_seal(p, t->type, t->count, message, len, frame);
    if (t->flip_at != 0)
        frame[t->flip_at > 0 ? (size_t)t->flip_at : total - (size_t)-t->flip_at] ^= 1;
    peer_write(p, frame, total);
    peer_end(p);
}

/* Lengths that no frame has: refused before anything is buffered for them. */
static void
length_only(struct peer *p, uint32_t length)
{
    uint8_t bytes[4];
    peer_up(p);
    wire_put32(bytes, length);
    peer_write(p, bytes, sizeof bytes);
    peer_end(p);
}

/* A clock that is years ahead: odd, no crime. */
static void
clock_ahead(struct peer *p)
{
    p->wall_ahead_ms = UINT64_C(10) * 365 * 24 * 3600 * 1000;
    peer_up(p);
    peer_call(p);
}

static void length_0(struct peer *p) { length_only(p, 0); }
static void length_43(struct peer *p) { length_only(p, 43); }
static void length_over(struct peer *p) { length_only(p, 44 + FRAME_MAX_PAYLOAD + 1); }
static void length_max(struct peer *p) { length_only(p, UINT32_MAX); }

static size_t
call_frame(struct peer *p, uint8_t out[static 512], uint64_t *call_id)
{
    static const uint8_t nil = 0xc0;
    uint8_t message[WIRE_HEADER + 1];
    struct envelope e = peer_envelope(p, KIND_CALL, 1);
    *call_id = e.call_id;
    size_t len = peer_message(&e, &nil, message);
    return peer_seal(p, FRAME_DATA, 1, message, len, out);
}

static void
half_frame(struct peer *p)
{
    uint8_t frame[512];
    uint64_t id;
    peer_up(p);
    size_t len = call_frame(p, frame, &id);
    peer_write(p, frame, len / 2);
    shutdown(p->fd, SHUT_WR);
    peer_end(p);
}

static void
reset(struct peer *p)
{
    struct linger now = { .l_onoff = 1 };
    peer_up(p);
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(p->fd);
    p->fd = -1;
    printf("reset\n");
}

static void
trickle(struct peer *p)
{
    uint8_t frame[512];
    uint64_t id;
    peer_up(p);
    size_t len = call_frame(p, frame, &id);
    for (size_t i = 0; i < len; i++) {
        peer_write(p, frame + i, 1);
        peer_sleep_ms(5);
    }
    peer_answer(p, id);
}

static void
next_key(struct peer *p)
{
    uint8_t next[FRAME_KEY];
    peer_frame(p, FRAME_KEY_UPDATE, 0, "", 0);
    if (hs_next_key(p->key, next) != 0)
        peer_die("no next key");
    memcpy(p->key, next, sizeof next);
}

static void
key_update_twice(struct peer *p)
{
    peer_up(p);
    next_key(p);
    next_key(p);
    peer_call(p);
}

static void
key_update_ignored(struct peer *p)
{
    peer_up(p);
    peer_frame(p, FRAME_KEY_UPDATE, 0, "", 0);
    peer_frame(p, FRAME_PING, 0, "12345678", 8);
    peer_end(p);
}

/* As many pings as go into a second; how many come back. */
static void
pings(struct peer *p)
{
    struct frame_view v;
    unsigned pongs = 0;
    peer_up(p);
    for (int i = 0; i < 2000; i++)
        peer_frame(p, FRAME_PING, 0, "12345678", 8);
    for (uint64_t until = peer_now_ms() + 500; peer_next_frame(p, until, &v) == 1; buf_take(&p->in, v.total))
        pongs += v.type == FRAME_PONG;
    printf("pongs=%u then ", pongs);
    peer_call(p);
}

/* ---------------------------------------------------------------- by name */

static const struct trick { const char *name; void (*run)(struct peer *p); } tricks[] = {
    { "clock_ahead", clock_ahead }, { "length_0_up", length_0 }, { "length_43_up", length_43 },
    { "length_over_up", length_over }, { "length_max_up", length_max }, { "half_frame", half_frame }, { "reset", reset },
    { "trickle", trickle }, { "key_update_twice", key_update_twice }, { "key_update_ignored", key_update_ignored },
    { "pings", pings },
};

bool
frames_trick(struct peer *p, const char *name)
{
    for (size_t i = 0; i < BASE_COUNT(bad_frames); i++)
        if (strcmp(bad_frames[i].name, name) == 0)
            return bad_frame(p, &bad_frames[i]), true;
    for (size_t i = 0; i < BASE_COUNT(tricks); i++)
        if (strcmp(tricks[i].name, name) == 0)
            return tricks[i].run(p), true;
    return false;
}
