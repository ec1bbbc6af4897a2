/*
 * test_load.c - the modules of a worker: the table, generations side by side, counting, addresses.
 */
#include "module/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "unit.h"
#include "value/value.h"

static const uint8_t hash_good[MODULE_HASH] = { 1 }, hash_next[MODULE_HASH] = { 2 }, hash_other[MODULE_HASH] = { 3 };

static int
load(struct modules *m, const char *name, const uint8_t hash[MODULE_HASH], uint32_t generation)
{
    struct base_error why = { .code = 0 };
    int err = modules_load(m, module_file(name), hash, generation, &why);
    CU_ASSERT_EQUAL(err, why.code);
    if (err != 0)
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, name));
    return err;
}

static struct module_code *
take(struct modules *m, const char *name)
{
    struct module_code *c = NULL;
    CU_ASSERT_EQUAL_FATAL(modules_take(m, name, strlen(name), &c), 0);
    return c;
}

/* What its handle_call packs: {"version": N}. */
static int
answer(const struct module_code *c)
{
    nx_packer reply;
    value_packer_init(&reply, 100);
    CU_ASSERT_EQUAL(module_code_behavior(c)->handle_call(NULL, NULL, (nx_value){ .object = NULL }, &reply), 0);
    nx_value v = value_packer_value(&reply);
    CU_ASSERT_EQUAL_FATAL(v.packed_len, 10);
    CU_ASSERT_EQUAL(memcmp(v.packed, "\x81\xa7version", 9), 0);
    int version = ((const uint8_t *)v.packed)[9];
    value_packer_fini(&reply);
    return version;
}

static uintptr_t
address_of(const struct module_code *c)
{
    return (uintptr_t)module_code_behavior(c)->handle_call;
}

UNIT(load, B1_behaviors_of_a_file_are_found_by_name)
{
    struct modules *m;
    struct module_code *c = NULL;
    uintptr_t offset;

    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(modules_take(m, "good", 4, &c), NX_ENOBEHAVIOR);
    CU_ASSERT_PTR_NULL(c);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    CU_ASSERT_EQUAL(modules_count(m), 2);
    c = take(m, "good");
    CU_ASSERT_STRING_EQUAL(module_code_name(c), "good");
    CU_ASSERT_STRING_EQUAL(module_code_behavior(c)->name, "good");
    CU_ASSERT_EQUAL(module_code_behavior(c)->version, 1);
    CU_ASSERT_EQUAL(module_code_generation(c), 1);
    CU_ASSERT_EQUAL(memcmp(module_code_hash(c), hash_good, MODULE_HASH), 0);
    CU_ASSERT_EQUAL(answer(c), 1);
    /* The name is a copy; the code is the module's. */
    CU_ASSERT_PTR_NULL(modules_at(m, (uintptr_t)module_code_behavior(c)->name, &offset));
    CU_ASSERT_PTR_NOT_NULL_FATAL(modules_at(m, address_of(c), &offset));
    CU_ASSERT_STRING_EQUAL(modules_at(m, address_of(c), &offset), module_file("good"));
    CU_ASSERT(offset > 0 && offset < 1 << 20);
    CU_ASSERT_PTR_NULL(modules_at(m, 0, &offset));
    CU_ASSERT_PTR_NULL(modules_at(m, (uintptr_t)&modules_at, &offset));
    module_code_unref(&c);
    CU_ASSERT_PTR_NULL(c);
    c = take(m, "good.other");
    CU_ASSERT_EQUAL(module_code_behavior(c)->version, 7);
    CU_ASSERT_EQUAL(module_code_behavior(c)->max_messages, 5);
    module_code_unref(&c);
    CU_ASSERT_EQUAL(modules_take(m, "goo", 3, &c), NX_ENOBEHAVIOR);
    CU_ASSERT_EQUAL(modules_take(m, "good.", 5, &c), NX_ENOBEHAVIOR);
    modules_free(&m);
    CU_ASSERT_PTR_NULL(m);
    modules_free(&m);
}

UNIT(load, two_generations_serve_side_by_side_until_nobody_counts_the_old_one)
{
    struct modules *m;
    uintptr_t offset;

    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    struct module_code *old = take(m, "good"), *again = old;
    module_code_ref(again);
    CU_ASSERT_EQUAL(load(m, "good_next", hash_next, 2), 0);
    CU_ASSERT_EQUAL(modules_count(m), 2);
    struct module_code *new = take(m, "good");
    CU_ASSERT(answer(old) == 1 && answer(new) == 2);
    CU_ASSERT(module_code_generation(old) == 1 && module_code_generation(new) == 2);
    CU_ASSERT(module_code_behavior(old)->version == 1 && module_code_behavior(new)->version == 2);

    uintptr_t address = address_of(old);
    CU_ASSERT_EQUAL(modules_retire(m), 0);
    module_code_unref(&old);
    CU_ASSERT_EQUAL(modules_retire(m), 0);
    CU_ASSERT_EQUAL(answer(again), 1);
    module_code_unref(&again);
    CU_ASSERT_PTR_NOT_NULL(modules_at(m, address, &offset));         /* the last count may come from the module itself */
    CU_ASSERT_EQUAL(modules_retire(m), 1);
    CU_ASSERT_PTR_NULL(modules_at(m, address, &offset));
    CU_ASSERT_EQUAL(modules_retire(m), 0);
    CU_ASSERT_EQUAL(answer(new), 2);

    /* And back. */
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 3), 0);
    old = take(m, "good");
    CU_ASSERT(answer(old) == 1 && module_code_generation(old) == 3);
    module_code_unref(&old);
    module_code_unref(&new);
    CU_ASSERT_EQUAL(modules_retire(m), 1);
    modules_free(&m);
}

UNIT(load, the_way_back_while_the_old_file_is_still_in_use)
{
    struct modules *m;
    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    struct module_code *first = take(m, "good");
    CU_ASSERT_EQUAL(load(m, "good_next", hash_next, 2), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    struct module_code *back = take(m, "good");
    CU_ASSERT(answer(back) == 1 && module_code_generation(back) == 1);
    CU_ASSERT_EQUAL(address_of(first), address_of(back));            /* one mapping, not two */
    CU_ASSERT_EQUAL(modules_retire(m), 1);
    module_code_unref(&first);
    module_code_unref(&back);
    CU_ASSERT_EQUAL(modules_retire(m), 0);
    modules_free(&m);
}

UNIT(load, the_same_file_again_changes_nothing)
{
    struct modules *m;
    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    struct module_code *before = take(m, "good");
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 2), 0);
    struct module_code *after = take(m, "good");
    CU_ASSERT_PTR_EQUAL(before, after);
    CU_ASSERT_EQUAL(module_code_generation(after), 1);
    module_code_unref(&before);
    module_code_unref(&after);
    modules_free(&m);
}

UNIT(load, B2_a_refused_module_leaves_the_table_as_it_was)
{
    static const char *const bad[] = {
        "same_name", "twice", "zero_version", "no_name", "missing_init", "missing_call", "missing_cast", "bad_abi", "bad_magic", "no_descriptor",
        "undefined_symbol", "foreign_callback", "wild_table",
    };
    struct modules *m;
    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    struct module_code *before = take(m, "good");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_EQUAL(load(m, bad[i], hash_other, 1), NX_EINVAL);
        CU_ASSERT_EQUAL(modules_count(m), 2);
        struct module_code *after = take(m, "good");
        CU_ASSERT_PTR_EQUAL(before, after);
        module_code_unref(&after);
        CU_ASSERT_EQUAL(modules_retire(m), 0);        /* nothing of it is left */
    }
    /* The next good one is loaded all the same. */
    CU_ASSERT_EQUAL(load(m, "good_next", hash_next, 2), 0);
    module_code_unref(&before);
    modules_free(&m);
}

UNIT(load, B2_a_name_belongs_to_one_file_of_a_generation)
{
    struct modules *m;
    struct base_error why = { .code = 0 };
    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    CU_ASSERT_EQUAL(modules_load(m, module_file("same_name"), hash_other, 1, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "behavior 'good' is in module "));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "good.so already"));
    CU_ASSERT_EQUAL(load(m, "same_name", hash_other, 2), 0);         /* a later one may have it moved */
    struct module_code *c = take(m, "good");
    CU_ASSERT_EQUAL(module_code_generation(c), 2);
    module_code_unref(&c);
    c = take(m, "good.other");
    CU_ASSERT_EQUAL(module_code_generation(c), 1);
    module_code_unref(&c);
    modules_free(&m);
}

static int
no_start(nx_self *self, nx_value args, void **state)
{
    (void)self, (void)args, (void)state;
    return 0;
}

static int
no_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    (void)self, (void)state, (void)msg, (void)reply;
    return 0;
}

static int
no_cast(nx_self *self, void *state, nx_value msg)
{
    (void)self, (void)state, (void)msg;
    return 0;
}

UNIT(load, a_built_in_behavior_keeps_its_name)
{
    static const nx_behavior ours = NX_BEHAVIOR("good", .version = 3, .init = no_start, .handle_call = no_call, .handle_cast = no_cast);
    static const nx_behavior nameless = NX_BEHAVIOR("", .version = 3, .init = no_start, .handle_call = no_call, .handle_cast = no_cast);
    static const uint8_t none[MODULE_HASH];
    struct modules *m;
    struct base_error why = { .code = 0 };

    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(modules_add_builtin(m, &ours, NULL), 0);
    CU_ASSERT_EQUAL(modules_add_builtin(m, &ours, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(modules_add_builtin(m, &nameless, &why), NX_EINVAL);
    CU_ASSERT_EQUAL(modules_load(m, module_file("good"), hash_good, 1, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "behavior 'good' is noexd's own"));
    CU_ASSERT_EQUAL(modules_count(m), 1);
    struct module_code *c = take(m, "good");
    CU_ASSERT(module_code_behavior(c)->handle_call == no_call);
    CU_ASSERT_EQUAL(module_code_generation(c), 0);
    CU_ASSERT_EQUAL(memcmp(module_code_hash(c), none, MODULE_HASH), 0);
    modules_free(&m);
    CU_ASSERT_EQUAL(module_code_behavior(c)->version, 3);            /* counted: outlives the table */
    module_code_unref(&c);
}

/* What the linker does not let go of (thread-local C++ objects, nodelete) stays known, and can be used again. */
UNIT(load, a_file_that_cannot_be_unmapped_stays_known)
{
    struct modules *m;
    uintptr_t offset;
    void *hold = dlopen(module_file("good"), RTLD_NOW | RTLD_LOCAL);

    CU_ASSERT_PTR_NOT_NULL_FATAL(hold);
    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 1), 0);
    struct module_code *c = take(m, "good");
    uintptr_t address = address_of(c);
    module_code_unref(&c);
    CU_ASSERT_EQUAL(load(m, "good_next", hash_next, 2), 0);
    CU_ASSERT_EQUAL(modules_retire(m), 0);
    CU_ASSERT_PTR_NOT_NULL(modules_at(m, address, &offset));
    CU_ASSERT_EQUAL(modules_retire(m), 0);
    CU_ASSERT_EQUAL(load(m, "good", hash_good, 3), 0);
    CU_ASSERT_EQUAL(modules_retire(m), 1);
    c = take(m, "good");
    CU_ASSERT(answer(c) == 1 && module_code_generation(c) == 3);
    module_code_unref(&c);
    CU_ASSERT_EQUAL(dlclose(hold), 0);
    modules_free(&m);
    CU_ASSERT_PTR_NULL(dlopen(module_file("good"), RTLD_NOW | RTLD_NOLOAD));
}

UNIT(load, a_server_may_outlive_the_table)
{
    struct modules *m;
    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    CU_ASSERT_EQUAL(load(m, "same_name", hash_other, 1), 0);         /* it stays mapped: no other test unmaps it */
    struct module_code *c = take(m, "good");
    modules_free(&m);
    CU_ASSERT_EQUAL(module_code_behavior(c)->handle_cast(NULL, NULL, (nx_value){ .object = NULL }), 0);
    CU_ASSERT_STRING_EQUAL(module_code_name(c), "good");
    module_code_unref(&c);
}

/* Mapped, counted, given back, unmapped: a thousand times, nothing is left over. */
static size_t
count_maps(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    size_t lines = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (int c; (c = fgetc(f)) != EOF; )
        lines += c == '\n';
    fclose(f);
    return lines;
}

UNIT(load, a_thousand_generations_leave_no_map_behind)
{
    struct modules *m;
    size_t before = 0;
    CU_ASSERT_EQUAL_FATAL(modules_new(&m), 0);
    for (uint32_t g = 1; g <= 1000; g++) {
        CU_ASSERT_EQUAL_FATAL(g % 2 ? load(m, "good", hash_good, g) : load(m, "good_next", hash_next, g), 0);
        CU_ASSERT_EQUAL(modules_retire(m), g > 1);
        if (g == 50)
            before = count_maps();
    }
    size_t after = count_maps();
    CU_ASSERT(after <= before + 2);
    modules_free(&m);
}
