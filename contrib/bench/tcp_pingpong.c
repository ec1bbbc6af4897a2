/*
 * tcp_pingpong.c - the baseline: one byte string back and forth over TCP on loopback, two processes, epoll on both sides.
 *
 * Usage: tcp_pingpong COUNT BYTES [CPU CPU]     prints {"count":..,"p50Ns":..,"p99Ns":..,"minNs":..,"meanNs":..}
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
pin(const char *cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)atoi(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        die("sched_setaffinity");
}

/* Wait by epoll until `len` bytes have come, as an event loop would. */
static int
receive(int ep, int fd, char *buf, size_t len)
{
    for (size_t have = 0; have < len;) {
        struct epoll_event e;
        if (epoll_wait(ep, &e, 1, -1) < 0 && errno != EINTR)
            die("epoll_wait");
        ssize_t n = recv(fd, buf + have, len - have, MSG_DONTWAIT);
        if (n == 0)
            return -1;
        if (n > 0)
            have += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            die("recv");
    }
    return 0;
}

static int
watch(int fd)
{
    int one = 1, ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = { .events = EPOLLIN };
    if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) != 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        die("epoll");
    return ep;
}

static int
compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int
main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000, bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
    if (count < 1 || count > 10000000 || bytes < 1 || bytes > 1 << 20) {
        fprintf(stderr, "usage: tcp_pingpong COUNT BYTES [CPU CPU]\n");
        return 2;
    }
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l < 0 || bind(l, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(l, 1) != 0 || getsockname(l, (struct sockaddr *)&addr, &len) != 0)
        die("listen");
    char *buf = calloc(1, bytes);
    uint64_t *ns = malloc(count * sizeof *ns), sum = 0;
    if (buf == NULL || ns == NULL)
        die("malloc");
    pid_t pid = fork();
    if (pid == 0) {
        if (argc > 4)
            pin(argv[4]);
        int fd = accept(l, NULL, NULL);
        if (fd < 0)
            die("accept");
        for (int ep = watch(fd); receive(ep, fd, buf, bytes) == 0;)
            if (send(fd, buf, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
                die("send");
        return 0;
    }
    if (argc > 4)
        pin(argv[3]);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        die("connect");
    int ep = watch(fd);
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now_ns();
        if (send(fd, buf, bytes, MSG_NOSIGNAL) != (ssize_t)bytes || receive(ep, fd, buf, bytes) != 0)
            die("ping");
        sum += ns[i] = now_ns() - start;
    }
    (void)close(fd);
    (void)waitpid(pid, NULL, 0);
    qsort(ns, count, sizeof *ns, compare);
    printf("{\"count\":%zu,\"p50Ns\":%llu,\"p99Ns\":%llu,\"minNs\":%llu,\"meanNs\":%llu}\n", count, (unsigned long long)ns[count / 2],
           (unsigned long long)ns[count - 1 - count / 100], (unsigned long long)ns[0], (unsigned long long)(sum / count));
    return 0;
}
