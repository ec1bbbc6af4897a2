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
#include <pwd.h>
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
#include "process/process.h"
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

static int
make_dir_of(const char *file, struct base_error *why)
{
    char dir[4096];
    const char *slash = strrchr(file, '/');
    if (slash == NULL || slash == file)
        return 0;
    snprintf(dir, sizeof dir, "%.*s", (int)(slash - file), file);
    return launch_make_dir(dir, why);
}

/* The parent waits for the verdict, so that its exit status tells whether the node serves. */
static int
to_background(struct launch *l, struct base_error *why)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return base_error_sys(why, errno, "pipe2", "for the start in the background");
    pid_t pid = fork();
    if (pid < 0)
        return base_error_sys(why, errno, "fork", "into the background");
    if (pid > 0) {
        (void)close(fds[1]);
        char text[1024];
        size_t have = 0;
        for (ssize_t n; have < sizeof text - 1 && (n = read(fds[0], text + have, sizeof text - 1 - have)) != 0;) {
            if (n < 0 && errno != EINTR)
                break;
            have += n > 0 ? (size_t)n : 0;
        }
        text[have] = '\0';
        if (strcmp(text, "ready\n") == 0)
            _exit(0);
        fprintf(stderr, "noexd: %s\n", have > 0 ? text : "the master ended before it was ready; its log tells why");
        _exit(1);
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
    (void)close(null);
    return 0;
}

static void
raise_limits(const struct conf *conf)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    uint64_t pairs = (uint64_t)(conf->workers + 2) * (conf->workers + 1);
    uint64_t want = 2 * pairs + 8192;
    if (r.rlim_max != RLIM_INFINITY && r.rlim_max < want && geteuid() == 0)
        r.rlim_max = want;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 || (r.rlim_cur != RLIM_INFINITY && r.rlim_cur < want))
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

static int
user_check(const struct conf *conf, struct base_error *why)
{
    if (conf->user == NULL) {
        if (geteuid() == 0)
            log_warn("master: workers run as root; name a user in %s", conf->file);
        return 0;
    }
    if (getpwnam(conf->user) == NULL)
        return base_error_set(why, NX_EINVAL, conf->user, "%s: user \"%s\" does not exist", conf->file, conf->user);
    return 0;
}

int
launch_open(const struct conf *conf, struct launch *l, struct base_error *why)
{
    *l = (struct launch){ .conf = conf, .pid_fd = -1, .ready_fd = -1, .link_listen_fd = -1, .gate_listen_fd = -1 };
    int err = 0;
    log_set_level(conf->log_level);
    if (strcmp(conf->log_file, "stderr") != 0 && (err = make_dir_of(conf->log_file, why)) != 0)
        return err;
    if ((err = log_open(conf->log_file, why)) != 0 || (err = make_dir_of(conf->pid_file, why)) != 0)
        return err;
    if (conf->daemon && (err = to_background(l, why)) != 0)
        return err;
    if ((err = pid_file_open(conf->pid_file, &l->pid_fd, why)) != 0 || (err = user_check(conf, why)) != 0)
        return err;
    raise_limits(conf);
    if ((err = random_u64(&l->incarnation)) != 0)
        return base_error_set(why, err, NULL, "the kernel gives no random bytes");
    if ((err = secrets_load(conf, &l->secrets, why)) != 0)
        return err;
    if (conf->listen_host != NULL && (err = listen_tcp(conf->listen_host, conf->listen_port, &l->link_listen_fd, why)) != 0)
        return err;
    if (conf->control_path != NULL && ((err = make_dir_of(conf->control_path, why)) != 0 ||
                                       (err = listen_unix(conf->control_path, conf->control_mode, &l->gate_listen_fd, why)) != 0))
        return err;
    if ((err = launch_make_dir(conf->modules_state_dir, why)) != 0 || (err = staging_run(conf, conf->modules_state_dir, &l->staging, why)) != 0)
        return err;
    struct shm_config shm = { .workers = conf->workers, .registry_capacity = conf->registry_capacity, .nodes_max = conf->nodes_max, .behaviors_max = 1024 };
    if ((err = shm_create(&shm, &l->shm, why)) != 0)
        return err;
    return first_content(l, why);
}

void
launch_close(struct launch *l)
{
    if (l->gate_listen_fd >= 0)
        (void)close(l->gate_listen_fd);
    if (l->shm != NULL && l->conf->control_path != NULL)      /* ours: it was bound before the shared memory was made */
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
}

void
launch_tell_ready(struct launch *l, const char *failure)
{
    if (l->ready_fd >= 0) {
        if (failure == NULL)
            (void)!write(l->ready_fd, "ready\n", 6);
        else
            (void)!write(l->ready_fd, failure, strlen(failure));
        (void)close(l->ready_fd);
        l->ready_fd = -1;
    } else if (failure != NULL && strcmp(l->conf->log_file, "stderr") != 0) {
        fprintf(stderr, "noexd: %s\n", failure);
    }
}
