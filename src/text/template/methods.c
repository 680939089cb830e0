/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of strings that look at them or change their case and ends: a table of facts at the end.
 */
#include "text/template/internal.h"

/* ---- Case and classes ---- */

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

/* ---- Searching ---- */

/* The bytes between the optional code point indices start and end; false for an empty range that
 * not even the empty text is found in. */
static status byte_range(const struct string *self, const struct value *start,
                         const struct value *end, size_t *from, size_t *to, bool *valid)
{
    int64_t length = (int64_t)self->characters, first, last;
    TRY(template_argument_integer(start, 0, &first));
    TRY(template_argument_integer(end, length, &last));
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
    TRY(template_argument_string(method, &call->arguments[0], &needle));
    TRY(byte_range(self, &call->arguments[1], &call->arguments[2], &from, &to, &valid));
    size_t at = SIZE_MAX;
    if (valid) {
        TRY(template_find_bytes(r, self->text, from, to, needle, last, &at));
    }
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
    TRY(template_argument_string("count", &call->arguments[0], &needle));
    TRY(byte_range(self, &call->arguments[1], &call->arguments[2], &from, &to, &valid));
    if (valid && needle->length == 0) {
        TRY(template_charge(r, self->length / 64));
        count = (int64_t)template_count_characters(self->text + from, to - from) + 1;
    } else if (valid) {
        for (size_t at;; count++, from = at + needle->length) {
            TRY(template_find_bytes(r, self->text, from, to, needle, false, &at));
            if (at == SIZE_MAX) {
                break;
            }
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
        TRY(template_argument_string(method, &candidates[i], &affix));
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
    TRY(template_argument_string(at_end ? "removesuffix" : "removeprefix", &call->arguments[0],
                                 &affix));
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

/* ---- Stripping ---- */

/* Whether the character at text (of `size` bytes) is among those of `set`. */
static status is_in_set(struct render *r, const struct string *set, const char *text, size_t size,
                        bool *out)
{
    *out = memmem(set->text, set->length, text, size) != NULL;
    return template_charge(r, set->length / 64);
}

static status strip(struct render *r, const struct call *call, bool left, bool right,
                    struct value *out)
{
    const struct string *self = call->self.string, *set = NULL;
    size_t start = 0, end = self->length, size;
    TRY(template_charge(r, self->length / 64));
    if (value_is_some(&call->arguments[0])) {
        TRY(template_argument_string("strip", &call->arguments[0], &set));
        for (bool more = left; more && start < end;) {
            (void)utf8_decode(self->text + start, end - start, &size);
            TRY(is_in_set(r, set, self->text + start, size, &more));
            start += more ? size : 0;
        }
        for (bool more = right; more && end > start;) {
            size_t previous = template_previous_character(self->text, end);
            TRY(is_in_set(r, set, self->text + previous, end - previous, &more));
            end = more ? previous : end;
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

static const struct native methods[] = {
    {"capitalize", method_capitalize, 0, false, {NULL}},
    {"count", method_count, 1, false, {"sub", "start", "end"}},
    {"endswith", method_endswith, 1, false, {"suffix", "start", "end"}},
    {"find", method_find, 1, false, {"sub", "start", "end"}},
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
    {"lower", method_lower, 0, false, {NULL}},
    {"lstrip", method_lstrip, 0, false, {"chars"}},
    {"removeprefix", method_removeprefix, 1, false, {"prefix"}},
    {"removesuffix", method_removesuffix, 1, false, {"suffix"}},
    {"rfind", method_rfind, 1, false, {"sub", "start", "end"}},
    {"rindex", method_rindex, 1, false, {"sub", "start", "end"}},
    {"rstrip", method_rstrip, 0, false, {"chars"}},
    {"startswith", method_startswith, 1, false, {"prefix", "start", "end"}},
    {"strip", method_strip, 0, false, {"chars"}},
    {"swapcase", method_swapcase, 0, false, {NULL}},
    {"title", method_title, 0, false, {NULL}},
    {"upper", method_upper, 0, false, {NULL}},
};

const struct native_table template_string_methods = {methods, COUNT_OF(methods)};
