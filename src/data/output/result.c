/* SPDX-License-Identifier: Apache-2.0 */
/* Results in messages and in the journal: a head, then the parts that columns.c lists, then texts.
 * docs/journal-format.md describes the bytes. */
#include <string.h>

#include "data/journal/little_endian.h"
#include "data/output/columns.h"
#include "data/output/result.h"

/* Offsets of the head. */
enum {
    AT_SIZE = 0, /* of everything, uint32 */
    AT_VERSION = 4,
    AT_FINISH = 5,
    AT_PARTS = 6, /* uint16, bits below */
    AT_ROW = 8,
    AT_SAMPLE = 16,
    AT_RANK = 20,
    AT_PROMPT_TOKENS = 24,
    AT_COMPLETION_TOKENS = 28,
    AT_TOP_LOGPROBS = 32, /* of form 3 a uint16 */
    AT_MORE_PARTS = 34,   /* of form 3: uint16, the bits above those of AT_PARTS */
    AT_LENGTHS = 36,      /* of the texts of the head: five uint32 */
    AT_SECONDS = 56,      /* IEEE double */
    HEAD_BYTES = 64,
};

/* Form 1 has neither endpoint nor fault; it is read, so that a job that an earlier version began
 * can go on. Form 3 has more bits for parts, and is only written where one of them is set. */
enum {
    FORM_VERSION = 3,
    OLDEST_VERSION = 1,
    TEXT_COUNT = 5,
    ALL_PARTS_OF_FORM_1 = 63,
    MORE_PARTS_SHIFT = 16,
};

/* The width that the head has; another one stands before the values of its part. */
#define HEAD_WIDTH offsetof(struct stored_result, result.top_logprobs)

static const char bad_head[] = "a result whose head makes no sense";
static const char bad_lengths[] = "a result whose lengths do not add up";

static bool head_is_sane(const struct stored_result *stored)
{
    const struct result *result = &stored->result;
    return result_columns_sane(stored) && result->row >= 0 && result->sample >= 0 &&
           result->prompt_tokens >= 0 && result->top_logprobs >= 0 &&
           result->top_logprobs <= SAMPLING_MAX_LOGPROBS;
}

const char *endpoint_name(enum endpoint endpoint)
{
    static const char *const names[] = {[ENDPOINT_NONE] = "none",
                                        [ENDPOINT_CHAT] = "chat",
                                        [ENDPOINT_COMPLETIONS] = "completions",
                                        [ENDPOINT_EMBEDDINGS] = "embeddings"};
    return (unsigned)endpoint < COUNT_OF(names) ? names[endpoint] : "unknown";
}

int result_status_code(const struct result *result)
{
    return result->finish_reason != FINISH_ERROR ? 200 : result->is_fault ? 500 : 400;
}

/* ---- Parts ---- */

/* The bits that a column takes: one, or as many as its names need. */
static unsigned column_bits(const struct result_column *column)
{
    unsigned bits = 1;
    while (column->kind == COLUMN_NAME && bits < (unsigned)column->last) {
        bits = bits << 1 | 1;
    }
    return bits * column->bit;
}

static unsigned all_bits(void)
{
    unsigned bits = 0;
    for (size_t i = 0; i < result_column_count; i++) {
        bits |= column_bits(&result_columns[i]);
    }
    return bits;
}

/* The bits of what has the head's width. */
static unsigned bits_of_head_width(void)
{
    unsigned bits = 0;
    for (size_t i = 0; i < result_column_count; i++) {
        bits |= result_columns[i].width == HEAD_WIDTH ? result_columns[i].bit : 0;
    }
    return bits;
}

/* A number need not travel where it is 0. */
static bool needs_bit(const struct result_column *column, const struct stored_result *stored)
{
    static const char zeros[sizeof(int64_t)] = {0};
    return column->kind == COLUMN_TEXT || column_is_array(column)
               ? column_is_there(column, stored)
               : memcmp(column_member(column, stored), zeros, column->member_bytes) != 0;
}

static unsigned result_parts(const struct stored_result *stored)
{
    unsigned parts = 0;
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column->kind == COLUMN_NAME) {
            parts |= (unsigned)column_name_value(column, stored) * column->bit;
        } else if (column->bit != 0 && needs_bit(column, stored)) {
            parts |= column->bit;
        }
    }
    return parts;
}

/* Goes through the columns that stand behind the head in a result of these parts: by their bits,
 * those of one bit in the table's order. Begin with bit 1 and index 0; NULL past the last. */
static const struct result_column *next_part(unsigned parts, unsigned *bit, size_t *index)
{
    for (; *bit != 0; *bit <<= 1, *index = 0) {
        while ((parts & *bit) != 0 && *index < result_column_count) {
            const struct result_column *column = &result_columns[(*index)++];
            if (column->travel == TRAVEL_PART && column->bit == *bit &&
                column->kind != COLUMN_NAME) {
                return column;
            }
        }
    }
    return NULL;
}

static bool has_own_width(const struct result_column *column)
{
    return column->width != 0 && column->width != HEAD_WIDTH && column_leads(column);
}

static bool is_head_text(const struct result_column *column)
{
    return column->kind == COLUMN_TEXT && column->travel == TRAVEL_HEAD;
}

/* ---- Encoding ---- */

/* Where bytes go; without a place they are only counted. */
struct sink {
    char *next;
    uint64_t size;
};

static void put_number(struct sink *sink, uint64_t value, size_t bytes)
{
    if (sink->next != NULL) {
        little_endian_put(sink->next, value, bytes);
        sink->next += bytes;
    }
    sink->size += bytes;
}

/* With a NUL behind it. */
static void put_text(struct sink *sink, const char *text, size_t length)
{
    if (sink->next != NULL) {
        if (length > 0) {
            memcpy(sink->next, text, length);
        }
        sink->next[length] = '\0';
        sink->next += length + 1;
    }
    sink->size += (uint64_t)length + 1;
}

static void put_words(struct sink *sink, const char *words, size_t count)
{
    for (size_t i = 0; sink->next != NULL && i < count; i++, sink->next += 4) {
        uint32_t bits;
        memcpy(&bits, words + 4 * i, sizeof bits);
        little_endian_put(sink->next, bits, 4);
    }
    sink->size += 4 * (uint64_t)count;
}

static void put_part(struct sink *sink, const struct result_column *column,
                     const struct stored_result *stored)
{
    uint32_t word;
    uint64_t bits;
    size_t width = (size_t)column_width(column, stored);
    switch (column->kind) {
    case COLUMN_TEXT:
        put_number(sink, column_text_length(column, stored), column->length_bytes);
        put_text(sink, column_pointer(column, stored), column_text_length(column, stored));
        break;
    case COLUMN_TOKEN_IDS:
    case COLUMN_FLOATS:
        if (has_own_width(column)) {
            put_number(sink, width, 4);
        }
        put_words(sink, column_pointer(column, stored), column_items(column, stored) * width);
        break;
    case COLUMN_INT32:
        memcpy(&word, column_member(column, stored), sizeof word);
        put_number(sink, word, sizeof word);
        break;
    case COLUMN_INT64:
    case COLUMN_DOUBLE:
        memcpy(&bits, column_member(column, stored), sizeof bits);
        put_number(sink, bits, sizeof bits);
        break;
    case COLUMN_NAME: /* in the head */
        break;
    }
}

static size_t head_text_length(const struct result_column *column,
                               const struct stored_result *stored)
{
    return column_is_there(column, stored) ? column_text_length(column, stored) : 0;
}

static void put_behind_head(struct sink *sink, unsigned parts, const struct stored_result *stored)
{
    unsigned bit = 1;
    size_t index = 0;
    const struct result_column *column;
    while ((column = next_part(parts, &bit, &index)) != NULL) {
        put_part(sink, column, stored);
    }
    for (size_t i = 0; i < result_column_count; i++) {
        column = &result_columns[i];
        if (is_head_text(column)) {
            put_text(sink, column_pointer(column, stored), head_text_length(column, stored));
        }
    }
}

static void put_head(char *head, uint64_t size, unsigned parts, const struct stored_result *stored)
{
    const struct result *result = &stored->result;
    const unsigned more = parts >> MORE_PARTS_SHIFT;
    uint64_t seconds;
    memcpy(&seconds, &result->seconds, sizeof seconds);
    little_endian_put(head + AT_SIZE, size, 4);
    head[AT_VERSION] = more != 0 ? FORM_VERSION : FORM_VERSION - 1;
    head[AT_FINISH] = (char)result->finish_reason;
    little_endian_put(head + AT_PARTS, parts & UINT16_MAX, 2);
    little_endian_put(head + AT_ROW, (uint64_t)result->row, 8);
    little_endian_put(head + AT_SAMPLE, (uint32_t)result->sample, 4);
    little_endian_put(head + AT_RANK, (uint32_t)result->rank, 4);
    little_endian_put(head + AT_PROMPT_TOKENS, (uint32_t)result->prompt_tokens, 4);
    little_endian_put(head + AT_COMPLETION_TOKENS, (uint32_t)result->completion_tokens, 4);
    little_endian_put(head + AT_TOP_LOGPROBS,
                      (parts & bits_of_head_width()) != 0 ? (uint32_t)result->top_logprobs : 0, 4);
    if (more != 0) {
        little_endian_put(head + AT_MORE_PARTS, more, 2);
    }
    little_endian_put(head + AT_SECONDS, seconds, 8);
    char *lengths = head + AT_LENGTHS;
    for (size_t i = 0; i < result_column_count; i++) {
        if (is_head_text(&result_columns[i])) {
            little_endian_put(lengths, head_text_length(&result_columns[i], stored), 4);
            lengths += 4;
        }
    }
}

static status check_column(const struct result_column *column, const struct stored_result *stored)
{
    if (column->travel == TRAVEL_NOT || !column_is_there(column, stored)) {
        return STATUS_OK;
    }
    if (column->kind == COLUMN_TEXT && column->length_bytes == 1 &&
        column_text_length(column, stored) > UINT8_MAX) {
        return status_fail(STATUS_INTERNAL, "%s of %zu bytes", column->name,
                           column_text_length(column, stored));
    }
    if (column->kind == COLUMN_TEXT && column_text_length(column, stored) > UINT32_MAX) {
        return status_fail(STATUS_LIMIT, "row %lld: a result of more than 4 GiB",
                           (long long)stored->result.row);
    }
    int32_t width = column_width(column, stored);
    if (column_is_array(column) && (width < 1 || (column->width != 0 && width > column->widest))) {
        return status_fail(STATUS_INTERNAL, "%s of %d values", column->name, width);
    }
    return STATUS_OK;
}

static status check_result(const struct stored_result *stored)
{
    if (!head_is_sane(stored)) {
        return status_fail(STATUS_INTERNAL, "a result of row %lld that makes no sense",
                           (long long)stored->result.row);
    }
    for (size_t i = 0; i < result_column_count; i++) {
        TRY(check_column(&result_columns[i], stored));
    }
    return STATUS_OK;
}

status result_encode(const struct result *result, struct buffer *out)
{
    const struct stored_result stored = {.result = *result};
    TRY(check_result(&stored));
    unsigned parts = result_parts(&stored);
    struct sink sink = {.size = HEAD_BYTES};
    put_behind_head(&sink, parts, &stored);
    uint64_t size = sink.size;
    if (size > UINT32_MAX) {
        return status_fail(STATUS_LIMIT, "row %lld: a result of more than 4 GiB",
                           (long long)result->row);
    }
    TRY(buffer_reserve(out, (size_t)size));
    char *head = out->data + out->length;
    put_head(head, size, parts, &stored);
    sink.next = head + HEAD_BYTES;
    put_behind_head(&sink, parts, &stored);
    out->length += (size_t)size;
    out->data[out->length] = '\0';
    return STATUS_OK;
}

/* ---- Looking at heads ---- */

static status check_version(const char *head, status otherwise)
{
    return head[AT_VERSION] >= OLDEST_VERSION && head[AT_VERSION] <= FORM_VERSION
               ? STATUS_OK
               : status_fail(otherwise,
                             "results of form %d, of another version of this program, which reads "
                             "forms %d to %d; go on with that version, or start afresh with "
                             "--fresh",
                             head[AT_VERSION], OLDEST_VERSION, FORM_VERSION);
}

static unsigned head_parts(const char *head)
{
    const unsigned parts = (unsigned)little_endian_get(head + AT_PARTS, 2);
    return head[AT_VERSION] < FORM_VERSION
               ? parts
               : parts | (unsigned)little_endian_get(head + AT_MORE_PARTS, 2) << MORE_PARTS_SHIFT;
}

static int32_t head_top_logprobs(const char *head)
{
    return head[AT_VERSION] < FORM_VERSION ? little_endian_get_int32(head + AT_TOP_LOGPROBS)
                                           : (int32_t)little_endian_get(head + AT_TOP_LOGPROBS, 2);
}

size_t result_encoded_size(const void *bytes, size_t length)
{
    if (length < HEAD_BYTES) {
        return 0;
    }
    size_t size = (size_t)little_endian_get((const char *)bytes + AT_SIZE, 4);
    return size >= HEAD_BYTES + TEXT_COUNT && size <= length ? size : 0;
}

static void note_column(const struct result_column *column, const char *head,
                        struct output_columns *columns)
{
    unsigned parts = head_parts(head);
    void *when = column_when(column, columns);
    if (when == NULL || (parts & column_bits(column)) == 0) {
        return;
    }
    if (column->width == 0) {
        *(bool *)when = true;
    } else if (column->width == HEAD_WIDTH) { /* another is the job's to say */
        int32_t width = head_top_logprobs(head), *widest = when;
        *widest = width > *widest && width <= column->widest ? width : *widest;
    }
}

status result_encoded_columns(const void *bytes, struct output_columns *columns)
{
    TRY(check_version(bytes, STATUS_EXISTS));
    for (size_t i = 0; i < result_column_count; i++) {
        note_column(&result_columns[i], bytes, columns);
    }
    return STATUS_OK;
}

bool result_encoded_failed(const void *bytes, int64_t *tokens)
{
    const char *head = bytes;
    *tokens = little_endian_get_int32(head + AT_COMPLETION_TOKENS);
    return (unsigned char)head[AT_FINISH] == FINISH_ERROR;
}

/* ---- Decoding ---- */

struct result_bytes {
    const char *next, *end;
    struct arena *arena;
};

static status take(struct result_bytes *source, uint64_t length, const char **out)
{
    if (length > (uint64_t)(source->end - source->next)) {
        return status_fail(STATUS_INVALID, bad_lengths);
    }
    *out = source->next;
    source->next += length;
    return STATUS_OK;
}

static status take_number(struct result_bytes *source, size_t bytes, uint64_t *out)
{
    const char *at;
    TRY(take(source, bytes, &at));
    *out = little_endian_get(at, bytes);
    return STATUS_OK;
}

/* With its NUL. */
static status take_text(struct result_bytes *source, size_t length, const char **out)
{
    TRY(take(source, (uint64_t)length + 1, out));
    return (*out)[length] == '\0' ? STATUS_OK : status_fail(STATUS_INVALID, bad_lengths);
}

/* Four-byte values into the arena, in the host's order. */
static status take_words(struct result_bytes *source, uint64_t count, const void **out)
{
    const char *bytes;
    TRY(take(source, 4 * count, &bytes));
    uint32_t *words = arena_allocate_array(source->arena, (size_t)count, sizeof *words);
    if (words == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a result");
    }
    for (size_t i = 0; i < count; i++) {
        words[i] = (uint32_t)little_endian_get(bytes + 4 * i, 4);
    }
    *out = words;
    return STATUS_OK;
}

static status take_array(struct result_bytes *source, const struct result_column *column,
                         struct stored_result *out)
{
    uint64_t width;
    const void *words;
    if (has_own_width(column)) {
        TRY(take_number(source, 4, &width));
        if (width < 1 || width > (uint64_t)column->widest) {
            return status_fail(STATUS_INVALID, "a result with %s of %llu values", column->name,
                               (unsigned long long)width);
        }
        column_set_width(column, (int32_t)width, out);
    }
    TRY(take_words(
        source, (uint64_t)column_items(column, out) * (uint64_t)column_width(column, out), &words));
    column_set_pointer(column, words, out);
    return STATUS_OK;
}

static status take_part(struct result_bytes *source, const struct result_column *column,
                        struct stored_result *out)
{
    uint64_t value;
    const char *text;
    if (column_is_array(column)) {
        return take_array(source, column, out);
    }
    if (column->kind == COLUMN_TEXT) {
        TRY(take_number(source, column->length_bytes, &value));
        if (value == 0) { /* would have no bit */
            return status_fail(STATUS_INVALID, bad_head);
        }
        TRY(take_text(source, (size_t)value, &text));
        column_set_text(column, text, (size_t)value, out);
        return STATUS_OK;
    }
    TRY(take_number(source, column->member_bytes, &value));
    if (value == 0) { /* would have no bit */
        return status_fail(STATUS_INVALID, bad_head);
    }
    if (column->kind == COLUMN_INT32) {
        uint32_t word = (uint32_t)value;
        memcpy(column_member_of(column, out), &word, sizeof word);
    } else {
        memcpy(column_member_of(column, out), &value, sizeof value);
    }
    return STATUS_OK;
}

/* A text that has a bit is empty without it. */
static status take_head_text(struct result_bytes *source, const struct result_column *column,
                             unsigned parts, size_t length, struct stored_result *out)
{
    const char *text;
    bool is_there = column->bit == 0 || (parts & column->bit) != 0;
    if (!is_there && length > 0) {
        return status_fail(STATUS_INVALID, bad_lengths);
    }
    TRY(take_text(source, length, &text));
    column_set_text(column, is_there ? text : NULL, length, out);
    return STATUS_OK;
}

static status take_behind_head(struct result_bytes *source, const char *head, unsigned parts,
                               struct stored_result *out)
{
    unsigned bit = 1;
    size_t index = 0;
    const struct result_column *column;
    while ((column = next_part(parts, &bit, &index)) != NULL) {
        TRY(take_part(source, column, out));
    }
    const char *lengths = head + AT_LENGTHS;
    for (size_t i = 0; i < result_column_count; i++) {
        if (is_head_text(&result_columns[i])) {
            TRY(take_head_text(source, &result_columns[i], parts,
                               (size_t)little_endian_get(lengths, 4), out));
            lengths += 4;
        }
    }
    return source->next == source->end ? STATUS_OK : status_fail(STATUS_INVALID, bad_lengths);
}

static status take_head(const char *head, unsigned parts, struct stored_result *out)
{
    uint64_t seconds = little_endian_get(head + AT_SECONDS, 8);
    *out = (struct stored_result){
        .result = {.row = little_endian_get_int64(head + AT_ROW),
                   .sample = little_endian_get_int32(head + AT_SAMPLE),
                   .rank = little_endian_get_int32(head + AT_RANK),
                   .finish_reason = (enum finish_reason)(unsigned char)head[AT_FINISH],
                   .prompt_tokens = little_endian_get_int32(head + AT_PROMPT_TOKENS),
                   .completion_tokens = little_endian_get_int32(head + AT_COMPLETION_TOKENS),
                   .top_logprobs = head_top_logprobs(head)}};
    memcpy(&out->result.seconds, &seconds, sizeof seconds);
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column->kind == COLUMN_NAME && column->bit != 0) {
            column_set_name(column, (int)((parts & column_bits(column)) / column->bit), out);
        }
    }
    unsigned known = head[AT_VERSION] == OLDEST_VERSION ? ALL_PARTS_OF_FORM_1 : all_bits();
    const bool needs_form = head[AT_VERSION] < FORM_VERSION || parts > UINT16_MAX;
    bool has_head_width = (parts & bits_of_head_width()) != 0;
    return head_is_sane(out) && (parts & ~known) == 0 && needs_form &&
                   has_head_width == (out->result.top_logprobs > 0)
               ? STATUS_OK
               : status_fail(STATUS_INVALID, bad_head);
}

status result_decode(const void *bytes, size_t length, struct arena *arena, struct result *out,
                     size_t *used)
{
    const char *head = bytes;
    struct stored_result stored;
    *used = 0;
    size_t size = result_encoded_size(bytes, length);
    if (size == 0) {
        return status_fail(STATUS_INVALID, "a result that is cut off or no result");
    }
    TRY(check_version(head, STATUS_INVALID));
    unsigned parts = head_parts(head);
    struct result_bytes source = {.next = head + HEAD_BYTES, .end = head + size, .arena = arena};
    TRY(take_head(head, parts, &stored));
    TRY(take_behind_head(&source, head, parts, &stored));
    *out = stored.result;
    *used = size;
    return STATUS_OK;
}
