/*
 * net_priv.h - what the files of the network share and nobody else sees.
 */
#ifndef NOEXD_T_CLUSTER_NET_PRIV_H
#define NOEXD_T_CLUSTER_NET_PRIV_H

#include "base/base.h"
#include "base/clock.h"
#include "net.h"

enum item_type { ITEM_ACCEPT, ITEM_CONNECTED, ITEM_REFUSED, ITEM_BYTES, ITEM_MESSAGE, ITEM_CLOSE_FRAME, ITEM_FIN };
struct net_item { struct net_item *next; enum item_type type; uint8_t kind; uint64_t at, call_id; size_t len; uint8_t data[]; };

#define net_trace(net, ...) \
    do { if ((net)->trace != NULL) net_trace_line((net), __VA_ARGS__); } while (0)
void net_trace_line(const struct net *net, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void net_digest(struct net *net, const void *bytes, size_t len);
static inline void net_digest_number(struct net *net, uint64_t a, uint64_t b)
{
    uint64_t z = (net->digest ^ a) * UINT64_C(0xbf58476d1ce4e5b9);
    net->digest = ((z ^ z >> 29) + b) * UINT64_C(0x94d049bb133111eb);
    net->digest ^= net->digest >> 32;
}

struct cluster_time net_time(const struct net_node *n);
int  net_index_of(const struct net *net, const char *id, size_t len);

/* Queues (net.c) */
struct net_wire *net_wire_new(struct net *net, int from, int to);
struct net_end *net_end_find(struct net *net, int node, uint64_t number, struct net_end **other);
uint64_t net_delay(struct net *net);
struct net_item *net_push(struct net *net, struct net_end *to, enum item_type type, uint8_t kind, const void *data, size_t len, uint64_t extra_ns);
void net_drop_items(struct net *net, struct net_end *end);
void net_fin(struct net *net, struct net_end *to);
void net_due(struct net *net, struct net_end *end);          /* something about it has changed: when is it due? */
void net_due_all(struct net *net);
void net_tidy(struct net *net, struct net_wire *w);
bool net_is_held_back(const struct net *net, const struct net_end *end);     /* cut off, or its process is stopped */
void net_deliver(struct net *net, struct net_end *end);      /* the first of its queue */
void net_close_now(struct net *net, struct net_end *end);

/* The clock (net_step.c) */
void net_tick(struct net *net, struct net_node *n);

/* What comes out (net_watch.c) */
extern const struct cluster_out net_out;
uint32_t net_out_servers(void *arg);
int  net_out_random(void *arg, void *bytes, size_t len);
void net_forget_ups(struct net_node *n);

/* A strict net (net_claims.c) */
void net_claims_start(struct net_node *n);                   /* a new life: it holds nothing */
void net_claims_link(struct net_node *n);                    /* a new link worker: it has told nothing */
void net_claims_own(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref, const struct net_ref *other);
void net_claims_event(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref, const struct net_ref *other);
bool net_claims_hold(const struct net_node *n, int scope, const char *name, uint64_t serial);       /* serial 0 = any */
void net_claims_look(struct net_node *n);                    /* is its registry what its events said? */
void net_watch_silence(struct net_node *n);                  /* has it kept someone that was silent for too long? */
bool net_is_unread(const struct net *net, const struct net_end *end);        /* something lies there to be read */
int  net_claims_count(const struct net_node *n, uint64_t serial);

#endif
