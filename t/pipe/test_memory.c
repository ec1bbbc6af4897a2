/*
 * test_memory.c - pipes while there is no memory: what is on its way waits, and both ends live.
 *
 * malloc and calloc of this test program pass through here.
 */
#include "pipe/mesh.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "testing.h"
#include "unit.h"

/* clang links its sanitizers' malloc into the program itself: there is no next one; ThreadSanitizer needs its own before dlsym works. */
#ifdef __SANITIZE_THREAD__
#define NO_MALLOC_OF_OURS 1
#endif
#ifdef __clang__
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NO_MALLOC_OF_OURS 1
#endif
#endif

#ifndef NO_MALLOC_OF_OURS
static size_t refused_from = SIZE_MAX;                /* bytes */
static unsigned refusals;

void *
malloc(size_t size)
{
    static void *(*next)(size_t size);
    if (next == NULL)
        next = (void *(*)(size_t))(uintptr_t)dlsym(RTLD_NEXT, "malloc");
    return size >= refused_from ? (void)refusals++, NULL : next(size);
}

void *
calloc(size_t count, size_t size)
{
    static void *(*next)(size_t count, size_t size);
    if (next == NULL)
        next = (void *(*)(size_t, size_t))(uintptr_t)dlsym(RTLD_NEXT, "calloc");
    return count * size >= refused_from ? (void)refusals++, NULL : next(count, size);
}
struct state { struct loop *loop; struct mesh *mesh; struct loop_timer timer; unsigned whole, gone; bool is_over; };

static void
on_message(void *arg, uint16_t from, const struct envelope *e, const uint8_t *body)
{
    struct state *s = arg;
    (void)from;
    s->whole += testing_is_whole(e, body);
    loop_stop(s->loop);
}

static void
on_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct state *s = arg;
    (void)slot, (void)generation;
    s->gone++;
    loop_stop(s->loop);
}

static void
on_timer(void *arg)
{
    struct state *s = arg;
    if (refused_from == SIZE_MAX) {
        s->is_over = true;
        loop_stop(s->loop);
        return;
    }
    refused_from = SIZE_MAX;
    (void)loop_timer_set(s->loop, &s->timer, clock_now_ns() + 1000 * CLOCK_NS_PER_MS);
}

static void
open_state(struct state *s, int read_fd, int write_fd)
{
    memset(s, 0, sizeof *s);
    refusals = 0;
    s->loop = testing_loop();
    struct mesh_config config = { .loop = s->loop, .limits = PIPE_LIMITS_DEFAULT, .on_message = on_message, .on_gone = on_gone, .arg = s };
    CU_ASSERT_EQUAL(mesh_new(&config, &s->mesh), 0);
    CU_ASSERT_EQUAL(mesh_attach(s->mesh, 1, 1, read_fd, write_fd, NULL), 0);
    loop_timer_init(&s->timer, on_timer, s);
}

static void
close_state(struct state *s)
{
    loop_timer_cancel(s->loop, &s->timer);
    mesh_free(&s->mesh);
    loop_free(&s->loop);
}
#endif

UNIT(memory, a_large_message_waits_until_there_is_room_for_it)
{
#ifdef NO_MALLOC_OF_OURS
    unit_skip("this sanitizer leaves no malloc to stand in for");
#else
    struct state s;
    int fds[2];
    testing_pipe(fds);
    open_state(&s, fds[0], fds[1]);                   /* what we write is what we read */
    struct envelope e = testing_envelope(1, KIND_CAST, 900000);
    CU_ASSERT_EQUAL(mesh_put(s.mesh, 1, 1, &e, testing_body(1, 900000)), 0);
    refused_from = 500000;
    CU_ASSERT_EQUAL(loop_timer_set(s.loop, &s.timer, clock_now_ns() + 100 * CLOCK_NS_PER_MS), 0);
    while (s.whole == 0 && s.gone == 0 && !s.is_over)
        CU_ASSERT_EQUAL(loop_run(s.loop), 0);
    CU_ASSERT(s.whole == 1 && s.gone == 0 && !s.is_over);
    CU_ASSERT(refusals > 1 && refusals < 20);         /* it was tried again, and not all the time */
    refused_from = SIZE_MAX;
    close_state(&s);
#endif
}

UNIT(memory, a_full_pipe_that_cannot_be_watched_is_tried_again)
{
#ifdef NO_MALLOC_OF_OURS
    unit_skip("this sanitizer leaves no malloc to stand in for");
#else
    static char zeros[4096];
    struct state s;
    int idle[2], full[2];
    char got[4096];
    ssize_t n, sum = 0;
    testing_pipe(idle);
    testing_pipe(full);
    open_state(&s, idle[0], full[1]);
    while (write(full[1], zeros, sizeof zeros) > 0)
        ;
    struct envelope e = testing_envelope(1, KIND_CAST, 100);
    CU_ASSERT_EQUAL(mesh_put(s.mesh, 1, 1, &e, testing_body(1, 100)), 0);
    refused_from = 0;
    CU_ASSERT_EQUAL(loop_turn(s.loop, false), 0);
    CU_ASSERT(refusals > 0 && mesh_unwritten(s.mesh) > 0);
    refused_from = SIZE_MAX;
    while (read(full[0], got, sizeof got) > 0)
        ;
    CU_ASSERT_EQUAL(loop_timer_set(s.loop, &s.timer, clock_now_ns() + 500 * CLOCK_NS_PER_MS), 0);
    while (mesh_unwritten(s.mesh) > 0 && !s.is_over)
        CU_ASSERT_EQUAL(loop_turn(s.loop, true), 0);
    CU_ASSERT_FALSE(s.is_over);
    while ((n = read(full[0], got, sizeof got)) > 0)
        sum += n;
    CU_ASSERT_EQUAL(sum, WIRE_PIPE_HEADER + 100);
    close_state(&s);
    (void)close(idle[1]);
    (void)close(full[0]);
#endif
}
