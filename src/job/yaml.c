/* SPDX-License-Identifier: Apache-2.0 */
/* YAML events to entries and JSON values (libyaml's event interface, so that nothing is composed or
 * expanded before it was looked at). */
#include "job/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum {
    MAX_LIST_DEPTH = 3,
    MAX_MAP_DEPTH = 64, /* of lists and maps within a map: a JSON schema is one */
    MAX_LIST_ITEMS = 4096,
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; deleted by the next read */
    struct arena *arena;
    int open_maps; /* in which the value that is read stands */
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for YAML");
}

static int event_line(const struct reader *reader)
{
    return (int)reader->event.start_mark.line + 1;
}

static const char *event_word(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return "a single value";
    case YAML_SEQUENCE_START_EVENT:
        return "a list";
    case YAML_MAPPING_START_EVENT:
        return "a mapping";
    default:
        return "the end";
    }
}

static status parser_failed(const struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR) {
        return no_memory();
    }
    if (parser->error == YAML_READER_ERROR) {
        return status_fail(STATUS_INVALID, "byte %zu: not YAML: %s", parser->problem_offset,
                           parser->problem);
    }
    return status_fail(STATUS_INVALID, "line %zu: not YAML: %s", parser->problem_mark.line + 1,
                       parser->problem != NULL ? parser->problem : "malformed");
}

static bool event_has_anchor_or_tag(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static status next_event(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) {
        return parser_failed(reader);
    }
    if (event_has_anchor_or_tag(&reader->event)) {
        return status_fail(STATUS_INVALID,
                           "line %d: anchors, aliases and tags are not read here; write the value "
                           "out",
                           event_line(reader));
    }
    return STATUS_OK;
}

/* ---- Scalars ---- */

static size_t skip_digits(const char *text, size_t at)
{
    while (text[at] >= '0' && text[at] <= '9') {
        at++;
    }
    return at;
}

/* Decimal numbers as YAML's core schema has them, in JSON's spelling. Leading zeros are left as
 * text: YAML 1.1 reads them as octal and 1.2 as decimal, so neither can be meant safely. */
static status read_number(const char *text, struct buffer *spelling, bool *is_number)
{
    size_t sign = text[0] == '-' || text[0] == '+';
    size_t point = skip_digits(text, sign);
    size_t end = point, fraction_digits = 0;
    if (text[end] == '.') {
        end = skip_digits(text, point + 1);
        fraction_digits = end - point - 1;
    }
    size_t integer_digits = point - sign;
    size_t exponent = end;
    *is_number = integer_digits + fraction_digits > 0;
    if (text[end] == 'e' || text[end] == 'E') {
        size_t digits = end + 1 + (text[end + 1] == '-' || text[end + 1] == '+');
        end = skip_digits(text, digits);
        *is_number = *is_number && end > digits;
    }
    bool leading_zero = integer_digits > 1 && text[sign] == '0';
    if (!*is_number || text[end] != '\0' || leading_zero) {
        *is_number = false;
        return STATUS_OK;
    }
    TRY(buffer_append_text(spelling, text[0] == '-' ? "-" : ""));
    TRY(integer_digits > 0 ? buffer_append(spelling, text + sign, integer_digits)
                           : buffer_append_byte(spelling, '0'));
    if (fraction_digits > 0) {
        TRY(buffer_append(spelling, text + point, exponent - point));
    }
    return buffer_append_text(spelling, text + exponent);
}

static bool is_one_of(const char *text, const char *const words[3])
{
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static status resolve_plain(struct reader *reader, struct json *value)
{
    static const char *const nulls[] = {"null", "Null", "NULL"};
    static const char *const trues[] = {"true", "True", "TRUE"};
    static const char *const falses[] = {"false", "False", "FALSE"};
    const char *text = value->text;
    if (text[0] == '\0' || strcmp(text, "~") == 0 || is_one_of(text, nulls)) {
        value->type = JSON_NULL;
        return STATUS_OK;
    }
    if (is_one_of(text, trues) || is_one_of(text, falses)) {
        value->type = JSON_BOOLEAN;
        value->boolean = is_one_of(text, trues);
        return STATUS_OK;
    }
    struct buffer spelling = {0};
    bool is_number;
    status s = read_number(text, &spelling, &is_number);
    if (s == STATUS_OK && is_number) {
        value->type = JSON_NUMBER;
        value->length = spelling.length;
        value->text = arena_copy(reader->arena, spelling.data, spelling.length);
        s = value->text != NULL ? STATUS_OK : no_memory();
    }
    buffer_destroy(&spelling);
    return s;
}

static status read_scalar(struct reader *reader, struct json *value)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    value->type = JSON_STRING;
    value->length = reader->event.data.scalar.length;
    value->text = arena_copy(reader->arena, text, value->length);
    if (value->text == NULL) {
        return no_memory();
    }
    bool plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return plain ? resolve_plain(reader, value) : STATUS_OK;
}

/* ---- Values ---- */

static status read_key(struct reader *reader, const char *what, const char **key)
{
    if (reader->event.type != YAML_SCALAR_EVENT) {
        return status_fail(STATUS_INVALID, "line %d: expected the name of a %s, not %s",
                           event_line(reader), what, event_word(&reader->event));
    }
    *key = arena_copy(reader->arena, (const char *)reader->event.data.scalar.value,
                      reader->event.data.scalar.length);
    return *key != NULL ? STATUS_OK : no_memory();
}

static status read_value(struct reader *reader, int depth, struct json **out);

static status check_new_key(const struct reader *reader, const struct json_member *members,
                            size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i].key, key) == 0) {
            return status_fail(STATUS_INVALID, "line %d: %.60s: stands twice in a map",
                               event_line(reader), key);
        }
    }
    return STATUS_OK;
}

/* The map that starts with the current event. */
static status read_map(struct reader *reader, int depth, struct json *value)
{
    value->type = JSON_OBJECT;
    void *members = NULL;
    size_t capacity = 0, count = 0;
    status s;
    while ((s = next_event(reader)) == STATUS_OK && reader->event.type != YAML_MAPPING_END_EVENT) {
        struct json_member member = {0};
        s = count == MAX_LIST_ITEMS
                ? status_fail(STATUS_INVALID, "line %d: a map of more than %d names",
                              event_line(reader), MAX_LIST_ITEMS)
                : read_key(reader, "key", &member.key);
        if (s == STATUS_OK) {
            s = check_new_key(reader, members, count, member.key);
        }
        if (s == STATUS_OK) {
            member.key_length = strlen(member.key);
            s = next_event(reader);
        }
        if (s == STATUS_OK) {
            s = read_value(reader, depth + 1, &member.value);
        }
        if (s == STATUS_OK) {
            s = array_grow(&members, &capacity, count + 1, sizeof member);
        }
        if (s != STATUS_OK) {
            break;
        }
        ((struct json_member *)members)[count++] = member;
    }
    if (s == STATUS_OK) {
        value->length = count;
        value->members = arena_allocate_array(reader->arena, count + 1, sizeof *value->members);
        if (value->members == NULL) {
            s = no_memory();
        } else if (count > 0) {
            memcpy(value->members, members, count * sizeof *value->members);
        }
    }
    free(members);
    return s;
}

/* A map that is a value, or stands in one. */
static status read_inner_map(struct reader *reader, int depth, struct json *value)
{
    reader->open_maps++;
    TRY(read_map(reader, depth, value));
    reader->open_maps--;
    return STATUS_OK;
}

/* The value that starts with the current event. Recursion is bounded by MAX_LIST_DEPTH, within a
 * map by MAX_MAP_DEPTH. */
static status read_value(struct reader *reader, int depth, struct json **out)
{
    const int deepest = reader->open_maps > 0 ? MAX_MAP_DEPTH : MAX_LIST_DEPTH;
    struct json *value = arena_allocate(reader->arena, sizeof *value);
    if (value == NULL) {
        return no_memory();
    }
    *out = value;
    if (reader->event.type == YAML_SCALAR_EVENT) {
        return read_scalar(reader, value);
    }
    const bool takes_map = depth == 0 || (reader->open_maps > 0 && depth < deepest);
    if (reader->event.type == YAML_MAPPING_START_EVENT && takes_map) {
        return read_inner_map(reader, depth, value);
    }
    if (reader->event.type != YAML_SEQUENCE_START_EVENT) {
        return status_fail(STATUS_INVALID, "line %d: expected a value or a list, not %s%s",
                           event_line(reader), event_word(&reader->event),
                           reader->event.type == YAML_MAPPING_START_EVENT ? YAML_MAP_HINT : "");
    }
    if (depth == deepest) {
        return status_fail(STATUS_INVALID, "line %d: lists nested deeper than %d levels",
                           event_line(reader), deepest);
    }
    value->type = JSON_ARRAY;
    void *items = NULL;
    size_t capacity = 0, count = 0;
    status s;
    while ((s = next_event(reader)) == STATUS_OK && reader->event.type != YAML_SEQUENCE_END_EVENT) {
        if (count == MAX_LIST_ITEMS) {
            s = status_fail(STATUS_INVALID, "line %d: a list of more than %d items",
                            event_line(reader), MAX_LIST_ITEMS);
            break;
        }
        struct json *item;
        s = array_grow(&items, &capacity, count + 1, sizeof item);
        if (s == STATUS_OK) {
            s = read_value(reader, depth + 1, &item);
        }
        if (s != STATUS_OK) {
            break;
        }
        ((struct json **)items)[count++] = item;
    }
    if (s == STATUS_OK) {
        value->length = count;
        value->items = arena_allocate_array(reader->arena, count + 1, sizeof *value->items);
        if (value->items == NULL) {
            s = no_memory();
        } else if (count > 0) {
            memcpy(value->items, items, count * sizeof *value->items);
        }
    }
    free(items);
    return s;
}

struct entry_list {
    struct yaml_entry *items;
    size_t count, capacity;
};

static status add_entry(struct entry_list *list, const struct yaml_entry *entry)
{
    void *items = list->items;
    status s = array_grow(&items, &list->capacity, list->count + 1, sizeof *list->items);
    list->items = items;
    TRY(s);
    list->items[list->count++] = *entry;
    return STATUS_OK;
}

/* The current event is the section's name. */
static status read_section(struct reader *reader, struct entry_list *list)
{
    struct yaml_entry entry = {.line = event_line(reader)};
    TRY(read_key(reader, "section", &entry.section));
    TRY(next_event(reader));
    bool empty = reader->event.type == YAML_SCALAR_EVENT &&
                 reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                 reader->event.data.scalar.length == 0;
    TRY(add_entry(list, &entry));
    if (empty) {
        return STATUS_OK;
    }
    if (reader->event.type == YAML_SCALAR_EVENT) {
        struct json *value;
        TRY(read_value(reader, 0, &value));
        entry.key = "";
        entry.value = value;
        return add_entry(list, &entry);
    }
    if (reader->event.type != YAML_MAPPING_START_EVENT) {
        return status_fail(STATUS_INVALID, "line %d: %.60s: expected keys below it, not %s",
                           entry.line, entry.section, event_word(&reader->event));
    }
    for (;;) {
        TRY(next_event(reader));
        if (reader->event.type == YAML_MAPPING_END_EVENT) {
            return STATUS_OK;
        }
        entry.line = event_line(reader);
        TRY(read_key(reader, "key", &entry.key));
        TRY(next_event(reader));
        struct json *value;
        TRY(read_value(reader, 0, &value));
        entry.value = value;
        TRY(add_entry(list, &entry));
    }
}

static status read_document(struct reader *reader, struct entry_list *list)
{
    TRY(next_event(reader)); /* the stream's start */
    TRY(next_event(reader));
    if (reader->event.type == YAML_STREAM_END_EVENT) {
        return status_fail(STATUS_INVALID, "the file is empty");
    }
    TRY(next_event(reader));
    if (reader->event.type != YAML_MAPPING_START_EVENT) {
        return status_fail(STATUS_INVALID, "line %d: expected sections such as \"model:\", not %s",
                           event_line(reader), event_word(&reader->event));
    }
    for (;;) {
        TRY(next_event(reader));
        if (reader->event.type == YAML_MAPPING_END_EVENT) {
            break;
        }
        TRY(read_section(reader, list));
    }
    TRY(next_event(reader)); /* the document's end */
    TRY(next_event(reader));
    if (reader->event.type != YAML_STREAM_END_EVENT) {
        return status_fail(STATUS_INVALID, "line %d: a second document starts; one file is one job",
                           event_line(reader));
    }
    return STATUS_OK;
}

static status reader_start(struct reader *reader, const char *text, size_t length,
                           struct arena *arena)
{
    *reader = (struct reader){.arena = arena};
    if (!yaml_parser_initialize(&reader->parser)) {
        return no_memory();
    }
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, length);
    return STATUS_OK;
}

static void reader_end(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
}

status yaml_read_sections(const char *text, size_t length, struct arena *arena,
                          const struct yaml_entry **entries, size_t *count)
{
    struct reader reader;
    TRY(reader_start(&reader, text, length, arena));
    struct entry_list list = {0};
    status s = read_document(&reader, &list);
    reader_end(&reader);
    if (s == STATUS_OK) {
        struct yaml_entry *copy = arena_allocate_array(arena, list.count + 1, sizeof *copy);
        if (copy == NULL) {
            s = no_memory();
        } else if (list.count > 0) {
            memcpy(copy, list.items, list.count * sizeof *copy);
        }
        *entries = copy;
        *count = list.count;
    }
    free(list.items);
    return s;
}

static status read_single_value(struct reader *reader, struct json **value)
{
    TRY(next_event(reader)); /* the stream's start */
    TRY(next_event(reader));
    if (reader->event.type == YAML_STREAM_END_EVENT) {
        *value = arena_allocate(reader->arena, sizeof **value); /* nothing is null */
        return *value != NULL ? STATUS_OK : no_memory();
    }
    TRY(next_event(reader));
    TRY(read_value(reader, 0, value));
    TRY(next_event(reader));
    TRY(next_event(reader));
    return reader->event.type == YAML_STREAM_END_EVENT
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "expected one value, found more");
}

status yaml_read_value(const char *text, size_t length, struct arena *arena,
                       const struct json **out)
{
    struct reader reader;
    TRY(reader_start(&reader, text, length, arena));
    struct json *value = NULL;
    status s = read_single_value(&reader, &value);
    reader_end(&reader);
    *out = value;
    return s;
}

/* ---- Writing ---- */

/* Whether YAML's reader takes the character as it is, and does not fold it as a line break. */
static bool is_plain_character(int32_t c)
{
    return c >= 0x20 && c != '"' && c != '\\' && (c < 0x7f || c > 0x9f) && c != 0x2028 &&
           c != 0x2029 && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

status yaml_write_string(const char *text, size_t length, struct buffer *out)
{
    TRY(buffer_append_byte(out, '"'));
    for (size_t i = 0; i < length;) {
        size_t size;
        int32_t c = utf8_decode(text + i, length - i, &size);
        if (c < 0) {
            TRY(buffer_append_text(out, "\xEF\xBF\xBD"));
        } else if (is_plain_character(c)) {
            TRY(buffer_append(out, text + i, size));
        } else if (c == '"' || c == '\\') {
            TRY(buffer_format(out, "\\%c", (char)c));
        } else if (c == '\n' || c == '\t') {
            TRY(buffer_append_text(out, c == '\n' ? "\\n" : "\\t"));
        } else {
            TRY(buffer_format(out, "\\u%04X", (unsigned)c));
        }
        i += size;
    }
    return buffer_append_byte(out, '"');
}

status yaml_write_value(const struct json *value, struct buffer *out)
{
    if (value->type == JSON_STRING) {
        return yaml_write_string(value->text, value->length, out);
    }
    if (value->type != JSON_ARRAY) {
        return json_write(value, out);
    }
    TRY(buffer_append_byte(out, '['));
    for (size_t i = 0; i < value->length; i++) {
        TRY(buffer_append_text(out, i > 0 ? ", " : ""));
        TRY(yaml_write_value(value->items[i], out));
    }
    return buffer_append_byte(out, ']');
}
