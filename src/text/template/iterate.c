/* SPDX-License-Identifier: Apache-2.0 */
/* Walking over values: iterators, generators that can be walked once, slices, sorting. */
#include "text/template/internal.h"

static status fail_not_iterable(const struct value *source)
{
    const char *name = template_type_name(source);
    return template_fail("'%s' object is not iterable",
                         source->type == VALUE_NAMESPACE ? "Namespace" : name);
}

status template_iterator_start(struct render *r, const struct value *source, struct iterator *out)
{
    (void)r;
    *out = (struct iterator){.source = template_or_empty(source)};
    return template_is_iterable(&out->source) ? STATUS_OK : fail_not_iterable(source);
}

static status next_of_generator(struct render *r, struct generator *generator, struct value *out,
                                bool *more)
{
    *more = false;
    if (generator->done) {
        return STATUS_OK;
    }
    if (generator->running) {
        return template_fail("generator already executing");
    }
    TRY(template_enter(r));
    generator->running = true;
    TRY(generator->next(r, generator, out, more));
    generator->running = false;
    generator->done = !*more;
    r->depth--;
    return STATUS_OK;
}

static status next_character(struct render *r, struct iterator *iterator, struct value *out,
                             bool *more)
{
    const struct string *string = iterator->source.string;
    size_t size;
    *more = iterator->offset < string->length;
    if (!*more) {
        return STATUS_OK;
    }
    (void)utf8_decode(string->text + iterator->offset, string->length - iterator->offset, &size);
    TRY(template_string_view(r, string->text + iterator->offset, size, out));
    iterator->offset += size;
    return STATUS_OK;
}

static status view_item(struct render *r, const struct view *view, size_t index, struct value *out)
{
    if (view->kind == VIEW_ITEMS) {
        return template_pair(r, view->dict->keys[index], view->dict->values[index], out);
    }
    *out = view->kind == VIEW_KEYS ? view->dict->keys[index] : view->dict->values[index];
    return STATUS_OK;
}

status template_iterator_next(struct render *r, struct iterator *iterator, struct value *out,
                              bool *more)
{
    const struct value *source = &iterator->source;
    size_t index = iterator->index++;
    TRY(template_charge(r, 1));
    switch (source->type) {
    case VALUE_LIST:
    case VALUE_TUPLE:
        *more = index < source->list->count;
        if (*more) {
            *out = source->list->items[index];
        }
        return STATUS_OK;
    case VALUE_DICT:
        *more = index < source->dict->count;
        if (*more) {
            *out = source->dict->keys[index];
        }
        return STATUS_OK;
    case VALUE_VIEW:
        *more = index < source->view->dict->count;
        return *more ? view_item(r, source->view, index, out) : STATUS_OK;
    case VALUE_RANGE:
        *more = index < source->range->count;
        if (*more) {
            *out = value_integer(source->range->start + (int64_t)index * source->range->step);
        }
        return STATUS_OK;
    case VALUE_STRING:
        return next_character(r, iterator, out, more);
    case VALUE_GENERATOR:
        return next_of_generator(r, source->generator, out, more);
    case VALUE_LOOP:
        return template_fail("a loop variable cannot be walked over");
    case VALUE_UNDEFINED:
        *more = false;
        return STATUS_OK;
    default:
        return fail_not_iterable(source);
    }
}

status template_items(struct render *r, const struct value *source, struct value **items,
                      size_t *count)
{
    struct iterator iterator;
    struct value item;
    bool more;
    size_t capacity = 8;
    *count = 0;
    if (template_is_sized(source)) {
        TRY(template_length(r, source, &capacity));
    }
    TRY(template_iterator_start(r, source, &iterator));
    TRY(template_allocate(r, capacity, sizeof item, items));
    for (;;) {
        TRY(template_iterator_next(r, &iterator, &item, &more));
        if (!more) {
            return STATUS_OK;
        }
        if (*count == capacity) {
            struct value *grown;
            capacity = capacity < 8 ? 8 : 2 * capacity;
            TRY(template_allocate(r, capacity, sizeof item, &grown));
            memcpy(grown, *items, *count * sizeof item);
            *items = grown;
        }
        (*items)[(*count)++] = item;
    }
}

status template_generator(struct render *r, generator_next *next, const struct value *source,
                          void *state, struct value *out)
{
    struct generator *generator;
    TRY(template_allocate(r, 1, sizeof *generator, &generator));
    if (source != NULL) {
        generator->source.source = *source; /* what cannot be walked fails when it is tried */
    }
    generator->next = next;
    generator->state = state;
    generator->written = "generator";
    *out = (struct value){.type = VALUE_GENERATOR, .generator = generator};
    return STATUS_OK;
}

static status next_reversed(struct render *r, struct generator *generator, struct value *out,
                            bool *more)
{
    (void)r;
    struct iterator *left = generator->state; /* a list, and how many of its items were given */
    const struct list *list = left->source.list;
    *more = left->index < list->count;
    if (*more) {
        *out = list->items[list->count - 1 - left->index++];
    }
    return STATUS_OK;
}

status template_reversed(struct render *r, const struct value *source, struct value *out)
{
    struct value *items, list;
    size_t count;
    struct iterator *left;
    TRY(template_items(r, source, &items, &count));
    TRY(template_list(r, VALUE_LIST, items, count, &list));
    TRY(template_allocate(r, 1, sizeof *left, &left));
    TRY(template_iterator_start(r, &list, left));
    TRY(template_generator(r, next_reversed, NULL, left, out));
    out->generator->written = source->type == VALUE_LIST    ? "list_reverseiterator"
                              : source->type == VALUE_DICT  ? "dict_reversekeyiterator"
                              : source->type == VALUE_RANGE ? "range_iterator"
                                                            : "reversed";
    return STATUS_OK;
}

/* ---- Slices ---- */

static status slice_index(const struct value *value, int64_t *out, bool *given)
{
    *given = value != NULL && value->type != VALUE_NONE;
    if (*given && !template_is_integral(value, out)) {
        return template_fail("slice indices must be integers or None or have an __index__ method");
    }
    return STATUS_OK;
}

/* An index of a slice, counted from the end where negative, brought into [low, high]. */
static int64_t clamp_index(int64_t index, int64_t length, int64_t low, int64_t high)
{
    if (index < 0) {
        index = index < -length ? low : index + length;
    }
    return index < low ? low : index > high ? high : index;
}

static status slice_string(struct render *r, const struct string *string, int64_t start,
                           int64_t step, int64_t count, struct value *out)
{
    if (step == 1 || count == 0) {
        size_t from = template_character_offset(string, (size_t)start);
        size_t to = count == 0 ? from : template_character_offset(string, (size_t)(start + count));
        return template_string_view(r, string->text + from, to - from, out);
    }
    size_t mark = r->out.length, low, offset = 0, size;
    /* One pass over the text for either direction: offsets of the characters first. */
    uint32_t *offsets;
    TRY(template_allocate(r, string->characters + 1, sizeof *offsets, &offsets));
    for (low = 0; offset < string->length; low++, offset += size) {
        (void)utf8_decode(string->text + offset, string->length - offset, &size);
        offsets[low] = (uint32_t)offset;
    }
    offsets[low] = (uint32_t)offset;
    for (int64_t i = 0; i < count; i++, start += step) {
        TRY(template_write(r, string->text + offsets[start], offsets[start + 1] - offsets[start]));
    }
    return template_take(r, mark, out);
}

status template_slice(struct render *r, const struct value *given, const struct value *start,
                      const struct value *stop, const struct value *step, struct value *out)
{
    const struct value self = template_or_empty(given), *sequence = &self;
    int64_t from, to, by;
    bool has_from, has_to, has_by;
    size_t size;
    if (sequence->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, sequence);
    }
    if (sequence->type == VALUE_DICT) {
        return template_fail("unhashable type: 'slice'");
    }
    if (sequence->type != VALUE_STRING && sequence->type != VALUE_LIST &&
        sequence->type != VALUE_TUPLE && sequence->type != VALUE_RANGE) {
        return template_fail("'%s' object is not subscriptable", template_type_name(sequence));
    }
    TRY(slice_index(start, &from, &has_from));
    TRY(slice_index(stop, &to, &has_to));
    TRY(slice_index(step, &by, &has_by));
    TRY(template_length(r, sequence, &size));
    int64_t length = (int64_t)size;
    by = has_by ? by : 1;
    if (by == 0) {
        return template_fail("slice step cannot be zero");
    }
    by = by > length ? length + 1 : by < -length ? -length - 1 : by;
    int64_t low = by > 0 ? 0 : -1, high = by > 0 ? length : length - 1;
    from = has_from ? clamp_index(from, length, low, high) : by > 0 ? low : high;
    to = has_to ? clamp_index(to, length, low, high) : by > 0 ? high : low;
    int64_t distance = by > 0 ? to - from : from - to, stride = by > 0 ? by : -by;
    int64_t count = distance > 0 ? (distance + stride - 1) / stride : 0;
    TRY(template_charge(r, (size_t)count / 16 + 1));
    if (sequence->type == VALUE_STRING) {
        return slice_string(r, sequence->string, count == 0 ? 0 : from, by, count, out);
    }
    if (sequence->type == VALUE_RANGE) {
        struct range *range;
        TRY(template_allocate(r, 1, sizeof *range, &range));
        /* Unsigned: past the last item the values may leave the 64 bits, but are never used. */
        uint64_t old_step = (uint64_t)sequence->range->step;
        uint64_t first = (uint64_t)sequence->range->start + (uint64_t)from * old_step;
        uint64_t new_step = old_step * (uint64_t)by;
        *range = (struct range){.start = (int64_t)first,
                                .stop = (int64_t)(first + (uint64_t)count * new_step),
                                .step = (int64_t)new_step,
                                .count = (size_t)count};
        *out = (struct value){.type = VALUE_RANGE, .range = range};
        return STATUS_OK;
    }
    struct value *items;
    TRY(template_allocate(r, (size_t)count, sizeof *items, &items));
    for (int64_t i = 0; i < count; i++) {
        items[i] = sequence->list->items[from + i * by];
    }
    return template_list(r, sequence->type, items, (size_t)count, out);
}

/* ---- Sorting ---- */

/* Bottom-up merge sort. For a descending stable sort a later item goes first only if it is greater.
 */
status template_sort(struct render *r, struct value *items, struct value *keys, size_t count,
                     bool reverse)
{
    struct value *other_items, *other_keys;
    TRY(template_allocate(r, count, sizeof *items, &other_items));
    TRY(template_allocate(r, count, sizeof *keys, &other_keys));
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t end = middle + width < count ? middle + width : count;
            size_t left = start, right = middle;
            for (size_t to = start; to < end; to++) {
                bool later = left == middle;
                if (left < middle && right < end) {
                    TRY(reverse ? template_order(r, TOKEN_LESS, &keys[left], &keys[right], &later)
                                : template_order(r, TOKEN_LESS, &keys[right], &keys[left], &later));
                }
                size_t from = later ? right++ : left++;
                other_items[to] = items[from];
                other_keys[to] = keys[from];
            }
        }
        memcpy(items, other_items, count * sizeof *items);
        memcpy(keys, other_keys, count * sizeof *keys);
    }
    return STATUS_OK;
}
