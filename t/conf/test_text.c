/*
 * test_text.c - texts that are broken before they mean anything, lines that are counted right, includes, environment.
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

UNIT(text, what_is_cut_off_is_refused_where_it_began)
{
    refuses("\nnode a {\n\n", "n.conf:2: a '{' here is never closed; add the '}'");
    refuses(NODE "supervisor s {\nserver x { behavior = b }\n", "n.conf:2: a '{' here is never closed");
    refuses(NODE "/* hello\n\n", "n.conf:2: a comment begins here and never ends; close it with */");
    refuses(NODE "pid = \"x\n\n", "n.conf:2: a text begins here and never ends; close it with \"");
    refuses(NODE "pid = 'x\n\n", "n.conf:2: a text begins here and never ends; close it with '");
    refuses(NODE "pid = 'x\\", "n.conf:2: a text begins here");
    refuses(NODE "pid = \"x\\", "n.conf:2: a text begins here");
    refuses(NODE "pid = \"${X", "n.conf:2: '${' without '}'");
    refuses(NODE "pid =", "n.conf:3: premature end of file");
    refuses(NODE "pid", "n.conf:3: premature end of file");
    refuses(NODE "log", "n.conf:3: premature end of file");
    refuses(NODE "}\n", "n.conf:2: a '}' without its '{'; remove it");
    refuses("node a {{{{{{{{{{{{{{{{{{", "n.conf:1: braces are nested too deeply");
    refuses(NODE "\npid x", "n.conf:3: missing equal sign after option 'pid'");
    refuses(NODE "pid = { a }", "n.conf:2: unexpected token '{'");
    refuses(NODE "include('x'", "n.conf:2: a '(' here is never closed; add the ')'");
    refuses(NODE "include('x' 'y')", "n.conf:2: between '(' and ')' stands the name of one file: include(\"FILE\")");
    refuses(NODE "include({)}", "n.conf:2: between '(' and ')' stands the name of a file");
    refuses(NODE "include(('x'))", "n.conf:2: between '(' and ')' stands the name of a file");
    refuses(NODE "pid = a)", "n.conf:2: unexpected token ')'");
    refuses(NODE "include 'x'", "n.conf:2: missing parenthesis for function 'include'");
}

/* A broken text must not leave libConfuse's scanner inside of it: the next reload reads a good one (haproxy/haproxy#3229). */
UNIT(text, after_a_refusal_the_next_reading_works)
{
    static const char *const broken[] = {
        "node a {", "/* x", "pid = \"x", "pid = 'x", "pid = \"\\9\"", "pid = \"\\777\"", "http {}", "node a { } }", "pid = \"${\"", "include('nothing')",
        "include('x'", "pid =", "node", "seeds = {",
    };
    struct conf *c;
    fixture_begin();
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        CU_ASSERT_STRING_NOT_EQUAL(fixture_load(broken[i], NULL, &c), "");
        CU_ASSERT_STRING_EQUAL(fixture_load("node a { cluster = \"x\" }", NULL, &c), "");
        if (c != NULL)
            CU_ASSERT_STRING_EQUAL(c->cluster, "x");
        conf_free(&c);
    }
    fixture_end();
}

/* The whole sample, cut at each byte: loaded only if what is missing is not needed. */
UNIT(text, cut_at_each_byte_it_is_refused_or_whole)
{
    static const char text[] =
        "# a comment\nnode \"app1\" {\n  listen = \"127.0.0.1:4369\" /* two\nlines */ secret \"main\" { id = 1 file = 's' }\n}\n"
        "supervisor \"m\" { server \"x\" { behavior = \"b\" args = '{\"start\": 0}' } }\n";
    struct conf *c;
    fixture_begin();
    fixture_secret("s");
    size_t node_end = strstr(text, "}\n}\n") + 3 - text, loaded = 0;
    for (size_t len = 0; len < sizeof text; len++) {
        const char *said = fixture_load_bytes(text, len, NULL, &c);
        if (c != NULL) {
            loaded++;
            CU_ASSERT(len >= node_end);
            CU_ASSERT_STRING_EQUAL(c->node.text, "app1@127.0.0.1:4369");
            CU_ASSERT(c->supervisor_count == 0 || c->supervisors[0].server_count == 1);
        } else
            CU_ASSERT_EQUAL(strncmp(said, "n.conf:", 7), 0);
        conf_free(&c);
    }
    CU_ASSERT_EQUAL(loaded, 2 + 2);                   /* behind the node's brace, its newline; behind the supervisor's, its newline */
    fixture_end();
}

UNIT(text, lines_are_counted_through_comments_texts_and_lists)
{
    refuses("# one\n// two\n/* three\n four */ \n# five\nhttp {}", "n.conf:6: unknown setting 'http'");
    refuses(NODE "#\n##\n#\nhttp {}", "n.conf:5: unknown");
    refuses("node a { listen = 127.0.0.1:1 secret s { id = 1 file = s }\nseeds = { # first\n  b@h:1, # second\n  /* third */ c@h:2\n}\n}\nhttp {}", "n.conf:7: unknown");
    refuses(NODE "supervisor s { server x { behavior = b args = '[1,\n2]' } }\nhttp {}", "n.conf:4: unknown");
    refuses(NODE "pid = \"a\\\nb\"\nhttp {}", "n.conf:4: unknown");
    refuses(NODE "pid = a#b\nhttp {}", "n.conf:3: unknown");
    refuses(NODE "pid = http://x//y\nhttp {}", "n.conf:3: unknown");
    refuses(NODE "pid = '# no comment /* neither'\nhttp {}", "n.conf:3: unknown");
    refuses(NODE "pid = \"a\n\\\nb\" user = 'x\n\\\ny'\n/* one\n*/ log 'never", "n.conf:8: a text begins here and never ends");
    refuses("\n\nsupervisor s {\n\nserver x {\n}\n}\nnode a {}", "n.conf:5: server 'x' has no behavior");
}

UNIT(text, stray_characters_are_not_swallowed)
{
    refuses(NODE "nodes_max = *5", "n.conf:2: a '*' outside of quotes");
    refuses(NODE "nodes_max = +5", "n.conf:2: a '+' that is not part of '+='");
    refuses(NODE "pid = a/*b*/", "n.conf:2: a '*' outside of quotes");
    refuses(NODE "pid = \"\\9\"", "n.conf:2: a wrong escape");
    refuses(NODE "pid = \"\\400\"", "n.conf:2: a wrong escape: the number is not between");
    refuses(NODE "pid = \"\\1234\"", "n.conf:2: a wrong escape");
    refuses(NODE "pid = \"a\\0b\"", "n.conf:2: a wrong escape: the number is not between");
    refuses(NODE "pid = \"a\\x00b\"", "n.conf:2: a wrong escape: \\x00 would cut the value");
    refuses(NODE "pid = \"a\\x0\"", "n.conf:2: a wrong escape: \\x00");
    accepts(NODE "pid = \"a\\x01\\x0ab\\101\\\"\\n\"");
}

UNIT(text, encodings)
{
    struct conf *c;
    fixture_begin();
    CU_ASSERT_STRING_EQUAL(fixture_load_bytes("node a {}\n\n\0", 12, NULL, &c), "n.conf:3: a NUL byte: this is no text file\n");
    CU_ASSERT_STRING_EQUAL(fixture_load_bytes("# a\n# \xff\nnode a {}", 17, NULL, &c), "n.conf:2: not UTF-8; save the file in that encoding\n");
    fixture_end();
    refuses("# comment\r\rnode a {}", "n.conf:1: a carriage return without a line feed; end lines with LF or CR LF");
    refuses("node a {}\r", "n.conf:1: a carriage return without");
    accepts("# crlf\r\nnode a { # x\r\n}\r\nnodes_max = 5\r\n");
    refuses("# crlf\r\nnode a {}\r\nhttp {}\r\n", "n.conf:3: unknown setting 'http'");
    accepts("\xef\xbb\xbfnode a {}");
    refuses("\xef\xbb\xbf\nhttp {}", "n.conf:2: unknown setting 'http'");
    refuses("node a {}\n\xef\xbb\xbf = 1", "n.conf:2: unknown setting '\xef\xbb\xbf'");
    refuses(NODE "'x\ny\x01' = 1", "n.conf:3: unknown setting 'x\\x0ay\\x01'");
}

UNIT(text, a_file_of_ten_mebibytes_is_refused)
{
    static const size_t len = 10u << 20;
    char *text = malloc(len);
    struct conf *c;
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, '#', len);
    fixture_begin();
    CU_ASSERT_STRING_EQUAL(fixture_load_bytes(text, len, NULL, &c), "n.conf:1: n.conf is larger than 1 MiB, which no configuration is\n");
    CU_ASSERT_STRING_EQUAL(fixture_load_bytes(text, CONF_FILE_BYTES_MAX + 1, NULL, &c), "n.conf:1: n.conf is larger than 1 MiB, which no configuration is\n");
    memcpy(text, "node a {}\n", 10);
    CU_ASSERT_STRING_EQUAL(fixture_load_bytes(text, CONF_FILE_BYTES_MAX, NULL, &c), "");
    conf_free(&c);
    /* As many sections as fit: bounded, and soon. */
    size_t at = 10;
    for (unsigned i = 0; at + 64 < CONF_FILE_BYTES_MAX; i++)
        at += (size_t)sprintf(text + at, "module m%u {}\n", i);
    CU_ASSERT_STRING_EQUAL(fixture_load_bytes(text, at, NULL, &c), "n.conf:258: more than 256 sections 'module'; remove this one\n");
    free(text);
    fixture_end();
}

UNIT(text, includes_are_read_relative_to_their_file)
{
    struct conf *c;
    fixture_begin();
    CU_ASSERT_EQUAL(mkdir(fixture_path("d"), 0700), 0);
    fixture_write("d/one.conf", "include( # two\n\"two.conf\")nodes_max = 5\n", 40, 0600);
    fixture_write("d/two.conf", "max_servers = 6", 15, 0600);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('d/one.conf') worker_processes = 1", NULL, &c), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT(c->nodes_max == 5 && c->max_servers == 6 && c->workers == 1);
    CU_ASSERT_EQUAL_FATAL(conf_source_count(c), 3);
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 0)->path, fixture_path("n.conf"));
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 1)->path, fixture_path("d/one.conf"));
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 2)->path, fixture_path("d/two.conf"));
    CU_ASSERT_STRING_EQUAL(conf_source_at(c, 2)->text, "max_servers = 6");
    conf_free(&c);

    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}", "include('d/two.conf')", &c), "");
    CU_ASSERT_EQUAL(conf_source_count(c), 3);
    conf_free(&c);

    /* Complaints know which file, and the line behind the include is still right. */
    fixture_write("d/two.conf", "\n\nmax_servers = x", 17, 0600);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('d/one.conf')\nworker_processes = x\n", NULL, &c),
                           "n.conf:3: worker_processes = 'x' is not auto or a number from 1 to 64\n"
                           "d/two.conf:3: max_servers = 'x' is not a number; write digits alone\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\nnodes_max = 3\ninclude('d/one.conf')\n", NULL, &c),
                           "d/one.conf:2: 'nodes_max' is set already, in n.conf:2; keep one of them\n");
    fixture_write("d/two.conf", "supervisor s {\n", 15, 0600);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('d/one.conf')\n}\n", NULL, &c), "n.conf:3: a '}' without its '{'; remove it\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('d/one.conf')\n", NULL, &c), "d/two.conf:1: a '{' here is never closed; add the '}'\n");
    fixture_end();
}

UNIT(text, includes_that_do_not_end_or_do_not_exist)
{
    struct conf *c;
    char text[64];
    fixture_begin();
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\n\ninclude('none')\n", NULL, &c), "n.conf:3: cannot read none: No such file or directory\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('n.conf')\n", NULL, &c), "n.conf:2: n.conf includes itself; include each file once\n");
    fixture_write("one", "\ninclude('n.conf')\n", 19, 0600);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('one')\n", NULL, &c), "one:2: n.conf includes itself; include each file once\n");
    fixture_write("one", "", 0, 0600);
    CU_ASSERT_EQUAL(link(fixture_path("one"), fixture_path("other")), 0);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('one')\ninclude('other')\n", NULL, &c), "n.conf:3: other is included already; include each file once\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('.')\n", NULL, &c), "n.conf:2: cannot read .: it is not a regular file\n");
    CU_ASSERT_EQUAL(mkfifo(fixture_path("fifo"), 0600), 0);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('fifo')\n", NULL, &c), "n.conf:2: cannot read fifo: it is not a regular file\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude()\n", NULL, &c), "n.conf:2: include takes the name of one file: include(\"FILE\")\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude(a, b)\n", NULL, &c), "n.conf:2: include takes the name of one file: include(\"FILE\")\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a { include('one') }", NULL, &c), "n.conf:1: unknown setting 'include' in section 'node'; noexd.conf(5) lists all\n");
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(text, sizeof text, "include('f%d')", i + 1);
        fixture_write(name, text, strlen(text), 0600);
    }
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}\ninclude('f0')\n", NULL, &c), "f9:1: includes are nested more than 10 deep\n");
    CU_ASSERT_STRING_EQUAL(fixture_load("node a {}", NULL, &c), "");
    conf_free(&c);
    fixture_end();
}

UNIT(text, environment_variables)
{
    struct conf *c;
    fixture_begin();
    CU_ASSERT_EQUAL(setenv("NX_TEST_NAME", "blue", 1), 0);
    CU_ASSERT_EQUAL(unsetenv("NX_TEST_NONE"), 0);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a { cluster = \"x-${NX_TEST_NAME}-${NX_TEST_NONE:-y}\" }\npid = ${NX_TEST_NAME}", NULL, &c), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_STRING_EQUAL(c->cluster, "x-blue-y");
    CU_ASSERT_STRING_EQUAL(c->pid_file, fixture_path("var/run/noexd/blue"));
    conf_free(&c);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a { cluster = '${NX_TEST_NAME}' } pid = \"\\${NX_TEST_NONE}\"", NULL, &c), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_STRING_EQUAL(c->cluster, "${NX_TEST_NAME}");
    CU_ASSERT_STRING_EQUAL(c->pid_file, fixture_path("var/run/noexd/${NX_TEST_NONE}"));
    conf_free(&c);
    CU_ASSERT_EQUAL(setenv("NX_TEST_NAME", "\xff", 1), 0);
    CU_ASSERT_STRING_EQUAL(fixture_load("node a { cluster = 'y' }\npid = \"${NX_TEST_NAME}\"", NULL, &c), "n.conf:2: 'pid' is not UTF-8\n");
    fixture_end();
    refuses(NODE "pid = \"${NX_TEST_NONE}\"", "n.conf:2: the environment variable 'NX_TEST_NONE' is not set; set it, or write ${NAME:-default}");
    refuses(NODE "pid = ${NX_TEST_NONE}", "n.conf:2: the environment variable 'NX_TEST_NONE' is not set");
    refuses(NODE "pid = a${NX_TEST_NONE:-x}", "n.conf:2: a variable inside a word; put the whole into double quotes");
    refuses(NODE "pid = \"${}\"", "n.conf:2: '${...}' holds no name");
    refuses(NODE "pid = \"${a\nb}\"", "n.conf:2: '${' without '}'");
}
