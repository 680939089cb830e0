/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizers of tests/data/tokenizers, as tools/pack_tokenizer.py packed them. */
#ifndef PACKED_TOKENIZER_H
#define PACKED_TOKENIZER_H

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "sluice/json.h"

static inline struct json *packed_read(const char *name, struct arena *arena)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizers/%s.json.gz", SLUICE_TEST_DATA, name);
    gzFile file = gzopen(path, "rb");
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

static inline size_t packed_number(const struct json *value)
{
    int64_t integer;
    assert_true(json_int64(value, &integer));
    return (size_t)integer;
}

static inline void packed_append(struct buffer *out, const char *text)
{
    assert_int_equal(buffer_append_text(out, text), STATUS_OK);
}

static inline void packed_append_string(struct buffer *out, const char *text, size_t length)
{
    assert_int_equal(json_write_string(text, length, out), STATUS_OK);
}

/* A merge as tools/pack_tokenizer.py wrote it. */
struct packed_merge {
    const struct json *token;
    size_t left_length;
};

static inline struct packed_merge *packed_merges(const struct json *packed, size_t *count)
{
    const struct json *numbers = json_get(packed, "merges"), *tokens = json_get(packed, "tokens");
    *count = numbers->length / 2;
    struct packed_merge *merges = calloc(*count, sizeof *merges);
    assert_non_null(merges);
    int64_t id = 0;
    for (size_t i = 0; i < *count; i++) {
        int64_t step;
        assert_true(json_int64(numbers->items[2 * i], &step));
        id += step;
        merges[i] =
            (struct packed_merge){tokens->items[id], packed_number(numbers->items[2 * i + 1])};
    }
    return merges;
}

/* The text of the tokenizer.json that was packed. */
static inline void packed_unpack(const struct json *packed, struct buffer *out)
{
    const struct json *rest = json_get(packed, "tokenizer"), *tokens = json_get(packed, "tokens");
    const struct json *model = json_get(rest, "model");
    bool pairs;
    assert_true(json_bool(json_get(packed, "merges_are_pairs"), &pairs));
    packed_append(out, "{");
    for (size_t i = 0; i < rest->length; i++) {
        if (rest->members[i].value != model) {
            packed_append_string(out, rest->members[i].key, rest->members[i].key_length);
            packed_append(out, ":");
            assert_int_equal(json_write(rest->members[i].value, out), STATUS_OK);
            packed_append(out, ",");
        }
    }
    packed_append(out, "\"model\":{");
    for (size_t i = 0; i < model->length; i++) {
        packed_append_string(out, model->members[i].key, model->members[i].key_length);
        packed_append(out, ":");
        assert_int_equal(json_write(model->members[i].value, out), STATUS_OK);
        packed_append(out, ",");
    }
    packed_append(out, "\"vocab\":{");
    for (size_t i = 0; i < tokens->length; i++) {
        packed_append_string(out, tokens->items[i]->text, tokens->items[i]->length);
        assert_int_equal(buffer_format(out, ":%zu%s", i, i + 1 < tokens->length ? "," : ""),
                         STATUS_OK);
    }
    packed_append(out, "},\"merges\":[");
    size_t count;
    struct packed_merge *merges = packed_merges(packed, &count);
    for (size_t i = 0; i < count; i++) {
        struct buffer both = {0};
        const char *token = merges[i].token->text;
        size_t left = merges[i].left_length, right = merges[i].token->length - left;
        packed_append(out, i > 0 ? "," : "");
        if (pairs) {
            packed_append(out, "[");
            packed_append_string(out, token, left);
            packed_append(out, ",");
            packed_append_string(out, token + left, right);
            packed_append(out, "]");
        } else {
            assert_int_equal(buffer_append(&both, token, left), STATUS_OK);
            packed_append(&both, " ");
            assert_int_equal(buffer_append(&both, token + left, right), STATUS_OK);
            packed_append_string(out, both.data, both.length);
        }
        buffer_destroy(&both);
    }
    free(merges);
    packed_append(out, "]}}");
}

#endif
