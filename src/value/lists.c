/*
 * lists.c - the public functions for lists and maps whose length only the program, or only the data, knows.
 *
 * Lives here: nx_pack_array, nx_count, nx_at, nx_key_at.
 * Never here: format strings (pack.c, unpack.c).
 * Runs in: workers.
 */
#include "value/value_priv.h"

int
nx_pack_array(nx_packer *to, const nx_value *items, size_t count)
{
    if (to == NULL || (items == NULL && count > 0) || count > UINT32_MAX)
        return base_error_set(value_last_error(), NX_EINVAL, NULL, "nx_pack_array: no packer, no items, or too many of them");
    size_t before = buf_len(&to->bytes);
    int err = value_put_array(&to->bytes, count);
    size_t i = 0;
    for (; i < count && err == 0; i++)
        err = value_put(&to->bytes, items[i]);
    if (err == 0) {
        to->count++;
        return 0;
    }
    to->bytes.end = to->bytes.at + before;
    return base_error_set(value_last_error(), err, NULL, "nx_pack_array: element %zu of %zu: %s", i > 0 ? i - 1 : 0, count,
                          err == NX_EINVAL ? "no value, or one nested too deep" : nx_strerror(err));
}

size_t
nx_count(nx_value value)
{
    return value_count(value);
}

nx_value
nx_at(nx_value value, size_t index)
{
    return value_at(value, index);
}

nx_value
nx_key_at(nx_value value, size_t index)
{
    return value_key_at(value, index);
}
