/*
 * test_node_id.c - node ids: the conformance cases N1 to N4 as far as the text alone decides them.
 */
#include "wire/node_id.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static int
parse(const char *text, struct node_id *out, struct base_error *why)
{
    return node_id_parse(text, strlen(text), out, why);
}

static void
accepts(const char *text, const char *name, const char *host, uint16_t port)
{
    struct node_id id;
    struct base_error why = { .code = 0 };

    CU_ASSERT_EQUAL_FATAL(parse(text, &id, &why), 0);
    CU_ASSERT_STRING_EQUAL(id.name, name);
    CU_ASSERT_STRING_EQUAL(id.host, host);
    CU_ASSERT_EQUAL(id.port, port);
}

/* Refused, the text names `part`, and the output stays as it was. */
static void
refuses_bytes(const char *text, size_t len, const char *part)
{
    struct node_id id, before;
    struct base_error why = { .code = 0 };

    memset(&id, 0x5a, sizeof id);
    before = id;
    CU_ASSERT_EQUAL(node_id_parse(text, len, &id, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(why.code, NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    if (strstr(why.text, part) == NULL)
        printf("# '%s' said: %s\n", text, why.text);
    CU_ASSERT_EQUAL(memcmp(&id, &before, sizeof id), 0);
    CU_ASSERT_EQUAL(node_id_parse(text, len, &id, NULL), NX_EINVAL);
}

static void
refuses(const char *text, const char *part)
{
    refuses_bytes(text, strlen(text), part);
}

UNIT(node_id, N1_parses_to_name_host_and_port)
{
    accepts("app1@127.0.0.1:4369", "app1", "127.0.0.1", 4369);
    accepts("a@h:9", "a", "h", 9);
    accepts("App_one-2@node-3.example.org:65535", "App_one-2", "node-3.example.org", 65535);
}

UNIT(node_id, N1_accepts_ipv4_host_name_and_localhost)
{
    accepts("app1@10.255.0.1:1", "app1", "10.255.0.1", 1);
    accepts("app1@localhost:4369", "app1", "localhost", 4369);
    accepts("app1@db.internal:4369", "app1", "db.internal", 4369);
    accepts("app1@1st.example:4369", "app1", "1st.example", 4369);
}

UNIT(node_id, N1_accepts_ipv6_in_brackets)
{
    accepts("app1@[::1]:4369", "app1", "::1", 4369);
    accepts("app1@[2001:db8:1:2:3:4:5:6]:4369", "app1", "2001:db8:1:2:3:4:5:6", 4369);
    accepts("app1@[::ffff:10.0.0.1]:4369", "app1", "::ffff:10.0.0.1", 4369);
}

UNIT(node_id, N1_accepts_ports_1_and_65535)
{
    accepts("app1@h:1", "app1", "h", 1);
    accepts("app1@h:65535", "app1", "h", 65535);
}

UNIT(node_id, N2_refuses_a_missing_at_sign) { refuses("app1-127.0.0.1:4369", "no '@'"); refuses("", "no '@'"); }
UNIT(node_id, N2_refuses_a_missing_port)
{
    refuses("app1@127.0.0.1", "no ':port'");
    refuses("app1@[::1]", "no ':port'");
    refuses("app1@", "no ':port'");
}
UNIT(node_id, N2_refuses_an_empty_name) { refuses("@127.0.0.1:4369", "name is empty"); }
UNIT(node_id, N2_refuses_a_name_that_starts_with_a_digit) { refuses("1app@127.0.0.1:4369", "begin with a letter"); }
UNIT(node_id, N2_refuses_a_name_that_starts_with_an_underscore) { refuses("_app@127.0.0.1:4369", "begin with a letter"); }
UNIT(node_id, N2_refuses_a_name_that_starts_with_a_hyphen) { refuses("-app@127.0.0.1:4369", "begin with a letter"); }
UNIT(node_id, N2_refuses_a_name_with_any_other_character)
{
    for (int c = 1; c < 256; c++) {
        char text[] = "ab?c@127.0.0.1:4369";
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '@';
        text[2] = (char)c;
        if (!fits)
            refuses(text, "the name holds");
    }
    refuses("ap.p@127.0.0.1:4369", "the name holds '.'");
}
UNIT(node_id, N2_refuses_a_name_of_65_characters)
{
    char text[128];
    snprintf(text, sizeof text, "%.*s@h:1", 64, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    struct node_id id;
    CU_ASSERT_EQUAL(parse(text, &id, NULL), 0);
    CU_ASSERT_EQUAL(strlen(id.name), 64);
    snprintf(text, sizeof text, "%.*s@h:1", 65, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    refuses(text, "longer than 64");
}
UNIT(node_id, N2_refuses_an_empty_host)
{
    refuses("app1@:4369", "host is empty");
    refuses("app1@[]:4369", "host is empty");
}
UNIT(node_id, N2_refuses_a_host_label_that_starts_or_ends_with_a_hyphen)
{
    refuses("app1@-h.example:4369", "starts with '-'");
    refuses("app1@h.-example:4369", "starts with '-'");
    refuses("app1@h-.example:4369", "ends with '-'");
    refuses("app1@h.example-:4369", "ends with '-'");
}
UNIT(node_id, N2_refuses_256_1_1_1) { refuses("app1@256.1.1.1:4369", "not an IPv4 address"); }
UNIT(node_id, N2_refuses_numbers_that_only_look_like_ipv4)
{
    refuses("app1@1.2.3:4369", "not an IPv4 address");
    refuses("app1@127.0.0.01:4369", "not an IPv4 address");
    refuses("app1@2130706433:4369", "not an IPv4 address");
}
UNIT(node_id, N2_refuses_a_wrong_port)
{
    refuses("app1@127.0.0.1:0", "port 0 ");
    refuses("app1@127.0.0.1:65536", "port 65536 ");
    refuses("app1@127.0.0.1:abc", "port abc ");
    refuses("app1@127.0.0.1:", "port is empty");
    refuses("app1@127.0.0.1:4369x", "port 4369x ");
    refuses("app1@127.0.0.1:99999999999999999999", "port 9999");
    refuses("app1@127.0.0.1:04369", "port 04369 ");
    refuses("app1@127.0.0.1:+1", "port +1 ");
    refuses("app1@[::1]:65536", "port 65536 ");
}
UNIT(node_id, N2_refuses_a_trailing_space)
{
    refuses("app1@127.0.0.1:4369 ", "port 4369\\x20 ");
    refuses("app1@localhost :4369", "the host holds");
    refuses(" app1@localhost:4369", "begin with a letter");
}
UNIT(node_id, N2_refuses_nul)
{
    refuses_bytes("ap\0p1@127.0.0.1:4369", 20, "the name holds byte 00");
    refuses_bytes("app1@local\0host:4369", 20, "the host holds");
    refuses_bytes("app1@[::1\0]:4369", 16, "not an IPv6 address");
    refuses_bytes("app1@127.0.0.1:4369\0", 20, "port 4369\\x00 ");
}
UNIT(node_id, N2_refuses_a_host_that_is_neither_name_nor_address)
{
    refuses("app1@a..b:4369", "empty label");
    refuses("app1@.a:4369", "empty label");
    refuses("app1@a.:4369", "empty label");
    refuses("app1@a_b:4369", "the host holds");
    refuses("app1@::1:4369", "brackets");
    refuses("app1@[::1:4369", "no ']'");
    refuses("app1@[::1]4369", "no ':' behind ']'");
    refuses("app1@[fe80::1%eth0]:4369", "not an IPv6 address");
    refuses("app1@[127.0.0.1]:4369", "not an IPv6 address");
    refuses("app1@b@c:4369", "the host holds");
    refuses("app1@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b:4369", "longer than 63");
    refuses("app1@../../etc:4369", "empty label");
}
UNIT(node_id, N2_shows_a_strangers_bytes_escaped)
{
    struct node_id id;
    struct base_error why;
    CU_ASSERT_EQUAL(parse("a\n%n\x80@h:1", &id, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "a\\x0a%n\\x80@h:1"));
}

UNIT(node_id, N3_two_spellings_of_one_ipv6_address_are_one_text)
{
    static const char *const spellings[] = {
        "app1@[2001:db8::1]:4369", "app1@[2001:DB8::1]:4369", "app1@[2001:0db8:0:0:0:0:0:1]:4369",
        "app1@[2001:db8:0000:0000:0000:0000:0000:0001]:4369", "app1@[2001:db8:0:0::1]:4369",
    };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        struct node_id id, again;
        CU_ASSERT_EQUAL_FATAL(parse(spellings[i], &id, NULL), 0);
        CU_ASSERT_STRING_EQUAL(id.text, "app1@[2001:db8::1]:4369");
        CU_ASSERT_STRING_EQUAL(id.host, "2001:db8::1");
        CU_ASSERT_EQUAL_FATAL(parse(id.text, &again, NULL), 0);
        CU_ASSERT_STRING_EQUAL(again.text, id.text);
    }
}
UNIT(node_id, N3_other_hosts_are_kept_as_written)
{
    struct node_id id;
    CU_ASSERT_EQUAL(parse("App1@Host.Example:4369", &id, NULL), 0);
    CU_ASSERT_STRING_EQUAL(id.text, "App1@Host.Example:4369");
    CU_ASSERT_EQUAL(parse("app1@127.0.0.1:4369", &id, NULL), 0);
    CU_ASSERT_STRING_EQUAL(id.text, "app1@127.0.0.1:4369");
}

static size_t
long_id(char *out, size_t size, int name, int host)
{
    char label[64];
    memset(label, 'b', 60);
    label[60] = '\0';
    size_t at = 0;
    for (; name > 0; name--)
        out[at++] = 'a';
    out[at++] = '@';
    for (int i = 0; i < host; i++)
        out[at++] = i % 61 == 60 && i + 1 < host ? '.' : 'b';
    return at + (size_t)snprintf(out + at, size - at, ":65535");
}

UNIT(node_id, N4_a_host_has_at_most_183_bytes_and_an_id_at_most_255)
{
    char text[512];
    struct node_id id;

    size_t len = long_id(text, sizeof text, 64, 183);
    CU_ASSERT_EQUAL_FATAL(node_id_parse(text, len, &id, NULL), 0);
    CU_ASSERT_EQUAL(strlen(id.host), 183);
    CU_ASSERT_STRING_EQUAL(id.text, text);

    len = long_id(text, sizeof text, 1, 184);
    refuses_bytes(text, len, "longer than 183");
    len = long_id(text, sizeof text, 64, 186);
    CU_ASSERT_EQUAL(len, 257);
    refuses_bytes(text, len, "more than 255 bytes");
}
UNIT(node_id, N4_knows_the_wildcard_hosts)
{
    CU_ASSERT_TRUE(node_host_is_wildcard("0.0.0.0"));
    CU_ASSERT_TRUE(node_host_is_wildcard("::"));
    CU_ASSERT_TRUE(node_host_is_wildcard("::ffff:0.0.0.0"));
    CU_ASSERT_FALSE(node_host_is_wildcard("127.0.0.1"));
    CU_ASSERT_FALSE(node_host_is_wildcard("::1"));
    CU_ASSERT_FALSE(node_host_is_wildcard("localhost"));
}

UNIT(node_id, an_address_is_the_part_behind_the_at_sign)
{
    struct node_id id;
    struct base_error why;
    CU_ASSERT_EQUAL(node_address_parse("[::]:4369", 9, &id, &why), 0);
    CU_ASSERT_STRING_EQUAL(id.text, "[::]:4369");
    CU_ASSERT_STRING_EQUAL(id.host, "::");
    CU_ASSERT_STRING_EQUAL(id.name, "");
    CU_ASSERT_EQUAL(id.port, 4369);
    CU_ASSERT_EQUAL(node_address_parse("0.0.0.0:1", 9, &id, &why), 0);
    CU_ASSERT_STRING_EQUAL(id.text, "0.0.0.0:1");
    CU_ASSERT_EQUAL(node_address_parse("h:0", 3, &id, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "address: port 0"));
}
UNIT(node_id, a_name_alone_follows_the_same_rule)
{
    struct base_error why;
    CU_ASSERT_EQUAL(node_name_check("app_1-b", 7, &why), 0);
    CU_ASSERT_EQUAL(node_name_check("1app", 4, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(node_name_check("a@b", 3, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(node_name_check("", 0, &why), NX_EINVAL);
}
