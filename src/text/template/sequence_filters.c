/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of many values: choosing, grouping, sorting. A table of facts at the end. */
#include "text/template/internal.h"

/* ---- Attributes by path ---- */

/* item.a.0.b by the path "a.0.b" (or an integer); `otherwise`, unless NULL or none, stands for what
 * is undefined on the way. */
static status get_path(struct render *r, const struct value *item, const struct value *path,
                       const struct value *otherwise, struct value *out)
{
    *out = *item;
    if (!value_is_some(path)) {
        return STATUS_OK;
    }
    const struct string *text = path->type == VALUE_STRING ? path->string : NULL;
    for (size_t start = 0, end; text == NULL || start <= text->length; start = end + 1) {
        struct value key = *path;
        end = start;
        if (text != NULL) {
            int64_t number = 0;
            bool digits = true;
            for (; end < text->length && text->text[end] != '.'; end++) {
                char c = text->text[end];
                digits = digits && c >= '0' && c <= '9' && number < INT64_MAX / 20;
                number = digits ? number * 10 + (c - '0') : number;
            }
            TRY(template_string_view(r, text->text + start, end - start, &key));
            key = digits && end > start ? value_integer(number) : key;
        }
        TRY(template_get_item(r, out, &key, out));
        if (out->type == VALUE_UNDEFINED && otherwise != NULL && value_is_some(otherwise)) {
            *out = *otherwise;
        }
        if (text == NULL) {
            break;
        }
    }
    return STATUS_OK;
}

/* What values are compared by: text without regard to case unless asked. */
static status fold_case(struct render *r, const struct value *value, bool case_sensitive,
                        struct value *out)
{
    *out = *value;
    if (case_sensitive || value->type != VALUE_STRING) {
        return STATUS_OK;
    }
    size_t mark = r->out.length;
    TRY(template_write_cased(r, value->string, CASE_LOWER, CASE_LOWER));
    return template_take(r, mark, out);
}

static status get_key(struct render *r, const struct value *item, const struct value *path,
                      const struct value *otherwise, bool case_sensitive, struct value *out)
{
    struct value found;
    TRY(get_path(r, item, path, otherwise, &found));
    return fold_case(r, &found, case_sensitive, out);
}

/* ---- map, select, reject ---- */

struct chosen {
    struct call call; /* of the filter or test, without its operand */
    struct value name, path, otherwise;
    bool has_name, negated;
};

static status next_mapped(struct render *r, struct generator *generator, struct value *out,
                          bool *more)
{
    const struct chosen *map = generator->state;
    struct value item;
    TRY(template_iterator_next(r, &generator->source, &item, more));
    if (!*more) {
        return STATUS_OK;
    }
    if (!map->has_name) {
        return get_path(r, &item, &map->path, &map->otherwise, out);
    }
    struct call call = map->call;
    call.self = item;
    return template_filter_apply(r, &map->name, &call, out);
}

static status next_selected(struct render *r, struct generator *generator, struct value *out,
                            bool *more)
{
    const struct chosen *select = generator->state;
    for (;;) {
        struct value tested;
        bool truth;
        TRY(template_iterator_next(r, &generator->source, out, more));
        if (!*more) {
            return STATUS_OK;
        }
        TRY(get_path(r, out, &select->path, NULL, &tested));
        if (select->has_name) {
            struct call call = select->call;
            call.self = tested;
            TRY(template_test_apply(r, &select->name, &call, &truth));
        } else {
            TRY(template_truth(r, &tested, &truth));
        }
        if (truth != select->negated) {
            return STATUS_OK;
        }
    }
}

/* A generator without items: of what is empty, nothing else is even looked at. */
static status next_nothing(struct render *r, struct generator *generator, struct value *out,
                           bool *more)
{
    (void)r;
    (void)generator;
    (void)out;
    *more = false;
    return STATUS_OK;
}

static status choose(struct render *r, const struct call *call, generator_next *next,
                     struct chosen *chosen, struct value *out)
{
    bool truth;
    struct chosen *state;
    TRY(template_truth(r, &call->self, &truth));
    TRY(template_allocate(r, 1, sizeof *state, &state));
    *state = *chosen;
    return truth ? template_generator(r, next, &call->self, state, out)
                 : template_generator(r, next_nothing, NULL, state, out);
}

static status filter_map(struct render *r, const struct call *call, struct value *out)
{
    struct chosen map = {.has_name = call->count > 0};
    if (map.has_name) {
        map.name = call->arguments[0];
        map.call = *call;
        map.call.arguments++;
        map.call.count--;
        return choose(r, call, next_mapped, &map, out);
    }
    bool has_path = false;
    for (size_t i = 0; i < call->keyword_count; i++) {
        const struct keyword *keyword = &call->keywords[i];
        if (template_is_text(&keyword->name, "attribute")) {
            map.path = keyword->value;
            has_path = true;
        } else if (template_is_text(&keyword->name, "default")) {
            map.otherwise = keyword->value;
        } else {
            return template_fail("Unexpected keyword argument '%.*s'",
                                 STRING_ARGUMENTS(keyword->name.string));
        }
    }
    return has_path ? choose(r, call, next_mapped, &map, out)
                    : template_fail("map requires a filter argument");
}

static status select_items(struct render *r, const struct call *call, bool by_attribute,
                           bool negated, struct value *out)
{
    struct chosen select = {.negated = negated, .call = *call};
    if (by_attribute) {
        if (call->count == 0) {
            return template_fail("Missing parameter for attribute name");
        }
        select.path = call->arguments[0];
        select.call.arguments++;
        select.call.count--;
    }
    select.has_name = select.call.count > 0;
    if (select.has_name) {
        select.name = select.call.arguments[0];
        select.call.arguments++;
        select.call.count--;
    }
    return choose(r, call, next_selected, &select, out);
}

static status filter_select(struct render *r, const struct call *call, struct value *out)
{
    return select_items(r, call, false, false, out);
}

static status filter_reject(struct render *r, const struct call *call, struct value *out)
{
    return select_items(r, call, false, true, out);
}

static status filter_selectattr(struct render *r, const struct call *call, struct value *out)
{
    return select_items(r, call, true, false, out);
}

static status filter_rejectattr(struct render *r, const struct call *call, struct value *out)
{
    return select_items(r, call, true, true, out);
}

/* ---- One of many ---- */

static status filter_first(struct render *r, const struct call *call, struct value *out)
{
    struct iterator iterator;
    bool more;
    struct value self = call->self;
    TRY(template_iterator_start(r, &self, &iterator));
    TRY(template_iterator_next(r, &iterator, out, &more));
    return more ? STATUS_OK
                : template_undefined(r, "No first item, sequence was empty.", NULL, NULL, out);
}

static status filter_last(struct render *r, const struct call *call, struct value *out)
{
    struct value *items;
    size_t count;
    if (!template_is_sized(&call->self)) {
        return template_fail("'%s' object is not reversible", template_type_name(&call->self));
    }
    TRY(template_items(r, &call->self, &items, &count));
    if (count == 0) {
        return template_undefined(r, "No last item, sequence was empty.", NULL, NULL, out);
    }
    *out = items[count - 1];
    return STATUS_OK;
}

static status extreme(struct render *r, const struct call *call, enum token_type operation,
                      struct value *out)
{
    struct value *items, best_key = {0}, key;
    size_t count;
    bool case_sensitive, better;
    TRY(template_truth(r, &call->arguments[0], &case_sensitive));
    TRY(template_items(r, &call->self, &items, &count));
    if (count == 0) {
        return template_undefined(r, "No aggregated item, sequence was empty.", NULL, NULL, out);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(get_key(r, &items[i], &call->arguments[1], NULL, case_sensitive, &key));
        better = i == 0;
        if (!better) {
            TRY(template_order(r, operation, &key, &best_key, &better));
        }
        if (better) {
            *out = items[i];
            best_key = key;
        }
    }
    return STATUS_OK;
}

static status filter_min(struct render *r, const struct call *call, struct value *out)
{
    return extreme(r, call, TOKEN_LESS, out);
}

static status filter_max(struct render *r, const struct call *call, struct value *out)
{
    return extreme(r, call, TOKEN_GREATER, out);
}

static status filter_join(struct render *r, const struct call *call, struct value *out)
{
    struct iterator iterator;
    struct value item, found, self = call->self;
    bool more;
    size_t mark = r->out.length;
    TRY(template_iterator_start(r, &self, &iterator));
    for (bool first = true;; first = false) {
        TRY(template_iterator_next(r, &iterator, &item, &more));
        if (!more) {
            return template_take(r, mark, out);
        }
        TRY(get_path(r, &item, &call->arguments[1], NULL, &found));
        if (!first && value_is_given(&call->arguments[0])) {
            TRY(template_write_value(r, &call->arguments[0]));
        }
        TRY(template_write_value(r, &found));
    }
}

static status filter_sum(struct render *r, const struct call *call, struct value *out)
{
    struct value *items, item;
    size_t count;
    struct value total =
        value_is_given(&call->arguments[1]) ? call->arguments[1] : value_integer(0);
    if (total.type == VALUE_STRING) {
        return template_fail("sum() can't sum strings [use ''.join(seq) instead]");
    }
    TRY(template_items(r, &call->self, &items, &count));
    for (size_t i = 0; i < count; i++) {
        TRY(get_path(r, &items[i], &call->arguments[0], NULL, &item));
        TRY(template_binary(r, TOKEN_ADD, &total, &item, &total));
    }
    *out = total;
    return STATUS_OK;
}

/* ---- Many of many ---- */

static status filter_list(struct render *r, const struct call *call, struct value *out)
{
    struct value *items;
    size_t count;
    TRY(template_items(r, &call->self, &items, &count));
    return template_list(r, VALUE_LIST, items, count, out);
}

static status filter_reverse(struct render *r, const struct call *call, struct value *out)
{
    if (call->self.type == VALUE_STRING) {
        struct value step = value_integer(-1);
        return template_slice(r, &call->self, NULL, NULL, &step, out);
    }
    if (!template_is_iterable(&call->self)) {
        return template_fail("argument must be iterable");
    }
    if (!template_is_sized(&call->self)) { /* a generator becomes a list */
        struct value list, *items;
        size_t count;
        TRY(template_items(r, &call->self, &items, &count));
        TRY(template_list(r, VALUE_LIST, items, count, &list));
        struct value step = value_integer(-1);
        return template_slice(r, &list, NULL, NULL, &step, out);
    }
    return template_reversed(r, &call->self, out);
}

static status filter_items(struct render *r, const struct call *call, struct value *out)
{
    struct view *view;
    struct value pairs;
    if (call->self.type == VALUE_UNDEFINED) {
        return template_generator(r, next_nothing, NULL, NULL, out);
    }
    if (call->self.type != VALUE_DICT) {
        return template_fail("Can only get item pairs from a mapping.");
    }
    TRY(template_allocate(r, 1, sizeof *view, &view));
    *view = (struct view){call->self.dict, VIEW_ITEMS};
    pairs = (struct value){.type = VALUE_VIEW, .view = view};
    struct chosen all = {.path = value_none()};
    struct call over = {.self = pairs};
    return choose(r, &over, next_mapped, &all, out);
}

/* The keys of a sort, a list: one a comma-separated part of the attribute. */
static status sort_key(struct render *r, const struct value *item, const struct value *attribute,
                       bool case_sensitive, struct value *out)
{
    struct value *keys;
    if (attribute->type != VALUE_STRING) {
        TRY(template_allocate(r, 1, sizeof *keys, &keys));
        TRY(get_key(r, item, attribute, NULL, case_sensitive, keys));
        return template_list(r, VALUE_LIST, keys, 1, out);
    }
    const struct string *text = attribute->string;
    size_t count = 1, used = 0;
    for (size_t i = 0; i < text->length; i++) {
        count += text->text[i] == ',';
    }
    TRY(template_allocate(r, count, sizeof *keys, &keys));
    for (size_t start = 0; start <= text->length; used++) {
        size_t end = start;
        struct value path;
        while (end < text->length && text->text[end] != ',') {
            end++;
        }
        TRY(template_string_view(r, text->text + start, end - start, &path));
        TRY(get_key(r, item, &path, NULL, case_sensitive, &keys[used]));
        start = end + 1;
    }
    return template_list(r, VALUE_LIST, keys, used, out);
}

static status sorted(struct render *r, const struct value *source, const struct value *attribute,
                     bool case_sensitive, bool reverse, struct value **items, size_t *count)
{
    struct value *keys;
    TRY(template_items(r, source, items, count));
    TRY(template_allocate(r, *count, sizeof *keys, &keys));
    for (size_t i = 0; i < *count; i++) {
        TRY(sort_key(r, &(*items)[i], attribute, case_sensitive, &keys[i]));
    }
    return template_sort(r, *items, keys, *count, reverse);
}

static status filter_sort(struct render *r, const struct call *call, struct value *out)
{
    struct value *items;
    size_t count;
    bool reverse, case_sensitive;
    TRY(template_truth(r, &call->arguments[0], &reverse));
    TRY(template_truth(r, &call->arguments[1], &case_sensitive));
    TRY(sorted(r, &call->self, &call->arguments[2], case_sensitive, reverse, &items, &count));
    return template_list(r, VALUE_LIST, items, count, out);
}

static status filter_dictsort(struct render *r, const struct call *call, struct value *out)
{
    struct value *pairs, *keys;
    bool case_sensitive, reverse;
    const struct value *by = &call->arguments[1];
    if (call->self.type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, &call->self);
    }
    if (call->self.type != VALUE_DICT) {
        return template_fail("'%s' object has no attribute 'items'",
                             template_type_name(&call->self));
    }
    bool by_value = template_is_text(by, "value");
    if (value_is_given(by) && !by_value && !template_is_text(by, "key")) {
        return template_fail("You can only sort by either \"key\" or \"value\"");
    }
    const struct dict *dict = call->self.dict;
    TRY(template_truth(r, &call->arguments[0], &case_sensitive));
    TRY(template_truth(r, &call->arguments[2], &reverse));
    TRY(template_allocate(r, dict->count, sizeof *pairs, &pairs));
    TRY(template_allocate(r, dict->count, sizeof *keys, &keys));
    for (size_t i = 0; i < dict->count; i++) {
        TRY(template_pair(r, dict->keys[i], dict->values[i], &pairs[i]));
        TRY(fold_case(r, by_value ? &dict->values[i] : &dict->keys[i], case_sensitive, &keys[i]));
    }
    TRY(template_sort(r, pairs, keys, dict->count, reverse));
    return template_list(r, VALUE_LIST, pairs, dict->count, out);
}

static status filter_unique(struct render *r, const struct call *call, struct value *out)
{
    struct value *items, key, seen;
    size_t count, kept = 0;
    bool case_sensitive;
    TRY(template_truth(r, &call->arguments[0], &case_sensitive));
    TRY(template_items(r, &call->self, &items, &count));
    TRY(template_dict(r, 0, &seen));
    for (size_t i = 0; i < count; i++) {
        const struct value *known;
        TRY(get_key(r, &items[i], &call->arguments[1], NULL, case_sensitive, &key));
        TRY(template_dict_get(r, seen.dict, &key, &known));
        if (known == NULL) {
            TRY(template_dict_put(r, seen.dict, &key, &key));
            items[kept++] = items[i];
        }
    }
    struct value list;
    TRY(template_list(r, VALUE_LIST, items, kept, &list));
    struct chosen all = {.path = value_none()};
    struct call over = {.self = list};
    return choose(r, &over, next_mapped, &all, out);
}

static status filter_groupby(struct render *r, const struct call *call, struct value *out)
{
    struct value *items, *groups, key, next;
    size_t count, group_count = 0;
    bool case_sensitive;
    const struct value *attribute = &call->arguments[0], *otherwise = &call->arguments[1];
    TRY(template_truth(r, &call->arguments[2], &case_sensitive));
    TRY(template_items(r, &call->self, &items, &count));
    struct value *keys;
    TRY(template_allocate(r, count, sizeof *keys, &keys));
    for (size_t i = 0; i < count; i++) {
        TRY(get_key(r, &items[i], attribute, otherwise, case_sensitive, &keys[i]));
    }
    TRY(template_sort(r, items, keys, count, false));
    TRY(template_allocate(r, count, sizeof *groups, &groups));
    for (size_t start = 0, end; start < count; start = end) {
        struct value members;
        bool same = true;
        key = keys[start];
        for (end = start + 1; end < count; end++) {
            next = keys[end];
            TRY(template_equal(r, &key, &next, &same));
            if (!same) {
                break;
            }
        }
        TRY(template_list(r, VALUE_LIST, items + start, end - start, &members));
        TRY(get_path(r, &items[start], attribute, otherwise, &key));
        TRY(template_pair(r, key, members, &groups[group_count]));
        struct list *group;
        TRY(template_allocate(r, 1, sizeof *group, &group));
        *group = *groups[group_count].list;
        group->is_group = true;
        groups[group_count++].list = group;
    }
    return template_list(r, VALUE_LIST, groups, group_count, out);
}

/* items[start:end] and `fill` more of `filler`. */
static status section(struct render *r, const struct value *items, size_t start, size_t end,
                      const struct value *filler, size_t fill, struct value *out)
{
    struct value *copy;
    TRY(template_allocate(r, end - start + fill, sizeof *copy, &copy));
    TRY(template_charge(r, end - start + fill));
    for (size_t i = start; i < end; i++) {
        copy[i - start] = items[i];
    }
    for (size_t i = 0; i < fill; i++) {
        copy[end - start + i] = *filler;
    }
    return template_list(r, VALUE_LIST, copy, end - start + fill, out);
}

static status as_generator(struct render *r, struct value *items, size_t count, struct value *out)
{
    struct value list;
    TRY(template_list(r, VALUE_LIST, items, count, &list));
    struct chosen all = {.path = value_none()};
    struct call over = {.self = list};
    return choose(r, &over, next_mapped, &all, out);
}

static status filter_batch(struct render *r, const struct call *call, struct value *out)
{
    struct value *items, *batches;
    size_t count, used = 0;
    int64_t size;
    const struct value *filler = &call->arguments[1];
    if (!template_is_integral(&call->arguments[0], &size) || size < 1) {
        return template_fail("batch: the size must be a positive integer");
    }
    TRY(template_items(r, &call->self, &items, &count));
    TRY(template_allocate(r, count, sizeof *batches, &batches));
    for (size_t start = 0; start < count; used++) {
        size_t left = count - start, take = left < (size_t)size ? left : (size_t)size;
        size_t fill = value_is_some(filler) ? (size_t)size - take : 0;
        TRY(section(r, items, start, start + take, filler, fill, &batches[used]));
        start += take;
    }
    return as_generator(r, batches, used, out);
}

static status filter_slice(struct render *r, const struct call *call, struct value *out)
{
    struct value *items, *slices;
    size_t count, start = 0;
    int64_t number;
    const struct value *filler = &call->arguments[1];
    if (!template_is_integral(&call->arguments[0], &number) || number < 1) {
        return template_fail("slice: the number of slices must be a positive integer");
    }
    TRY(template_items(r, &call->self, &items, &count));
    TRY(template_allocate(r, (size_t)number, sizeof *slices, &slices));
    size_t each = count / (size_t)number, longer = count % (size_t)number;
    for (size_t i = 0; i < (size_t)number; i++) {
        size_t end = start + each + (i < longer);
        TRY(section(r, items, start, end, filler, value_is_some(filler) && i >= longer,
                    &slices[i]));
        start = end;
    }
    return as_generator(r, slices, (size_t)number, out);
}

static const struct native filters[] = {
    {"batch", filter_batch, 1, false, {"linecount", "fill_with"}},
    {"dictsort", filter_dictsort, 0, false, {"case_sensitive", "by", "reverse"}},
    {"first", filter_first, 0, false, {NULL}},
    {"groupby", filter_groupby, 1, false, {"attribute", "default", "case_sensitive"}},
    {"items", filter_items, 0, false, {NULL}},
    {"join", filter_join, 0, false, {"d", "attribute"}},
    {"last", filter_last, 0, false, {NULL}},
    {"list", filter_list, 0, false, {NULL}},
    {"map", filter_map, 0, true, {NULL}},
    {"max", filter_max, 0, false, {"case_sensitive", "attribute"}},
    {"min", filter_min, 0, false, {"case_sensitive", "attribute"}},
    {"reject", filter_reject, 0, true, {NULL}},
    {"rejectattr", filter_rejectattr, 0, true, {NULL}},
    {"reverse", filter_reverse, 0, false, {NULL}},
    {"select", filter_select, 0, true, {NULL}},
    {"selectattr", filter_selectattr, 0, true, {NULL}},
    {"slice", filter_slice, 1, false, {"slices", "fill_with"}},
    {"sort", filter_sort, 0, false, {"reverse", "case_sensitive", "attribute"}},
    {"sum", filter_sum, 0, false, {"attribute", "start"}},
    {"unique", filter_unique, 0, false, {"case_sensitive", "attribute"}},
};

const struct native_table template_sequence_filters = {filters, COUNT_OF(filters)};
