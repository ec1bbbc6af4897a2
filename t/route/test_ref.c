/*
 * test_ref.c - refs in this process's numbers, on the wire, as text, inside values; nodes that nobody has met yet.
 */
#include "route/route.h"

#include <stdio.h>
#include <string.h>

#include "testing.h"
#include "unit.h"
#include "value/value.h"

static struct wire_ref
wire(const char *node, uint64_t incarnation, uint64_t serial)
{
    struct wire_ref w = { .incarnation = incarnation, .serial = serial, .generation = 3, .slot = 2 };
    (void)snprintf(w.node, sizeof w.node, "%s", node);
    return w;
}

UNIT(ref, the_wire_and_back_gives_the_same_ref_for_every_kind_of_node)
{
    static const char *const nodes[] = { OUR_NODE, UP_NODE, DOWN_NODE, "stranger@10.0.0.9:1", "s2@[::1]:2" };
    struct place p = { .shm = NULL };
    place_open(&p, OUR_SLOT, OUR_LIFE);
    for (int i = 0; i < 5; i++) {
        struct wire_ref in = wire(nodes[i], 0xabcdef, 42), out;
        nx_ref ref, again;
        char text[NX_REF_TEXT_MAX], expected[NX_REF_TEXT_MAX];
        CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &in, &ref, NULL), 0);
        CU_ASSERT_EQUAL(ref.node >= 0x80000000, i >= 3);
        if (i < 3)
            CU_ASSERT_EQUAL(ref.node, (uint32_t)i);
        route_ref_to_wire(p.route, ref, &out);
        CU_ASSERT_EQUAL(out.incarnation, in.incarnation);
        CU_ASSERT_EQUAL(out.serial, in.serial);
        CU_ASSERT_EQUAL(out.generation, 3);
        CU_ASSERT_EQUAL(out.slot, 2);
        CU_ASSERT_STRING_EQUAL(out.node, nodes[i]);
        CU_ASSERT_STRING_EQUAL(nx_ref_node(ref), nodes[i]);
        (void)snprintf(expected, sizeof expected, "#%s/0000000000abcdef/2.3.42", nodes[i]);
        CU_ASSERT_EQUAL(nx_ref_text(ref, text, sizeof text), 0);
        CU_ASSERT_STRING_EQUAL(text, expected);
        CU_ASSERT_EQUAL(nx_ref_parse(text, &again), 0);
        CU_ASSERT(nx_ref_equal(ref, again));
        CU_ASSERT_EQUAL(again.node, ref.node);                            /* a stranger met twice has one number */
    }
    CU_ASSERT_STRING_EQUAL(nx_node(), OUR_NODE);
    nx_ref self = route_self_ref(p.route, 7);
    CU_ASSERT(self.node == 0 && self.incarnation == OUR_INCARNATION && self.slot == OUR_SLOT && self.generation == OUR_LIFE && self.serial == 7);
    place_close(&p);
    CU_ASSERT_PTR_NULL(nx_node());                                        /* no route, no node */
    CU_ASSERT_PTR_NULL(nx_ref_node(self));
    CU_ASSERT_EQUAL(nx_ref_text(self, (char[NX_REF_TEXT_MAX]){ 0 }, NX_REF_TEXT_MAX), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_ref_parse("#x", &self), NX_EINVAL);
    CU_ASSERT(nx_ref_equal(self, self));
}

UNIT(ref, nothing_stays_nothing)
{
    struct place p = { .shm = NULL };
    struct wire_ref out;
    nx_ref nothing = { .serial = 0 }, back = { .serial = 9 };
    place_open(&p, OUR_SLOT, OUR_LIFE);
    CU_ASSERT_PTR_NULL(nx_ref_node(nothing));
    route_ref_to_wire(p.route, nothing, &out);
    CU_ASSERT_EQUAL(out.serial, 0);
    CU_ASSERT_STRING_EQUAL(out.node, OUR_NODE);
    CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &out, &back, NULL), 0);
    CU_ASSERT(nx_ref_equal(back, nothing));
    out = (struct wire_ref){ .node = "nobody@h:1" };                      /* another node's nothing takes no number here */
    CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &out, &back, NULL), 0);
    CU_ASSERT_EQUAL(back.node, 0);
    place_close(&p);
}

UNIT(ref, a_stranger_is_reached_when_the_node_table_has_met_it_and_its_refs_are_equal)
{
    struct place p = { .shm = NULL };
    struct wire_ref in = wire("new@10.0.0.9:1", 0x77, 42);
    struct envelope e;
    nx_ref early, late, other;
    uint32_t index;
    place_open(&p, OUR_SLOT, OUR_LIFE);
    CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &in, &early, NULL), 0);
    CU_ASSERT_EQUAL(route_to(p.route, early, &e), NX_ENODE);
    place_node(&p, "new@10.0.0.9:1", NODES_CONNECTING, 0, 0, &index);
    CU_ASSERT_EQUAL(route_to(p.route, early, &e), NX_ENODE);
    place_node(&p, "new@10.0.0.9:1", NODES_UP, 0x77, 3, &index);
    CU_ASSERT_EQUAL(route_to(p.route, early, &e), ROUTE_NODE);
    CU_ASSERT(e.node == index && e.session == 3 && e.serial == 42);
    CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &in, &late, NULL), 0);
    CU_ASSERT_EQUAL(late.node, index);
    CU_ASSERT_NOT_EQUAL(early.node, late.node);
    CU_ASSERT(nx_ref_equal(early, late));
    CU_ASSERT(nx_ref_equal(late, early));
    other = late;
    other.node = 1;
    CU_ASSERT(!nx_ref_equal(early, other));
    place_node(&p, "new@10.0.0.9:1", NODES_UP, 0x78, 4, &index);          /* it was restarted */
    CU_ASSERT_EQUAL(route_to(p.route, early, &e), NX_ENOSERVER);
    place_close(&p);
}

UNIT(ref, equality_looks_at_every_field)
{
    struct place p = { .shm = NULL };
    place_open(&p, OUR_SLOT, OUR_LIFE);
    nx_ref a = { .incarnation = 1, .serial = 2, .node = 1, .generation = 3, .slot = 4 };
    nx_ref b[5] = { a, a, a, a, a };
    b[0].incarnation++, b[1].serial++, b[2].node++, b[3].generation++, b[4].slot++;
    CU_ASSERT(nx_ref_equal(a, a));
    for (int i = 0; i < 5; i++)
        CU_ASSERT(!nx_ref_equal(a, b[i]));
    place_close(&p);
}

UNIT(ref, at_most_1024_strangers_then_full_and_those_met_before_still_work)
{
    struct place p = { .shm = NULL };
    struct base_error why;
    nx_ref ref, first, untouched = { .serial = 99 };
    place_open(&p, OUR_SLOT, OUR_LIFE);
    for (int i = 0; i < 1024; i++) {
        char id[64];
        (void)snprintf(id, sizeof id, "n%d@10.0.0.9:1", i);
        struct wire_ref in = wire(id, 5, 6);
        CU_ASSERT_EQUAL_FATAL(route_ref_from_wire(p.route, &in, i == 0 ? &first : &ref, NULL), 0);
    }
    struct wire_ref more = wire("n1024@10.0.0.9:1", 5, 6), known = wire("n0@10.0.0.9:1", 5, 6), member = wire(UP_NODE, 5, 6);
    CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &more, &untouched, &why), NX_EFULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "n1024@10.0.0.9:1"));
    CU_ASSERT_EQUAL(untouched.serial, 99);
    CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &known, &ref, NULL), 0);
    CU_ASSERT(nx_ref_equal(ref, first));
    CU_ASSERT_EQUAL(route_ref_from_wire(p.route, &member, &ref, NULL), 0);
    CU_ASSERT_EQUAL(ref.node, 1);
    place_close(&p);
}

UNIT(ref, what_a_module_makes_up_is_refused_not_believed)
{
    static const uint32_t numbers[] = { 3, 15, 4096, 0x7fffffff, 0x80000000, 0x80000001, UINT32_MAX };
    struct place p = { .shm = NULL };
    char text[NX_REF_TEXT_MAX] = "untouched";
    place_open(&p, OUR_SLOT, OUR_LIFE);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        nx_ref made_up = { .incarnation = 1, .serial = 2, .node = numbers[i] };
        struct wire_ref out;
        CU_ASSERT_PTR_NULL(nx_ref_node(made_up));
        CU_ASSERT_EQUAL(nx_ref_text(made_up, text, sizeof text), NX_EINVAL);
        CU_ASSERT_STRING_EQUAL(text, "untouched");
        route_ref_to_wire(p.route, made_up, &out);
        CU_ASSERT_EQUAL(out.serial, 0);
        CU_ASSERT_STRING_EQUAL(out.node, OUR_NODE);
    }
    nx_ref self = route_self_ref(p.route, 1);
    CU_ASSERT_EQUAL(nx_ref_text(self, text, 10), NX_EINVAL);
    place_close(&p);
}

UNIT(ref, a_wrong_text_is_refused_with_the_part_that_is_wrong)
{
    static const struct { const char *text, *part; } cases[] = {
        { "", "'#'" }, { "app1@127.0.0.1:4369/0000000000000001/1.2.3", "'#'" }, { "#app1@127.0.0.1:4369", "'/'" },
        { "#app1@127.0.0.1:0/0000000000000001/1.2.3", "port" }, { "#app1@127.0.0.1:4369/1/1.2.3", "incarnation" },
        { "#app1@127.0.0.1:4369/0000000000000001/65536.2.3", "slot" }, { "#app1@127.0.0.1:4369/0000000000000001/1.2.3 ", "serial" },
    };
    struct place p = { .shm = NULL };
    nx_ref ref = { .serial = 99 };
    place_open(&p, OUR_SLOT, OUR_LIFE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CU_ASSERT_EQUAL(nx_ref_parse(cases[i].text, &ref), NX_EINVAL);
        CU_ASSERT_EQUAL(value_last_error()->code, NX_EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(value_last_error()->text, cases[i].part));
    }
    CU_ASSERT_EQUAL(nx_ref_parse(NULL, &ref), NX_EINVAL);
    CU_ASSERT_EQUAL(ref.serial, 99);
    place_close(&p);
}

UNIT(ref, refs_travel_inside_values_and_json)
{
    struct place p = { .shm = NULL };
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    struct value_zone *zone = NULL;
    nx_packer packer;
    nx_value value;
    nx_ref sent = { .incarnation = PEER_INCARNATION, .serial = 5, .node = 1, .generation = 6, .slot = 7 }, got = { .serial = 0 };
    struct buf json;
    place_open(&p, OUR_SLOT, OUR_LIFE);
    value_packer_init(&packer, 1 << 20);
    buf_init(&json, 0);
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&zone), 0);
    CU_ASSERT_EQUAL(nx_pack(&packer, "{s:r}", "ref", sent), 0);
    nx_value packed = value_packer_value(&packer);
    CU_ASSERT_EQUAL(value_decode(zone, packed.packed, packed.packed_len, &limits, &value, NULL), 0);
    CU_ASSERT_EQUAL(nx_unpack(value, "{s:r}", "ref", &got), 0);
    CU_ASSERT(nx_ref_equal(sent, got));
    CU_ASSERT_EQUAL(value_to_json(value, 0, &json), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(buf_cstr(&json), "\"#" UP_NODE "/0000000000002222/7.6.5\""));
    value_packer_clear(&packer);
    CU_ASSERT_EQUAL(value_from_json(&packer, buf_cstr(&json), buf_len(&json), NULL), 0);
    packed = value_packer_value(&packer);
    got = (nx_ref){ .serial = 0 };
    CU_ASSERT_EQUAL(value_decode(zone, packed.packed, packed.packed_len, &limits, &value, NULL), 0);
    CU_ASSERT_EQUAL(nx_unpack(value, "{s:r}", "ref", &got), 0);
    CU_ASSERT(nx_ref_equal(sent, got));
    sent.node = 15;                               /* never heard of */
    value_packer_clear(&packer);
    CU_ASSERT_EQUAL(nx_pack(&packer, "r", sent), NX_EINVAL);
    buf_fini(&json);
    value_packer_fini(&packer);
    value_zone_free(&zone);
    place_close(&p);
}

UNIT(ref, a_registry_entry_becomes_a_ref_of_its_node)
{
    struct place p = { .shm = NULL };
    struct registry_entry entry = { .name = "n", .name_len = 1, .slot = 7, .node = 1, .generation = 8, .incarnation = PEER_INCARNATION, .serial = 9 };
    struct envelope e;
    nx_ref ref;
    place_open(&p, OUR_SLOT, OUR_LIFE);
    route_ref_from_entry(p.route, &entry, &ref);
    CU_ASSERT_STRING_EQUAL(nx_ref_node(ref), UP_NODE);
    CU_ASSERT_EQUAL(route_to(p.route, ref, &e), ROUTE_NODE);
    CU_ASSERT(e.slot == 7 && e.generation == 8 && e.serial == 9);
    place_close(&p);
}
