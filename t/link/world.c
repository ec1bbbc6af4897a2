/*
 * world.c - see world.h.
 */
#include "world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/registry.h"
#include "unit.h"
#include "wire/system.h"

enum { BODY_MAX = 2 << 20, PERIOD = 251 };

/* ---------------------------------------------------------------- the world */

static void
on_alarm(void *arg)
{
    (void)arg;                        /* only so that there is a turn */
}

void
world_begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    (void)signal(SIGPIPE, SIG_IGN);
    log_set_level(getenv("NOEXD_TEST_LOG") != NULL ? LOG_DEBUG : LOG_ERROR);
    CU_ASSERT_EQUAL_FATAL(loop_new(&w->loop, NULL), 0);
    loop_timer_init(&w->alarm, on_alarm, w);
}

void
world_end(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        if (w->nodes[i] != NULL)
            node_end(&w->nodes[i]);
    (void)loop_turn(w->loop, false);  /* what evdns and the pipes have put off */
    loop_timer_cancel(w->loop, &w->alarm);
    loop_free(&w->loop);
}

uint64_t
world_patience(void)
{
    return clock_now_ns() + 10 * CLOCK_NS_PER_S;
}

bool
world_turn(struct world *w, uint64_t until_ns)
{
    if (clock_now_ns() >= until_ns)
        return false;
    CU_ASSERT_EQUAL_FATAL(loop_timer_set(w->loop, &w->alarm, until_ns), 0);
    CU_ASSERT_EQUAL_FATAL(loop_turn(w->loop, true), 0);
    return true;
}

void
world_run(struct world *w, uint64_t ms)
{
    uint64_t until = clock_now_ns() + ms * CLOCK_NS_PER_MS;
    while (world_turn(w, until))
        ;
}

int
open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL; )
        count += e->d_name[0] != '.';
    (void)closedir(dir);
    return count - 1;
}

/* ---------------------------------------------------------------- nodes */

static int
listen_somewhere(uint16_t *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 512) == 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

struct node *
node_begin(struct world *w, const char *name, const char *seed, void (*change)(struct conf *c))
{
    struct node *n = calloc(1, sizeof *n);
    CU_ASSERT_FATAL(n != NULL && w->count < WORLD_NODES);
    uint16_t port;
    char id[300];
    static char cluster[] = "test";
    int listen_fd = listen_somewhere(&port);
    n->world = w;
    n->conf = (struct conf){ .cluster = cluster, .heartbeat_ms = 1000, .heartbeat_misses = 10, .reconnect_min_ms = 20, .reconnect_max_ms = 100,
                             .handshake_ms = 2000, .nodes_max = 16, .max_body = 1 << 20, .workers = WORLD_WORKERS };
    (void)snprintf(id, sizeof id, "%s@127.0.0.1:%u", name, (unsigned)port);
    CU_ASSERT_EQUAL_FATAL(node_id_parse(id, strlen(id), &n->conf.node, NULL), 0);
    if (seed != NULL) {
        CU_ASSERT_EQUAL_FATAL(node_id_parse(seed, strlen(seed), &n->seeds[0], NULL), 0);
        n->conf.seeds = n->seeds;
        n->conf.seed_count = 1;
    }
    if (change != NULL)
        change(&n->conf);
    struct shm_config memory = { .workers = WORLD_WORKERS, .registry_capacity = 64, .nodes_max = n->conf.nodes_max, .behaviors_max = 8 };
    CU_ASSERT_EQUAL_FATAL(shm_create(&memory, &n->shm, NULL), 0);
    struct cluster_secret secret = { .id = WORLD_SECRET, .len = 32, .send = true };
    memset(secret.key, 's', secret.len);
    struct link_config config = { .loop = w->loop, .shm = n->shm, .conf = &n->conf, .listen_fd = listen_fd, .incarnation = clock_now_ns(),
                                  .started_ns = clock_now_ns(), .secrets = &secret, .secret_count = 1 };
    struct base_error why = { 0 };
    int err = link_new(&config, &n->link, &why);
    if (err != 0)
        fprintf(stderr, "# link_new: %s\n", why.text);
    CU_ASSERT_EQUAL_FATAL(err, 0);
    w->nodes[w->count++] = n;
    return n;
}

void
node_end(struct node **node)
{
    struct node *n = *node;
    for (unsigned i = 0; i < n->world->count; i++)
        if (n->world->nodes[i] == n)
            n->world->nodes[i] = NULL;
    for (unsigned i = 0; i < LINK_SLOTS; i++)
        if (n->processes[i] != NULL)
            process_end(&n->processes[i]);
    link_free(&n->link);
    link_free(&n->link);
    shm_destroy(&n->shm);
    free(n);
    *node = NULL;
}

uint32_t
node_index(const struct node *n, const struct node *of)
{
    uint32_t index;
    return nodes_find(shm_nodes(n->shm), of->conf.node.text, strlen(of->conf.node.text), &index) == 0 ? index : 0;
}

bool
node_is_up(const struct node *n, const struct node *peer)
{
    struct nodes_entry e;
    uint32_t index = node_index(n, peer);
    return index != 0 && nodes_get(shm_nodes(n->shm), index, &e) == 0 && e.state == NODES_UP;
}

struct conn *
node_way(const struct node *n, const struct node *to)
{
    return n->link->by_node[node_index(n, to)];
}

uint64_t
node_bad(const struct node *n)
{
    return stats_get(shm_stats(n->shm, SLOT_LINK), bad_messages);
}

void
worlds_meet(struct world *w, struct node *a, struct node *b)
{
    WAIT(w, node_is_up(a, b) && node_is_up(b, a));
    CU_ASSERT_FATAL(node_way(a, b) != NULL && node_way(b, a) != NULL);
}

/* ---------------------------------------------------------------- processes */

static void
echo(struct process *p, const struct envelope *e, const uint8_t *body)
{
    struct envelope answer = { .node = e->node, .session = e->session, .body_len = e->body_len, .kind = KIND_REPLY,
                               .slot = envelope_caller_slot(e->call_id), .call_id = e->call_id };
    CU_ASSERT_EQUAL(mesh_put(p->mesh, SLOT_LINK, 0, &answer, body), 0);
}

static void
on_message(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct process *p = arg;
    CU_ASSERT_EQUAL(from_slot, SLOT_LINK);
    if (p->count == p->cap) {
        p->cap = p->cap * 2 + 64;
        p->got = realloc(p->got, p->cap * sizeof *p->got);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p->got);
    }
    struct got *g = &p->got[p->count++];
    *g = (struct got){ .e = *e, .body = malloc(e->body_len + 1) };
    CU_ASSERT_PTR_NOT_NULL_FATAL(g->body);
    memcpy(g->body, body, e->body_len);
    if (p->is_echo && e->kind == KIND_CALL)
        echo(p, e, body);
}

static void
on_gone(void *arg, uint16_t slot, uint32_t generation)
{
    (void)arg, (void)slot, (void)generation;
}

struct process *
node_process(struct node *n, uint16_t slot, uint32_t generation)
{
    struct process *p = calloc(1, sizeof *p);
    int there[2], back[2];
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    *p = (struct process){ .node = n, .slot = slot, .generation = generation };
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    limits.soft_bytes = limits.hard_bytes = 256u << 20;        /* the test says what it wants at once */
    limits.max_body = n->conf.max_body;
    struct mesh_config config = { .loop = n->world->loop, .limits = limits, .on_message = on_message, .on_gone = on_gone, .arg = p };
    CU_ASSERT_FATAL(pipe2(there, O_CLOEXEC) == 0 && pipe2(back, O_CLOEXEC) == 0);
    CU_ASSERT_EQUAL_FATAL(mesh_new(&config, &p->mesh), 0);
    CU_ASSERT_EQUAL_FATAL(mesh_attach(p->mesh, SLOT_LINK, 1, there[0], back[1], NULL), 0);
    CU_ASSERT_EQUAL_FATAL(mesh_attach(link_borrow_mesh(n->link), slot, generation, back[0], there[1], NULL), 0);
    struct board_slot board = { .generation = generation, .state = BOARD_READY, .pid = getpid(), .cpu = -1 };
    board_set(shm_board(n->shm), slot, &board);
    link_process_up(n->link, slot, generation);
    n->processes[link_slot_index(slot)] = p;
    return p;
}

void
process_forget(struct process *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->got[i].body);
    p->count = 0;
}

void
process_end(struct process **process)
{
    struct process *p = *process;
    p->node->processes[link_slot_index(p->slot)] = NULL;
    mesh_free(&p->mesh);
    process_forget(p);
    free(p->got);
    free(p);
    *process = NULL;
}

/* ---------------------------------------------------------------- messages */

const uint8_t *
body_of(uint64_t number, size_t len)
{
    static uint8_t *pattern;
    CU_ASSERT_FATAL(len <= BODY_MAX);
    if (pattern == NULL) {
        pattern = malloc(BODY_MAX + PERIOD);
        CU_ASSERT_PTR_NOT_NULL_FATAL(pattern);
        for (size_t i = 0; i < BODY_MAX + PERIOD; i++)
            pattern[i] = (uint8_t)(i % PERIOD);
    }
    return pattern + number % PERIOD;
}

bool
is_body(const struct got *g, uint64_t number, size_t len)
{
    return g != NULL && g->e.body_len == len && memcmp(g->body, body_of(number, len), len) == 0;
}

uint64_t
call_id(const struct process *p, uint64_t number)
{
    return (uint64_t)p->slot << 48 | number;
}

struct envelope
to_node(const struct process *from, const struct node *to, uint8_t kind, uint16_t slot, uint32_t generation, uint64_t number, size_t len)
{
    struct nodes_entry e = { .session = 0 };
    uint32_t index = node_index(from->node, to);
    CU_ASSERT_FATAL(index != 0 && nodes_get(shm_nodes(from->node->shm), index, &e) == 0);
    return (struct envelope){ .node = index, .session = e.session, .kind = kind, .slot = slot, .generation = generation, .serial = number,
                              .call_id = envelope_is_request(kind) ? call_id(from, number) : 0, .body_len = (uint32_t)len };
}

void
send_bytes(struct process *from, const struct envelope *e, const void *body)
{
    CU_ASSERT_EQUAL(mesh_put(from->mesh, SLOT_LINK, 0, e, body), 0);
}

void
send_body(struct process *from, const struct envelope *e, uint64_t number)
{
    send_bytes(from, e, body_of(number, e->body_len));
}

const struct got *
find_kind(const struct process *p, uint8_t kind, size_t nth)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->got[i].e.kind == kind && nth-- == 0)
            return &p->got[i];
    return NULL;
}

size_t
count_kind(const struct process *p, uint8_t kind)
{
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++)
        count += p->got[i].e.kind == kind;
    return count;
}

int
error_code(const struct got *g)
{
    struct sys_error error;
    if (g == NULL || g->e.kind != KIND_ERROR || sys_error_decode(g->body, g->e.body_len, &error, NULL) != 0)
        return 0;
    return error.code;
}

const char *
node_event_text(const struct process *p, size_t nth, uint32_t *session)
{
    static char text[64];
    struct sys_node_event event;
    const struct got *g = find_kind(p, KIND_NODE_EVENT, nth);
    if (g == NULL || sys_node_event_decode(g->body, g->e.body_len, &event, NULL) != 0)
        return "";
    if (session != NULL)
        *session = g->e.session;
    (void)snprintf(text, sizeof text, event.is_up ? "up" : "down %.*s", (int)event.reason.len, event.reason.at);
    return text;
}
