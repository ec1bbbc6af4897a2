/*
 * staging.c - runs the stager and the validator and reads their verdicts.
 *
 * Lives here: starting a throwaway process of this same program with one pipe, its deadline, the lines it writes.
 * Never here: dlopen, the operator's module files.
 * Runs in: the master, `noexd -t`.
 */
#include "process/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "process/process.h"

enum { STAGING_OUTPUT_MAX = 1 << 20, STAGING_BASE_MS = 10000, STAGING_MODULE_MS = 5000 };

struct throwaway { pid_t pid; int fd; };

static int
throwaway_start(char **argv, struct throwaway *out, struct base_error *why)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return base_error_sys(why, errno, "pipe2", "for the stager");
    pid_t pid = fork();
    if (pid < 0) {
        int e = errno;
        (void)close(fds[0]), (void)close(fds[1]);
        return base_error_sys(why, e, "fork", "the stager");
    }
    if (pid == 0) {
        /* Verdict on descriptor 3, nothing else open: a constructor that prints cannot write into it by accident. */
        int null = open("/dev/null", O_RDWR);
        if (fds[1] != 3 && dup2(fds[1], 3) < 0)
            _exit(127);
        if (fds[1] == 3 && fcntl(3, F_SETFD, 0) != 0)
            _exit(127);
        if (null < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0 || close_range(4, ~0U, 0) != 0)
            _exit(127);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        (void)setsid();
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    (void)close(fds[1]);
    *out = (struct throwaway){ .pid = pid, .fd = fds[0] };
    return 0;
}

/* Everything it writes until it ends, or its deadline. The verdict is what it wrote; its exit status alone proves nothing. */
static int
throwaway_wait(struct throwaway *t, int64_t limit_ms, const char *what, struct buf *out, int *wait_status, struct base_error *why)
{
    uint64_t deadline = clock_deadline(clock_now_ns(), limit_ms);
    int err = 0;
    for (;;) {
        uint64_t now = clock_now_ns();
        if (now >= deadline) {
            err = base_error_set(why, NX_ETIMEDOUT, what, "the %s gave no verdict within %" PRId64 " ms", what, limit_ms);
            break;
        }
        struct pollfd p = { .fd = t->fd, .events = POLLIN };
        int n = poll(&p, 1, (int)((deadline - now) / CLOCK_NS_PER_MS) + 1);
        if (n < 0 && errno != EINTR) {
            err = base_error_sys(why, errno, "poll", what);
            break;
        }
        if (n <= 0)
            continue;
        uint8_t *room;
        if ((err = buf_reserve(out, 4096, &room)) != 0) {
            (void)base_error_set(why, err, what, "the %s wrote more than %d bytes", what, STAGING_OUTPUT_MAX);
            break;
        }
        ssize_t got = read(t->fd, room, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err = base_error_sys(why, errno, "read", what);
            break;
        }
        if (got == 0)
            break;
        buf_commit(out, (size_t)got);
    }
    /* Its whole session: a constructor may have forked. */
    (void)kill(-t->pid, SIGKILL);
    (void)kill(t->pid, err != 0 ? SIGKILL : 0);
    (void)close(t->fd);
    while (waitpid(t->pid, wait_status, 0) < 0 && errno == EINTR)
        ;
    return err;
}

static int
parse_hash(const char *hex, uint8_t out[static MODULE_HASH])
{
    for (size_t i = 0; i < MODULE_HASH; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return NX_EBADMSG;
        out[i] = (uint8_t)byte;
    }
    return 0;
}

/* One line of the stager or the validator into s. Returns 1 at the line that proves the end, 0 to go on, an error. */
static int
read_line(struct staging *s, char *line, const char *nonce, size_t *last, struct base_error *why)
{
    char word[16] = "", *rest = NULL;
    size_t index = 0;
    int at = 0;
    if (strncmp(line, "done ", 5) == 0)
        return strcmp(line + 5, nonce) == 0 ? 1 : base_error_set(why, NX_EBADMSG, NULL, "a module answered in the place of its validator");
    if (sscanf(line, "%15s %zu %n", word, &index, &at) < 2 || index >= s->count)
        return base_error_set(why, NX_EBADMSG, NULL, "unexpected line from the stager or validator: %.100s", line);
    rest = line + at;
    struct staging_module *m = &s->modules[index];
    *last = index;
    if (strcmp(word, "begin") == 0)
        return 0;
    if (strcmp(word, "refused") == 0)
        return base_error_set(why, NX_EINVAL, m->name, "module \"%s\": %s", m->name, rest);
    if (strcmp(word, "staged") == 0) {
        int is_new = 0;
        if (strlen(rest) < 2 * MODULE_HASH + 4 || parse_hash(rest, m->staged.hash) != 0 || sscanf(rest + 2 * MODULE_HASH, " %d %n", &is_new, &at) != 1)
            return base_error_set(why, NX_EBADMSG, m->name, "unexpected verdict of the stager for %s", m->name);
        m->staged.is_new = is_new != 0;
        snprintf(m->staged.path, sizeof m->staged.path, "%s", rest + 2 * MODULE_HASH + at);
        return 0;
    }
    if (strcmp(word, "behavior") == 0 && m->info.count < MODULE_BEHAVIORS_MAX) {
        struct module_behavior_info *b = &m->info.behaviors[m->info.count];
        if (sscanf(rest, "%" SCNu32 " %128s", &b->version, b->name) != 2)
            return base_error_set(why, NX_EBADMSG, m->name, "unexpected verdict of the validator for %s", m->name);
        m->info.count++;
        return 0;
    }
    return base_error_set(why, NX_EBADMSG, m->name, "unexpected line from the stager or validator: %.100s", line);
}

/* Run one of the two and read all its lines. */
static int
run(struct staging *s, const char *what, char **argv, const char *nonce, struct base_error *why)
{
    struct throwaway t;
    int err = throwaway_start(argv, &t, why);
    if (err != 0)
        return err;
    struct buf out;
    buf_init(&out, STAGING_OUTPUT_MAX);
    int status = 0;
    size_t last = SIZE_MAX;
    err = throwaway_wait(&t, STAGING_BASE_MS + STAGING_MODULE_MS * (int64_t)s->count, what, &out, &status, why);
    char *text = (char *)(uintptr_t)buf_cstr(&out);
    bool is_done = false;
    struct base_error line_why = { 0 };
    for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL; line != NULL && !is_done; line = strtok_r(NULL, "\n", &save)) {
        int got = read_line(s, line, nonce, &last, &line_why);
        if (got < 0) {                                   /* its own word beats a deadline or a signal */
            err = got;
            if (why != NULL)
                *why = line_why;
            buf_fini(&out);
            return err;
        }
        is_done = got == 1;
    }
    buf_fini(&out);
    const char *name = last < s->count ? s->modules[last].name : "";
    const char *file = last < s->count ? s->modules[last].file : "";
    if (err != 0)
        return last < s->count ? base_error_set(why, err, name, "module \"%s\" (%s): the %s gave no verdict in time", name, file, what) : err;
    if (is_done)
        return 0;
    if (WIFSIGNALED(status))
        return base_error_set(why, NX_EINVAL, name, "module \"%s\" (%s) ended the %s by signal %d (%s) while it was loaded", name, file, what,
                              WTERMSIG(status), strsignal(WTERMSIG(status)));
    return base_error_set(why, NX_EINVAL, name, "module \"%s\" (%s): the %s ended without a verdict (exit status %d)", name, file, what,
                          WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int
check_behaviors_once(const struct staging *s, struct base_error *why)
{
    for (size_t i = 0; i < s->count; i++)
        for (size_t b = 0; b < s->modules[i].info.count; b++)
            for (size_t j = 0; j < i; j++)
                for (size_t c = 0; c < s->modules[j].info.count; c++)
                    if (strcmp(s->modules[i].info.behaviors[b].name, s->modules[j].info.behaviors[c].name) == 0)
                        return base_error_set(why, NX_EINVAL, s->modules[i].name, "module \"%s\": behavior \"%s\" is already defined by module \"%s\"",
                                              s->modules[i].name, s->modules[i].info.behaviors[b].name, s->modules[j].name);
    return 0;
}

int
staging_run(const struct conf *conf, const char *dir, struct staging **out, struct base_error *why)
{
    struct staging *s = calloc(1, sizeof *s);
    char **argv = calloc(conf->module_count + 6, sizeof *argv);
    if (s == NULL || argv == NULL || (conf->module_count > 0 && (s->modules = calloc(conf->module_count, sizeof *s->modules)) == NULL)) {
        free(s), free(argv);
        return base_error_set(why, NX_ENOMEM, NULL, "out of memory for %zu modules", conf->module_count);
    }
    s->count = conf->module_count;
    for (size_t i = 0; i < s->count; i++)
        s->modules[i] = (struct staging_module){ .name = conf->modules[i].name, .file = conf->modules[i].file };

    uint64_t random[2];
    char nonce[33], uid[16];
    int err = random_bytes(random, sizeof random);
    if (err != 0)
        (void)base_error_set(why, err, NULL, "no random bytes from the kernel");
    snprintf(nonce, sizeof nonce, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    snprintf(uid, sizeof uid, "%u", (unsigned)geteuid());

    if (err == 0 && s->count > 0) {
        size_t n = 0;
        argv[n++] = (char *)(uintptr_t)"noexd: stager";
        argv[n++] = (char *)(uintptr_t)PROCESS_STAGER_WORD;
        argv[n++] = nonce;
        argv[n++] = (char *)(uintptr_t)dir;
        argv[n++] = uid;
        for (size_t i = 0; i < s->count; i++)
            argv[n++] = (char *)(uintptr_t)s->modules[i].file;
        argv[n] = NULL;
        err = run(s, "stager", argv, nonce, why);
    }
    if (err == 0 && s->count > 0) {
        size_t n = 0;
        argv[n++] = (char *)(uintptr_t)"noexd: validator";
        argv[n++] = (char *)(uintptr_t)PROCESS_VALIDATOR_WORD;
        argv[n++] = nonce;
        for (size_t i = 0; i < s->count; i++)
            argv[n++] = s->modules[i].staged.path;
        argv[n] = NULL;
        err = run(s, "validator", argv, nonce, why);
    }
    if (err == 0)
        err = check_behaviors_once(s, why);
    free(argv);
    if (err != 0) {
        staging_free(&s);
        return err;
    }
    *out = s;
    return 0;
}

void
staging_free(struct staging **s)
{
    if (*s == NULL)
        return;
    free((*s)->modules);
    free(*s);
    *s = NULL;
}
