/* SPDX-License-Identifier: Apache-2.0 */
/* The table of result columns, in the order of a JSON line's members, and what follows from a row
 * of it. */
#include "data/output/columns.h"

#include <math.h>
#include <string.h>

/* ---- The table ---- */

static const char *finish_value_name(int value)
{
    return finish_reason_name((enum finish_reason)value);
}

static const char *endpoint_value_name(int value)
{
    return endpoint_name((enum endpoint)value);
}

/* As h5py writes and reads numpy's booleans. */
static const char *truth_name(int value)
{
    return value != 0 ? "TRUE" : "FALSE";
}

/* Yes, no, or a question that does not arise. */
static const char *valid_name(int value)
{
    static const char *const names[] = {
        [VALID_NONE] = "none", [VALID_FALSE] = "false", [VALID_TRUE] = "true"};
    return names[value];
}

const struct flat_shape flat_shapes[COLUMN_SHAPES] = {
    [PER_TOKEN] = {offsetof(struct stored_result, result.completion_tokens), "completion_tokens",
                   "/results/token_offsets"},
};

/* clang-format off */
#define STORED(name) \
    .member = offsetof(struct stored_result, name), \
    .member_bytes = sizeof(((struct stored_result *)NULL)->name)
#define MEMBER(name) STORED(result.name)
#define TEXT(name) \
    .kind = COLUMN_TEXT, MEMBER(name), \
    .length = offsetof(struct stored_result, result.name##_length)
#define NAMES(name, of, largest) \
    .kind = COLUMN_NAME, MEMBER(name), .value_name = (of), .last = (largest)
#define WIDTH(name, most, called) \
    .width = offsetof(struct stored_result, result.name), .widest = (most), .width_name = (called)
#define WHEN(name) .when = 1 + offsetof(struct output_columns, name)
#define HEAD .travel = TRAVEL_HEAD
#define PART(number) .travel = TRAVEL_PART, .bit = (number)
#define REQUIRED .is_required = true
/* Of a name that lines have had from the beginning. */
#define IN_LINES(how) .json = JSON_##how, .has_name = true

const struct result_column result_columns[] = {
    {"id", "/results/id", TEXT(id), HEAD, REQUIRED, IN_LINES(ID)},
    {"row", OUTPUT_ROWS_PATH, COLUMN_INT64, MEMBER(row), HEAD, REQUIRED, IN_LINES(THERE)},
    {"sample", "/results/sample", COLUMN_INT32, MEMBER(sample), HEAD, REQUIRED, IN_LINES(THERE)},
    {"file", OUTPUT_FILES_PATH, COLUMN_INT32, STORED(file), WHEN(several_files)},
    {"file", NULL, TEXT(file), .json = JSON_THERE},
    {"arithmetic", "/results/arithmetic", TEXT(arithmetic), WHEN(arithmetic),
     PART(1024), .length_bytes = 1, .json = JSON_THERE},
    {"prompt", "/results/prompt", TEXT(prompt), WHEN(prompt), HEAD, .bit = 1, IN_LINES(THERE)},
    {"text", "/results/text", TEXT(text), HEAD, REQUIRED, IN_LINES(ALWAYS)},
    {"reasoning", "/results/reasoning", TEXT(reasoning), WHEN(reasoning),
     PART(2048), .length_bytes = 4, .json = JSON_THERE},
    {"tool_calls", "/results/tool_calls", TEXT(tool_calls), WHEN(tool_calls),
     PART(4096), .length_bytes = 4, .json = JSON_VALUE},
    {"valid", "/results/valid", NAMES(valid, valid_name, VALID_TRUE), WHEN(valid),
     PART(8192), .json = JSON_TRUTH, .is_choice = true},
    {"finish_reason", "/results/finish_reason",
     NAMES(finish_reason, finish_value_name, FINISH_ERROR),
     HEAD, REQUIRED, IN_LINES(THERE), .is_choice = true},
    {"prompt_tokens", "/results/prompt_tokens", COLUMN_INT32, MEMBER(prompt_tokens),
     HEAD, REQUIRED, IN_LINES(THERE)},
    {"completion_tokens", "/results/completion_tokens", COLUMN_INT32, MEMBER(completion_tokens),
     HEAD, REQUIRED, IN_LINES(THERE)},
    {"error", "/results/error", TEXT(error), HEAD, REQUIRED, IN_LINES(FILLED)},
    {"embedding", "/results/embedding", COLUMN_FLOATS, PER_RESULT, MEMBER(embedding),
     WIDTH(embedding_width, 1 << 20, "hidden"), WHEN(embedding_width), PART(16), IN_LINES(THERE)},
    {"label", "/results/label", TEXT(label), WHEN(label),
     PART(0x10000), .length_bytes = 4, .json = JSON_THERE},
    {"score", "/results/score", COLUMN_DOUBLE, MEMBER(score), WHEN(score), .json = JSON_THERE},
    {"scores", "/results/scores", COLUMN_FLOATS, PER_RESULT, MEMBER(label_scores),
     WIDTH(labels, 1 << 20, "labels"), WHEN(labels), PART(0x20000), .json = JSON_THERE},
    {"logprob_sum", "/results/logprob_sum", COLUMN_DOUBLE, MEMBER(logprob_sum),
     WHEN(scores), IN_LINES(THERE)},
    {"logprob_mean", "/results/logprob_mean", COLUMN_DOUBLE, MEMBER(logprob_mean),
     WHEN(scores), IN_LINES(THERE)},
    {"is_greedy", "/results/is_greedy", NAMES(is_greedy, valid_name, VALID_TRUE), WHEN(scores),
     PART(0x40000), .json = JSON_TRUTH},
    {"bytes", "/results/bytes", COLUMN_INT64, MEMBER(bytes), WHEN(scores), .json = JSON_THERE},
    {"bits_per_byte", "/results/bits_per_byte", COLUMN_DOUBLE, MEMBER(bits_per_byte),
     WHEN(scores), .json = JSON_THERE},
    {"token_ids", "/results/token_ids", COLUMN_TOKEN_IDS, PER_TOKEN, MEMBER(token_ids),
     WHEN(token_ids), .is_empty_list = true, PART(2), IN_LINES(THERE), .is_choice = true},
    {"logprobs", "/results/logprobs", COLUMN_FLOATS, PER_TOKEN, MEMBER(logprobs),
     WHEN(logprobs), PART(4), IN_LINES(THERE)},
    {"top_logprob_ids", "/results/top_logprob_ids", COLUMN_TOKEN_IDS, PER_TOKEN, MEMBER(top_ids),
     WIDTH(top_logprobs, SAMPLING_MAX_LOGPROBS, "k"), WHEN(top_logprobs), PART(8),
     IN_LINES(THERE)},
    {"top_logprob_values", "/results/top_logprob_values", COLUMN_FLOATS, PER_TOKEN,
     MEMBER(top_values), WIDTH(top_logprobs, SAMPLING_MAX_LOGPROBS, "k"), WHEN(top_logprobs),
     PART(8), IN_LINES(THERE)},
    {"seconds", "/results/seconds", COLUMN_DOUBLE, MEMBER(seconds), HEAD, REQUIRED},
    {"rank", "/results/rank", COLUMN_INT32, MEMBER(rank), HEAD, REQUIRED},
    {"endpoint", "/results/endpoint", NAMES(endpoint, endpoint_value_name, ENDPOINT_EMBEDDINGS),
     PART(128)},
    {"status_code", "/results/status_code", COLUMN_INT32, STORED(status_code)},
    {"id_is_number", "/results/id_is_number", NAMES(id_is_number, truth_name, 1),
     WHEN(id_is_number), PART(32)},
    {"is_fault", NULL, NAMES(is_fault, truth_name, 1), PART(64)},
    {"copied", NULL, COLUMN_INT64, MEMBER(copied), WHEN(copied_from), PART(32768)},
    {"copied_from", "/results/copied_from", COLUMN_INT64, STORED(copied_from), WHEN(copied_from)},
    {"stream", NULL, COLUMN_INT64, MEMBER(stream), PART(512)},
    {"passthrough", "/passthrough/json", TEXT(passthrough), HEAD, REQUIRED},
};
/* clang-format on */

const size_t result_column_count = COUNT_OF(result_columns);
_Static_assert(COUNT_OF(result_columns) <= RESULT_COLUMNS_MOST, "RESULT_COLUMNS_MOST");

/* ---- Members ---- */

const void *column_member(const struct result_column *column, const struct stored_result *result)
{
    return (const char *)result + column->member;
}

void *column_member_of(const struct result_column *column, struct stored_result *result)
{
    return (char *)result + column->member;
}

const void *column_pointer(const struct result_column *column, const struct stored_result *result)
{
    const void *pointer;
    memcpy(&pointer, column_member(column, result), sizeof pointer);
    return pointer;
}

size_t column_text_length(const struct result_column *column, const struct stored_result *result)
{
    return *(const size_t *)((const char *)result + column->length);
}

int column_name_value(const struct result_column *column, const struct stored_result *result)
{
    const void *member = column_member(column, result);
    return column->member_bytes == sizeof(bool) ? *(const bool *)member : *(const int *)member;
}

void column_set_name(const struct result_column *column, int value, struct stored_result *result)
{
    void *member = column_member_of(column, result);
    if (column->member_bytes == sizeof(bool)) {
        *(bool *)member = value != 0;
    } else {
        *(int *)member = value;
    }
}

static int32_t count_at(const struct stored_result *result, size_t place)
{
    return *(const int32_t *)((const char *)result + place);
}

int32_t flat_shape_count(enum column_shape shape, const struct stored_result *result)
{
    return count_at(result, flat_shapes[shape].count);
}

size_t column_items(const struct result_column *column, const struct stored_result *result)
{
    return column->shape == PER_RESULT ? 1 : (size_t)flat_shape_count(column->shape, result);
}

int32_t column_width(const struct result_column *column, const struct stored_result *result)
{
    return column->width == 0 ? 1 : count_at(result, column->width);
}

void column_set_width(const struct result_column *column, int32_t width,
                      struct stored_result *result)
{
    if (column->width != 0) {
        *(int32_t *)(void *)((char *)result + column->width) = width;
    }
}

void column_set_pointer(const struct result_column *column, const void *pointer,
                        struct stored_result *result)
{
    memcpy(column_member_of(column, result), &pointer, sizeof pointer);
}

void column_set_text(const struct result_column *column, const char *text, size_t length,
                     struct stored_result *result)
{
    column_set_pointer(column, text, result);
    *(size_t *)(void *)((char *)result + column->length) = length;
}

bool column_is_array(const struct result_column *column)
{
    return column->kind == COLUMN_TOKEN_IDS || column->kind == COLUMN_FLOATS;
}

bool column_leads(const struct result_column *column)
{
    return column == result_columns || column->bit == 0 || column[-1].bit != column->bit;
}

const struct result_column *column_leader(const struct result_column *column)
{
    while (!column_leads(column)) {
        column--;
    }
    return column;
}

bool column_is_fill(const struct result_column *column, const void *value)
{
    return column->kind == COLUMN_TOKEN_IDS ? *(const int32_t *)value < 0
                                            : isnan(*(const float *)value);
}

bool column_is_there(const struct result_column *column, const struct stored_result *result)
{
    if (column->kind == COLUMN_DOUBLE) {
        return isfinite(*(const double *)column_member(column, result));
    }
    /* A length of what was scored: a result without it says nothing, rather than 0. */
    if (column->kind == COLUMN_INT64 && column->when != 0 && column->json == JSON_THERE) {
        return *(const int64_t *)column_member(column, result) > 0;
    }
    if (column->json == JSON_TRUTH) {
        return column_name_value(column, result) != VALID_NONE;
    }
    if (column->kind != COLUMN_TEXT && !column_is_array(column)) {
        return true;
    }
    if (column->kind == COLUMN_TEXT && column->travel == TRAVEL_PART) {
        return column_text_length(column, result) > 0; /* in files, none is an empty one */
    }
    const struct result_column *end = result_columns + result_column_count;
    const struct result_column *mate = column_leader(column);
    do {
        bool is_narrow = mate->shape != PER_RESULT && column_width(mate, result) < 1;
        if (column_pointer(mate, result) == NULL || is_narrow) {
            return false;
        }
        mate++;
    } while (mate < end && !column_leads(mate));
    return true;
}

bool result_columns_sane(const struct stored_result *result)
{
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column->kind == COLUMN_NAME &&
            (unsigned)column_name_value(column, result) > (unsigned)column->last) {
            return false;
        }
    }
    for (int shape = PER_RESULT + 1; shape < COLUMN_SHAPES; shape++) {
        if (flat_shape_count((enum column_shape)shape, result) < 0) {
            return false;
        }
    }
    return true;
}

/* ---- Files ---- */

void *column_when(const struct result_column *column, struct output_columns *columns)
{
    return column->when == 0 ? NULL : (char *)columns + (column->when - 1);
}

int32_t column_file_width(const struct result_column *column, const struct output_columns *columns)
{
    if (column->path == NULL) {
        return 0;
    }
    if (column->when == 0) {
        return 1;
    }
    const char *when = (const char *)columns + (column->when - 1);
    return column->width == 0 ? *(const bool *)when : *(const int32_t *)when;
}

bool output_columns_same(const struct output_columns *a, const struct output_columns *b)
{
    for (size_t i = 0; i < result_column_count; i++) {
        if (column_file_width(&result_columns[i], a) != column_file_width(&result_columns[i], b)) {
            return false;
        }
    }
    return a->packed_texts == b->packed_texts;
}

hid_t column_memory_type(const struct result_column *column)
{
    switch (column->kind) {
    case COLUMN_INT32:
    case COLUMN_TOKEN_IDS:
        return H5T_NATIVE_INT32;
    case COLUMN_INT64:
        return H5T_NATIVE_INT64;
    case COLUMN_DOUBLE:
        return H5T_NATIVE_DOUBLE;
    case COLUMN_NAME:
        return H5T_NATIVE_INT8;
    case COLUMN_FLOATS:
        return H5T_NATIVE_FLOAT;
    case COLUMN_TEXT:
        break;
    }
    return H5I_BADID;
}

hid_t column_enum_type(const struct result_column *column)
{
    hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
    for (int i = 0; type >= 0 && i <= column->last; i++) {
        const int8_t value = (int8_t)i;
        if (H5Tenum_insert(type, column->value_name(i), &value) < 0) {
            H5Tclose(type);
            type = -1;
        }
    }
    return type;
}

status column_describe_type(const struct result_column *column, struct buffer *out)
{
    static const char *const names[] = {
        [COLUMN_INT32] = "int32",         [COLUMN_INT64] = "int64", [COLUMN_DOUBLE] = "float64",
        [COLUMN_NAME] = "enum over int8", [COLUMN_TEXT] = "string", [COLUMN_TOKEN_IDS] = "int32",
        [COLUMN_FLOATS] = "float32",
    };
    TRY(buffer_append_text(out, names[column->kind]));
    if (column->member_bytes == sizeof(bool)) {
        return buffer_append_text(out, ", a boolean for h5py");
    }
    if (!column_is_array(column)) {
        return STATUS_OK;
    }
    TRY(buffer_append_text(out, column->shape == PER_RESULT ? " [results" : " [tokens"));
    if (column->width != 0) {
        TRY(buffer_format(out, ", %s", column->width_name));
    }
    return buffer_append_byte(out, ']');
}
