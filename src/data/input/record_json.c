/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of columns to JSON. */
#include "data/input/record_json.h"

#include <string.h>
#include <strings.h>

#include "data/row/prompt_template.h"
#include "data/row/request_fields.h"
#include "sluice/data.h"
#include "sluice/json.h"

/* Lists and objects have no other place in a column of texts. */
static const struct {
    const char *name;
    enum column_reading reading;
} structured_columns[] = {
    {"messages", COLUMN_PROMPT},         {"prompt_token_ids", COLUMN_PROMPT},
    {"tools", COLUMN_STRUCTURE},         {"documents", COLUMN_STRUCTURE},
    {"continuations", COLUMN_STRUCTURE}, {"chat_template_kwargs", COLUMN_STRUCTURE}};

static bool is_in_prompt(const char *name, const struct record_reader_options *options)
{
    return options->prompt_template != NULL &&
           prompt_template_names(options->prompt_template, name, strlen(name));
}

enum column_reading column_reading_of(const char *name, const struct record_reader_options *options)
{
    const struct request_field *field = request_field_find(name, strlen(name));
    bool is_parameter = field != NULL && field->use == REQUEST_PARAMETER;
    if (!is_parameter && is_in_prompt(name, options)) {
        return COLUMN_TEXT;
    }
    for (size_t i = 0; i < COUNT_OF(structured_columns); i++) {
        if (strcmp(structured_columns[i].name, name) == 0) {
            return structured_columns[i].reading;
        }
    }
    if (options->plain_columns || field == NULL || field->body_only ||
        field->use == REQUEST_PROMPT || field->use == REQUEST_HARMLESS) {
        return COLUMN_TEXT;
    }
    bool has_member = field->use == REQUEST_TEMPLATE || field->use == REQUEST_MEMBER;
    if (strcmp(name, "guided_regex") == 0 || strcmp(name, "guided_grammar") == 0) {
        return COLUMN_TEXT; /* "[0-9]" is a list, too */
    }
    bool is_words = strcmp(name, "stop") == 0 || (has_member && field->type == JSON_STRING);
    return is_words ? COLUMN_WORDS : COLUMN_VALUE;
}

static bool is_taken(enum column_reading reading, const struct json *value)
{
    switch (value->type) {
    case JSON_ARRAY:
        return true;
    case JSON_OBJECT:
        return reading != COLUMN_WORDS;
    case JSON_NUMBER:
    case JSON_BOOLEAN:
    case JSON_NOT_FINITE:
        return reading == COLUMN_VALUE;
    default:
        return false;
    }
}

/* As Python (pandas) and R write them. */
static const char *boolean_word(const char *text, size_t length)
{
    static const char *const words[] = {"true", "false"};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (length == strlen(words[i]) && strncasecmp(text, words[i], length) == 0) {
            return words[i];
        }
    }
    return NULL;
}

static status write_as_it_reads(enum column_reading reading, const char *text, size_t length,
                                struct buffer *json)
{
    struct arena arena = {0};
    struct json *value;
    status s = json_parse(text, length, &arena, &value);
    if (s == STATUS_OK && is_taken(reading, value)) {
        /* NaN as it stands, for the error of its row to name it. */
        s = value->type == JSON_NOT_FINITE ? buffer_append_text(json, value->text)
                                           : json_write(value, json);
    } else if (s == STATUS_OK || s == STATUS_INVALID) {
        s = json_write_string(text, length, json);
    }
    arena_destroy(&arena);
    return s;
}

status record_write_text(enum column_reading reading, const char *text, size_t length,
                         struct buffer *json)
{
    if (reading == COLUMN_TEXT || (reading == COLUMN_PROMPT && length == 0)) {
        return json_write_string(text, length, json);
    }
    if (length == 0) {
        return buffer_append_text(json, "null");
    }
    const char *word = reading == COLUMN_VALUE ? boolean_word(text, length) : NULL;
    return word != NULL ? buffer_append_text(json, word)
                        : write_as_it_reads(reading, text, length, json);
}

status record_spoil(struct record *record, status s)
{
    if (s != STATUS_INVALID && s != STATUS_LIMIT) {
        return s;
    }
    record->kind = RECORD_BAD;
    buffer_clear(&record->bytes);
    return buffer_append_text(&record->bytes, status_message());
}
