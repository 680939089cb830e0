/* SPDX-License-Identifier: Apache-2.0 */
/* In what two results of the same row differ: found, and said in text or JSON. */
#include "cli/difference.h"

#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "run/report/error_tally.h"

enum {
    EXCERPT_CHARACTERS = 16, /* of a text, on a line of a terminal */
    ERROR_CHARACTERS = 27,
    JSON_CHARACTERS = 80,
};

const char *difference_kind_name(enum difference_kind kind)
{
    static const char *const names[DIFFERENCE_KINDS] = {
        "id", "prompt", "answer", "finish_reason", "error", "numbers"};
    return names[kind];
}

/* ---- Finding ---- */

/* How many of `count` items of `size` bytes are the same at the beginning. */
static int64_t common_items(const void *a, const void *b, int64_t count, size_t size)
{
    const char *left = a, *right = b;
    int64_t i = 0;
    while (i < count && memcmp(left + (size_t)i * size, right + (size_t)i * size, size) == 0) {
        i++;
    }
    return i;
}

/* The first byte of the character in which two texts part ways; *character counts those before, and
 * is -1 where the texts are the same. */
static size_t part_ways(const char *a, size_t a_length, const char *b, size_t b_length,
                        int64_t *character)
{
    size_t least = a_length < b_length ? a_length : b_length, byte = 0;
    *character = -1;
    if (a_length == b_length && (least == 0 || memcmp(a, b, least) == 0)) {
        return 0;
    }
    for (*character = 0; byte < least; ++*character) {
        size_t size;
        (void)utf8_decode(a + byte, a_length - byte, &size);
        if (byte + size > least || memcmp(a + byte, b + byte, size) != 0) {
            break;
        }
        byte += size;
    }
    return byte;
}

static bool same_text(const char *a, size_t a_length, const char *b, size_t b_length)
{
    return a_length == b_length && (a_length == 0 || memcmp(a, b, a_length) == 0);
}

static bool same_prompt(const struct result *a, const struct result *b)
{
    bool both = a->prompt != NULL && b->prompt != NULL;
    return a->prompt_tokens == b->prompt_tokens &&
           (!both || same_text(a->prompt, a->prompt_length, b->prompt, b->prompt_length));
}

static bool find_in_answer(const struct result *a, const struct result *b, struct difference *out)
{
    out->byte = part_ways(a->text, a->text_length, b->text, b->text_length, &out->character);
    int32_t counts[2] = {a->completion_tokens, b->completion_tokens};
    if (a->token_ids != NULL && b->token_ids != NULL) {
        int32_t least = counts[0] < counts[1] ? counts[0] : counts[1];
        int64_t same = common_items(a->token_ids, b->token_ids, least, sizeof *a->token_ids);
        out->token = same < least || counts[0] != counts[1] ? same : -1;
    }
    return out->character >= 0 || out->token >= 0 || counts[0] != counts[1];
}

/* Lists of float that both results have. */
static bool find_in_list(const char *name, const float *a, const float *b, int64_t count,
                         struct difference *out)
{
    if (a == NULL || b == NULL) {
        return false;
    }
    int64_t same = common_items(a, b, count, sizeof *a);
    if (same < count) {
        out->numbers = name;
        out->number = same;
        out->values[0] = (double)a[same];
        out->values[1] = (double)b[same];
    }
    return same < count;
}

static bool find_in_double(const char *name, double a, double b, struct difference *out)
{
    if (isnan(a) || isnan(b) || a == b) {
        return false;
    }
    out->numbers = name;
    out->values[0] = a;
    out->values[1] = b;
    return true;
}

/* Of results with the same tokens. */
static bool find_in_numbers(const struct result *a, const struct result *b, struct difference *out)
{
    int64_t tokens = a->completion_tokens;
    if (find_in_list("logprobs", a->logprobs, b->logprobs, tokens, out)) {
        return true;
    }
    if (a->top_logprobs == b->top_logprobs &&
        find_in_list("top_logprobs", a->top_values, b->top_values, tokens * a->top_logprobs, out)) {
        return true;
    }
    if (a->embedding_width == b->embedding_width &&
        find_in_list("embedding", a->embedding, b->embedding, a->embedding_width, out)) {
        return true;
    }
    if (a->labels == b->labels &&
        find_in_list("scores", a->label_scores, b->label_scores, a->labels, out)) {
        return true;
    }
    return find_in_double("score", a->score, b->score, out) ||
           find_in_double("logprob_sum", a->logprob_sum, b->logprob_sum, out);
}

/* What is wrong with a row, wherever it stands. */
static const char *error_text(const struct result *result, size_t *length)
{
    size_t place = error_place_length(result->error, result->error_length);
    *length = result->error_length - place;
    return result->error + place;
}

static bool find_in_errors(const struct result *a, const struct result *b, struct difference *out)
{
    size_t lengths[2];
    const char *texts[2] = {error_text(a, &lengths[0]), error_text(b, &lengths[1])};
    int64_t character;
    out->byte = part_ways(texts[0], lengths[0], texts[1], lengths[1], &character);
    return character >= 0;
}

static void find_in_results(const struct result *a, const struct result *b, struct difference *out)
{
    bool failed[2] = {a->finish_reason == FINISH_ERROR, b->finish_reason == FINISH_ERROR};
    if (failed[0] && failed[1]) {
        out->kinds[DIFFERS_ERROR] = find_in_errors(a, b, out);
        return;
    }
    if (failed[0] || failed[1]) {
        out->kinds[DIFFERS_ERROR] = true;
        return;
    }
    out->kinds[DIFFERS_PROMPT] = !same_prompt(a, b);
    out->kinds[DIFFERS_ANSWER] = find_in_answer(a, b, out);
    out->kinds[DIFFERS_FINISH_REASON] = a->finish_reason != b->finish_reason;
    out->kinds[DIFFERS_NUMBERS] = !out->kinds[DIFFERS_ANSWER] && find_in_numbers(a, b, out);
}

bool difference_find(const struct result *a, const struct result *b, bool by_id,
                     struct difference *out)
{
    *out = (struct difference){.token = -1, .character = -1};
    find_in_results(a, b, out);
    out->kinds[DIFFERS_ID] = !by_id && !same_text(a->id, a->id_length, b->id, b->id_length);
    bool any = false;
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) {
        any = any || out->kinds[kind];
    }
    return any;
}

/* ---- Text ---- */

static status append_quoted(const char *text, size_t length, size_t from, int most,
                            struct buffer *out)
{
    if (from >= length) {
        return buffer_append_text(out, from > 0 ? "(end)" : "(nothing)");
    }
    TRY(buffer_append_text(out, "\""));
    TRY(cli_append_excerpt(text + from, length - from, most, out));
    return buffer_append_text(out, "\"");
}

status difference_name_result(const struct result *result, struct buffer *out)
{
    TRY(buffer_format(out, "row %lld, id ", (long long)result->row));
    TRY(append_quoted(result->id, result->id_length, 0, 40, out));
    return result->sample > 0 ? buffer_format(out, ", sample %d", result->sample) : STATUS_OK;
}

static status append_token(const struct result *result, int64_t index, struct buffer *out)
{
    return index < result->completion_tokens ? buffer_format(out, "%d", result->token_ids[index])
                                             : buffer_append_text(out, "(end)");
}

static status append_answers(const struct result *a, const struct result *b,
                             const struct difference *difference, struct buffer *out)
{
    if (difference->token >= 0) {
        TRY(buffer_format(out, "token %lld: ", (long long)difference->token));
        TRY(append_token(a, difference->token, out));
        TRY(buffer_append_text(out, " | "));
        TRY(append_token(b, difference->token, out));
        TRY(buffer_append_text(out, difference->character >= 0 ? "\n                 " : ""));
    }
    if (difference->character >= 0) {
        size_t byte = difference->byte;
        TRY(buffer_format(out, "character %lld: ", (long long)difference->character));
        TRY(append_quoted(a->text, a->text_length, byte, EXCERPT_CHARACTERS, out));
        TRY(buffer_append_text(out, " | "));
        return append_quoted(b->text, b->text_length, byte, EXCERPT_CHARACTERS, out);
    }
    return difference->token >= 0 ? STATUS_OK
                                  : buffer_format(out, "%d tokens | %d tokens",
                                                  a->completion_tokens, b->completion_tokens);
}

static status append_errors(const struct result *a, const struct result *b,
                            const struct difference *difference, struct buffer *out)
{
    const struct result *both[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        TRY(buffer_append_text(out, i > 0 ? " | " : ""));
        size_t length;
        const char *text = error_text(both[i], &length);
        TRY(both[i]->finish_reason == FINISH_ERROR
                ? append_quoted(text, length, difference->byte, ERROR_CHARACTERS, out)
                : buffer_append_text(out, "(answered)"));
    }
    return STATUS_OK;
}

static status append_kind(enum difference_kind kind, const struct result *a, const struct result *b,
                          const struct difference *difference, struct buffer *out)
{
    switch (kind) {
    case DIFFERS_ID:
        TRY(append_quoted(a->id, a->id_length, 0, ERROR_CHARACTERS, out));
        TRY(buffer_append_text(out, " | "));
        return append_quoted(b->id, b->id_length, 0, ERROR_CHARACTERS, out);
    case DIFFERS_PROMPT:
        return a->prompt_tokens != b->prompt_tokens
                   ? buffer_format(out, "%d tokens | %d tokens", a->prompt_tokens, b->prompt_tokens)
                   : buffer_append_text(out, "another text of as many tokens");
    case DIFFERS_ANSWER:
        return append_answers(a, b, difference, out);
    case DIFFERS_FINISH_REASON:
        return buffer_format(out, "%s | %s", finish_reason_name(a->finish_reason),
                             finish_reason_name(b->finish_reason));
    case DIFFERS_ERROR:
        return append_errors(a, b, difference, out);
    case DIFFERS_NUMBERS:
    default:
        return buffer_format(out, "%s[%lld]: %.9g | %.9g", difference->numbers,
                             (long long)difference->number, difference->values[0],
                             difference->values[1]);
    }
}

status difference_describe(const struct result *a, const struct result *b,
                           const struct difference *difference, struct buffer *out)
{
    TRY(difference_name_result(a, out));
    TRY(buffer_append_byte(out, '\n'));
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) {
        if (difference->kinds[kind]) {
            TRY(buffer_format(out, "  %-14s ", difference_kind_name((enum difference_kind)kind)));
            TRY(append_kind((enum difference_kind)kind, a, b, difference, out));
            TRY(buffer_append_byte(out, '\n'));
        }
    }
    return STATUS_OK;
}

/* ---- JSON ---- */

status difference_name_result_json(const struct result *result, struct buffer *out)
{
    TRY(buffer_format(out, "\"row\":%lld,\"sample\":%d,\"id\":", (long long)result->row,
                      result->sample));
    return json_write_string(result->id, result->id_length, out);
}

/* A text from a byte on, as a string; null behind its end. */
static status append_json_excerpt(const char *text, size_t length, size_t from, struct buffer *out)
{
    if (from >= length) {
        return buffer_append_text(out, "null");
    }
    struct buffer excerpt = {0};
    status s = cli_append_excerpt(text + from, length - from, JSON_CHARACTERS, &excerpt);
    if (s == STATUS_OK) {
        s = json_write_string(excerpt.data, excerpt.length, out);
    }
    buffer_destroy(&excerpt);
    return s;
}

static status append_json_token(const struct result *result, int64_t index, struct buffer *out)
{
    return index < result->completion_tokens ? buffer_format(out, "%d", result->token_ids[index])
                                             : buffer_append_text(out, "null");
}

static status append_json_answer(const struct result *a, const struct result *b,
                                 const struct difference *difference, struct buffer *out)
{
    if (difference->token >= 0) {
        TRY(buffer_format(out, ",\"token\":{\"index\":%lld,\"a\":", (long long)difference->token));
        TRY(append_json_token(a, difference->token, out));
        TRY(buffer_append_text(out, ",\"b\":"));
        TRY(append_json_token(b, difference->token, out));
        TRY(buffer_append_byte(out, '}'));
    }
    if (difference->character >= 0) {
        TRY(buffer_format(
            out, ",\"character\":{\"index\":%lld,\"a\":", (long long)difference->character));
        TRY(append_json_excerpt(a->text, a->text_length, difference->byte, out));
        TRY(buffer_append_text(out, ",\"b\":"));
        TRY(append_json_excerpt(b->text, b->text_length, difference->byte, out));
        TRY(buffer_append_byte(out, '}'));
    }
    return STATUS_OK;
}

static status append_json_error(const struct result *result, struct buffer *out)
{
    return result->finish_reason == FINISH_ERROR
               ? json_write_string(result->error, result->error_length, out)
               : buffer_append_text(out, "null");
}

static status append_json_number(const struct difference *difference, struct buffer *out)
{
    TRY(buffer_format(out, ",\"number\":{\"of\":\"%s\",\"index\":%lld,\"a\":", difference->numbers,
                      (long long)difference->number));
    TRY(json_write_double(difference->values[0], out));
    TRY(buffer_append_text(out, ",\"b\":"));
    TRY(json_write_double(difference->values[1], out));
    return buffer_append_byte(out, '}');
}

static status append_json_details(const struct result *a, const struct result *b,
                                  const struct difference *difference, struct buffer *out)
{
    if (difference->kinds[DIFFERS_ANSWER]) {
        TRY(append_json_answer(a, b, difference, out));
    }
    if (difference->kinds[DIFFERS_FINISH_REASON]) {
        TRY(buffer_format(out, ",\"finish_reason\":{\"a\":\"%s\",\"b\":\"%s\"}",
                          finish_reason_name(a->finish_reason),
                          finish_reason_name(b->finish_reason)));
    }
    if (difference->kinds[DIFFERS_ERROR]) {
        TRY(buffer_append_text(out, ",\"error\":{\"a\":"));
        TRY(append_json_error(a, out));
        TRY(buffer_append_text(out, ",\"b\":"));
        TRY(append_json_error(b, out));
        TRY(buffer_append_byte(out, '}'));
    }
    return difference->kinds[DIFFERS_NUMBERS] ? append_json_number(difference, out) : STATUS_OK;
}

status difference_describe_json(const struct result *a, const struct result *b,
                                const struct difference *difference, struct buffer *out)
{
    TRY(buffer_append_byte(out, '{'));
    TRY(difference_name_result_json(a, out));
    TRY(buffer_append_text(out, ",\"differs\":["));
    bool first = true;
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) {
        if (difference->kinds[kind]) {
            TRY(buffer_format(out, "%s\"%s\"", first ? "" : ",",
                              difference_kind_name((enum difference_kind)kind)));
            first = false;
        }
    }
    TRY(buffer_append_byte(out, ']'));
    TRY(append_json_details(a, b, difference, out));
    return buffer_append_byte(out, '}');
}
