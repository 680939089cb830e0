/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and times as people read them, at the edges between units. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sluice/base.h"

static void sizes(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 bytes"},           {1, "1 byte"},
        {999, "999 bytes"},       {1000, "1.0 kB"},
        {999949, "999.9 kB"},     {999951, "1.0 MB"},
        {48000000, "48.0 MB"},    {999960000, "1.0 GB"},
        {16060000000, "16.1 GB"}, {2500000000000, "2.5 TB"},
        {INT64_MAX, "9223.4 PB"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[24];
        assert_string_equal(format_bytes(cases[i].bytes, text), cases[i].text);
    }
}

static void times(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0.0 s"},          {1.25, "1.2 s"},         {99.9, "99.9 s"},
        {99.96, "1 min 40 s"}, {3599.4, "59 min 59 s"}, {3599.6, "1 h 00 min"},
        {12000, "3 h 20 min"}, {172799, "47 h 59 min"}, {190000, "2 d 04 h"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[24];
        assert_string_equal(format_seconds(cases[i].seconds, text), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
