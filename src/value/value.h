/*
 * value.h - MessagePack values: packing and unpacking by format strings, the scan of untrusted bytes, decoding, JSON.
 *
 * Lives here: nx_packer (packer.c), the formats of nx_pack and nx_unpack (pack.c, unpack.c), the scan that runs before any decoding
 * (scan.c), the decoder and its memory (decode.c, zone.c), looking into values (walk.c), JSON text to and from (json_read.c,
 * json_write.c, base64.c).
 * Never here: who sent it, what a map of a protocol means.
 * Runs in: workers, the gate, noexctl; the link worker for system messages only.
 *
 * A ref inside a value is ext type 1 (VALUE_EXT_REF). What its bytes mean is not known here: a codec is handed down at start.
 */
#ifndef NOEXD_VALUE_VALUE_H
#define NOEXD_VALUE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "noex/noex.h"

enum { VALUE_EXT_REF = 1, VALUE_EXT_REF_MAX = 22 + 255 };
enum { VALUE_DEPTH_MAX = 32 };    /* whatever the limits say: msgpack-c as Debian builds it goes no deeper */

/* ---- refs: handed down at start, once per process; without it 'r' fails with NX_EINVAL and JSON shows an ext object. */
struct value_ref_codec {
    int (*encode)(nx_ref ref, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len);         /* bytes of the ext body */
    int (*decode)(const uint8_t *body, size_t len, nx_ref *out, struct base_error *why);
    int (*to_text)(const uint8_t *body, size_t len, char *out, size_t size);               /* "#..." */
    int (*from_text)(const char *text, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len, struct base_error *why);
};
void value_set_ref_codec(const struct value_ref_codec *codec);    /* borrowed for ever */

/* ---- packer */
struct nx_packer { struct buf bytes; size_t count; };              /* bytes.max = max_body */
void value_packer_init(nx_packer *p, size_t max_body);
void value_packer_fini(nx_packer *p);
void value_packer_clear(nx_packer *p);
nx_value value_packer_value(const nx_packer *p);                   /* what was packed; {0} if nothing; valid until the packer changes */
size_t value_packer_count(const nx_packer *p);                     /* how many values were packed, one after another; a body is one */
int  value_pack(nx_packer *p, nx_value v);                         /* bytes copied if packed (not looked at), else re-encoded; {0}: NX_EINVAL */
/* The formats of noex.h. Keys are `s` or `s#`; a NULL string of length 0 packs nil, a NULL binary of length 0 an empty one, NULL of
 * another length is NX_EINVAL. Of duplicate keys, unpacking reads the first. At most VALUE_DEPTH_MAX brackets deep. */
int  value_vpack(nx_packer *p, struct base_error *why, const char *fmt, va_list ap);
int  value_vunpack(nx_value v, struct base_error *why, const char *fmt, va_list ap);
/* nx_pack, nx_unpack (noex.h) are these with `why` = value_last_error(). nx_unpack needs `object`; if the value is only packed it
 * is an NX_EINVAL: decode it first. */
struct base_error *value_last_error(void);                          /* of this process; genserver copies it into nx_error */

/* ---- scan: runs before any decoding, allocates nothing, is linear in len */
struct value_limits { size_t max_body; uint32_t max_depth, max_objects, max_pairs; };
#define VALUE_LIMITS_DEFAULT { .max_body = 1u << 20, .max_depth = 32, .max_objects = 65536, .max_pairs = 32768 }
/* Exactly one object, no trailing byte, every length and count possible in what remains, within the limits; 0xc1 refused.
 * Returns 0, NX_EBADMSG (text says what and at which byte), NX_ETOOBIG. An empty container counts as a level of depth. */
int value_scan(const void *bytes, size_t len, const struct value_limits *limits, struct base_error *why);

/* ---- decode */
struct value_zone;                                                  /* memory of decoded objects, reused */
int  value_zone_new(struct value_zone **out);
void value_zone_free(struct value_zone **z);
void value_zone_clear(struct value_zone *z);                        /* everything decoded into it is gone; keeps some memory */
/* Scan and decode into msgpack-c's object layout. Strings are copied and NUL-terminated (object.via.str.ptr[size] is 0, so they are C
 * strings as they are); binaries and ext bodies point into `bytes`, which must live as long as the value. out->object and
 * out->packed are set. Allocates 24 bytes an object and the strings, once, after the scan. NX_EBADMSG, NX_ETOOBIG, NX_ENOMEM. */
int  value_decode(struct value_zone *z, const void *bytes, size_t len, const struct value_limits *limits, nx_value *out,
                  struct base_error *why);
/* For system messages (spawn, registry, ...): the same, and: maps only with string keys, each once; no ext but refs; no NaN or
 * infinity; strings valid UTF-8. NX_EBADMSG. */
int  value_decode_strict(struct value_zone *z, const void *bytes, size_t len, const struct value_limits *limits, nx_value *out,
                         struct base_error *why);
/* Memory from the zone for texts that must live as long as its values; NULL if out of memory. */
void *value_zone_alloc(struct value_zone *z, size_t size);

/* ---- walking decoded values without msgpack-c's types */
size_t value_count(nx_value v);                                     /* elements of an array, pairs of a map, else 0 */
nx_value value_at(nx_value v, size_t index);                        /* array element or map value; {0} if none */
nx_value value_key_at(nx_value v, size_t index);
nx_value value_get(nx_value v, const char *key);                    /* map value by string key; {0} if absent */
bool value_is_map(nx_value v);
bool value_is_array(nx_value v);
bool value_is_nil(nx_value v);
bool value_is_string(nx_value v, const char **text, size_t *len);   /* NUL-terminated if value_decode made it */

/* ---- JSON (jansson reads). Binary becomes {"$bin":"base64"}, a ref its "#..." text, other ext {"$ext":type,"data":"base64"}, NaN and
 * infinities {"$float":"nan"|"inf"|"-inf"}; non-string map keys become their JSON text; bytes that are not UTF-8 become U+FFFD. The
 * way back accepts the same forms; a string that is a complete valid ref text becomes a ref; duplicate keys are refused; integers
 * beyond 64 bits are refused ({"$uint":"18446744073709551615"} is accepted too, for clients whose numbers are doubles). */
int value_from_json(nx_packer *out, const char *text, size_t len, struct base_error *why);   /* NX_EINVAL, text "LINE:COLUMN: ..." */
int value_to_json(nx_value v, unsigned flags, struct buf *out);     /* needs v.object; appends; no newline at the end */
enum { VALUE_JSON_PRETTY = 1 };

#endif
