/*
 * test_conf.c - whole configurations: the shipped one, the sample of the design, what each setting becomes.
 */
#include "conf/conf.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fixture.h"
#include "noex/noex.h"
#include "unit.h"

static void
read_shipped(char out[static 65536])
{
    char path[4096];
    const char *given = getenv("NX_TEST_CONF");       /* set by make check; else beside this file's own path */
    const char *here = strstr(__FILE__, "t/conf/");
    if (given != NULL)
        snprintf(path, sizeof path, "%s", given);
    else
        snprintf(path, sizeof path, "%.*sconf/noexd.conf", (int)(here - __FILE__), __FILE__);
    FILE *f = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    size_t len = fread(out, 1, 65535, f);
    out[len] = '\0';
    CU_ASSERT(len > 1000);
    fclose(f);
}

/* Field by field, so that a default in the file and one in the code cannot part. */
UNIT(conf, the_shipped_file_is_valid_and_holds_the_defaults)
{
    static char text[65536];
    struct conf *a, *b;

    read_shipped(text);
    fixture_begin();
    CU_ASSERT_STRING_EQUAL(fixture_load(text, NULL, &a), "");
    CU_ASSERT_STRING_EQUAL(fixture_load("node noexd {}", NULL, &b), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    CU_ASSERT_PTR_NULL(a->user);
    CU_ASSERT_EQUAL(a->daemon, b->daemon);
    CU_ASSERT_EQUAL(a->workers, b->workers);
    CU_ASSERT_EQUAL(memcmp(a->affinity, b->affinity, sizeof a->affinity), 0);
    CU_ASSERT_EQUAL(a->link_affinity, b->link_affinity);
    CU_ASSERT_STRING_EQUAL(a->pid_file, b->pid_file);
    CU_ASSERT_STRING_EQUAL(a->log_file, b->log_file);
    CU_ASSERT_EQUAL(a->log_level, b->log_level);
    CU_ASSERT_STRING_EQUAL(a->node.text, b->node.text);
    CU_ASSERT_STRING_EQUAL(a->cluster, b->cluster);
    CU_ASSERT_PTR_NULL(a->listen_host);
    CU_ASSERT_PTR_NULL(b->listen_host);
    CU_ASSERT_EQUAL(a->heartbeat_ms, b->heartbeat_ms);
    CU_ASSERT_EQUAL(a->heartbeat_misses, b->heartbeat_misses);
    CU_ASSERT_EQUAL(a->reconnect_min_ms, b->reconnect_min_ms);
    CU_ASSERT_EQUAL(a->reconnect_max_ms, b->reconnect_max_ms);
    CU_ASSERT_EQUAL(a->handshake_ms, b->handshake_ms);
    CU_ASSERT_EQUAL(a->refuse_mismatch, b->refuse_mismatch);
    CU_ASSERT_STRING_EQUAL(a->modules_dir, b->modules_dir);
    CU_ASSERT_STRING_EQUAL(a->modules_state_dir, b->modules_state_dir);
    CU_ASSERT_STRING_EQUAL(a->control_path, b->control_path);
    CU_ASSERT_EQUAL(a->control_mode, b->control_mode);
    CU_ASSERT_EQUAL(a->registry_capacity, b->registry_capacity);
    CU_ASSERT_EQUAL(a->nodes_max, b->nodes_max);
    CU_ASSERT_EQUAL(a->max_body, b->max_body);
    CU_ASSERT_EQUAL(a->mailbox_messages, b->mailbox_messages);
    CU_ASSERT_EQUAL(a->mailbox_bytes, b->mailbox_bytes);
    CU_ASSERT_EQUAL(a->handler_limit_ms, b->handler_limit_ms);
    CU_ASSERT_EQUAL(a->shutdown_ms, b->shutdown_ms);
    CU_ASSERT_EQUAL(a->max_servers, b->max_servers);
    conf_free(&a);
    conf_free(&b);
    fixture_end();
}

/* Each setting that can be written is named there, be it behind a '#'; and the lines behind '#' are right too. */
UNIT(conf, the_examples_in_the_shipped_file_are_valid)
{
    static char text[65536], open_text[65536];
    static const char *const lines[] = {
        "#listen ", "#advertise ", "#secret ", "#module ", "#supervisor ", "#    strategy", "#    max_restarts", "#    within", "#    server",
        "#        behavior", "#        args", "#        register = none", "#        #name", "#        priority", "#        restart",
        "#        shutdown", "#    }", "#}",
    };
    static char register_local[] = "register = local";       /* a name needs it */
    struct conf *c;

    read_shipped(text);
    size_t end = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *at = line + strspn(line, " ");
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
            if (strncmp(at, lines[i], strlen(lines[i])) == 0)
                *at = ' ';
        if ((at = strstr(line, "#name")) != NULL)
            *at = ' ';
        if (strstr(line, "register = none") != NULL)
            line = register_local;
        end += (size_t)snprintf(open_text + end, sizeof open_text - end, "%s\n", line);
    }
    fixture_begin();
    fixture_secret("cluster.secret");
    const char *said = fixture_load(open_text, NULL, &c);
    CU_ASSERT_STRING_EQUAL(said, "");
    if (said[0] != '\0')
        printf("# %s", said);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_STRING_EQUAL(c->node.text, "noexd@app1.example.org:4369");
    CU_ASSERT_EQUAL(c->secret_count, 1);
    CU_ASSERT_EQUAL(c->module_count, 1);
    CU_ASSERT_EQUAL_FATAL(c->supervisor_count, 1);
    CU_ASSERT_EQUAL(c->supervisors[0].strategy, CONF_ONE_FOR_ONE);
    CU_ASSERT_EQUAL(c->supervisors[0].max_restarts, 3);
    CU_ASSERT_EQUAL(c->supervisors[0].within_ms, 5000);
    CU_ASSERT_EQUAL_FATAL(c->supervisors[0].server_count, 1);
    CU_ASSERT_STRING_EQUAL(c->supervisors[0].servers[0].name, "shared-counter");
    CU_ASSERT_EQUAL(c->supervisors[0].servers[0].shutdown_ms, 5000);
    conf_free(&c);
    fixture_end();
}

static const char sample[] =
    "worker_processes    = auto\n"
    "worker_cpu_affinity = auto\n"
    "log \"error.log\" { level = info }\n"
    "node \"app1\" {\n"
    "    listen    = \"127.0.0.1:4369\"          # advertise = \"...\" where it differs\n"
    "    seeds     = { \"app2@127.0.0.1:4370\" }\n"
    "    secret    \"main\" { id = 1  file = \"cluster.secret\"  send = true }\n"
    "    heartbeat_interval = 5s    heartbeat_misses = 3\n"
    "}\n"
    "modules_dir = \"modules\"\n"
    "module \"counter\" { file = \"counter.so\" }\n"
    "supervisor \"main\" {\n"
    "    strategy = one_for_one    max_restarts = 3    within = 5s\n"
    "    server \"primary-counter\" { behavior = \"counter\"  args = '{\"start\": 0}'  register = global  name = \"shared-counter\"  restart = permanent }\n"
    "}\n"
    "control { listen = \"unix:noexd.sock\" }\n";

UNIT(conf, the_sample_of_the_design_is_read)
{
    struct conf *c;
    fixture_begin();
    fixture_secret("cluster.secret");
    CU_ASSERT_STRING_EQUAL(fixture_load(sample, NULL, &c), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_STRING_EQUAL(c->node.text, "app1@127.0.0.1:4369");
    CU_ASSERT_STRING_EQUAL(c->listen_host, "127.0.0.1");
    CU_ASSERT_EQUAL(c->listen_port, 4369);
    CU_ASSERT_EQUAL_FATAL(c->seed_count, 1);
    CU_ASSERT_STRING_EQUAL(c->seeds[0].text, "app2@127.0.0.1:4370");
    CU_ASSERT_EQUAL_FATAL(c->secret_count, 1);
    CU_ASSERT_EQUAL(c->secrets[0].id, 1);
    CU_ASSERT(c->secrets[0].send);
    CU_ASSERT_STRING_EQUAL(c->secrets[0].file, fixture_path("cluster.secret"));
    CU_ASSERT_STRING_EQUAL(c->modules_dir, fixture_path("modules"));
    CU_ASSERT_EQUAL_FATAL(c->module_count, 1);
    CU_ASSERT_STRING_EQUAL(c->modules[0].name, "counter");
    CU_ASSERT_STRING_EQUAL(c->modules[0].file, fixture_path("modules/counter.so"));
    CU_ASSERT_EQUAL_FATAL(c->supervisor_count, 1);
    CU_ASSERT_EQUAL_FATAL(c->supervisors[0].server_count, 1);
    const struct conf_server *s = &c->supervisors[0].servers[0];
    CU_ASSERT_STRING_EQUAL(s->label, "primary-counter");
    CU_ASSERT_STRING_EQUAL(s->behavior, "counter");
    CU_ASSERT_EQUAL(s->scope, NX_GLOBAL);
    CU_ASSERT_STRING_EQUAL(s->name, "shared-counter");
    CU_ASSERT_EQUAL(s->priority, 0);
    CU_ASSERT_EQUAL(s->restart, CONF_PERMANENT);
    CU_ASSERT_EQUAL_FATAL(s->args_len, 8);
    CU_ASSERT_EQUAL(memcmp(s->args, "\x81\xa5start\x00", 8), 0);
    CU_ASSERT_STRING_EQUAL(c->log_file, fixture_path("var/log/noexd/error.log"));
    CU_ASSERT_STRING_EQUAL(c->control_path, fixture_path("var/run/noexd/noexd.sock"));
    CU_ASSERT_STRING_EQUAL(c->pid_file, fixture_path("var/run/noexd/noexd.pid"));
    conf_free(&c);
    fixture_end();
}

UNIT(conf, the_http_section_is_not_known_yet)
{
    refuses("node a {}\nhttp { listen = \"127.0.0.1:8080\" }\n", "n.conf:2: unknown setting 'http'");
}

UNIT(conf, every_setting_reaches_its_field)
{
    static const char text[] =
        "worker_processes = 3  worker_cpu_affinity = off  link_cpu_affinity = off  user = root  daemon = off\n"
        "pid = run/x.pid  log stderr { level = debug }  modules_dir = /m  modules_state_dir = state\n"
        "node B-2_x { listen = '[0:0::1]:1' advertise = 'h.example:65535' cluster = 'blue' seeds = { a@h:1, 'b@[::1]:2' }\n"
        "  secret old { id = 7 file = s send = off } secret new { id = 4294967295 file = s send = on }\n"
        "  heartbeat_interval = 200ms heartbeat_misses = 9 reconnect_min = 2s reconnect_max = 1m handshake_timeout = 3s\n"
        "  behavior_mismatch = refuse }\n"
        "module m {} module n { file = '/abs/n.so' }\n"
        "supervisor s { strategy = rest_for_one max_restarts = 0 within = 1m server a { behavior = b.c priority = -5 restart = temporary\n"
        "  shutdown = 0s register = local name = 'n' } }\n"
        "control { listen = 'unix:/tmp/x.sock' mode = 0660 }\n"
        "registry_capacity = 64 nodes_max = 4096 max_body = 16m mailbox_messages = 1 mailbox_bytes = 1g handler_limit = 1h\n"
        "shutdown_timeout = 100ms max_servers = 7\n";
    struct conf *c;
    fixture_begin();
    fixture_secret("s");
    CU_ASSERT_STRING_EQUAL(fixture_load(text, NULL, &c), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL(c->workers, 3);
    CU_ASSERT(c->affinity[0] == -1 && c->affinity[2] == -1 && c->affinity[63] == -1 && c->link_affinity == -1);
    CU_ASSERT_STRING_EQUAL(c->user, "root");
    CU_ASSERT(!c->daemon);
    CU_ASSERT_STRING_EQUAL(c->pid_file, fixture_path("run/x.pid"));
    CU_ASSERT_STRING_EQUAL(c->log_file, "stderr");
    CU_ASSERT_EQUAL(c->log_level, LOG_DEBUG);
    CU_ASSERT_STRING_EQUAL(c->modules_dir, "/m");
    CU_ASSERT_STRING_EQUAL(c->modules_state_dir, fixture_path("state"));
    CU_ASSERT_STRING_EQUAL(c->node.text, "B-2_x@h.example:65535");
    CU_ASSERT_STRING_EQUAL(c->listen_host, "::1");
    CU_ASSERT_EQUAL(c->listen_port, 1);
    CU_ASSERT_STRING_EQUAL(c->cluster, "blue");
    CU_ASSERT_EQUAL_FATAL(c->seed_count, 2);
    CU_ASSERT_STRING_EQUAL(c->seeds[1].text, "b@[::1]:2");
    CU_ASSERT_EQUAL_FATAL(c->secret_count, 2);
    CU_ASSERT(c->secrets[0].id == 7 && !c->secrets[0].send && c->secrets[1].id == UINT32_MAX && c->secrets[1].send);
    CU_ASSERT_STRING_EQUAL(c->secrets[1].label, "new");
    CU_ASSERT_EQUAL(c->heartbeat_ms, 200);
    CU_ASSERT_EQUAL(c->heartbeat_misses, 9);
    CU_ASSERT_EQUAL(c->reconnect_min_ms, 2000);
    CU_ASSERT_EQUAL(c->reconnect_max_ms, 60000);
    CU_ASSERT_EQUAL(c->handshake_ms, 3000);
    CU_ASSERT(c->refuse_mismatch);
    CU_ASSERT_EQUAL_FATAL(c->module_count, 2);
    CU_ASSERT_STRING_EQUAL(c->modules[0].file, "/m/m.so");
    CU_ASSERT_STRING_EQUAL(c->modules[1].file, "/abs/n.so");
    CU_ASSERT_EQUAL_FATAL(c->supervisor_count, 1);
    CU_ASSERT_EQUAL(c->supervisors[0].strategy, CONF_REST_FOR_ONE);
    CU_ASSERT_EQUAL(c->supervisors[0].max_restarts, 0);
    CU_ASSERT_EQUAL(c->supervisors[0].within_ms, 60000);
    const struct conf_server *s = &c->supervisors[0].servers[0];
    CU_ASSERT_STRING_EQUAL(s->behavior, "b.c");
    CU_ASSERT(s->priority == -5 && s->restart == CONF_TEMPORARY && s->shutdown_ms == 0 && s->scope == NX_LOCAL);
    CU_ASSERT(s->args_len == 1 && *(unsigned char *)s->args == 0xc0);
    CU_ASSERT_STRING_EQUAL(c->control_path, "/tmp/x.sock");
    CU_ASSERT_EQUAL(c->control_mode, 0660);
    CU_ASSERT(c->registry_capacity == 64 && c->nodes_max == 4096 && c->max_body == 16u << 20 && c->mailbox_messages == 1);
    CU_ASSERT(c->mailbox_bytes == 1u << 30 && c->handler_limit_ms == 3600000 && c->shutdown_ms == 100 && c->max_servers == 7);
    conf_free(&c);
    fixture_end();
}

UNIT(conf, auto_means_the_cpus_this_process_may_use)
{
    cpu_set_t all, one;
    struct conf *c;
    int last = 0;

    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof all, &all), 0);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all))
            last = i;
    fixture_begin();
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}", NULL, &c), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL(c->workers, CPU_COUNT(&all) < 64 ? (unsigned)CPU_COUNT(&all) : 64);
    CU_ASSERT_EQUAL(c->link_affinity, last);
    CU_ASSERT(CPU_ISSET(c->affinity[c->workers - 1], &all));
    for (unsigned i = 1; i < c->workers; i++)
        CU_ASSERT(c->affinity[i] > c->affinity[i - 1]);
    conf_free(&c);

    CPU_ZERO(&one);
    CPU_SET(last, &one);
    CU_ASSERT_EQUAL(sched_setaffinity(0, sizeof one, &one), 0);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {} worker_processes = 2", NULL, &c), "");
    CU_ASSERT(c->workers == 2 && c->affinity[0] == last && c->affinity[1] == last && c->affinity[2] == -1);
    conf_free(&c);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}", NULL, &c), "");
    CU_ASSERT_EQUAL(c->workers, 1);
    conf_free(&c);
    CU_ASSERT_EQUAL(sched_setaffinity(0, sizeof all, &all), 0);
    fixture_end();
}

UNIT(conf, a_list_of_cpus_has_one_for_each_worker_of_this_machine)
{
    accepts("node a {} worker_processes = 2 worker_cpu_affinity = { 0, 0 } link_cpu_affinity = 0");
    refuses("node a {}\nworker_processes = 2\nworker_cpu_affinity = { 0 }", "n.conf:3: worker_cpu_affinity names 1 CPU for 2 workers; name one for each");
    refuses("node a {}\nworker_processes = 1\nworker_cpu_affinity = 1023", "n.conf:3: worker_cpu_affinity: CPU 1023 is not among the ");
    refuses("node a {}\nworker_processes = 1\nworker_cpu_affinity = -1", "n.conf:3: worker_cpu_affinity: '-1' is not auto, off or the number of a CPU");
    refuses("node a {}\nlink_cpu_affinity = 9999999999999", "n.conf:2: link_cpu_affinity: '9999999999999' is not");
    refuses("node a {}\nlink_cpu_affinity = 1000", "n.conf:2: link_cpu_affinity: CPU 1000 is not among the ");
}

UNIT(conf, paths_lie_where_the_manual_says)
{
    struct conf *c;
    fixture_begin();
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {} pid = p log l {} control { listen = 'unix:c' }", NULL, &c), "");
    CU_ASSERT_STRING_EQUAL(c->pid_file, fixture_path("var/run/noexd/p"));
    CU_ASSERT_STRING_EQUAL(c->log_file, fixture_path("var/log/noexd/l"));
    CU_ASSERT_STRING_EQUAL(c->control_path, fixture_path("var/run/noexd/c"));
    conf_free(&c);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {} pid = d/p log d/l {} control { listen = 'unix:d/c' } modules_dir = m", NULL, &c), "");
    CU_ASSERT_STRING_EQUAL(c->pid_file, fixture_path("d/p"));
    CU_ASSERT_STRING_EQUAL(c->log_file, fixture_path("d/l"));
    CU_ASSERT_STRING_EQUAL(c->control_path, fixture_path("d/c"));
    CU_ASSERT_STRING_EQUAL(c->modules_dir, fixture_path("m"));
    conf_free(&c);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {} pid = /p log /l {} control { listen = off }", NULL, &c), "");
    CU_ASSERT_STRING_EQUAL(c->pid_file, "/p");
    CU_ASSERT_STRING_EQUAL(c->log_file, "/l");
    CU_ASSERT_PTR_NULL(c->control_path);
    conf_free(&c);
    fixture_end();
    refuses("node a {}\npid = ''", "n.conf:2: the path is empty");
    refuses("node a {}\ncontrol { listen = 'unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
            "123456789012345678901234' }", "n.conf:2: the control socket ");
    refuses("node a {}\ncontrol {\nlisten = '127.0.0.1:1' }", "n.conf:3: listen = '127.0.0.1:1' is not \"unix:PATH\" or off");
    refuses("node a {}\ncontrol { mode = 0999 }", "n.conf:2: mode = '0999' is not an octal number");
    refuses("node a {}\ncontrol { mode = 0066 }", "n.conf:2: mode = '0066' is not an octal number");
    refuses("node a {}\ncontrol { mode = 010600 }", "n.conf:2: mode = '010600' is not an octal number");
}

UNIT(conf, the_prefix_and_the_file_come_from_the_options)
{
    struct buf said;
    struct conf *c = NULL;
    const char *prefix = fixture_begin();
    char slashes[600];

    buf_init(&said, 0);
    CU_ASSERT_EQUAL(mkdir(fixture_path("etc"), 0700), 0);
    CU_ASSERT_EQUAL(mkdir(fixture_path("etc/noexd"), 0700), 0);
    fixture_write("etc/noexd/noexd.conf", "node here {}", 12, 0600);
    snprintf(slashes, sizeof slashes, "%s//", prefix);
    struct conf_options o = { .default_prefix = slashes };
    CU_ASSERT_EQUAL(conf_load(&o, &c, &said), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_STRING_EQUAL(c->prefix, prefix);
    CU_ASSERT_STRING_EQUAL(c->file, fixture_path("etc/noexd/noexd.conf"));
    CU_ASSERT_STRING_EQUAL(c->node.name, "here");
    CU_ASSERT_STRING_EQUAL(c->node.text, "here@127.0.0.1:4369");
    conf_free(&c);
    conf_free(&c);

    o = (struct conf_options){ .prefix = "/nonexistent", .file = "x.conf", .default_prefix = prefix };
    CU_ASSERT_EQUAL(conf_load(&o, &c, &said), NX_EINVAL);
    CU_ASSERT_STRING_EQUAL(buf_cstr(&said), "/nonexistent/x.conf:1: cannot read /nonexistent/x.conf: No such file or directory\n");
    buf_clear(&said);
    o = (struct conf_options){ .file = "etc", .default_prefix = prefix };
    CU_ASSERT_EQUAL(conf_load(&o, &c, &said), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(buf_cstr(&said), "etc: it is not a regular file"));
    buf_fini(&said);
    fixture_end();
}

UNIT(conf, directives_come_last_and_follow_the_same_rules)
{
    struct conf *c;
    fixture_begin();
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}", "daemon = off  worker_processes = 5", &c), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT(!c->daemon && c->workers == 5);
    CU_ASSERT_EQUAL_FATAL(conf_source_count(c), 2);
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 0)->path, fixture_path("n.conf"));
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 0)->text, "node a {}");
    CU_ASSERT_EQUAL(conf_source_at(c, 0)->len, 9);
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 1)->path, "-g");
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 1)->text, "daemon = off  worker_processes = 5");
    CU_ASSERT_PTR_NULL(conf_source_at(c, 2));
    conf_free(&c);
    fixture_end();
    refuses_with("node a {}", "nonsense = 1", "-g:1: unknown setting 'nonsense'");
    refuses_with("node a {}\n\ndaemon = on", "daemon = off", "-g:1: 'daemon' is set already, in n.conf:3; keep one of them");
    refuses_with("node a {}", "node a {", "-g:1: a '{' here is never closed");
    refuses_with("node a {}", "worker_processes = 65", "-g:1: worker_processes = '65' is not");
}

UNIT(conf, several_complaints_are_made_at_once_but_not_more_than_twenty)
{
    char text[4096] = "node a {}\nworker_processes = 0\nmax_body = 1\nhandler_limit = 5\n";
    struct conf *c;
    fixture_begin();
    const char *said = fixture_load(text, NULL, &c);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "n.conf:2: worker_processes"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "n.conf:3: max_body"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "n.conf:4: handler_limit"));
    strcat(text, "supervisor s {\n");
    for (int i = 0; i < 40; i++)
        snprintf(text + strlen(text), 64, "server s%d { }\n", i);
    strcat(text, "}");
    said = fixture_load(text, NULL, &c);
    size_t lines = 0;
    for (const char *p = said; *p != '\0'; p++)
        lines += *p == '\n';
    CU_ASSERT_EQUAL(lines, CONF_COMPLAINTS_MAX);
    fixture_end();
}
