/*
 * conn.c - one connection, from its first byte to its end: the handshake as initiator and as acceptor.
 *
 * Lives here: the state table of a connection, what each handshake message must satisfy, the silent refusal.
 * Never here: which of two proved links is used (peer.c); frames; sockets.
 * Runs in: the link worker, the simulator.
 *
 * All refusals look alike from outside: nothing is sent, and the connection is closed after 200 ms, give or take 50. The acceptor derives no
 * key before the initiator's proof is here, and keeps what it needs for that in this struct alone.
 */
#include "cluster/cluster_priv.h"

#include <stdlib.h>
#include <string.h>

enum { REFUSE_MS = 200, REFUSE_JITTER_MS = 50, UNCHOSEN_MIN_MS = 3000 };

typedef enum conn_state conn_do(struct cluster *c, struct conn *conn);     /* acts, returns the next state */

/* ---------------------------------------------------------------- life */

static void
conn_expired(struct cluster *c, struct timer *t)
{
    conn_step(c, base_container_of(t, struct conn, deadline), CONN_DEADLINE);
}

struct conn *
conn_find(const struct cluster *c, uint64_t number)
{
    return table_get(c->conns_by_number, number);
}

int
conn_new(struct cluster *c, uint64_t number, struct conn **out)
{
    struct conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL || timer_init(c, &conn->deadline, conn_expired) != 0) {
        free(conn);
        return NX_ENOMEM;
    }
    if (table_put(c->conns_by_number, number, conn) != 0) {
        timer_fini(c, &conn->deadline);
        free(conn);
        return NX_ENOMEM;
    }
    conn->number = number;
    list_init(&conn->waiting);
    list_push_back(&c->conns, &conn->all);
    timer_arm(c, &conn->deadline, cluster_after_ms(c, c->config.handshake_ms));
    *out = conn;
    return 0;
}

void
conn_free(struct cluster *c, struct conn *conn)
{
    peer_unwait(c, conn);
    if (conn->source != NULL)
        guests_leave(c, conn->source, conn->peer != NULL);
    timer_fini(c, &conn->deadline);
    list_remove(&conn->all);
    (void)table_take(c->conns_by_number, conn->number);
    free(conn);
}

/* Ask for its end, once. What it meant to its peer is settled by the caller. */
void
conn_end(struct cluster *c, struct conn *conn, int close_reason, uint32_t delay_ms)
{
    if (conn->state == CONN_ENDING)
        return;
    peer_unwait(c, conn);
    conn->state = CONN_ENDING;
    timer_stop(c, &conn->deadline);
    if (!conn->is_close_asked)
        c->config.out.close(c->config.arg, conn->number, close_reason, delay_ms);
    conn->is_close_asked = true;
}

/* ---------------------------------------------------------------- refusal */

static enum conn_state
refuse(struct cluster *c, struct conn *conn, const char *why)
{
    uint32_t delay = REFUSE_MS - REFUSE_JITTER_MS + cluster_pick(c, 2 * REFUSE_JITTER_MS + 1);

    if (c->config.stats != NULL)
        stats_add(c->config.stats, link_refused, 1);
    conn_end(c, conn, 0, delay);
    if (conn->dialed != NULL)
        membership_dial_ended(c, conn, NODES_CONNECTION_REFUSED, why);
    else
        guests_log(c, conn->source, why);
    return CONN_ENDING;
}

static uint32_t
features(void)
{
    return 0;                                /* HMAC-SHA256 is what every node speaks; nothing else is offered or chosen */
}

static bool
is_own_nonce(const struct cluster *c, const uint8_t nonce[static HS_NONCE], struct conn **ours)
{
    list_each(it, &c->conns) {
        struct conn *conn = list_item(it, struct conn, all);
        if (conn->h1_len > 0 && conn->dialed != NULL && memcmp(conn->nonce, nonce, HS_NONCE) == 0) {
            *ours = conn;
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- initiator */

/* The secret that we prefer to send with comes first: the acceptor takes the first that it knows. */
static uint8_t
list_secrets(const struct cluster *c, uint32_t ids[static HS_SECRETS_MAX])
{
    uint8_t count = 0;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < c->config.secret_count; i++)
            if (c->config.secrets[i].send == (pass == 0))
                ids[count++] = c->config.secrets[i].id;
    return count;
}

static enum conn_state
send_hello(struct cluster *c, struct conn *conn)
{
    struct hs_hello h = { .version_min = HS_VERSION, .version_max = HS_VERSION, .features = features(),
                          .incarnation = c->config.incarnation, .wall_ms = c->wall_ms, .node = c->config.self };
    uint8_t bytes[HS_MAX];

    if (cluster_random(c, conn->nonce, HS_NONCE) != 0)
        return refuse(c, conn, "no random bytes for a nonce");
    memcpy(h.nonce, conn->nonce, HS_NONCE);
    memcpy(h.cluster_tag, c->tag, sizeof h.cluster_tag);
    h.secret_count = list_secrets(c, h.secret_ids);
    size_t len = hs_hello_encode(&h, bytes);
    nx_assert(len <= sizeof conn->h1);
    memcpy(conn->h1, bytes, len);
    conn->h1_len = (uint16_t)len;
    timer_arm(c, &conn->deadline, cluster_after_ms(c, c->config.handshake_ms));
    c->config.out.send_bytes(c->config.arg, conn->number, bytes, len);
    return CONN_WANT_CHALLENGE;
}

static bool
find_secret(const struct cluster *c, uint32_t id, uint32_t *index)
{
    for (uint32_t i = 0; i < c->config.secret_count; i++) {
        if (c->config.secrets[i].id == id) {
            *index = i;
            return true;
        }
    }
    return false;
}

static int
derive(struct cluster *c, const struct conn *conn, struct hs_keys *keys, struct base_error *why)
{
    const struct cluster_secret *s = &c->config.secrets[conn->secret];
    return hs_derive(conn->h1, conn->h1_len, conn->h2, conn->h2_len, NULL, s->key, s->len, keys, why);
}

static const char *
judge_challenge(const struct cluster *c, const struct hs_challenge *h, struct conn *conn)
{
    struct conn *ours;

    if ((h->flags & HS_FLAG_TLS) != 0)
        return "it says that the link is inside TLS";
    if ((h->features & ~features()) != 0)
        return "it chose features that were not offered";
    if (strcmp(h->node.text, c->config.self.text) == 0)
        return "it has the name of this node";
    if (h->incarnation == c->config.incarnation || h->incarnation == 0)
        return "it has the incarnation of this node";
    if (is_own_nonce(c, h->nonce, &ours))
        return "it sent our own nonce back";
    if (!find_secret(c, h->secret_id, &conn->secret))
        return "it chose a secret that was not offered";
    return NULL;
}

static enum conn_state
take_challenge(struct cluster *c, struct conn *conn)
{
    struct hs_challenge h;
    struct hs_keys keys;
    struct base_error why;
    uint8_t h3[HS_PROOF_LEN];

    if (hs_challenge_decode(conn->message, conn->message_len, &h, &why) != 0)
        return refuse(c, conn, why.text);
    const char *complaint = judge_challenge(c, &h, conn);
    if (complaint != NULL)
        return refuse(c, conn, complaint);
    conn->claimed = h.node;
    conn->incarnation = h.incarnation;
    conn->skew_ms = (int64_t)(h.wall_ms - c->wall_ms);
    memcpy(conn->h2, conn->message, conn->message_len);
    conn->h2_len = (uint16_t)conn->message_len;
    if (derive(c, conn, &keys, &why) != 0)
        return refuse(c, conn, why.text);
    int err = hs_proof_i(&keys, h3);
    hs_keys_wipe(&keys);
    if (err != 0)
        return refuse(c, conn, "the crypto library failed");
    c->config.out.send_bytes(c->config.arg, conn->number, h3, sizeof h3);
    return CONN_WANT_PROOF_A;
}

/* The keys are derived again rather than kept: nothing that opens frames lies about while we wait. */
static enum conn_state
take_proof_a(struct cluster *c, struct conn *conn)
{
    struct hs_keys keys;
    struct base_error why;
    uint8_t h3[HS_PROOF_LEN];

    if (derive(c, conn, &keys, &why) != 0)
        return refuse(c, conn, why.text);
    int err = hs_proof_i(&keys, h3);
    if (err == 0)
        err = hs_proof_check_a(&keys, h3, conn->message);
    if (err == 0)
        c->config.out.proved(c->config.arg, conn->number, keys.data_ia, keys.data_ai);
    hs_keys_wipe(&keys);
    return err == 0 ? CONN_PROVED : refuse(c, conn, "wrong proof");
}

/* ---------------------------------------------------------------- acceptor */

static const char *
judge_hello(struct cluster *c, const struct hs_hello *h, struct conn *conn, uint32_t *secret_id)
{
    struct conn *ours;

    if (is_own_nonce(c, h->nonce, &ours)) {
        ours->dialed->is_self = true;        /* the address that we dialled leads here (or somebody reflects us: tried again, seldom) */
        return "it sent our own nonce back";
    }
    if ((h->flags & HS_FLAG_TLS) != 0)
        return "it says that the link is inside TLS";
    if (memcmp(h->cluster_tag, c->tag, sizeof c->tag) != 0)
        return "it is of another cluster";
    if (strcmp(h->node.text, c->config.self.text) == 0)
        return "it has the name of this node";
    if (h->incarnation == c->config.incarnation || h->incarnation == 0)
        return "it has the incarnation of this node";
    for (unsigned i = 0; i < h->secret_count; i++) {
        if (find_secret(c, h->secret_ids[i], &conn->secret)) {
            *secret_id = h->secret_ids[i];
            return NULL;
        }
    }
    return "unknown secret id";
}

static enum conn_state
take_hello(struct cluster *c, struct conn *conn)
{
    struct hs_hello h;
    struct hs_challenge answer = { .version = HS_VERSION, .features = features(), .incarnation = c->config.incarnation,
                                   .wall_ms = c->wall_ms, .node = c->config.self };
    struct base_error why;
    uint8_t bytes[HS_MAX];

    if (hs_hello_decode(conn->message, conn->message_len, &h, &why) != 0)
        return refuse(c, conn, why.text);
    const char *complaint = judge_hello(c, &h, conn, &answer.secret_id);
    if (complaint != NULL)
        return refuse(c, conn, complaint);
    if (cluster_random(c, answer.nonce, HS_NONCE) != 0)
        return refuse(c, conn, "no random bytes for a nonce");
    conn->claimed = h.node;
    conn->incarnation = h.incarnation;
    conn->skew_ms = (int64_t)(h.wall_ms - c->wall_ms);
    memcpy(conn->h1, conn->message, conn->message_len);
    conn->h1_len = (uint16_t)conn->message_len;
    size_t len = hs_challenge_encode(&answer, bytes);
    nx_assert(len <= sizeof conn->h2);
    memcpy(conn->h2, bytes, len);
    conn->h2_len = (uint16_t)len;
    c->config.out.send_bytes(c->config.arg, conn->number, bytes, len);
    return CONN_WANT_PROOF_I;
}

static enum conn_state
take_proof_i(struct cluster *c, struct conn *conn)
{
    struct hs_keys keys;
    struct base_error why;
    uint8_t h4[HS_PROOF_LEN];

    if (derive(c, conn, &keys, &why) != 0)
        return refuse(c, conn, why.text);
    int err = hs_proof_check_i(&keys, conn->message);
    if (err != 0) {
        hs_keys_wipe(&keys);
        guests_punish(c, conn->source);
        return refuse(c, conn, "wrong proof");
    }
    err = hs_proof_a(&keys, conn->message, h4);
    if (err == 0) {
        c->config.out.send_bytes(c->config.arg, conn->number, h4, sizeof h4);
        c->config.out.proved(c->config.arg, conn->number, keys.data_ai, keys.data_ia);
    }
    hs_keys_wipe(&keys);
    return err == 0 ? CONN_PROVED : refuse(c, conn, "the crypto library failed");
}

/* ---------------------------------------------------------------- other steps */

static enum conn_state
too_late(struct cluster *c, struct conn *conn)
{
    return refuse(c, conn, "not finished in time");
}

static enum conn_state
dial_too_late(struct cluster *c, struct conn *conn)
{
    conn_end(c, conn, 0, 0);
    membership_dial_ended(c, conn, NODES_CONNECTION_REFUSED, "no connection in time");
    return CONN_ENDING;
}

static enum conn_state
dial_lost(struct cluster *c, struct conn *conn)
{
    membership_dial_ended(c, conn, NODES_CONNECTION_REFUSED, NULL);
    return CONN_ENDING;
}

static enum conn_state
refused_by_peer(struct cluster *c, struct conn *conn)
{
    /* It closes in silence, whatever is wrong: only its own log can say. */
    membership_dial_ended(c, conn, NODES_CONNECTION_REFUSED, "refused during proof remedy=\"compare secret, its id and the cluster name on "
                          "both nodes; the other node's log has the reason\"");
    return CONN_ENDING;
}

static enum conn_state
guest_lost(struct cluster *c, struct conn *conn)
{
    (void)c;
    (void)conn;
    return CONN_ENDING;
}

/* Proved, and the chooser never chose it. */
static enum conn_state
unchosen(struct cluster *c, struct conn *conn)
{
    conn_end(c, conn, FRAME_CLOSE_DUPLICATE, 0);
    return CONN_ENDING;
}

static enum conn_state
proved_lost(struct cluster *c, struct conn *conn)
{
    peer_unwait(c, conn);
    return CONN_ENDING;
}

static enum conn_state
lead(struct cluster *c, struct conn *conn)
{
    (void)c;
    (void)conn;
    return CONN_UP;
}

static enum conn_state
up_lost(struct cluster *c, struct conn *conn)
{
    struct peer *p = conn->peer;
    peer_down(c, p, conn->lost_reason);
    conn->state = CONN_ENDING;
    peer_choose(c, p);
    return CONN_ENDING;
}

static conn_do *const steps[CONN_STATES][CONN_EVENTS] = {
    [CONN_DIALING]        = { [CONN_CONNECTED] = send_hello,      [CONN_DEADLINE] = dial_too_late, [CONN_LOST] = dial_lost },
    [CONN_WANT_CHALLENGE] = { [CONN_MESSAGE]   = take_challenge,  [CONN_DEADLINE] = too_late,      [CONN_LOST] = refused_by_peer },
    [CONN_WANT_PROOF_A]   = { [CONN_MESSAGE]   = take_proof_a,    [CONN_DEADLINE] = too_late,      [CONN_LOST] = refused_by_peer },
    [CONN_WANT_HELLO]     = { [CONN_MESSAGE]   = take_hello,      [CONN_DEADLINE] = too_late,      [CONN_LOST] = guest_lost },
    [CONN_WANT_PROOF_I]   = { [CONN_MESSAGE]   = take_proof_i,    [CONN_DEADLINE] = too_late,      [CONN_LOST] = guest_lost },
    [CONN_PROVED]         = { [CONN_LEAD]      = lead,            [CONN_DEADLINE] = unchosen,      [CONN_LOST] = proved_lost },
    [CONN_UP]             = {                                                                      [CONN_LOST] = up_lost },
};   /* empty: the caller, or a connection that is ending anyway, comes too late with it: nothing to do */

void
conn_step(struct cluster *c, struct conn *conn, enum conn_event event)
{
    enum conn_state before = conn->state;
    conn_do *act = steps[before][event];

    if (act == NULL)
        return;
    enum conn_state next = act(c, conn);
    conn->state = next;
    log_debug("cluster: connection=%llu state=%d before=%d", (unsigned long long)conn->number, (int)next, (int)before);
    if (next == CONN_PROVED) {
        conn->proved_ns = c->now_ns;
        uint32_t patience = c->config.handshake_ms > UNCHOSEN_MIN_MS ? c->config.handshake_ms : UNCHOSEN_MIN_MS;
        timer_arm(c, &conn->deadline, cluster_after_ms(c, patience));
        peer_proved(c, conn);
    } else if (next == CONN_UP)
        peer_lead(c, conn);
}

/* ---------------------------------------------------------------- bytes */

/* Bytes behind a message that is not the last: the other side may not have sent them yet. Behind H4 frames may follow. */
static const char *
judge_tail(const struct conn *conn, size_t len, size_t total)
{
    return len > total && conn->state != CONN_WANT_PROOF_A ? "bytes behind a message" : NULL;
}

size_t
conn_bytes(struct cluster *c, struct conn *conn, const uint8_t *bytes, size_t len)
{
    static const uint8_t wanted[CONN_STATES] = { [CONN_WANT_CHALLENGE] = HS_CHALLENGE, [CONN_WANT_PROOF_A] = HS_PROOF_A,
                                                 [CONN_WANT_HELLO] = HS_HELLO, [CONN_WANT_PROOF_I] = HS_PROOF_I };
    struct base_error why;

    if (conn->state == CONN_PROVED || conn->state == CONN_UP)
        return 0;                            /* frames: not ours */
    if (conn->state == CONN_ENDING || wanted[conn->state] == 0)
        return len;
    int total = hs_length(bytes, len, wanted[conn->state], &why);
    if (total < 0) {
        (void)refuse(c, conn, why.text);
        return len;
    }
    if (total == 0 || len < (size_t)total)
        return 0;
    const char *complaint = judge_tail(conn, len, (size_t)total);
    if (complaint != NULL) {
        (void)refuse(c, conn, complaint);
        return len;
    }
    conn->message = bytes;
    conn->message_len = (size_t)total;
    conn_step(c, conn, CONN_MESSAGE);
    conn->message = NULL;
    return conn->state == CONN_ENDING ? len : (size_t)total;
}
