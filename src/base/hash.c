/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3 for speed, SHA-256 for identity. */
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "sluice/base.h"

uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, length, seed);
}

/* struct sha256 is OpenSSL's digest context under our name. */
struct sha256 *sha256_create(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        context = NULL;
    }
    return (struct sha256 *)context;
}

void sha256_update(struct sha256 *hash, const void *bytes, size_t length)
{
    EVP_DigestUpdate((EVP_MD_CTX *)hash, bytes, length);
}

void sha256_finish(struct sha256 *hash, char hex[65])
{
    unsigned char digest[32] = {0};
    EVP_DigestFinal_ex((EVP_MD_CTX *)hash, digest, NULL);
    EVP_MD_CTX_free((EVP_MD_CTX *)hash);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

bool hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                 uint8_t code[32])
{
    unsigned int code_length = 0;
    return key_length <= INT_MAX &&
           HMAC(EVP_sha256(), key, (int)key_length, bytes, length, code, &code_length) != NULL &&
           code_length == 32;
}
