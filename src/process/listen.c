/*
 * listen.c - listening sockets, and who holds a port that is busy.
 *
 * Lives here: bind and listen; a walk of /proc for the holder of a port.
 * Never here: accept; a byte from a peer.
 * Runs in: the master.
 */
#include "process/listen.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The processes of a master that was killed are on their way out: an address of theirs is waited for that long. */
enum { LISTEN_BACKLOG = 512, ENDING_MS = 1000, ENDING_STEP_MS = 20 };

/* An address as /proc/net writes it: its 32-bit words as this machine reads them. */
static void
proc_address(const struct sockaddr *at, char out[static 33])
{
    uint32_t words[4] = { 0 };
    size_t n = at->sa_family == AF_INET6 ? 4 : 1;
    if (n == 4)
        memcpy(words, &((const struct sockaddr_in6 *)(const void *)at)->sin6_addr, sizeof words);
    else
        memcpy(words, &((const struct sockaddr_in *)(const void *)at)->sin_addr, sizeof words[0]);
    for (size_t i = 0; i < n; i++)
        snprintf(out + 8 * i, 9, "%08X", words[i]);
}

static bool
is_wildcard(const char *address)
{
    return strspn(address, "0") == strlen(address);
}

/* The inode of the socket that is in the way of this address: it listens on the port, on the same address or where one of the two is a wildcard. 0 = none.
 * State 0A is LISTEN. A wildcard of IPv6 may hold the port of IPv4 too. */
static unsigned long
inode_of(const char *table, const char *address, uint16_t port)
{
    FILE *f = fopen(table, "re");
    if (f == NULL)
        return 0;
    char line[512], local[33];
    unsigned long found = 0;
    while (found == 0 && fgets(line, sizeof line, f) != NULL) {
        unsigned its_port = 0, state = 0;
        unsigned long inode = 0;
        if (sscanf(line, " %*d: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*d %*d %lu", local, &its_port, &state, &inode) == 4 &&
            its_port == port && state == 0x0A && (strcmp(local, address) == 0 || is_wildcard(local) || is_wildcard(address)))
            found = inode;
    }
    (void)fclose(f);
    return found;
}

static bool
process_has_socket(const char *pid, unsigned long inode)
{
    char path[300], target[64], want[64];
    snprintf(want, sizeof want, "socket:[%lu]", inode);
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e = d ? readdir(d) : NULL; e != NULL && !found; e = readdir(d)) {
        snprintf(path, sizeof path, "/proc/%.20s/fd/%.20s", pid, e->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0) {
            target[n] = '\0';
            found = strcmp(target, want) == 0;
        }
    }
    if (d != NULL)
        (void)closedir(d);
    return found;
}

/* " (held by process 123, epmd)" or "". */
static void
port_holder(const struct sockaddr *at, uint16_t port, char *out, size_t size)
{
    char address[33];
    out[0] = '\0';
    proc_address(at, address);
    unsigned long inode = inode_of(at->sa_family == AF_INET6 ? "/proc/net/tcp6" : "/proc/net/tcp", address, port);
    if (inode == 0)
        inode = inode_of(at->sa_family == AF_INET6 ? "/proc/net/tcp" : "/proc/net/tcp6", address, port);
    DIR *proc = inode != 0 ? opendir("/proc") : NULL;
    for (struct dirent *e = proc ? readdir(proc) : NULL; e != NULL; e = readdir(proc)) {
        if (!isdigit((unsigned char)e->d_name[0]) || !process_has_socket(e->d_name, inode))
            continue;
        char path[64], comm[64] = "";
        snprintf(path, sizeof path, "/proc/%.20s/comm", e->d_name);
        FILE *f = fopen(path, "re");
        if (f != NULL) {
            if (fgets(comm, sizeof comm, f) != NULL)
                comm[strcspn(comm, "\n")] = '\0';
            (void)fclose(f);
        }
        snprintf(out, size, " (held by process %.20s, %.60s)", e->d_name, comm);
        break;
    }
    if (proc != NULL)
        (void)closedir(proc);
}

static int
bind_and_listen(const struct addrinfo *at, int *fd)
{
    int f = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (f < 0)
        return errno;
    if (setsockopt(f, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        (at->ai_family == AF_INET6 && setsockopt(f, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0) ||
        bind(f, at->ai_addr, at->ai_addrlen) != 0 || listen(f, LISTEN_BACKLOG) != 0) {
        int e = errno;
        (void)close(f);
        return e;
    }
    *fd = f;
    return 0;
}

int
listen_tcp(const char *host, uint16_t port, int *fd, struct base_error *why)
{
    char service[8], where[300], holder[128] = "";
    snprintf(service, sizeof service, "%u", (unsigned)port);
    snprintf(where, sizeof where, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list = NULL;
    int r = getaddrinfo(host, service, &hints, &list);
    if (r != 0)
        return base_error_set(why, NX_EINVAL, where, "listen %s: the host does not resolve: %s", where, gai_strerror(r));
    int e = bind_and_listen(list, fd);
    for (int waited = 0; e == EADDRINUSE && waited < ENDING_MS; waited += ENDING_STEP_MS) {
        (void)poll(NULL, 0, ENDING_STEP_MS);
        e = bind_and_listen(list, fd);
    }
    if (e == EADDRINUSE)
        port_holder(list->ai_addr, port, holder, sizeof holder);
    freeaddrinfo(list);
    if (e == EADDRINUSE)
        return base_error_set(why, NX_ESYS, where, "listen %s: the port is in use%s; choose another port in node { listen } or end that process", where, holder);
    return e == 0 ? 0 : base_error_sys(why, e, "listen", where);
}

/* Does somebody answer on the socket? A process that is ending may, for a moment. */
static bool
is_answered(const struct sockaddr_un *addr)
{
    for (int waited = 0;; waited += ENDING_STEP_MS) {
        int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (probe < 0)
            return true;
        bool is_stale = connect(probe, (const struct sockaddr *)addr, sizeof *addr) != 0 && (errno == ECONNREFUSED || errno == ENOENT);
        (void)close(probe);
        if (is_stale || waited >= ENDING_MS)
            return !is_stale;
        (void)poll(NULL, 0, ENDING_STEP_MS);
    }
}

int
listen_unix(const char *path, uint32_t mode, int *fd, struct base_error *why)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof addr.sun_path)
        return base_error_set(why, NX_EINVAL, path, "control socket %s: the path is longer than %zu bytes; choose a shorter prefix or name", path, sizeof addr.sun_path - 1);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    int f = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f < 0)
        return base_error_sys(why, errno, "socket", path);
    struct stat st;
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || is_answered(&addr)) {
            (void)close(f);
            return base_error_set(why, NX_ECONFLICT, path, "control socket %s: %s", path,
                                  S_ISSOCK(st.st_mode) ? "another process answers on it; stop it or choose another path" : "a file that is no socket is in the way");
        }
        (void)unlink(path);
    }
    mode_t old = umask((mode_t)(0777 & ~mode));      /* never wider than asked for, not even for a moment */
    int e = bind(f, (struct sockaddr *)&addr, sizeof addr) != 0 ? errno : 0;
    (void)umask(old);
    if (e == 0 && listen(f, LISTEN_BACKLOG) != 0) {
        e = errno;
        (void)unlink(path);
    }
    if (e != 0) {
        (void)close(f);
        return base_error_sys(why, e, "listen on control socket", path);
    }
    *fd = f;
    return 0;
}
