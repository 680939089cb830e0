/* SPDX-License-Identifier: Apache-2.0 */
/* What grammars cost: bench_grammar TOKENIZER CASES.jsonl [ROUNDS].
 *
 * TOKENIZER is a tokenizer.json or a file of ranks (*.tiktoken). A line of CASES is an object of
 * "schema", "regex" or "grammar", and "answers": values of the schema or texts, as tokens of which
 * each grammar is gone through, with the mask before every token. The first round computes masks
 * as they are met for the first time; what later rounds find is kept from then on, as for the
 * further rows of a job. One thread. Prints the share compiled, and the times of compiling and of
 * masks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "grammar/request/request.h"
#include "sluice/json.h"

enum { FILE_LIMIT = 1 << 30 };

struct times {
    double *items;
    size_t count, capacity;
};

struct bench {
    struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
    struct grammar_vocabulary *vocabulary;
    int rounds;
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
        const uint32_t *words;
        const int32_t token = tokens->ids[i];
        const double start = thread_seconds();
        TRY(grammar_matcher_mask(matcher, &words));
        const double masked = thread_seconds();
        const bool allowed = (words[token / 32] >> (token % 32) & 1) != 0;
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

static status measure_answers(struct bench *self, const struct json *answers,
                              struct grammar_masks *masks)
{
    struct grammar_matcher *matcher;
    TRY(grammar_matcher_create(masks, &matcher));
    status s = STATUS_OK;
    for (int round = 0; round < self->rounds && s == STATUS_OK; round++) {
        for (size_t i = 0; i < answers->length && s == STATUS_OK; i++) {
            struct token_list tokens = {0};
            bool fits = true;
            s = tokens_of(self, answers->items[i], &tokens);
            if (s == STATUS_OK) {
                s = go_through(self, matcher, &tokens, round == 0 ? &self->first : &self->later,
                               &fits);
            }
            token_list_destroy(&tokens);
            self->answers += round == 0;
            self->refused += round == 0 && !fits;
        }
    }
    grammar_matcher_destroy(matcher);
    return s;
}

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

static status measure_case(struct bench *self, const struct json *line)
{
    struct buffer text = {0};
    struct structured_request request;
    struct grammar *grammar = NULL;
    struct grammar_masks *masks = NULL;
    status s = read_request(line, &text, &request);
    const double start = thread_seconds();
    if (s == STATUS_OK) {
        self->cases++;
        const struct answer_style style = {0};
        const status compiled = structured_compile(&request, &style, THINKING_NONE, &grammar);
        if (compiled != STATUS_OK) {
            printf("case %zu: %s\n", self->cases, status_message());
            buffer_destroy(&text);
            return compiled == STATUS_NO_MEMORY ? compiled : STATUS_OK;
        }
        self->compiled++;
        s = note(&self->compiling, thread_seconds() - start);
    }
    if (s == STATUS_OK) {
        s = grammar_masks_create(grammar, self->vocabulary, 0, &masks);
    }
    const struct json *answers = json_get(line, "answers");
    if (s == STATUS_OK && answers != NULL && answers->type == JSON_ARRAY) {
        s = measure_answers(self, answers, masks);
    }
    grammar_masks_destroy(masks);
    grammar_destroy(grammar);
    buffer_destroy(&text);
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
    const double start = thread_seconds();
    TRY(grammar_vocabulary_of(self->tokenizer, size, NULL, 0, &self->vocabulary));
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
    struct bench bench = {.rounds = 2};
    if (argument_count < 3) {
        fprintf(stderr, "usage: bench_grammar TOKENIZER CASES.jsonl [ROUNDS]\n");
        return 2;
    }
    bench.rounds = argument_count > 3 ? atoi(arguments[3]) : bench.rounds;
    const status s = measure(&bench, arguments[1], arguments[2]);
    if (s != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
    }
    printf("compiled %zu of %zu; of %zu answers %zu do not fit\n", bench.compiled, bench.cases,
           bench.answers, bench.refused);
    print_times("compile", &bench.compiling);
    print_times("masks, first round", &bench.first);
    print_times("masks, later rounds", &bench.later);
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
