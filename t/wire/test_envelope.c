/*
 * test_envelope.c - the routing header in recorded bytes, and the table of kinds.
 */
#include "wire/envelope.h"

#include <string.h>

#include "unit.h"

static const struct envelope sample = {
    .node = 0x01020304, .session = 0x05060708, .deadline_ns = 0x1112131415161718,
    .body_len = 0x0a0b0c0d, .kind = 0xe1, .flags = 3, .slot = 0xfffe, .serial = 0x2122232425262728, .call_id = 0x3132333435363738,
    .remaining_ms = 0x41424344, .generation = 0x51525354,
};
static const uint8_t sample_bytes[WIRE_HEADER] = {
    0x0a, 0x0b, 0x0c, 0x0d, 0xe1, 0x03, 0xff, 0xfe, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
    0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x41, 0x42, 0x43, 0x44, 0x51, 0x52, 0x53, 0x54,
};

static void
routing_is_sample(const struct envelope *e)
{
    CU_ASSERT_EQUAL(e->body_len, sample.body_len);
    CU_ASSERT_EQUAL(e->kind, sample.kind);
    CU_ASSERT_EQUAL(e->flags, sample.flags);
    CU_ASSERT_EQUAL(e->slot, sample.slot);
    CU_ASSERT_EQUAL(e->serial, sample.serial);
    CU_ASSERT_EQUAL(e->call_id, sample.call_id);
    CU_ASSERT_EQUAL(e->remaining_ms, sample.remaining_ms);
    CU_ASSERT_EQUAL(e->generation, sample.generation);
}

UNIT(envelope, the_wire_header_is_as_recorded_in_both_directions)
{
    uint8_t out[WIRE_HEADER];
    struct envelope back;

    envelope_encode(&sample, out);
    CU_ASSERT_EQUAL(memcmp(out, sample_bytes, sizeof out), 0);
    memset(&back, 0xff, sizeof back);
    envelope_decode(sample_bytes, &back);
    routing_is_sample(&back);
    CU_ASSERT_EQUAL(back.node, 0);
    CU_ASSERT_EQUAL(back.session, 0);
    CU_ASSERT_EQUAL(back.deadline_ns, 0);
}

UNIT(envelope, the_pipe_header_is_the_same_behind_16_bytes_in_native_order)
{
    uint8_t out[WIRE_PIPE_HEADER];
    struct envelope back;
    uint32_t word;
    uint64_t deadline;

    envelope_encode_pipe(&sample, out);
    memcpy(&word, out, 4);
    CU_ASSERT_EQUAL(word, sample.node);
    memcpy(&word, out + 4, 4);
    CU_ASSERT_EQUAL(word, sample.session);
    memcpy(&deadline, out + 8, 8);
    CU_ASSERT_EQUAL(deadline, sample.deadline_ns);
    CU_ASSERT_EQUAL(memcmp(out + WIRE_PREFIX, sample_bytes, WIRE_HEADER), 0);
    envelope_decode_pipe(out, &back);
    routing_is_sample(&back);
    CU_ASSERT_EQUAL(back.node, sample.node);
    CU_ASSERT_EQUAL(back.session, sample.session);
    CU_ASSERT_EQUAL(back.deadline_ns, sample.deadline_ns);
}

UNIT(envelope, the_callers_slot_is_the_top_of_the_call_id)
{
    CU_ASSERT_EQUAL(envelope_caller_slot(UINT64_C(0xfffc000000000001)), SLOT_GATE);
    CU_ASSERT_EQUAL(envelope_caller_slot(UINT64_C(0x0003ffffffffffff)), 3);
}

UNIT(envelope, each_kind_has_its_senders)
{
    for (unsigned kind = 0; kind < 256; kind++) {
        bool peer = (kind >= 1 && kind <= 21) || kind == 128;
        bool worker = (kind >= 1 && kind <= 6) || (kind >= 10 && kind <= 20) || (kind >= 66 && kind <= 69) || kind == 71;
        CU_ASSERT_EQUAL(envelope_kind_from_peer((uint8_t)kind), peer);
        CU_ASSERT_EQUAL(envelope_kind_from_worker((uint8_t)kind), worker);
    }
}

UNIT(envelope, each_kind_is_a_request_an_answer_or_neither)
{
    static const uint8_t requests[] = { 1, 5, 13, 17, 18, 68, 69, 71 }, answers[] = { 3, 4, 6 };
    for (unsigned kind = 0; kind < 256; kind++) {
        CU_ASSERT_EQUAL(envelope_is_request((uint8_t)kind), memchr(requests, (int)kind, sizeof requests) != NULL);
        CU_ASSERT_EQUAL(envelope_is_answer((uint8_t)kind), memchr(answers, (int)kind, sizeof answers) != NULL);
    }
}
