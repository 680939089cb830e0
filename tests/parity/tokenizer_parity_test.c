/* SPDX-License-Identifier: Apache-2.0 */
/* Token ids and decoded text against what the reference library gives: four tokenizers of real
 * models on 1,524 texts each, and small ones for each part that a tokenizer.json may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "packed_tokenizer.h"
#include "sluice/json.h"
#include "sluice/tokenizer.h"

static const char *const names[] = {"gemma", "llama2", "llama3_1", "qwen2_5"};

/* ---- Comparing ---- */

struct subject {
    const char *name;
    struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
};

static void subject_open(struct subject *subject, const char *name, struct tokenizer *tokenizer)
{
    *subject = (struct subject){name, tokenizer, tokenizer_scratch_create(tokenizer)};
    assert_non_null(subject->scratch);
}

static void subject_close(struct subject *subject)
{
    tokenizer_scratch_destroy(subject->scratch);
    tokenizer_destroy(subject->tokenizer);
}

static void read_ids(const struct json *ids, struct token_list *out)
{
    out->count = out->capacity = ids->length;
    out->ids = calloc(ids->length + 1, sizeof *out->ids);
    assert_non_null(out->ids);
    for (size_t i = 0; i < ids->length; i++) {
        out->ids[i] = (int32_t)packed_number(ids->items[i]);
    }
}

static void assert_encodes(const struct subject *subject, const struct json *text, bool add_special,
                           const struct token_list *expected)
{
    struct token_list ids = {0};
    if (tokenizer_encode(subject->tokenizer, subject->scratch, text->text, text->length,
                         add_special, &ids) != STATUS_OK) {
        fail_msg("%s: \"%s\": %s", subject->name, text->text, status_message());
    }
    size_t same = 0;
    while (same < ids.count && same < expected->count && ids.ids[same] == expected->ids[same]) {
        same++;
    }
    if (same != ids.count || same != expected->count) {
        fail_msg("%s: \"%s\": id %zu of %zu differs: %d instead of %d", subject->name, text->text,
                 same, expected->count, same < ids.count ? ids.ids[same] : -1,
                 same < expected->count ? expected->ids[same] : -1);
    }
    token_list_destroy(&ids);
}

static void assert_text(const struct subject *subject, const char *what, const struct buffer *got,
                        const struct json *expected)
{
    if (got->length != expected->length ||
        (got->length > 0 && memcmp(got->data, expected->text, got->length) != 0)) {
        fail_msg("%s: %s: \"%s\" instead of \"%s\"", subject->name, what,
                 got->data != NULL ? got->data : "", expected->text);
    }
}

static void assert_decodes(const struct subject *subject, const struct token_list *ids,
                           bool skip_special, const struct json *expected)
{
    struct buffer text = {0};
    assert_int_equal(
        tokenizer_decode(subject->tokenizer, ids->ids, ids->count, skip_special, &text), STATUS_OK);
    assert_text(subject, "decode", &text, expected);
    buffer_destroy(&text);
}

/* The stream's pieces joined are the whole text, and each ends at a character's end. */
static void assert_streams(const struct subject *subject, const struct token_list *ids,
                           const struct json *expected)
{
    struct buffer text = {0};
    struct token_stream stream = {0};
    for (size_t i = 0; i < ids->count; i++) {
        assert_int_equal(token_stream_push(&stream, subject->tokenizer, ids->ids[i], &text),
                         STATUS_OK);
        assert_true(text.length == 0 || utf8_valid(text.data, text.length, NULL));
    }
    assert_int_equal(token_stream_finish(&stream, subject->tokenizer, &text), STATUS_OK);
    assert_text(subject, "stream", &text, expected);
    token_stream_destroy(&stream);
    buffer_destroy(&text);
}

/* A row holds "ids" and, where they are not what one expects, "ids_special" (or the one id in
 * "front" that is more), "decoded" and "decoded_skip". */
static void assert_row(const struct subject *subject, const struct json *text,
                       const struct json *row)
{
    struct token_list ids = {0}, special = {0};
    read_ids(json_get(row, "ids"), &ids);
    const struct json *front = json_get(row, "front"), *all = json_get(row, "ids_special");
    read_ids(all != NULL ? all : json_get(row, "ids"), &special);
    if (front != NULL) {
        memmove(special.ids + 1, special.ids, special.count * sizeof *special.ids);
        special.ids[0] = (int32_t)packed_number(front);
        special.count++;
    }
    const struct json *decoded = json_get(row, "decoded"), *skip = json_get(row, "decoded_skip");
    assert_encodes(subject, text, false, &ids);
    assert_encodes(subject, text, true, &special);
    assert_decodes(subject, front != NULL ? &ids : &special, false,
                   decoded != NULL ? decoded : text);
    assert_decodes(subject, &special, true, skip != NULL ? skip : text);
    assert_streams(subject, &special, skip != NULL ? skip : text);
    token_list_destroy(&ids);
    token_list_destroy(&special);
}

/* ---- Tests ---- */

static void real_tokenizers_agree(void **state)
{
    (void)state;
    struct arena expected_arena = {0};
    const struct json *expected = packed_read("expected", &expected_arena);
    const struct json *texts = json_get(expected, "texts");
    assert_int_equal(texts->length, 1524);
    for (size_t t = 0; t < COUNT_OF(names); t++) {
        struct arena arena = {0};
        struct buffer json = {0};
        packed_unpack(packed_read(names[t], &arena), &json);
        struct tokenizer *tokenizer;
        if (tokenizer_create(json.data, json.length, NULL, 0, &tokenizer) != STATUS_OK) {
            fail_msg("%s: %s", names[t], status_message());
        }
        buffer_destroy(&json);
        arena_destroy(&arena);
        struct subject subject;
        subject_open(&subject, names[t], tokenizer);
        const struct json *rows = json_get(expected, names[t]);
        for (size_t i = 0; i < texts->length; i++) {
            assert_row(&subject, texts->items[i], rows->items[i]);
        }
        subject_close(&subject);
    }
    arena_destroy(&expected_arena);
}

static void small_tokenizers_agree(void **state)
{
    (void)state;
    struct arena arena = {0};
    const struct json *root = packed_read("cases", &arena);
    const struct json *texts = json_get(root, "texts"), *cases = json_get(root, "cases");
    assert_true(cases->length > 150);
    size_t compared = 0;
    for (size_t c = 0; c < cases->length; c++) {
        const char *name = json_string(json_get(cases->items[c], "name"));
        const struct json *rows = json_get(cases->items[c], "rows");
        struct buffer json = {0};
        assert_int_equal(json_write(json_get(cases->items[c], "tokenizer"), &json), STATUS_OK);
        struct tokenizer *tokenizer;
        if (tokenizer_create(json.data, json.length, NULL, 0, &tokenizer) != STATUS_OK) {
            fail_msg("%s: %s", name, status_message());
        }
        buffer_destroy(&json);
        struct subject subject;
        subject_open(&subject, name, tokenizer);
        for (size_t i = 0; i < texts->length; i++) {
            if (rows->items[i]->type == JSON_OBJECT) { /* null: the reference fails on it */
                assert_row(&subject, texts->items[i], rows->items[i]);
                compared++;
            }
        }
        subject_close(&subject);
    }
    assert_true(compared > 8000);
    arena_destroy(&arena);
}

/* The same vocabularies as a GGUF file would have them. */
static struct tokenizer *create_as_gguf(const char *name, const char *model, const char *pre)
{
    struct arena arena = {0};
    const struct json *packed = packed_read(name, &arena);
    const struct json *tokens = json_get(packed, "tokens");
    const struct json *added = json_get(json_get(packed, "tokenizer"), "added_tokens");
    bool by_score = strcmp(model, "llama") == 0;
    size_t count = tokens->length;
    for (size_t i = 0; i < added->length; i++) {
        size_t id = packed_number(json_get(added->items[i], "id"));
        count = id + 1 > count ? id + 1 : count;
    }
    const char **texts = calloc(count, sizeof *texts);
    float *scores = calloc(count, sizeof *scores);
    int32_t *types = calloc(count, sizeof *types);
    assert_true(texts != NULL && scores != NULL && types != NULL);
    for (size_t i = 0; i < tokens->length; i++) {
        texts[i] = tokens->items[i]->text;
        types[i] = by_score && strncmp(texts[i], "<0x", 3) == 0 ? 6 : 1;
        scores[i] = -1e9f;
    }
    for (size_t i = 0; i < added->length; i++) {
        size_t id = packed_number(json_get(added->items[i], "id"));
        texts[id] = json_string(json_get(added->items[i], "content"));
        types[id] = 3;
    }
    size_t merge_count;
    struct packed_merge *merges = packed_merges(packed, &merge_count);
    const char **merge_texts = calloc(merge_count, sizeof *merge_texts);
    assert_non_null(merge_texts);
    /* The merges were made from scores: those of one token stand together, the best token first. */
    size_t token = 0;
    for (size_t i = 0; by_score && i < merge_count; i++) {
        if (i == 0 || merges[i].token != merges[i - 1].token) {
            for (token = 0; tokens->items[token] != merges[i].token; token++) {
            }
        }
        scores[token] = scores[token] == -1e9f ? -(float)i : scores[token];
    }
    for (size_t i = 0; i < merge_count; i++) {
        struct buffer text = {0};
        assert_int_equal(buffer_append(&text, merges[i].token->text, merges[i].left_length),
                         STATUS_OK);
        packed_append(&text, " ");
        packed_append(&text, merges[i].token->text + merges[i].left_length);
        merge_texts[i] = arena_copy(&arena, text.data, text.length);
        buffer_destroy(&text);
    }
    struct gguf_vocabulary vocabulary = {.model = model,
                                         .pre = pre,
                                         .token_count = count,
                                         .tokens = texts,
                                         .scores = by_score ? scores : NULL,
                                         .types = types,
                                         .merge_count = by_score ? 0 : merge_count,
                                         .merges = by_score ? NULL : merge_texts,
                                         .bos = by_score ? 1 : (int32_t)tokens->length,
                                         .eos = 2,
                                         .unknown = by_score ? 0 : -1,
                                         .add_bos = -1,
                                         .add_eos = -1,
                                         .add_space_prefix = -1};
    struct tokenizer *tokenizer;
    if (tokenizer_create_from_gguf(&vocabulary, &tokenizer) != STATUS_OK) {
        fail_msg("%s: %s", name, status_message());
    }
    free(texts);
    free(scores);
    free(types);
    free(merges);
    free(merge_texts);
    arena_destroy(&arena);
    return tokenizer;
}

static void gguf_vocabularies_agree(void **state)
{
    (void)state;
    static const char *const files[][3] = {
        {"llama2", "llama", NULL}, {"llama3_1", "gpt2", "llama-bpe"}, {"qwen2_5", "gpt2", "qwen2"}};
    struct arena arena = {0};
    const struct json *expected = packed_read("expected", &arena);
    const struct json *texts = json_get(expected, "texts");
    for (size_t f = 0; f < COUNT_OF(files); f++) {
        struct subject subject;
        subject_open(&subject, files[f][0], create_as_gguf(files[f][0], files[f][1], files[f][2]));
        const struct json *rows = json_get(expected, files[f][0]);
        for (size_t i = 0; i < texts->length; i++) {
            assert_row(&subject, texts->items[i], rows->items[i]);
        }
        subject_close(&subject);
    }
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_tokenizers_agree),
        cmocka_unit_test(small_tokenizers_agree),
        cmocka_unit_test(gguf_vocabularies_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
