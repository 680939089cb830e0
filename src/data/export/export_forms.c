/* SPDX-License-Identifier: Apache-2.0 */
/* The table of forms, and which results go into them. */
#include <string.h>

#include "data/export/export.h"

static const struct form {
    struct export_form facts;
    status (*function)(const struct export_job *job);
} forms[] = {
    [EXPORT_JSONL] = {{"jsonl", ".jsonl",
                       "a row's fields, its answer and its numbers, a JSON line each", true, false},
                      export_jsonl},
    [EXPORT_OPENAI] = {{"openai", ".openai.jsonl", "OpenAI's batch output lines", false, false},
                       export_openai},
    [EXPORT_CSV] = {{"csv", ".csv", "a table with a line of names; lists as JSON", true, false},
                    export_csv},
    [EXPORT_PARQUET] = {{"parquet", ".parquet", "a table of typed columns", true, true},
                        export_parquet},
    [EXPORT_TEXT] = {{"text", ".txt", "the answers alone, one a line", true, false}, export_plain},
};

const struct export_form *export_form(enum export_format format)
{
    return (size_t)format < COUNT_OF(forms) ? &forms[format].facts : NULL;
}

bool export_format_by_name(const char *name, enum export_format *out)
{
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (strcmp(forms[i].facts.name, name) == 0) {
            *out = (enum export_format)i;
            return true;
        }
    }
    return false;
}

static bool ends_with(const char *text, size_t length, const char *suffix)
{
    const size_t bytes = strlen(suffix);
    return length > bytes && memcmp(text + length - bytes, suffix, bytes) == 0;
}

/* The longest suffix counts. */
bool export_format_by_path(const char *path, enum export_format *out)
{
    size_t length = strlen(path), best = 0;
    length -= ends_with(path, length, ".gz") ? 3 : ends_with(path, length, ".zst") ? 4 : 0;
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        const char *suffix = forms[i].facts.suffix;
        if (ends_with(path, length, suffix) && strlen(suffix) > best) {
            best = strlen(suffix);
            *out = (enum export_format)i;
        }
    }
    return best > 0;
}

/* ---- Which results ---- */

status export_where_parse(const char *text, struct export_where *out)
{
    static const char finish[] = "finish=";
    *out = (struct export_where){.kind = WHERE_ALL};
    if (strcmp(text, "error") == 0 || strcmp(text, "ok") == 0) {
        out->kind = text[0] == 'e' ? WHERE_ERROR : WHERE_OK;
        return STATUS_OK;
    }
    for (int reason = 0; strncmp(text, finish, strlen(finish)) == 0 && reason <= FINISH_ERROR;
         reason++) {
        if (strcmp(text + strlen(finish), finish_reason_name((enum finish_reason)reason)) == 0) {
            *out = (struct export_where){WHERE_FINISHED, (enum finish_reason)reason};
            return STATUS_OK;
        }
    }
    return status_fail(STATUS_INVALID,
                       "expected error, ok, finish=stop, finish=length or finish=error, not "
                       "\"%.40s\"",
                       text);
}

bool export_where_takes(const struct export_where *where, const struct result *result)
{
    switch (where->kind) {
    case WHERE_ALL:
        break;
    case WHERE_ERROR:
        return result->finish_reason == FINISH_ERROR;
    case WHERE_OK:
        return result->finish_reason != FINISH_ERROR;
    case WHERE_FINISHED:
        return result->finish_reason == where->reason;
    }
    return true;
}

/* ---- An export ---- */

status output_export_as(struct output_reader *reader, const struct export_options *options,
                        export_writer write, void *context)
{
    const struct export_job job = {
        .reader = reader, .options = options, .write = write, .context = context};
    const struct export_form *form = export_form(options->format);
    if (!form->takes_columns && (options->column_count > 0 || options->input != NULL)) {
        return status_fail(STATUS_INVALID,
                           "the form %s is a fixed one: it takes no columns and no input",
                           form->name);
    }
    return forms[options->format].function(&job);
}

status output_export(struct output_reader *reader, enum export_format format, export_writer write,
                     void *context)
{
    const struct export_options options = {.format = format};
    return output_export_as(reader, &options, write, context);
}
