/*
 * test_reader.c - whole messages or nothing, wherever the bytes are cut and whoever dies.
 */
#include "pipe/reader.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "pipe/writer.h"
#include "testing.h"
#include "unit.h"

struct inbox {
    struct loop *loop;
    struct pipe_reader *reader;
    uint64_t count, next;             /* messages seen; the number the next one must have */
    size_t bytes, torn;
    int ends, status;
    uint64_t free_at, drain_at;       /* in the callback of this message */
    bool wrong;
};

static void
on_message(void *arg, const struct envelope *e, const uint8_t *body)
{
    struct inbox *in = arg;
    in->wrong |= in->ends > 0 || e->serial != in->next++;
    if (++in->count == in->free_at) {
        pipe_reader_free(&in->reader);
        in->wrong |= in->reader != NULL;
    }
    if (in->count == in->drain_at) {
        pipe_reader_drain(in->reader);
        in->wrong |= in->ends > 0;    /* not inside the callback */
    }
    in->bytes += WIRE_PIPE_HEADER + e->body_len;
    in->wrong |= !testing_is_whole(e, body);
}

static void
on_end(void *arg, int status, size_t torn)
{
    struct inbox *in = arg;
    in->ends++;
    in->status = status;
    in->torn = torn;
}

static void
inbox_open(struct inbox *in, struct loop *loop, int fd, size_t max_body)
{
    *in = (struct inbox){ .loop = loop, .next = 1 };
    CU_ASSERT_EQUAL_FATAL(pipe_reader_new(loop, fd, max_body, on_message, on_end, in, &in->reader), 0);
}

static void
turn_until_end(struct inbox *in)
{
    while (in->ends == 0)
        CU_ASSERT_EQUAL_FATAL(loop_turn(in->loop, true), 0);
}

static void
put_bytes(int fd, const uint8_t *bytes, size_t len)
{
    CU_ASSERT_EQUAL_FATAL(write(fd, bytes, len), (ssize_t)len);
}

UNIT(reader, a_stream_cut_at_every_length_gives_the_whole_messages_before_the_cut)
{
    struct loop *loop = testing_loop();
    static const uint32_t lens[] = { 0, 5, 70, 0, 1 };
    uint8_t stream[1024];
    size_t ends[BASE_COUNT(lens) + 1] = { 0 }, len = 0;
    int fds_before = testing_fds();

    for (size_t i = 0; i < BASE_COUNT(lens); i++)
        ends[i + 1] = len += testing_encode(i + 1, KIND_CALL, lens[i], stream + len);
    for (size_t cut = 0; cut <= len; cut++) {
        struct inbox in;
        int fds[2];
        testing_pipe(fds);
        inbox_open(&in, loop, fds[0], 1 << 20);
        put_bytes(fds[1], stream, cut);
        (void)close(fds[1]);
        turn_until_end(&in);
        size_t whole = 0;
        while (whole < BASE_COUNT(lens) && ends[whole + 1] <= cut)
            whole++;
        CU_ASSERT_EQUAL(in.count, whole);
        CU_ASSERT_EQUAL(in.torn, cut - ends[whole]);
        CU_ASSERT_EQUAL(in.status, 0);
        CU_ASSERT_EQUAL(in.ends, 1);
        CU_ASSERT(!in.wrong);
        pipe_reader_free(&in.reader);
        pipe_reader_free(&in.reader);
    }
    CU_ASSERT_EQUAL(testing_fds(), fds_before);
    loop_free(&loop);
}

UNIT(reader, bytes_that_come_one_at_a_time_make_the_same_messages)
{
    struct loop *loop = testing_loop();
    struct inbox in;
    uint8_t stream[1024];
    size_t len = 0;
    int fds[2];
    for (uint64_t n = 1; n <= 5; n++)
        len += testing_encode(n, KIND_CAST, (uint32_t)n * 17, stream + len);
    testing_pipe(fds);
    inbox_open(&in, loop, fds[0], 1 << 20);
    for (size_t i = 0; i < len; i++) {
        put_bytes(fds[1], stream + i, 1);
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    }
    CU_ASSERT_EQUAL(in.count, 5);
    CU_ASSERT(!in.wrong);
    CU_ASSERT_EQUAL(in.ends, 0);
    (void)close(fds[1]);
    turn_until_end(&in);
    CU_ASSERT_EQUAL(in.torn, 0);
    pipe_reader_free(&in.reader);
    loop_free(&loop);
}

/* All sizes around the buffer, a read, a pipe; each piece as odd as it can be. */
UNIT(reader, sizes_around_every_boundary_arrive_whole_in_pieces_of_any_size)
{
    struct loop *loop = testing_loop();
    static const uint32_t lens[] = { 0, 1, 65535, 65536, 65536 - 48, 65537, 131072 - 48, 131072 - 47, 131072, 200000, 3, 131072 - 49, 1 << 20, 7,
                                     (1 << 20) - 1, 0, 300000, 16384, 16383, 65488, 65489 };
    static const size_t pieces[] = { 1021, 4096, 16000, 40000, 65536 };
    uint8_t *message = malloc((1 << 20) + WIRE_PIPE_HEADER);
    for (size_t p = 0; p < BASE_COUNT(pieces); p++) {
        struct inbox in;
        int fds[2];
        testing_pipe(fds);
        inbox_open(&in, loop, fds[0], 1 << 20);
        for (size_t i = 0; i < BASE_COUNT(lens); i++) {
            size_t len = testing_encode(i + 1, KIND_REPLY, lens[i], message);
            for (size_t at = 0; at < len; ) {
                size_t want = len - at < pieces[p] ? len - at : pieces[p];
                ssize_t n = write(fds[1], message + at, want);
                if (n > 0)
                    at += (size_t)n;
                CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
            }
        }
        (void)close(fds[1]);
        turn_until_end(&in);
        CU_ASSERT_EQUAL(in.count, BASE_COUNT(lens));
        CU_ASSERT_EQUAL(in.torn, 0);
        CU_ASSERT(!in.wrong);
        pipe_reader_free(&in.reader);
    }
    free(message);
    loop_free(&loop);
}

UNIT(reader, a_length_above_max_body_ends_the_pipe_before_the_body_is_there)
{
    struct loop *loop = testing_loop();
    static const uint32_t lens[] = { 1001, UINT32_MAX, UINT32_MAX - 47, 1u << 31 };
    for (size_t i = 0; i < BASE_COUNT(lens); i++) {
        struct inbox in;
        uint8_t stream[4096];
        int fds[2];
        size_t len = testing_encode(1, KIND_CALL, 1000, stream);           /* exactly max_body passes */
        struct envelope e = testing_envelope(2, KIND_CALL, lens[i]);
        envelope_encode_pipe(&e, stream + len);
        testing_pipe(fds);
        inbox_open(&in, loop, fds[0], 1000);
        put_bytes(fds[1], stream, len + WIRE_PIPE_HEADER);
        turn_until_end(&in);
        CU_ASSERT_EQUAL(in.count, 1);
        CU_ASSERT_EQUAL(in.status, NX_EBADMSG);
        put_bytes(fds[1], stream, len);                                    /* what follows is never read */
        CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
        CU_ASSERT_EQUAL(in.count, 1);
        CU_ASSERT_EQUAL(in.ends, 1);
        CU_ASSERT(!in.wrong);
        (void)close(fds[1]);
        pipe_reader_free(&in.reader);
    }
    loop_free(&loop);
}

UNIT(reader, the_callback_may_free_the_reader_and_gets_no_more)
{
    struct loop *loop = testing_loop();
    int fds_before = testing_fds();
    struct inbox in;
    uint8_t stream[1024];
    size_t len = 0;
    int fds[2];
    for (uint64_t n = 1; n <= 3; n++)
        len += testing_encode(n, KIND_CALL, 100, stream + len);
    testing_pipe(fds);
    inbox_open(&in, loop, fds[0], 1 << 20);
    in.free_at = 2;
    put_bytes(fds[1], stream, len);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(in.count, 2);
    CU_ASSERT_EQUAL(in.ends, 0);
    CU_ASSERT(!in.wrong);
    CU_ASSERT_EQUAL(write(fds[1], stream, 1), -1);                         /* closed at once: the writer is told */
    (void)close(fds[1]);
    CU_ASSERT_EQUAL(testing_fds(), fds_before);
    loop_free(&loop);
}

UNIT(reader, a_freed_reader_is_forgotten_by_the_loop_although_a_copy_of_its_end_lives)
{
    struct loop *loop = testing_loop();
    struct inbox in;
    uint8_t stream[1024];
    int fds[2];
    testing_pipe(fds);
    int copy = dup(fds[0]);
    inbox_open(&in, loop, fds[0], 1 << 20);
    put_bytes(fds[1], stream, testing_encode(1, KIND_CALL, 100, stream));
    pipe_reader_free(&in.reader);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(in.count, 0);
    (void)close(copy);
    (void)close(fds[1]);
    loop_free(&loop);
}

UNIT(reader, drain_delivers_all_and_ends_although_a_stray_copy_of_the_write_end_lives)
{
    struct loop *loop = testing_loop();
    struct inbox in;
    uint8_t stream[1024];
    size_t len = 0;
    int fds[2], hold[2];
    for (uint64_t n = 1; n <= 3; n++)
        len += testing_encode(n, KIND_CALL, 100, stream + len);
    testing_pipe(fds);
    CU_ASSERT_EQUAL_FATAL(pipe(hold), 0);
    pid_t child = fork();                         /* holds both ends of the pipe until we close ours of `hold` */
    if (child == 0) {
        char byte;
        (void)close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    (void)close(hold[0]);
    inbox_open(&in, loop, fds[0], 1 << 20);
    put_bytes(fds[1], stream, len - 1);
    (void)close(fds[1]);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_EQUAL(in.count, 2);
    CU_ASSERT_EQUAL(in.ends, 0);                  /* no EOF: the copy lives */
    pipe_reader_drain(in.reader);
    CU_ASSERT_EQUAL(in.ends, 1);
    CU_ASSERT_EQUAL(in.status, 0);
    CU_ASSERT_EQUAL(in.torn, WIRE_PIPE_HEADER + 100 - 1);
    CU_ASSERT(!in.wrong);
    pipe_reader_drain(in.reader);                 /* again: nothing */
    CU_ASSERT_EQUAL(in.ends, 1);
    pipe_reader_free(&in.reader);
    uint64_t turns = loop_turns(loop);            /* the copy in the child does not make the loop spin: only the timer wakes it */
    struct loop_timer t;
    loop_timer_init(&t, (void (*)(void *))loop_stop, loop);
    CU_ASSERT_EQUAL(loop_timer_set(loop, &t, loop_now_ns(loop) + 5000000), 0);
    CU_ASSERT_EQUAL(loop_run(loop), 0);
    CU_ASSERT(loop_turns(loop) - turns <= 3);
    (void)close(hold[1]);
    CU_ASSERT(testing_reap(child));
    loop_free(&loop);
}

UNIT(reader, drain_from_inside_the_callback_happens_behind_it)
{
    struct loop *loop = testing_loop();
    struct inbox in;
    static uint8_t big[70000];
    uint8_t stream[1024];
    size_t len = 0;
    int fds[2];
    for (uint64_t n = 1; n <= 3; n++)
        len += testing_encode(n, KIND_CALL, 100, stream + len);
    testing_pipe(fds);
    CU_ASSERT_FATAL(fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) > 0);
    inbox_open(&in, loop, fds[0], 1 << 20);
    in.drain_at = 1;
    put_bytes(fds[1], stream, len);
    uint64_t n = 4;
    for (; n < 10; n++)
        put_bytes(fds[1], big, testing_encode(n, KIND_CALL, 66000, big));  /* more than a read, more than a turn's worth */
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_EQUAL(in.ends, 1);
    CU_ASSERT_EQUAL(in.count, n - 1);
    CU_ASSERT(!in.wrong);
    (void)close(fds[1]);
    pipe_reader_free(&in.reader);
    loop_free(&loop);
}

UNIT(reader, one_full_pipe_does_not_take_the_whole_turn)
{
    struct loop *loop = testing_loop();
    struct inbox in;
    static uint8_t message[1048];
    int fds[2];
    testing_pipe(fds);
    CU_ASSERT_FATAL(fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) > 0);
    inbox_open(&in, loop, fds[0], 1 << 20);
    uint64_t n = 1;
    while (n < 1000 && write(fds[1], message, testing_encode(n, KIND_CALL, 1000, message)) > 0)
        n++;
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT(in.bytes > 128 * 1024 && in.bytes <= 4 * 64 * 1024);
    while (in.count < n - 1)
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    CU_ASSERT(!in.wrong);
    (void)close(fds[1]);
    pipe_reader_free(&in.reader);
    loop_free(&loop);
}

/* A child that writes numbered messages of all sizes for ever, until it is killed. */
static void
write_for_ever(int fd, unsigned seed)
{
    struct loop *loop = NULL;
    struct pipe_writer *w = NULL;
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    if (loop_new(&loop, NULL) != 0 || pipe_writer_new(loop, fd, &limits, NULL, NULL, &w) != 0)
        _exit(1);
    for (uint64_t n = 1; ; n++) {
        uint32_t len = (seed = seed * 1103515245u + 12345u) >> 16;
        len = n % 7 == 0 ? len * 16 : len % 3000;
        struct envelope e = testing_envelope(n, KIND_REPLY, len);
        while (pipe_writer_put(w, &e, testing_body(n, len)) == NX_EBUSY)
            if (loop_turn(loop, true) != 0)
                _exit(2);
        if (n % 5 == 0 && loop_turn(loop, false) != 0)
            _exit(3);
        if (n % 11 == 0)
            pipe_writer_flush(w);
    }
}

UNIT(reader, a_hundred_writers_killed_in_mid_message_leave_only_whole_messages)
{
    struct loop *loop = testing_loop();
    int fds_before = testing_fds();
    unsigned seed = 4711;
    int torn = 0;
    for (int round = 0; round < 100; round++) {
        struct inbox in;
        int fds[2];
        testing_pipe(fds);
        pid_t child = fork();
        if (child == 0) {
            (void)close(fds[0]);
            write_for_ever(fds[1], (unsigned)round);
        }
        (void)close(fds[1]);
        inbox_open(&in, loop, fds[0], 1 << 20);
        uint64_t enough = (seed = seed * 1103515245u + 12345u) / 65536 % 60;
        while (in.count < enough)
            CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
        CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
        turn_until_end(&in);
        int status;
        CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
        CU_ASSERT(WIFSIGNALED(status));
        CU_ASSERT_EQUAL(in.status, 0);
        CU_ASSERT(!in.wrong);
        torn += in.torn > 0;
        pipe_reader_free(&in.reader);
    }
    CU_ASSERT(torn > 10);                         /* the test did what it says */
    CU_ASSERT_EQUAL(testing_fds(), fds_before);
    loop_free(&loop);
}
