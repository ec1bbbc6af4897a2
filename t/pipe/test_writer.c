/*
 * test_writer.c - batches, the two bounds, a full pipe, a reader that is gone.
 */
#include "pipe/writer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pipe/reader.h"
#include "testing.h"
#include "unit.h"

static int
put(struct pipe_writer *w, uint64_t n, uint8_t kind, uint32_t len)
{
    struct envelope e = testing_envelope(n, kind, len);
    return pipe_writer_put(w, &e, testing_body(n, len));
}

static int
in_pipe(int fd)
{
    int n = -1;
    CU_ASSERT_EQUAL(ioctl(fd, FIONREAD, &n), 0);
    return n;
}

static struct pipe_writer *
writer_on(struct loop *loop, int fd, const struct pipe_limits *limits, void (*on_broken)(void *), void *arg)
{
    struct pipe_limits defaults = PIPE_LIMITS_DEFAULT;
    struct pipe_writer *w = NULL;
    CU_ASSERT_EQUAL_FATAL(pipe_writer_new(loop, fd, limits != NULL ? limits : &defaults, on_broken, arg, &w), 0);
    return w;
}

struct sink { uint64_t next, count; bool wrong; int ends; };

static void
sink_message(void *arg, const struct envelope *e, const uint8_t *body)
{
    struct sink *s = arg;
    s->wrong |= e->serial != s->next++ || !testing_is_whole(e, body);
    s->count++;
}

static void
sink_end(void *arg, int status, size_t torn)
{
    struct sink *s = arg;
    s->wrong |= status != 0 || torn != 0;
    s->ends++;
}

UNIT(writer, messages_of_a_turn_go_out_in_one_batch_at_the_flush)
{
    struct loop *loop = testing_loop();
    int fds[2];
    testing_pipe(fds);
    struct pipe_writer *w = writer_on(loop, fds[1], NULL, NULL, NULL);
    for (uint64_t n = 1; n <= 100; n++)
        CU_ASSERT_EQUAL(put(w, n, KIND_CALL, 52), 0);
    CU_ASSERT_EQUAL(in_pipe(fds[0]), 0);
    CU_ASSERT_EQUAL(pipe_writer_queued(w), 100 * 100);
    pipe_writer_flush(w);
    CU_ASSERT_EQUAL(in_pipe(fds[0]), 100 * 100);
    CU_ASSERT_EQUAL(pipe_writer_queued(w), 0);
    pipe_writer_flush(w);
    pipe_writer_free(&w);
    CU_ASSERT_PTR_NULL(w);
    pipe_writer_free(&w);
    (void)close(fds[0]);
    loop_free(&loop);
}

UNIT(writer, a_full_batch_goes_out_without_a_flush)
{
    struct loop *loop = testing_loop();
    int fds[2];
    testing_pipe(fds);
    struct pipe_writer *w = writer_on(loop, fds[1], NULL, NULL, NULL);
    for (uint64_t n = 1; n <= 70; n++)
        CU_ASSERT_EQUAL(put(w, n, KIND_CALL, 1000), 0);
    CU_ASSERT(in_pipe(fds[0]) > 60000);
    pipe_writer_free(&w);
    (void)close(fds[0]);
    loop_free(&loop);
}

UNIT(writer, a_reader_that_does_not_read_meets_the_bounds_and_all_recovers_when_it_does)
{
    struct loop *loop = testing_loop();
    struct pipe_limits limits = { .soft_bytes = 400000, .hard_bytes = 800000, .max_body = 1 << 20 };
    int fds[2];
    testing_pipe(fds);
    struct pipe_writer *w = writer_on(loop, fds[1], &limits, NULL, NULL);
    uint64_t n = 1;
    int err;
    while ((err = put(w, n, n % 2 ? KIND_CALL : KIND_CAST, 3000)) == 0) {
        n++;
        CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    }
    CU_ASSERT_EQUAL(err, NX_EBUSY);
    CU_ASSERT(pipe_writer_queued(w) >= 400000 && pipe_writer_queued(w) < 400000 + 3048);
    CU_ASSERT_EQUAL(put(w, n, KIND_CAST, 0), NX_EBUSY);
    CU_ASSERT_EQUAL(put(w, n, KIND_SPAWN, 0), NX_EBUSY);
    /* Answers and system messages go on to the hard bound. */
    while ((err = put(w, n, n % 2 ? KIND_REPLY : KIND_MONITOR_EVENT, 3000)) == 0)
        n++;
    CU_ASSERT_EQUAL(err, NX_EBUSY);
    CU_ASSERT(pipe_writer_queued(w) <= 800000 && pipe_writer_queued(w) > 800000 - 3048);
    size_t full = pipe_writer_queued(w);
    CU_ASSERT_EQUAL(put(w, n, KIND_REPLY, 1 << 20), NX_EBUSY);
    CU_ASSERT_EQUAL(pipe_writer_queued(w), full);

    struct sink s = { .next = 1 };
    struct pipe_reader *r = NULL;
    CU_ASSERT_EQUAL_FATAL(pipe_reader_new(loop, fds[0], 1 << 20, sink_message, sink_end, &s, &r), 0);
    while (pipe_writer_queued(w) > 0)
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    CU_ASSERT_EQUAL(put(w, n, KIND_CALL, 3000), 0);
    pipe_writer_flush(w);
    while (s.count < n)
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    CU_ASSERT(!s.wrong);
    pipe_writer_free(&w);
    while (s.ends == 0)
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    CU_ASSERT(!s.wrong);
    pipe_reader_free(&r);
    loop_free(&loop);
}

UNIT(writer, an_empty_queue_takes_one_message_whatever_the_bounds_are)
{
    struct loop *loop = testing_loop();
    struct pipe_limits limits = { .soft_bytes = 10, .hard_bytes = 20, .max_body = 1 << 20 };
    int fds[2];
    testing_pipe(fds);
    struct pipe_writer *w = writer_on(loop, fds[1], &limits, NULL, NULL);
    CU_ASSERT_EQUAL(put(w, 1, KIND_CALL, 50000), 0);
    CU_ASSERT_EQUAL(put(w, 2, KIND_CALL, 1), NX_EBUSY);
    CU_ASSERT_EQUAL(put(w, 2, KIND_REPLY, 1), NX_EBUSY);
    pipe_writer_flush(w);
    CU_ASSERT_EQUAL(put(w, 2, KIND_CALL, 1), 0);
    pipe_writer_free(&w);
    (void)close(fds[0]);
    loop_free(&loop);
}

UNIT(writer, C10_a_body_above_max_body_is_refused_at_the_sender)
{
    struct loop *loop = testing_loop();
    struct pipe_limits limits = { .soft_bytes = 1 << 20, .hard_bytes = 1 << 20, .max_body = 1000 };
    int fds[2];
    testing_pipe(fds);
    struct pipe_writer *w = writer_on(loop, fds[1], &limits, NULL, NULL);
    CU_ASSERT_EQUAL(put(w, 1, KIND_CALL, 1001), NX_ETOOBIG);
    struct envelope huge = testing_envelope(1, KIND_CALL, UINT32_MAX);
    CU_ASSERT_EQUAL(pipe_writer_put(w, &huge, NULL), NX_ETOOBIG);
    CU_ASSERT_EQUAL(pipe_writer_queued(w), 0);
    CU_ASSERT_EQUAL(put(w, 1, KIND_CALL, 1000), 0);
    pipe_writer_free(&w);
    (void)close(fds[0]);
    loop_free(&loop);
}

struct broken { struct pipe_writer *writer; int told; bool free_it; };

static void
on_broken(void *arg)
{
    struct broken *b = arg;
    b->told++;
    if (b->free_it)
        pipe_writer_free(&b->writer);
}

UNIT(writer, a_reader_that_is_gone_is_told_once_from_the_loop)
{
    struct loop *loop = testing_loop();
    for (int waiting = 0; waiting < 2; waiting++) {
        int fds[2];
        testing_pipe(fds);
        struct broken b = { .free_it = waiting };
        b.writer = writer_on(loop, fds[1], NULL, on_broken, &b);
        if (waiting) {                            /* while the pipe is full and the loop watches it */
            for (uint64_t n = 1; n <= 50; n++)
                CU_ASSERT_EQUAL(put(b.writer, n, KIND_CALL, 3000), 0);
            CU_ASSERT(pipe_writer_queued(b.writer) > 0);
            (void)close(fds[0]);
        } else {
            (void)close(fds[0]);
            CU_ASSERT_EQUAL(put(b.writer, 1, KIND_CALL, 100000), 0);      /* written inside the put, but told later */
            CU_ASSERT_EQUAL(b.told, 0);
            CU_ASSERT_EQUAL(put(b.writer, 2, KIND_CALL, 1), NX_ENOSERVER);
            CU_ASSERT_EQUAL(pipe_writer_queued(b.writer), 0);
        }
        while (b.told == 0)
            CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
        CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
        CU_ASSERT_EQUAL(b.told, 1);
        pipe_writer_free(&b.writer);
    }
    loop_free(&loop);
}

UNIT(writer, freed_before_it_could_tell_tells_nobody)
{
    struct loop *loop = testing_loop();
    int fds[2];
    testing_pipe(fds);
    struct broken b = { .told = 0 };
    b.writer = writer_on(loop, fds[1], NULL, on_broken, &b);
    (void)close(fds[0]);
    CU_ASSERT_EQUAL(put(b.writer, 1, KIND_CALL, 1), 0);
    pipe_writer_flush(b.writer);
    pipe_writer_free(&b.writer);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(b.told, 0);
    loop_free(&loop);
}

UNIT(writer, C7_order_is_kept_under_mixed_sizes_up_to_a_mebibyte)
{
    struct loop *loop = testing_loop();
    int fds[2];
    testing_pipe(fds);
    struct pipe_writer *w = writer_on(loop, fds[1], NULL, NULL, NULL);
    struct sink s = { .next = 1 };
    struct pipe_reader *r = NULL;
    CU_ASSERT_EQUAL_FATAL(pipe_reader_new(loop, fds[0], 1 << 20, sink_message, sink_end, &s, &r), 0);
    unsigned seed = 77;
    uint64_t n = 1;
    for (; n <= 600; n++) {
        seed = seed * 1103515245u + 12345u;
        uint32_t len = n % 100 == 0 ? 1 << 20 : (seed >> 8) % (1u << (seed >> 28));
        while (put(w, n, n % 3 ? KIND_CALL : KIND_CAST, len) == NX_EBUSY)
            CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
        if (n % 8 == 0) {
            pipe_writer_flush(w);
            CU_ASSERT_EQUAL_FATAL(loop_turn(loop, false), 0);
        }
    }
    pipe_writer_flush(w);
    while (s.count < n - 1)
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    CU_ASSERT(!s.wrong);
    pipe_reader_free(&r);
    pipe_writer_free(&w);
    loop_free(&loop);
}
