/* SPDX-License-Identifier: Apache-2.0 */
/* Base64: the examples of RFC 4648, what is refused though OpenSSL overlooks it, and more than one
 * part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/base.h"

static void test_examples(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xfb\xff", "+/8="}};
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        const char *plain = pairs[i][0], *text = pairs[i][1];
        struct buffer out = {0};
        assert_int_equal(base64_encode(plain, strlen(plain), &out), STATUS_OK);
        assert_string_equal(out.data, text);
        assert_int_equal(out.length, strlen(text));
        assert_int_equal(base64_decode(text, strlen(text), &out), STATUS_OK); /* appends */
        assert_string_equal(out.data + strlen(text), plain);
        assert_int_equal(out.length, strlen(text) + strlen(plain));
        buffer_destroy(&out);
    }
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",   "Zm9v\n",   " Zm9",
                                      "Zm 9", "Zm9-", "Zm9_",  "=Zg=",     "Zg==Zm9v",
                                      "Z===", "====", "Zm9v=", "Zm9vZg-=", "Zm9v\n\n\n\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct buffer out = {0};
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &out), STATUS_INVALID);
        buffer_destroy(&out);
    }
}

static void test_parts(void **state)
{
    (void)state;
    enum { BYTES = (5 << 19) + 1 };
    unsigned char *bytes = malloc(BYTES);
    assert_non_null(bytes);
    for (int i = 0; i < BYTES; i++) {
        bytes[i] = (unsigned char)((uint32_t)i * 2654435761u >> 13);
    }
    struct buffer text = {0}, back = {0};
    assert_int_equal(base64_encode(bytes, BYTES, &text), STATUS_OK);
    assert_int_equal(text.length, (BYTES + 2) / 3 * 4);
    assert_int_equal(base64_decode(text.data, text.length, &back), STATUS_OK);
    assert_int_equal(back.length, BYTES);
    assert_memory_equal(back.data, bytes, BYTES);
    buffer_destroy(&text);
    buffer_destroy(&back);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
