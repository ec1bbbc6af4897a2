/*
 * test_complaints.c - each rule once: what is refused, where the complaint points, and what it says.
 */
#include "conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "unit.h"

#define NODE "node a {}\n"
#define CLUSTER "node a { listen = '127.0.0.1:1' secret s { id = 1 file = s }\n"

UNIT(complaints, M1_a_node_needs_a_name)
{
    refuses("", "n.conf:1: no section 'node'; add: node \"NAME\" { }");
    refuses("\n\nnode { }", "n.conf:3: missing title for section 'node'");
    refuses("\nnode '' { }", "n.conf:2: node name: the name is empty");
    refuses("node 1a {\n}", "n.conf:1: node name: the name does not begin with a letter in '1a'");
    refuses("node 'a b' {\n}", "n.conf:1: node name: the name holds byte 20");
    refuses("node a@b {}", "n.conf:1: node name: the name holds '@'");
    refuses("node aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {}", "n.conf:1: node name: the name is longer than 64 bytes");
    accepts("node aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {}");
    refuses("node a {}\nnode b {}", "n.conf:2: more than 1 section 'node'; remove this one");
}

UNIT(complaints, M1_bad_ports_and_hosts)
{
    refuses("node a {\nlisten = 127.0.0.1 }", "n.conf:2: listen: address: no ':port' in '127.0.0.1'");
    refuses("node a {\nlisten = 127.0.0.1:0 }", "n.conf:2: listen: address: port 0 is not a number from 1 to 65535");
    refuses("node a {\nlisten = 127.0.0.1:65536 }", "n.conf:2: listen: address: port 65536 is not");
    refuses("node a {\nlisten = 127.0.0.1:4369x }", "n.conf:2: listen: address: port 4369x is not");
    refuses("node a {\nlisten = 256.1.1.1:1 }", "n.conf:2: listen: address: the host is not an IPv4 address");
    refuses("node a {\nlisten = ':1' }", "n.conf:2: listen: address: the host is empty");
    refuses(CLUSTER "advertise = x }", "n.conf:2: advertise: address: no ':port'");
}

UNIT(complaints, M1_bad_seeds)
{
    refuses(CLUSTER "seeds = { h:1 } }", "n.conf:2: seeds: node id: no '@' in 'h:1'");
    refuses(CLUSTER "seeds = { b@h:1,\nb@h } }", "n.conf:3: seeds: node id: no ':port' in 'b@h'");
    refuses(CLUSTER "seeds = b@0.0.0.0:1 }", "n.conf:2: seeds: 'b@0.0.0.0:1' is a wildcard address");
    accepts(CLUSTER "seeds = { } }");
    accepts(CLUSTER "seeds = b@h:1 seeds += { c@h:1 } }");
    refuses("node a {\nseeds = { b@h:1 }\n}", "n.conf:2: seeds without a secret");
    refuses("node a { secret s { id = 1 file = s }\nseeds = { b@h:1 }\n}", "n.conf:2: seeds without listen: a peer could not call back");
}

UNIT(complaints, N4_a_wildcard_without_advertise)
{
    static const char text[] = "node a { secret s { id = 1 file = s }\nlisten = %s %s }";
    static const char *const wild[] = { "0.0.0.0:4369", "'[::]:4369'" };
    char full[512];
    for (int i = 0; i < 2; i++) {
        snprintf(full, sizeof full, text, wild[i], "");
        refuses(full, i == 0 ? "n.conf:2: listen = '0.0.0.0:4369' without advertise: a peer could not call a wildcard address back; add: "
                               "advertise = \"HOST:4369\"" : "n.conf:2: listen = '[::]:4369' without advertise: a peer could not call");
        snprintf(full, sizeof full, text, wild[i], "advertise = 10.0.0.1:4369");
        accepts(full);
        snprintf(full, sizeof full, text, wild[i], "advertise = 0.0.0.0:4369");
        refuses(full, "n.conf:2: advertise = '0.0.0.0:4369': a peer could not call a wildcard address back");
    }
    /* The id has room for the longest host there is. */
    snprintf(full, sizeof full, CLUSTER "advertise = '%.60s.%.60s.%.60s:1' }", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
             "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc");
    accepts(full);
}

UNIT(complaints, M1_times_that_are_not_positive)
{
    refuses("node a {\nheartbeat_interval = 0s }", "n.conf:2: heartbeat_interval = '0s' is not between 10ms and 1h");
    refuses("node a {\nheartbeat_interval = -5s }", "n.conf:2: heartbeat_interval = '-5s' is not a time; write 5s, 200ms or 1m");
    refuses("node a {\nheartbeat_misses = 0 }", "n.conf:2: heartbeat_misses = '0' is not between 1 and 100");
    refuses("node a {\nheartbeat_misses = -1 }", "n.conf:2: heartbeat_misses = '-1' is not a number");
    refuses("node a {\nreconnect_min = 31s }", "n.conf:2: reconnect_min (31000ms) is longer than reconnect_max (30000ms)");
    refuses("node a {\n\nreconnect_max = 10ms }", "n.conf:3: reconnect_min (1000ms) is longer than reconnect_max (10ms)");
    refuses("node a {\nhandshake_timeout = 2m }", "n.conf:2: handshake_timeout = '2m' is not between 100ms and 1m");
    refuses("node a {\nbehavior_mismatch = ignore }", "n.conf:2: behavior_mismatch = 'ignore' is not warn or refuse");
}

UNIT(complaints, units)
{
    refuses(NODE "handler_limit = 5", "n.conf:2: handler_limit = '5': unit missing; write 5s, 200ms or 1m");
    refuses(NODE "handler_limit = 5x", "n.conf:2: handler_limit = '5x' is not a time");
    refuses(NODE "handler_limit = '5 s'", "n.conf:2: handler_limit = '5 s' is not a time");
    refuses(NODE "handler_limit = ''", "n.conf:2: handler_limit = '' is not a time");
    refuses(NODE "handler_limit = s", "n.conf:2: handler_limit = 's' is not a time");
    refuses(NODE "handler_limit = 1.5s", "n.conf:2: handler_limit = '1.5s' is not a time");
    refuses(NODE "handler_limit = 99999999999999999999s", "n.conf:2: handler_limit = '99999999999999999999s' is not between 100ms and 1h");
    refuses(NODE "handler_limit = 18446744073709551615h", "n.conf:2: handler_limit = '18446744073709551615h' is not between");
    refuses(NODE "handler_limit = 18446744073709551621s", "n.conf:2: handler_limit = '18446744073709551621s' is not between");   /* 2^64 + 5 */
    refuses(NODE "nodes_max = 18446744073709551621", "n.conf:2: nodes_max = '18446744073709551621' is not between");
    refuses(NODE "mailbox_bytes = 17179869185g", "n.conf:2: mailbox_bytes = '17179869185g' is not between 4k and 64g");         /* 2^64 + 1g */
    refuses(NODE "worker_processes = 18446744073709551621", "n.conf:2: worker_processes = '18446744073709551621' is not");
    refuses(NODE "max_body = 17m", "n.conf:2: max_body = '17m' is not between 1k and 16m");
    refuses(NODE "max_body = 1mb", "n.conf:2: max_body = '1mb' is not a size; write bytes, or a number with k, m or g");
    refuses(NODE "max_body = 17179869185g", "n.conf:2: max_body = '17179869185g' is not between");
    refuses(NODE "mailbox_bytes = 64k", "n.conf:2: mailbox_bytes (65536) is less than max_body (1048576)");
    refuses(NODE "nodes_max = 1s", "n.conf:2: nodes_max = '1s' is not a number; write digits alone");
    refuses(NODE "nodes_max = 0x10", "n.conf:2: nodes_max = '0x10' is not a number");
    refuses(NODE "nodes_max = 1", "n.conf:2: nodes_max = '1' is not between 2 and 4096");
    refuses(NODE "nodes_max = 99999999999999999999", "n.conf:2: nodes_max = '99999999999999999999' is not between 2 and 4096");
    refuses(NODE "registry_capacity = 1048577", "n.conf:2: registry_capacity = '1048577' is not between 64 and 1048576");
    refuses(NODE "max_servers = 0", "n.conf:2: max_servers = '0' is not between");
    refuses(NODE "mailbox_messages = 0", "n.conf:2: mailbox_messages = '0' is not between");
    refuses(NODE "daemon = maybe", "n.conf:2: daemon = 'maybe' is not off, on, false, true, no or yes");
}

UNIT(complaints, workers)
{
    refuses(NODE "worker_processes = 0", "n.conf:2: worker_processes = '0' is not auto or a number from 1 to 64");
    refuses(NODE "worker_processes = 65", "n.conf:2: worker_processes = '65' is not");
    refuses(NODE "worker_processes = -1", "n.conf:2: worker_processes = '-1' is not");
    refuses(NODE "worker_processes = 99999999999999999999999", "n.conf:2: worker_processes = '99999999999999999999999' is not");
    refuses(NODE "worker_processes = many", "n.conf:2: worker_processes = 'many' is not");
    accepts(NODE "worker_processes = 64");
}

UNIT(complaints, settings_that_are_unknown_or_set_twice)
{
    refuses(NODE "\nlistn = 1", "n.conf:3: unknown setting 'listn'; noexd.conf(5) lists all");
    refuses("node a {\n lissten = 1 }", "n.conf:2: unknown setting 'lissten' in section 'node'; noexd.conf(5)");
    refuses(NODE "daemon = on\n\ndaemon = off", "n.conf:4: 'daemon' is set already, in n.conf:2; keep one of them");
    refuses(NODE "daemon = on\ndaemon = on", "n.conf:3: 'daemon' is set already");
    refuses("node a {\ncluster = x\ncluster = x }", "n.conf:3: 'cluster' is set already, in n.conf:2");
    refuses(CLUSTER "seeds = { b@h:1, c@h:1 }\nseeds = { d@h:1 } }", "n.conf:3: 'seeds' is set already, in n.conf:2");
    refuses(CLUSTER "seeds = { b@h:1 }\nseeds = { } }", "n.conf:2: 'seeds' is set here and again, to nothing, further down");
    refuses(NODE "log a {}\nlog b {}", "n.conf:3: more than 1 section 'log'");
    refuses(NODE "log a {}\nlog a {}", "n.conf:3: a section with the title 'a' is there already");
    refuses(NODE "control {}\ncontrol {}", "n.conf:3: more than 1 section 'control'");
    refuses(NODE "module m {}\nmodule m {}", "n.conf:3: a section with the title 'm' is there already");
    refuses(NODE "module m {}\nmodule n {\nfile = m.so }", "n.conf:4: modules 'm' and 'n' are the same file");
    refuses(NODE "module m {\nfile = '' }", "n.conf:3: module 'm': the file is empty");
    refuses(NODE "module 'a/b' {}", "n.conf:2: module 'a/b': the name is not 1 to 128 bytes");
    refuses(NODE "log l { level = loud }", "n.conf:2: level = 'loud' is not error, warn, info or debug");
    refuses(NODE "user = 'no such user'", "n.conf:2: user = 'no such user': there is no such user");
}

UNIT(complaints, supervisors_and_servers)
{
    refuses(NODE "supervisor s {}\nsupervisor s {}", "n.conf:3: a section with the title 's' is there already");
    refuses(NODE "supervisor s { server x { behavior = b }\nserver x { behavior = b } }", "n.conf:3: a section with the title 'x' is there already");
    accepts(NODE "supervisor s { server x { behavior = b } }\nsupervisor t { server x { behavior = b } }");
    refuses(NODE "supervisor '#s' {}", "n.conf:2: supervisor '#s': the label is not");
    refuses(NODE "supervisor s {\nserver '' { behavior = b } }", "n.conf:3: server '': the label is not");
    refuses(NODE "supervisor s {\nserver x { } }", "n.conf:3: server 'x' has no behavior; add: behavior = \"NAME\"");
    refuses(NODE "supervisor s {\nserver x { behavior = 'a b' } }", "n.conf:3: behavior = 'a b' is not 1 to 128 letters");
    refuses(NODE "supervisor s {\nstrategy = all }", "n.conf:3: strategy = 'all' is not one_for_one, one_for_all or rest_for_one");
    refuses(NODE "supervisor s {\nmax_restarts = many }", "n.conf:3: max_restarts = 'many' is not a number");
    refuses(NODE "supervisor s {\nwithin = 0s }", "n.conf:3: within = '0s' is not between 1ms and 24h");
    refuses(NODE "supervisor s { server x { behavior = b\nrestart = never } }", "n.conf:3: restart = 'never' is not permanent, transient or temporary");
    refuses(NODE "supervisor s { server x { behavior = b\nshutdown = 5 } }", "n.conf:3: shutdown = '5': unit missing");
    refuses(NODE "supervisor s { server x { behavior = b\npriority = 2147483648 } }", "n.conf:3: priority = '2147483648' is not a number between");
    refuses(NODE "supervisor s { server x { behavior = b\npriority = -2147483649 } }", "n.conf:3: priority = '-2147483649' is not");
    accepts(NODE "supervisor s { server x { behavior = b priority = -2147483648 } }");
}

UNIT(complaints, S4_name_without_registration_and_the_reverse)
{
    refuses(NODE "supervisor s { server x { behavior = b\nname = n } }", "n.conf:3: server 'x' has a name but is not registered; add: register = ");
    refuses(NODE "supervisor s { server x { behavior = b\nregister = none name = n } }", "n.conf:3: server 'x' has a name but");
    refuses(NODE "supervisor s { server x { behavior = b\nregister = local } }", "n.conf:3: server 'x' is registered without a name; add: name");
    refuses(NODE "supervisor s { server x { behavior = b\nregister = all name = n } }", "n.conf:3: register = 'all' is not none, local or global");
    refuses(NODE "supervisor s { server x { behavior = b register = local\nname = '#n' } }", "n.conf:3: name = '#n' is not 1 to 255 bytes of UTF-8");
    refuses(NODE "supervisor s { server x { behavior = b register = local name = n }\n server y { behavior = b register = local name = n } }",
            "n.conf:3: server 'y' has the name 'n' that server 'x' has already");
    accepts(NODE "supervisor s { server x { behavior = b register = local name = n } server y { behavior = b register = global name = n } }");
}

UNIT(complaints, arguments_that_are_not_json)
{
    refuses(NODE "supervisor s { server x { behavior = b\nargs = '{' } }", "n.conf:3: args of server 'x' are not JSON: ");
    refuses(NODE "supervisor s { server x { behavior = b\nargs = '' } }", "n.conf:3: args of server 'x' are not JSON: ");
    refuses(NODE "supervisor s { server x { behavior = b\nargs = '1 2' } }", "n.conf:3: args of server 'x' are not JSON: ");
    refuses(NODE "max_body = 1k supervisor s { server x { behavior = b\nargs = '\"0123456789012345678901234567890123456789012345678901234567890123456789"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
            "\"' } }", "n.conf:3: args of server 'x' are larger than max_body");
    accepts(NODE "supervisor s { server x { behavior = b args = \"{\\\"a\\\": [1, true, null]}\" } }");
    accepts(NODE "supervisor s { server x { behavior = b args = '{\"a\":\n [1, \"${X}\"]}' } }");
}

UNIT(complaints, secrets)
{
    refuses("node a {\nlisten = 127.0.0.1:1 }", "n.conf:2: listen without a secret; add: secret \"main\" { id = 1 file = \"cluster.secret\" }");
    accepts("node a { secret s { id = 1 file = s } }");
    refuses("node a {\nsecret s { file = s } }", "n.conf:2: secret 's' has no id; add: id = NUMBER");
    refuses("node a {\nsecret s { id = 1 } }", "n.conf:2: secret 's' has no file; add: file = \"PATH\"");
    refuses("node a {\nsecret s { id = 0 file = s } }", "n.conf:2: id = '0' is not between 1 and 4294967295");
    refuses("node a {\nsecret s { id = 4294967296 file = s } }", "n.conf:2: id = '4294967296' is not between");
    refuses("node a { secret s { id = 1 file = s send = on }\nsecret t { id = 1 file = s } }", "n.conf:2: secrets 's' and 't' have the same id 1");
    refuses("node a { secret s { id = 1 file = s send = on }\nsecret t { id = 2 file = s send = on } }", "n.conf:2: secret 't' is the second with send = on");
    refuses("node a {\nsecret s { id = 1 file = s }\nsecret t { id = 2 file = s } }", "n.conf:2: no secret is sent; add send = on");
    refuses("node a {\nsecret s { id = 1 file = s send = off } }", "n.conf:2: no secret is sent");
    refuses("node a { secret s { id = 1 file = s }\nsecret s { id = 2 file = s } }", "n.conf:2: a section with the title 's' is there already");
    refuses("node a { secret a { id = 1 file = s } secret b { id = 2 file = s } secret c { id = 3 file = s } secret d { id = 4 file = s }\n"
            "secret e { id = 5 file = s } }", "n.conf:2: more than 4 sections 'secret'");
}

static void
refuses_secret(const char *complaint)
{
    struct conf *c;
    const char *said = fixture_load("node a {\nsecret s { id = 1\nfile = s } }", NULL, &c);
    CU_ASSERT_EQUAL(strncmp(said, complaint, strlen(complaint)), 0);
    if (strncmp(said, complaint, strlen(complaint)) != 0)
        printf("# expected: %s\n# said: %s", complaint, said);
    conf_free(&c);
}

UNIT(complaints, M1_secret_files_that_are_unfit)
{
    static const char many[CONF_SECRET_BYTES_MAX + 1] = "x";
    struct conf *c;

    fixture_begin();
    refuses_secret("n.conf:3: secret file s: No such file or directory; make one");
    fixture_write("s", many, 31, 0600);
    refuses_secret("n.conf:3: secret file s has 31 bytes; a secret has 32 to 256");
    fixture_write("s", many, 257, 0600);
    refuses_secret("n.conf:3: secret file s has 257 bytes; a secret has 32 to 256");
    fixture_write("s", many, 32, 0644);
    refuses_secret("n.conf:3: secret file s has mode 0644, so others may use it; chmod 0600 it");
    fixture_write("s", many, 32, 0640);
    refuses_secret("n.conf:3: secret file s has mode 0640");
    fixture_write("s", many, 32, 0602);
    refuses_secret("n.conf:3: secret file s has mode 0602");
    if (geteuid() == 0) {                             /* only root can give a file away */
        fixture_write("s", many, 32, 0600);
        CU_ASSERT_EQUAL(chown(fixture_path("s"), 65533, 65533), 0);
        refuses_secret("n.conf:3: secret file s belongs to user 65533; chown it to root");
    }
    unlink(fixture_path("s"));
    CU_ASSERT_EQUAL(mkdir(fixture_path("s"), 0600), 0);
    refuses_secret("n.conf:3: secret file s is a directory, not a regular file");
    rmdir(fixture_path("s"));
    fixture_write("t", many, 32, 0600);
    CU_ASSERT_EQUAL(symlink("t", fixture_path("s")), 0);
    refuses_secret("n.conf:3: secret file s is a symbolic link");
    unlink(fixture_path("s"));
    CU_ASSERT_EQUAL(mkfifo(fixture_path("s"), 0600), 0);
    refuses_secret("n.conf:3: secret file s is a device, pipe or socket");
    unlink(fixture_path("s"));
    fixture_write("s", many, 256, 0400);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a { secret s { id = 1 file = s } }", NULL, &c), "");
    conf_free(&c);
    fixture_end();
}
