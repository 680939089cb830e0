/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file in other forms: src/data/export. */
#ifndef SLUICE_EXPORT_H
#define SLUICE_EXPORT_H

#include "sluice/data.h"

enum export_format { EXPORT_JSONL, EXPORT_OPENAI, EXPORT_CSV, EXPORT_PARQUET, EXPORT_TEXT };

/* What forms there are: one row a form, src/data/export/export_forms.c. */
struct export_form {
    const char *name;
    const char *suffix;  /* of files that are in it: ".csv" */
    const char *meaning; /* for help */
    bool takes_columns;  /* that are chosen, and an input that is joined again */
    bool is_binary;      /* packs itself, and is not for terminals */
};
/* NULL past the last one. */
const struct export_form *export_form(enum export_format format);
/* The form of this name, or the one whose suffix the path has, before .gz or .zst; false where
 * there is none. */
bool export_format_by_name(const char *name, enum export_format *out);
bool export_format_by_path(const char *path, enum export_format *out);

/* Which results: all, those with an error or without, or those that ended for one reason. */
struct export_where {
    enum { WHERE_ALL, WHERE_ERROR, WHERE_OK, WHERE_FINISHED } kind;
    enum finish_reason reason; /* WHERE_FINISHED */
};
/* "error", "ok" or "finish=stop", …; STATUS_INVALID says what there is. */
status export_where_parse(const char *text, struct export_where *out) MUST_CHECK;
bool export_where_takes(const struct export_where *where, const struct result *result);

struct export_options {
    enum export_format format;
    struct export_where where;
    /* Names of result columns and of the input's fields, in the order wanted; none: all. */
    const char *const *columns;
    size_t column_count;
    /* NULL, or the data set that the output was made from: its fields, prompts included, take the
     * place of those that the output has kept. Whether it is that data set the caller has found
     * out. `id_field` is the job's. */
    const struct record_reader_options *input;
    const char *id_field;
    /* NULL, or told now and then how many results are done. */
    void (*progress)(void *context, int64_t results);
    void *progress_context;
};

/* Bytes of an export, in order. Those of lines come line by line, each with its newline. */
typedef status (*export_writer)(void *context, const char *bytes, size_t length);

/* Streams results out again in bounded memory. STATUS_INVALID for columns that nothing has, and
 * where the form takes no columns or no input. */
status output_export_as(struct output_reader *reader, const struct export_options *options,
                        export_writer write, void *context) MUST_CHECK;
/* All of it. */
status output_export(struct output_reader *reader, enum export_format format, export_writer write,
                     void *context) MUST_CHECK;

/* ---- A file to export to: src/data/export/export_file.c ---- */

/* A file that appears whole or not at all, packed as its name says: .gz, .zst, or not. */
struct export_file;
/* Creates PATH.partial. STATUS_EXISTS where something stands at `path` and `overwrite` is false.
 * The caller finishes or abandons *out. */
status export_file_create(const char *path, bool overwrite, struct export_file **out) MUST_CHECK;
/* An export_writer; `context` is the file. */
status export_file_write(void *context, const char *bytes, size_t length) MUST_CHECK;
int64_t export_file_bytes(const struct export_file *file); /* that were given to it */
/* Flushes, syncs and renames; the file is gone afterwards, also on failure. */
status export_file_finish(struct export_file *file) MUST_CHECK;
/* Removes what was written. */
void export_file_abandon(struct export_file *file);

#endif
