/*
 * node_id.c - the one parser of `name@host:port`, and of its part `host:port`.
 *
 * Lives here: what a name, a host and a port may look like, and the canonical spelling.
 * Never here: resolving a host; whether an address can be reached.
 * Runs in: every process, and noexctl.
 */
#include "wire/node_id.h"

#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { LABEL_MAX = 63, PORT_DIGITS = 5, SHOWN_MAX = 4 * 80 + 4 };

/* What is being parsed, for the messages: "node id" or "address", and the whole of it. */
struct source {
    const char *noun, *text;
    size_t len;
    struct base_error *why;
};

/* Locale-free: isalpha() would let the environment decide what a node may be called. */
static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The text as a person may see it: it can come from a stranger, so anything that is not printable ASCII is escaped. */
static const char *
show(const char *text, size_t len, char out[static SHOWN_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        if (i == 80) {
            memcpy(out + at, "...", 3);
            at += 3;
            break;
        }
        unsigned char c = (unsigned char)text[i];
        if (c > 0x20 && c < 0x7f && c != '\\')
            out[at++] = (char)c;
        else
            at += (size_t)snprintf(out + at, 5, "\\x%02x", c);
    }
    out[at] = '\0';
    return out;
}

static int
refuse(const struct source *from, const char *complaint)
{
    char shown[SHOWN_MAX];
    return base_error_set(from->why, NX_EINVAL, NULL, "%s: %s in '%s'", from->noun, complaint, show(from->text, from->len, shown));
}

static int
check_name(const struct source *from, const char *name, size_t len)
{
    char complaint[64];

    if (len == 0)
        return refuse(from, "the name is empty");
    if (!is_letter(name[0]))
        return refuse(from, "the name does not begin with a letter");
    for (size_t i = 1; i < len; i++) {
        char c = name[i];
        if (is_letter(c) || is_digit(c) || c == '_' || c == '-')
            continue;
        (void)snprintf(complaint, sizeof complaint, c > 0x20 && c < 0x7f ? "the name holds '%c'" : "the name holds byte %02x",
                       (unsigned char)c);
        return refuse(from, complaint);
    }
    if (len > NODE_NAME_MAX)
        return refuse(from, "the name is longer than 64 bytes");
    return 0;
}

/* Host names as RFC 1123 has them. One of digits and dots alone is meant as an IPv4 address and must be one; inet_pton refuses
 * leading zeros, so there is one spelling. */
static int
check_host_name(const struct source *from, const char *host, size_t len)
{
    bool is_numeric = true;
    size_t label = 0;                                    /* bytes of the label so far */

    for (size_t i = 0; i < len; i++) {
        char c = host[i];
        if (c == '.') {
            if (label == 0)
                return refuse(from, "the host has an empty label");
            if (host[i - 1] == '-')
                return refuse(from, "a label of the host ends with '-'");
            label = 0;
            continue;
        }
        if (!is_letter(c) && !is_digit(c) && c != '-')
            return refuse(from, "the host holds a character that is not a letter, a digit, '-' or '.'");
        if (c == '-' && label == 0)
            return refuse(from, "a label of the host starts with '-'");
        if (++label > LABEL_MAX)
            return refuse(from, "a label of the host is longer than 63 bytes");
        is_numeric = is_numeric && is_digit(c);
    }
    if (label == 0)
        return refuse(from, "the host has an empty label");
    if (host[len - 1] == '-')
        return refuse(from, "a label of the host ends with '-'");
    if (!is_numeric)
        return 0;

    char copy[NODE_HOST_MAX + 1];
    struct in_addr v4;
    memcpy(copy, host, len);
    copy[len] = '\0';
    return inet_pton(AF_INET, copy, &v4) == 1 ? 0 : refuse(from, "the host is not an IPv4 address");
}

static int
take_host(const struct source *from, const char *host, size_t len, bool in_brackets, char out[static NODE_HOST_MAX + 1])
{
    if (len == 0)
        return refuse(from, "the host is empty");
    if (len > NODE_HOST_MAX)
        return refuse(from, "the host is longer than 183 bytes");
    if (!in_brackets) {
        int err = check_host_name(from, host, len);
        if (err != 0)
            return err;
        memcpy(out, host, len);
        out[len] = '\0';
        return 0;
    }

    char copy[NODE_HOST_MAX + 1];
    struct in6_addr v6;
    memcpy(copy, host, len);
    copy[len] = '\0';
    if (strlen(copy) != len || inet_pton(AF_INET6, copy, &v6) != 1 || inet_ntop(AF_INET6, &v6, out, NODE_HOST_MAX + 1) == NULL)
        return refuse(from, "the host in brackets is not an IPv6 address");
    return 0;
}

/* A leading zero would be a second spelling of the same node. */
static int
take_port(const struct source *from, const char *port, size_t len, uint16_t *out)
{
    char complaint[96], shown[SHOWN_MAX];
    uint32_t value = 0;
    bool is_number = len >= 1 && len <= PORT_DIGITS && port[0] != '0';

    if (len == 0)
        return refuse(from, "the port is empty");
    for (size_t i = 0; is_number && i < len; i++) {
        is_number = is_digit(port[i]);
        value = value * 10 + (uint32_t)(port[i] - '0');
    }
    if (!is_number || value > UINT16_MAX) {
        (void)snprintf(complaint, sizeof complaint, "port %.24s is not a number from 1 to 65535", show(port, len, shown));
        return refuse(from, complaint);
    }
    *out = (uint16_t)value;
    return 0;
}

/* `host:port` or `[ipv6]:port`, into host, port and canonical text (behind what out->text has already). */
static int
take_address(const struct source *from, const char *text, size_t len, struct node_id *out)
{
    const char *end = text + len, *host = text, *host_end, *colon;
    bool in_brackets = len > 0 && text[0] == '[';

    if (in_brackets) {
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end == NULL)
            return refuse(from, "no ']' behind the host");
        colon = host_end + 1;
        if (colon == end)
            return refuse(from, "no ':port'");
        if (*colon != ':')
            return refuse(from, "no ':' behind ']'");
    } else {
        colon = memchr(text, ':', len);
        if (colon == NULL)
            return refuse(from, "no ':port'");
        host_end = colon;
        if (memchr(colon + 1, ':', (size_t)(end - colon - 1)) != NULL)
            return refuse(from, "more than one ':' (an IPv6 host stands in brackets)");
    }

    int err = take_host(from, host, (size_t)(host_end - host), in_brackets, out->host);
    if (err == 0)
        err = take_port(from, colon + 1, (size_t)(end - colon - 1), &out->port);
    if (err != 0)
        return err;

    /* Fits: 64 + 1 + 183 + 1 + 5 for a host name; an IPv6 address has at most 45 bytes and two brackets. */
    size_t at = strlen(out->text);
    (void)snprintf(out->text + at, sizeof out->text - at, in_brackets ? "[%s]:%u" : "%s:%u", out->host, (unsigned)out->port);
    return 0;
}

int
node_id_parse(const char *text, size_t len, struct node_id *out, struct base_error *why)
{
    struct source from = { "node id", text, len, why };
    struct node_id id = { .port = 0 };

    if (len > NODE_ID_MAX)
        return refuse(&from, "more than 255 bytes");
    const char *sign = len > 0 ? memchr(text, '@', len) : NULL;
    if (sign == NULL)
        return refuse(&from, "no '@'");

    size_t name_len = (size_t)(sign - text);
    int err = check_name(&from, text, name_len);
    if (err != 0)
        return err;
    memcpy(id.name, text, name_len);
    memcpy(id.text, text, name_len + 1);                 /* with the '@' */
    err = take_address(&from, sign + 1, len - name_len - 1, &id);
    if (err != 0)
        return err;
    *out = id;
    return 0;
}

int
node_address_parse(const char *text, size_t len, struct node_id *out, struct base_error *why)
{
    struct source from = { "address", text, len, why };
    struct node_id id = { .port = 0 };

    if (len > NODE_ID_MAX)
        return refuse(&from, "more than 255 bytes");
    int err = take_address(&from, text, len, &id);
    if (err != 0)
        return err;
    *out = id;
    return 0;
}

int
node_name_check(const char *name, size_t len, struct base_error *why)
{
    struct source from = { "node name", name, len, why };
    return check_name(&from, name, len);
}

bool
node_host_is_wildcard(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, host, &v4) == 1)
        return v4.s_addr == htonl(INADDR_ANY);
    /* ::ffff:0.0.0.0 is the IPv4 wildcard in an IPv6 dress. */
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_UNSPECIFIED(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && memcmp(v6.s6_addr + 12, "\0\0\0\0", 4) == 0);
    return false;
}
