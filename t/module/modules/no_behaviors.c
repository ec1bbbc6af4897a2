/*
 * no_behaviors.c - a module for the tests of src/module: no behavior.
 */
#include "plain.h"

static const nx_behavior behaviors[] = {
    NX_BEHAVIOR("x", .version = 1, .init = start, .handle_call = call, .handle_cast = cast),
};

extern const nx_module noexd_module;
const nx_module noexd_module = {
    .magic = NX_MODULE_MAGIC, .abi = NX_MODULE_ABI, .size = sizeof(nx_module), .behavior_size = sizeof(nx_behavior),
    .count = 0, .behaviors = behaviors,
};
