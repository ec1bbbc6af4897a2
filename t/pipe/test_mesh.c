/*
 * test_mesh.c - real processes that find each other by slot and life: attach, send, die, come back.
 */
#include "pipe/mesh.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"
#include "unit.h"

enum act { ACT_NONE, ACT_DETACH, ACT_ATTACH, ACT_ECHO };

struct here {
    struct loop *loop;
    struct mesh *mesh;
    uint64_t count, serial, gone;     /* messages, the last one's number, lives that ended */
    uint16_t from, gone_slot;
    uint32_t gone_generation;
    uint64_t count_at_gone;
    bool wrong;                       /* a message that is not whole, or out of order within one life */
    enum act act;
    uint64_t act_at;
    int act_fds[2];
    bool attach_when_gone;
};

static void
on_message(void *arg, uint16_t from, const struct envelope *e, const uint8_t *body)
{
    struct here *h = arg;
    h->wrong |= e->serial != h->serial + 1;
    h->serial = e->serial;
    h->from = from;
    if (++h->count == h->act_at && h->act == ACT_DETACH)
        mesh_detach(h->mesh, from, mesh_generation(h->mesh, from));
    if (h->count == h->act_at && h->act == ACT_ATTACH)
        h->wrong |= mesh_attach(h->mesh, from, 8, h->act_fds[0], h->act_fds[1], NULL) != 0;
    if (h->act == ACT_ECHO && mesh_put(h->mesh, from, 0, e, body) != 0)
        h->wrong = true;
    h->wrong |= !testing_is_whole(e, body);
}

static void
on_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct here *h = arg;
    h->gone++;
    h->gone_slot = slot;
    h->gone_generation = generation;
    h->count_at_gone = h->count;
    h->serial = 0;
    if (h->attach_when_gone) {
        h->attach_when_gone = false;
        h->wrong |= mesh_attach(h->mesh, slot, generation + 1, h->act_fds[0], h->act_fds[1], NULL) != 0;
    }
}

static void
here_open(struct here *h)
{
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    memset(h, 0, sizeof *h);
    h->loop = testing_loop();
    struct mesh_config config = { .loop = h->loop, .limits = limits, .on_message = on_message, .on_gone = on_gone, .arg = h };
    CU_ASSERT_EQUAL_FATAL(mesh_new(&config, &h->mesh), 0);
}

static void
here_close(struct here *h)
{
    CU_ASSERT(!h->wrong);
    mesh_free(&h->mesh);
    mesh_free(&h->mesh);
    loop_free(&h->loop);
}

static void
turn_until(struct here *h, const uint64_t *what, uint64_t at_least)
{
    while (*what < at_least)
        CU_ASSERT_EQUAL_FATAL(loop_turn(h->loop, true), 0);
}

static int
put(struct mesh *m, uint16_t slot, uint32_t generation, uint64_t n, uint32_t len)
{
    struct envelope e = testing_envelope(n, KIND_CALL, len);
    return mesh_put(m, slot, generation, &e, testing_body(n, len));
}

/* Pipes to nobody but us: far[0] reads what we send to the slot, far[1] is what it writes with. */
static void
attach_here(struct here *h, uint16_t slot, uint32_t generation, int far[2])
{
    int in[2], out[2];
    testing_pipe(in);
    testing_pipe(out);
    CU_ASSERT_EQUAL_FATAL(mesh_attach(h->mesh, slot, generation, in[0], out[1], NULL), 0);
    far[0] = out[0];
    far[1] = in[1];
}

static void
say(int fd, uint64_t n, uint32_t len)
{
    static uint8_t message[100000];
    size_t size = testing_encode(n, KIND_CAST, len, message);
    CU_ASSERT_EQUAL_FATAL(write(fd, message, size), (ssize_t)size);
}

UNIT(mesh, slots_are_the_workers_the_link_worker_and_the_gate)
{
    static const uint16_t good[] = { 0, 1, 63, SLOT_LINK, SLOT_GATE }, bad[] = { 64, 65, 255, SLOT_ANY, 0xFFFF, 0xFFFB };
    struct here h;
    int before = testing_fds(), far[5][2], fds[2];
    here_open(&h);
    for (int i = 0; i < 5; i++)
        attach_here(&h, good[i], (uint32_t)i + 1, far[i]);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(mesh_generation(h.mesh, good[i]), (uint32_t)i + 1);
        CU_ASSERT_EQUAL(put(h.mesh, good[i], 0, 1, 10), 0);
        CU_ASSERT_EQUAL(put(h.mesh, good[i], (uint32_t)i + 1, 2, 10), 0);
        CU_ASSERT_EQUAL(put(h.mesh, good[i], (uint32_t)i + 2, 3, 10), NX_ENOSERVER);
        CU_ASSERT_EQUAL(mesh_queued(h.mesh, good[i]), 2 * (WIRE_PIPE_HEADER + 10));
    }
    CU_ASSERT_EQUAL(mesh_unwritten(h.mesh), 5 * 2 * (WIRE_PIPE_HEADER + 10));
    CU_ASSERT_EQUAL(mesh_messages_out(h.mesh), 10);
    CU_ASSERT_EQUAL(loop_turn(h.loop, false), 0);          /* the flush at its end */
    CU_ASSERT_EQUAL(mesh_unwritten(h.mesh), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CU_ASSERT_EQUAL(mesh_generation(h.mesh, bad[i]), 0);
        CU_ASSERT_EQUAL(put(h.mesh, bad[i], 0, 1, 10), NX_ENOSERVER);
        testing_pipe(fds);
        CU_ASSERT_EQUAL(mesh_attach(h.mesh, bad[i], 1, fds[0], fds[1], NULL), NX_EINVAL);
        mesh_detach(h.mesh, bad[i], 1);
    }
    testing_pipe(fds);
    CU_ASSERT_EQUAL(mesh_attach(h.mesh, 7, 0, fds[0], fds[1], NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(put(h.mesh, 7, 0, 1, 10), NX_ENOSERVER);
    for (int i = 0; i < 5; i++)
        (void)close(far[i][0]), (void)close(far[i][1]);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

struct late { struct here *here; struct loop_defer defer; };

static void
late_put(void *arg)
{
    struct late *l = arg;
    CU_ASSERT_EQUAL(put(l->here->mesh, 4, 0, 2, 10), 0);
}

UNIT(mesh, what_is_put_between_turns_or_behind_the_flush_does_not_lie_until_something_else_happens)
{
    struct here h;
    int far[2];
    struct late late = { .here = &h };
    uint8_t bytes[256];
    here_open(&h);
    attach_here(&h, 4, 1, far);
    CU_ASSERT_EQUAL(put(h.mesh, 4, 0, 1, 10), 0);
    CU_ASSERT_EQUAL(loop_turn(h.loop, true), 0);  /* would wait for ever: nothing else happens here */
    CU_ASSERT_EQUAL(read(far[0], bytes, sizeof bytes), WIRE_PIPE_HEADER + 10);
    loop_defer(h.loop, &late.defer, late_put, &late);
    CU_ASSERT_EQUAL(loop_turn(h.loop, true), 0);
    CU_ASSERT_EQUAL(read(far[0], bytes, sizeof bytes), -1);
    CU_ASSERT_EQUAL(loop_turn(h.loop, true), 0);
    CU_ASSERT_EQUAL(read(far[0], bytes, sizeof bytes), WIRE_PIPE_HEADER + 10);
    (void)close(far[0]), (void)close(far[1]);
    here_close(&h);
}

/* A process of its own with a mesh of its own: sends back what slot 0 says. */
static void
echo_process(int read_fd, int write_fd)
{
    struct here h;
    here_open(&h);
    h.act = ACT_ECHO;
    if (mesh_attach(h.mesh, 0, 1, read_fd, write_fd, NULL) != 0)
        _exit(1);
    while (h.gone == 0)
        if (loop_turn(h.loop, true) != 0)
            _exit(2);
    _exit(h.wrong ? 3 : 0);
}

static pid_t
fork_echo(struct here *h, uint16_t slot, uint32_t generation)
{
    int there[2], back[2];
    testing_pipe(there);
    testing_pipe(back);
    pid_t child = fork();
    if (child == 0) {
        for (int fd = 3; fd < 256; fd++)          /* as process/ does: nothing but what it needs */
            if (fd != there[0] && fd != back[1])
                (void)close(fd);
        echo_process(there[0], back[1]);
    }
    (void)close(there[0]);
    (void)close(back[1]);
    CU_ASSERT_EQUAL_FATAL(mesh_attach(h->mesh, slot, generation, back[0], there[1], NULL), 0);
    return child;
}

UNIT(mesh, C7_everything_comes_back_from_another_process_in_order_and_its_end_is_told)
{
    struct here h;
    int before = testing_fds();
    here_open(&h);
    pid_t child = fork_echo(&h, 5, 1);
    unsigned seed = 5;
    uint64_t n = 0;
    while (n < 3000) {
        seed = seed * 1103515245u + 12345u;
        uint32_t len = n % 500 == 499 ? 1 << 20 : (seed >> 8) % (1u << (seed >> 28));
        int err = put(h.mesh, 5, 1, n + 1, len);
        if (err == 0)
            n++;
        if (err == NX_EBUSY || n % 64 == 0)
            CU_ASSERT_EQUAL_FATAL(loop_turn(h.loop, false), 0);
        if (n - h.count > 128)                    /* fewer than the far side may queue: what it may not, it refuses, and nobody hears of it */
            turn_until(&h, &h.count, n - 64);
    }
    turn_until(&h, &h.count, n);
    CU_ASSERT_EQUAL(h.from, 5);
    CU_ASSERT_EQUAL(h.gone, 0);
    CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
    turn_until(&h, &h.gone, 1);
    CU_ASSERT_EQUAL(h.gone_slot, 5);
    CU_ASSERT_EQUAL(h.gone_generation, 1);
    CU_ASSERT_EQUAL(put(h.mesh, 5, 0, 1, 1), NX_ENOSERVER);
    CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
    mesh_detach(h.mesh, 5, 1);                    /* the master's word comes later: once is enough */
    CU_ASSERT_EQUAL(loop_turn(h.loop, false), 0);
    CU_ASSERT_EQUAL(h.gone, 1);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(mesh, thirty_lives_in_one_slot_each_end_once_and_leave_no_descriptor)
{
    struct here h;
    int before = testing_fds();
    here_open(&h);
    for (uint32_t life = 1; life <= 30; life++) {
        pid_t child = fork_echo(&h, 9, life);
        h.count = 0;
        for (uint64_t n = 1; n <= 50; n++)
            CU_ASSERT_EQUAL(put(h.mesh, 9, life, n, (uint32_t)n * 700), 0);
        turn_until(&h, &h.count, life % 50);      /* somewhere in the middle */
        CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
        turn_until(&h, &h.gone, life);
        CU_ASSERT_EQUAL(h.gone_generation, life);
        CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
        CU_ASSERT_EQUAL(mesh_generation(h.mesh, 9), 0);
    }
    CU_ASSERT_EQUAL(h.gone, 30);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(mesh, detach_ends_a_life_although_a_forked_child_of_a_module_holds_its_pipe)
{
    struct here h;
    int before = testing_fds(), far[2], hold[2];
    here_open(&h);
    attach_here(&h, 3, 7, far);
    CU_ASSERT_EQUAL_FATAL(pipe(hold), 0);
    pid_t child = fork();                         /* the stray: holds every end */
    if (child == 0) {
        char byte;
        (void)close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    (void)close(hold[0]);
    say(far[1], 1, 100);
    say(far[1], 2, 100);
    CU_ASSERT_EQUAL(write(far[1], "torn", 4), 4);
    (void)close(far[0]), (void)close(far[1]);     /* the worker dies; there is no EOF */
    mesh_detach(h.mesh, 3, 6);                    /* word of an earlier life: nothing */
    CU_ASSERT_EQUAL(h.gone, 0);
    mesh_detach(h.mesh, 3, 7);
    CU_ASSERT_EQUAL(h.count, 2);
    CU_ASSERT_EQUAL(h.gone, 1);
    CU_ASSERT_EQUAL(h.count_at_gone, 2);
    CU_ASSERT_EQUAL(mesh_generation(h.mesh, 3), 0);
    attach_here(&h, 3, 8, far);                   /* and its successor begins at a message */
    say(far[1], 1, 100);
    turn_until(&h, &h.count, 3);
    CU_ASSERT(!h.wrong);
    mesh_detach(h.mesh, 3, 7);
    CU_ASSERT_EQUAL(mesh_generation(h.mesh, 3), 8);
    (void)close(hold[1]);
    CU_ASSERT(testing_reap(child));
    (void)close(far[0]), (void)close(far[1]);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(mesh, a_newer_life_replaces_the_older_behind_its_last_message)
{
    struct here h;
    int before = testing_fds(), far[2], newer[2], fds[2];
    here_open(&h);
    attach_here(&h, 3, 7, far);
    say(far[1], 1, 100);
    say(far[1], 2, 100);
    attach_here(&h, 3, 8, newer);
    CU_ASSERT_EQUAL(h.count, 2);
    CU_ASSERT_EQUAL(h.gone, 1);
    CU_ASSERT_EQUAL(h.gone_generation, 7);
    CU_ASSERT_EQUAL(mesh_generation(h.mesh, 3), 8);
    testing_pipe(fds);                            /* pipes of an older one that come late */
    CU_ASSERT_EQUAL(mesh_attach(h.mesh, 3, 7, fds[0], fds[1], NULL), NX_ENOSERVER);
    testing_pipe(fds);
    CU_ASSERT_EQUAL(mesh_attach(h.mesh, 3, 8, fds[0], fds[1], NULL), NX_ENOSERVER);
    say(newer[1], 1, 50);
    turn_until(&h, &h.count, 3);
    (void)close(far[0]), (void)close(far[1]), (void)close(newer[0]), (void)close(newer[1]);
    turn_until(&h, &h.gone, 2);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(mesh, a_callback_may_detach_or_replace_the_very_process_that_it_hears)
{
    for (int act = ACT_DETACH; act <= ACT_ATTACH; act++) {
        struct here h;
        int before = testing_fds(), far[2], in[2], out[2];
        here_open(&h);
        attach_here(&h, 3, 7, far);
        testing_pipe(in), testing_pipe(out);
        h.act = (enum act)act;
        h.act_at = 2;
        h.act_fds[0] = in[0], h.act_fds[1] = out[1];
        for (uint64_t n = 1; n <= 5; n++)
            say(far[1], n, 1000);
        CU_ASSERT_EQUAL(loop_turn(h.loop, true), 0);
        CU_ASSERT_EQUAL(h.count, 5);              /* all it had said, */
        CU_ASSERT_EQUAL(h.gone, 1);               /* then it is gone, once */
        CU_ASSERT_EQUAL(h.count_at_gone, 5);
        CU_ASSERT_EQUAL(h.gone_generation, 7);
        CU_ASSERT_EQUAL(mesh_generation(h.mesh, 3), act == ACT_ATTACH ? 8 : 0);
        if (act == ACT_ATTACH) {
            say(in[1], 1, 10);
            turn_until(&h, &h.count, 6);
        } else {
            (void)close(in[0]), (void)close(out[1]);
        }
        (void)close(in[1]), (void)close(out[0]), (void)close(far[0]), (void)close(far[1]);
        here_close(&h);
        CU_ASSERT_EQUAL(testing_fds(), before);
    }
}

UNIT(mesh, a_successor_may_be_attached_when_the_end_is_told)
{
    struct here h;
    int before = testing_fds(), far[2], in[2], out[2];
    here_open(&h);
    attach_here(&h, SLOT_GATE, 1, far);
    testing_pipe(in), testing_pipe(out);
    h.act_fds[0] = in[0], h.act_fds[1] = out[1];
    h.attach_when_gone = true;
    say(far[1], 1, 1);
    (void)close(far[0]), (void)close(far[1]);
    turn_until(&h, &h.gone, 1);
    CU_ASSERT_EQUAL(h.count, 1);
    CU_ASSERT_EQUAL(mesh_generation(h.mesh, SLOT_GATE), 2);
    say(in[1], 1, 1);
    turn_until(&h, &h.count, 2);
    (void)close(in[1]), (void)close(out[0]);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(mesh, one_that_no_longer_reads_is_heard_out_and_gone)
{
    struct here h;
    int before = testing_fds(), far[2];
    here_open(&h);
    attach_here(&h, 3, 7, far);
    say(far[1], 1, 100);
    say(far[1], 2, 100);
    (void)close(far[0]);                          /* as in exit: its descriptors are closed one after the other */
    CU_ASSERT_EQUAL(put(h.mesh, 3, 7, 1, 70000), 0);
    turn_until(&h, &h.gone, 1);
    CU_ASSERT_EQUAL(h.count, 2);
    CU_ASSERT_EQUAL(h.count_at_gone, 2);
    (void)close(far[1]);
    CU_ASSERT_EQUAL(loop_turn(h.loop, false), 0);
    CU_ASSERT_EQUAL(h.gone, 1);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(mesh, one_that_breaks_the_format_is_gone_and_the_others_are_not)
{
    struct here h;
    int before = testing_fds(), bad[2], good[2];
    uint8_t junk[WIRE_PIPE_HEADER];
    here_open(&h);
    attach_here(&h, 1, 1, bad);
    attach_here(&h, 2, 1, good);
    memset(junk, 0xff, sizeof junk);
    CU_ASSERT_EQUAL(write(bad[1], junk, sizeof junk), (ssize_t)sizeof junk);
    turn_until(&h, &h.gone, 1);
    CU_ASSERT_EQUAL(h.gone_slot, 1);
    CU_ASSERT_EQUAL(h.count, 0);
    say(good[1], 1, 10);
    turn_until(&h, &h.count, 1);
    (void)close(bad[0]), (void)close(bad[1]), (void)close(good[0]), (void)close(good[1]);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}

UNIT(mesh, a_reader_that_sleeps_costs_bounded_memory_and_does_not_stop_the_others)
{
    struct here h;
    int before = testing_fds(), asleep[2], awake[2];
    here_open(&h);
    attach_here(&h, 1, 1, asleep);
    attach_here(&h, 2, 1, awake);
    uint64_t n = 1;
    int err;
    while ((err = put(h.mesh, 1, 1, n, 60000)) == 0) {
        n++;
        CU_ASSERT_EQUAL(loop_turn(h.loop, false), 0);
    }
    CU_ASSERT_EQUAL(err, NX_EBUSY);
    CU_ASSERT(mesh_unwritten(h.mesh) < (8u << 20) + (1u << 20));
    CU_ASSERT_EQUAL(put(h.mesh, 2, 1, 1, 10), 0);
    CU_ASSERT_EQUAL(loop_turn(h.loop, false), 0);
    CU_ASSERT_EQUAL(mesh_queued(h.mesh, 2), 0);
    /* Awake again: everything arrives (read by hand), and there is room for more. */
    size_t left = mesh_queued(h.mesh, 1), got = 0;
    static uint8_t bytes[65536];
    while (mesh_queued(h.mesh, 1) > 0) {
        ssize_t r = read(asleep[0], bytes, sizeof bytes);
        CU_ASSERT_FATAL(r > 0);
        got += (size_t)r;
        CU_ASSERT_EQUAL_FATAL(loop_turn(h.loop, true), 0);
    }
    CU_ASSERT(got >= left - 65536);
    CU_ASSERT_EQUAL(put(h.mesh, 1, 1, n, 60000), 0);
    (void)close(asleep[0]), (void)close(asleep[1]), (void)close(awake[0]), (void)close(awake[1]);
    here_close(&h);
    CU_ASSERT_EQUAL(testing_fds(), before);
}
