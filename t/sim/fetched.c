/*
 * fetched.c - the crypto library's HMAC and SHA-256, looked up once instead of at each use.
 *
 * A handshake makes 22 HMACs. EVP_Q_mac looks the algorithm up and makes a context for each, which is nothing once a connection and was a quarter of the time of a
 * simulation of millions of them. The linker puts these between (-Wl,--wrap=...); the results are those of the library.
 *
 * Lives here: one context, kept.
 * Never here: a result of our own making.
 * Runs in: the simulator.
 */
#include <stdbool.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "base/base.h"

const EVP_MD *__wrap_EVP_sha256(void);
unsigned char *__wrap_EVP_Q_mac(OSSL_LIB_CTX *libctx, const char *name, const char *propq, const char *subalg, const OSSL_PARAM *params, const void *key,
                                size_t key_len, const unsigned char *data, size_t len, unsigned char *out, size_t out_size, size_t *out_len);

static EVP_MD *sha256;
static EVP_MAC *hmac;
static EVP_MAC_CTX *context;

static void
look_up(void)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end() };

    if (context != NULL)
        return;
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    context = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
    nx_assert(sha256 != NULL && context != NULL && EVP_MAC_CTX_set_params(context, params) == 1);
}

__attribute__((destructor)) static void
forget(void)
{
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(hmac);
    EVP_MD_free(sha256);
}

const EVP_MD *
__wrap_EVP_sha256(void)
{
    look_up();
    return sha256;
}

/* The arguments that src/wire/handshake.c gives are the only ones: HMAC with SHA256. */
unsigned char *
__wrap_EVP_Q_mac(OSSL_LIB_CTX *libctx, const char *name, const char *propq, const char *subalg, const OSSL_PARAM *params, const void *key,
                 size_t key_len, const unsigned char *data, size_t len, unsigned char *out, size_t out_size, size_t *out_len)
{
    nx_assert(libctx == NULL && propq == NULL && params == NULL && strcmp(name, "HMAC") == 0 && strcmp(subalg, "SHA256") == 0);
    look_up();
    bool done = EVP_MAC_init(context, key, key_len, NULL) == 1 && EVP_MAC_update(context, data, len) == 1 &&
                EVP_MAC_final(context, out, out_len, out_size) == 1;
    return done ? out : NULL;
}
