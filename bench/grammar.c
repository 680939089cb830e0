/* SPDX-License-Identifier: Apache-2.0 */
/* What grammars cost, and what they take: bench_grammar TOKENIZER CASES.jsonl [OUTCOMES.jsonl].
 *
 * TOKENIZER is a tokenizer.json or a file of ranks (*.tiktoken). A line of CASES is an object of
 * "schema", "regex" or "grammar", perhaps a "name", and
 *   "answers": texts, or values of the schema, as tokens of which the grammar is gone through, with
 *              the mask before every token;
 *   "walks":   how many answers are made by chance: half of their tokens are drawn from all that
 *              are allowed, half lead to the shortest end. Then they are gone through as answers.
 * The first round computes masks as they are met for the first time; what the second finds is kept
 * from then on, as for the further rows of a job. One thread. Prints the share compiled, and the
 * times of compiling and of masks. OUTCOMES gets a line a case: {"name", "refused": why, "fits": of
 * each answer, "walks": the texts}; tests/real/schema_oracle.py reads it. tools/make_schemas.py
 * writes schemas of the shapes that people use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "draw.h"
#include "grammar/request/request.h"
#include "sluice/json.h"
#include "sluice/sampling.h"

enum { FILE_LIMIT = 1 << 30, ROUNDS = 2, WALK_TOKENS = 200, FAR = 1 << 16 };

struct times {
    double *items;
    size_t count, capacity;
};

struct bench {
    struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
    struct grammar_vocabulary *vocabulary;
    uint64_t random;
    FILE *outcomes; /* NULL: nobody asks */
    size_t cases, compiled, answers, refused;
    struct times compiling, first, later, accepting;
};

/* Of this thread: others may have the machine's cores. */
static double thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static status note(struct times *self, double seconds)
{
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items = items;
    if (s == STATUS_OK) {
        self->items[self->count++] = seconds;
    }
    return s;
}

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print_times(const char *name, struct times *self)
{
    double sum = 0;
    if (self->count == 0) {
        return;
    }
    qsort(self->items, self->count, sizeof *self->items, compare_doubles);
    for (size_t i = 0; i < self->count; i++) {
        sum += self->items[i];
    }
    printf("%-24s %8zu  mean %9.1f  p50 %9.1f  p99 %9.1f  most %9.1f us\n", name, self->count,
           sum / (double)self->count * 1e6, self->items[self->count / 2] * 1e6,
           self->items[self->count * 99 / 100] * 1e6, self->items[self->count - 1] * 1e6);
}

/* One answer's tokens under the grammar. *fits: it is one of the grammar's. */
static status go_through(struct bench *self, struct grammar_matcher *matcher,
                         const struct token_list *tokens, struct times *masks, bool *fits)
{
    TRY(grammar_matcher_reset(matcher));
    *fits = true;
    for (size_t i = 0; i < tokens->count && *fits; i++) {
        struct grammar_mask mask;
        const int32_t token = tokens->ids[i];
        const double start = thread_seconds();
        TRY(grammar_matcher_mask(matcher, &mask));
        const double masked = thread_seconds();
        const bool allowed = (mask.words[token / 32] >> (token % 32) & 1) != 0;
        TRY(grammar_matcher_accept(matcher, token, fits));
        TRY(note(&self->accepting, thread_seconds() - masked));
        TRY(note(masks, masked - start));
        if (allowed != *fits) {
            return status_fail(STATUS_INTERNAL, "a mask and a step disagree on token %d", token);
        }
    }
    *fits = *fits && grammar_matcher_may_end(matcher);
    return STATUS_OK;
}

static status tokens_of(const struct bench *self, const struct json *answer, struct token_list *out)
{
    struct buffer text = {0};
    status s = answer->type == JSON_STRING ? buffer_append(&text, answer->text, answer->length)
                                           : json_write(answer, &text);
    if (s == STATUS_OK) {
        s = tokenizer_encode(self->tokenizer, self->scratch, text.data, text.length, false, out);
    }
    buffer_destroy(&text);
    return s;
}

/* ---- Answers ---- */

static status measure_answer(struct bench *self, const struct json *answer,
                             struct grammar_matcher *matcher, bool *fits)
{
    struct token_list tokens = {0};
    status s = tokens_of(self, answer, &tokens);
    *fits = true;
    for (int round = 0; round < ROUNDS && s == STATUS_OK; round++) {
        s = go_through(self, matcher, &tokens, round == 0 ? &self->first : &self->later, fits);
    }
    token_list_destroy(&tokens);
    self->answers++;
    self->refused += !*fits;
    return s;
}

static status measure_answers(struct bench *self, const struct json *answers,
                              struct grammar_masks *masks, struct buffer *outcome)
{
    struct grammar_matcher *matcher;
    TRY(grammar_matcher_create(masks, &matcher));
    status s = STATUS_OK;
    for (size_t i = 0; i < answers->length && s == STATUS_OK; i++) {
        bool fits;
        s = measure_answer(self, answers->items[i], matcher, &fits);
        if (s == STATUS_OK) {
            s = buffer_format(outcome, "%s%s", i > 0 ? "," : "", fits ? "true" : "false");
        }
    }
    grammar_matcher_destroy(matcher);
    return s;
}

/* ---- Walks ---- */

/* The first token of the shortest end, -1 where the text may end here. */
static status towards_end(struct bench *self, struct grammar_matcher *matcher, int32_t *out)
{
    struct buffer bytes = {0};
    struct token_list tokens = {0};
    bool ok = true;
    status s = grammar_matcher_shortest(matcher, &bytes);
    if (s == STATUS_OK && bytes.length > 0) {
        s = grammar_vocabulary_spell(self->vocabulary, bytes.data, bytes.length, &tokens, &ok);
    }
    *out = tokens.count > 0 ? tokens.ids[0] : -1;
    buffer_destroy(&bytes);
    token_list_destroy(&tokens);
    return s == STATUS_OK && !ok ? status_fail(STATUS_INTERNAL, "an end that no tokens spell") : s;
}

/* *ended: the text is one of the grammar's. */
static status walk(struct bench *self, struct grammar_matcher *matcher, struct buffer *text,
                   bool *ended)
{
    *ended = false;
    for (int i = 0; i < WALK_TOKENS && !*ended; i++) {
        struct grammar_mask mask;
        int32_t token;
        bool ok;
        TRY(grammar_matcher_mask(matcher, &mask));
        token = draw_allowed(&self->random, mask.words,
                             sampling_mask_words((int)grammar_vocabulary_size(self->vocabulary)));
        const bool is_far = grammar_matcher_shortest_length(matcher) > FAR; /* as jobs refuse it */
        TRY(draw(&self->random) % 2 == 0 || is_far ? STATUS_OK
                                                   : towards_end(self, matcher, &token));
        *ended = token < 0 || grammar_vocabulary_is_end(self->vocabulary, token);
        if (!*ended) {
            TRY(grammar_vocabulary_bytes(self->vocabulary, token, text));
            TRY(grammar_matcher_accept(matcher, token, &ok));
            TRY(ok ? STATUS_OK : status_fail(STATUS_INTERNAL, "a token of a mask does not fit"));
        }
    }
    return *ended && !grammar_matcher_may_end(matcher)
               ? status_fail(STATUS_INTERNAL, "a walk ended where the text may not")
               : STATUS_OK;
}

/* The masks of a walk's text are measured with no mask known yet. */
static status measure_walk(struct bench *self, const struct grammar *grammar,
                           struct grammar_matcher *matcher, struct buffer *outcome)
{
    struct grammar_masks *masks = NULL;
    struct grammar_matcher *other = NULL;
    struct buffer text = {0};
    bool ended, fits;
    status s = grammar_matcher_reset(matcher);
    if (s == STATUS_OK) {
        s = walk(self, matcher, &text, &ended);
    }
    if (s == STATUS_OK && ended) {
        s = json_write_string(text.data != NULL ? text.data : "", text.length, outcome);
    } else if (s == STATUS_OK) {
        s = buffer_append_text(outcome, "null");
    }
    if (s == STATUS_OK) {
        s = grammar_masks_create(grammar, self->vocabulary, 0, &masks);
    }
    if (s == STATUS_OK) {
        s = grammar_matcher_create(masks, &other);
    }
    const struct json answer = {
        .type = JSON_STRING, .text = text.data != NULL ? text.data : "", .length = text.length};
    if (s == STATUS_OK) {
        s = measure_answer(self, &answer, other, &fits);
        self->refused -= s == STATUS_OK && !ended && !fits; /* it is the beginning of one */
    }
    if (s == STATUS_OK && ended && !fits) {
        s = status_fail(STATUS_INTERNAL, "what a walk wrote does not fit: %.200s", answer.text);
    }
    grammar_matcher_destroy(other);
    grammar_masks_destroy(masks);
    buffer_destroy(&text);
    return s;
}

static status measure_walks(struct bench *self, const struct grammar *grammar, int64_t walks,
                            struct grammar_masks *masks, struct buffer *outcome)
{
    struct grammar_matcher *matcher;
    TRY(grammar_matcher_create(masks, &matcher));
    status s = STATUS_OK;
    for (int64_t i = 0; i < walks && s == STATUS_OK; i++) {
        s = i > 0 ? buffer_append_byte(outcome, ',') : STATUS_OK;
        s = s == STATUS_OK ? measure_walk(self, grammar, matcher, outcome) : s;
    }
    grammar_matcher_destroy(matcher);
    return s;
}

/* ---- Cases ---- */

static status read_request(const struct json *line, struct buffer *text,
                           struct structured_request *request)
{
    static const struct {
        const char *key;
        enum structured_kind kind;
    } kinds[] = {{"schema", STRUCTURED_JSON_SCHEMA},
                 {"regex", STRUCTURED_REGEX},
                 {"grammar", STRUCTURED_GRAMMAR}};
    *request = (struct structured_request){.compile_limit = STRUCTURED_COMPILE_LIMIT};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const struct json *value = json_get(line, kinds[i].key);
        if (value != NULL) {
            request->kind = kinds[i].kind;
            TRY(value->type == JSON_STRING ? buffer_append(text, value->text, value->length)
                                           : json_write(value, text));
        }
    }
    request->text = text->data;
    request->text_length = text->length;
    return request->kind != STRUCTURED_NONE
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "a line without schema, regex and grammar");
}

static status measure_compiled(struct bench *self, const struct json *line,
                               const struct grammar *grammar, struct buffer *outcome)
{
    const struct json *answers = json_get(line, "answers"), *walks = json_get(line, "walks");
    struct grammar_masks *masks;
    int64_t count = 0;
    TRY(grammar_masks_create(grammar, self->vocabulary, 0, &masks));
    status s = buffer_append_text(outcome, "\"refused\":null,\"fits\":[");
    if (s == STATUS_OK && answers != NULL && answers->type == JSON_ARRAY) {
        s = measure_answers(self, answers, masks, outcome);
    }
    if (s == STATUS_OK) {
        s = buffer_append_text(outcome, "],\"walks\":[");
    }
    if (s == STATUS_OK && walks != NULL && json_int64(walks, &count)) {
        s = measure_walks(self, grammar, count, masks, outcome);
    }
    grammar_masks_destroy(masks);
    return s == STATUS_OK ? buffer_append_text(outcome, "]}\n") : s;
}

static status note_refusal(struct bench *self, struct buffer *outcome)
{
    char message[512];
    snprintf(message, sizeof message, "%s", status_message());
    if (self->outcomes == NULL) {
        printf("case %zu: %s\n", self->cases, message);
    }
    TRY(buffer_append_text(outcome, "\"refused\":"));
    TRY(json_write_string(message, strlen(message), outcome));
    return buffer_append_text(outcome, "}\n");
}

static status measure_request(struct bench *self, const struct json *line,
                              const struct structured_request *request, struct buffer *outcome)
{
    const struct answer_style style = {0};
    struct grammar *grammar;
    self->cases++;
    const double start = thread_seconds();
    const status compiled = structured_compile(request, &style, THINKING_NONE, &grammar);
    if (compiled == STATUS_NO_MEMORY) {
        return compiled;
    }
    if (compiled != STATUS_OK) {
        return note_refusal(self, outcome);
    }
    self->compiled++;
    status s = note(&self->compiling, thread_seconds() - start);
    if (s == STATUS_OK) {
        s = measure_compiled(self, line, grammar, outcome);
    }
    grammar_destroy(grammar);
    return s;
}

static status measure_case(struct bench *self, const struct json *line)
{
    struct buffer text = {0}, outcome = {0};
    struct structured_request request;
    const struct json *name = json_get(line, "name");
    status s = read_request(line, &text, &request);
    if (s == STATUS_OK) {
        s = buffer_append_text(&outcome, "{\"name\":");
    }
    if (s == STATUS_OK) {
        s = name != NULL ? json_write(name, &outcome) : buffer_append_text(&outcome, "null");
    }
    if (s == STATUS_OK) {
        s = buffer_append_byte(&outcome, ',');
    }
    if (s == STATUS_OK) {
        s = measure_request(self, line, &request, &outcome);
    }
    if (s == STATUS_OK && self->outcomes != NULL &&
        fwrite(outcome.data, 1, outcome.length, self->outcomes) != outcome.length) {
        s = status_fail(STATUS_IO, "the outcomes cannot be written");
    }
    buffer_destroy(&text);
    buffer_destroy(&outcome);
    return s;
}

static status measure_cases(struct bench *self, const struct buffer *text)
{
    struct arena arena = {0};
    status s = STATUS_OK;
    for (size_t start = 0; start < text->length && s == STATUS_OK;) {
        const char *line = text->data + start;
        const char *end = memchr(line, '\n', text->length - start);
        const size_t length = end != NULL ? (size_t)(end - line) : text->length - start;
        struct json *value;
        start += length + 1;
        if (length > 0) {
            arena_reset(&arena);
            s = json_parse(line, length, &arena, &value);
            s = s == STATUS_OK ? measure_case(self, value) : s;
        }
    }
    arena_destroy(&arena);
    return s;
}

static status read_tokenizer(const char *path, struct tokenizer **out)
{
    struct buffer text = {0};
    const char *dot = strrchr(path, '.');
    status s = file_read(path, FILE_LIMIT, &text);
    if (s == STATUS_OK && dot != NULL && strcmp(dot, ".tiktoken") == 0) {
        const char *slash = strrchr(path, '/');
        const struct tokenizer_files files = {.name = slash != NULL ? slash + 1 : path,
                                              .vocabulary = {text.data, text.length},
                                              .model_type = "qwen"};
        s = tokenizer_create_from_files(&files, out);
    } else if (s == STATUS_OK) {
        s = tokenizer_create(text.data, text.length, NULL, 0, out);
    }
    buffer_destroy(&text);
    return s;
}

static status measure(struct bench *self, const char *tokenizer_path, const char *cases_path)
{
    struct buffer cases = {0};
    TRY(read_tokenizer(tokenizer_path, &self->tokenizer));
    self->scratch = tokenizer_scratch_create(self->tokenizer);
    const size_t size = tokenizer_vocabulary_size(self->tokenizer);
    const int32_t end = (int32_t)size; /* a token of its own, so that a walk can end */
    const double start = thread_seconds();
    TRY(grammar_vocabulary_of(self->tokenizer, size + 1, &end, 1, &self->vocabulary));
    printf("vocabulary of %zu: its trie took %.0f ms\n", size, (thread_seconds() - start) * 1e3);
    status s = file_read(cases_path, FILE_LIMIT, &cases);
    if (s == STATUS_OK) {
        s = measure_cases(self, &cases);
    }
    buffer_destroy(&cases);
    return s;
}

int main(int argument_count, char **arguments)
{
    struct bench bench = {.random = 1};
    if (argument_count < 3) {
        fprintf(stderr, "usage: bench_grammar TOKENIZER CASES.jsonl [OUTCOMES.jsonl]\n");
        return 2;
    }
    bench.outcomes = argument_count > 3 ? fopen(arguments[3], "w") : NULL;
    status s = argument_count > 3 && bench.outcomes == NULL
                   ? status_fail(STATUS_IO, "%s: cannot be written", arguments[3])
                   : measure(&bench, arguments[1], arguments[2]);
    if (bench.outcomes != NULL && fclose(bench.outcomes) != 0 && s == STATUS_OK) {
        s = status_fail(STATUS_IO, "%s: cannot be written", arguments[3]);
    }
    if (s != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
    }
    printf("compiled %zu of %zu; of %zu answers %zu do not fit\n", bench.compiled, bench.cases,
           bench.answers, bench.refused);
    print_times("compile", &bench.compiling);
    print_times("masks, first round", &bench.first);
    print_times("masks, second round", &bench.later);
    print_times("steps", &bench.accepting);
    grammar_vocabulary_destroy(bench.vocabulary);
    tokenizer_scratch_destroy(bench.scratch);
    tokenizer_destroy(bench.tokenizer);
    free(bench.compiling.items);
    free(bench.first.items);
    free(bench.later.items);
    free(bench.accepting.items);
    return s == STATUS_OK ? 0 : 1;
}
