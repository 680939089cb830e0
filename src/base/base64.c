/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 to bytes and back, by OpenSSL. */
#include <openssl/evp.h>
#include <string.h>

#include "sluice/base.h"

enum { PART = 3 << 18 }; /* OpenSSL counts in ints; whole groups of 3 bytes and of 4 digits */

static bool is_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* OpenSSL overlooks white space and what follows a '-'. */
static status check_digits(const char *text, size_t length, size_t *padding)
{
    *padding = 0;
    while (*padding < 2 && *padding < length && text[length - 1 - *padding] == '=') {
        ++*padding;
    }
    for (size_t i = 0; i < length - *padding; i++) {
        if (!is_digit(text[i])) {
            return status_fail(STATUS_INVALID, "byte %zu is not base64", i);
        }
    }
    return length % 4 == 0
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "%zu bytes of base64, not a multiple of 4", length);
}

status base64_decode(const char *text, size_t length, struct buffer *out)
{
    size_t padding;
    TRY(check_digits(text, length, &padding));
    TRY(buffer_reserve(out, length / 4 * 3 + 1));
    for (size_t at = 0; at < length;) {
        int part = length - at < PART ? (int)(length - at) : PART;
        int decoded = EVP_DecodeBlock((unsigned char *)out->data + out->length,
                                      (const unsigned char *)text + at, part);
        if (decoded < 0) {
            return status_fail(STATUS_INVALID, "not base64");
        }
        out->length += (size_t)decoded;
        at += (size_t)part;
    }
    out->length -= padding;
    out->data[out->length] = '\0';
    return STATUS_OK;
}

status base64_encode(const void *bytes, size_t length, struct buffer *out)
{
    TRY(buffer_reserve(out, (length + 2) / 3 * 4 + 1));
    for (size_t at = 0; at < length;) {
        int part = length - at < PART ? (int)(length - at) : PART;
        out->length += (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->length,
                                               (const unsigned char *)bytes + at, part);
        at += (size_t)part;
    }
    out->data[out->length] = '\0';
    return STATUS_OK;
}
