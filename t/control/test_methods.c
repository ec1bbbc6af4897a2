/*
 * test_methods.c - what can be asked, by people's tools and by programs.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "base/clock.h"
#include "unit.h"
#include "value/value.h"

#define SAYS(text, part) CU_ASSERT_PTR_NOT_NULL(strstr(text, part))

static char line[1200];

static const char *
with_target(const char *target, const char *more)
{
    (void)snprintf(line, sizeof line, "{\"target\":\"%s\"%s}", target, more);
    return line;
}

static const char *
ref_text(uint16_t slot, uint64_t serial, bool on_peer)
{
    static char text[NX_REF_TEXT_MAX];
    node_ref(slot, serial, on_peer, text);
    return text;
}

UNIT(methods, C1_a_target_is_a_ref_a_local_or_a_global_name)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target(ref_text(1, 5, false), ",\"message\":{\"a\":1}")), "{\"a\":1}");
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target(ref_text(0, 5, true), ",\"message\":2")), "2");
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target("here", ",\"message\":3")), "3");
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target("far", ",\"message\":4")), "4");
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target("both", ",\"message\":null")), "null");
    SAYS(ask(c, "whereis", "{\"name\":\"both\"}"), ".13\"");
    SAYS(ask(c, "whereis", "{\"name\":\"both\",\"scope\":\"global\"}"), ".14\"");
    SAYS(ask(c, "call", with_target("nobody", ",\"message\":1")), "NX_ENONAME: name nobody is not registered");
    CU_ASSERT_STRING_EQUAL(ask_error()->subject, "nobody");
    SAYS(ask(c, "call", with_target("#zz", ",\"message\":1")), "NX_EINVAL: ref:");
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, C9_refs_of_other_lives_and_unknown_nodes_fail_at_once)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    uint64_t begin = clock_now_ns();
    SAYS(ask(c, "call", with_target("#app1@127.0.0.1:4369/3333333333333333/0.1.5", ",\"message\":1")), "NX_ENOSERVER");
    SAYS(ask(c, "call", with_target("#app1@127.0.0.1:4369/1111111111111111/0.9.5", ",\"message\":1")), "NX_ENOSERVER");
    SAYS(ask(c, "call", with_target("#app1@127.0.0.1:4369/1111111111111111/65532.1.5", ",\"message\":1")), "NX_ENOSERVER");
    SAYS(ask(c, "call", with_target("#app2@127.0.0.1:4370/3333333333333333/0.1.5", ",\"message\":1")), "NX_ENOSERVER");
    SAYS(ask(c, "call", with_target("#app9@127.0.0.1:4379/3333333333333333/0.1.5", ",\"message\":1")), "NX_ENODE");
    SAYS(ask_error()->text, "app9@127.0.0.1:4379");
    CU_ASSERT_STRING_EQUAL(ask(c, "cast", with_target("#app9@127.0.0.1:4379/3333333333333333/0.1.5", ",\"message\":1")), "true");
    CU_ASSERT_TRUE(clock_now_ns() - begin < CLOCK_NS_PER_S);
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, C8_the_error_of_a_handler_arrives_whole)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target("here", ",\"message\":\"fail\"")), "NX_EAPP: no such account: \"x\"");
    CU_ASSERT_EQUAL(ask_error()->app_code, 42);
    SAYS(ask(c, "call", with_target("here", ",\"message\":\"garbage\"")), "NX_EBADMSG");
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target("here", ",\"message\":1")), "1");      /* and the stream is whole */
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, C5_a_worker_of_another_node_that_dies_fails_its_calls_at_once)
{
    struct node n;
    struct buf b, in;
    struct raw_answer a;
    node_start(&n);
    struct client *c = ask_open(&n);
    int fd = raw_open(&n);
    buf_init(&b, 0);
    buf_init(&in, 0);
    raw_request(&b, 1, "call", with_target("far", ",\"message\":\"hang\",\"timeoutMs\":\"infinity\""));
    raw_request(&b, 2, "call", with_target(ref_text(1, 5, true), ",\"message\":\"hang\",\"timeoutMs\":\"infinity\""));
    raw_send(fd, buf_data(&b), buf_len(&b));
    CU_ASSERT_TRUE(node_until(&n, &n.seen->gate_pending, 2));
    node_order(&n, ORDER_PEER_WORKER_DIES);
    CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_EQUAL(a.id, 1);
    SAYS(a.json, "NX_ENOSERVER");
    SAYS(a.json, NODE_PEER);
    CU_ASSERT_TRUE(node_until(&n, &n.seen->gate_pending, 1));          /* the one on its neighbour stays */
    buf_fini(&b);
    buf_fini(&in);
    (void)close(fd);
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, C4_a_node_that_leaves_fails_its_calls_at_once)
{
    struct node n;
    struct buf b, in;
    struct raw_answer a;
    node_start(&n);
    struct client *c = ask_open(&n);
    int fd = raw_open(&n);
    buf_init(&b, 0);
    buf_init(&in, 0);
    raw_request(&b, 1, "call", with_target("far", ",\"message\":\"hang\",\"timeoutMs\":\"infinity\""));
    raw_request(&b, 2, "start", "{\"behavior\":\"echo\",\"node\":\"" NODE_PEER "\",\"args\":\"hang\"}");
    raw_send(fd, buf_data(&b), buf_len(&b));
    CU_ASSERT_TRUE(node_until(&n, &n.seen->gate_pending, 2));
    node_order(&n, ORDER_PEER_DOWN);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
        SAYS(a.json, "NX_ENODE");
        SAYS(a.json, NODE_PEER);
    }
    SAYS(ask(c, "call", with_target(ref_text(0, 5, true), ",\"message\":2")), "NX_ENODE: node " NODE_PEER " is not reachable");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"node\":\"" NODE_PEER "\"}"), "NX_ENODE: node " NODE_PEER " is not reachable");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"node\":\"app7@127.0.0.1:1\"}"), "NX_ENODE: node app7@127.0.0.1:1 is not reachable");
    node_order(&n, ORDER_PEER_UP);
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target("far", ",\"message\":6")), "6");
    buf_fini(&b);
    buf_fini(&in);
    (void)close(fd);
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, the_end_of_the_link_worker_fails_calls_to_other_nodes)
{
    struct node n;
    struct buf b, in;
    struct raw_answer a;
    node_start(&n);
    int fd = raw_open(&n);
    buf_init(&b, 0);
    buf_init(&in, 0);
    raw_request(&b, 1, "call", with_target("far", ",\"message\":\"hang\",\"timeoutMs\":\"infinity\""));
    raw_request(&b, 2, "call", with_target("here", ",\"message\":\"hang\",\"timeoutMs\":400"));
    raw_send(fd, buf_data(&b), buf_len(&b));
    CU_ASSERT_TRUE(node_until(&n, &n.seen->calls, 2));
    node_order(&n, ORDER_LINK_DIES);
    CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_EQUAL(a.id, 1);
    SAYS(a.json, "NX_ENODE");
    CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
    CU_ASSERT_EQUAL(a.id, 2);
    SAYS(a.json, "NX_ETIMEDOUT");
    struct client *c = ask_open(&n);
    SAYS(ask(c, "register", with_target("here", ",\"name\":\"n\"")), "NX_ENOSERVER");
    buf_fini(&b);
    buf_fini(&in);
    (void)close(fd);
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, C5_a_worker_that_dies_fails_its_calls_at_once)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    uint64_t begin = clock_now_ns();
    SAYS(ask(c, "call", with_target("here", ",\"message\":\"die\"")), "NX_ENOSERVER");
    SAYS(ask_error()->text, "#app1@127.0.0.1:4369/1111111111111111/0.1.10");
    CU_ASSERT_TRUE(clock_now_ns() - begin < CLOCK_NS_PER_S);
    SAYS(ask(c, "lookup", "{\"name\":\"here\"}"), "NX_ENONAME");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\"}"), "/1.1.");       /* the other worker */
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, C10_bodies_keep_their_bytes_and_their_depth)
{
    struct node n;
    nx_value result;
    nx_packer p;
    uint8_t message[200];
    struct base_error why;
    node_start(&n);
    struct client *c = ask_open(&n);

    /* 31 arrays around a number in its widest form: 32 levels with the params' own around them. */
    memset(message, 0x91, 31);
    static const uint8_t wide[] = { 0xcf, 0, 0, 0, 0, 0, 0, 0, 1 };
    memcpy(message + 31, wide, sizeof wide);
    value_packer_init(&p, 0);
    CU_ASSERT_EQUAL(nx_pack(&p, "{s:s,s:v}", "target", "here", "message", (nx_value){ .packed = message, .packed_len = 40 }), 0);
    CU_ASSERT_EQUAL_FATAL(client_request(c, "call", &p.bytes, 5000, &result, &why), 0);
    CU_ASSERT_EQUAL(result.packed_len, 40);
    CU_ASSERT_EQUAL(memcmp(result.packed, message, 40), 0);
    value_packer_fini(&p);

    /* 33 levels pass the framing, and are refused as a body. */
    memset(message, 0x91, 33);
    message[33] = 0xc0;
    struct buf raw;
    static const uint8_t head[] = { 0x82, 0xa6, 't', 'a', 'r', 'g', 'e', 't', 0xa4, 'h', 'e', 'r', 'e', 0xa7, 'm', 'e', 's', 's', 'a', 'g', 'e' };
    buf_init(&raw, 0);
    CU_ASSERT_EQUAL(buf_put(&raw, head, sizeof head), 0);
    CU_ASSERT_EQUAL(buf_put(&raw, message, 34), 0);
    CU_ASSERT_EQUAL(client_request(c, "call", &raw, 5000, &result, &why), NX_EBADMSG);
    buf_fini(&raw);

    /* max_body and one more. */
    static uint8_t body[NODE_MAX_BODY + 1];
    for (int extra = 0; extra <= 1; extra++) {
        size_t len = NODE_MAX_BODY + (size_t)extra;
        body[0] = 0xc6, body[1] = 0, body[2] = 0;
        body[3] = (uint8_t)((len - 5) >> 8), body[4] = (uint8_t)(len - 5);
        value_packer_init(&p, 0);
        CU_ASSERT_EQUAL(nx_pack(&p, "{s:s,s:v}", "target", "here", "message", (nx_value){ .packed = body, .packed_len = len }), 0);
        CU_ASSERT_EQUAL(client_request(c, "call", &p.bytes, 5000, &result, &why), extra == 0 ? 0 : NX_ETOOBIG);
        value_packer_fini(&p);
    }
    CU_ASSERT_STRING_EQUAL(ask(c, "call", with_target("here", ",\"message\":1")), "1");
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, S1_servers_start_here_and_on_another_node)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"args\":{\"start\":1}}"), "\"#" NODE_SELF "/1111111111111111/0.1.1\"");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"node\":\"" NODE_SELF "\"}"), "\"#" NODE_SELF "/1111111111111111/0.1.2\"");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"node\":\"" NODE_PEER "\"}"), "\"#" NODE_PEER "/2222222222222222/0.1.1\"");
    SAYS(ask(c, "start", "{\"behavior\":\"unknown_here\",\"node\":\"" NODE_PEER "\"}"), NODE_PEER);      /* it is for that node to say */
    CU_ASSERT_TRUE(node_until(&n, &n.seen->acks, 4));
    CU_ASSERT_STRING_EQUAL(ask(c, "start", "{\"behavior\":\"echo\",\"args\":\"fail\"}"), "NX_EINIT: init failed: no disk");
    CU_ASSERT_EQUAL(ask_error()->app_code, 7);
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, starts_that_are_on_their_way_count_for_their_worker)
{
    struct node n;
    struct buf b, in;
    struct raw_answer a;
    node_start(&n);
    int fd = raw_open(&n), on[2] = { 0, 0 };
    buf_init(&b, 0);
    buf_init(&in, 0);
    for (uint32_t i = 0; i < 64; i++)
        raw_request(&b, i, "start", "{\"behavior\":\"echo\"}");
    raw_send(fd, buf_data(&b), buf_len(&b));
    for (uint32_t i = 0; i < 64; i++) {
        CU_ASSERT_EQUAL_FATAL(raw_next(fd, &in, &a), 1);
        CU_ASSERT_FALSE(a.is_error);
        on[strstr(a.json, "/1.1.") != NULL]++;
    }
    CU_ASSERT_TRUE(on[0] >= 20 && on[1] >= 20);
    buf_fini(&b);
    buf_fini(&in);
    (void)close(fd);
    node_finish(&n);
}

UNIT(methods, S8_a_start_that_takes_too_long_is_taken_back)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "start", "{\"behavior\":\"echo\",\"args\":\"hang\",\"spawnTimeoutMs\":100}"),
                           "NX_ETIMEDOUT: start of echo timed out after 100 ms");
    CU_ASSERT_EQUAL(ask_error()->timeout_ms, 100);
    CU_ASSERT_TRUE(node_until(&n, &n.seen->cancels, 1));
    CU_ASSERT_EQUAL(n.seen->acks, 0);
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"args\":\"late\",\"spawnTimeoutMs\":50}"), "NX_ETIMEDOUT");
    CU_ASSERT_TRUE(node_until(&n, &n.seen->cancels, 3));           /* when it was given up, and when it was there all the same */
    node_order(&n, ORDER_SYNC);
    CU_ASSERT_EQUAL(n.seen->gate_late, 1);
    node_order(&n, ORDER_NO_WORKERS);
    SAYS(ask(c, "start", "{\"behavior\":\"echo\"}"), "NX_EBUSY");
    node_order(&n, ORDER_SYNC);
    CU_ASSERT_EQUAL(n.seen->spawns_initiated, 3);
    CU_ASSERT_EQUAL(n.seen->spawns_ended, 3);
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, S4_B4_wrong_starts_are_refused_before_anything_is_sent)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"name\":\"x\"}"), "NX_EINVAL: parameter name: needs register");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"register\":\"local\"}"), "NX_EINVAL: parameter register: needs a name");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"register\":\"some\",\"name\":\"x\"}"), "must be none, local or global");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"register\":\"local\",\"name\":\"#x\"}"), "NX_EINVAL: the name");
    SAYS(ask(c, "start", "{\"behavior\":\"\"}"), "NX_EINVAL: parameter behavior");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"spawnTimeoutMs\":0}"), "NX_EINVAL: parameter spawnTimeoutMs");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"initTimeoutMs\":-1}"), "NX_EINVAL: parameter initTimeoutMs");
    SAYS(ask(c, "start", "{\"behavior\":\"echo\",\"node\":\"app2@\"}"), "NX_EINVAL: node id");
    CU_ASSERT_STRING_EQUAL(ask(c, "start", "{\"behavior\":\"nothing\"}"), "NX_ENOBEHAVIOR: behavior nothing is not registered on node " NODE_SELF);
    CU_ASSERT_STRING_EQUAL(ask(c, "start", "{\"behavior\":\"gone\"}"), "NX_ENOBEHAVIOR: behavior gone is not registered on node " NODE_SELF);
    CU_ASSERT_STRING_EQUAL(ask_error()->subject, "gone");
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, parameters_are_checked_by_name_and_type)
{
    static const struct { const char *method, *params, *says; } wrong[] = {
        { "nothing", NULL, "method nothing: there is no such method" }, { "call", NULL, "parameter target: is missing" },
        { "call", "{\"target\":\"here\"}", "parameter message: is missing" },
        { "call", "{\"target\":null,\"message\":1}", "parameter target: is missing" },
        { "call", "{\"target\":5,\"message\":1}", "parameter target: must be a string" },
        { "call", "{\"target\":\"here\",\"message\":1,\"timeoutMs\":0}", "parameter timeoutMs: must be" },
        { "call", "{\"target\":\"here\",\"message\":1,\"timeoutMs\":-1}", "parameter timeoutMs: must be" },
        { "call", "{\"target\":\"here\",\"message\":1,\"timeoutMs\":1.5}", "parameter timeoutMs: must be" },
        { "call", "{\"target\":\"here\",\"message\":1,\"timeoutMs\":4294967296}", "parameter timeoutMs: must be" },
        { "call", "{\"target\":\"here\",\"message\":1,\"timeOut\":5}", "parameter timeOut: this method has no such parameter" },
        { "names", "{\"scope\":\"none\"}", "parameter scope: must be local or global" },
        { "names", "{\"limit\":-1}", "parameter limit: must be" }, { "nodes", "{\"up\":1}", "parameter up: must be true or false" },
        { "stop", "{\"target\":\"here\",\"reason\":\"killed\"}", "parameter reason: must be normal or shutdown" },
        { "whereis", "{\"name\":\"\"}", "the name is empty" }, { "status", "{\"name\":\"x\"}", "parameter name: this method has no such parameter" },
    };
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *got = ask(c, wrong[i].method, wrong[i].params);
        SAYS(got, "NX_EINVAL: ");
        SAYS(got, wrong[i].says);
    }
    /* A key given twice cannot be written in JSON. */
    static const uint8_t twice[] = { 0x82, 0xa4, 'n', 'a', 'm', 'e', 0xa1, 'x', 0xa4, 'n', 'a', 'm', 'e', 0xa1, 'y' };
    struct buf b;
    struct base_error why = { 0 };
    nx_value v;
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(buf_put(&b, twice, sizeof twice), 0);
    CU_ASSERT_EQUAL(client_request(c, "whereis", &b, 5000, &v, &why), NX_EINVAL);
    SAYS(why.text, "given twice");
    buf_fini(&b);
    CU_ASSERT_STRING_EQUAL(ask(c, "whereis", "{\"name\":\"x\",\"scope\":null}"), "null");     /* a nil is "not given" */
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, R1_R3_names_are_given_found_and_taken)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    CU_ASSERT_STRING_EQUAL(ask(c, "isRegistered", "{\"name\":\"mine\"}"), "false");
    CU_ASSERT_STRING_EQUAL(ask(c, "register", with_target(ref_text(1, 21, false), ",\"name\":\"mine\"")), "true");
    SAYS(ask(c, "lookup", "{\"name\":\"mine\"}"), "/1.1.21\"");
    CU_ASSERT_STRING_EQUAL(ask(c, "isRegistered", "{\"name\":\"mine\"}"), "true");
    CU_ASSERT_STRING_EQUAL(ask(c, "isRegistered", "{\"name\":\"mine\",\"scope\":\"global\"}"), "false");
    SAYS(ask(c, "lookup", "{\"name\":\"mine\",\"scope\":\"global\"}"), "NX_ENONAME: name mine is not registered, scope global");
    CU_ASSERT_STRING_EQUAL(ask(c, "unregister", "{\"name\":\"mine\"}"), "true");
    CU_ASSERT_STRING_EQUAL(ask(c, "whereis", "{\"name\":\"mine\"}"), "null");
    SAYS(ask(c, "unregister", "{\"name\":\"mine\"}"), "NX_ENONAME");
    SAYS(ask(c, "register", with_target("here", ",\"name\":\"taken\",\"scope\":\"global\"")), "NX_ECONFLICT");
    CU_ASSERT_STRING_EQUAL(ask_error()->subject, NODE_PEER);

    /* A server of another node: its own node registers it, and only globally. */
    CU_ASSERT_STRING_EQUAL(ask(c, "register", with_target(ref_text(0, 22, true), ",\"name\":\"abroad\",\"scope\":\"global\"")), "true");
    SAYS(ask(c, "lookup", "{\"name\":\"abroad\"}"), NODE_PEER);
    SAYS(ask(c, "register", with_target(ref_text(0, 22, true), ",\"name\":\"abroad\"")), "NX_EINVAL: a local name can only");
    CU_ASSERT_STRING_EQUAL(ask(c, "stop", with_target("here", ",\"reason\":\"shutdown\"")), "true");
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, R4_G4_names_are_listed_by_scope_node_and_prefix)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    const char *all = ask(c, "names", NULL);
    SAYS(all, "\"isSnapshot\":true");
    SAYS(all, "\"name\":\"here\"");
    SAYS(all, "\"name\":\"far\"");
    SAYS(all, "\"node\":\"" NODE_PEER "\"");
    SAYS(all, "\"priority\":3");
    SAYS(all, "\"registeredAt\":1700000000000");
    const char *local = ask(c, "names", "{\"scope\":\"local\"}");
    SAYS(local, "\"name\":\"here\"");
    CU_ASSERT_PTR_NULL(strstr(local, "everywhere"));
    const char *far = ask(c, "names", "{\"node\":\"" NODE_PEER "\"}");
    SAYS(far, "\"names\":[{\"name\":\"far\",\"scope\":\"global\",\"ref\":\"#" NODE_PEER "/2222222222222222/0.1.12\"");
    CU_ASSERT_PTR_NULL(strstr(far, "here"));
    SAYS(ask(c, "names", "{\"prefix\":\"ever\"}"), "\"names\":[{\"name\":\"everywhere\",");
    SAYS(ask(c, "names", "{\"prefix\":\"everywhereandmore\"}"), "\"names\":[]");
    const char *two = ask(c, "names", "{\"limit\":2}"), *second = strstr(two, "\"name\":");
    CU_ASSERT_PTR_NOT_NULL_FATAL(second);
    second = strstr(second + 1, "\"name\":");
    CU_ASSERT_PTR_NOT_NULL_FATAL(second);
    CU_ASSERT_PTR_NULL(strstr(second + 1, "\"name\":"));
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, M11_B5_G12_the_node_its_peers_and_figures_are_listed)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    const char *status = ask(c, "status", NULL);
    SAYS(status, "\"node\":\"" NODE_SELF "\"");
    SAYS(status, "\"version\":\"1.2.3\"");
    SAYS(status, "\"incarnation\":\"1111111111111111\"");
    SAYS(status, "\"workers\":2,\"workersReady\":2");
    SAYS(status, "\"nodesKnown\":2,\"nodesUp\":2,\"names\":5,\"namesLocal\":2,\"namesGlobal\":3,\"namesRemote\":1,\"clients\":1");
    const char *nodes = ask(c, "nodes", NULL);
    SAYS(nodes, "{\"id\":\"" NODE_SELF "\",\"name\":\"app1\",\"host\":\"127.0.0.1\",\"port\":4369,\"status\":\"up\",\"reason\":\"\",\"self\":true");
    SAYS(nodes, "{\"id\":\"" NODE_PEER "\"");
    SAYS(nodes, "\"servers\":5");
    CU_ASSERT_PTR_NULL(strstr(ask(c, "nodes", "{\"node\":\"" NODE_PEER "\"}"), NODE_SELF));
    node_order(&n, ORDER_PEER_DOWN);
    SAYS(ask(c, "nodes", NULL), "\"status\":\"down\",\"reason\":\"heartbeat_timeout\"");
    CU_ASSERT_PTR_NULL(strstr(ask(c, "nodes", "{\"up\":true}"), NODE_PEER));
    SAYS(ask(c, "nodes", "{\"node\":\"x@y:1\"}"), "NX_ENODE");
    const char *workers = ask(c, "workers", NULL);
    SAYS(workers, "{\"role\":\"worker\",\"slot\":0,\"state\":\"ready\",\"pid\":4242,\"cpu\":-1,\"generation\":1");
    SAYS(workers, "\"role\":\"link\"");
    SAYS(workers, "\"role\":\"gate\"");
    const char *behaviors = ask(c, "behaviors", NULL);
    SAYS(behaviors, "[{\"name\":\"echo\",\"version\":3,\"hash\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"file\":\"modules/echo.so\"");
    SAYS(behaviors, "\"starts\":7");
    CU_ASSERT_PTR_NULL(strstr(behaviors, "gone"));
    ask(c, "call", with_target("here", ",\"message\":1"));
    ask(c, "call", with_target("here", ",\"message\":\"fail\""));
    ask(c, "call", with_target("here", ",\"message\":\"hang\",\"timeoutMs\":20"));
    ask(c, "call", with_target("nobody", ",\"message\":1"));
    ask(c, "cast", with_target("here", ",\"message\":1"));
    const char *stats = ask(c, "stats", NULL);
    SAYS(stats, "\"callsInitiated\":4,\"callsResolved\":1,\"callsRejected\":2,\"callsTimedOut\":1,");
    SAYS(stats, "\"castsSent\":1");
    SAYS(stats, "\"callsPending\":0");
    SAYS(stats, "\"registryTotal\":4,\"registryLocal\":2,\"registryGlobal\":2,\"registryRemote\":0");
    client_close(&c);
    node_finish(&n);
}

UNIT(methods, servers_of_all_workers_are_one_list_and_who_is_silent_is_named)
{
    struct node n;
    node_start(&n);
    struct client *c = ask_open(&n);
    const char *all = ask(c, "servers", NULL);
    SAYS(all, "{\"servers\":[{\"worker\":");
    SAYS(all, "\"worker\":0");
    SAYS(all, "\"worker\":1");
    SAYS(all, "\"missing\":[]");
    node_order(&n, ORDER_WORKER_SLEEPS);
    const char *half = ask(c, "servers", NULL);
    SAYS(half, "\"worker\":0,\"ref\":\"#3\"");
    SAYS(half, "\"missing\":[{\"worker\":1,\"text\":\"did not answer in time");
    client_close(&c);
    node_finish(&n);
}
