/*
 * settings.c - the text of a value into a number, a time, a size, a switch or a word.
 *
 * Lives here: units, bounds, and the complaint that says what would have been right.
 * Never here: which settings there are.
 * Runs in: the master, `noexd -t`.
 */
#include "conf/conf_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"

struct unit { const char *name; uint64_t factor; };

static const struct unit time_units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
static const struct unit size_units[] = { { "", 1 }, { "k", 1 << 10 }, { "m", 1 << 20 }, { "g", 1 << 30 } };

enum parsed { PARSED, NOT_A_NUMBER, NO_UNIT, OVERFLOW };

/* Digits alone: no sign, no space, no 0x. *rest = what follows. */
static enum parsed
parse_digits(const char *text, uint64_t *out, const char **rest)
{
    uint64_t value = 0;
    const char *p = text;
    bool is_over = false;

    for (; *p >= '0' && *p <= '9'; p++)
        is_over |= __builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
    if (p == text)
        return NOT_A_NUMBER;
    *rest = p;
    *out = value;
    return is_over ? OVERFLOW : PARSED;
}

static enum parsed
parse_with_unit(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
    uint64_t value = 0;
    const char *rest;
    enum parsed result = parse_digits(text, &value, &rest);
    if (result == NOT_A_NUMBER)
        return result;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rest, units[i].name) != 0)
            continue;
        return result == OVERFLOW || __builtin_mul_overflow(value, units[i].factor, out) ? OVERFLOW : PARSED;
    }
    return *rest == '\0' ? NO_UNIT : NOT_A_NUMBER;
}

bool
conf_parse_count(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t value;
    const char *rest;
    if (parse_digits(text, &value, &rest) != PARSED || *rest != '\0' || value > max)
        return false;
    *out = value;
    return true;
}

/* The shortest way to write it. */
static const char *
write_with_unit(uint64_t value, const struct unit *units, size_t count, char out[static 32])
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (value != 0 && value % units[i].factor == 0)
            best = i;
    (void)snprintf(out, 32, "%llu%s", (unsigned long long)(value / units[best].factor), units[best].name);
    return out;
}

/* A number in one of the units: *out stays as it is if nothing, or nothing right, is written. */
static void
take(struct conf_reader *r, cfg_t *section, const char *name, const struct unit *units, size_t count, const char *remedy,
     struct conf_range range, uint64_t *out)
{
    const struct conf_entry *e = conf_entry_of(section, name);
    if (e == NULL)
        return;

    char shown[CONF_SHOWN], low[32], high[32];
    uint64_t value = 0;
    switch (parse_with_unit(e->value, units, count, &value)) {
    case NOT_A_NUMBER:
        conf_complain(r, e->file, e->line, "%s = '%s' is %s", name, conf_shown(e->value, shown), remedy);
        return;
    case NO_UNIT:
        conf_complain(r, e->file, e->line, "%s = '%s': unit missing; write 5s, 200ms or 1m", name, conf_shown(e->value, shown));
        return;
    case PARSED:
        if (value >= range.min && value <= range.max) {
            *out = value;
            return;
        }
        break;
    case OVERFLOW:
        break;
    }
    conf_complain(r, e->file, e->line, "%s = '%s' is not between %s and %s", name, conf_shown(e->value, shown),
                  write_with_unit(range.min, units, count, low), write_with_unit(range.max, units, count, high));
}

void
conf_take_duration(struct conf_reader *r, cfg_t *section, const char *name, int64_t default_ms, struct conf_range range, int64_t *out_ms)
{
    uint64_t value = (uint64_t)default_ms;
    nx_assert(range.max <= INT64_MAX);
    take(r, section, name, time_units, BASE_COUNT(time_units), "not a time; write 5s, 200ms or 1m", range, &value);
    *out_ms = (int64_t)value;
}

void
conf_take_size(struct conf_reader *r, cfg_t *section, const char *name, uint64_t default_bytes, struct conf_range range, uint64_t *out)
{
    *out = default_bytes;
    take(r, section, name, size_units, BASE_COUNT(size_units), "not a size; write bytes, or a number with k, m or g", range, out);
}

void
conf_take_count(struct conf_reader *r, cfg_t *section, const char *name, uint32_t default_count, struct conf_range range, uint32_t *out)
{
    static const struct unit one = { "", 1 };
    uint64_t value = default_count;
    nx_assert(range.max <= UINT32_MAX);
    take(r, section, name, &one, 1, "not a number; write digits alone", range, &value);
    *out = (uint32_t)value;
}

void
conf_take_word(struct conf_reader *r, cfg_t *section, const char *name, const char *const *words, int default_index, int *out)
{
    const struct conf_entry *e = conf_entry_of(section, name);
    *out = default_index;
    if (e == NULL)
        return;

    char choice[256] = "", shown[CONF_SHOWN];
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(e->value, words[i]) == 0) {
            *out = i;
            return;
        }
        size_t at = strlen(choice);
        (void)snprintf(choice + at, sizeof choice - at, "%s%s", i == 0 ? "" : words[i + 1] != NULL ? ", " : " or ", words[i]);
    }
    conf_complain(r, e->file, e->line, "%s = '%s' is not %s", name, conf_shown(e->value, shown), choice);
}

void
conf_take_flag(struct conf_reader *r, cfg_t *section, const char *name, bool is_default_on, bool *out)
{
    static const char *const words[] = { "off", "on", "false", "true", "no", "yes", NULL };
    int index;
    conf_take_word(r, section, name, words, is_default_on, &index);
    *out = index % 2 == 1;
}
