/*
 * bench.c - the load of the benchmarks: a GenServer that calls others and measures each round trip.
 *
 * Lives here: behaviors "bench_echo" (answers with what it got) and "bench_caller".
 *   bench_caller calls: {type: "roundtrip", target: ref or global name, count, bytes?} -> {count, p50Ns, p99Ns, minNs, meanNs}
 * Never here: the baselines (tcp_pingpong.c).
 */
#include <noex/noex.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNT_MAX = 1000000, BYTES_MAX = 900000, YIELD_MS = 30000 };

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int
compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int
init(nx_self *self, nx_value args, void **state)
{
    (void)self, (void)args;
    *state = NULL;
    return 0;
}

static int
cast(nx_self *self, void *state, nx_value msg)
{
    (void)self, (void)state, (void)msg;
    return 0;
}

static int
echo_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    (void)self, (void)state;
    return nx_pack(reply, "v", msg);
}

static int
roundtrip(nx_self *self, nx_ref to, int64_t count, int64_t bytes, nx_packer *reply)
{
    uint64_t *ns = malloc((size_t)count * sizeof *ns), sum = 0;
    char *body = calloc(1, (size_t)bytes + 1);
    int err = ns != NULL && body != NULL ? 0 : NX_ENOMEM;
    nx_value msg = bytes > 0 && err == 0 ? nx_make(self, "y", body, (size_t)bytes) : nx_make(self, "{s:s}", "type", "get");
    for (int64_t i = 0; i < count && err == 0; i++) {
        uint64_t start = now_ns();
        err = nx_call(self, to, msg, YIELD_MS, NULL);
        ns[i] = now_ns() - start;
        sum += ns[i];
    }
    if (err == 0) {
        qsort(ns, (size_t)count, sizeof *ns, compare);
        err = nx_pack(reply, "{s:I,s:u,s:u,s:u,s:u}", "count", count, "p50Ns", ns[count / 2], "p99Ns", ns[count - 1 - count / 100], "minNs", ns[0], "meanNs",
                      sum / (uint64_t)count);
    }
    free(ns);
    free(body);
    return err;
}

static int
caller_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    const char *type = NULL, *name = NULL;
    int64_t count = 10000, bytes = 0;
    nx_ref to;
    (void)state;
    int err = nx_unpack(msg, "{s:s,s?I,s?I}", "type", &type, "count", &count, "bytes", &bytes);
    if (err != 0)
        return err;
    if (strcmp(type, "roundtrip") != 0 || count < 1 || count > COUNT_MAX || bytes < 0 || bytes > BYTES_MAX)
        return nx_fail(self, 1, "bench: use {type: \"roundtrip\", target, count: 1-%d, bytes: 0-%d}", COUNT_MAX, BYTES_MAX);
    if (nx_unpack(msg, "{s:r}", "target", &to) != 0 &&
        ((err = nx_unpack(msg, "{s:s}", "target", &name)) != 0 || (err = nx_lookup(self, 0, name, &to)) != 0))
        return err;
    return roundtrip(self, to, count, bytes, reply);
}

NX_MODULE(NX_BEHAVIOR("bench_echo", .version = 1, .init = init, .handle_call = echo_call, .handle_cast = cast),
          NX_BEHAVIOR("bench_caller", .version = 1, .init = init, .handle_call = caller_call, .handle_cast = cast));
