/* SPDX-License-Identifier: Apache-2.0 */
/* Answers against a passthrough field. */
#include "sluice/grade.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_GROUPS = 1000 };

struct grading {
    const char *field, *by;
    struct grade_table *table;
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
static status value_text(struct grading *grading, const struct json *value, const char **text,
                         size_t *length)
{
    if (value->type == JSON_STRING) {
        *text = value->text;
        *length = value->length;
        return STATUS_OK;
    }
    buffer_clear(&grading->text);
    TRY(json_write(value, &grading->text));
    *text = grading->text.data;
    *length = grading->text.length;
    return STATUS_OK;
}

static status find_group(struct grading *grading, const struct json *value,
                         struct grade_group **out)
{
    struct grade_table *table = grading->table;
    const char *name = "(none)";
    size_t length = strlen(name);
    if (value != NULL) {
        TRY(value_text(grading, value, &name, &length));
    }
    for (size_t i = 0; i < table->group_count; i++) {
        const char *known = table->groups[i].name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            *out = &table->groups[i];
            return STATUS_OK;
        }
    }
    if (table->group_count == MAX_GROUPS) {
        return status_fail(STATUS_LIMIT, "more than %d groups by %s", MAX_GROUPS, grading->by);
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
    **out = (struct grade_group){.name = copy};
    return STATUS_OK;
}

static status grade_result(void *context, const struct result *result)
{
    struct grading *grading = context;
    struct json *fields = NULL;
    arena_reset(&grading->arena);
    if (result->passthrough_length > 0) {
        TRY(json_parse(result->passthrough, result->passthrough_length, &grading->arena, &fields));
    }
    const struct json *expected = json_get(fields, grading->field);
    if (expected == NULL) {
        grading->table->ungraded++;
        return STATUS_OK;
    }
    const char *wanted, *text = result->text;
    size_t wanted_length, length = result->text_length;
    TRY(value_text(grading, expected, &wanted, &wanted_length));
    trim(&text, &length);
    bool right = result->finish_reason != FINISH_ERROR && length == wanted_length &&
                 memcmp(text, wanted, length) == 0;
    grading->table->total.results++;
    grading->table->total.right += right;
    if (grading->by != NULL) {
        struct grade_group *group = NULL;
        TRY(find_group(grading, json_get(fields, grading->by), &group));
        group->results++;
        group->right += right;
    }
    return STATUS_OK;
}

static int compare_groups(const void *a, const void *b)
{
    return strcmp(((const struct grade_group *)a)->name, ((const struct grade_group *)b)->name);
}

status grade_output(struct output_reader *reader, const char *field, const char *by,
                    struct grade_table *out)
{
    *out = (struct grade_table){.total = {.name = "total"}};
    struct grading grading = {.field = field, .by = by, .table = out};
    status s = output_visit(reader, grade_result, &grading);
    arena_destroy(&grading.arena);
    buffer_destroy(&grading.text);
    TRY(s);
    if (out->total.results == 0) {
        return status_fail(STATUS_NOT_FOUND, "no row has a field \"%.60s\" to score by", field);
    }
    if (out->group_count > 1) {
        qsort(out->groups, out->group_count, sizeof *out->groups, compare_groups);
    }
    return STATUS_OK;
}

void grade_table_destroy(struct grade_table *table)
{
    arena_destroy(&table->arena);
    free(table->groups);
    *table = (struct grade_table){0};
}
