/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an output file: results in batches, metrics, attributes, and the rename at the end. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/journal/durable.h"
#include "data/output/inputs.h"
#include "data/output/layout.h"
#include "data/output/metrics.h"
#include "data/output/text.h"
#include "data/output/vocabulary.h"

enum {
    BATCH_BYTES = 8 << 20, /* results are written at once in batches of OUTPUT_BATCH_ROWS, or of
                              fewer when they are large */
    CHUNK_TOKENS = 64 * 1024,
};

struct output_writer {
    struct buffer path, partial;
    bool overwrite;
    bool failed;
    int fd; /* of the partial file: holds its lock, and syncs it */
    hid_t file, string_type;
    hid_t enum_types[NUMBER_COUNT]; /* 0: the column is no enumeration */
    struct output_columns columns;
    struct number_column numbers[NUMBER_COUNT];
    struct text_column texts[TEXT_COUNT];
    struct number_column offsets, tokens, logprobs, top_ids, top_values, embedding;
    struct token_set token_set; /* that the flat columns name */
    size_t batch_rows;
    int64_t token_total;
    size_t input;      /* the file that the row written last came from */
    int64_t input_end; /* the first row of the next one */
};

static bool tells_files_apart(const struct output_columns *columns)
{
    return columns->files != NULL && columns->files->count > 1;
}

/* ---- Creating -----------------------------------------------------------------------------------
 */

static bool has_number(const struct output_columns *columns, enum output_number column)
{
    switch (column) {
    case NUMBER_LOGPROB_SUM:
    case NUMBER_LOGPROB_MEAN:
        return columns->scores;
    case NUMBER_ID_IS_NUMBER:
        return columns->id_is_number;
    case NUMBER_FILE:
        return tells_files_apart(columns);
    default:
        return true;
    }
}

static status create_numbers(struct output_writer *writer)
{
    for (int i = 0; i < NUMBER_COUNT; i++) {
        enum output_number which = (enum output_number)i;
        if (!has_number(&writer->columns, which)) {
            continue;
        }
        hid_t memory = output_number_type(which);
        hid_t enumeration = writer->enum_types[i] = output_enum_type(which);
        if (enumeration < 0) {
            return hdf5_fail(STATUS_NO_MEMORY, "%s: no type", output_number_paths[i]);
        }
        TRY(output_number_create(writer->file, output_number_paths[i],
                                 enumeration > 0 ? enumeration : memory, memory, OUTPUT_BATCH_ROWS,
                                 0, &writer->numbers[i]));
        if (enumeration > 0) {
            writer->numbers[i].memory = enumeration; /* HDF5 turns no integers into enums */
        }
    }
    return STATUS_OK;
}

static status create_texts(struct output_writer *writer)
{
    const bool wanted[TEXT_COUNT] = {
        [TEXT_PROMPT] = writer->columns.prompt, [TEXT_ARITHMETIC] = writer->columns.arithmetic};
    for (int i = 0; i < TEXT_COUNT; i++) {
        if (wanted[i] || !output_text_is_optional((enum output_text)i)) {
            TRY(output_text_create(writer->file, output_text_paths[i], writer->string_type,
                                   writer->columns.packed_texts, &writer->texts[i]));
        }
    }
    return STATUS_OK;
}

static status create_columns(struct output_writer *writer)
{
    const struct output_columns *columns = &writer->columns;
    TRY(create_numbers(writer));
    TRY(create_texts(writer));
    if (columns->token_ids || columns->logprobs || columns->top_logprobs > 0) {
        TRY(output_number_create(writer->file, OUTPUT_OFFSETS_PATH, H5T_NATIVE_INT64,
                                 H5T_NATIVE_INT64, OUTPUT_BATCH_ROWS, 0, &writer->offsets));
        const int64_t first = 0;
        TRY(buffer_append(&writer->offsets.batch, &first, sizeof first));
    }
    if (columns->token_ids) {
        TRY(output_number_create(writer->file, OUTPUT_TOKENS_PATH, H5T_NATIVE_INT32,
                                 H5T_NATIVE_INT32, CHUNK_TOKENS, 0, &writer->tokens));
    }
    if (columns->logprobs) {
        TRY(output_number_create(writer->file, OUTPUT_LOGPROBS_PATH, H5T_NATIVE_FLOAT,
                                 H5T_NATIVE_FLOAT, CHUNK_TOKENS, 0, &writer->logprobs));
    }
    int top = columns->top_logprobs;
    if (top > 0) {
        hsize_t chunk = (hsize_t)(CHUNK_TOKENS / top);
        TRY(output_number_create(writer->file, OUTPUT_TOP_IDS_PATH, H5T_NATIVE_INT32,
                                 H5T_NATIVE_INT32, chunk, top, &writer->top_ids));
        TRY(output_number_create(writer->file, OUTPUT_TOP_VALUES_PATH, H5T_NATIVE_FLOAT,
                                 H5T_NATIVE_FLOAT, chunk, top, &writer->top_values));
    }
    int width = columns->embedding_width;
    if (width > 0) {
        hsize_t chunk = width < CHUNK_TOKENS ? (hsize_t)(CHUNK_TOKENS / width) : 1;
        TRY(output_number_create(writer->file, OUTPUT_EMBEDDING_PATH, H5T_NATIVE_FLOAT,
                                 H5T_NATIVE_FLOAT, chunk, width, &writer->embedding));
    }
    return STATUS_OK;
}

static status create_groups(struct output_writer *writer)
{
    static const char *const groups[] = {"/results", "/passthrough", "/metrics",
                                         OUTPUT_TIMELINE_PATH};
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        hid_t group = H5Gcreate2(writer->file, groups[i], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (group < 0) {
            return hdf5_fail(STATUS_IO, "%s: cannot be created", groups[i]);
        }
        H5Gclose(group);
    }
    return STATUS_OK;
}

static status check_free(const struct output_writer *writer)
{
    struct stat info;
    if (lstat(writer->path.data, &info) != 0) {
        return errno == ENOENT ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", writer->path.data);
    }
    if (S_ISDIR(info.st_mode)) {
        return status_fail(STATUS_EXISTS, "%s: is a folder", writer->path.data);
    }
    if (!writer->overwrite) {
        return status_fail(STATUS_EXISTS, "%s: exists; set output.overwrite or choose another path",
                           writer->path.data);
    }
    return STATUS_OK;
}

static status open_partial(struct output_writer *writer)
{
    const char *path = writer->partial.data;
    writer->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (writer->fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    /* A file that a crash left behind is written over; one that is being written, or that its
     * writer has just renamed, is not. */
    struct stat opened = {0}, named = {0};
    bool busy = flock(writer->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    bool seen = fstat(writer->fd, &opened) == 0 && (stat(path, &named) == 0 || errno == ENOENT);
    if (busy || !seen || opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
        status s = seen
                       ? status_fail(STATUS_EXISTS, "%s: is being written by another process", path)
                       : status_fail_errno(STATUS_IO, "%s", path);
        close(writer->fd);
        writer->fd = -1;
        return s;
    }
    hid_t access = hdf5_file_access();
    if (access >= 0) {
        writer->file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
        H5Pclose(access);
    }
    return writer->file >= 0 ? STATUS_OK : hdf5_fail(STATUS_IO, "%s: cannot be created", path);
}

static status write_attribute(struct output_writer *writer, const char *name, hid_t type,
                              const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    htri_t there = H5Aexists(writer->file, name);
    hid_t attribute = H5I_BADID;
    if (space >= 0 && there >= 0 && (there == 0 || H5Adelete(writer->file, name) >= 0)) {
        attribute = H5Acreate2(writer->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    }
    status s = STATUS_OK;
    if (attribute < 0 || H5Awrite(attribute, type, value) < 0) {
        s = hdf5_fail(STATUS_IO, "%s: attribute %s cannot be written", writer->partial.data, name);
    }
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    writer->failed |= s != STATUS_OK;
    return s;
}

static status open_all(struct output_writer *writer, const char *path)
{
    TRY(buffer_append_text(&writer->path, path));
    TRY(buffer_format(&writer->partial, "%s.partial", path));
    TRY(check_free(writer));
    TRY(open_partial(writer));
    writer->string_type = hdf5_string_type();
    if (writer->string_type < 0) {
        return hdf5_fail(STATUS_NO_MEMORY, "%s: no types", path);
    }
    TRY(create_groups(writer));
    TRY(create_columns(writer));
    const int version =
        writer->columns.packed_texts ? OUTPUT_VERSION_PACKED : OUTPUT_VERSION_VARIABLE;
    TRY(write_attribute(writer, "format_version", H5T_NATIVE_INT, &version));
    char created[21];
    clock_timestamp(created);
    const struct output_attribute attributes[] = {{"sluice_version", SLUICE_VERSION, 0},
                                                  {"created", created, 0}};
    return output_write_attributes(writer, attributes, COUNT_OF(attributes));
}

status output_create(const char *path, bool overwrite, const struct output_columns *columns,
                     struct output_writer **out)
{
    *out = NULL;
    hdf5_silence();
    if (columns->top_logprobs < 0 || columns->top_logprobs > SAMPLING_MAX_LOGPROBS) {
        return status_fail(STATUS_INTERNAL, "%d columns of top log-probabilities",
                           columns->top_logprobs);
    }
    struct output_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for writing", path);
    }
    writer->overwrite = overwrite;
    writer->columns = *columns;
    writer->fd = -1;
    writer->file = writer->string_type = -1;
    status s = open_all(writer, path);
    if (s != STATUS_OK) {
        output_abandon(writer);
        return s;
    }
    *out = writer;
    return STATUS_OK;
}

/* ---- Results ------------------------------------------------------------------------------------
 */

static status flush_batch(struct output_writer *writer)
{
    struct number_column *flat[] = {&writer->offsets, &writer->tokens,     &writer->logprobs,
                                    &writer->top_ids, &writer->top_values, &writer->embedding};
    for (int i = 0; i < NUMBER_COUNT; i++) {
        TRY(output_number_flush(&writer->numbers[i]));
    }
    for (int i = 0; i < TEXT_COUNT; i++) {
        TRY(output_text_flush(&writer->texts[i]));
    }
    for (size_t i = 0; i < COUNT_OF(flat); i++) {
        TRY(output_number_flush(flat[i]));
    }
    writer->batch_rows = 0;
    return STATUS_OK;
}

static size_t batch_bytes(const struct output_writer *writer)
{
    size_t bytes = writer->tokens.batch.length + writer->logprobs.batch.length +
                   writer->top_ids.batch.length + writer->top_values.batch.length +
                   writer->embedding.batch.length;
    for (int i = 0; i < TEXT_COUNT; i++) {
        bytes += output_text_pending(&writer->texts[i]);
    }
    return bytes;
}

static status put_text(struct output_writer *writer, enum output_text which, const char *text,
                       size_t length)
{
    return output_text_append(&writer->texts[which], text, length);
}

static status put_number(struct output_writer *writer, enum output_number which, const void *value)
{
    struct number_column *column = &writer->numbers[which];
    if (column->dataset <= 0) {
        return STATUS_OK;
    }
    return buffer_append(&column->batch, value, column->item_bytes);
}

/* One row of the top columns for each token; what a result does not have is -1 and NaN, what it has
 * too much is left out: the most likely ones stand first. */
static status append_top(struct output_writer *writer, const struct result *result)
{
    const int32_t no_id = -1;
    const float no_value = NAN;
    int have = result->top_ids != NULL && result->top_values != NULL ? result->top_logprobs : 0;
    for (int32_t token = 0; token < result->completion_tokens; token++) {
        for (int i = 0; i < writer->columns.top_logprobs; i++) {
            size_t at = (size_t)token * (size_t)have + (size_t)i;
            TRY(buffer_append(&writer->top_ids.batch, i < have ? &result->top_ids[at] : &no_id,
                              sizeof no_id));
            TRY(buffer_append(&writer->top_values.batch,
                              i < have ? &result->top_values[at] : &no_value, sizeof no_value));
        }
    }
    return STATUS_OK;
}

static status note_tokens(struct output_writer *writer, const struct result *result)
{
    size_t tokens = (size_t)result->completion_tokens;
    if (writer->columns.token_ids && result->token_ids != NULL) {
        TRY(token_set_add(&writer->token_set, result->token_ids, tokens));
    }
    return writer->columns.top_logprobs > 0 && result->top_ids != NULL
               ? token_set_add(&writer->token_set, result->top_ids,
                               tokens * (size_t)result->top_logprobs)
               : STATUS_OK;
}

/* The flat columns have as many tokens of a result as completion_tokens says, whatever it has. */
static status append_flat(struct output_writer *writer, const struct result *result)
{
    const int32_t no_id = -1;
    const float no_value = NAN;
    if (writer->offsets.dataset <= 0) {
        return STATUS_OK;
    }
    TRY(note_tokens(writer, result));
    writer->token_total += result->completion_tokens;
    TRY(buffer_append(&writer->offsets.batch, &writer->token_total, sizeof writer->token_total));
    for (int32_t i = 0; writer->columns.token_ids && i < result->completion_tokens; i++) {
        TRY(buffer_append(&writer->tokens.batch,
                          result->token_ids != NULL ? &result->token_ids[i] : &no_id,
                          sizeof no_id));
    }
    for (int32_t i = 0; writer->columns.logprobs && i < result->completion_tokens; i++) {
        TRY(buffer_append(&writer->logprobs.batch,
                          result->logprobs != NULL ? &result->logprobs[i] : &no_value,
                          sizeof no_value));
    }
    return writer->columns.top_logprobs > 0 ? append_top(writer, result) : STATUS_OK;
}

/* Natural logarithms of the probability of all tokens together and of a token on average; NaN where
 * there are none. Added in float64 in the tokens' order. */
static status append_scores(struct output_writer *writer, const struct result *result)
{
    if (!writer->columns.scores) {
        return STATUS_OK;
    }
    bool scored = result->logprobs != NULL && result->completion_tokens > 0;
    double sum = scored ? 0 : NAN;
    for (int32_t i = 0; scored && i < result->completion_tokens; i++) {
        sum += (double)result->logprobs[i];
    }
    const double mean = scored ? sum / result->completion_tokens : NAN;
    TRY(put_number(writer, NUMBER_LOGPROB_SUM, &sum));
    return put_number(writer, NUMBER_LOGPROB_MEAN, &mean);
}

/* A row without one, such as an error row, is NaN throughout. */
static status append_embedding(struct output_writer *writer, const struct result *result)
{
    const float no_value = NAN;
    int width = writer->columns.embedding_width;
    bool here = result->embedding != NULL && result->embedding_width == width;
    if (result->embedding != NULL && !here) {
        return status_fail(STATUS_INTERNAL, "an embedding of %d values where there are %d",
                           result->embedding_width, width);
    }
    if (here) {
        return buffer_append(&writer->embedding.batch, result->embedding,
                             (size_t)width * sizeof *result->embedding);
    }
    for (int i = 0; i < width; i++) {
        TRY(buffer_append(&writer->embedding.batch, &no_value, sizeof no_value));
    }
    return STATUS_OK;
}

/* Rows come in order, and so do the files that they are of. */
static status append_file(struct output_writer *writer, const struct result *result)
{
    const struct output_columns *columns = &writer->columns;
    if (!tells_files_apart(columns)) {
        return STATUS_OK;
    }
    if (writer->input_end == 0) {
        writer->input_end = columns->file_rows[0];
    }
    while (result->row >= writer->input_end && writer->input + 1 < columns->files->count) {
        writer->input_end += columns->file_rows[++writer->input];
    }
    const int32_t file = (int32_t)writer->input;
    return put_number(writer, NUMBER_FILE, &file);
}

static status append_result(struct output_writer *writer, const struct result *result)
{
    int8_t finish = (int8_t)result->finish_reason, endpoint = (int8_t)result->endpoint;
    int8_t id_is_number = result->id_is_number;
    int32_t status_code = result_status_code(result);
    TRY(put_number(writer, NUMBER_ROW, &result->row));
    TRY(put_number(writer, NUMBER_SAMPLE, &result->sample));
    TRY(put_number(writer, NUMBER_FINISH_REASON, &finish));
    TRY(put_number(writer, NUMBER_PROMPT_TOKENS, &result->prompt_tokens));
    TRY(put_number(writer, NUMBER_COMPLETION_TOKENS, &result->completion_tokens));
    TRY(put_number(writer, NUMBER_SECONDS, &result->seconds));
    TRY(put_number(writer, NUMBER_RANK, &result->rank));
    TRY(put_number(writer, NUMBER_ENDPOINT, &endpoint));
    TRY(put_number(writer, NUMBER_STATUS_CODE, &status_code));
    TRY(put_number(writer, NUMBER_ID_IS_NUMBER, &id_is_number));
    TRY(put_text(writer, TEXT_ID, result->id, result->id_length));
    TRY(put_text(writer, TEXT_PROMPT, result->prompt, result->prompt_length));
    TRY(put_text(writer, TEXT_TEXT, result->text, result->text_length));
    TRY(put_text(writer, TEXT_ERROR, result->error, result->error_length));
    TRY(put_text(writer, TEXT_PASSTHROUGH, result->passthrough, result->passthrough_length));
    TRY(put_text(writer, TEXT_ARITHMETIC, result->arithmetic, result->arithmetic_length));
    TRY(append_file(writer, result));
    TRY(append_scores(writer, result));
    TRY(append_flat(writer, result));
    TRY(append_embedding(writer, result));
    writer->batch_rows++;
    return writer->batch_rows == OUTPUT_BATCH_ROWS || batch_bytes(writer) >= BATCH_BYTES
               ? flush_batch(writer)
               : STATUS_OK;
}

status output_append(struct output_writer *writer, const struct result *result)
{
    if (writer->failed) {
        return status_fail(STATUS_IO, "%s: an earlier write failed", writer->partial.data);
    }
    if (result->completion_tokens < 0 || (unsigned)result->finish_reason > FINISH_ERROR ||
        (unsigned)result->endpoint > ENDPOINT_EMBEDDINGS) {
        return status_fail(STATUS_INTERNAL, "%s: a result that makes no sense",
                           writer->partial.data);
    }
    status s = append_result(writer, result);
    writer->failed = s != STATUS_OK;
    return status_context(s, "%s", writer->partial.data);
}

/* ---- Metrics and attributes ---------------------------------------------------------------------
 */

/* What became of a part of the file: a failure is the writer's. */
static status note_part(struct output_writer *writer, status s)
{
    writer->failed |= s != STATUS_OK;
    return status_context(s, "%s", writer->partial.data);
}

status output_write_vocabulary(struct output_writer *writer,
                               status (*get)(const void *context, int32_t id, struct buffer *out),
                               const void *context)
{
    if (writer->offsets.dataset <= 0) {
        return STATUS_OK;
    }
    return note_part(writer, vocabulary_write(writer->file, &writer->token_set, get, context));
}

status output_write_ranks(struct output_writer *writer, const struct rank_metrics *ranks,
                          size_t count)
{
    return note_part(writer, metrics_write_ranks(writer->file, ranks, count));
}

status output_write_timeline(struct output_writer *writer, const struct timeline_point *points,
                             size_t count)
{
    return note_part(writer, metrics_write_timeline(writer->file, points, count));
}

status output_write_inputs(struct output_writer *writer)
{
    const struct output_columns *columns = &writer->columns;
    if (columns->files == NULL) {
        return STATUS_OK;
    }
    status s =
        output_inputs_write(writer->file, writer->string_type, columns->files, columns->file_rows);
    writer->failed |= s != STATUS_OK;
    return status_context(s, "%s", writer->partial.data);
}

status output_write_attributes(struct output_writer *writer,
                               const struct output_attribute *attributes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct output_attribute *attribute = &attributes[i];
        if (strcmp(attribute->name, "format_version") == 0) {
            return status_fail(STATUS_INTERNAL, "format_version is the writer's own attribute");
        }
        TRY(attribute->text != NULL
                ? write_attribute(writer, attribute->name, writer->string_type, &attribute->text)
                : write_attribute(writer, attribute->name, H5T_NATIVE_DOUBLE, &attribute->number));
    }
    return STATUS_OK;
}

/* ---- The end ------------------------------------------------------------------------------------
 */

/* Closes everything in HDF5; what was not yet on disk is written here, which may fail. */
static herr_t close_file(struct output_writer *writer)
{
    if (writer->string_type >= 0) {
        H5Tclose(writer->string_type);
    }
    for (int i = 0; i < NUMBER_COUNT; i++) {
        if (writer->enum_types[i] > 0) {
            H5Tclose(writer->enum_types[i]);
        }
        writer->enum_types[i] = 0;
    }
    /* The strong close degree closes the datasets with the file. */
    herr_t closed = writer->file >= 0 ? H5Fclose(writer->file) : 0;
    writer->file = writer->string_type = -1;
    return closed;
}

static void writer_destroy(struct output_writer *writer)
{
    struct number_column *flat[] = {&writer->offsets, &writer->tokens,     &writer->logprobs,
                                    &writer->top_ids, &writer->top_values, &writer->embedding};
    for (int i = 0; i < NUMBER_COUNT; i++) {
        buffer_destroy(&writer->numbers[i].batch);
    }
    for (size_t i = 0; i < COUNT_OF(flat); i++) {
        buffer_destroy(&flat[i]->batch);
    }
    for (int i = 0; i < TEXT_COUNT; i++) {
        output_text_destroy(&writer->texts[i]);
    }
    token_set_destroy(&writer->token_set);
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    buffer_destroy(&writer->path);
    buffer_destroy(&writer->partial);
    free(writer);
}

/* Gives the finished file its name, without taking the place of another one that is not to be
 * overwritten. */
static status take_name(struct output_writer *writer)
{
    const char *from = writer->partial.data;
    const char *to = writer->path.data;
    if (!writer->overwrite) {
        if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
            return STATUS_OK;
        }
        if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP && errno != EEXIST) {
            return status_fail_errno(STATUS_IO, "%s", to);
        }
        TRY(check_free(writer)); /* a file system without the flag: as well as can be */
    }
    return rename(from, to) == 0 ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", to);
}

static status finish(struct output_writer *writer)
{
    const char *partial = writer->partial.data;
    if (writer->failed) {
        return status_fail(STATUS_IO, "%s: an earlier write failed", partial);
    }
    TRY(status_context(flush_batch(writer), "%s", partial));
    if (H5Fflush(writer->file, H5F_SCOPE_GLOBAL) < 0) {
        return hdf5_fail(STATUS_IO, "%s: cannot be written", partial);
    }
    if (close_file(writer) < 0) {
        return hdf5_fail(STATUS_IO, "%s: cannot be closed", partial);
    }
    if (fsync(writer->fd) != 0) {
        return status_fail_errno(STATUS_IO, "%s", partial);
    }
    TRY(take_name(writer));
    return durable_sync_parent(writer->path.data);
}

status output_finish(struct output_writer *writer)
{
    status s = finish(writer);
    if (s != STATUS_OK) {
        output_abandon(writer);
        return s;
    }
    writer_destroy(writer);
    return STATUS_OK;
}

void output_abandon(struct output_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    close_file(writer); /* the message of what went wrong stays */
    H5Eclear2(H5E_DEFAULT);
    if (writer->fd >= 0) { /* else the partial file is another process's */
        unlink(writer->partial.data);
    }
    writer_destroy(writer);
}
