/*
 * staging.c - runs the stager and the validator and reads their verdicts.
 *
 * Lives here: their arguments, the lines they write, what all modules together must be.
 * Never here: dlopen, the operator's module files.
 * Runs in: the master, `noexd -t`.
 */
#include "process/staging.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/random.h"
#include "process/process.h"
#include "process/throwaway.h"

enum { STAGING_OUTPUT_MAX = 1 << 20, STAGING_BASE_MS = 10000, STAGING_MODULE_MS = 5000, NONCE_TEXT = 33 };

/* Which of the two is running: each has words of its own, so that a module's print cannot speak for the stager. */
enum job { JOB_STAGE, JOB_VALIDATE };
static const char *const job_names[] = { [JOB_STAGE] = "stager", [JOB_VALIDATE] = "validator" };

/* last: the module that was spoken of, count = none */
struct verdict { struct staging *staging; enum job job; size_t last; bool is_done; uint64_t began_ns; };

/* ---------------------------------------------------------------- lines */

/* Cut the next word off. NULL at the end. */
static char *
take_word(char **rest)
{
    return strsep(rest, " ");
}

static bool
take_number(char **rest, uint64_t max, uint64_t *out)
{
    const char *word = take_word(rest);
    if (word == NULL || word[0] < '0' || word[0] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(word, &end, 10);
    if (errno != 0 || *end != '\0' || n > max)
        return false;
    *out = n;
    return true;
}

static int
hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
take_hash(char **rest, uint8_t out[static MODULE_HASH])
{
    const char *word = take_word(rest);
    if (word == NULL || strlen(word) != 2 * MODULE_HASH)
        return false;
    for (size_t i = 0; i < MODULE_HASH; i++) {
        int high = hex_digit(word[2 * i]), low = hex_digit(word[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool
take_rest(char **rest, char *out, size_t size)
{
    size_t len = *rest != NULL ? strlen(*rest) : 0;
    if (len == 0 || len >= size)
        return false;
    memcpy(out, *rest, len + 1);
    return true;
}

/* `staged INDEX HASH NEW PATH` */
static bool
take_staged(char **rest, struct staging_module *m)
{
    uint64_t is_new;
    if (!take_hash(rest, m->staged.hash) || !take_number(rest, 1, &is_new) || !take_rest(rest, m->staged.path, sizeof m->staged.path))
        return false;
    m->staged.is_new = is_new != 0;
    return m->staged.path[0] == '/';
}

/* `behavior INDEX VERSION NAME` */
static bool
take_behavior(char **rest, struct staging_module *m)
{
    uint64_t version;
    if (m->info.count >= MODULE_BEHAVIORS_MAX)
        return false;
    struct module_behavior_info *b = &m->info.behaviors[m->info.count];
    if (!take_number(rest, UINT32_MAX, &version) || !take_rest(rest, b->name, sizeof b->name))
        return false;
    b->version = (uint32_t)version;
    m->info.count++;
    return true;
}

/* The reasons name the copy, which may be gone when somebody reads them: the file that the operator knows, in its place. */
static int
refuse(const struct staging_module *m, const char *reason, struct base_error *why)
{
    char text[BASE_ERROR_TEXT];
    const char *copy = m->staged.path, *at;
    size_t used = 0, copy_len = strlen(copy);
    while (copy_len > 0 && used < sizeof text && (at = strstr(reason, copy)) != NULL) {
        int n = snprintf(text + used, sizeof text - used, "%.*s%s", (int)(at - reason), reason, m->file);
        used += n > 0 ? (size_t)n : 0;
        reason = at + copy_len;
    }
    if (used < sizeof text)
        snprintf(text + used, sizeof text - used, "%s", reason);
    return base_error_set(why, NX_EINVAL, m->name, "module \"%s\": %s", m->name, text);
}

/* One line, taken apart in place. */
static int
take_line(struct verdict *v, char *line, const char *nonce, struct base_error *why)
{
    char *rest = line;
    const char *word = take_word(&rest);
    uint64_t index;
    if (strcmp(word, "done") == 0) {
        if (rest == NULL || strcmp(rest, nonce) != 0)
            return base_error_set(why, NX_EBADMSG, NULL, "a module answered in the place of its %s", job_names[v->job]);
        v->is_done = true;
        return 0;
    }
    if (!take_number(&rest, v->staging->count, &index) || index >= v->staging->count)
        return base_error_set(why, NX_EBADMSG, NULL, "unexpected line of the %s: %.100s", job_names[v->job], line);
    struct staging_module *m = &v->staging->modules[index];
    v->last = index;
    if (strcmp(word, "refused") == 0)
        return refuse(m, rest != NULL ? rest : "refused", why);
    bool is_good = v->job == JOB_STAGE ? strcmp(word, "staged") == 0 && take_staged(&rest, m)
                                       : strcmp(word, "begin") == 0 || (strcmp(word, "behavior") == 0 && take_behavior(&rest, m));
    return is_good ? 0 : base_error_set(why, NX_EBADMSG, m->name, "module \"%s\" (%s): unexpected line of the %s: %.60s", m->name, m->file, job_names[v->job], word);
}

/* ---------------------------------------------------------------- the two jobs */

/* The end of a validator tells of the module that it had begun. The limit of CPU time is SIGKILL too (module_confine). */
static int
module_ended(const char *module, int err, int signal, uint64_t ms, const char *name, struct base_error *why)
{
    if (err == NX_ETIMEDOUT || signal == SIGXCPU || signal == SIGKILL)
        return base_error_set(why, err != 0 ? err : NX_EINVAL, name, "%swas still loading after %" PRIu64 " s: ended", module, ms / 1000);
    return base_error_set(why, NX_EINVAL, name, "%sthe module crashed while it was loaded (signal %d, %s)", module, signal, strsignal(signal));
}

/* Nothing that it said explains how it ended. */
static int
no_verdict(const struct verdict *v, int err, int status, struct base_error *why)
{
    const char *what = job_names[v->job];
    char module[600] = "";
    const char *name = NULL;
    if (v->last < v->staging->count) {
        const struct staging_module *m = &v->staging->modules[v->last];
        name = m->name;
        snprintf(module, sizeof module, "module \"%.128s\" (%.400s): ", m->name, m->file);
    }
    if (v->job == JOB_VALIDATE && name != NULL && (err == NX_ETIMEDOUT || (err == 0 && WIFSIGNALED(status))))
        return module_ended(module, err, err == 0 ? WTERMSIG(status) : 0, (clock_now_ns() - v->began_ns) / CLOCK_NS_PER_MS, name, why);
    if (err == NX_ETIMEDOUT)
        return base_error_set(why, err, name, "%sthe %s gave no verdict in time", module, what);
    if (err != 0)
        return err;                      /* `why` says it already */
    if (WIFSIGNALED(status))
        return base_error_set(why, NX_EINVAL, name, "%sthe %s was ended by signal %d (%s)", module, what, WTERMSIG(status), strsignal(WTERMSIG(status)));
    return base_error_set(why, NX_EINVAL, name, "%sthe %s ended without a verdict (exit status %d)", module, what, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int
run(struct staging *s, enum job job, char **argv, const char *user, const char *nonce, int signal_fd, struct base_error *why)
{
    char last_line[sizeof "done " + NONCE_TEXT];
    snprintf(last_line, sizeof last_line, "done %s", nonce);
    struct throwaway t = { .what = job_names[job], .argv = argv, .user = user, .last_line = last_line,
                           .limit_ms = STAGING_BASE_MS + STAGING_MODULE_MS * (int64_t)s->count, .signal_fd = signal_fd };
    struct verdict v = { .staging = s, .job = job, .last = s->count, .began_ns = clock_now_ns() };
    struct buf out;
    buf_init(&out, STAGING_OUTPUT_MAX);
    int status = 0, err = throwaway_run(&t, &out, &status, why);
    char *text = (char *)(uintptr_t)buf_cstr(&out);      /* ours to take apart: the buffer ends with this function */
    int line_err = 0;
    for (char *line; err != NX_ECANCELED && line_err == 0 && !v.is_done && (line = strsep(&text, "\n")) != NULL;)
        if (line[0] != '\0')
            line_err = take_line(&v, line, nonce, why);
    buf_fini(&out);
    if (line_err != 0)                                   /* its own word tells more than a deadline or a signal */
        return line_err;
    return v.is_done ? 0 : no_verdict(&v, err, status, why);
}

static char *
arg(const char *text)
{
    return (char *)(uintptr_t)text;      /* execv does not write, it only says so */
}

static int
stage(struct staging *s, char **argv, const char *dir, const char *nonce, int signal_fd, struct base_error *why)
{
    char uid[16];
    snprintf(uid, sizeof uid, "%u", (unsigned)geteuid());
    size_t n = 0;
    argv[n++] = arg("noexd: stager");
    argv[n++] = arg(PROCESS_STAGER_WORD);
    argv[n++] = arg(nonce);
    argv[n++] = arg(dir);
    argv[n++] = uid;
    for (size_t i = 0; i < s->count; i++)
        argv[n++] = arg(s->modules[i].file);
    argv[n] = NULL;
    /* As we are: the operator's files may be ours alone, and the copies must not be the workers' to write. */
    int err = run(s, JOB_STAGE, argv, NULL, nonce, signal_fd, why);
    for (size_t i = 0; i < s->count && err == 0; i++)
        if (s->modules[i].staged.path[0] == '\0')
            err = base_error_set(why, NX_EBADMSG, s->modules[i].name, "module \"%s\": the stager said nothing of it", s->modules[i].name);
    return err;
}

static int
validate(struct staging *s, char **argv, const char *user, const char *nonce, int signal_fd, struct base_error *why)
{
    size_t n = 0;
    argv[n++] = arg("noexd: validator");
    argv[n++] = arg(PROCESS_VALIDATOR_WORD);
    argv[n++] = arg(nonce);
    for (size_t i = 0; i < s->count; i++)
        argv[n++] = s->modules[i].staged.path;
    argv[n] = NULL;
    return run(s, JOB_VALIDATE, argv, user, nonce, signal_fd, why);      /* it runs their code: as whom workers will */
}

/* ---------------------------------------------------------------- all together */

static const struct staging_module *
find_behavior(const struct staging *s, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < s->modules[i].info.count; b++)
            if (strcmp(s->modules[i].info.behaviors[b].name, name) == 0)
                return &s->modules[i];
    return NULL;
}

static int
check_behaviors_once(const struct staging *s, struct base_error *why)
{
    for (size_t i = 0; i < s->count; i++)
        for (size_t b = 0; b < s->modules[i].info.count; b++) {
            const char *name = s->modules[i].info.behaviors[b].name;
            const struct staging_module *first = find_behavior(s, i, name);
            if (first != NULL)
                return base_error_set(why, NX_EINVAL, s->modules[i].name, "module \"%s\": behavior \"%s\" is already defined by module \"%s\"",
                                      s->modules[i].name, name, first->name);
        }
    return 0;
}

static int
check_servers(const struct conf *conf, const struct staging *s, struct base_error *why)
{
    for (size_t i = 0; i < conf->supervisor_count; i++)
        for (size_t j = 0; j < conf->supervisors[i].server_count; j++) {
            const struct conf_server *server = &conf->supervisors[i].servers[j];
            if (strcmp(server->behavior, "supervisor") != 0 && find_behavior(s, s->count, server->behavior) == NULL)
                return base_error_set(why, NX_ENOBEHAVIOR, server->behavior, "supervisor \"%s\", server \"%s\": no module has the behavior \"%s\"",
                                      conf->supervisors[i].name, server->label, server->behavior);
        }
    return 0;
}

static int
staging_new(const struct conf *conf, struct staging **out)
{
    struct staging *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NX_ENOMEM;
    s->count = conf->module_count;
    if (s->count > 0 && (s->modules = calloc(s->count, sizeof *s->modules)) == NULL) {
        free(s);
        return NX_ENOMEM;
    }
    for (size_t i = 0; i < s->count; i++)
        s->modules[i].name = conf->modules[i].name, s->modules[i].file = conf->modules[i].file;
    *out = s;
    return 0;
}

int
staging_run(const struct conf *conf, const char *dir, int signal_fd, struct staging **out, struct base_error *why)
{
    struct staging *s = NULL;
    char **argv = calloc(conf->module_count + 6, sizeof *argv);      /* five words, the files, NULL */
    uint64_t random[2];
    char nonce[NONCE_TEXT];
    int err = argv == NULL ? NX_ENOMEM : staging_new(conf, &s);
    if (err != 0)
        (void)base_error_set(why, err, NULL, "out of memory for %zu modules", conf->module_count);
    else if ((err = random_bytes(random, sizeof random)) != 0)
        (void)base_error_set(why, err, NULL, "no random bytes from the kernel");
    if (err == 0 && s->count > 0) {
        snprintf(nonce, sizeof nonce, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
        err = stage(s, argv, dir, nonce, signal_fd, why);
        if (err == 0)
            err = validate(s, argv, conf->user, nonce, signal_fd, why);
    }
    if (err == 0)
        err = check_behaviors_once(s, why);
    if (err == 0)
        err = check_servers(conf, s, why);
    free(argv);
    if (err != 0)
        staging_free(&s);
    else
        *out = s;
    return err;
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
