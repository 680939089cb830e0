/* SPDX-License-Identifier: Apache-2.0 */
/* Model directories without tokenizer.json: token ids against those of sentencepiece, tiktoken and
 * transformers, whose files they hold (tools/make_tokenizer_folders.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "sluice/json.h"
#include "sluice/tokenizer.h"

static struct json *read_data(struct arena *arena)
{
    gzFile file = gzopen(SLUICE_TEST_DATA "/tokenizers/folders.json.gz", "rb");
    assert_non_null(file);
    struct buffer text = {0};
    static char block[1 << 16];
    int got;
    while ((got = gzread(file, block, sizeof block)) > 0) {
        assert_int_equal(buffer_append(&text, block, (size_t)got), STATUS_OK);
    }
    assert_int_equal(got, 0);
    gzclose(file);
    struct json *root;
    assert_int_equal(json_parse(text.data, text.length, arena, &root), STATUS_OK);
    buffer_destroy(&text);
    return root;
}

/* ---- A folder's files ---- */

enum { MOST_FILES = 8 };

struct folder {
    struct buffer bytes[MOST_FILES];
    struct tokenizer_files files;
};

static struct text_span *place_of(struct tokenizer_files *files, const char *name)
{
    const struct {
        const char *name;
        struct text_span *place;
    } known[] = {
        {"merges.txt", &files->merges},
        {"tokenizer_config.json", &files->config},
        {"special_tokens_map.json", &files->special_tokens_map},
        {"added_tokens.json", &files->added_tokens},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].place;
        }
    }
    files->name = name;
    return &files->vocabulary;
}

static void folder_open(struct folder *folder, const struct json *value, const struct json *blobs)
{
    const struct json *files = json_get(value, "files");
    *folder = (struct folder){.files.model_type = json_string(json_get(value, "model_type"))};
    assert_true(files->length <= MOST_FILES);
    for (size_t i = 0; i < files->length; i++) {
        int64_t index;
        assert_true(json_int64(files->members[i].value, &index));
        const struct json *text = blobs->items[index];
        struct buffer *bytes = &folder->bytes[i];
        assert_int_equal(base64_decode(text->text, text->length, bytes), STATUS_OK);
        *place_of(&folder->files, files->members[i].key) =
            (struct text_span){bytes->data, bytes->length};
    }
}

static void folder_close(struct folder *folder)
{
    for (size_t i = 0; i < MOST_FILES; i++) {
        buffer_destroy(&folder->bytes[i]);
    }
}

/* ---- Comparing ---- */

static void assert_same(const char *name, const struct json *text, const struct token_list *ids,
                        const struct json *expected)
{
    for (size_t i = 0; i < ids->count || i < expected->length; i++) {
        int64_t right = -1;
        if (i < expected->length) {
            assert_true(json_int64(expected->items[i], &right));
        }
        int64_t ours = i < ids->count ? ids->ids[i] : -1;
        if (ours != right) {
            fail_msg("%s: \"%s\": id %zu of %zu: %lld instead of %lld", name, text->text, i,
                     expected->length, (long long)ours, (long long)right);
        }
    }
}

/* Piece by piece the same text as at once. */
static void assert_streams(const struct tokenizer *tokenizer, const struct token_list *ids)
{
    struct buffer whole = {0}, streamed = {0};
    struct token_stream stream = {0};
    assert_int_equal(tokenizer_decode(tokenizer, ids->ids, ids->count, true, &whole), STATUS_OK);
    for (size_t i = 0; i < ids->count; i++) {
        assert_int_equal(token_stream_push(&stream, tokenizer, ids->ids[i], &streamed), STATUS_OK);
    }
    assert_int_equal(token_stream_finish(&stream, tokenizer, &streamed), STATUS_OK);
    assert_int_equal(whole.length, streamed.length);
    assert_memory_equal(whole.data != NULL ? whole.data : "",
                        streamed.data != NULL ? streamed.data : "", whole.length);
    token_stream_destroy(&stream);
    buffer_destroy(&whole);
    buffer_destroy(&streamed);
}

static void assert_decodes(const char *name, const struct tokenizer *tokenizer,
                           const struct token_list *ids, const struct json *expected)
{
    struct buffer text = {0};
    assert_int_equal(tokenizer_decode(tokenizer, ids->ids, ids->count, true, &text), STATUS_OK);
    if (text.length != expected->length ||
        (text.length > 0 && memcmp(text.data, expected->text, text.length) != 0)) {
        fail_msg("%s: \"%s\" instead of \"%s\"", name, text.length > 0 ? text.data : "",
                 expected->text);
    }
    buffer_destroy(&text);
}

static void check_folder(const struct json *value, const struct json *root)
{
    const struct json *texts = json_get(root, "texts");
    const struct json *special_texts = json_get(root, "special_texts");
    const char *name = json_string(json_get(value, "name"));
    const struct json *expected = json_get(value, "ids"), *decoded = json_get(value, "decoded");
    struct folder folder;
    struct tokenizer *tokenizer;
    folder_open(&folder, value, json_get(root, "blobs"));
    if (tokenizer_create_from_files(&folder.files, &tokenizer) != STATUS_OK) {
        fail_msg("%s: %s", name, status_message());
    }
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    assert_non_null(scratch);
    struct token_list ids = {0};
    for (size_t i = 0; i < expected->length; i++) {
        const struct json *text =
            i < texts->length ? texts->items[i] : special_texts->items[i - texts->length];
        ids.count = 0;
        if (tokenizer_encode(tokenizer, scratch, text->text, text->length, true, &ids) !=
            STATUS_OK) {
            fail_msg("%s: \"%s\": %s", name, text->text, status_message());
        }
        assert_same(name, text, &ids, expected->items[i]);
        assert_streams(tokenizer, &ids);
        if (decoded->items[i]->type != JSON_NULL) { /* a number: the text itself */
            bool other = decoded->items[i]->type == JSON_STRING;
            assert_decodes(name, tokenizer, &ids, other ? decoded->items[i] : text);
        }
    }
    token_list_destroy(&ids);
    tokenizer_scratch_destroy(scratch);
    tokenizer_destroy(tokenizer);
    folder_close(&folder);
}

static void folders_give_the_ids_of_their_libraries(void **state)
{
    (void)state;
    struct arena arena = {0};
    const struct json *root = read_data(&arena), *folders = json_get(root, "folders");
    assert_true(folders->length >= 20);
    for (size_t i = 0; i < folders->length; i++) {
        check_folder(folders->items[i], root);
    }
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_give_the_ids_of_their_libraries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
