/* SPDX-License-Identifier: Apache-2.0 */
/* Python's two ways to format text: "…" % arguments, and "…".format(…). */
#include <math.h>
#include <stdio.h>

#include "text/template/internal.h"

enum { MAX_WIDTH = 1 << 16, MAX_PRECISION = 100, NUMBER_BYTES = 512, MAX_GROUPED_WIDTH = 128 };

/* One conversion, however it was written. */
struct specification {
    char fill[4]; /* a code point */
    size_t fill_size;
    char align; /* '<', '>', '^', '=' or NUL for the type's own */
    char sign;  /* '+', ' ', '-' as long as it is not looked at, or NUL */
    bool alternate, zero;
    char grouping; /* ',' or '_' or NUL */
    size_t width;
    int precision; /* -1: none */
    char type;     /* NUL: none */
};

/* Text with its sign or prefix (`head` bytes at its start stay left of zeros), padded. */
static status write_padded(struct render *r, const struct specification *form, const char *text,
                           size_t length, size_t head, char default_align)
{
    size_t characters = template_count_characters(text, length);
    size_t padding = form->width > characters ? form->width - characters : 0;
    char align = form->align != '\0' ? form->align : default_align;
    size_t before = align == '<' ? 0 : align == '^' ? padding / 2 : padding;
    head = align == '=' ? head : 0;
    TRY(template_write(r, text, head));
    for (size_t i = 0; i < before; i++) {
        TRY(template_write(r, form->fill, form->fill_size));
    }
    TRY(template_write(r, text + head, length - head));
    for (size_t i = before; i < padding; i++) {
        TRY(template_write(r, form->fill, form->fill_size));
    }
    return STATUS_OK;
}

/* ---- Groups of digits ---- */

static bool in_binary(const struct specification *form)
{
    return form->type != '\0' && strchr("xXob", form->type) != NULL;
}

/* Writes the digits at number[head…] in groups, with zeros before them up to `width` of it all. */
static void group_digits(char number[NUMBER_BYTES], size_t head, const struct specification *form,
                         size_t width)
{
    char grouped[NUMBER_BYTES], rest[NUMBER_BYTES];
    const bool binary = in_binary(form);
    const size_t each = binary ? 4 : 3;
    const size_t digits = strspn(number + head, binary ? "0123456789abcdefABCDEF" : "0123456789");
    const size_t beside = strlen(number) - digits;
    size_t count = digits, used = 0;
    while (count > 0 && beside + count + (count - 1) / each < width) {
        count++;
    }
    for (size_t i = 0; i < count && used + 2 < sizeof grouped; i++) {
        if (i > 0 && (count - i) % each == 0) {
            grouped[used++] = form->grouping;
        }
        grouped[used++] = i < count - digits ? '0' : number[head + i - (count - digits)];
    }
    grouped[used] = '\0';
    snprintf(rest, sizeof rest, "%s", number + head + digits);
    snprintf(number + head, NUMBER_BYTES - head, "%s%s", grouped, rest);
}

static status write_number(struct render *r, const struct specification *form,
                           char number[NUMBER_BYTES])
{
    size_t head = strspn(number, "+- ");
    if (form->alternate && in_binary(form)) {
        head += 2; /* "0x" */
    }
    if (form->grouping != '\0') {
        const bool zeros = form->align == '=' && form->fill[0] == '0';
        if (zeros && form->width > MAX_GROUPED_WIDTH) {
            return status_fail(STATUS_LIMIT, "a format's width of more than %d with groups",
                               (int)MAX_GROUPED_WIDTH);
        }
        group_digits(number, head, form, zeros ? form->width : 0);
    }
    return write_padded(r, form, number, strlen(number), head, '>');
}

/* ---- Numbers and texts ---- */

static status write_integer(struct render *r, const struct specification *form, int64_t value,
                            char number[NUMBER_BYTES])
{
    char digits[72];
    size_t used = sizeof digits;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    unsigned base = form->type == 'x' || form->type == 'X' ? 16
                    : form->type == 'o'                    ? 8
                    : form->type == 'b'                    ? 2
                                                           : 10;
    digits[--used] = '\0';
    do {
        digits[--used] = (form->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[rest % base];
        rest /= base;
    } while (rest > 0);
    char prefix[3] = {'0', form->type, '\0'}, sign[2] = {value < 0 ? '-' : form->sign, '\0'};
    int zeros = form->precision - (int)strlen(digits + used);
    snprintf(number, NUMBER_BYTES, "%s%s%.*s%s", sign, form->alternate && base != 10 ? prefix : "",
             zeros > 0 ? zeros : 0,
             "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
             "00000000000000000",
             digits + used);
    return write_number(r, form, number);
}

static status write_float(struct render *r, const struct specification *form, double value,
                          char number[NUMBER_BYTES])
{
    char sign[2] = {signbit(value) && !isnan(value) ? '-' : form->sign, '\0'};
    char type = form->type == '\0' || form->type == 'n' ? 'g' : form->type;
    int precision = form->precision < 0 ? 6 : form->precision;
    double magnitude = fabs(value);
    if (form->type == '\0' && form->precision < 0) {
        char text[TEMPLATE_FLOAT_BYTES];
        template_float_text(magnitude, text);
        snprintf(number, NUMBER_BYTES, "%s%s", sign, text);
    } else if (isnan(value) || isinf(value)) {
        snprintf(number, NUMBER_BYTES, "%s%s%s", sign, isnan(value) ? "nan" : "inf",
                 type == '%' ? "%" : "");
    } else if (type == '%') {
        snprintf(number, NUMBER_BYTES, "%s%.*f%%", sign, precision, magnitude * 100);
    } else {
        char format[8] = {'%', form->alternate ? '#' : '.', '.', '*', type, '\0'};
        if (!form->alternate) {
            memmove(format + 1, format + 2, sizeof format - 2);
        }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        char text[NUMBER_BYTES - 8];
        snprintf(text, sizeof text, format, precision, magnitude);
#pragma GCC diagnostic pop
        snprintf(number, NUMBER_BYTES, "%s%s", sign, text);
    }
    return write_number(r, form, number);
}

static status write_string(struct render *r, const struct specification *form,
                           const struct string *string, char default_align)
{
    size_t length = string->length;
    if (form->precision >= 0 && (size_t)form->precision < string->characters) {
        length = template_character_offset(string, (size_t)form->precision);
    }
    return write_padded(r, form, string->text, length, 0, default_align);
}

/* ---- % ---- */

struct percent {
    const struct string *format;
    size_t offset;
    const struct value *arguments; /* a tuple's items, or the one argument */
    size_t count, used;
    const struct value *mapping; /* the argument if it is a dict, or NULL */
};

static status next_argument(struct percent *p, const struct value **out)
{
    if (p->used >= p->count) {
        return template_fail("not enough arguments for format string");
    }
    *out = &p->arguments[p->used++];
    return STATUS_OK;
}

static char percent_byte(const struct percent *p)
{
    return p->offset < p->format->length ? p->format->text[p->offset] : '\0';
}

/* "(name)": the argument is then a member of the mapping. */
static status percent_key(struct render *r, struct percent *p, const struct value **argument)
{
    size_t start = ++p->offset;
    while (percent_byte(p) != ')') {
        if (p->offset >= p->format->length) {
            return template_fail("incomplete format key");
        }
        p->offset++;
    }
    if (p->mapping == NULL) {
        return template_fail("format requires a mapping");
    }
    struct value key;
    TRY(template_string_view(r, p->format->text + start, p->offset - start, &key));
    p->offset++;
    TRY(template_dict_get(r, p->mapping->dict, &key, argument));
    return *argument != NULL ? STATUS_OK : template_fail("'%.*s'", STRING_ARGUMENTS(key.string));
}

/* Digits or "*". */
static status percent_count(struct percent *p, int most, int *out)
{
    int64_t value = 0;
    if (percent_byte(p) == '*') {
        const struct value *argument = NULL;
        p->offset++;
        TRY(next_argument(p, &argument));
        if (!template_is_integral(argument, &value)) {
            return template_fail("* wants int");
        }
    }
    while (percent_byte(p) >= '0' && percent_byte(p) <= '9' && value <= most) {
        value = value * 10 + (percent_byte(p) - '0');
        p->offset++;
    }
    if (value > most || value < -most) {
        return status_fail(STATUS_LIMIT, "a format's width or precision of more than %d", most);
    }
    *out = (int)value;
    return STATUS_OK;
}

static status percent_convert(struct render *r, const struct specification *form,
                              const struct value *argument)
{
    char number[NUMBER_BYTES];
    double real;
    int64_t integer;
    struct value text;
    size_t mark = r->out.length;
    switch (form->type) {
    case 's':
        TRY(template_write_value(r, argument));
        TRY(template_take(r, mark, &text));
        return write_string(r, form, text.string, '>');
    case 'r':
    case 'a':
        TRY(template_write_repr(r, argument));
        TRY(template_take(r, mark, &text));
        return write_string(r, form, text.string, '>');
    case 'c':
        if (argument->type == VALUE_STRING && argument->string->characters == 1) {
            return write_string(r, form, argument->string, '>');
        }
        if (!template_is_integral(argument, &integer) || integer < 0 || integer > 0x10FFFF ||
            (integer >= 0xD800 && integer <= 0xDFFF)) {
            return template_fail("%%c requires int or char");
        }
        TRY(template_write_character(r, (int32_t)integer));
        TRY(template_take(r, mark, &text));
        return write_string(r, form, text.string, '>');
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        if (argument->type == VALUE_FLOAT && strchr("diu", form->type) != NULL &&
            fabs(argument->real) < 9e18) {
            integer = (int64_t)argument->real;
        } else if (!template_is_integral(argument, &integer)) {
            return template_fail("%%%c format: %s is required, not %s", form->type,
                                 strchr("diu", form->type) != NULL ? "a real number" : "an integer",
                                 template_type_name(argument));
        }
        return write_integer(r, form, integer, number);
    default:
        if (strchr("eEfFgG", form->type) == NULL || form->type == '\0') {
            return template_fail("unsupported format character '%c'", form->type);
        }
        if (!template_is_number(argument, &real)) {
            return template_fail("must be real number, not %s", template_type_name(argument));
        }
        return write_float(r, form, real, number);
    }
}

static status percent_one(struct render *r, struct percent *p)
{
    struct specification form = {.fill = " ", .fill_size = 1, .precision = -1};
    const struct value *argument = NULL;
    int width = 0;
    if (percent_byte(p) == '(') {
        TRY(percent_key(r, p, &argument));
    }
    for (; percent_byte(p) != '\0' && strchr("-+ #0", percent_byte(p)) != NULL; p->offset++) {
        char flag = percent_byte(p);
        form.align = flag == '-' ? '<' : form.align;
        form.sign = flag == '+' || (flag == ' ' && form.sign == '\0') ? flag : form.sign;
        form.alternate |= flag == '#';
        form.zero |= flag == '0';
    }
    TRY(percent_count(p, MAX_WIDTH, &width));
    form.align = width < 0 ? '<' : form.align;
    form.width = (size_t)(width < 0 ? -width : width);
    if (percent_byte(p) == '.') {
        p->offset++;
        TRY(percent_count(p, MAX_PRECISION, &form.precision));
        form.precision = form.precision < 0 ? 0 : form.precision;
    }
    while (percent_byte(p) == 'l' || percent_byte(p) == 'h' || percent_byte(p) == 'L') {
        p->offset++;
    }
    if (p->offset >= p->format->length) {
        return template_fail("incomplete format");
    }
    form.type = p->format->text[p->offset++];
    if (form.type == '%') {
        return template_write_text(r, "%");
    }
    if (form.zero && form.align == '\0' && strchr("srac", form.type) == NULL) {
        form.fill[0] = '0';
        form.align = '=';
    }
    if (argument == NULL) {
        TRY(next_argument(p, &argument));
    }
    return percent_convert(r, &form, argument);
}

status template_format_percent(struct render *r, const struct string *format,
                               const struct value *arguments, struct value *out)
{
    bool is_tuple = arguments->type == VALUE_TUPLE;
    struct percent p = {.format = format,
                        .arguments = is_tuple ? arguments->list->items : arguments,
                        .count = is_tuple ? arguments->list->count : 1,
                        .mapping = arguments->type == VALUE_DICT ? arguments : NULL};
    size_t mark = r->out.length;
    while (p.offset < format->length) {
        const char *rest = format->text + p.offset;
        const char *sign = memchr(rest, '%', format->length - p.offset);
        size_t plain = sign == NULL ? format->length - p.offset : (size_t)(sign - rest);
        TRY(template_charge(r, 1));
        TRY(template_write(r, rest, plain));
        p.offset += plain;
        if (sign != NULL) {
            p.offset++;
            TRY(percent_one(r, &p));
        }
    }
    /* Python takes whatever can be indexed, but for tuples and texts, for a mapping. */
    bool indexable = arguments->type == VALUE_DICT || arguments->type == VALUE_LIST ||
                     arguments->type == VALUE_RANGE || arguments->type == VALUE_UNDEFINED;
    if (p.used < p.count && !indexable) {
        return template_fail("not all arguments converted during string formatting");
    }
    return template_take(r, mark, out);
}

/* ---- format() ---- */

struct braces {
    const struct call *call;
    size_t automatic; /* index of the next "{}" */
    bool uses_automatic, uses_explicit;
};

static status parse_specification(const char *text, size_t length, struct specification *form)
{
    size_t at = 0, size = 0;
    bool has_fill = false;
    *form = (struct specification){.fill = " ", .fill_size = 1, .precision = -1};
    if (length > 0) {
        (void)utf8_decode(text, length, &size);
        if (size < length && strchr("<>=^", text[size]) != NULL) {
            memcpy(form->fill, text, size);
            form->fill_size = size;
            has_fill = true;
            form->align = text[size];
            at = size + 1;
        } else if (strchr("<>=^", text[0]) != NULL && text[0] != '\0') {
            form->align = text[at++];
        }
    }
    if (at < length && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
        form->sign = text[at++];
    }
    if (at < length && text[at] == '#') {
        form->alternate = true;
        at++;
    }
    if (at < length && text[at] == '0' && !has_fill) {
        form->zero = true;
        form->fill[0] = '0';
        at++;
    }
    for (; at < length && text[at] >= '0' && text[at] <= '9'; at++) {
        form->width = form->width * 10 + (size_t)(text[at] - '0');
        if (form->width > MAX_WIDTH) {
            return status_fail(STATUS_LIMIT, "a format's width of more than %d", (int)MAX_WIDTH);
        }
    }
    if (at < length && (text[at] == ',' || text[at] == '_')) {
        form->grouping = text[at++];
    }
    if (at < length && text[at] == '.') {
        form->precision = 0;
        for (at++; at < length && text[at] >= '0' && text[at] <= '9'; at++) {
            form->precision = form->precision * 10 + (text[at] - '0');
            if (form->precision > MAX_PRECISION) {
                return status_fail(STATUS_LIMIT, "a format's precision of more than %d",
                                   (int)MAX_PRECISION);
            }
        }
    }
    form->type = at < length ? text[at++] : '\0';
    return at == length ? STATUS_OK : template_fail("Invalid format specifier");
}

/* Groups are for numbers; those in binary are separated by "_" alone. */
static status check_grouping(const struct specification *form, char type)
{
    const bool never = type == 'n' || type == 's';
    return form->grouping == '\0' || (!never && (form->grouping == '_' || !in_binary(form)))
               ? STATUS_OK
               : template_fail("Cannot specify '%c' with '%c'.", form->grouping, type);
}

static status write_specified(struct render *r, const struct value *value, const char *text,
                              size_t length)
{
    char number[NUMBER_BYTES];
    struct specification form;
    int64_t integer;
    double real;
    TRY(parse_specification(text, length, &form));
    if (length == 0) {
        return template_write_value(r, value);
    }
    if (value->type == VALUE_STRING) {
        if (form.type != '\0' && form.type != 's') {
            return template_fail("Unknown format code '%c' for object of type 'str'", form.type);
        }
        if (form.align == '=' || form.sign != '\0' || form.alternate) {
            return template_fail("this format is not allowed in string format specifier");
        }
        TRY(check_grouping(&form, 's'));
        return write_string(r, &form, value->string, '<');
    }
    if (form.zero && form.align == '\0') {
        form.align = '=';
    }
    form.sign = form.sign == '-' ? '\0' : form.sign;
    if (template_is_integral(value, &integer) &&
        (form.type == '\0' || strchr("dxXobn", form.type) != NULL)) {
        if (form.precision >= 0) {
            return template_fail("Precision not allowed in integer format specifier");
        }
        TRY(check_grouping(&form, form.type));
        return write_integer(r, &form, integer, number);
    }
    if (template_is_number(value, &real) &&
        (form.type == '\0' || strchr("eEfFgGn%", form.type) != NULL)) {
        TRY(check_grouping(&form, form.type));
        return write_float(r, &form, real, number);
    }
    if (template_is_number(value, &real)) {
        return template_fail("Unknown format code '%c' for object of type '%s'", form.type,
                             template_type_name(value));
    }
    return template_fail("unsupported format string passed to %s.__format__",
                         template_type_name(value));
}

static bool all_digits(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return length > 0 && length < 9;
}

static int64_t small_number(const char *text, size_t length)
{
    int64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* The argument a field starts with: by number, by its turn, or by name. */
static status first_of_field(struct braces *b, const char *text, size_t length, struct value *out)
{
    bool is_automatic = length == 0;
    if (is_automatic || all_digits(text, length)) {
        b->uses_automatic |= is_automatic;
        b->uses_explicit |= !is_automatic;
        if (b->uses_automatic && b->uses_explicit) {
            return template_fail(is_automatic ? "cannot switch from manual field specification to "
                                                "automatic field numbering"
                                              : "cannot switch from automatic field numbering to "
                                                "manual field specification");
        }
        size_t index = is_automatic ? b->automatic++ : (size_t)small_number(text, length);
        if (index >= b->call->count) {
            return template_fail("tuple index out of range");
        }
        *out = b->call->arguments[index];
        return STATUS_OK;
    }
    for (size_t i = 0; i < b->call->keyword_count; i++) {
        const struct string *name = b->call->keywords[i].name.string;
        if (name->length == length && memcmp(name->text, text, length) == 0) {
            *out = b->call->keywords[i].value;
            return STATUS_OK;
        }
    }
    return template_fail("'%.*s'", (int)length, text);
}

/* "name.attribute[key]" */
static status field_value(struct render *r, struct braces *b, const char *text, size_t length,
                          struct value *out)
{
    size_t at = 0;
    while (at < length && text[at] != '.' && text[at] != '[') {
        at++;
    }
    TRY(first_of_field(b, text, at, out));
    while (at < length) {
        bool is_item = text[at++] == '[';
        size_t start = at;
        while (at < length && (is_item ? text[at] != ']' : text[at] != '.' && text[at] != '[')) {
            at++;
        }
        if (at == start || (is_item && at == length)) {
            return template_fail(at == start ? "Empty attribute in format string"
                                             : "expected '}' before end of string");
        }
        struct value key;
        if (is_item && all_digits(text + start, at - start)) {
            key = value_integer(small_number(text + start, at - start));
        } else {
            TRY(template_string_view(r, text + start, at - start, &key));
        }
        TRY(is_item ? template_get_item(r, out, &key, out)
                    : template_get_attribute(r, out, &key, out));
        at += is_item;
        if (is_item && at < length && text[at] != '.' && text[at] != '[') {
            return template_fail("Only '.' or '[' may follow ']' in format field specifier");
        }
    }
    return STATUS_OK;
}

static status write_field(struct render *r, struct braces *b, const char *text, size_t length)
{
    size_t name = 0;
    char conversion = '\0';
    for (bool inside = false; name < length; name++) {
        inside = text[name] == '[' || (inside && text[name] != ']');
        if (!inside && (text[name] == '!' || text[name] == ':')) {
            break;
        }
    }
    size_t rest = name;
    if (rest < length && text[rest] == '!') {
        conversion = rest + 1 < length ? text[rest + 1] : '\0';
        rest += 2;
        if ((rest < length && text[rest] != ':') || strchr("sra", conversion) == NULL ||
            conversion == '\0') {
            return template_fail("Unknown conversion specifier in format string");
        }
    }
    rest += rest < length;
    rest = rest > length ? length : rest;
    struct value value;
    TRY(field_value(r, b, text, name, &value));
    if (conversion != '\0') {
        size_t mark = r->out.length;
        TRY(conversion == 's' ? template_write_value(r, &value) : template_write_repr(r, &value));
        TRY(template_take(r, mark, &value));
    }
    if (memchr(text + rest, '{', length - rest) != NULL) {
        return template_fail("nested fields in a format specifier are not supported");
    }
    return write_specified(r, &value, text + rest, length - rest);
}

status template_format_braces(struct render *r, const struct string *format,
                              const struct call *call, struct value *out)
{
    struct braces b = {.call = call};
    size_t mark = r->out.length;
    for (size_t i = 0; i < format->length; i++) {
        char byte = format->text[i];
        bool doubled = i + 1 < format->length && format->text[i + 1] == byte;
        TRY(template_charge(r, 1));
        if (byte != '{' && byte != '}') {
            TRY(template_write(r, &byte, 1));
            continue;
        }
        if (doubled) {
            TRY(template_write(r, &byte, 1));
            i++;
            continue;
        }
        if (byte == '}') {
            return template_fail("Single '}' encountered in format string");
        }
        size_t start = i + 1, depth = 1;
        for (i = start; i < format->length && depth > 0; i++) {
            depth += format->text[i] == '{';
            depth -= format->text[i] == '}';
        }
        if (depth > 0) {
            return template_fail(start == format->length ? "Single '{' encountered in format string"
                                                         : "expected '}' before end of string");
        }
        i--;
        TRY(write_field(r, &b, format->text + start, i - start));
    }
    return template_take(r, mark, out);
}
