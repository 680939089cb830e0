/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of strings that take them apart, put them together and pad them: a table of facts at the
 * end. */
#include "text/template/internal.h"

/* ---- Splitting and joining ---- */

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
        size_t at;
        TRY(template_find_bytes(r, self->text, start, end, separator, from_right, &at));
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
            size_t next = from_right ? template_previous_character(self->text, at) : at;
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
    TRY(template_argument_integer(&call->arguments[1], -1, &most));
    TRY(template_charge(r, self->length / 16));
    if (value_is_some(&call->arguments[0])) {
        TRY(template_argument_string("split", &call->arguments[0], &separator));
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
    TRY(template_argument_string("partition", &call->arguments[0], &separator));
    if (separator->length == 0) {
        return template_fail("empty separator");
    }
    TRY(template_charge(r, self->length / 16));
    TRY(template_allocate(r, 3, sizeof *parts, &parts));
    size_t at;
    TRY(template_find_bytes(r, self->text, 0, self->length, separator, from_right, &at));
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
        if (template_text_of(&items[i]) == NULL) {
            return template_fail("sequence item %zu: expected str instance, %s found", i,
                                 template_type_name(&items[i]));
        }
        TRY(i == 0 ? STATUS_OK : template_write_value(r, &call->self));
        TRY(template_write_value(r, &items[i]));
    }
    return template_take(r, mark, out);
}

static status method_replace(struct render *r, const struct call *call, struct value *out)
{
    const struct string *self = call->self.string, *old, *new;
    int64_t most;
    size_t mark = r->out.length, start = 0;
    TRY(template_argument_string("replace", &call->arguments[0], &old));
    TRY(template_argument_string("replace", &call->arguments[1], &new));
    TRY(template_argument_integer(&call->arguments[2], -1, &most));
    TRY(template_charge(r, self->length / 16));
    for (; most != 0; most--) {
        size_t at, size = 1;
        TRY(template_find_bytes(r, self->text, start, self->length, old, false, &at));
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

/* ---- Padding ---- */

static status pad(struct render *r, const struct call *call, char side, struct value *out)
{
    const struct string *self = call->self.string, *fill = NULL;
    int64_t width;
    size_t mark = r->out.length;
    TRY(template_argument_integer(&call->arguments[0], 0, &width));
    if (value_is_given(&call->arguments[1])) {
        TRY(template_argument_string("fill character", &call->arguments[1], &fill));
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
    TRY(template_argument_integer(&call->arguments[0], 0, &width));
    size_t head = self->length > 0 && (self->text[0] == '-' || self->text[0] == '+');
    TRY(template_write(r, self->text, head));
    if (width > 0 && (size_t)width > self->characters) {
        TRY(template_write_repeated(r, '0', (size_t)width - self->characters));
    }
    TRY(template_write(r, self->text + head, self->length - head));
    return template_take(r, mark, out);
}

static const struct native methods[] = {
    {"center", method_center, 1, false, {"width", "fillchar"}},
    {"format", method_format, 0, true, {NULL}},
    {"join", method_join, 1, false, {"iterable"}},
    {"ljust", method_ljust, 1, false, {"width", "fillchar"}},
    {"partition", method_partition, 1, false, {"sep"}},
    {"replace", method_replace, 2, false, {"old", "new", "count"}},
    {"rjust", method_rjust, 1, false, {"width", "fillchar"}},
    {"rpartition", method_rpartition, 1, false, {"sep"}},
    {"rsplit", method_rsplit, 0, false, {"sep", "maxsplit"}},
    {"split", method_split, 0, false, {"sep", "maxsplit"}},
    {"splitlines", method_splitlines, 0, false, {"keepends"}},
    {"zfill", method_zfill, 1, false, {"width"}},
};

const struct native_table template_splitting_methods = {methods, COUNT_OF(methods)};
