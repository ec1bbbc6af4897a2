/*
 * stats.h - figures of one process and the note it leaves when it crashes. Writer: that process, its own pages, plain relaxed
 * stores.
 */
#ifndef NOEXD_SHM_STATS_H
#define NOEXD_SHM_STATS_H

#include <stdatomic.h>
#include <stdint.h>

/* X(field, name in listings) */
#define STATS_COUNTERS(X) \
    X(calls_initiated, "callsInitiated") X(calls_resolved, "callsResolved") X(calls_rejected, "callsRejected") \
    X(calls_timed_out, "callsTimedOut") X(calls_late, "lateReplies") X(calls_pending, "callsPending") \
    X(casts_sent, "castsSent") X(casts_dropped, "castsDropped") \
    X(spawns_initiated, "spawnsInitiated") X(spawns_resolved, "spawnsResolved") X(spawns_rejected, "spawnsRejected") \
    X(spawns_timed_out, "spawnsTimedOut") \
    X(messages, "messages") X(expired, "expired") X(mailbox_full, "mailboxFull") X(handler_errors, "handlerErrors") \
    X(servers_live, "serversLive") X(servers_started, "serversStarted") X(servers_stopped, "serversStopped") \
    X(parked, "parkedHandlers") X(timers, "timers") X(monitors, "monitors") \
    X(pipe_messages_in, "pipeMessagesIn") X(pipe_messages_out, "pipeMessagesOut") X(pipe_refused, "pipeRefused") \
    X(pipe_bytes_out, "pipeBytesOut") X(bad_messages, "badMessages") X(turns, "turns") \
    X(link_frames_in, "framesIn") X(link_frames_out, "framesOut") X(link_bytes_in, "linkBytesIn") X(link_bytes_out, "linkBytesOut") \
    X(link_refused, "handshakesRefused") X(registry_syncs, "registrySyncs") X(registry_conflicts, "registryConflicts") \
    X(registry_full, "registryFull") X(memory_bytes, "memoryBytes")

struct stats_behavior { _Atomic uint64_t starts, live, crashes, messages; };   /* of this worker; index of the behavior table */

enum { STATS_BEHAVIORS_MAX = 1024 };

struct stats {
#define STATS_FIELD(field, name) _Atomic uint64_t field;
    STATS_COUNTERS(STATS_FIELD)
#undef STATS_FIELD
    /* Progress: odd while a handler runs; the master's watchdog reads both. */
    _Atomic uint64_t handler_count;
    _Atomic uint64_t handler_since_ns;
    _Atomic uint64_t handler_serial;
    _Atomic uint32_t handler_behavior;
    /* The crash note, written by a fatal-signal handler with plain stores. */
    _Atomic uint32_t crash_signal;
    _Atomic uint64_t crash_address, crash_pc, crash_serial;
    _Atomic uint32_t crash_behavior, crash_kind;
    struct stats_behavior behaviors[STATS_BEHAVIORS_MAX];
};

/* Only the owner writes, so a relaxed load and store is enough: no locked instruction on the hot path. */
#define stats_add(s, field, n) \
    atomic_store_explicit(&(s)->field, atomic_load_explicit(&(s)->field, memory_order_relaxed) + (uint64_t)(n), memory_order_relaxed)
#define stats_set(s, field, v) atomic_store_explicit(&(s)->field, (v), memory_order_relaxed)
#define stats_get(s, field) atomic_load_explicit(&(s)->field, memory_order_relaxed)

#endif
