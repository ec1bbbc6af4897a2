/*
 * exports.c - one reference to each function of noex.h, so that the linker takes it out of its room's archive.
 *
 * Lives here: the list. A test compares it with the header.
 * Never here: anything that calls them.
 * Runs in: workers and the validator (which resolve modules against it).
 */
#include "process/exports.h"

#include <noex/noex.h>

#include "base/base.h"

typedef void any_function(void);

static const struct { const char *name; any_function *function; } exports[] = {
#define X(name) { #name, (any_function *)(name) },
    X(nx_strerror) X(nx_errname)
    X(nx_pack) X(nx_vpack) X(nx_pack_array) X(nx_count) X(nx_at) X(nx_key_at) X(nx_unpack) X(nx_vunpack) X(nx_make) X(nx_make_array) X(nx_is_value)
    X(nx_ref_equal) X(nx_ref_text) X(nx_ref_parse) X(nx_ref_node)
    X(nx_reason_name) X(nx_error) X(nx_fail)
    X(nx_self_ref) X(nx_node) X(nx_caller) X(nx_reply) X(nx_reply_error) X(nx_exit) X(nx_log) X(nx_now_ms) X(nx_wall_ms)
    X(nx_start) X(nx_call) X(nx_call_async) X(nx_cast) X(nx_stop)
    X(nx_register) X(nx_unregister) X(nx_whereis) X(nx_lookup) X(nx_names)
    X(nx_nodes) X(nx_behaviors) X(nx_stats)
    X(nx_send_after) X(nx_cancel_timer) X(nx_subscribe) X(nx_monitor) X(nx_demonitor)
#undef X
};

void
process_exports_keep(void)
{
    for (size_t i = 0; i < BASE_COUNT(exports); i++) {
        any_function *volatile f = exports[i].function;
        nx_assert(f != NULL);
    }
}

const char *
process_exports_name(size_t index)
{
    return index < BASE_COUNT(exports) ? exports[index].name : NULL;
}
