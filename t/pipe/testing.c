/*
 * testing.c - numbered messages, counting of descriptors.
 */
#include "testing.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

enum { BODY_MAX = 2 << 20 };

struct envelope
testing_envelope(uint64_t n, uint8_t kind, uint32_t len)
{
    return (struct envelope){ .node = (uint32_t)(n * 3), .session = (uint32_t)(n * 5), .deadline_ns = n * 7, .body_len = len, .kind = kind,
                              .slot = (uint16_t)n, .serial = n, .call_id = ~n, .generation = (uint32_t)n + 1 };
}

/* Repeats after 251 bytes, from a place that the number decides: made once, looked at from anywhere. */
const uint8_t *
testing_body(uint64_t n, uint32_t len)
{
    static uint8_t *pattern;
    CU_ASSERT_FATAL(len <= BODY_MAX);
    if (pattern == NULL) {
        pattern = malloc(BODY_MAX + 251);
        CU_ASSERT_PTR_NOT_NULL_FATAL(pattern);
        for (size_t i = 0; i < BODY_MAX + 251; i++)
            pattern[i] = (uint8_t)(i % 251);
    }
    return pattern + n % 251;
}

bool
testing_is_whole(const struct envelope *e, const uint8_t *body)
{
    struct envelope expected = testing_envelope(e->serial, e->kind, e->body_len);
    return expected.node == e->node && expected.session == e->session && expected.deadline_ns == e->deadline_ns &&
           expected.slot == e->slot && expected.call_id == e->call_id && expected.generation == e->generation &&
           memcmp(body, testing_body(e->serial, e->body_len), e->body_len) == 0;
}

size_t
testing_encode(uint64_t n, uint8_t kind, uint32_t len, uint8_t *out)
{
    struct envelope e = testing_envelope(n, kind, len);
    envelope_encode_pipe(&e, out);
    memcpy(out + WIRE_PIPE_HEADER, testing_body(n, len), len);
    return WIRE_PIPE_HEADER + (size_t)len;
}

int
testing_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL; )
        count += e->d_name[0] != '.';
    (void)closedir(dir);
    return count - 1;
}

void
testing_pipe(int fds[2])
{
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
}

struct loop *
testing_loop(void)
{
    struct loop *loop = NULL;
    (void)signal(SIGPIPE, SIG_IGN);
    CU_ASSERT_EQUAL_FATAL(loop_new(&loop, NULL), 0);
    return loop;
}

bool
testing_reap(int pid)
{
    int status = -1;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
