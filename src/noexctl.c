/*
 * noexctl.c - the tool of an operator: reads the arguments, asks the gate of a node.
 *
 * Lives here: the command line: commands, options, what is checked before anything is sent.
 * Never here: the protocol (control/client.c), how an answer looks (control/print.c).
 * Runs in: a process of its own, as whoever may open the control socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/signalfd.h>

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "base/base.h"
#include "base/utf8.h"
#include "control/client.h"
#include "control/listing.h"
#include "control/print.h"
#include "control/rpc.h"
#include "value/value.h"
#include "wire/node_id.h"
#include "wire/ref.h"

#ifndef NOEXD_DEFAULT_SOCKET
#define NOEXD_DEFAULT_SOCKET "/usr/local/var/run/noexd/noexd.sock"
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { CONNECT_MS = 5000, ANSWER_MS = 15000, MARGIN_MS = 5000, SPAWN_MS = 10000, STDIN_MAX = 64 << 20 };

static const char usage[] =
    "usage: noexctl [-s SOCKET] [--json] COMMAND ...\n"
    "  status | workers | behaviors | servers | stats\n"
    "  nodes [--up] [--node NODE]\n"
    "  names [--local | --global] [--node NODE] [--prefix P] [--limit N]\n"
    "  start BEHAVIOR [--node NODE] [--name NAME] [--register none|local|global] [--priority N] [--args JSON]\n"
    "                 [--spawn-timeout MS] [--init-timeout MS]\n"
    "  call TARGET JSON [--timeout MS|infinity]\n"
    "  cast TARGET JSON\n"
    "  stop TARGET [--reason normal|shutdown] [--timeout MS|infinity]\n"
    "  register NAME TARGET [--local | --global] [--priority N]\n"
    "  unregister NAME [--local | --global]\n"
    "  whereis NAME [--local | --global]\n"
    "  lookup NAME [--local | --global]\n"
    "  events [--follow]\n"
    "TARGET is a ref, a local name or a global name. JSON may be - : standard input. Before an operand that begins with - put --.\n"
    "  -s SOCKET  the control socket ($NOEXD_SOCKET, else " NOEXD_DEFAULT_SOCKET ")\n"
    "  --json     the answer as JSON    -V  version      -h  this text\n"
    "Exit: 0 done, 1 failed, 2 wrong usage.\n";

/* ---------------------------------------------------------------- options */

enum option_id {
    OPT_SOCKET, OPT_JSON, OPT_LOCAL, OPT_GLOBAL, OPT_NODE, OPT_PREFIX, OPT_LIMIT, OPT_NAME, OPT_REGISTER, OPT_PRIORITY, OPT_ARGS,
    OPT_SPAWN_TIMEOUT, OPT_INIT_TIMEOUT, OPT_TIMEOUT, OPT_REASON, OPT_UP, OPT_FOLLOW, OPTIONS
};
#define BIT(o) (1u << (o))
enum { LONG_FIRST = 256 };

#define LONG(name, has, id) { name, has, NULL, LONG_FIRST + (id) }
static const struct option long_options[] = {      /* in the order of enum option_id */
    LONG("socket", required_argument, OPT_SOCKET), LONG("json", no_argument, OPT_JSON), LONG("local", no_argument, OPT_LOCAL),
    LONG("global", no_argument, OPT_GLOBAL), LONG("node", required_argument, OPT_NODE),
    LONG("prefix", required_argument, OPT_PREFIX), LONG("limit", required_argument, OPT_LIMIT), LONG("name", required_argument, OPT_NAME),
    LONG("register", required_argument, OPT_REGISTER), LONG("priority", required_argument, OPT_PRIORITY),
    LONG("args", required_argument, OPT_ARGS), LONG("spawn-timeout", required_argument, OPT_SPAWN_TIMEOUT),
    LONG("init-timeout", required_argument, OPT_INIT_TIMEOUT), LONG("timeout", required_argument, OPT_TIMEOUT),
    LONG("reason", required_argument, OPT_REASON), LONG("up", no_argument, OPT_UP), LONG("follow", no_argument, OPT_FOLLOW),
    { "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
};

struct tool {
    const struct command *command;
    char **operands; int operand_count;
    uint32_t given;
    const char *text[OPTIONS];             /* the argument of an option */
    nx_packer params; uint32_t pairs;      /* the map that is sent: its head is made first, its count written last */
    int64_t wait_ms;                       /* for the gate's answer */
    struct client *client;
    bool is_stdout_closed;                 /* by whoever started us */
};

struct command {
    const char *name, *operands;           /* = the gate's method; the words of its operands, for complaints */
    uint32_t options;
    int (*build)(struct tool *t);          /* check the arguments, make the parameters; 0 or an exit status */
    int (*show)(struct tool *t, nx_value result);
};

static int
complain(const struct tool *t, int status, const char *text)
{
    print_complaint(stderr, "noexctl", t->command != NULL ? t->command->name : NULL, text);
    if (status == EXIT_USAGE)
        fprintf(stderr, "try noexctl -h\n");
    return status;
}

static int __attribute__((format(printf, 2, 3)))
misused(const struct tool *t, const char *fmt, ...)
{
    char text[BASE_ERROR_TEXT + 160];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return complain(t, EXIT_USAGE, text);
}

/* A descriptor that is free would be taken by the socket, and what is printed would go to the gate. /dev/null stands in, opened the
 * wrong way round for input and output, so that their use is an error. */
static int
open_standard(struct tool *t)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        t->is_stdout_closed = t->is_stdout_closed || fd == STDOUT_FILENO;
        if (open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY) != fd)     /* the lowest free one: this */
            return EXIT_FAILED;
    }
    return 0;
}

static int
shown(struct tool *t, int err)
{
    if (err == 0)
        return EXIT_DONE;
    return complain(t, EXIT_FAILED, err != NX_ESYS ? nx_strerror(err) : t->is_stdout_closed ? "standard output is closed"
                                                                                          : "standard output cannot be written");
}

/* ---------------------------------------------------------------- parameters */

static int
added(struct tool *t, int err)
{
    t->pairs++;
    return err == 0 ? 0 : complain(t, EXIT_FAILED, nx_strerror(err));
}

static int
add_text(struct tool *t, const char *key, const char *text)
{
    if (!utf8_is_valid(text, strlen(text)))
        return misused(t, "%s: is not valid UTF-8", key);
    return added(t, nx_pack(&t->params, "s s", key, text));
}

static int
add_option(struct tool *t, enum option_id o, const char *key)
{
    return t->text[o] != NULL ? add_text(t, key, t->text[o]) : 0;
}

static int
add_number(struct tool *t, enum option_id o, const char *key, int64_t min, int64_t max, int64_t *out)
{
    char *end;
    if (t->text[o] == NULL)
        return 0;
    errno = 0;
    long long n = strtoll(t->text[o], &end, 10);
    if (errno != 0 || end == t->text[o] || *end != '\0' || n < min || n > max)
        return misused(t, "--%s: '%s' is not a whole number from %" PRId64 " to %" PRId64, long_options[o].name, t->text[o], min,
                       max);
    if (out != NULL)
        *out = n;
    return added(t, nx_pack(&t->params, "s I", key, (int64_t)n));
}

/* The gate keeps the time; the wait here is longer, so that its error is the one that is seen. */
static int
add_timeout(struct tool *t, int64_t missing_ms)
{
    int64_t ms = missing_ms;
    int status = 0;
    if (t->text[OPT_TIMEOUT] != NULL && strcmp(t->text[OPT_TIMEOUT], "infinity") == 0) {
        t->wait_ms = NX_FOREVER;
        return add_text(t, "timeoutMs", "infinity");
    }
    status = add_number(t, OPT_TIMEOUT, "timeoutMs", 1, UINT32_MAX, &ms);
    t->wait_ms = ms + MARGIN_MS;
    return status;
}

static int
add_node(struct tool *t)
{
    struct base_error why;
    struct node_id id;
    const char *node = t->text[OPT_NODE];
    if (node != NULL && node_id_parse(node, strlen(node), &id, &why) != 0)
        return misused(t, "--node: %s", why.text);
    return add_option(t, OPT_NODE, "node");
}

static int
add_name(struct tool *t, const char *name)
{
    if (!utf8_is_name(name, strlen(name)))
        return misused(t, "name '%.64s%s': must be 1 to 255 bytes of printable UTF-8 and not begin with '#'", name,
                       strlen(name) > 64 ? "..." : "");
    return add_text(t, "name", name);
}

static int
add_target(struct tool *t, const char *target)
{
    struct wire_ref ref;
    struct base_error why;
    if (target[0] == '#' && wire_ref_from_text(target, strlen(target), &ref, &why) != 0)
        return misused(t, "%s", why.text);
    if (target[0] != '#' && !utf8_is_name(target, strlen(target)))
        return misused(t, "target '%.64s': is neither a ref nor a name", target);
    return add_text(t, "target", target);
}

static int
add_scope(struct tool *t)
{
    bool is_local = (t->given & BIT(OPT_LOCAL)) != 0, is_global = (t->given & BIT(OPT_GLOBAL)) != 0;
    if (is_local && is_global)
        return misused(t, "--local and --global exclude each other");
    return is_local || is_global ? add_text(t, "scope", is_local ? "local" : "global") : 0;
}

static int
read_stdin(struct tool *t, struct buf *out)
{
    size_t got;
    do {
        uint8_t *room;
        int err = buf_reserve(out, 65536, &room);
        if (err != 0)
            return complain(t, EXIT_FAILED, err == NX_ETOOBIG ? "standard input is longer than 64 MiB" : nx_strerror(err));
        got = fread(room, 1, 65536, stdin);
        buf_commit(out, got);
    } while (got > 0);
    return ferror(stdin) ? complain(t, EXIT_FAILED, "standard input cannot be read") : 0;
}

static int
add_json(struct tool *t, const char *key, const char *text)
{
    struct base_error why;
    struct buf in;
    bool is_stdin = strcmp(text, "-") == 0;
    buf_init(&in, STDIN_MAX);
    int status = added(t, nx_pack(&t->params, "s", key));
    if (status == 0 && is_stdin)
        status = read_stdin(t, &in);
    if (status == 0) {
        int err = is_stdin ? value_from_json(&t->params, (const char *)buf_data(&in), buf_len(&in), &why)
                           : value_from_json(&t->params, text, strlen(text), &why);
        if (err == NX_EINVAL)
            status = misused(t, "%s is not JSON: %s", key, why.text);
        else if (err != 0)
            status = complain(t, EXIT_FAILED, why.text);
    }
    buf_fini(&in);
    return status;
}

/* ---------------------------------------------------------------- commands: what is sent */

static int build_nothing(struct tool *t) { (void)t; return 0; }

static int
build_nodes(struct tool *t)
{
    int status = add_node(t);
    return status == 0 && (t->given & BIT(OPT_UP)) != 0 ? added(t, nx_pack(&t->params, "s b", "up", 1)) : status;
}

static int
build_names(struct tool *t)
{
    int status = add_scope(t);
    if (status == 0)
        status = add_node(t);
    if (status == 0)
        status = add_option(t, OPT_PREFIX, "prefix");
    return status != 0 ? status : add_number(t, OPT_LIMIT, "limit", 0, UINT32_MAX, NULL);
}

static int
build_start(struct tool *t)
{
    const char *scope = t->text[OPT_REGISTER], *name = t->text[OPT_NAME];
    bool is_named = scope != NULL && strcmp(scope, "none") != 0;
    int64_t spawn_ms = SPAWN_MS;
    if (is_named && strcmp(scope, "local") != 0 && strcmp(scope, "global") != 0)
        return misused(t, "--register: '%s' is not none, local or global", scope);
    if (is_named != (name != NULL))
        return misused(t, is_named ? "--register: needs --name" : "--name: needs --register local or global");
    int status = add_text(t, "behavior", t->operands[0]);
    if (status == 0)
        status = add_node(t);
    if (status == 0 && name != NULL)
        status = add_name(t, name);
    if (status == 0)
        status = add_option(t, OPT_REGISTER, "register");
    if (status == 0)
        status = add_number(t, OPT_PRIORITY, "priority", INT32_MIN, INT32_MAX, NULL);
    if (status == 0)
        status = add_number(t, OPT_SPAWN_TIMEOUT, "spawnTimeoutMs", 1, UINT32_MAX, &spawn_ms);
    if (status == 0)
        status = add_number(t, OPT_INIT_TIMEOUT, "initTimeoutMs", 1, UINT32_MAX, NULL);
    if (status == 0 && t->text[OPT_ARGS] != NULL)
        status = add_json(t, "args", t->text[OPT_ARGS]);
    t->wait_ms = spawn_ms + MARGIN_MS;
    return status;
}

static int
build_send(struct tool *t)
{
    int status = add_target(t, t->operands[0]);
    return status != 0 ? status : add_json(t, "message", t->operands[1]);
}

static int
build_call(struct tool *t)
{
    int status = build_send(t);
    return status != 0 ? status : add_timeout(t, NX_DEFAULT_TIMEOUT);
}

static int
build_stop(struct tool *t)
{
    const char *reason = t->text[OPT_REASON];
    if (reason != NULL && strcmp(reason, "normal") != 0 && strcmp(reason, "shutdown") != 0)
        return misused(t, "--reason: '%s' is not normal or shutdown", reason);
    int status = add_target(t, t->operands[0]);
    if (status == 0)
        status = add_option(t, OPT_REASON, "reason");
    return status != 0 ? status : add_timeout(t, NX_DEFAULT_TIMEOUT);
}

static int
build_register(struct tool *t)
{
    int status = add_name(t, t->operands[0]);
    if (status == 0)
        status = add_target(t, t->operands[1]);
    if (status == 0)
        status = add_scope(t);
    return status != 0 ? status : add_number(t, OPT_PRIORITY, "priority", INT32_MIN, INT32_MAX, NULL);
}

static int
build_name(struct tool *t)
{
    int status = add_name(t, t->operands[0]);
    return status != 0 ? status : add_scope(t);
}

/* ---------------------------------------------------------------- commands: what is shown */

static int
show_listing(struct tool *t, nx_value v)
{
    char text[BASE_ERROR_TEXT];
    bool is_failure;
    int status = shown(t, listing_print(stdout, t->command->name, v, (t->given & BIT(OPT_JSON)) != 0));
    if (status == EXIT_DONE && listing_is_partial(v, text, sizeof text, &is_failure)) {
        (void)complain(t, EXIT_FAILED, text);
        status = is_failure ? EXIT_FAILED : EXIT_DONE;
    }
    return status;
}

static int show_json(struct tool *t, nx_value v) { return shown(t, print_json(stdout, v)); }
static int show_nothing(struct tool *t, nx_value v) { (void)t, (void)v; return EXIT_DONE; }

static int
show_ref(struct tool *t, nx_value v)
{
    const char *text;
    size_t len;
    bool is_found = value_is_string(v, &text, &len), is_json = (t->given & BIT(OPT_JSON)) != 0;
    int n = 0;
    if (is_found)                          /* nothing in a ref needs an escape */
        n = printf(is_json ? "{\"ref\":\"%s\"}\n" : "%s\n", text);
    else if (is_json)
        n = printf("null\n");
    if (n < 0 || fflush(stdout) != 0)
        return shown(t, NX_ESYS);
    return is_found ? EXIT_DONE : complain(t, EXIT_FAILED, "not found");
}

/* SIGINT and SIGTERM end the stream in order: they become readable instead of killing. */
static int
open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
}

static int
show_events(struct tool *t, nx_value v)
{
    bool is_following = (t->given & BIT(OPT_FOLLOW)) != 0;
    int stop_fd = open_signals();
    (void)v;
    for (;;) {
        struct base_error why = { 0 };
        const char *event = "";
        nx_value e;
        int got = client_next_event(t->client, is_following ? NX_FOREVER : ANSWER_MS, stop_fd,
                                    is_following ? STDOUT_FILENO : -1, &e, &why);
        if (got < 0)
            return complain(t, EXIT_FAILED, why.text);
        if (got == 0)
            return is_following ? EXIT_DONE
                                : complain(t, EXIT_FAILED, "the names did not arrive in time: is the link worker running?");
        (void)nx_unpack(e, "{s?s}", "event", &event);
        if (!is_following && strcmp(event, "ready") == 0)
            return EXIT_DONE;
        int err = print_json(stdout, e);
        if (err == NX_ESYS && errno == EPIPE)
            return EXIT_DONE;              /* the reader has had enough */
        if (err != 0)
            return shown(t, err);
    }
}

#define SCOPE (BIT(OPT_LOCAL) | BIT(OPT_GLOBAL))
static const struct command commands[] = {
    { "status", "", 0, build_nothing, show_listing },
    { "nodes", "", BIT(OPT_UP) | BIT(OPT_NODE), build_nodes, show_listing },
    { "workers", "", 0, build_nothing, show_listing },
    { "behaviors", "", 0, build_nothing, show_listing },
    { "servers", "", 0, build_nothing, show_listing },
    { "stats", "", 0, build_nothing, show_listing },
    { "names", "", SCOPE | BIT(OPT_NODE) | BIT(OPT_PREFIX) | BIT(OPT_LIMIT), build_names, show_listing },
    { "start", "BEHAVIOR", BIT(OPT_NODE) | BIT(OPT_NAME) | BIT(OPT_REGISTER) | BIT(OPT_PRIORITY) | BIT(OPT_ARGS) |
      BIT(OPT_SPAWN_TIMEOUT) | BIT(OPT_INIT_TIMEOUT), build_start, show_ref },
    { "call", "TARGET JSON", BIT(OPT_TIMEOUT), build_call, show_json },
    { "cast", "TARGET JSON", 0, build_send, show_nothing },
    { "stop", "TARGET", BIT(OPT_TIMEOUT) | BIT(OPT_REASON), build_stop, show_nothing },
    { "register", "NAME TARGET", SCOPE | BIT(OPT_PRIORITY), build_register, show_nothing },
    { "unregister", "NAME", SCOPE, build_name, show_nothing },
    { "whereis", "NAME", SCOPE, build_name, show_ref },
    { "lookup", "NAME", SCOPE, build_name, show_ref },
    { "events", "", BIT(OPT_FOLLOW), build_nothing, show_events },
};

/* ---------------------------------------------------------------- the command line */

static int
count_words(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += *text == ' ';
    return n;
}

/* The word of an operand list at `index`, for "missing operand JSON". */
static int
check_operands(const struct tool *t)
{
    const char *words = t->command->operands;
    int want = *words != '\0' ? count_words(words) + 1 : 0;
    if (t->operand_count > want)
        return misused(t, "too many operands: '%.64s'", t->operands[want]);
    for (int i = 0; i < t->operand_count; i++)
        words += strcspn(words, " ") + (i + 1 < want);
    return t->operand_count < want ? misused(t, "missing operand %.*s", (int)strcspn(words, " "), words) : 0;
}

static int
find_command(struct tool *t, int argc, char **argv)
{
    if (optind >= argc)
        return misused(t, "which command?");
    for (size_t i = 0; i < BASE_COUNT(commands); i++)
        if (strcmp(argv[optind], commands[i].name) == 0)
            t->command = &commands[i];
    if (t->command == NULL)
        return misused(t, "unknown command '%.64s'", argv[optind]);
    t->operands = argv + optind + 1;
    t->operand_count = argc - optind - 1;
    for (int o = 0; o < OPTIONS; o++)
        if ((t->given & BIT(o) & ~(t->command->options | BIT(OPT_SOCKET) | BIT(OPT_JSON))) != 0)
            return misused(t, "this command has no option --%s", long_options[o].name);
    return check_operands(t);
}

/* 0 = go on; else the exit status + 1. */
static int
read_options(struct tool *t, int argc, char **argv)
{
    int o;
    opterr = 0;
    while ((o = getopt_long(argc, argv, ":s:Vh", long_options, NULL)) != -1) {
        if (o == 's')
            o = LONG_FIRST + OPT_SOCKET;
        if (o == 'V')
            return 1 + shown(t, printf("noexctl %s\n", PACKAGE_VERSION) < 0 || fflush(stdout) != 0 ? NX_ESYS : 0);
        if (o == 'h')
            return 1 + shown(t, fputs(usage, stdout) == EOF || fflush(stdout) != 0 ? NX_ESYS : 0);
        if (o == ':')
            return 1 + misused(t, "option %s needs an argument", argv[optind - 1]);
        if (o < LONG_FIRST) {              /* optopt: the letter, if it was a short one */
            const char letter[] = { '-', (char)optopt, '\0' };
            return 1 + misused(t, "unknown option %s", optopt > 0 && optopt < LONG_FIRST ? letter : argv[optind - 1]);
        }
        o -= LONG_FIRST;
        if ((t->given & BIT(o)) != 0)
            return 1 + misused(t, "option --%s is given twice", long_options[o].name);
        t->given |= BIT(o);
        t->text[o] = optarg;
    }
    return 0;
}

static int
ask(struct tool *t, const char *socket_path)
{
    struct base_error why = { 0 };
    nx_value result;
    if (client_open(socket_path, CONNECT_MS, &t->client, &why) != 0)
        return complain(t, EXIT_FAILED, why.text);
    if (client_request(t->client, t->command->name, &t->params.bytes, t->wait_ms, &result, &why) != 0)
        return complain(t, EXIT_FAILED, why.text);
    return t->command->show(t, result);
}

int
main(int argc, char **argv)
{
    struct tool t = { .wait_ms = ANSWER_MS };
    int status = open_standard(&t);
    if (status != 0)
        return status;
    status = read_options(&t, argc, argv);
    if (status != 0)
        return status - 1;
    status = find_command(&t, argc, argv);
    if (status != 0)
        return status;

    (void)signal(SIGPIPE, SIG_IGN);        /* a closed output is an error of the write */
    client_install_ref_codec();
    value_packer_init(&t.params, 0);
    if (rpc_put_map_head(&t.params.bytes, 0) != 0)
        return complain(&t, EXIT_FAILED, nx_strerror(NX_ENOMEM));
    status = t.command->build(&t);
    rpc_array_end(&t.params.bytes, 0, t.pairs);
    const char *socket_path = t.text[OPT_SOCKET];
    if (socket_path == NULL)
        socket_path = getenv("NOEXD_SOCKET");
    if (socket_path == NULL || *socket_path == '\0')
        socket_path = NOEXD_DEFAULT_SOCKET;
    if (status == 0)
        status = ask(&t, socket_path);
    client_close(&t.client);
    value_packer_fini(&t.params);
    return status;
}
