/*
 * test_supervisor_args.c - a configured supervisor becomes what the behavior "supervisor" reads.
 */
#include "process/supervisor_args.h"

#include <string.h>

#include "testing.h"

static char *
text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static struct value_zone *zone;

/* As it arrives in an init: decoded, within the bounds of a message. */
static nx_value
decoded(const nx_packer *packer)
{
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    nx_value packed = value_packer_value(packer), v = { 0 };
    struct base_error why = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&zone), 0);
    CU_ASSERT_EQUAL(value_decode(zone, packed.packed, packed.packed_len, &limits, &v, &why), 0);
    return v;
}

/* The same formats as in supervisor.c. */
struct read_child { const char *label, *behavior, *name, *restart; nx_value args; int scope, priority; int64_t shutdown_ms; };

static int
read_child(nx_value v, struct read_child *c)
{
    return nx_unpack(v, "{s:s,s:s,s?v,s?i,s?s,s?i,s?s,s?I}", "label", &c->label, "behavior", &c->behavior, "args", &c->args, "scope", &c->scope, "name", &c->name,
                     "priority", &c->priority, "restart", &c->restart, "shutdownMs", &c->shutdown_ms);
}

UNIT(supervisor_args, all_that_was_configured_is_what_the_supervisor_reads)
{
    uint8_t seven[] = { 0x07 }, map[] = { 0x81, 0xa1, 'k', 0xc3 };
    struct conf_server servers[] = {
        { .label = text("one"), .behavior = text("counter"), .args = seven, .args_len = sizeof seven, .scope = NX_GLOBAL, .name = text("shared"), .priority = -3,
          .restart = CONF_TRANSIENT, .shutdown_ms = 1234 },
        { .label = text("two"), .behavior = text("probe"), .args = map, .args_len = sizeof map, .restart = CONF_TEMPORARY, .shutdown_ms = 1 },
    };
    struct conf_supervisor s = { .name = text("main"), .strategy = CONF_REST_FOR_ONE, .max_restarts = 9, .within_ms = 60000, .servers = servers, .server_count = 2 };
    nx_packer packer;
    value_packer_init(&packer, 0);
    CU_ASSERT_EQUAL_FATAL(supervisor_args(&s, &packer), 0);
    nx_value args = decoded(&packer), children = { 0 };
    const char *name = NULL, *strategy = NULL;
    int64_t max_restarts = 0, within_ms = 0;
    CU_ASSERT_EQUAL_FATAL(nx_unpack(args, "{s:s,s?s,s?I,s?I,s:v}", "name", &name, "strategy", &strategy, "maxRestarts", &max_restarts, "withinMs", &within_ms,
                                    "children", &children), 0);
    CU_ASSERT_STRING_EQUAL(name, "main");
    CU_ASSERT_STRING_EQUAL(strategy, "rest_for_one");
    CU_ASSERT_EQUAL(max_restarts, 9);
    CU_ASSERT_EQUAL(within_ms, 60000);
    CU_ASSERT_EQUAL_FATAL(nx_count(children), 2);

    struct read_child c = { 0 };
    CU_ASSERT_EQUAL_FATAL(read_child(nx_at(children, 0), &c), 0);
    CU_ASSERT_STRING_EQUAL(c.label, "one");
    CU_ASSERT_STRING_EQUAL(c.behavior, "counter");
    CU_ASSERT_STRING_EQUAL(c.name, "shared");
    CU_ASSERT_STRING_EQUAL(c.restart, "transient");
    CU_ASSERT_EQUAL(c.scope, NX_GLOBAL);
    CU_ASSERT_EQUAL(c.priority, -3);
    CU_ASSERT_EQUAL(c.shutdown_ms, 1234);
    int number = 0;
    CU_ASSERT_EQUAL(nx_unpack(c.args, "i", &number), 0);
    CU_ASSERT_EQUAL(number, 7);

    c = (struct read_child){ .name = NULL };
    CU_ASSERT_EQUAL_FATAL(read_child(nx_at(children, 1), &c), 0);
    CU_ASSERT(c.name == NULL || c.name[0] == '\0');
    CU_ASSERT_EQUAL(c.scope, 0);
    CU_ASSERT_STRING_EQUAL(c.restart, "temporary");
    CU_ASSERT_EQUAL(nx_count(c.args), 1);
    value_zone_free(&zone);
    value_packer_fini(&packer);
}

UNIT(supervisor_args, one_without_children_and_one_with_very_many_are_read)
{
    static struct conf_server servers[CONF_SERVERS_MAX];
    uint8_t nil[] = { 0xc0 };
    struct conf_supervisor s = { .name = text("main"), .strategy = CONF_ONE_FOR_ALL, .within_ms = 1, .servers = servers };
    for (size_t i = 0; i < CONF_SERVERS_MAX; i++)
        servers[i] = (struct conf_server){ .label = text("x"), .behavior = text("y"), .args = nil, .args_len = 1, .shutdown_ms = 5000 };
    for (size_t count = 0; count <= CONF_SERVERS_MAX; count += CONF_SERVERS_MAX) {
        nx_packer packer;
        nx_value children = { 0 };
        s.server_count = count;
        value_packer_init(&packer, 0);
        CU_ASSERT_EQUAL(supervisor_args(&s, &packer), 0);
        CU_ASSERT_EQUAL(nx_unpack(decoded(&packer), "{s:v}", "children", &children), 0);
        CU_ASSERT_EQUAL(nx_count(children), count);
        value_zone_free(&zone);
        value_packer_fini(&packer);
    }
}
