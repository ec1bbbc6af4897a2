/*
 * wire.h - formats between processes and between nodes: bytes in, bytes out.
 *
 * Lives here: node ids (node_id.h), refs and their text (ref.h), the message envelope (envelope.h), the bodies of system messages
 * (system.h), the signed frame (frame.h), handshake messages, transcript and keys (handshake.h).
 * Never here: sockets, the event loop, policy. Every function is a pure computation on its arguments.
 * Runs in: workers and the gate (node ids, refs, envelopes), the link worker (all of it), noexctl (refs).
 */
#ifndef NOEXD_WIRE_WIRE_H
#define NOEXD_WIRE_WIRE_H

/* Big-endian integers at p, as the wire has them. */
#include <stdint.h>
static inline void wire_put16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void wire_put32(uint8_t *p, uint32_t v) { wire_put16(p, (uint16_t)(v >> 16)); wire_put16(p + 2, (uint16_t)v); }
static inline void wire_put64(uint8_t *p, uint64_t v) { wire_put32(p, (uint32_t)(v >> 32)); wire_put32(p + 4, (uint32_t)v); }
static inline uint16_t wire_get16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t wire_get32(const uint8_t *p) { return ((uint32_t)wire_get16(p) << 16) | wire_get16(p + 2); }
static inline uint64_t wire_get64(const uint8_t *p) { return ((uint64_t)wire_get32(p) << 32) | wire_get32(p + 4); }

#endif
