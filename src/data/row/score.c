/* SPDX-License-Identifier: Apache-2.0 */
/* Answers against a passthrough field. */
#include "sluice/score.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_GROUPS = 1000 };

struct scoring {
    const char *field, *by;
    struct score_table *table;
    struct arena arena; /* of one row */
    struct buffer text;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(const char **text, size_t *length)
{
    while (*length > 0 && is_space((*text)[*length - 1])) {
        --*length;
    }
    while (*length > 0 && is_space(**text)) {
        ++*text;
        --*length;
    }
}

/* A field's value as text: strings as they are, the rest as JSON. Valid until the next call. */
static status value_text(struct scoring *scoring, const struct json *value, const char **text,
                         size_t *length)
{
    if (value->type == JSON_STRING) {
        *text = value->text;
        *length = value->length;
        return STATUS_OK;
    }
    buffer_clear(&scoring->text);
    TRY(json_write(value, &scoring->text));
    *text = scoring->text.data;
    *length = scoring->text.length;
    return STATUS_OK;
}

static status find_group(struct scoring *scoring, const struct json *value,
                         struct score_group **out)
{
    struct score_table *table = scoring->table;
    const char *name = "(none)";
    size_t length = strlen(name);
    if (value != NULL) {
        TRY(value_text(scoring, value, &name, &length));
    }
    for (size_t i = 0; i < table->group_count; i++) {
        const char *known = table->groups[i].name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            *out = &table->groups[i];
            return STATUS_OK;
        }
    }
    if (table->group_count == MAX_GROUPS) {
        return status_fail(STATUS_LIMIT, "more than %d groups by %s", MAX_GROUPS, scoring->by);
    }
    void *groups = table->groups;
    status s =
        array_grow(&groups, &table->group_capacity, table->group_count + 1, sizeof *table->groups);
    table->groups = groups;
    TRY(s);
    const char *copy = arena_copy(&table->arena, name, length);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for groups");
    }
    *out = &table->groups[table->group_count++];
    **out = (struct score_group){.name = copy};
    return STATUS_OK;
}

static status score_result(void *context, const struct result *result)
{
    struct scoring *scoring = context;
    struct json *fields = NULL;
    arena_reset(&scoring->arena);
    if (result->passthrough_length > 0) {
        TRY(json_parse(result->passthrough, result->passthrough_length, &scoring->arena, &fields));
    }
    const struct json *expected = json_get(fields, scoring->field);
    if (expected == NULL) {
        scoring->table->unscored++;
        return STATUS_OK;
    }
    const char *wanted, *text = result->text;
    size_t wanted_length, length = result->text_length;
    TRY(value_text(scoring, expected, &wanted, &wanted_length));
    trim(&text, &length);
    bool right = result->finish_reason != FINISH_ERROR && length == wanted_length &&
                 memcmp(text, wanted, length) == 0;
    scoring->table->total.results++;
    scoring->table->total.right += right;
    if (scoring->by != NULL) {
        struct score_group *group = NULL;
        TRY(find_group(scoring, json_get(fields, scoring->by), &group));
        group->results++;
        group->right += right;
    }
    return STATUS_OK;
}

static int compare_groups(const void *a, const void *b)
{
    return strcmp(((const struct score_group *)a)->name, ((const struct score_group *)b)->name);
}

status score_output(struct output_reader *reader, const char *field, const char *by,
                    struct score_table *out)
{
    *out = (struct score_table){.total = {.name = "total"}};
    struct scoring scoring = {.field = field, .by = by, .table = out};
    status s = output_visit(reader, score_result, &scoring);
    arena_destroy(&scoring.arena);
    buffer_destroy(&scoring.text);
    TRY(s);
    if (out->total.results == 0) {
        return status_fail(STATUS_NOT_FOUND, "no row has a field \"%.60s\" to score by", field);
    }
    if (out->group_count > 1) {
        qsort(out->groups, out->group_count, sizeof *out->groups, compare_groups);
    }
    return STATUS_OK;
}

void score_table_destroy(struct score_table *table)
{
    arena_destroy(&table->arena);
    free(table->groups);
    *table = (struct score_table){0};
}
