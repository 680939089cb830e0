/* SPDX-License-Identifier: Apache-2.0 */
/* Character classes by name: \p{…}, [[:…:]], \w, \s. */
#include <ctype.h>
#include <string.h>

#include "text/regex/regex_internal.h"

#define ONE(category) (UINT32_C(1) << (category))

enum {
    LETTER =
        ONE(UNICODE_LU) | ONE(UNICODE_LL) | ONE(UNICODE_LT) | ONE(UNICODE_LM) | ONE(UNICODE_LO),
    CASED = ONE(UNICODE_LU) | ONE(UNICODE_LL) | ONE(UNICODE_LT),
    MARK = ONE(UNICODE_MN) | ONE(UNICODE_MC) | ONE(UNICODE_ME),
    NUMBER = ONE(UNICODE_ND) | ONE(UNICODE_NL) | ONE(UNICODE_NO),
    PUNCTUATION = ONE(UNICODE_PC) | ONE(UNICODE_PD) | ONE(UNICODE_PS) | ONE(UNICODE_PE) |
                  ONE(UNICODE_PI) | ONE(UNICODE_PF) | ONE(UNICODE_PO),
    SYMBOL = ONE(UNICODE_SM) | ONE(UNICODE_SC) | ONE(UNICODE_SK) | ONE(UNICODE_SO),
    SEPARATOR = ONE(UNICODE_ZS) | ONE(UNICODE_ZL) | ONE(UNICODE_ZP),
    OTHER = ONE(UNICODE_CN) | ONE(UNICODE_CC) | ONE(UNICODE_CF) | ONE(UNICODE_CS) | ONE(UNICODE_CO),
};

static const struct {
    const char *name; /* lower case, without separators */
    uint32_t categories;
} category_names[] = {
    {"l", LETTER},
    {"letter", LETTER},
    {"lc", CASED},
    {"casedletter", CASED},
    {"lu", ONE(UNICODE_LU)},
    {"uppercaseletter", ONE(UNICODE_LU)},
    {"ll", ONE(UNICODE_LL)},
    {"lowercaseletter", ONE(UNICODE_LL)},
    {"lt", ONE(UNICODE_LT)},
    {"titlecaseletter", ONE(UNICODE_LT)},
    {"lm", ONE(UNICODE_LM)},
    {"modifierletter", ONE(UNICODE_LM)},
    {"lo", ONE(UNICODE_LO)},
    {"otherletter", ONE(UNICODE_LO)},
    {"m", MARK},
    {"mark", MARK},
    {"combiningmark", MARK},
    {"mn", ONE(UNICODE_MN)},
    {"nonspacingmark", ONE(UNICODE_MN)},
    {"mc", ONE(UNICODE_MC)},
    {"spacingmark", ONE(UNICODE_MC)},
    {"me", ONE(UNICODE_ME)},
    {"enclosingmark", ONE(UNICODE_ME)},
    {"n", NUMBER},
    {"number", NUMBER},
    {"nd", ONE(UNICODE_ND)},
    {"decimalnumber", ONE(UNICODE_ND)},
    {"digit", ONE(UNICODE_ND)},
    {"nl", ONE(UNICODE_NL)},
    {"letternumber", ONE(UNICODE_NL)},
    {"no", ONE(UNICODE_NO)},
    {"othernumber", ONE(UNICODE_NO)},
    {"p", PUNCTUATION},
    {"punctuation", PUNCTUATION},
    {"punct", PUNCTUATION},
    {"pc", ONE(UNICODE_PC)},
    {"connectorpunctuation", ONE(UNICODE_PC)},
    {"pd", ONE(UNICODE_PD)},
    {"dashpunctuation", ONE(UNICODE_PD)},
    {"ps", ONE(UNICODE_PS)},
    {"openpunctuation", ONE(UNICODE_PS)},
    {"pe", ONE(UNICODE_PE)},
    {"closepunctuation", ONE(UNICODE_PE)},
    {"pi", ONE(UNICODE_PI)},
    {"initialpunctuation", ONE(UNICODE_PI)},
    {"pf", ONE(UNICODE_PF)},
    {"finalpunctuation", ONE(UNICODE_PF)},
    {"po", ONE(UNICODE_PO)},
    {"otherpunctuation", ONE(UNICODE_PO)},
    {"s", SYMBOL},
    {"symbol", SYMBOL},
    {"sm", ONE(UNICODE_SM)},
    {"mathsymbol", ONE(UNICODE_SM)},
    {"sc", ONE(UNICODE_SC)},
    {"currencysymbol", ONE(UNICODE_SC)},
    {"sk", ONE(UNICODE_SK)},
    {"modifiersymbol", ONE(UNICODE_SK)},
    {"so", ONE(UNICODE_SO)},
    {"othersymbol", ONE(UNICODE_SO)},
    {"z", SEPARATOR},
    {"separator", SEPARATOR},
    {"zs", ONE(UNICODE_ZS)},
    {"spaceseparator", ONE(UNICODE_ZS)},
    {"zl", ONE(UNICODE_ZL)},
    {"lineseparator", ONE(UNICODE_ZL)},
    {"zp", ONE(UNICODE_ZP)},
    {"paragraphseparator", ONE(UNICODE_ZP)},
    {"c", OTHER},
    {"other", OTHER},
    {"cc", ONE(UNICODE_CC)},
    {"control", ONE(UNICODE_CC)},
    {"cntrl", ONE(UNICODE_CC)},
    {"cf", ONE(UNICODE_CF)},
    {"format", ONE(UNICODE_CF)},
    {"cn", ONE(UNICODE_CN)},
    {"unassigned", ONE(UNICODE_CN)},
    {"co", ONE(UNICODE_CO)},
    {"privateuse", ONE(UNICODE_CO)},
};

status regex_set_add_word(struct unicode_set *set, bool bare)
{
    /* The reference keeps a table of its own for Latin-1 when \w stands outside of brackets. */
    static const uint32_t extra[] = {0xB2, 0xB3, 0xB9, 0xB9, 0xBC, 0xBE};
    if (bare) {
        TRY(unicode_set_add_ranges(set, extra, COUNT_OF(extra)));
    }
    for (size_t i = 0; i < unicode_word_count; i += 2) {
        if (unicode_word[i] != 0x200C) { /* the joiners are word characters elsewhere only */
            TRY(unicode_set_add(set, unicode_word[i], unicode_word[i + 1]));
        }
    }
    return STATUS_OK;
}

status regex_set_add_space(struct unicode_set *set)
{
    static const uint32_t spaces[] = {0x9,    0xD,    0x20,   0x20,   0x85,   0x85,   0xA0,
                                      0xA0,   0x1680, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029,
                                      0x202F, 0x202F, 0x205F, 0x205F, 0x3000, 0x3000};
    return unicode_set_add_ranges(set, spaces, COUNT_OF(spaces));
}

status regex_set_add_letter(struct unicode_set *set, enum regex_dialect dialect, char letter)
{
    static const uint32_t digits[] = {'0', '9'};
    static const uint32_t word[] = {'0', '9', 'A', 'Z', '_', '_', 'a', 'z'};
    static const uint32_t python_spaces[] = {0x1C, 0x1F};
    const bool is_ecma = dialect == REGEX_ECMA;
    if (letter == 'd') {
        return is_ecma ? unicode_set_add_ranges(set, digits, COUNT_OF(digits))
                       : unicode_set_add_categories(set, ONE(UNICODE_ND));
    }
    if (letter == 'w') {
        TRY(unicode_set_add_ranges(set, word, COUNT_OF(word)));
        return is_ecma ? STATUS_OK : unicode_set_add_categories(set, LETTER | NUMBER);
    }
    TRY(regex_set_add_space(set));
    if (!is_ecma) { /* str.isspace() has the separators of information, too */
        return unicode_set_add_ranges(set, python_spaces, COUNT_OF(python_spaces));
    }
    unicode_set_finish(set); /* White_Space but for U+0085, and the byte order mark */
    struct unicode_set others = {0};
    status s = unicode_set_add(&others, 0x85, 0x85);
    unicode_set_finish(&others);
    s = s == STATUS_OK ? unicode_set_negate(&others) : s;
    s = s == STATUS_OK ? unicode_set_intersect(set, &others) : s;
    unicode_set_destroy(&others);
    return s == STATUS_OK ? unicode_set_add(set, 0xFEFF, 0xFEFF) : s;
}

status regex_set_add_property(struct unicode_set *set, const char *name, size_t length,
                              bool bracket)
{
    char plain[64];
    size_t used = 0;
    const char *value = memchr(name, '=', length); /* Script=Latin, gc=Lu: the value says it */
    if (value != NULL) {
        length -= (size_t)(value + 1 - name);
        name = value + 1;
    }
    for (size_t i = 0; i < length; i++) {
        if (name[i] != ' ' && name[i] != '_' && name[i] != '-' && used < sizeof plain - 1) {
            plain[used++] = (char)tolower((unsigned char)name[i]);
        }
    }
    plain[used] = '\0';
    if (strcmp(plain, "any") == 0) {
        return unicode_set_add(set, 0, 0x10FFFF);
    }
    if (strcmp(plain, "ascii") == 0) {
        return unicode_set_add(set, 0, 0x7F);
    }
    if (strcmp(plain, "word") == 0) {
        return regex_set_add_word(set, false);
    }
    if (strcmp(plain, "space") == 0 || strcmp(plain, "whitespace") == 0) {
        return regex_set_add_space(set);
    }
    if (strcmp(plain, "xdigit") == 0) {
        static const uint32_t digits[] = {'0', '9', 'A', 'F', 'a', 'f'};
        return unicode_set_add_ranges(set, digits, COUNT_OF(digits));
    }
    if (strcmp(plain, "blank") == 0) {
        TRY(unicode_set_add(set, '\t', '\t'));
        return unicode_set_add_categories(set, ONE(UNICODE_ZS));
    }
    if (strcmp(plain, "alpha") == 0 || strcmp(plain, "alphabetic") == 0 ||
        strcmp(plain, "alnum") == 0) {
        TRY(unicode_set_add_ranges(set, unicode_alphabetic, unicode_alphabetic_count));
        return plain[2] == 'n' ? unicode_set_add_categories(set, ONE(UNICODE_ND)) : STATUS_OK;
    }
    if (bracket && strcmp(plain, "punct") == 0) {
        return unicode_set_add_categories(set, PUNCTUATION | SYMBOL);
    }
    for (size_t i = 0; i < COUNT_OF(category_names); i++) {
        if (strcmp(plain, category_names[i].name) == 0) {
            return unicode_set_add_categories(set, category_names[i].categories);
        }
    }
    for (size_t i = 0; i < unicode_script_names_count; i++) {
        if (strcmp(plain, unicode_script_names[i]) == 0) {
            return unicode_set_add_script(set, i);
        }
    }
    return status_fail(STATUS_UNSUPPORTED,
                       "unknown character property \"%.*s\" (supported: general categories, "
                       "scripts, Alpha, Alnum, Blank, Cntrl, Digit, Punct, Space, Word, XDigit, "
                       "ASCII, Any)",
                       (int)(length < 60 ? length : 60), name);
}
