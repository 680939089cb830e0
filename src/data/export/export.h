/* SPDX-License-Identifier: Apache-2.0 */
/* What the forms of an export share: results with their input's fields, JSON of single values,
 * names and types of columns. */
#ifndef SLUICE_DATA_EXPORT_EXPORT_H
#define SLUICE_DATA_EXPORT_EXPORT_H

#include "data/output/layout.h"
#include "data/output/vocabulary.h"
#include "sluice/export.h"

/* ---- Values: export_value.c ---- */

/* A decimal that is the same float: integers below 1e15 with all their digits, of other numbers the
 * shortest; null for NaN and infinities. */
status export_float(float value, struct buffer *out) MUST_CHECK;
/* A JSON string; NULL counts as empty. */
status export_text(const char *text, size_t length, struct buffer *out) MUST_CHECK;
/* A row's id as it stood in the input: a number with its digits, or a text. */
status export_id(const struct result *result, struct buffer *out) MUST_CHECK;
/* Whether a request with these other fields wants its vector as base64. */
bool export_asks_base64(const struct json *fields);
/* The vector as a list of numbers, or as base64 of its float32s, little-endian. */
status export_vector(const float *values, size_t width, bool base64, struct buffer *out) MUST_CHECK;
/* A column's value, which is there; `base64` for vectors. */
status export_value(const struct result_column *column, const struct stored_result *result,
                    bool base64, struct buffer *out) MUST_CHECK;
/* How many values of an item's list are used: those of the first column with its bit. */
size_t export_count_used(const struct result_column *column, const struct stored_result *result,
                         size_t item);
/* Whether the result, of this file, has a value to show in the column. */
bool export_has_value(const struct output_reader *reader, const struct result_column *column,
                      const struct stored_result *result);

/* ---- Results with their fields: export_source.c ---- */

/* Called for each result that is wanted; `fields` is the object of the input's other fields, or of
 * all where the input is joined again; NULL where there are none. Valid until it returns. */
typedef status (*export_visitor)(void *context, const struct stored_result *stored,
                                 const struct json *fields);
struct export_job {
    struct output_reader *reader;
    const struct export_options *options;
    export_writer write;
    void *context;
};
/* `wanted`: of texts and lists which are read; NULL: all. */
status export_visit(const struct export_job *job, const bool *wanted, export_visitor visit,
                    void *context) MUST_CHECK;

/* ---- Columns: export_columns.c ---- */

/* What all values of a field of the input are; null is of any type. */
enum export_values {
    VALUES_NULL,
    VALUES_BOOLEAN,
    VALUES_INTEGER, /* of 64 bits, without fraction or exponent */
    VALUES_NUMBER,
    VALUES_TEXT,
    VALUES_JSON, /* of several types, or lists and objects: their JSON */
};

struct export_column {
    const char *name;                   /* as exported */
    const struct result_column *column; /* NULL: a field of the input */
    const char *key;                    /* that field's own name */
    size_t key_length;
    enum export_values type;
};

struct export_columns {
    struct arena arena;
    struct export_column *items;
    size_t count;
    bool wanted[RESULT_COLUMNS_MOST]; /* of texts and lists: for export_visit */
};

enum { EXPORT_FIELDS_MOST = 2000 };

/* The columns that the options choose, or all that the file has, and then the input's fields; for
 * these the results are gone through once. STATUS_INVALID for a name that nothing has, STATUS_LIMIT
 * for more than EXPORT_FIELDS_MOST fields. End with export_columns_destroy in any case. */
status export_columns_find(const struct export_job *job, struct export_columns *out) MUST_CHECK;
void export_columns_destroy(struct export_columns *columns);
/* The input's field that a column shows; NULL where this row has none. */
const struct json *export_column_field(const struct export_column *column,
                                       const struct json *fields);
/* The name under which a field of the input is exported: its own, or with "input_" before it, as
 * often as it takes, where a column of ours has that name. */
status export_field_name(const struct export_job *job, const struct stored_result *stored,
                         const struct json *fields, const struct json_member *member,
                         struct buffer *name) MUST_CHECK;

/* ---- Forms ---- */

status export_jsonl(const struct export_job *job) MUST_CHECK;   /* export_jsonl.c */
status export_openai(const struct export_job *job) MUST_CHECK;  /* export_openai.c */
status export_csv(const struct export_job *job) MUST_CHECK;     /* export_table.c */
status export_plain(const struct export_job *job) MUST_CHECK;   /* export_table.c */
status export_parquet(const struct export_job *job) MUST_CHECK; /* export_parquet.c */

#endif
