/*
 * selftest_fails.c - a module for the tests of src/module: its selftest says 42.
 */
#include "plain.h"

static const nx_behavior behaviors[] = {
    NX_BEHAVIOR("x", .version = 1, .init = start, .handle_call = call, .handle_cast = cast),
};

static int
selftest(void)
{
    return 42;
}

extern const nx_module noexd_module;
const nx_module noexd_module = {
    .magic = NX_MODULE_MAGIC, .abi = NX_MODULE_ABI, .size = sizeof(nx_module), .behavior_size = sizeof(nx_behavior),
    .count = 1, .behaviors = behaviors, .selftest = selftest,
};
