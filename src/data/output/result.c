/* SPDX-License-Identifier: Apache-2.0 */
/* Results on the wire and in the journal; docs/journal-format.md describes the bytes. */
#include <string.h>

#include "data/journal/little_endian.h"
#include "sluice/data.h"

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
    AT_TOP_LOGPROBS = 32,
    AT_LENGTHS = 36, /* five uint32 */
    AT_SECONDS = 56, /* IEEE double */
    HEAD_BYTES = 64,
};

/* Form 1 has neither endpoint nor fault; it is read, so that a job that an earlier version began
 * can go on. */
enum { WIRE_VERSION = 2, OLDEST_VERSION = 1, TEXT_COUNT = 5, PROMPT_TEXT_INDEX = 1 };

enum {
    HAS_PROMPT = 1,
    HAS_TOKEN_IDS = 2,
    HAS_LOGPROBS = 4,
    HAS_TOP = 8,
    HAS_EMBEDDING = 16,
    ID_IS_NUMBER = 32,
    IS_FAULT = 64,
    ENDPOINT_SHIFT = 7, /* two bits, enum endpoint */
    HAS_STREAM = 512,
    HAS_ARITHMETIC = 1024,
    HAS_ALL = 2047,
    HAS_ALL_IN_FORM_1 = 63
};

enum { MAX_EMBEDDING_WIDTH = 1 << 20, MAX_ARITHMETIC = 255, ENDPOINT_MASK = 3 };

struct text_part {
    const char *text;
    size_t length;
};

static int result_parts(const struct result *result)
{
    return (result->prompt != NULL ? HAS_PROMPT : 0) |
           (result->token_ids != NULL ? HAS_TOKEN_IDS : 0) |
           (result->logprobs != NULL ? HAS_LOGPROBS : 0) |
           (result->top_logprobs > 0 && result->top_ids != NULL && result->top_values != NULL
                ? HAS_TOP
                : 0) |
           (result->embedding != NULL ? HAS_EMBEDDING : 0) |
           (result->id_is_number ? ID_IS_NUMBER : 0) | (result->is_fault ? IS_FAULT : 0) |
           (int)result->endpoint << ENDPOINT_SHIFT | (result->stream != 0 ? HAS_STREAM : 0) |
           (result->arithmetic != NULL ? HAS_ARITHMETIC : 0);
}

/* Bytes of the arrays; both factors are checked to be small enough. */
static uint64_t array_bytes(int parts, int32_t tokens, int32_t top)
{
    uint64_t columns = ((parts & HAS_TOKEN_IDS) != 0) + ((parts & HAS_LOGPROBS) != 0) +
                       ((parts & HAS_TOP) != 0 ? 2 * (uint64_t)top : 0);
    return 4 * columns * (uint64_t)tokens;
}

static bool head_is_sane(int finish, int64_t row, int32_t sample, int32_t prompt_tokens,
                         int32_t completion_tokens, int32_t top)
{
    return finish >= FINISH_STOP && finish <= FINISH_ERROR && row >= 0 && sample >= 0 &&
           prompt_tokens >= 0 && completion_tokens >= 0 && top >= 0 && top <= SAMPLING_MAX_LOGPROBS;
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

static char *put_int32s(char *out, const int32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++, out += 4) {
        wire_put(out, (uint32_t)values[i], 4);
    }
    return out;
}

static char *put_floats(char *out, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++, out += 4) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        wire_put(out, bits, 4);
    }
    return out;
}

/* The stream, and the arithmetic's name behind a byte that says its length. */
static uint64_t extra_bytes(const struct result *result)
{
    return (result->stream != 0 ? 8 : 0) +
           (result->arithmetic != NULL ? 2 + result->arithmetic_length : 0);
}

static char *put_extras(char *out, const struct result *result)
{
    if (result->stream != 0) {
        wire_put(out, result->stream, 8);
        out += 8;
    }
    if (result->arithmetic != NULL) {
        *out++ = (char)result->arithmetic_length;
        memcpy(out, result->arithmetic, result->arithmetic_length);
        out += result->arithmetic_length;
        *out++ = '\0';
    }
    return out;
}

status result_encode(const struct result *result, struct buffer *out)
{
    const struct text_part texts[TEXT_COUNT] = {
        {result->id, result->id_length},
        {result->prompt, result->prompt != NULL ? result->prompt_length : 0},
        {result->text, result->text_length},
        {result->error, result->error_length},
        {result->passthrough, result->passthrough_length},
    };
    if (!head_is_sane((int)result->finish_reason, result->row, result->sample,
                      result->prompt_tokens, result->completion_tokens, result->top_logprobs) ||
        (unsigned)result->endpoint > ENDPOINT_EMBEDDINGS ||
        result->arithmetic_length > MAX_ARITHMETIC) {
        return status_fail(STATUS_INTERNAL, "a result of row %lld that makes no sense",
                           (long long)result->row);
    }
    int parts = result_parts(result);
    int32_t top = (parts & HAS_TOP) != 0 ? result->top_logprobs : 0;
    size_t tokens = (size_t)result->completion_tokens;
    bool embedded = (parts & HAS_EMBEDDING) != 0;
    if (embedded &&
        (result->embedding_width < 1 || result->embedding_width > MAX_EMBEDDING_WIDTH)) {
        return status_fail(STATUS_INTERNAL, "an embedding of %d values", result->embedding_width);
    }
    size_t width = embedded ? (size_t)result->embedding_width : 0;
    uint64_t size = HEAD_BYTES + array_bytes(parts, result->completion_tokens, top) +
                    (embedded ? 4 + 4 * (uint64_t)width : 0) + extra_bytes(result);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        if (texts[i].length > UINT32_MAX) {
            size = UINT64_MAX / 2;
            break;
        }
        size += texts[i].length + 1; /* a NUL after each */
    }
    if (size > UINT32_MAX) {
        return status_fail(STATUS_LIMIT, "row %lld: a result of more than 4 GiB",
                           (long long)result->row);
    }
    TRY(buffer_reserve(out, (size_t)size));
    char *head = out->data + out->length;
    wire_put(head + AT_SIZE, size, 4);
    head[AT_VERSION] = WIRE_VERSION;
    head[AT_FINISH] = (char)result->finish_reason;
    wire_put(head + AT_PARTS, (uint64_t)parts, 2);
    wire_put(head + AT_ROW, (uint64_t)result->row, 8);
    wire_put(head + AT_SAMPLE, (uint32_t)result->sample, 4);
    wire_put(head + AT_RANK, (uint32_t)result->rank, 4);
    wire_put(head + AT_PROMPT_TOKENS, (uint32_t)result->prompt_tokens, 4);
    wire_put(head + AT_COMPLETION_TOKENS, (uint32_t)result->completion_tokens, 4);
    wire_put(head + AT_TOP_LOGPROBS, (uint32_t)top, 4);
    uint64_t seconds;
    memcpy(&seconds, &result->seconds, sizeof seconds);
    wire_put(head + AT_SECONDS, seconds, 8);

    char *next = head + HEAD_BYTES;
    if ((parts & HAS_TOKEN_IDS) != 0) {
        next = put_int32s(next, result->token_ids, tokens);
    }
    if ((parts & HAS_LOGPROBS) != 0) {
        next = put_floats(next, result->logprobs, tokens);
    }
    if ((parts & HAS_TOP) != 0) {
        next = put_int32s(next, result->top_ids, tokens * (size_t)top);
        next = put_floats(next, result->top_values, tokens * (size_t)top);
    }
    if (embedded) {
        wire_put(next, width, 4);
        next = put_floats(next + 4, result->embedding, width);
    }
    next = put_extras(next, result);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        wire_put(head + AT_LENGTHS + 4 * i, texts[i].length, 4);
        if (texts[i].length > 0) {
            memcpy(next, texts[i].text, texts[i].length);
        }
        next += texts[i].length;
        *next++ = '\0';
    }
    out->length += (size_t)size;
    out->data[out->length] = '\0';
    return STATUS_OK;
}

static status check_version(const char *head, status otherwise)
{
    return head[AT_VERSION] >= OLDEST_VERSION && head[AT_VERSION] <= WIRE_VERSION
               ? STATUS_OK
               : status_fail(otherwise,
                             "results of form %d, of another version of this program, which reads "
                             "forms %d to %d; go on with that version, or start afresh with "
                             "--fresh",
                             head[AT_VERSION], OLDEST_VERSION, WIRE_VERSION);
}

size_t result_wire_size(const void *bytes, size_t length)
{
    if (length < HEAD_BYTES) {
        return 0;
    }
    size_t size = (size_t)wire_get((const char *)bytes + AT_SIZE, 4);
    return size >= HEAD_BYTES + TEXT_COUNT && size <= length ? size : 0;
}

status result_wire_columns(const void *bytes, struct output_columns *columns)
{
    const char *head = bytes;
    TRY(check_version(head, STATUS_EXISTS));
    int parts = (int)wire_get(head + AT_PARTS, 2);
    int32_t top = (parts & HAS_TOP) != 0 ? wire_get_int32(head + AT_TOP_LOGPROBS) : 0;
    columns->prompt |= (parts & HAS_PROMPT) != 0;
    columns->token_ids |= (parts & HAS_TOKEN_IDS) != 0;
    columns->logprobs |= (parts & HAS_LOGPROBS) != 0;
    columns->id_is_number |= (parts & ID_IS_NUMBER) != 0;
    columns->arithmetic |= (parts & HAS_ARITHMETIC) != 0;
    if (top > columns->top_logprobs && top <= SAMPLING_MAX_LOGPROBS) {
        columns->top_logprobs = top;
    }
    return STATUS_OK;
}

/* Takes `count` four-byte values from *next into the arena, in the host's order. */
static status take_words(struct arena *arena, const char **next, size_t count, const void **out)
{
    uint32_t *words = arena_allocate_array(arena, count, sizeof *words);
    if (words == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a result");
    }
    for (size_t i = 0; i < count; i++) {
        words[i] = (uint32_t)wire_get(*next + 4 * i, 4);
    }
    *next += 4 * count;
    *out = words;
    return STATUS_OK;
}

static status take_arrays(struct arena *arena, int parts, const char **next, struct result *out)
{
    size_t tokens = (size_t)out->completion_tokens;
    const void *words;
    if ((parts & HAS_TOKEN_IDS) != 0) {
        TRY(take_words(arena, next, tokens, &words));
        out->token_ids = words;
    }
    if ((parts & HAS_LOGPROBS) != 0) {
        TRY(take_words(arena, next, tokens, &words));
        out->logprobs = words;
    }
    if ((parts & HAS_TOP) != 0) {
        TRY(take_words(arena, next, tokens * (size_t)out->top_logprobs, &words));
        out->top_ids = words;
        TRY(take_words(arena, next, tokens * (size_t)out->top_logprobs, &words));
        out->top_values = words;
    }
    if ((parts & HAS_EMBEDDING) != 0) {
        *next += 4;
        TRY(take_words(arena, next, (size_t)out->embedding_width, &words));
        out->embedding = words;
    }
    return STATUS_OK;
}

/* Reads the width of an embedding, which stands behind the other arrays; adds what it takes to
 * *expected. */
static status take_width(const char *head, size_t size, int parts, uint64_t *expected,
                         struct result *out)
{
    if ((parts & HAS_EMBEDDING) == 0) {
        return STATUS_OK;
    }
    uint64_t at = *expected - TEXT_COUNT;
    if (at + 4 > size) {
        return status_fail(STATUS_INVALID, "a result whose lengths do not add up");
    }
    out->embedding_width = wire_get_int32(head + at);
    if (out->embedding_width < 1 || out->embedding_width > MAX_EMBEDDING_WIDTH) {
        return status_fail(STATUS_INVALID, "a result with an embedding of %d values",
                           out->embedding_width);
    }
    *expected += 4 + 4 * (uint64_t)out->embedding_width;
    return STATUS_OK;
}

/* Reads the stream and the arithmetic's name, which stand behind the embedding; adds what they take
 * to *expected. */
static status take_extras(const char *head, size_t size, int parts, uint64_t *expected,
                          struct result *out)
{
    uint64_t at = *expected - TEXT_COUNT;
    if ((parts & HAS_STREAM) != 0 && at + 8 <= size) {
        out->stream = wire_get(head + at, 8);
    }
    at += (parts & HAS_STREAM) != 0 ? 8 : 0;
    if ((parts & HAS_ARITHMETIC) != 0) {
        size_t length = at < size ? (unsigned char)head[at] : 0;
        if (at + 2 + length > size || head[at + 1 + length] != '\0') {
            return status_fail(STATUS_INVALID, "a result whose lengths do not add up");
        }
        out->arithmetic = head + at + 1;
        out->arithmetic_length = length;
        at += 2 + length;
    }
    *expected = at + TEXT_COUNT;
    return STATUS_OK;
}

status result_decode(const void *bytes, size_t length, struct arena *arena, struct result *out,
                     size_t *used)
{
    const char *head = bytes;
    *used = 0;
    size_t size = result_wire_size(bytes, length);
    if (size == 0) {
        return status_fail(STATUS_INVALID, "a result that is cut off or no result");
    }
    TRY(check_version(head, STATUS_INVALID));
    int parts = (int)wire_get(head + AT_PARTS, 2);
    uint64_t seconds = wire_get(head + AT_SECONDS, 8);
    *out = (struct result){
        .row = wire_get_int64(head + AT_ROW),
        .sample = wire_get_int32(head + AT_SAMPLE),
        .rank = wire_get_int32(head + AT_RANK),
        .finish_reason = (enum finish_reason)(unsigned char)head[AT_FINISH],
        .prompt_tokens = wire_get_int32(head + AT_PROMPT_TOKENS),
        .completion_tokens = wire_get_int32(head + AT_COMPLETION_TOKENS),
        .top_logprobs = wire_get_int32(head + AT_TOP_LOGPROBS),
    };
    memcpy(&out->seconds, &seconds, sizeof seconds);
    if (!head_is_sane((unsigned char)head[AT_FINISH], out->row, out->sample, out->prompt_tokens,
                      out->completion_tokens, out->top_logprobs) ||
        (parts & ~(head[AT_VERSION] == 1 ? HAS_ALL_IN_FORM_1 : HAS_ALL)) != 0 ||
        ((parts & HAS_TOP) != 0) != (out->top_logprobs > 0)) {
        return status_fail(STATUS_INVALID, "a result whose head makes no sense");
    }
    uint64_t expected =
        HEAD_BYTES + array_bytes(parts, out->completion_tokens, out->top_logprobs) + TEXT_COUNT;
    TRY(take_width(head, size, parts, &expected, out));
    TRY(take_extras(head, size, parts, &expected, out));
    size_t lengths[TEXT_COUNT];
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        lengths[i] = (size_t)wire_get(head + AT_LENGTHS + 4 * i, 4);
        expected += lengths[i];
    }
    if (expected != size || ((parts & HAS_PROMPT) == 0 && lengths[PROMPT_TEXT_INDEX] > 0)) {
        return status_fail(STATUS_INVALID, "a result whose lengths do not add up");
    }
    const char *next = head + HEAD_BYTES;
    TRY(take_arrays(arena, parts, &next, out));
    next += extra_bytes(out);
    const char *texts[TEXT_COUNT];
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        texts[i] = next;
        next += lengths[i];
        if (*next++ != '\0') {
            return status_fail(STATUS_INVALID, "a result whose lengths do not add up");
        }
    }
    out->id = texts[0];
    out->id_length = lengths[0];
    out->id_is_number = (parts & ID_IS_NUMBER) != 0;
    out->is_fault = (parts & IS_FAULT) != 0;
    out->endpoint = (enum endpoint)(parts >> ENDPOINT_SHIFT & ENDPOINT_MASK);
    out->prompt = (parts & HAS_PROMPT) != 0 ? texts[1] : NULL;
    out->prompt_length = lengths[1];
    out->text = texts[2];
    out->text_length = lengths[2];
    out->error = texts[3];
    out->error_length = lengths[3];
    out->passthrough = texts[4];
    out->passthrough_length = lengths[4];
    *used = size;
    return STATUS_OK;
}
