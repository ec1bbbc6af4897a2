/*
 * walk.c - looking into decoded values without msgpack-c's types.
 *
 * Lives here: count, at, get, is.
 * Never here: conversion (unpack.c).
 * Runs in: every process that decodes.
 */
#include "value/value.h"

#include <string.h>

#include <msgpack/object.h>

static bool
has_type(nx_value v, msgpack_object_type type)
{
    return v.object != NULL && v.object->type == type;
}

static nx_value
view(const msgpack_object *o)
{
    return (nx_value){ .object = o };
}

bool
nx_is_value(nx_value value)
{
    return value.object != NULL || value.packed != NULL;
}

size_t
value_count(nx_value v)
{
    if (has_type(v, MSGPACK_OBJECT_ARRAY))
        return v.object->via.array.size;
    return has_type(v, MSGPACK_OBJECT_MAP) ? v.object->via.map.size : 0;
}

nx_value
value_at(nx_value v, size_t index)
{
    if (index >= value_count(v))
        return (nx_value){ 0 };
    return view(v.object->type == MSGPACK_OBJECT_ARRAY ? &v.object->via.array.ptr[index] : &v.object->via.map.ptr[index].val);
}

nx_value
value_key_at(nx_value v, size_t index)
{
    if (!has_type(v, MSGPACK_OBJECT_MAP) || index >= v.object->via.map.size)
        return (nx_value){ 0 };
    return view(&v.object->via.map.ptr[index].key);
}

nx_value
value_get(nx_value v, const char *key)
{
    if (!has_type(v, MSGPACK_OBJECT_MAP))
        return (nx_value){ 0 };
    size_t len = strlen(key);
    for (uint32_t i = 0; i < v.object->via.map.size; i++) {
        const msgpack_object_kv *kv = &v.object->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == len && memcmp(kv->key.via.str.ptr, key, len) == 0)
            return view(&kv->val);
    }
    return (nx_value){ 0 };
}

bool value_is_map(nx_value v) { return has_type(v, MSGPACK_OBJECT_MAP); }
bool value_is_array(nx_value v) { return has_type(v, MSGPACK_OBJECT_ARRAY); }
bool value_is_nil(nx_value v) { return has_type(v, MSGPACK_OBJECT_NIL); }

bool
value_is_string(nx_value v, const char **text, size_t *len)
{
    if (!has_type(v, MSGPACK_OBJECT_STR))
        return false;
    if (text != NULL)
        *text = v.object->via.str.ptr;
    if (len != NULL)
        *len = v.object->via.str.size;
    return true;
}
