/* Methods of strings: a table of facts at the end. */
#include "text/template_internal.h"

static bool given(const struct value *value)
{
    return value_is_given(value) && value->type != VALUE_NONE;
}

static status need_string(const char *method, const struct value *value, const struct string **out)
{
    *out = value->type == VALUE_STRING ? value->string : NULL;
    return *out != NULL
               ? STATUS_OK
               : template_fail("%s: a str is required, not %s", method, template_type_name(value));
}

static status optional_integer(const struct value *value, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (given(value) && !template_is_integral(value, out)) {
        return template_fail("'%s' object cannot be interpreted as an integer",
                             template_type_name(value));
    }
    return STATUS_OK;
}

/* ---- Case and classes --------------------------------------------------------------------------
 */

static status method_upper(struct render *r, const struct call *call, struct value *out)
{
    size_t mark = r->out.length;
    TRY(template_write_cased(r, call->self.string, CASE_UPPER, CASE_UPPER));
    return template_take(r, mark, out);
}

static status method_lower(struct render *r, const struct call *call, struct value *out)
{
    size_t mark = r->out.length;
    TRY(template_write_cased(r, call->self.string, CASE_LOWER, CASE_LOWER));
    return template_take(r, mark, out);
}

static status method_capitalize(struct render *r, const struct call *call, struct value *out)
{
    size_t mark = r->out.length;
    TRY(template_write_cased(r, call->self.string, CASE_TITLE, CASE_LOWER));
    return template_take(r, mark, out);
}

static bool is_cased(int32_t c)
{
    return template_is_upper(c) || template_is_lower(c) || template_is_title(c);
}

/* Letters after a letter are small, others capital. */
static status method_title(struct render *r, const struct call *call, struct value *out)
{
    const struct string *self = call->self.string;
    size_t mark = r->out.length, size;
    bool inside = false;
    for (size_t i = 0; i < self->length; i += size) {
        int32_t c = utf8_decode(self->text + i, self->length - i, &size);
        TRY(template_write_cased_at(r, self, i, inside ? CASE_LOWER : CASE_TITLE, &size));
        inside = is_cased(c);
    }
    return template_take(r, mark, out);
}

static status method_swapcase(struct render *r, const struct call *call, struct value *out)
{
    const struct string *self = call->self.string;
    size_t mark = r->out.length, size;
    for (size_t i = 0; i < self->length; i += size) {
        int32_t c = utf8_decode(self->text + i, self->length - i, &size);
        TRY(template_write_cased_at(r, self, i, template_is_upper(c) ? CASE_LOWER : CASE_UPPER,
                                    &size));
    }
    return template_take(r, mark, out);
}

/* Whether the text is not empty and all its characters are of the class. */
static status all_are(struct render *r, const struct string *self, bool (*is)(int32_t),
                      struct value *out)
{
    bool all = self->length > 0;
    size_t size;
    TRY(template_charge(r, self->length / 16));
    for (size_t i = 0; all && i < self->length; i += size) {
        all = is(utf8_decode(self->text + i, self->length - i, &size));
    }
    *out = value_boolean(all);
    return STATUS_OK;
}

static bool is_alphanumeric(int32_t c)
{
    return template_is_alphabetic(c) || template_is_numeric(c);
}

static bool is_ascii(int32_t c)
{
    return c < 0x80;
}

static status method_isalnum(struct render *r, const struct call *call, struct value *out)
{
    return all_are(r, call->self.string, is_alphanumeric, out);
}

static status method_isalpha(struct render *r, const struct call *call, struct value *out)
{
    return all_are(r, call->self.string, template_is_alphabetic, out);
}

static status method_isascii(struct render *r, const struct call *call, struct value *out)
{
    TRY(all_are(r, call->self.string, is_ascii, out));
    out->boolean |= call->self.string->length == 0;
    return STATUS_OK;
}

static status method_isdecimal(struct render *r, const struct call *call, struct value *out)
{
    return all_are(r, call->self.string, template_is_decimal, out);
}

static status method_isdigit(struct render *r, const struct call *call, struct value *out)
{
    return all_are(r, call->self.string, template_is_digit, out);
}

static status method_isnumeric(struct render *r, const struct call *call, struct value *out)
{
    return all_are(r, call->self.string, template_is_numeric, out);
}

static status method_isspace(struct render *r, const struct call *call, struct value *out)
{
    return all_are(r, call->self.string, template_is_space, out);
}

static status apply_test(struct render *r, const struct call *call, const char *test,
                         struct value *out)
{
    struct value name;
    bool truth;
    TRY(template_string_view(r, test, strlen(test), &name));
    TRY(template_test_apply(r, &name, &(struct call){.self = call->self}, &truth));
    *out = value_boolean(truth);
    return STATUS_OK;
}

static status method_islower(struct render *r, const struct call *call, struct value *out)
{
    return apply_test(r, call, "lower", out);
}

static status method_isupper(struct render *r, const struct call *call, struct value *out)
{
    return apply_test(r, call, "upper", out);
}

/* ---- Searching ---------------------------------------------------------------------------------
 */

/* The first (or last) place of `needle` in text[start..end), SIZE_MAX if there is none. */
static size_t find_bytes(const char *text, size_t start, size_t end, const struct string *needle,
                         bool last)
{
    if (needle->length > end - start) {
        return SIZE_MAX;
    }
    if (!last) {
        const char *found = needle->length == 0
                                ? text + start
                                : memmem(text + start, end - start, needle->text, needle->length);
        return found == NULL ? SIZE_MAX : (size_t)(found - text);
    }
    for (size_t at = end - needle->length;; at--) {
        if (memcmp(text + at, needle->text, needle->length) == 0) {
            return at;
        }
        if (at == start) {
            return SIZE_MAX;
        }
    }
}

/* The bytes between the optional code point indices start and end; false for an empty range that
 * not even the empty text is found in. */
static status byte_range(const struct string *self, const struct value *start,
                         const struct value *end, size_t *from, size_t *to, bool *valid)
{
    int64_t length = (int64_t)self->characters, first, last;
    TRY(optional_integer(start, 0, &first));
    TRY(optional_integer(end, length, &last));
    first = first < 0 ? (first < -length ? 0 : first + length) : first;
    last = last < 0 ? (last < -length ? 0 : last + length) : last > length ? length : last;
    *valid = first <= last;
    *from = template_character_offset(self, (size_t)first);
    *to = template_character_offset(self, (size_t)last);
    return STATUS_OK;
}

/* Code point index of the text searched for, -1 if it is not there. */
static status find_index(struct render *r, const struct call *call, const char *method, bool last,
                         int64_t *out)
{
    const struct string *self = call->self.string, *needle;
    size_t from, to;
    bool valid;
    TRY(need_string(method, &call->arguments[0], &needle));
    TRY(byte_range(self, &call->arguments[1], &call->arguments[2], &from, &to, &valid));
    TRY(template_charge(r, self->length / (last ? 4 : 64)));
    size_t at = valid ? find_bytes(self->text, from, to, needle, last) : SIZE_MAX;
    *out = at == SIZE_MAX ? -1 : (int64_t)template_count_characters(self->text, at);
    return STATUS_OK;
}

static status method_find(struct render *r, const struct call *call, struct value *out)
{
    int64_t index;
    TRY(find_index(r, call, "find", false, &index));
    *out = value_integer(index);
    return STATUS_OK;
}

static status method_rfind(struct render *r, const struct call *call, struct value *out)
{
    int64_t index;
    TRY(find_index(r, call, "rfind", true, &index));
    *out = value_integer(index);
    return STATUS_OK;
}

static status method_index(struct render *r, const struct call *call, struct value *out)
{
    TRY(method_find(r, call, out));
    return out->integer >= 0 ? STATUS_OK : template_fail("substring not found");
}

static status method_rindex(struct render *r, const struct call *call, struct value *out)
{
    TRY(method_rfind(r, call, out));
    return out->integer >= 0 ? STATUS_OK : template_fail("substring not found");
}

static status method_count(struct render *r, const struct call *call, struct value *out)
{
    const struct string *self = call->self.string, *needle;
    size_t from, to;
    int64_t count = 0;
    bool valid;
    TRY(need_string("count", &call->arguments[0], &needle));
    TRY(byte_range(self, &call->arguments[1], &call->arguments[2], &from, &to, &valid));
    TRY(template_charge(r, self->length / 16));
    if (valid && needle->length == 0) {
        count = (int64_t)template_count_characters(self->text + from, to - from) + 1;
    } else if (valid) {
        while ((from = find_bytes(self->text, from, to, needle, false)) != SIZE_MAX) {
            count++;
            from += needle->length;
        }
    }
    *out = value_integer(count);
    return STATUS_OK;
}

/* startswith and endswith, with one text or a tuple of them. */
static status has_affix(struct render *r, const struct call *call, const char *method, bool at_end,
                        struct value *out)
{
    const struct string *self = call->self.string;
    const struct value *candidates = &call->arguments[0];
    size_t count = 1, from, to;
    bool valid, found = false;
    if (candidates->type == VALUE_TUPLE) {
        count = candidates->list->count;
        candidates = candidates->list->items;
    } else if (candidates->type != VALUE_STRING) {
        return template_fail("%s first arg must be str or a tuple of str, not %s", method,
                             template_type_name(candidates));
    }
    TRY(byte_range(self, &call->arguments[1], &call->arguments[2], &from, &to, &valid));
    for (size_t i = 0; i < count && !found; i++) {
        const struct string *affix;
        TRY(need_string(method, &candidates[i], &affix));
        TRY(template_charge(r, 1 + affix->length / 64));
        found = valid && affix->length <= to - from &&
                memcmp(self->text + (at_end ? to - affix->length : from), affix->text,
                       affix->length) == 0;
    }
    *out = value_boolean(found);
    return STATUS_OK;
}

static status method_startswith(struct render *r, const struct call *call, struct value *out)
{
    return has_affix(r, call, "startswith", false, out);
}

static status method_endswith(struct render *r, const struct call *call, struct value *out)
{
    return has_affix(r, call, "endswith", true, out);
}

static status remove_affix(struct render *r, const struct call *call, bool at_end,
                           struct value *out)
{
    const struct string *self = call->self.string, *affix;
    TRY(need_string(at_end ? "removesuffix" : "removeprefix", &call->arguments[0], &affix));
    bool found = affix->length <= self->length &&
                 memcmp(self->text + (at_end ? self->length - affix->length : 0), affix->text,
                        affix->length) == 0;
    if (!found) {
        *out = call->self;
        return STATUS_OK;
    }
    return template_string_view(r, self->text + (at_end ? 0 : affix->length),
                                self->length - affix->length, out);
}

static status method_removeprefix(struct render *r, const struct call *call, struct value *out)
{
    return remove_affix(r, call, false, out);
}

static status method_removesuffix(struct render *r, const struct call *call, struct value *out)
{
    return remove_affix(r, call, true, out);
}

/* ---- Stripping ---------------------------------------------------------------------------------
 */

/* Whether the character at text (of `size` bytes) is among those of `set`. */
static bool is_in_set(const struct string *set, const char *text, size_t size)
{
    return memmem(set->text, set->length, text, size) != NULL;
}

static size_t previous_character(const char *text, size_t end)
{
    do {
        end--;
    } while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80);
    return end;
}

static status strip(struct render *r, const struct call *call, bool left, bool right,
                    struct value *out)
{
    const struct string *self = call->self.string, *set = NULL;
    size_t start = 0, end = self->length, size;
    TRY(template_charge(r, self->length / 64));
    if (given(&call->arguments[0])) {
        TRY(need_string("strip", &call->arguments[0], &set));
        while (left && start < end) {
            (void)utf8_decode(self->text + start, end - start, &size);
            if (!is_in_set(set, self->text + start, size)) {
                break;
            }
            start += size;
        }
        while (right && end > start) {
            size_t previous = previous_character(self->text, end);
            if (!is_in_set(set, self->text + previous, end - previous)) {
                break;
            }
            end = previous;
        }
    } else {
        start = left ? template_space_prefix(self->text, end) : 0;
        end -= right ? template_space_suffix(self->text + start, end - start) : 0;
    }
    return template_string_view(r, self->text + start, end - start, out);
}

static status method_strip(struct render *r, const struct call *call, struct value *out)
{
    return strip(r, call, true, true, out);
}

static status method_lstrip(struct render *r, const struct call *call, struct value *out)
{
    return strip(r, call, true, false, out);
}

static status method_rstrip(struct render *r, const struct call *call, struct value *out)
{
    return strip(r, call, false, true, out);
}

/* ---- Splitting and joining ---------------------------------------------------------------------
 */

struct pieces {
    struct value *items;
    size_t count, capacity;
};

static status add_piece(struct render *r, struct pieces *pieces, const char *text, size_t length)
{
    if (pieces->count == pieces->capacity) {
        size_t capacity = pieces->capacity == 0 ? 8 : 2 * pieces->capacity;
        struct value *items;
        TRY(template_allocate(r, capacity, sizeof *items, &items));
        if (pieces->count > 0) {
            memcpy(items, pieces->items, pieces->count * sizeof *items);
        }
        pieces->items = items;
        pieces->capacity = capacity;
    }
    TRY(template_charge(r, 1));
    return template_string_view(r, text, length, &pieces->items[pieces->count++]);
}

static status split_at(struct render *r, const struct string *self, const struct string *separator,
                       int64_t most, bool from_right, struct pieces *pieces)
{
    size_t start = 0, end = self->length;
    if (separator->length == 0) {
        return template_fail("empty separator");
    }
    for (; most != 0; most--) {
        size_t at = find_bytes(self->text, start, end, separator, from_right);
        if (at == SIZE_MAX) {
            break;
        }
        size_t after = at + separator->length;
        TRY(from_right ? add_piece(r, pieces, self->text + after, end - after)
                       : add_piece(r, pieces, self->text + start, at - start));
        start = from_right ? start : after;
        end = from_right ? at : end;
    }
    return add_piece(r, pieces, self->text + start, end - start);
}

static status split_at_space(struct render *r, const struct string *self, int64_t most,
                             bool from_right, struct pieces *pieces)
{
    size_t start = 0, end = self->length, size;
    for (; start < end; most--) {
        start += from_right ? 0 : template_space_prefix(self->text + start, end - start);
        end -= from_right ? template_space_suffix(self->text + start, end - start) : 0;
        if (start == end) {
            break;
        }
        if (most == 0) {
            /* The rest keeps the space on its far side. */
            return add_piece(r, pieces, self->text + start, end - start);
        }
        size_t at = from_right ? end : start;
        while (from_right ? at > start : at < end) {
            size_t next = from_right ? previous_character(self->text, at) : at;
            if (template_is_space(utf8_decode(self->text + next, end - next, &size))) {
                break;
            }
            at = from_right ? next : at + size;
        }
        TRY(from_right ? add_piece(r, pieces, self->text + at, end - at)
                       : add_piece(r, pieces, self->text + start, at - start));
        start = from_right ? start : at;
        end = from_right ? at : end;
    }
    return STATUS_OK;
}

static status split(struct render *r, const struct call *call, bool from_right, struct value *out)
{
    const struct string *self = call->self.string, *separator;
    struct pieces pieces = {0};
    int64_t most;
    TRY(optional_integer(&call->arguments[1], -1, &most));
    TRY(template_charge(r, self->length / 16));
    if (given(&call->arguments[0])) {
        TRY(need_string("split", &call->arguments[0], &separator));
        TRY(split_at(r, self, separator, most, from_right, &pieces));
    } else {
        TRY(split_at_space(r, self, most, from_right, &pieces));
    }
    for (size_t i = 0; from_right && i < pieces.count / 2; i++) {
        struct value swapped = pieces.items[i];
        pieces.items[i] = pieces.items[pieces.count - 1 - i];
        pieces.items[pieces.count - 1 - i] = swapped;
    }
    return template_list(r, VALUE_LIST, pieces.items, pieces.count, out);
}

static status method_split(struct render *r, const struct call *call, struct value *out)
{
    return split(r, call, false, out);
}

static status method_rsplit(struct render *r, const struct call *call, struct value *out)
{
    return split(r, call, true, out);
}

static status method_splitlines(struct render *r, const struct call *call, struct value *out)
{
    const struct string *self = call->self.string;
    struct pieces pieces = {0};
    bool keep;
    size_t end_size;
    TRY(template_truth(r, &call->arguments[0], &keep));
    for (size_t start = 0; start < self->length;) {
        size_t length = template_line_length(self->text + start, self->length - start, &end_size);
        TRY(template_charge(r, 1 + length / 64));
        TRY(add_piece(r, &pieces, self->text + start, length + (keep ? end_size : 0)));
        start += length + end_size;
    }
    return template_list(r, VALUE_LIST, pieces.items, pieces.count, out);
}

static status partition(struct render *r, const struct call *call, bool from_right,
                        struct value *out)
{
    const struct string *self = call->self.string, *separator;
    struct value *parts;
    TRY(need_string("partition", &call->arguments[0], &separator));
    if (separator->length == 0) {
        return template_fail("empty separator");
    }
    TRY(template_charge(r, self->length / 16));
    TRY(template_allocate(r, 3, sizeof *parts, &parts));
    size_t at = find_bytes(self->text, 0, self->length, separator, from_right);
    if (at == SIZE_MAX) {
        for (size_t i = 0; i < 3; i++) {
            TRY(template_string_view(r, "", 0, &parts[i]));
        }
        parts[from_right ? 2 : 0] = call->self;
    } else {
        size_t after = at + separator->length;
        TRY(template_string_view(r, self->text, at, &parts[0]));
        TRY(template_string_view(r, self->text + at, separator->length, &parts[1]));
        TRY(template_string_view(r, self->text + after, self->length - after, &parts[2]));
    }
    return template_list(r, VALUE_TUPLE, parts, 3, out);
}

static status method_partition(struct render *r, const struct call *call, struct value *out)
{
    return partition(r, call, false, out);
}

static status method_rpartition(struct render *r, const struct call *call, struct value *out)
{
    return partition(r, call, true, out);
}

static status method_join(struct render *r, const struct call *call, struct value *out)
{
    struct value *items;
    size_t count, mark;
    if (!template_is_iterable(&call->arguments[0])) {
        return template_fail("can only join an iterable");
    }
    TRY(template_items(r, &call->arguments[0], &items, &count));
    mark = r->out.length;
    for (size_t i = 0; i < count; i++) {
        if (items[i].type != VALUE_STRING) {
            return template_fail("sequence item %zu: expected str instance, %s found", i,
                                 template_type_name(&items[i]));
        }
        TRY(template_write_value(r,
                                 i == 0 ? &(struct value){.type = VALUE_UNDEFINED} : &call->self));
        TRY(template_write_value(r, &items[i]));
    }
    return template_take(r, mark, out);
}

static status method_replace(struct render *r, const struct call *call, struct value *out)
{
    const struct string *self = call->self.string, *old, *new;
    int64_t most;
    size_t mark = r->out.length, start = 0;
    TRY(need_string("replace", &call->arguments[0], &old));
    TRY(need_string("replace", &call->arguments[1], &new));
    TRY(optional_integer(&call->arguments[2], -1, &most));
    TRY(template_charge(r, self->length / 16));
    for (; most != 0; most--) {
        size_t at = find_bytes(self->text, start, self->length, old, false), size = 1;
        if (at == SIZE_MAX) {
            break;
        }
        TRY(template_charge(r, 1));
        TRY(template_write(r, self->text + start, at - start));
        TRY(template_write(r, new->text, new->length));
        start = at + old->length;
        if (old->length == 0) { /* between all characters */
            if (start == self->length) {
                break;
            }
            (void)utf8_decode(self->text + start, self->length - start, &size);
            TRY(template_write(r, self->text + start, size));
            start += size;
        }
    }
    TRY(template_write(r, self->text + start, self->length - start));
    return template_take(r, mark, out);
}

static status method_format(struct render *r, const struct call *call, struct value *out)
{
    return template_format_braces(r, call->self.string, call, out);
}

/* ---- Padding -----------------------------------------------------------------------------------
 */

static status pad(struct render *r, const struct call *call, char side, struct value *out)
{
    const struct string *self = call->self.string, *fill = NULL;
    int64_t width;
    size_t mark = r->out.length;
    TRY(optional_integer(&call->arguments[0], 0, &width));
    if (value_is_given(&call->arguments[1])) {
        TRY(need_string("fill character", &call->arguments[1], &fill));
        if (fill->characters != 1) {
            return template_fail("The fill character must be exactly one character long");
        }
    }
    size_t padding =
        width > 0 && (size_t)width > self->characters ? (size_t)width - self->characters : 0;
    size_t left = side == 'r'   ? padding
                  : side == 'l' ? 0
                                : padding / 2 + (padding & (size_t)width & 1);
    if (padding > TEMPLATE_MAX_OUTPUT_BYTES) {
        return status_fail(STATUS_LIMIT, "a text of more than %d bytes",
                           (int)TEMPLATE_MAX_OUTPUT_BYTES);
    }
    for (size_t i = 0; i <= padding; i++) {
        if (i == left) {
            TRY(template_write(r, self->text, self->length));
        }
        if (i < padding) {
            TRY(template_write(r, fill == NULL ? " " : fill->text,
                               fill == NULL ? 1 : fill->length));
        }
    }
    return template_take(r, mark, out);
}

static status method_ljust(struct render *r, const struct call *call, struct value *out)
{
    return pad(r, call, 'l', out);
}

static status method_rjust(struct render *r, const struct call *call, struct value *out)
{
    return pad(r, call, 'r', out);
}

static status method_center(struct render *r, const struct call *call, struct value *out)
{
    return pad(r, call, 'c', out);
}

static status method_zfill(struct render *r, const struct call *call, struct value *out)
{
    const struct string *self = call->self.string;
    int64_t width;
    size_t mark = r->out.length;
    TRY(optional_integer(&call->arguments[0], 0, &width));
    size_t head = self->length > 0 && (self->text[0] == '-' || self->text[0] == '+');
    TRY(template_write(r, self->text, head));
    if (width > 0 && (size_t)width > self->characters) {
        TRY(template_write_repeated(r, '0', (size_t)width - self->characters));
    }
    TRY(template_write(r, self->text + head, self->length - head));
    return template_take(r, mark, out);
}

static const struct native methods[] = {
    {"capitalize", method_capitalize, 0, false, {NULL}},
    {"center", method_center, 1, false, {"width", "fillchar"}},
    {"count", method_count, 1, false, {"sub", "start", "end"}},
    {"endswith", method_endswith, 1, false, {"suffix", "start", "end"}},
    {"find", method_find, 1, false, {"sub", "start", "end"}},
    {"format", method_format, 0, true, {NULL}},
    {"index", method_index, 1, false, {"sub", "start", "end"}},
    {"isalnum", method_isalnum, 0, false, {NULL}},
    {"isalpha", method_isalpha, 0, false, {NULL}},
    {"isascii", method_isascii, 0, false, {NULL}},
    {"isdecimal", method_isdecimal, 0, false, {NULL}},
    {"isdigit", method_isdigit, 0, false, {NULL}},
    {"islower", method_islower, 0, false, {NULL}},
    {"isnumeric", method_isnumeric, 0, false, {NULL}},
    {"isspace", method_isspace, 0, false, {NULL}},
    {"isupper", method_isupper, 0, false, {NULL}},
    {"join", method_join, 1, false, {"iterable"}},
    {"ljust", method_ljust, 1, false, {"width", "fillchar"}},
    {"lower", method_lower, 0, false, {NULL}},
    {"lstrip", method_lstrip, 0, false, {"chars"}},
    {"partition", method_partition, 1, false, {"sep"}},
    {"removeprefix", method_removeprefix, 1, false, {"prefix"}},
    {"removesuffix", method_removesuffix, 1, false, {"suffix"}},
    {"replace", method_replace, 2, false, {"old", "new", "count"}},
    {"rfind", method_rfind, 1, false, {"sub", "start", "end"}},
    {"rindex", method_rindex, 1, false, {"sub", "start", "end"}},
    {"rjust", method_rjust, 1, false, {"width", "fillchar"}},
    {"rpartition", method_rpartition, 1, false, {"sep"}},
    {"rsplit", method_rsplit, 0, false, {"sep", "maxsplit"}},
    {"rstrip", method_rstrip, 0, false, {"chars"}},
    {"split", method_split, 0, false, {"sep", "maxsplit"}},
    {"splitlines", method_splitlines, 0, false, {"keepends"}},
    {"startswith", method_startswith, 1, false, {"prefix", "start", "end"}},
    {"strip", method_strip, 0, false, {"chars"}},
    {"swapcase", method_swapcase, 0, false, {NULL}},
    {"title", method_title, 0, false, {NULL}},
    {"upper", method_upper, 0, false, {NULL}},
    {"zfill", method_zfill, 1, false, {"width"}},
};

const struct native_table template_string_methods = {methods, COUNT_OF(methods)};
