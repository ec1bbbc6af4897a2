/*
 * launch.c - from a read configuration to a master that may fork.
 *
 * Lives here: directories, the background, the pid file, limits, secrets, listeners, staging, shared memory and its first content.
 * Never here: forking the children; network bytes; module code.
 * Runs in: the master.
 */
#include "process/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "process/listen.h"
#include "process/pid_file.h"
#include "process/privileges.h"
#include "process/signals.h"
#include "shm/behaviors.h"
#include "shm/board.h"
#include "shm/nodes.h"

int
launch_make_dir(const char *path, struct base_error *why)
{
    char part[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return base_error_set(why, NX_EINVAL, path, "directory path of %zu bytes: at most %zu", len, sizeof part - 1);
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return base_error_sys(why, errno, "make directory", part);
        part[i] = kept;
    }
    return 0;
}

int
launch_check_private(const char *path, struct base_error *why)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return base_error_sys(why, errno, "stat", path);
    if (!S_ISDIR(st.st_mode))
        return base_error_set(why, NX_EINVAL, path, "%s is not a directory", path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return base_error_set(why, NX_EINVAL, path, "%s belongs to user %u, who could replace the modules in it; chown it to user %u", path, (unsigned)st.st_uid,
                              (unsigned)geteuid());
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return base_error_set(why, NX_EINVAL, path, "%s has mode %04o: others could replace the modules in it; chmod go-w it", path, (unsigned)(st.st_mode & 07777));
    return 0;
}

static int
make_dir_of(const char *file, struct base_error *why)
{
    char dir[4096];
    const char *slash = strrchr(file, '/');
    if (slash == NULL || slash == file)
        return 0;
    size_t len = (size_t)(slash - file);
    if (len >= sizeof dir)
        return base_error_set(why, NX_EINVAL, file, "path of %zu bytes: at most %zu", strlen(file), sizeof dir - 1);
    memcpy(dir, file, len);
    dir[len] = '\0';
    return launch_make_dir(dir, why);
}

/* In the process that the operator has started. Its exit status. */
static int
wait_for_verdict(int fd)
{
    char text[1024];
    size_t have = 0;
    for (ssize_t n; have < sizeof text - 1 && (n = read(fd, text + have, sizeof text - 1 - have)) != 0;) {
        if (n < 0 && errno != EINTR)
            break;
        have += n > 0 ? (size_t)n : 0;
    }
    text[have] = '\0';
    if (strcmp(text, "ready\n") == 0)
        return 0;
    fprintf(stderr, "noexd: %s\n", have > 0 ? text : "the master ended before it was ready; its log tells why");
    return 1;
}

/* The parent waits for the verdict, so that its exit status tells whether the node serves. */
static int
to_background(struct launch *l, struct base_error *why)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return base_error_sys(why, errno, "pipe2", "for the start in the background");
    pid_t pid = fork();
    if (pid < 0) {
        int e = errno;
        (void)close(fds[0]), (void)close(fds[1]);
        return base_error_sys(why, e, "fork", "into the background");
    }
    if (pid > 0) {
        (void)close(fds[1]);
        _exit(wait_for_verdict(fds[0]));
    }
    (void)close(fds[0]);
    l->ready_fd = fds[1];
    (void)setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        return base_error_sys(why, errno, "open", "/dev/null");
    /* stderr only where the log is not there: after a background start nobody reads it. */
    if (strcmp(l->conf->log_file, "stderr") != 0 && dup2(null, 2) < 0)
        return base_error_sys(why, errno, "dup2", "/dev/null");
    (void)close(null);                   /* above 2: those are always taken (begin.c) */
    return 0;
}

/* As many open files as we may have, and at least what the pipes of all processes need while they are made. */
static void
raise_limits(const struct conf *conf)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    rlim_t pairs = (rlim_t)(conf->workers + 2) * (conf->workers + 1), want = 2 * pairs + 8192;
    struct rlimit more = { .rlim_cur = want, .rlim_max = want };
    if (r.rlim_max < want && setrlimit(RLIMIT_NOFILE, &more) == 0)
        return;                                           /* root may */
    more = (struct rlimit){ .rlim_cur = r.rlim_max, .rlim_max = r.rlim_max };
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        r = more;
    if (r.rlim_cur < want)
        log_warn("master: the limit of open files is low limit=%llu wanted=%llu", (unsigned long long)r.rlim_cur, (unsigned long long)want);
}

static int
first_content(struct launch *l, struct base_error *why)
{
    const struct conf *conf = l->conf;
    board_set_node(shm_board(l->shm), l->incarnation, clock_wall_ms());
    uint32_t index;
    int err = nodes_add(shm_nodes(l->shm), &conf->node, &index);
    if (err != 0 || index != 0)
        return base_error_set(why, err ? err : NX_EFULL, conf->node.text, "node table: this node could not be entered");
    struct nodes_entry self = { .id = conf->node, .state = NODES_UP, .incarnation = l->incarnation, .up_since_ms = clock_wall_ms(), .last_heartbeat_ms = clock_wall_ms() };
    nodes_put(shm_nodes(l->shm), 0, &self);
    for (size_t i = 0; i < l->staging->count; i++) {
        const struct staging_module *m = &l->staging->modules[i];
        for (size_t b = 0; b < m->info.count; b++) {
            struct behaviors_entry e = { .version = m->info.behaviors[b].version, .generation = 1, .is_present = true };
            snprintf(e.name, sizeof e.name, "%s", m->info.behaviors[b].name);
            snprintf(e.file, sizeof e.file, "%s", m->file);
            memcpy(e.hash, m->staged.hash, sizeof e.hash);
            if ((err = behaviors_put(shm_behaviors(l->shm), &e, &index)) != 0)
                return base_error_set(why, err, e.name, "behavior table: %s: %s", e.name, nx_strerror(err));
        }
    }
    return 0;
}

/* The copies of this node's modules: a directory of its own, since what it does not need any more is removed from it. */
static int
stage_modules(struct launch *l, struct base_error *why)
{
    const struct conf *conf = l->conf;
    char dir[4096];
    int len = snprintf(dir, sizeof dir, "%s/%s", conf->modules_state_dir, conf->node.text);
    if (len < 0 || (size_t)len >= sizeof dir)
        return base_error_set(why, NX_EINVAL, conf->modules_state_dir, "modules_state_dir: the path is too long");
    int err = launch_make_dir(dir, why);
    if (err == 0)
        err = launch_check_private(conf->modules_state_dir, why);
    if (err == 0)
        err = launch_check_private(dir, why);
    return err == 0 ? staging_run(conf, dir, l->signal_fd, &l->staging, why) : err;
}

static int
open_listeners(struct launch *l, struct base_error *why)
{
    const struct conf *conf = l->conf;
    int err = conf->listen_host != NULL ? listen_tcp(conf->listen_host, conf->listen_port, &l->link_listen_fd, why) : 0;
    if (err != 0 || conf->control_path == NULL)
        return err;
    if ((err = make_dir_of(conf->control_path, why)) != 0 || (err = listen_unix(conf->control_path, conf->control_mode, &l->gate_listen_fd, why)) != 0)
        return err;
    l->has_control = true;
    return 0;
}

int
launch_open(const struct conf *conf, struct launch *l, struct base_error *why)
{
    *l = (struct launch){ .conf = conf, .pid_fd = -1, .ready_fd = -1, .signal_fd = -1, .link_listen_fd = -1, .gate_listen_fd = -1 };
    int err = 0;
    /* What a shell or a test had open would stay so for the life of the node: a pipe that somebody waits to see closed, a lock, a disk. */
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    log_set_level(conf->log_level);
    if (strcmp(conf->log_file, "stderr") != 0 && (err = make_dir_of(conf->log_file, why)) != 0)
        return err;
    if ((err = log_open(conf->log_file, why)) != 0 || (err = make_dir_of(conf->pid_file, why)) != 0)
        return err;
    if (conf->daemon && (err = to_background(l, why)) != 0)
        return err;
    if ((err = signals_open(&l->signal_fd, why)) != 0)
        return err;
    if ((err = pid_file_open(conf->pid_file, &l->pid_fd, why)) != 0 || (err = privileges_check(conf, why)) != 0)
        return err;
    privileges_warn(conf);
    raise_limits(conf);
    if ((err = random_u64(&l->incarnation)) != 0)
        return base_error_set(why, err, NULL, "the kernel gives no random bytes");
    if ((err = secrets_load(conf, &l->secrets, why)) != 0 || (err = open_listeners(l, why)) != 0 || (err = stage_modules(l, why)) != 0)
        return err;
    struct shm_config shm = { .workers = conf->workers, .registry_capacity = conf->registry_capacity, .nodes_max = conf->nodes_max, .behaviors_max = SHM_BEHAVIORS_MAX };
    if ((err = shm_create(&shm, &l->shm, why)) != 0)
        return err;
    return first_content(l, why);
}

void
launch_close(struct launch *l)
{
    if (l->gate_listen_fd >= 0)
        (void)close(l->gate_listen_fd);
    if (l->has_control)
        (void)unlink(l->conf->control_path);
    if (l->link_listen_fd >= 0)
        (void)close(l->link_listen_fd);
    shm_destroy(&l->shm);
    staging_free(&l->staging);
    secrets_free(&l->secrets);
    if (l->pid_fd >= 0)
        pid_file_remove(l->conf->pid_file, l->pid_fd);
    if (l->ready_fd >= 0)
        (void)close(l->ready_fd);
    if (l->signal_fd >= 0)
        (void)close(l->signal_fd);
}

/* Standard error may be a pipe that nobody empties: what it does not take now is not said. */
static void
complain(const char *text)
{
    char line[BASE_ERROR_TEXT + 16];
    int len = snprintf(line, sizeof line, "noexd: %s\n", text);
    struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
    if (len > 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0)
        (void)!write(STDERR_FILENO, line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1);
}

void
launch_tell_ready(struct launch *l, const char *failure)
{
    if (l->is_told)
        return;
    l->is_told = true;
    if (l->ready_fd >= 0) {
        const char *text = failure != NULL ? failure : "ready\n";      /* an empty pipe has room for it; if the parent is gone, nobody asks */
        (void)!write(l->ready_fd, text, strlen(text));
        (void)close(l->ready_fd);
        l->ready_fd = -1;
    } else if (failure != NULL && strcmp(l->conf->log_file, "stderr") != 0) {
        complain(failure);
    }
}
