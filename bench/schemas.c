/* SPDX-License-Identifier: Apache-2.0 */
/* How fast schemas compile, and how long a token's mask takes.
 *
 *     bench_schemas MODEL SCHEMAS.jsonl [WALKS.jsonl]
 *
 * MODEL is a directory with a tokenizer. SCHEMAS has lines {"name", "schema"}:
 * tools/make_schemas.py writes some. Each that compiles is walked by chance: half of the tokens are
 * drawn from all that are allowed, half lead to the shortest end. Then the text that came out is
 * walked as the tokenizer cuts it, and that is timed. WALKS gets the texts, for other programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/request/request.h"
#include "sluice/model.h"
#include "sluice/sampling.h"

enum { WALK_TOKENS = 200, MAX_TIMES = 1 << 20 };

struct times {
    double *values;
    size_t count;
};

struct bench {
    const struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
    struct grammar_vocabulary *vocabulary;
    int words;
    uint64_t random;
    struct times compile, mask;
    int schemas, compiled;
    FILE *walks;
};

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, status_message());
    exit(1);
}

static void note(struct times *times, double seconds)
{
    if (times->count < MAX_TIMES) {
        times->values[times->count++] = seconds;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print_times(const char *name, struct times *times)
{
    double sum = 0;
    qsort(times->values, times->count, sizeof *times->values, compare_doubles);
    for (size_t i = 0; i < times->count; i++) {
        sum += times->values[i];
    }
    const size_t last = times->count > 0 ? times->count - 1 : 0;
    printf("%-8s %7zu times, mean %9.1f us, p50 %9.1f, p90 %9.1f, p99 %9.1f, most %9.1f\n", name,
           times->count, 1e6 * sum / (double)(times->count > 0 ? times->count : 1),
           1e6 * times->values[last / 2], 1e6 * times->values[last * 9 / 10],
           1e6 * times->values[last * 99 / 100], 1e6 * times->values[last]);
}

/* Numbers that are the same in every run: splitmix64. */
static uint64_t draw(struct bench *self)
{
    uint64_t z = self->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* One of the tokens of a mask, by chance. */
static int32_t draw_allowed(struct bench *self, const uint32_t *mask)
{
    uint64_t count = 0;
    for (int i = 0; i < self->words; i++) {
        count += (uint64_t)__builtin_popcount(mask[i]);
    }
    uint64_t wanted = count > 0 ? draw(self) % count : 0;
    for (int i = 0; i < self->words; i++) {
        for (uint32_t word = mask[i]; word != 0; word &= word - 1) {
            if (wanted-- == 0) {
                return 32 * i + __builtin_ctz(word);
            }
        }
    }
    return -1;
}

/* The first token of the shortest end, -1 where the text may end here. */
static int32_t towards_end(struct bench *self, struct grammar_matcher *matcher)
{
    struct buffer bytes = {0};
    struct token_list tokens = {0};
    bool ok = false;
    if (grammar_matcher_shortest(matcher, &bytes) != STATUS_OK ||
        (bytes.length > 0 && grammar_vocabulary_spell(self->vocabulary, bytes.data, bytes.length,
                                                      &tokens, &ok) != STATUS_OK)) {
        fail("shortest end");
    }
    const int32_t first = tokens.count > 0 ? tokens.ids[0] : -1;
    buffer_destroy(&bytes);
    token_list_destroy(&tokens);
    return first;
}

static void walk(struct bench *self, struct grammar_masks *masks, struct buffer *text)
{
    struct grammar_matcher *matcher;
    if (grammar_matcher_create(masks, &matcher) != STATUS_OK) {
        fail("matcher");
    }
    for (int i = 0; i < WALK_TOKENS; i++) {
        const uint32_t *mask;
        bool ok;
        status s = grammar_matcher_mask(matcher, &mask);
        int32_t token = draw(self) % 2 == 0 ? draw_allowed(self, mask) : towards_end(self, matcher);
        if (s != STATUS_OK || token < 0 || grammar_vocabulary_is_end(self->vocabulary, token)) {
            break;
        }
        if (grammar_matcher_accept(matcher, token, &ok) != STATUS_OK || !ok ||
            tokenizer_token_bytes(self->tokenizer, token, text) != STATUS_OK) {
            fail("a token of the mask");
        }
    }
    grammar_matcher_destroy(matcher);
}

/* The text again as the tokenizer cuts it, with no mask known yet: what is timed. */
static void time_masks(struct bench *self, struct grammar *grammar, const struct buffer *text)
{
    struct token_list tokens = {0};
    struct grammar_masks *masks;
    struct grammar_matcher *matcher;
    bool ok = true;
    if (grammar_masks_create(grammar, self->vocabulary, 0, &masks) != STATUS_OK ||
        grammar_matcher_create(masks, &matcher) != STATUS_OK ||
        tokenizer_encode(self->tokenizer, self->scratch, text->data != NULL ? text->data : "",
                         text->length, false, &tokens) != STATUS_OK) {
        fail("masks");
    }
    for (size_t i = 0; ok && i < tokens.count; i++) {
        const uint32_t *mask;
        const double start = clock_seconds();
        if (grammar_matcher_mask(matcher, &mask) != STATUS_OK) {
            fail("mask");
        }
        note(&self->mask, clock_seconds() - start);
        if (grammar_matcher_accept(matcher, tokens.ids[i], &ok) != STATUS_OK) {
            fail("token");
        }
    }
    grammar_matcher_destroy(matcher);
    grammar_masks_destroy(masks);
    token_list_destroy(&tokens);
}

static void write_walk(struct bench *self, const struct json *name, const struct buffer *text)
{
    struct buffer line = {0};
    if (self->walks == NULL) {
        return;
    }
    if (buffer_append_text(&line, "{\"name\":") != STATUS_OK || json_write(name, &line) ||
        buffer_append_text(&line, ",\"text\":") ||
        json_write_string(text->data != NULL ? text->data : "", text->length, &line) ||
        buffer_append_text(&line, "}\n")) {
        fail("walk");
    }
    fwrite(line.data, 1, line.length, self->walks);
    buffer_destroy(&line);
}

static void try_schema(struct bench *self, const struct json *line)
{
    const struct answer_style style = {0};
    struct structured_request request = {.kind = STRUCTURED_JSON_SCHEMA,
                                         .compile_limit = STRUCTURED_COMPILE_LIMIT};
    struct buffer schema = {0}, text = {0};
    struct grammar *grammar;
    struct grammar_masks *masks;
    if (json_write(json_get(line, "schema"), &schema) != STATUS_OK) {
        fail("schema");
    }
    request.text = schema.data;
    request.text_length = schema.length;
    const double start = clock_seconds();
    status s = structured_compile(&request, &style, THINKING_NONE, &grammar);
    const double seconds = clock_seconds() - start;
    self->schemas++;
    if (s != STATUS_OK) {
        printf("refused  %s: %s\n", json_get(line, "name")->text, status_message());
    } else {
        self->compiled++;
        note(&self->compile, seconds);
        if (grammar_masks_create(grammar, self->vocabulary, 0, &masks) != STATUS_OK) {
            fail("masks");
        }
        walk(self, masks, &text);
        write_walk(self, json_get(line, "name"), &text);
        grammar_masks_destroy(masks);
        time_masks(self, grammar, &text);
        grammar_destroy(grammar);
    }
    buffer_destroy(&schema);
    buffer_destroy(&text);
}

static void read_schemas(struct bench *self, const char *path)
{
    struct buffer lines = {0};
    if (file_read(path, (size_t)1 << 30, &lines) != STATUS_OK) {
        fail(path);
    }
    char *rest = lines.data;
    for (char *text = strsep(&rest, "\n"); text != NULL; text = strsep(&rest, "\n")) {
        struct arena arena = {0};
        struct json *line;
        if (text[0] != '\0') {
            if (json_parse(text, strlen(text), &arena, &line) != STATUS_OK ||
                json_get(line, "name") == NULL || json_get(line, "schema") == NULL) {
                fail(path);
            }
            try_schema(self, line);
        }
        arena_destroy(&arena);
    }
    buffer_destroy(&lines);
}

int main(int argc, char **argv)
{
    struct bench bench = {.random = 1};
    struct model *model;
    if (argc < 3) {
        fprintf(stderr, "Usage: bench_schemas MODEL SCHEMAS.jsonl [WALKS.jsonl]\n");
        return 2;
    }
    if (model_open(argv[1], &model) != STATUS_OK) {
        fail(argv[1]);
    }
    bench.tokenizer = model_tokenizer(model);
    bench.scratch = tokenizer_scratch_create(bench.tokenizer);
    const size_t count = tokenizer_vocabulary_size(bench.tokenizer);
    const int32_t end = (int32_t)count;
    double start = clock_seconds();
    if (grammar_vocabulary_of(bench.tokenizer, count + 1, &end, 1, &bench.vocabulary) !=
        STATUS_OK) {
        fail("vocabulary");
    }
    printf("vocabulary of %zu tokens in %.3f s\n", count, clock_seconds() - start);
    bench.words = sampling_mask_words((int)count + 1);
    bench.walks = argc > 3 ? fopen(argv[3], "w") : NULL;
    bench.compile.values = malloc(MAX_TIMES * sizeof(double));
    bench.mask.values = malloc(MAX_TIMES * sizeof(double));
    if (bench.compile.values == NULL || bench.mask.values == NULL || bench.scratch == NULL) {
        return 1;
    }
    read_schemas(&bench, argv[2]);
    printf("%d of %d schemas compile\n", bench.compiled, bench.schemas);
    print_times("compile", &bench.compile);
    print_times("mask", &bench.mask);
    if (bench.walks != NULL) {
        fclose(bench.walks);
    }
    free(bench.compile.values);
    free(bench.mask.values);
    grammar_vocabulary_destroy(bench.vocabulary);
    tokenizer_scratch_destroy(bench.scratch);
    model_close(model);
    return 0;
}
