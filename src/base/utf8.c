/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as Unicode 15, table 3-7 (well-formed byte sequences), defines it. */
#include <string.h>

#include "sluice/base.h"

int32_t utf8_decode(const char *text, size_t length, size_t *size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned first = bytes[0];
    *size = 1;
    if (first < 0x80) {
        return (int32_t)first;
    }
    size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || length < wanted) {
        return -1;
    }
    int32_t code_point = (int32_t)(first & (0xFFu >> (wanted + 1)));
    for (size_t i = 1; i < wanted; i++) {
        if ((bytes[i] & 0xC0u) != 0x80u) {
            return -1;
        }
        code_point = code_point << 6 | (int32_t)(bytes[i] & 0x3Fu);
    }
    static const int32_t least[] = {[2] = 0x80, [3] = 0x800, [4] = 0x10000};
    if (code_point < least[wanted] || code_point > 0x10FFFF ||
        (code_point >= 0xD800 && code_point <= 0xDFFF)) {
        return -1;
    }
    *size = wanted;
    return code_point;
}

size_t utf8_encode(int32_t code_point, char out[4])
{
    uint32_t c = (uint32_t)code_point;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool utf8_is_control(int32_t code_point)
{
    return (code_point >= 0 && code_point < 0x20) || (code_point >= 0x7F && code_point < 0xA0);
}

void utf8_blank_controls(char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size) {
        int32_t code_point = utf8_decode(text + i, length - i, &size);
        if (utf8_is_control(code_point)) {
            memset(text + i, ' ', size);
        }
    }
}

const char *utf8_other_encoding(const void *bytes, size_t length)
{
    static const struct {
        const char *mark;
        size_t length;
        const char *name;
    } marks[] = {
        {"\xFF\xFE\0\0", 4, "UTF-32"}, /* before UTF-16, with which it begins */
        {"\0\0\xFE\xFF", 4, "UTF-32"},
        {"\xFF\xFE", 2, "UTF-16"},
        {"\xFE\xFF", 2, "UTF-16"},
    };
    const unsigned char *text = bytes;
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (length >= marks[i].length && memcmp(text, marks[i].mark, marks[i].length) == 0) {
            return marks[i].name;
        }
    }
    /* Without a mark: every text here begins with a character of ASCII. */
    if (length < 4) {
        return NULL;
    }
    bool zero[4] = {text[0] == 0, text[1] == 0, text[2] == 0, text[3] == 0};
    if ((!zero[0] && zero[1] && zero[2] && zero[3]) ||
        (zero[0] && zero[1] && zero[2] && !zero[3])) {
        return "UTF-32";
    }
    if ((!zero[0] && zero[1] && !zero[2] && zero[3]) ||
        (zero[0] && !zero[1] && zero[2] && !zero[3])) {
        return "UTF-16";
    }
    return NULL;
}
