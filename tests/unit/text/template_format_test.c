/* SPDX-License-Identifier: Apache-2.0 */
/* What "{:…}".format(value) gives in a template: what Python 3.11 gives, drawn at random from all
 * fills, signs, widths, groups, precisions and types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sluice/chat_template.h"

struct example {
    const char *format, *value, *expected;
};

static status render(const struct example *example, struct buffer *out)
{
    char text[256];
    struct chat_template *template_;
    const struct chat_variables variables = {.bos_token = "<s>"};
    snprintf(text, sizeof text, "{{ '{:%s}'.format(%s) }}", example->format, example->value);
    TRY(chat_template_create("t", text, strlen(text), &template_));
    status s = chat_template_render(template_, &variables, out);
    chat_template_destroy(template_);
    return s;
}

static void numbers_and_texts_are_formatted(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"x<12,.0%", "0.00001", "0%xxxxxxxxxx"},
        {"^-4G", "0.00001", "1E-05"},
        {">-12b", "7", "         111"},
        {"+#", "1234567", "+1234567"},
        {"*>-.3n", "0.00001", "1e-05"},
        {"*>f", "-1234567", "-1234567.000000"},
        {"*>04.0F", "0", "***0"},
        {"#4e", "1e20", "1.000000e+20"},
        {"0<4e", "1e20", "1.000000e+20"},
        {"x<4,", "-1234567", "-1,234,567"},
        {"=012.1E", "-7", "-00007.0E+00"},
        {">#012,", "0", "000000000000"},
        {"x^-#1X", "-1234567", "-0X12D687"},
        {"<4.3e", "-1234567", "-1.235e+06"},
        {"07.3", "'ab'", "ab00000"},
        {" f", "-1234567", "-1234567.000000"},
        {"x<04.1f", "-7", "-7.0"},
        {"x^#7%", "7", "700.000000%"},
        {"01.1e", "-7", "-7.0e+00"},
        {"4", "'ab'", "ab  "},
        {"x<7_.3", "0.00001", "1e-05xx"},
        {"_= .0G", "-7", "-7"},
        {"=_.1f", "7", "7.0"},
        {"^+07,%", "0.00001", "+0.001000%"},
        {"_=-07,.1G", "1e20", "__1E+20"},
        {"*>1_.1E", "-0.25", "-2.5E-01"},
        {"^7F", "7", "7.000000"},
        {">01E", "0", "0.000000E+00"},
        {">012d", "-7", "0000000000-7"},
        {"#4_G", "-0.25", "-0.250000"},
        {"<-#4,.0", "-0.25", "-0.2"},
        {"_=4", "1e20", "1e+20"},
        {"04F", "0", "0.000000"},
        {"<+#1.3", "0.00001", "+1.00e-05"},
        {">+1.0G", "-7", "-7"},
        {"<01e", "-1234567", "-1.234567e+06"},
        {">+12b", "-7", "        -111"},
        {"=-012f", "1234567", "1234567.000000"},
        {"0<-7,E", "1234567.125", "1.234567E+06"},
        {"12,.1g", "0", "           0"},
        {"#12_.1E", "7", "     7.0E+00"},
        {"*>04,", "true", "***1"},
        {" 4n", "-0.25", "-0.25"},
        {"+012_%", "-1234567", "-123_456_700.000000%"},
        {"*>01_X", "-1234567", "-12_D687"},
        {"+1E", "-7", "-7.000000E+00"},
        {">#12.1F", "1234567.125", "   1234567.1"},
        {"+12.1G", "-7", "          -7"},
        {">+#12E", "1234567.125", "+1.234567E+06"},
        {"0.1", "'abcdef'", "a"},
        {"_=+01,F", "-1234567", "-1,234,567.000000"},
        {"< #7", "-7", "-7     "},
        {"<n", "1e20", "1e+20"},
        {"x^0,f", "0.00001", "0.000010"},
        {"*>7,.3f", "1234567.125", "1,234,567.125"},
        {",.3", "1234567.125", "1.23e+06"},
        {"*>7x", "true", "******1"},
        {"_=-_o", "-7", "-7"},
        {"^1E", "1234567.125", "1.234567E+06"},
        {"x^-1,.3G", "1234567.125", "1.23E+06"},
        {"<04_.1g", "true", "1000"},
        {"<-4_", "-0.25", "-0.25"},
        {"<+01G", "-1234567", "-1.23457E+06"},
        {"x<-07", "-0.25", "-0.25xx"},
        {"<#04.3", "-0.25", "-0.250"},
        {"<1o", "true", "1"},
        {"0<+#1e", "-1234567", "-1.234567e+06"},
        {"0< #01_.0f", "0.00001", " 0."},
        {">0.1s", "'abcdef'", "a"},
        {"^+012n", "0", "00000+000000"},
        {"#01,E", "1234567.125", "1.234567E+06"},
        {"0<4b", "-7", "-111"},
        {" 1_.0G", "7", " 7"},
        {">,.3e", "0.00001", "1.000e-05"},
        {"<+4X", "true", "+1  "},
        {"x^-12f", "true", "xx1.000000xx"},
        {"*> 0,.3e", "-7", "-7.000e+00"},
        {"=,e", "0.00001", "1.000000e-05"},
        {"=012_.3G", "true", "0_000_000_001"},
        {">12_e", "1.5", "1.500000e+00"},
        {">#.3%", "-0.25", "-25.000%"},
        {"x^01_.0e", "0.00001", "1e-05"},
        {"_= 012.0G", "1234567", " ______1E+06"},
        {">#12_e", "-7", "-7.000000e+00"},
        {"*>1.3%", "-0.25", "-25.000%"},
        {"x<-04_F", "7", "7.000000"},
        {"x^1d", "-7", "-7"},
        {"0<#0,%", "1e20", "10,000,000,000,000,000,000,000.000000%"},
        {"0<07.3F", "-0.25", "-0.2500"},
        {"#X", "-7", "-0X7"},
        {"_F", "-0.25", "-0.250000"},
        {">#,", "0", "0"},
        {"*>0.0g", "-7", "-7"},
        {" #01_.1%", "1234567", " 123_456_700.0%"},
        {"+07F", "-0.25", "-0.250000"},
        {"_=4g", "1234567", "1.23457e+06"},
        {"<#012.3e", "true", "1.000e+00000"},
        {"*> 12x", "-7", "**********-7"},
        {"x^ 12o", "true", "xxxxx 1xxxxx"},
        {">.0%", "1e20", "10000000000000000000000%"},
        {"=#4X", "1234567", "0X12D687"},
        {"07,.1F", "1e20", "100,000,000,000,000,000,000.0"},
        {"12g", "1234567.125", " 1.23457e+06"},
        {"1.3f", "true", "1.000"},
        {"*>+07_.1e", "1234567.125", "+1.2e+06"},
        {"x^#01.3%", "1234567", "123456700.000%"},
        {"x^-#12g", "1234567", "1.23457e+06x"},
        {"*>#7_d", "true", "******1"},
        {"_.3E", "1e20", "1.000E+20"},
        {"^ 01d", "0", " 0"},
        {"#01", "1234567.125", "1234567.125"},
        {"*>012.0E", "1234567.125", "*******1E+06"},
        {"<4_d", "7", "7   "},
        {"*>01e", "1e20", "1.000000e+20"},
        {"#012f", "1234567.125", "1234567.125000"},
        {"+01", "7", "+7"},
        {"x<+1_.3f", "true", "+1.000"},
        {"x^-12.3F", "-0.25", "xxx-0.250xxx"},
        {"1_%", "1234567", "123_456_700.000000%"},
        {"x^7_", "-0.25", "x-0.25x"},
        {"^#7,.0F", "-7", "  -7.  "},
        {"-4.3F", "-7", "-7.000"},
        {"_=07", "1.5", "____1.5"},
        {"_=7,.0e", "-7", "-_7e+00"},
        {" 012,d", "-1234567", "-001,234,567"},
        {"x^#012,.0G", "1234567.125", "xxx1.E+06xxx"},
        {">-0G", "1e20", "1E+20"},
        {"=+4", "-7", "-  7"},
        {"_=-#7.1g", "0", "_____0."},
        {"*>04d", "7", "***7"},
        {".0E", "-1234567", "-1E+06"},
        {"01.3g", "-0.25", "-0.25"},
        {"_= 01_b", "0", " 0"},
        {"^01_", "1e20", "1e+20"},
        {">#01_.0E", "-0.25", "-2.E-01"},
        {"> 012n", "7", "0000000000 7"},
        {"0<#7,.0F", "1e20", "100,000,000,000,000,000,000."},
        {"0x", "1234567", "12d687"},
        {"+1_.0%", "1e20", "+10_000_000_000_000_000_000_000%"},
        {"0<7_.0e", "0", "0e+0000"},
        {"-1,F", "7", "7.000000"},
        {"012,f", "0", "0,000.000000"},
        {"=04G", "1e20", "1E+20"},
        {"01_", "-0.25", "-0.25"},
        {"^#4,.1g", "7", " 7. "},
        {"*>07_f", "-7", "-7.000000"},
        {"x^4,.1g", "-1234567", "-1e+06"},
        {"-04,E", "true", "1.000000E+00"},
        {"0< _o", "0", " 0"},
        {"_= #04.0E", "1234567", " 1.E+06"},
        {"012_b", "7", "00_0000_0111"},
        {"06,", "7", "00,007"},
        {"04,", "0", "0,000"},
        {"#012_x", "1234567", "0x0_0012_d687"},
        {"<05", "7", "70000"},
        {"05", "'ab'", "ab000"},
        {">05", "'ab'", "000ab"},
        {"x>05", "'ab'", "xxxab"},
        {"=+08,", "1234", "+001,234"},
        {"0128,", "1",
         "0,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,"
         "000,000,000,000,000,000,000,000,000,000,001"},
        {"010,.2f", "1234.5", "001,234.50"},
        {"x", "0", "0"},
        {"#b", "0", "0b0"},
        {"-", "7", "7"},
        {"+", "0", "+0"},
        {" ", "7", " 7"},
    };
    size_t wrong = 0;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        struct buffer out = {0};
        const status s = render(&examples[i], &out);
        const char *given = s == STATUS_OK ? (out.data != NULL ? out.data : "") : status_message();
        if (s != STATUS_OK || strcmp(given, examples[i].expected) != 0) {
            print_error("{:%s} of %s: \"%s\", not \"%s\"\n", examples[i].format, examples[i].value,
                        given, examples[i].expected);
            wrong++;
        }
        buffer_destroy(&out);
    }
    assert_int_equal(wrong, 0);
}

static void what_is_no_format_is_refused(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {" #4_.0o", "1e20", "Unknown format code 'o' for object of type 'float'"},
        {"<-.0d", "1234567.125", "Unknown format code 'd' for object of type 'float'"},
        {"x^+7.3o", "1234567.125", "Unknown format code 'o' for object of type 'float'"},
        {"*>+#4.3", "-7", "Precision not allowed in integer format specifier"},
        {"_=#12.3b", "'abcdef'", "Unknown format code 'b' for object of type 'str'"},
        {"_=12,.1", "true", "Precision not allowed in integer format specifier"},
        {"=#4b", "1e20", "Unknown format code 'b' for object of type 'float'"},
        {"+04s", "-1234567", "Unknown format code 's' for object of type 'int'"},
        {"^-12.1d", "0.00001", "Unknown format code 'd' for object of type 'float'"},
        {"> #4,G", "'abcdef'", "Unknown format code 'G' for object of type 'str'"},
        {"s", "-0.25", "Unknown format code 's' for object of type 'float'"},
        {"_=-12,.3f", "'abcdef'", "Unknown format code 'f' for object of type 'str'"},
        {"<#12F", "'ab'", "Unknown format code 'F' for object of type 'str'"},
        {"_=+7_X", "0.00001", "Unknown format code 'X' for object of type 'float'"},
        {"*>012_x", "'ab'", "Unknown format code 'x' for object of type 'str'"},
        {"-#7", "'ab'", "this format is not allowed in string format specifier"},
        {"0< 12.1E", "''", "Unknown format code 'E' for object of type 'str'"},
        {"*>-12.3X", "1e20", "Unknown format code 'X' for object of type 'float'"},
        {">-,.3n", "'abcdef'", "Unknown format code 'n' for object of type 'str'"},
        {"-12.0s", "'abcdef'", "this format is not allowed in string format specifier"},
        {"> 12.3b", "''", "Unknown format code 'b' for object of type 'str'"},
        {"-1_.1g", "'abcdef'", "Unknown format code 'g' for object of type 'str'"},
        {"_=+#07.1n", "''", "Unknown format code 'n' for object of type 'str'"},
        {"<-#12X", "'abcdef'", "Unknown format code 'X' for object of type 'str'"},
        {"*>,.1", "'ab'", "Cannot specify ',' with 's'."},
        {"-01_s", "0.00001", "Unknown format code 's' for object of type 'float'"},
        {"+s", "true", "Unknown format code 's' for object of type 'bool'"},
        {"*>#7.0x", "'ab'", "Unknown format code 'x' for object of type 'str'"},
        {"x^-7.1x", "1e20", "Unknown format code 'x' for object of type 'float'"},
        {"1,.1f", "'ab'", "Unknown format code 'f' for object of type 'str'"},
        {"*>+01.0b", "1e20", "Unknown format code 'b' for object of type 'float'"},
        {"*>04,n", "-0.25", "Cannot specify ',' with 'n'."},
        {"_=+012X", "'abcdef'", "Unknown format code 'X' for object of type 'str'"},
        {"^,.0F", "'ab'", "Unknown format code 'F' for object of type 'str'"},
        {"x^ 12_.0d", "'ab'", "Unknown format code 'd' for object of type 'str'"},
        {"x^012.3x", "1.5", "Unknown format code 'x' for object of type 'float'"},
        {"x^ 04G", "'ab'", "Unknown format code 'G' for object of type 'str'"},
        {"<01%", "'ab'", "Unknown format code '%' for object of type 'str'"},
        {"<7E", "'abcdef'", "Unknown format code 'E' for object of type 'str'"},
        {"0<,s", "1234567", "Unknown format code 's' for object of type 'int'"},
        {"#0_", "'abcdef'", "this format is not allowed in string format specifier"},
        {"12,.3", "''", "Cannot specify ',' with 's'."},
        {"-01,b", "0", "Cannot specify ',' with 'b'."},
        {"=+012d", "'ab'", "Unknown format code 'd' for object of type 'str'"},
        {" 12o", "'abcdef'", "Unknown format code 'o' for object of type 'str'"},
        {"x^-4_.0g", "'abcdef'", "Unknown format code 'g' for object of type 'str'"},
        {"x^01,n", "1.5", "Cannot specify ',' with 'n'."},
        {"x^ 07.3e", "'abcdef'", "Unknown format code 'e' for object of type 'str'"},
        {"> 12,X", "-7", "Cannot specify ',' with 'X'."},
        {"12.1o", "''", "Unknown format code 'o' for object of type 'str'"},
        {"x^,x", "1234567", "Cannot specify ',' with 'x'."},
        {"*> 012_%", "'ab'", "Unknown format code '%' for object of type 'str'"},
        {"0<#.1e", "''", "Unknown format code 'e' for object of type 'str'"},
        {"4,X", "7", "Cannot specify ',' with 'X'."},
        {"^1,x", "0", "Cannot specify ',' with 'x'."},
        {">-04.0s", "true", "Unknown format code 's' for object of type 'bool'"},
        {" 012_n", "0", "Cannot specify '_' with 'n'."},
        {"1_n", "1234567", "Cannot specify '_' with 'n'."},
        {"4_.0s", "'abcdef'", "Cannot specify '_' with 's'."},
        {">4,o", "true", "Cannot specify ',' with 'o'."},
        {"=7,b", "true", "Cannot specify ',' with 'b'."},
        {">+04,o", "-7", "Cannot specify ',' with 'o'."},
    };
    size_t wrong = 0;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        struct buffer out = {0};
        const status s = render(&examples[i], &out);
        const char *message = s == STATUS_OK ? "" : status_message();
        if (s != STATUS_INVALID || strcmp(message + (s == STATUS_OK ? 0 : strlen("t: line 1: ")),
                                          examples[i].expected) != 0) {
            print_error("{:%s} of %s: \"%s\"\n", examples[i].format, examples[i].value, message);
            wrong++;
        }
        buffer_destroy(&out);
    }
    assert_int_equal(wrong, 0);
    const struct example wide = {"0129,", "1", ""};
    struct buffer out = {0};
    assert_int_equal(render(&wide, &out), STATUS_LIMIT);
    buffer_destroy(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_texts_are_formatted),
        cmocka_unit_test(what_is_no_format_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
