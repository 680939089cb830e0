/* SPDX-License-Identifier: Apache-2.0 */
/* Template text to tokens, with Jinja's white space control.
 *
 * The rules are those of Jinja with trim_blocks and lstrip_blocks on and keep_trailing_newline off:
 * a block or comment tag swallows one newline after it and, if nothing but white space stands
 * before it on its line, that white space too; "-" inside a tag's end swallows all white space on
 * that side, "+" switches the swallowing off. */
#include <stdlib.h>

#include <utf8proc.h>

#include "text/template/tree.h"

struct lexer {
    const char *text; /* newlines already made "\n" */
    size_t length, position;
    size_t counted; /* up to here newlines are in `line` */
    int line;
    bool line_starting; /* the last tag ended with a newline, or this is the start */
    struct arena *arena;
    struct template_tokens *out;
    char *closers; /* the closing bracket due, innermost last */
    size_t closer_count, closer_capacity;
};

static int line_at(struct lexer *lexer, size_t position)
{
    for (; lexer->counted < position; lexer->counted++) {
        lexer->line += lexer->text[lexer->counted] == '\n';
    }
    return lexer->line;
}

static status fail_at(struct lexer *lexer, const char *message)
{
    return status_fail(STATUS_INVALID, "line %d: %s", line_at(lexer, lexer->position), message);
}

static status add_token(struct lexer *lexer, struct token token)
{
    void *tokens = lexer->out->tokens;
    TRY(array_grow(&tokens, &lexer->out->capacity, lexer->out->count + 1, sizeof token));
    lexer->out->tokens = tokens;
    lexer->out->tokens[lexer->out->count++] = token;
    return STATUS_OK;
}

static bool starts_with(const struct lexer *lexer, size_t position, const char *prefix)
{
    size_t length = strlen(prefix);
    return position <= lexer->length && lexer->length - position >= length &&
           memcmp(lexer->text + position, prefix, length) == 0;
}

static char byte_at(const struct lexer *lexer, size_t position)
{
    return position < lexer->length ? lexer->text[position] : '\0';
}

static size_t skip_space(const struct lexer *lexer, size_t position)
{
    return position + template_space_prefix(lexer->text + position, lexer->length - position);
}

/* Where the next tag starts, or the end of the text. */
static size_t find_tag(const struct lexer *lexer, size_t position)
{
    for (; position + 1 < lexer->length; position++) {
        char second = lexer->text[position + 1];
        if (lexer->text[position] == '{' && (second == '%' || second == '{' || second == '#')) {
            return position;
        }
    }
    return lexer->length;
}

/* Adds the text between two tags, shortened on its right as the tag's sign asks. */
static status add_data(struct lexer *lexer, size_t start, size_t end, char sign, bool is_variable)
{
    const char *text = lexer->text + start;
    size_t length = end - start;
    int line = line_at(lexer, start);
    if (sign == '-') {
        length -= template_space_suffix(text, length);
    } else if (sign != '+' && !is_variable) {
        size_t last_line = length;
        while (last_line > 0 && text[last_line - 1] != '\n') {
            last_line--;
        }
        if ((last_line > 0 || lexer->line_starting) &&
            template_space_prefix(text + last_line, length - last_line) == length - last_line) {
            length = last_line;
        }
    }
    if (length == 0) {
        return STATUS_OK;
    }
    char *copy = arena_copy(lexer->arena, text, length);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    return add_token(
        lexer, (struct token){.type = TOKEN_DATA, .line = line, .text = copy, .length = length});
}

/* After a tag that ended at `position`. */
static void end_tag(struct lexer *lexer, size_t position)
{
    lexer->position = position;
    lexer->line_starting = position > 0 && lexer->text[position - 1] == '\n';
}

/* The end of a tag at `position`: "%}" or "#}" with an optional sign before it. Returns where the
 * text goes on, 0 if there is no such end here. */
static size_t match_end(const struct lexer *lexer, size_t position, const char *closing,
                        bool is_variable)
{
    char sign = byte_at(lexer, position);
    if (sign == '-' && starts_with(lexer, position + 1, closing)) {
        return skip_space(lexer, position + 1 + strlen(closing));
    }
    if (sign == '+' && !is_variable && starts_with(lexer, position + 1, closing)) {
        return position + 1 + strlen(closing);
    }
    if (!starts_with(lexer, position, closing)) {
        return 0;
    }
    position += strlen(closing);
    return position + (!is_variable && byte_at(lexer, position) == '\n');
}

static status lex_comment(struct lexer *lexer)
{
    for (size_t position = lexer->position; position < lexer->length; position++) {
        size_t after = match_end(lexer, position, "#}", false);
        if (after > 0) {
            end_tag(lexer, after);
            return STATUS_OK;
        }
    }
    /* Nothing at all after the tag is no error: Jinja's rule for it wants one character. */
    return lexer->position == lexer->length ? STATUS_OK
                                            : fail_at(lexer, "Missing end of comment tag");
}

/* "{% raw %}" at the position of a "{%" with its sign: where its content starts, or 0. */
static size_t match_raw(const struct lexer *lexer, size_t position)
{
    position = skip_space(lexer, position);
    if (!starts_with(lexer, position, "raw")) {
        return 0;
    }
    position = skip_space(lexer, position + 3);
    if (starts_with(lexer, position, "-%}")) {
        return skip_space(lexer, position + 3);
    }
    return starts_with(lexer, position, "%}") ? position + 2 : 0;
}

static status lex_raw(struct lexer *lexer)
{
    size_t start = lexer->position;
    lexer->line_starting = start > 0 && lexer->text[start - 1] == '\n';
    for (size_t position = start; position < lexer->length; position++) {
        if (!starts_with(lexer, position, "{%")) {
            continue;
        }
        char sign = byte_at(lexer, position + 2);
        sign = sign == '-' || sign == '+' ? sign : '\0';
        size_t inner = skip_space(lexer, position + 2 + (sign != '\0'));
        if (!starts_with(lexer, inner, "endraw")) {
            continue;
        }
        size_t after = match_end(lexer, skip_space(lexer, inner + 6), "%}", false);
        if (after > 0) {
            TRY(add_data(lexer, start, position, sign, false));
            end_tag(lexer, after);
            return STATUS_OK;
        }
    }
    return start == lexer->length ? STATUS_OK : fail_at(lexer, "Missing end of raw directive");
}

/* ---- Inside a tag ---- */

static bool is_digit(char byte, int base)
{
    int value = byte >= '0' && byte <= '9'   ? byte - '0'
                : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                             : 99;
    return value < base;
}

/* Digits with single underscores between them; returns where they end. */
static size_t skip_digits(const struct lexer *lexer, size_t position, int base)
{
    while (is_digit(byte_at(lexer, position), base) ||
           (byte_at(lexer, position) == '_' && is_digit(byte_at(lexer, position + 1), base))) {
        position++;
    }
    return position;
}

/* The end of a float that starts at the position, or 0. */
static size_t match_float(const struct lexer *lexer, size_t start)
{
    if (start > 0 && lexer->text[start - 1] == '.') {
        return 0;
    }
    size_t position = skip_digits(lexer, start, 10);
    bool is_float = false;
    if (byte_at(lexer, position) == '.' && is_digit(byte_at(lexer, position + 1), 10)) {
        position = skip_digits(lexer, position + 1, 10);
        is_float = true;
    }
    if (byte_at(lexer, position) == 'e' || byte_at(lexer, position) == 'E') {
        size_t digits = position + 1;
        digits += byte_at(lexer, digits) == '+' || byte_at(lexer, digits) == '-';
        if (is_digit(byte_at(lexer, digits), 10)) {
            position = skip_digits(lexer, digits, 10);
            is_float = true;
        }
    }
    return is_float ? position : 0;
}

static status lex_number(struct lexer *lexer)
{
    size_t start = lexer->position, end = match_float(lexer, start);
    struct token token = {.type = end > 0 ? TOKEN_FLOAT : TOKEN_INTEGER,
                          .line = line_at(lexer, start)};
    int base = 10;
    if (end == 0) {
        char letter = byte_at(lexer, start) == '0' ? byte_at(lexer, start + 1) | 0x20 : '\0';
        base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
        if (base != 10) {
            size_t digits = start + 2 + (byte_at(lexer, start + 2) == '_');
            if (is_digit(byte_at(lexer, digits), base)) {
                start += 2;
                end = skip_digits(lexer, digits, base);
            } else {
                base = 10;
            }
        }
        if (end == 0) {
            end = start + 1;
            if (byte_at(lexer, start) != '0') {
                end = skip_digits(lexer, start, 10);
            } else {
                while (byte_at(lexer, end) == '0' ||
                       (byte_at(lexer, end) == '_' && byte_at(lexer, end + 1) == '0')) {
                    end++;
                }
            }
        }
    }
    char *digits = arena_allocate(lexer->arena, end - start + 1);
    if (digits == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    for (size_t i = start; i < end; i++) {
        if (lexer->text[i] != '_') {
            digits[token.length++] = lexer->text[i];
        }
    }
    if (token.type == TOKEN_FLOAT) {
        token.real = strtod(digits, NULL);
    } else {
        for (size_t i = 0; i < token.length; i++) {
            int digit = digits[i] <= '9' ? digits[i] - '0' : (digits[i] | 0x20) - 'a' + 10;
            if (__builtin_mul_overflow(token.integer, (int64_t)base, &token.integer) ||
                __builtin_add_overflow(token.integer, (int64_t)digit, &token.integer)) {
                return fail_at(lexer, "an integer beyond 64 bits");
            }
        }
    }
    lexer->position = end;
    return add_token(lexer, token);
}

/* The character after a backslash; *position is behind the backslash and is moved behind the
 * escape. Python's "unicode-escape": an unknown escape stays as it is. */
static status lex_escape(struct lexer *lexer, size_t *position, size_t end, char *out,
                         size_t *out_length)
{
    static const char simple[][2] = {{'\\', '\\'}, {'\'', '\''}, {'"', '"'},  {'a', '\a'},
                                     {'b', '\b'},  {'f', '\f'},  {'n', '\n'}, {'r', '\r'},
                                     {'t', '\t'},  {'v', '\v'}};
    char letter = lexer->text[(*position)++];
    if (letter == '\n') {
        return STATUS_OK;
    }
    for (size_t i = 0; i < COUNT_OF(simple); i++) {
        if (simple[i][0] == letter) {
            out[(*out_length)++] = simple[i][1];
            return STATUS_OK;
        }
    }
    int base = 16;
    size_t most = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0, least = most;
    if (is_digit(letter, 8)) {
        base = 8;
        most = 3;
        least = 1;
        (*position)--;
    }
    if (letter == 'N') {
        return fail_at(lexer, "\\N{…} escapes are not supported");
    }
    if (most == 0) {
        out[(*out_length)++] = '\\';
        out[(*out_length)++] = letter;
        return STATUS_OK;
    }
    int64_t code_point = 0;
    size_t digits = 0;
    while (digits < most && *position < end && is_digit(lexer->text[*position], base)) {
        char digit = lexer->text[(*position)++];
        code_point = code_point * base + (digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
        digits++;
    }
    if (digits < least) {
        return fail_at(lexer, letter == 'x'   ? "truncated \\xXX escape"
                              : letter == 'u' ? "truncated \\uXXXX escape"
                                              : "truncated \\UXXXXXXXX escape");
    }
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) {
        return fail_at(lexer, "illegal Unicode character in an escape");
    }
    *out_length += utf8_encode((int32_t)code_point, out + *out_length);
    return STATUS_OK;
}

static status lex_string(struct lexer *lexer)
{
    size_t start = lexer->position + 1, end = start;
    char quote = lexer->text[lexer->position];
    while (end < lexer->length && lexer->text[end] != quote) {
        end += lexer->text[end] == '\\' ? 2 : 1;
    }
    if (end >= lexer->length) {
        return status_fail(STATUS_INVALID, "line %d: unexpected char \"%c\" at %zu",
                           line_at(lexer, lexer->position), quote, lexer->position);
    }
    struct token token = {.type = TOKEN_STRING, .line = line_at(lexer, lexer->position)};
    /* An escape never gets longer than it is written, but for \a UTF-8 form of up to "\377". */
    char *text = arena_allocate(lexer->arena, end - start + 4);
    if (text == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    for (size_t position = start; position < end;) {
        if (lexer->text[position] == '\\') {
            position++;
            TRY(lex_escape(lexer, &position, end, text, &token.length));
        } else {
            text[token.length++] = lexer->text[position++];
        }
    }
    token.text = text;
    lexer->position = end + 1;
    return add_token(lexer, token);
}

static bool is_name_character(int32_t code_point, bool first)
{
    if (code_point < 0x80) {
        return code_point == '_' || (code_point >= 'a' && code_point <= 'z') ||
               (code_point >= 'A' && code_point <= 'Z') ||
               (!first && code_point >= '0' && code_point <= '9');
    }
    utf8proc_category_t category = utf8proc_category(code_point);
    return template_is_alphabetic(code_point) || category == UTF8PROC_CATEGORY_NL ||
           (!first && (category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                       category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_PC));
}

static status lex_name(struct lexer *lexer, bool *found)
{
    size_t end = lexer->position, size = 0;
    while (end < lexer->length &&
           is_name_character(utf8_decode(lexer->text + end, lexer->length - end, &size),
                             end == lexer->position)) {
        end += size;
    }
    *found = end > lexer->position;
    if (!*found) {
        return STATUS_OK;
    }
    struct token token = {
        .type = TOKEN_NAME,
        .line = line_at(lexer, lexer->position),
        .text = arena_copy(lexer->arena, lexer->text + lexer->position, end - lexer->position),
        .length = end - lexer->position};
    lexer->position = end;
    return token.text == NULL ? status_fail(STATUS_NO_MEMORY, "out of memory for a template")
                              : add_token(lexer, token);
}

static const struct {
    const char *text;
    enum token_type type;
} operators[] = {
    {"**", TOKEN_POWER},
    {"//", TOKEN_FLOOR_DIVIDE},
    {"==", TOKEN_EQUAL},
    {"!=", TOKEN_NOT_EQUAL},
    {">=", TOKEN_GREATER_EQUAL},
    {"<=", TOKEN_LESS_EQUAL},
    {"+", TOKEN_ADD},
    {"-", TOKEN_SUBTRACT},
    {"/", TOKEN_DIVIDE},
    {"*", TOKEN_MULTIPLY},
    {"%", TOKEN_MODULO},
    {"~", TOKEN_TILDE},
    {"[", TOKEN_LEFT_BRACKET},
    {"]", TOKEN_RIGHT_BRACKET},
    {"(", TOKEN_LEFT_PARENTHESIS},
    {")", TOKEN_RIGHT_PARENTHESIS},
    {"{", TOKEN_LEFT_BRACE},
    {"}", TOKEN_RIGHT_BRACE},
    {">", TOKEN_GREATER},
    {"<", TOKEN_LESS},
    {"=", TOKEN_ASSIGN},
    {".", TOKEN_DOT},
    {":", TOKEN_COLON},
    {"|", TOKEN_PIPE},
    {",", TOKEN_COMMA},
    {";", TOKEN_SEMICOLON},
};

/* Brackets must pair up: a tag's end inside open brackets is not an end. */
static status balance(struct lexer *lexer, char bracket)
{
    static const char pairs[] = "()[]{}";
    const char *found = strchr(pairs, bracket);
    if (found == NULL) {
        return STATUS_OK;
    }
    if ((found - pairs) % 2 == 0) {
        void *closers = lexer->closers;
        TRY(array_grow(&closers, &lexer->closer_capacity, lexer->closer_count + 1, 1));
        lexer->closers = closers;
        lexer->closers[lexer->closer_count++] = found[1];
        return STATUS_OK;
    }
    if (lexer->closer_count == 0) {
        return status_fail(STATUS_INVALID, "line %d: unexpected '%c'",
                           line_at(lexer, lexer->position), bracket);
    }
    char expected = lexer->closers[--lexer->closer_count];
    if (expected != bracket) {
        return status_fail(STATUS_INVALID, "line %d: unexpected '%c', expected '%c'",
                           line_at(lexer, lexer->position), bracket, expected);
    }
    return STATUS_OK;
}

static status lex_operator(struct lexer *lexer)
{
    for (size_t i = 0; i < COUNT_OF(operators); i++) {
        if (starts_with(lexer, lexer->position, operators[i].text)) {
            TRY(balance(lexer, operators[i].text[0]));
            struct token token = {.type = operators[i].type,
                                  .line = line_at(lexer, lexer->position)};
            lexer->position += strlen(operators[i].text);
            return add_token(lexer, token);
        }
    }
    size_t size;
    (void)utf8_decode(lexer->text + lexer->position, lexer->length - lexer->position, &size);
    return status_fail(STATUS_INVALID, "line %d: unexpected char '%.*s' at %zu",
                       line_at(lexer, lexer->position), (int)size, lexer->text + lexer->position,
                       template_count_characters(lexer->text, lexer->position));
}

/* From behind the opening mark to behind the closing one. */
static status lex_tag(struct lexer *lexer, bool is_variable)
{
    const char *closing = is_variable ? "}}" : "%}";
    lexer->closer_count = 0;
    while (lexer->position < lexer->length) {
        if (lexer->closer_count == 0) {
            size_t after = match_end(lexer, lexer->position, closing, is_variable);
            if (after > 0) {
                struct token token = {.type = is_variable ? TOKEN_VARIABLE_END : TOKEN_BLOCK_END,
                                      .line = line_at(lexer, lexer->position)};
                end_tag(lexer, after);
                return add_token(lexer, token);
            }
        }
        size_t space =
            template_space_prefix(lexer->text + lexer->position, lexer->length - lexer->position);
        char byte = lexer->text[lexer->position];
        bool is_name = false;
        if (space > 0) {
            lexer->position += space;
        } else if (byte >= '0' && byte <= '9') {
            TRY(lex_number(lexer));
        } else if (byte == '"' || byte == '\'') {
            TRY(lex_string(lexer));
        } else {
            TRY(lex_name(lexer, &is_name));
            if (!is_name) {
                TRY(lex_operator(lexer));
            }
        }
    }
    return STATUS_OK; /* the parser says what is missing */
}

static status lex_all(struct lexer *lexer)
{
    while (lexer->position < lexer->length) {
        size_t start = lexer->position, tag = find_tag(lexer, start);
        if (tag == lexer->length) {
            TRY(add_data(lexer, start, tag, '+', true));
            break;
        }
        char kind = lexer->text[tag + 1], sign = byte_at(lexer, tag + 2);
        sign = sign == '-' || sign == '+' ? sign : '\0';
        size_t inner = tag + 2 + (sign != '\0');
        TRY(add_data(lexer, start, tag, sign, kind == '{'));
        size_t raw = kind == '%' ? match_raw(lexer, inner) : 0;
        lexer->position = raw > 0 ? raw : inner;
        if (raw > 0) {
            TRY(lex_raw(lexer));
        } else if (kind == '#') {
            TRY(lex_comment(lexer));
        } else {
            TRY(add_token(lexer, (struct token){.type = kind == '{' ? TOKEN_VARIABLE_BEGIN
                                                                    : TOKEN_BLOCK_BEGIN,
                                                .line = line_at(lexer, tag)}));
            TRY(lex_tag(lexer, kind == '{'));
        }
    }
    return add_token(lexer,
                     (struct token){.type = TOKEN_END, .line = line_at(lexer, lexer->length)});
}

status template_lex(const char *text, size_t length, struct arena *arena,
                    struct template_tokens *out)
{
    char *normal = malloc(length + 1);
    if (normal == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        bool is_return = text[i] == '\r';
        normal[used++] = is_return ? '\n' : text[i];
        i += is_return && i + 1 < length && text[i + 1] == '\n';
    }
    used -= used > 0 && normal[used - 1] == '\n';
    struct lexer lexer = {.text = normal,
                          .length = used,
                          .line = 1,
                          .line_starting = true,
                          .arena = arena,
                          .out = out};
    status s = lex_all(&lexer);
    free(lexer.closers);
    free(normal);
    return s;
}

const char *template_token_describe(enum token_type type)
{
    static const char *const words[] = {
        [TOKEN_END] = "end of template",
        [TOKEN_DATA] = "template data / text",
        [TOKEN_VARIABLE_BEGIN] = "begin of print statement",
        [TOKEN_VARIABLE_END] = "end of print statement",
        [TOKEN_BLOCK_BEGIN] = "begin of statement block",
        [TOKEN_BLOCK_END] = "end of statement block",
        [TOKEN_NAME] = "name",
        [TOKEN_STRING] = "string",
        [TOKEN_INTEGER] = "integer",
        [TOKEN_FLOAT] = "float",
        [TOKEN_IN] = "in",
        [TOKEN_NOT_IN] = "not in",
    };
    for (size_t i = 0; i < COUNT_OF(operators); i++) {
        if (operators[i].type == type) {
            return operators[i].text;
        }
    }
    return words[type];
}
