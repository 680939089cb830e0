/* SPDX-License-Identifier: Apache-2.0 */
/* What the assertions of a conjunction come to together: types, ranges of numbers, lengths. */
#include <string.h>

#include "grammar/schema/compiler.h"

static const struct {
    const char *name;
    unsigned mask;
} types[] = {
    {"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER},
    {"string", TYPE_STRING}, {"array", TYPE_ARRAY},     {"number", TYPE_INTEGER | TYPE_FRACTION},
    {"object", TYPE_OBJECT},
};

static status add_type(struct schema_compiler *self, const struct json *schema,
                       const struct json *name, unsigned *mask)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (json_is_string(name, types[i].name)) {
            *mask |= types[i].mask;
            return STATUS_OK;
        }
    }
    const char *text = json_string(name);
    return schema_fail(self->document, schema, "type", STATUS_INVALID, "%.60s is no type",
                       text != NULL ? text : json_kind(name));
}

status type_mask(struct schema_compiler *self, const struct json *schema, unsigned *out)
{
    const struct json *type = json_get(schema, "type");
    *out = type == NULL ? TYPE_ALL : 0;
    if (type == NULL) {
        return STATUS_OK;
    }
    if (type->type != JSON_ARRAY) {
        return add_type(self, schema, type, out);
    }
    for (size_t i = 0; i < type->length; i++) {
        TRY(add_type(self, schema, type->items[i], out));
    }
    return STATUS_OK;
}

status count_keyword(struct schema_compiler *self, const struct json *schema, const char *keyword,
                     uint32_t *out, bool *there)
{
    const struct json *value = json_get(schema, keyword);
    int64_t count;
    *there = value != NULL;
    if (value == NULL) {
        return STATUS_OK;
    }
    if (!json_int64(value, &count) || count < 0) {
        return schema_fail(self->document, schema, keyword, STATUS_INVALID,
                           "expected a number of at least 0");
    }
    *out = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX - 1;
    return STATUS_OK;
}

static status narrow(struct schema_compiler *self, const struct json *schema, const char *least,
                     const char *most, struct length_range *range)
{
    uint32_t count;
    bool there;
    TRY(count_keyword(self, schema, least, &count, &there));
    if (there && count > range->least) {
        range->least = count;
    }
    TRY(count_keyword(self, schema, most, &count, &there));
    if (there && count < range->most) {
        range->most = count;
    }
    return STATUS_OK;
}

static status read_bound(struct schema_compiler *self, const struct json *schema,
                         const char *keyword, struct decimal *out, bool *there)
{
    const struct json *value = json_get(schema, keyword);
    *there = value != NULL;
    if (value != NULL && value->type != JSON_NUMBER) {
        return schema_fail(self->document, schema, keyword, STATUS_INVALID,
                           "expected a number, not %s", json_kind(value));
    }
    return value == NULL ? STATUS_OK
                         : schema_context(self->document, schema, keyword,
                                          decimal_read(value, self->arena, out));
}

/* OpenAPI's formats of integers are ranges. */
static status narrow_by_format(struct schema_compiler *self, const struct json *schema,
                               struct number_range *range)
{
    static const struct {
        const char *name, *least, *most;
    } formats[] = {{"int32", "-2147483648", "2147483647"},
                   {"int64", "-9223372036854775808", "9223372036854775807"}};
    const struct json *format = json_get(schema, "format");
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        struct decimal least, most;
        if (!json_is_string(format, formats[i].name)) {
            continue;
        }
        const struct json low = {.type = JSON_NUMBER, .text = formats[i].least};
        const struct json high = {.type = JSON_NUMBER, .text = formats[i].most};
        TRY(decimal_read(&low, self->arena, &least));
        TRY(decimal_read(&high, self->arena, &most));
        number_range_raise(range, &least, false);
        number_range_lower(range, &most, false);
    }
    return STATUS_OK;
}

status schema_numbers(struct schema_compiler *self, const struct json *schema,
                      struct number_range *range)
{
    static const struct {
        const char *keyword;
        bool is_least, is_exclusive;
    } bounds[] = {{"minimum", true, false},
                  {"exclusiveMinimum", true, true},
                  {"maximum", false, false},
                  {"exclusiveMaximum", false, true}};
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        struct decimal bound;
        bool there;
        TRY(read_bound(self, schema, bounds[i].keyword, &bound, &there));
        if (there && bounds[i].is_least) {
            number_range_raise(range, &bound, bounds[i].is_exclusive);
        } else if (there) {
            number_range_lower(range, &bound, bounds[i].is_exclusive);
        }
    }
    return narrow_by_format(self, schema, range);
}

/* multipleOf: 1 means integers; nothing else is an automaton of a fair size. */
status schema_is_whole(struct schema_compiler *self, const struct json *schema, bool *out)
{
    static const struct decimal one = {.whole = "1", .whole_count = 1, .fraction = ""};
    struct decimal step;
    TRY(read_bound(self, schema, "multipleOf", &step, out));
    return !*out || decimal_compare(&step, &one) == 0
               ? STATUS_OK
               : schema_fail(self->document, schema, "multipleOf", STATUS_UNSUPPORTED,
                             "not supported: 1 alone is");
}

status shape_read(struct schema_compiler *self, const struct conjunction *set,
                  struct schema_shape *out)
{
    const struct length_range any = {0, GRAMMAR_UNBOUNDED};
    *out = (struct schema_shape){.types = TYPE_ALL, .text = any, .items = any, .members = any};
    for (int i = 0; i < set->count; i++) {
        const struct json *schema = set->elements[i].schema;
        unsigned mask;
        bool is_whole;
        TRY(type_mask(self, schema, &mask));
        out->types &= mask;
        TRY(schema_is_whole(self, schema, &is_whole));
        out->types &= is_whole ? ~(unsigned)TYPE_FRACTION : TYPE_ALL;
        TRY(schema_numbers(self, schema, &out->numbers));
        TRY(narrow(self, schema, "minLength", "maxLength", &out->text));
        TRY(narrow(self, schema, "minItems", "maxItems", &out->items));
        TRY(narrow(self, schema, "minProperties", "maxProperties", &out->members));
    }
    return STATUS_OK;
}
