/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an output file back: attributes, ranks, results in order and in bounded memory.
 *
 * The file may come from anywhere: every type, shape and value is checked before it is used. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/output/inputs.h"
#include "data/output/layout.h"
#include "data/output/text.h"
#include "data/output/vocabulary.h"

enum {
    BATCH_ROWS = 1024,
    TEXT_BUDGET = 64 << 20, /* bytes of texts in memory, of one column's batch */
    TOKEN_BUDGET = 1 << 20, /* tokens in memory, but for a single result that has more */
    MAX_RANKS = 1 << 20,
};

/* Only a single result may have so much. */
static const size_t LARGEST_TEXT = (size_t)1 << 30;

struct output_reader {
    char *path;
    hid_t file;
    int64_t rows;
    struct hdf5_column numbers[NUMBER_COUNT];
    struct text_source texts[TEXT_COUNT];
    struct hdf5_column offsets, tokens, logprobs, top_ids, top_values, embedding;
    int32_t top_logprobs, embedding_width;
    struct arena arena;             /* of the next */
    const char *const *input_paths; /* [input_count] */
    size_t input_count;
};

static bool column_is_there(const struct hdf5_column *column)
{
    return column->dataset > 0;
}

/* ---- Opening ------------------------------------------------------------------------------------
 */

static status check_version(struct output_reader *reader)
{
    struct arena arena = {0};
    const char *text = output_attribute_text(reader, "format_version", &arena);
    status s = STATUS_OK;
    if (text == NULL) {
        s = status_fail(STATUS_INVALID, "not an output file of this program: no format_version");
    } else if (strtol(text, NULL, 10) < OUTPUT_VERSION_VARIABLE ||
               strtol(text, NULL, 10) > OUTPUT_VERSION_PACKED) {
        s = status_fail(STATUS_UNSUPPORTED,
                        "format version %.20s; this program reads versions %d to %d", text,
                        OUTPUT_VERSION_VARIABLE, OUTPUT_VERSION_PACKED);
    }
    arena_destroy(&arena);
    return s;
}

static status open_column(struct output_reader *reader, const char *path, H5T_class_t type_class,
                          struct hdf5_column *column)
{
    TRY(hdf5_column_open(reader->file, path, type_class, 1, column));
    if (column->length != reader->rows) {
        return status_fail(STATUS_INVALID, "%s: %lld rows where %s has %lld", path,
                           (long long)column->length, output_number_paths[NUMBER_ROW],
                           (long long)reader->rows);
    }
    return STATUS_OK;
}

/* A flat column, where the file has it: as many elements as the others. */
static status open_flat(struct output_reader *reader, const char *path, H5T_class_t type_class,
                        int rank, int64_t *tokens, struct hdf5_column *column)
{
    if (!hdf5_path_exists(reader->file, path)) {
        return STATUS_OK;
    }
    TRY(hdf5_column_open(reader->file, path, type_class, rank, column));
    if (*tokens >= 0 && column->length != *tokens) {
        return status_fail(STATUS_INVALID, "%s: %lld tokens where another column has %lld", path,
                           (long long)column->length, (long long)*tokens);
    }
    *tokens = column->length;
    return STATUS_OK;
}

static status open_top(struct output_reader *reader, int64_t *tokens)
{
    TRY(open_flat(reader, OUTPUT_TOP_IDS_PATH, H5T_INTEGER, 2, tokens, &reader->top_ids));
    TRY(open_flat(reader, OUTPUT_TOP_VALUES_PATH, H5T_FLOAT, 2, tokens, &reader->top_values));
    if (!column_is_there(&reader->top_ids) && !column_is_there(&reader->top_values)) {
        return STATUS_OK;
    }
    hsize_t ids[2] = {0, 0};
    hsize_t values[2] = {0, 1};
    if (column_is_there(&reader->top_ids) && column_is_there(&reader->top_values)) {
        H5Sget_simple_extent_dims(reader->top_ids.space, ids, NULL);
        H5Sget_simple_extent_dims(reader->top_values.space, values, NULL);
    }
    if (ids[1] != values[1] || ids[1] < 1 || ids[1] > SAMPLING_MAX_LOGPROBS) {
        return status_fail(STATUS_INVALID, "%s and %s do not go together", OUTPUT_TOP_IDS_PATH,
                           OUTPUT_TOP_VALUES_PATH);
    }
    reader->top_logprobs = (int32_t)ids[1];
    return STATUS_OK;
}

static status open_embedding(struct output_reader *reader)
{
    struct hdf5_column *column = &reader->embedding;
    if (!hdf5_path_exists(reader->file, OUTPUT_EMBEDDING_PATH)) {
        return STATUS_OK;
    }
    TRY(hdf5_column_open(reader->file, OUTPUT_EMBEDDING_PATH, H5T_FLOAT, 2, column));
    hsize_t sizes[2] = {0, 0};
    H5Sget_simple_extent_dims(column->space, sizes, NULL);
    if (column->length != reader->rows || sizes[1] < 1 || sizes[1] > TOKEN_BUDGET) {
        return status_fail(STATUS_INVALID, "%s: %lld rows of %lld where there are %lld rows",
                           OUTPUT_EMBEDDING_PATH, (long long)column->length, (long long)sizes[1],
                           (long long)reader->rows);
    }
    reader->embedding_width = (int32_t)sizes[1];
    return STATUS_OK;
}

static status open_columns(struct output_reader *reader)
{
    TRY(check_version(reader));
    TRY(hdf5_column_open(reader->file, output_number_paths[NUMBER_ROW], H5T_INTEGER, 1,
                         &reader->numbers[NUMBER_ROW]));
    reader->rows = reader->numbers[NUMBER_ROW].length;
    for (int i = NUMBER_ROW + 1; i < NUMBER_COUNT; i++) {
        enum output_number which = (enum output_number)i;
        if (output_number_is_optional(which) &&
            !hdf5_path_exists(reader->file, output_number_paths[i])) {
            continue;
        }
        TRY(open_column(reader, output_number_paths[i], H5Tget_class(output_number_type(which)),
                        &reader->numbers[i]));
    }
    TRY(open_embedding(reader));
    TRY(output_inputs_read(reader->file, &reader->arena, &reader->input_paths,
                           &reader->input_count));
    for (int i = 0; i < TEXT_COUNT; i++) {
        if (!output_text_is_optional((enum output_text)i) ||
            hdf5_path_exists(reader->file, output_text_paths[i])) {
            TRY(output_text_open(reader->file, output_text_paths[i], reader->rows,
                                 &reader->texts[i]));
        }
    }
    int64_t tokens = -1;
    TRY(open_flat(reader, OUTPUT_TOKENS_PATH, H5T_INTEGER, 1, &tokens, &reader->tokens));
    TRY(open_flat(reader, OUTPUT_LOGPROBS_PATH, H5T_FLOAT, 1, &tokens, &reader->logprobs));
    TRY(open_top(reader, &tokens));
    if (tokens < 0) {
        return STATUS_OK;
    }
    TRY(hdf5_column_open(reader->file, OUTPUT_OFFSETS_PATH, H5T_INTEGER, 1, &reader->offsets));
    if (reader->offsets.length != reader->rows + 1) {
        return status_fail(STATUS_INVALID, "%s: %lld offsets for %lld rows", OUTPUT_OFFSETS_PATH,
                           (long long)reader->offsets.length, (long long)reader->rows);
    }
    return STATUS_OK;
}

status output_open(const char *path, struct output_reader **out)
{
    *out = NULL;
    struct output_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL || (reader->path = strdup(path)) == NULL) {
        free(reader);
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", path);
    }
    status s = hdf5_open_readonly(path, &reader->file);
    if (s == STATUS_OK) {
        s = status_context(open_columns(reader), "%s", path);
        /* What is missing in a file is a fault of the file. */
        s = s == STATUS_NOT_FOUND ? STATUS_INVALID : s;
    }
    if (s != STATUS_OK) {
        output_reader_close(reader);
        return s;
    }
    *out = reader;
    return STATUS_OK;
}

void output_reader_close(struct output_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    struct hdf5_column *flat[] = {&reader->offsets, &reader->tokens,     &reader->logprobs,
                                  &reader->top_ids, &reader->top_values, &reader->embedding};
    for (int i = 0; i < NUMBER_COUNT; i++) {
        hdf5_column_close(&reader->numbers[i]);
    }
    for (int i = 0; i < TEXT_COUNT; i++) {
        output_text_close(&reader->texts[i]);
    }
    for (size_t i = 0; i < COUNT_OF(flat); i++) {
        hdf5_column_close(flat[i]);
    }
    if (reader->file > 0) {
        H5Fclose(reader->file);
    }
    arena_destroy(&reader->arena);
    free(reader->path);
    free(reader);
}

void output_input_paths(const struct output_reader *reader, const char *const **paths,
                        size_t *count)
{
    *paths = reader->input_paths;
    *count = reader->input_count;
}

int64_t output_result_count(const struct output_reader *reader)
{
    return reader->rows;
}

const char *output_reader_path(const struct output_reader *reader)
{
    return reader->path;
}

status output_reader_vocabulary(const struct output_reader *reader, struct arena *arena,
                                struct vocabulary *out)
{
    return status_context(vocabulary_read(reader->file, arena, out), "%s", reader->path);
}

/* ---- Attributes and ranks -----------------------------------------------------------------------
 */

static const char *read_text_attribute(hid_t attribute, hid_t stored, struct arena *arena)
{
    size_t size = H5Tget_size(stored);
    char *text = NULL;
    if (H5Tis_variable_str(stored) > 0) {
        char *read = NULL;
        if (H5Aread(attribute, stored, &read) >= 0 && read != NULL) {
            text = arena_copy(arena, read, strlen(read));
        }
        H5free_memory(read);
    } else if (size > 0 && size <= 65536) { /* what fits into an attribute */
        text = arena_allocate(arena, size + 1);
        if (text != NULL && H5Aread(attribute, stored, text) < 0) {
            text = NULL;
        }
    }
    return text;
}

const char *output_attribute_text(struct output_reader *reader, const char *name,
                                  struct arena *arena)
{
    if (H5Aexists(reader->file, name) <= 0) {
        H5Eclear2(H5E_DEFAULT);
        return NULL;
    }
    hid_t attribute = H5Aopen(reader->file, name, H5P_DEFAULT);
    hid_t stored = attribute >= 0 ? H5Aget_type(attribute) : H5I_BADID;
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : H5I_BADID;
    const char *text = NULL;
    char number[40];
    if (stored >= 0 && space >= 0 && H5Sget_simple_extent_npoints(space) == 1) {
        int64_t integer;
        double real;
        switch (H5Tget_class(stored)) {
        case H5T_STRING:
            text = read_text_attribute(attribute, stored, arena);
            break;
        case H5T_INTEGER:
            if (H5Aread(attribute, H5T_NATIVE_INT64, &integer) >= 0) {
                int length = snprintf(number, sizeof number, "%lld", (long long)integer);
                text = arena_copy(arena, number, (size_t)length);
            }
            break;
        case H5T_FLOAT:
            if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &real) >= 0) {
                /* Whole numbers, such as counts, without an exponent. */
                int length =
                    snprintf(number, sizeof number,
                             fabs(real) < 1e15 && real == floor(real) ? "%.0f" : "%.15g", real);
                text = arena_copy(arena, number, (size_t)length);
            }
            break;
        default:
            break;
        }
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    if (stored >= 0) {
        H5Tclose(stored);
    }
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    H5Eclear2(H5E_DEFAULT);
    return text;
}

status output_rank_metrics(struct output_reader *reader, struct arena *arena,
                           const struct rank_metrics **ranks, size_t *count)
{
    struct hdf5_column column = {0};
    *ranks = NULL;
    *count = 0;
    if (!hdf5_path_exists(reader->file, OUTPUT_RANKS_PATH)) {
        return STATUS_OK;
    }
    status s = hdf5_column_open(reader->file, OUTPUT_RANKS_PATH, H5T_COMPOUND, 1, &column);
    struct rank_metrics *read = NULL;
    if (s == STATUS_OK && column.length > MAX_RANKS) {
        s = status_fail(STATUS_INVALID, "%s: %lld ranks", OUTPUT_RANKS_PATH,
                        (long long)column.length);
    }
    if (s == STATUS_OK) {
        read = arena_allocate_array(arena, (size_t)column.length, sizeof *read);
        hid_t type = output_rank_type();
        if (read == NULL || type < 0) {
            s = status_fail(STATUS_NO_MEMORY, "out of memory for the table of ranks");
        } else {
            s = hdf5_column_read(&column, type, 0, column.length, read);
        }
        if (type >= 0) {
            H5Tclose(type);
        }
    }
    for (int64_t i = 0; s == STATUS_OK && i < column.length; i++) {
        read[i].host[sizeof read[i].host - 1] = '\0';
        read[i].device[sizeof read[i].device - 1] = '\0';
    }
    if (s == STATUS_OK) {
        *ranks = read;
        *count = (size_t)column.length;
    }
    hdf5_column_close(&column);
    return status_context(s, "%s", reader->path);
}

/* ---- Results ------------------------------------------------------------------------------------
 */

/* Results [first, first + count) in memory. Everything lives in the arena. */
struct result_batch {
    struct arena *arena;
    int64_t first, count;
    void *numbers[NUMBER_COUNT];
    const char **texts[TEXT_COUNT];
    size_t *lengths[TEXT_COUNT];
    int64_t *offsets; /* [count + 1], NULL without flat columns */
    int32_t *tokens, *top_ids;
    float *logprobs, *top_values;
    float *embedding; /* [count, width] */
};

static status read_flat(const struct hdf5_column *column, hid_t type, int64_t first, int64_t count,
                        int width, struct arena *arena, void *out)
{
    if (!column_is_there(column)) {
        return STATUS_OK;
    }
    /* Both kinds of element have four bytes. */
    void *items = arena_allocate_array(arena, (size_t)count, 4 * (size_t)width);
    if (items == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %lld tokens", (long long)count);
    }
    memcpy(out, &items, sizeof items);
    return hdf5_column_read(column, type, first, count, items);
}

/* Reads the offsets of batch->count results and shortens the batch to what fits the budget. */
static status read_offsets(const struct output_reader *reader, struct result_batch *batch)
{
    int64_t *offsets =
        arena_allocate_array(batch->arena, (size_t)batch->count + 1, sizeof *offsets);
    if (offsets == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for results");
    }
    TRY(hdf5_column_read(&reader->offsets, H5T_NATIVE_INT64, batch->first, batch->count + 1,
                         offsets));
    const struct hdf5_column *columns[] = {&reader->tokens, &reader->logprobs, &reader->top_ids};
    int64_t tokens = 0;
    for (size_t i = 0; i < COUNT_OF(columns); i++) {
        tokens = column_is_there(columns[i]) ? columns[i]->length : tokens;
    }
    for (int64_t i = 0; i < batch->count; i++) {
        if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || offsets[i + 1] > tokens ||
            offsets[i + 1] - offsets[i] > INT32_MAX) {
            return status_fail(STATUS_INVALID, "%s: result %lld: %lld to %lld is no range of %lld",
                               OUTPUT_OFFSETS_PATH, (long long)(batch->first + i),
                               (long long)offsets[i], (long long)offsets[i + 1], (long long)tokens);
        }
        if (i > 0 && offsets[i + 1] - offsets[0] > TOKEN_BUDGET) {
            batch->count = i;
        }
    }
    batch->offsets = offsets;
    return STATUS_OK;
}

static status read_tokens(const struct output_reader *reader, struct result_batch *batch)
{
    int64_t first = batch->offsets[0];
    int64_t count = batch->offsets[batch->count] - first;
    TRY(read_flat(&reader->tokens, H5T_NATIVE_INT32, first, count, 1, batch->arena,
                  &batch->tokens));
    TRY(read_flat(&reader->logprobs, H5T_NATIVE_FLOAT, first, count, 1, batch->arena,
                  &batch->logprobs));
    TRY(read_flat(&reader->top_ids, H5T_NATIVE_INT32, first, count, reader->top_logprobs,
                  batch->arena, &batch->top_ids));
    return read_flat(&reader->top_values, H5T_NATIVE_FLOAT, first, count, reader->top_logprobs,
                     batch->arena, &batch->top_values);
}

static status read_texts(const struct output_reader *reader, struct result_batch *batch)
{
    for (int i = 0; i < TEXT_COUNT; i++) {
        if (!reader->texts[i].there) {
            continue;
        }
        size_t count = (size_t)batch->count;
        batch->texts[i] = arena_allocate_array(batch->arena, count, sizeof *batch->texts[i]);
        batch->lengths[i] = arena_allocate_array(batch->arena, count, sizeof *batch->lengths[i]);
        if (batch->texts[i] == NULL || batch->lengths[i] == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for results");
        }
        size_t budget = batch->arena->used_bytes + (batch->count == 1 ? LARGEST_TEXT : TEXT_BUDGET);
        TRY(output_text_read(&reader->texts[i], batch->first, batch->count, budget, batch->arena,
                             batch->texts[i], batch->lengths[i]));
    }
    return STATUS_OK;
}

static status read_numbers(const struct output_reader *reader, struct result_batch *batch)
{
    for (int i = 0; i < NUMBER_COUNT; i++) {
        hid_t type = output_number_type((enum output_number)i);
        if (!column_is_there(&reader->numbers[i])) {
            continue;
        }
        batch->numbers[i] =
            arena_allocate_array(batch->arena, (size_t)batch->count, H5Tget_size(type));
        if (batch->numbers[i] == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for results");
        }
        TRY(hdf5_column_read(&reader->numbers[i], type, batch->first, batch->count,
                             batch->numbers[i]));
    }
    return STATUS_OK;
}

/* Reads up to `count` results from `first` on; STATUS_LIMIT when so many have too long texts. */
static status read_batch(const struct output_reader *reader, int64_t first, int64_t count,
                         struct result_batch *batch)
{
    int64_t most = reader->embedding_width > 0 ? TOKEN_BUDGET / reader->embedding_width : count;
    *batch = (struct result_batch){
        .arena = batch->arena, .first = first, .count = count < most ? count : most};
    if (column_is_there(&reader->offsets)) {
        TRY(read_offsets(reader, batch));
        TRY(read_tokens(reader, batch));
    }
    TRY(read_numbers(reader, batch));
    TRY(read_flat(&reader->embedding, H5T_NATIVE_FLOAT, first, batch->count,
                  reader->embedding_width, batch->arena, &batch->embedding));
    return read_texts(reader, batch);
}

static const char *batch_text(const struct result_batch *batch, enum output_text which, int64_t i,
                              size_t *length)
{
    *length = batch->texts[which] != NULL ? batch->lengths[which][i] : 0;
    return batch->texts[which] != NULL ? batch->texts[which][i] : NULL;
}

/* What earlier versions did not write: it is as they took every row. */
static void read_request(const struct result_batch *batch, int64_t i, struct result *out)
{
    const int8_t *endpoints = batch->numbers[NUMBER_ENDPOINT];
    const int32_t *codes = batch->numbers[NUMBER_STATUS_CODE];
    const int8_t *id_is_number = batch->numbers[NUMBER_ID_IS_NUMBER];
    out->endpoint = endpoints != NULL ? (enum endpoint)(unsigned char)endpoints[i] : ENDPOINT_NONE;
    out->is_fault = codes != NULL && codes[i] >= 500;
    out->id_is_number = id_is_number != NULL && id_is_number[i] != 0;
}

static status batch_result(const struct output_reader *reader, const struct result_batch *batch,
                           int64_t i, struct result *out)
{
    int8_t finish = ((int8_t *)batch->numbers[NUMBER_FINISH_REASON])[i];
    *out = (struct result){
        .row = ((int64_t *)batch->numbers[NUMBER_ROW])[i],
        .sample = ((int32_t *)batch->numbers[NUMBER_SAMPLE])[i],
        .rank = ((int32_t *)batch->numbers[NUMBER_RANK])[i],
        .finish_reason = (enum finish_reason)(unsigned char)finish,
        .prompt_tokens = ((int32_t *)batch->numbers[NUMBER_PROMPT_TOKENS])[i],
        .completion_tokens = ((int32_t *)batch->numbers[NUMBER_COMPLETION_TOKENS])[i],
        .seconds = ((double *)batch->numbers[NUMBER_SECONDS])[i],
    };
    out->id = batch_text(batch, TEXT_ID, i, &out->id_length);
    out->prompt = batch_text(batch, TEXT_PROMPT, i, &out->prompt_length);
    out->text = batch_text(batch, TEXT_TEXT, i, &out->text_length);
    out->error = batch_text(batch, TEXT_ERROR, i, &out->error_length);
    out->passthrough = batch_text(batch, TEXT_PASSTHROUGH, i, &out->passthrough_length);
    out->arithmetic = batch_text(batch, TEXT_ARITHMETIC, i, &out->arithmetic_length);
    read_request(batch, i, out);
    if (finish < FINISH_STOP || finish > FINISH_ERROR || out->completion_tokens < 0 ||
        (unsigned)out->endpoint > ENDPOINT_EMBEDDINGS) {
        return status_fail(STATUS_INVALID, "result %lld: values out of range",
                           (long long)(batch->first + i));
    }
    if (batch->numbers[NUMBER_FILE] != NULL) {
        int32_t file = ((int32_t *)batch->numbers[NUMBER_FILE])[i];
        if (file < 0 || (size_t)file >= reader->input_count) {
            return status_fail(STATUS_INVALID, "result %lld: of input file %d of %zu",
                               (long long)(batch->first + i), file, reader->input_count);
        }
        out->file = reader->input_paths[file];
    }
    if (batch->numbers[NUMBER_LOGPROB_SUM] != NULL && batch->numbers[NUMBER_LOGPROB_MEAN] != NULL) {
        out->logprob_sum = ((double *)batch->numbers[NUMBER_LOGPROB_SUM])[i];
        out->logprob_mean = ((double *)batch->numbers[NUMBER_LOGPROB_MEAN])[i];
        out->has_scores = isfinite(out->logprob_sum) && isfinite(out->logprob_mean);
    }
    if (batch->embedding != NULL) {
        const float *embedding = batch->embedding + i * reader->embedding_width;
        out->embedding_width = isnan(embedding[0]) ? 0 : reader->embedding_width;
        out->embedding = isnan(embedding[0]) ? NULL : embedding;
    }
    if (batch->offsets == NULL) {
        return STATUS_OK;
    }
    int64_t at = batch->offsets[i] - batch->offsets[0];
    int64_t tokens = batch->offsets[i + 1] - batch->offsets[i];
    if (tokens != out->completion_tokens) {
        return status_fail(STATUS_INVALID, "result %lld: %lld tokens where completion_tokens is %d",
                           (long long)(batch->first + i), (long long)tokens,
                           out->completion_tokens);
    }
    /* A result that did not ask has NaN, and -1, throughout; an error has no tokens to show. */
    if (batch->tokens != NULL && (tokens > 0 ? batch->tokens[at] >= 0 : finish != FINISH_ERROR)) {
        out->token_ids = batch->tokens + at;
    }
    if (batch->logprobs != NULL && tokens > 0 && !isnan(batch->logprobs[at])) {
        out->logprobs = batch->logprobs + at;
    }
    if (batch->top_ids != NULL && tokens > 0 && batch->top_ids[at * reader->top_logprobs] >= 0) {
        out->top_logprobs = reader->top_logprobs;
        out->top_ids = batch->top_ids + at * reader->top_logprobs;
        out->top_values = batch->top_values + at * reader->top_logprobs;
    }
    return STATUS_OK;
}

status output_visit(struct output_reader *reader, result_visitor visit, void *context)
{
    struct arena arena = {0};
    struct result_batch batch = {.arena = &arena};
    status s = STATUS_OK;
    bool stopped = false; /* by the visitor, whose message is its own */
    int64_t most = BATCH_ROWS;
    for (int64_t first = 0; s == STATUS_OK && first < reader->rows;) {
        int64_t left = reader->rows - first;
        arena_reset(&arena);
        s = read_batch(reader, first, left < most ? left : most, &batch);
        if (s == STATUS_LIMIT && batch.count > 1) {
            most = batch.count / 8 > 0 ? batch.count / 8 : 1;
            s = STATUS_OK;
            continue;
        }
        for (int64_t i = 0; s == STATUS_OK && i < batch.count; i++) {
            struct result result;
            s = batch_result(reader, &batch, i, &result);
            if (s == STATUS_OK) {
                s = visit(context, &result);
                stopped = s != STATUS_OK;
            }
        }
        first += batch.count;
        most = most * 2 < BATCH_ROWS ? most * 2 : BATCH_ROWS;
    }
    arena_destroy(&arena);
    return stopped ? s : status_context(s, "%s", reader->path);
}
