/* SPDX-License-Identifier: Apache-2.0 */
/* Which columns an export has, what they are called, and what the values of an input's field are:
 * for that the results are gone through once before. */
#include <string.h>

#include "data/export/export.h"

/* ---- Names ---- */

static bool is_named(const struct result_column *column, const char *name, size_t length)
{
    return strlen(column->name) == length && memcmp(column->name, name, length) == 0;
}

/* Whether exports of this file have the column, whatever its results. Of the two that are called
 * `file` it is the path. */
static bool is_offered(const struct export_job *job, const struct result_column *column)
{
    if (column->path == NULL) {
        const char *const *paths;
        size_t count;
        output_input_paths(job->reader, &paths, &count);
        return column->kind == COLUMN_TEXT && count > 0;
    }
    return output_reader_has(job->reader, column) && strcmp(column->path, OUTPUT_FILES_PATH) != 0;
}

/* Whether a name is one of ours: one that a result could always have had, or that it has; of the
 * whole file where `stored` is NULL. An input that is joined again keeps all the names that the
 * file leaves free. */
static bool is_own_name(const struct export_job *job, const struct stored_result *stored,
                        const struct buffer *name)
{
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column->json != JSON_NOT && is_named(column, name->data, name->length)) {
            const bool is_there =
                stored != NULL ? column_is_there(column, stored) : is_offered(job, column);
            return job->options->input != NULL ? is_offered(job, column)
                                               : column->has_name || is_there;
        }
    }
    return false;
}

static bool is_member(const struct json *fields, const char *name, size_t length)
{
    for (size_t i = 0; fields != NULL && i < fields->length; i++) {
        if (fields->members[i].key_length == length &&
            memcmp(fields->members[i].key, name, length) == 0) {
            return true;
        }
    }
    return false;
}

status export_field_name(const struct export_job *job, const struct stored_result *stored,
                         const struct json *fields, const struct json_member *member,
                         struct buffer *name)
{
    static const char prefix[] = "input_";
    TRY(buffer_append(name, member->key, member->key_length));
    if (!is_own_name(job, stored, name)) {
        return STATUS_OK;
    }
    do {
        TRY(buffer_reserve(name, strlen(prefix)));
        memmove(name->data + strlen(prefix), name->data, name->length + 1);
        memcpy(name->data, prefix, strlen(prefix));
        name->length += strlen(prefix);
    } while (is_member(fields, name->data, name->length));
    return STATUS_OK;
}

/* ---- The input's fields ---- */

struct field_list {
    const struct export_job *job;
    struct arena *arena;
    struct export_column *items; /* [EXPORT_FIELDS_MOST] */
    size_t count;
    struct buffer name;
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for an export's columns");
}

static bool is_integer(const struct json *value)
{
    int64_t number;
    return strspn(value->text, "-0123456789") == value->length && json_int64(value, &number);
}

static enum export_values type_of(const struct json *value)
{
    switch (value->type) {
    case JSON_NULL:
        return VALUES_NULL;
    case JSON_BOOLEAN:
        return VALUES_BOOLEAN;
    case JSON_NUMBER:
        return is_integer(value) ? VALUES_INTEGER : VALUES_NUMBER;
    case JSON_STRING:
        return VALUES_TEXT;
    case JSON_ARRAY:
    case JSON_OBJECT:
    case JSON_NOT_FINITE:
        break;
    }
    return VALUES_JSON;
}

/* The type that holds values of both. */
static enum export_values join_types(enum export_values a, enum export_values b)
{
    const bool numbers =
        (a == VALUES_INTEGER || a == VALUES_NUMBER) && (b == VALUES_INTEGER || b == VALUES_NUMBER);
    return a == b || b == VALUES_NULL ? a
           : a == VALUES_NULL         ? b
           : numbers                  ? VALUES_NUMBER
                                      : VALUES_JSON;
}

static bool is_key(const struct export_column *column, const struct json_member *member)
{
    return column->key_length == member->key_length &&
           memcmp(column->key, member->key, member->key_length) == 0;
}

/* Rows tend to have their fields in one order: `guess` is where this one then stands. */
static struct export_column *find_field(const struct field_list *self,
                                        const struct json_member *member, size_t guess)
{
    for (size_t i = 0; i < self->count; i++) {
        struct export_column *item = &self->items[(guess + i) % self->count];
        if (is_key(item, member)) {
            return item;
        }
    }
    return NULL;
}

static status add_field(struct field_list *self, const struct json *fields,
                        const struct json_member *member)
{
    if (self->count == EXPORT_FIELDS_MOST) {
        return status_fail(STATUS_LIMIT, "the rows have more than %d fields, too many for a table",
                           EXPORT_FIELDS_MOST);
    }
    buffer_clear(&self->name);
    TRY(export_field_name(self->job, NULL, fields, member, &self->name));
    struct export_column *item = &self->items[self->count];
    *item = (struct export_column){
        .name = arena_copy(self->arena, self->name.data, self->name.length),
        .key = arena_copy(self->arena, member->key, member->key_length),
        .key_length = member->key_length,
    };
    if (item->name == NULL || item->key == NULL) {
        return no_memory();
    }
    self->count++;
    return STATUS_OK;
}

static status note_fields(void *context, const struct stored_result *stored,
                          const struct json *fields)
{
    struct field_list *self = context;
    (void)stored;
    for (size_t i = 0; fields != NULL && i < fields->length; i++) {
        const struct json_member *member = &fields->members[i];
        struct export_column *item = find_field(self, member, i);
        if (item == NULL) {
            TRY(add_field(self, fields, member));
            item = &self->items[self->count - 1];
        }
        item->type = join_types(item->type, type_of(member->value));
    }
    return STATUS_OK;
}

static void want(struct export_columns *columns, const char *path)
{
    for (size_t i = 0; i < result_column_count; i++) {
        columns->wanted[i] |=
            result_columns[i].path != NULL && strcmp(result_columns[i].path, path) == 0;
    }
}

/* What is read of each result for its fields. */
static void want_fields(const struct export_job *job, struct export_columns *columns)
{
    want(columns, job->options->input == NULL ? "/passthrough/json" : "/results/id");
}

static status find_fields(const struct export_job *job, struct export_columns *columns,
                          struct field_list *out)
{
    struct export_columns only = {0};
    struct export_options options = *job->options;
    options.progress = NULL;
    const struct export_job silent = {.reader = job->reader, .options = &options};
    *out = (struct field_list){.job = job, .arena = &columns->arena};
    out->items = arena_allocate_array(&columns->arena, EXPORT_FIELDS_MOST, sizeof *out->items);
    if (out->items == NULL) {
        return no_memory();
    }
    want_fields(job, &only);
    status s = export_visit(&silent, only.wanted, note_fields, out);
    buffer_destroy(&out->name);
    return s;
}

/* ---- The choice ---- */

/* Lists of one bit are read together. */
static void want_column(struct export_columns *columns, const struct result_column *column)
{
    const struct result_column *mate = column_leader(column);
    do {
        columns->wanted[mate - result_columns] = true;
        mate++;
    } while (mate < result_columns + result_column_count && !column_leads(mate));
    if (column->kind == COLUMN_FLOATS && column->shape == PER_RESULT) {
        want(columns, "/passthrough/json"); /* which may ask for base64 */
    }
}

static void add_column(struct export_columns *columns, const struct result_column *column)
{
    columns->items[columns->count++] =
        (struct export_column){.name = column->name, .column = column};
    want_column(columns, column);
}

static const struct result_column *find_column(const struct export_job *job, const char *name)
{
    for (size_t i = 0; i < result_column_count; i++) {
        if (is_named(&result_columns[i], name, strlen(name)) &&
            is_offered(job, &result_columns[i])) {
            return &result_columns[i];
        }
    }
    return NULL;
}

static const struct export_column *find_name(const struct field_list *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcmp(fields->items[i].name, name) == 0) {
            return &fields->items[i];
        }
    }
    return NULL;
}

static status refuse_name(const struct export_job *job, const struct field_list *fields,
                          const char *name)
{
    struct buffer there = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < result_column_count; i++) {
        if (is_offered(job, &result_columns[i])) {
            s = buffer_format(&there, "%s%s", there.length > 0 ? ", " : "", result_columns[i].name);
        }
    }
    for (size_t i = 0; s == STATUS_OK && i < fields->count && there.length < 600; i++) {
        s = buffer_format(&there, ", %.60s", fields->items[i].name);
    }
    if (s == STATUS_OK) {
        s = status_fail(STATUS_INVALID, "columns: no result has \"%.60s\"; there are %s", name,
                        there.length > 0 ? there.data : "none");
    }
    buffer_destroy(&there);
    return s;
}

static status choose(const struct export_job *job, const struct field_list *fields,
                     struct export_columns *out)
{
    const struct export_options *options = job->options;
    for (size_t i = 0; i < options->column_count; i++) {
        const char *name = options->columns[i];
        const struct result_column *column = find_column(job, name);
        const struct export_column *field = column == NULL ? find_name(fields, name) : NULL;
        if (column != NULL) {
            add_column(out, column);
        } else if (field != NULL) {
            out->items[out->count++] = *field;
            want_fields(job, out);
        } else {
            return refuse_name(job, fields, name);
        }
    }
    return STATUS_OK;
}

/* What lines of JSON have, in their order. */
static void choose_all(const struct export_job *job, const struct field_list *fields,
                       struct export_columns *out)
{
    for (size_t i = 0; i < result_column_count; i++) {
        if (result_columns[i].json != JSON_NOT && is_offered(job, &result_columns[i])) {
            add_column(out, &result_columns[i]);
        }
    }
    for (size_t i = 0; i < fields->count; i++) {
        out->items[out->count++] = fields->items[i];
    }
    want_fields(job, out);
}

static bool needs_fields(const struct export_job *job)
{
    const struct export_options *options = job->options;
    for (size_t i = 0; i < options->column_count; i++) {
        if (find_column(job, options->columns[i]) == NULL) {
            return true;
        }
    }
    return options->column_count == 0;
}

status export_columns_find(const struct export_job *job, struct export_columns *out)
{
    struct field_list fields = {0};
    *out = (struct export_columns){0};
    TRY(needs_fields(job) ? find_fields(job, out, &fields) : STATUS_OK);
    out->items = arena_allocate_array(
        &out->arena, job->options->column_count + result_column_count + fields.count,
        sizeof *out->items);
    if (out->items == NULL) {
        return no_memory();
    }
    if (job->options->column_count > 0) {
        return choose(job, &fields, out);
    }
    choose_all(job, &fields, out);
    return STATUS_OK;
}

void export_columns_destroy(struct export_columns *columns)
{
    arena_destroy(&columns->arena);
}

const struct json *export_column_field(const struct export_column *column,
                                       const struct json *fields)
{
    for (size_t i = 0; column->column == NULL && fields != NULL && i < fields->length; i++) {
        if (is_key(column, &fields->members[i])) {
            return fields->members[i].value;
        }
    }
    return NULL;
}
