/*
 * scan.c - is a text whole? Looked at before libConfuse sees it.
 *
 * Lives here: encoding, quotes, comments, braces, escapes, variables, each complaint with the line where the thing began.
 * Never here: what a setting means; files.
 * Runs in: the master, `noexd -t`.
 *
 * libConfuse 3.3 accepts a section or a comment that never ends, counts each comment as lines of its own, knows no comment inside
 * a list, swallows stray '*' and '+', cuts a string at an escaped NUL, and after an unclosed quote its scanner is still inside
 * that quote when the next file comes, at the next reload. So comments are blanked here, and it is handed only what is whole. The rules of
 * what begins where are those of its lexer.l.
 */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { SCAN_DEPTH_MAX = 16, SCAN_VARIABLE_MAX = 255 };

struct scan {
    struct conf_reader *r;
    const char *file;
    char *text;
    size_t len, at;
    int line;
    unsigned depth;
    int opened[SCAN_DEPTH_MAX];                       /* the lines of the braces that are open */
};

static int
refuse(struct scan *s, int line, const char *complaint)
{
    conf_complain(s->r, s->file, line, "%s", complaint);
    return -1;
}

static bool
is_next(const struct scan *s, size_t ahead, char c)
{
    return s->at + ahead < s->len && s->text[s->at + ahead] == c;
}

/* Bytes that no configuration has, wherever they stand. */
static int
scan_bytes(struct scan *s)
{
    static const char bom[] = { '\xef', '\xbb', '\xbf' };
    if (s->len >= sizeof bom && memcmp(s->text, bom, sizeof bom) == 0)
        memset(s->text, ' ', sizeof bom);

    int line = 1;
    size_t begin = 0;
    for (size_t i = 0; i <= s->len; i++) {
        if (i < s->len && s->text[i] != '\n') {
            if (s->text[i] == '\0')
                return refuse(s, line, "a NUL byte: this is no text file");
            /* Alone it ends no line: a comment before it would hide the rest of the file. */
            if (s->text[i] == '\r' && (i + 1 == s->len || s->text[i + 1] != '\n'))
                return refuse(s, line, "a carriage return without a line feed; end lines with LF or CR LF");
            continue;
        }
        if (!utf8_is_valid(s->text + begin, i - begin))
            return refuse(s, line, "not UTF-8; save the file in that encoding");
        begin = i + 1;
        line++;
    }
    return 0;
}

/* Blank text[from, to), except for the ends of lines. */
static void
blank(struct scan *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (s->text[i] == '\n')
            s->line++;
        else
            s->text[i] = ' ';
    s->at = to;
}

static void
scan_line_comment(struct scan *s)
{
    const char *end = memchr(s->text + s->at, '\n', s->len - s->at);
    blank(s, s->at, end != NULL ? (size_t)(end - s->text) : s->len);
}

static int
scan_block_comment(struct scan *s)
{
    const char *end = memmem(s->text + s->at + 2, s->len - s->at - 2, "*/", 2);
    if (end == NULL)
        return refuse(s, s->line, "a comment begins here and never ends; close it with */");
    blank(s, s->at, (size_t)(end - s->text) + 2);
    return 0;
}

/* ${NAME} or ${NAME:-default}: libConfuse would take everything up to the next '}', however far, and a name that is not set for nothing. */
static int
scan_variable(struct scan *s)
{
    size_t begin = s->at + 2, i = begin;
    while (i < s->len && s->text[i] != '}' && s->text[i] != '\n' && s->text[i] != '"' && s->text[i] != '\'')
        i++;
    if (i == s->len || s->text[i] != '}')
        return refuse(s, s->line, "'${' without '}'; for the characters themselves write \\${, or use single quotes");

    size_t len = i - begin;
    const char *colon = memmem(s->text + begin, len, ":-", 2);
    char name[SCAN_VARIABLE_MAX + 1];
    if (len == 0 || len > SCAN_VARIABLE_MAX)
        return refuse(s, s->line, "'${...}' holds no name of an environment variable");
    memcpy(name, s->text + begin, len);
    name[colon != NULL ? (size_t)(colon - (s->text + begin)) : len] = '\0';
    if (colon == NULL && getenv(name) == NULL) {
        char shown[CONF_SHOWN];
        conf_complain(s->r, s->file, s->line, "the environment variable '%s' is not set; set it, or write ${NAME:-default}",
                      conf_shown(name, shown));
        return -1;
    }
    s->at = i + 1;
    return 0;
}

/* Behind a backslash in double quotes. */
static int
scan_escape(struct scan *s)
{
    const char *p = s->text + s->at + 1;
    size_t left = s->len - s->at - 1, digits = 0;
    unsigned value = 0;

    if (left == 0) {
        s->at = s->len;                               /* the quote is unclosed: said by the caller */
        return 0;
    }
    while (digits < left && p[digits] >= '0' && p[digits] <= '9') {
        if (p[digits] > '7' || digits == 3)
            return refuse(s, s->line, "a wrong escape: behind a backslash stand one to three digits from 0 to 7");
        value = value * 8 + (unsigned)(p[digits++] - '0');
    }
    if (digits > 0 && (value == 0 || value > 0xff))
        return refuse(s, s->line, "a wrong escape: the number is not between \\001 and \\377");
    if (p[0] == 'x' && left >= 2 && p[1] == '0' && (left == 2 || p[2] == '0' || strchr("123456789abcdefABCDEF", p[2]) == NULL))
        return refuse(s, s->line, "a wrong escape: \\x00 would cut the value");
    if (p[0] == '\n')
        s->line++;
    s->at += 1 + (digits > 0 ? digits : 1);
    return 0;
}

static int
scan_string(struct scan *s)
{
    char quote = s->text[s->at];
    int line = s->line;

    s->at++;
    while (s->at < s->len) {
        char c = s->text[s->at];
        if (c == quote) {
            s->at++;
            return 0;
        }
        if (c == '\\' && quote == '"') {
            if (scan_escape(s) != 0)
                return -1;
        } else if (c == '\\') {
            s->line += is_next(s, 1, '\n');
            s->at += 2;
        } else if (c == '$' && quote == '"' && is_next(s, 1, '{')) {
            if (scan_variable(s) != 0)
                return -1;
        } else {
            s->line += c == '\n';
            s->at++;
        }
    }
    return refuse(s, line, quote == '"' ? "a text begins here and never ends; close it with \""
                                        : "a text begins here and never ends; close it with '");
}

static int
scan_brace(struct scan *s)
{
    if (s->text[s->at++] == '{') {
        if (s->depth == SCAN_DEPTH_MAX)
            return refuse(s, s->line, "braces are nested too deeply");
        s->opened[s->depth++] = s->line;
        return 0;
    }
    if (s->depth == 0)
        return refuse(s, s->line, "a '}' without its '{'; remove it");
    s->depth--;
    return 0;
}

/* A word without quotes. It may hold slashes, even two: the "//" of a comment stands at the beginning of a word. */
static int
scan_word(struct scan *s)
{
    while (s->at < s->len && strchr(" #\"'\t\n\r={}()+,*", s->text[s->at]) == NULL)
        s->at++;
    if (s->text[s->at - 1] == '$' && is_next(s, 0, '{'))
        return refuse(s, s->line, "a variable inside a word; put the whole into double quotes");
    return 0;
}

static int scan_token(struct scan *s);

/* (VALUE, VALUE): libConfuse forgets the memory of the values if it has to refuse the rest. */
static int
scan_call(struct scan *s)
{
    int line = s->line;
    bool has_value = false;

    s->at++;
    while (s->at < s->len && s->text[s->at] != ')') {
        size_t begin = s->at;
        if (strchr("{}=(+", s->text[begin]) != NULL)
            return refuse(s, line, "between '(' and ')' stands the name of a file: include(\"FILE\")");
        if (scan_token(s) != 0)
            return -1;
        char was = s->text[begin];                    /* now blank, if it was a comment */
        bool is_value = strchr(" \t\r\n,", was) == NULL;
        if (is_value && has_value)
            return refuse(s, line, "between '(' and ')' stands the name of one file: include(\"FILE\")");
        has_value = is_value || (has_value && was != ',');
    }
    if (s->at == s->len)
        return refuse(s, line, "a '(' here is never closed; add the ')'");
    s->at++;
    return 0;
}

static int
scan_token(struct scan *s)
{
    char c = s->text[s->at];
    switch (c) {
    case '\n': s->line++; s->at++; return 0;
    case ' ': case '\t': case '\r': case '=': case ',': case ')': s->at++; return 0;
    case '(': return scan_call(s);
    case '{': case '}': return scan_brace(s);
    case '"': case '\'': return scan_string(s);
    case '#': scan_line_comment(s); return 0;
    case '+':
        if (!is_next(s, 1, '='))
            return refuse(s, s->line, "a '+' that is not part of '+='; put the value into quotes");
        s->at += 2;
        return 0;
    case '*': return refuse(s, s->line, "a '*' outside of quotes; put the value into quotes");
    case '$': return is_next(s, 1, '{') ? scan_variable(s) : scan_word(s);
    case '/':
        if (is_next(s, 1, '/')) {
            scan_line_comment(s);
            return 0;
        }
        return is_next(s, 1, '*') ? scan_block_comment(s) : scan_word(s);
    default: return scan_word(s);
    }
}

int
conf_scan(struct conf_reader *r, const char *file, char *text, size_t len)
{
    struct scan s = { .r = r, .file = file, .text = text, .len = len, .line = 1 };
    if (scan_bytes(&s) != 0)
        return -1;
    while (s.at < s.len)
        if (scan_token(&s) != 0)
            return -1;
    if (s.depth > 0)
        return refuse(&s, s.opened[s.depth - 1], "a '{' here is never closed; add the '}'");
    return 0;
}
