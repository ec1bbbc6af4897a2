/*
 * good.c - a module for the tests of src/module: nothing is wrong with it; it packs, and it has a selftest.
 */
#include <noex/noex.h>

#include <stddef.h>

/* A second build of the same source gives another version and another answer. */
#ifndef GOOD_VERSION
#define GOOD_VERSION 1
#endif

static int
start(nx_self *self, nx_value args, void **state)
{
    (void)self, (void)args;
    *state = NULL;
    return 0;
}

static int
call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    (void)self, (void)state, (void)msg;
    return nx_pack(reply, "{s:i}", "version", GOOD_VERSION);
}

static int
cast(nx_self *self, void *state, nx_value msg)
{
    (void)self, (void)state, (void)msg;
    return 0;
}

static int
selftest(void)
{
    return 0;
}

static const nx_behavior behaviors[] = {
    NX_BEHAVIOR("good", .version = GOOD_VERSION, .init = start, .handle_call = call, .handle_cast = cast),
    NX_BEHAVIOR("good.other", .version = 7, .max_messages = 5, .init = start, .handle_call = call, .handle_cast = cast),
};

extern const nx_module noexd_module;
const nx_module noexd_module = {
    .magic = NX_MODULE_MAGIC, .abi = NX_MODULE_ABI, .size = sizeof(nx_module), .behavior_size = sizeof(nx_behavior),
    .count = 2, .behaviors = behaviors, .selftest = selftest,
};
