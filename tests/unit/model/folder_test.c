/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in a model's folder: tokenizers of every form, weights that are missing or of another
 * shape, and tables and scales that are made of several tensors. */
#include <stdio.h>
#include <stdlib.h>

#include "load_backend.h"
#include "model/model_internal.h"
#include "model/read/model_tensors.h"
#include "model/read/tensor_source.h"
#include "scratch_folder.h"
#include "sluice/json.h"
#include "sluice/model.h"

static void put_text(void *const *state, const char *name, const char *text)
{
    assert_non_null(scratch_write(state, name, text, strlen(text)));
}

static struct model *open_model(const char *path)
{
    struct model *model;
    if (model_open(path, &model) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return model;
}

static const char *folder_of(void *const *state)
{
    return ((const struct scratch_folder *)*state)->path;
}

/* ---- Tokenizers ---- */

static void expect_ids(void *const *state, const char *text, const int32_t *ids, size_t count)
{
    struct model *model = open_model(folder_of(state));
    if (model_tokenizer(model) == NULL) {
        assert_int_equal(model_need_tokenizer(model), STATUS_INVALID);
        fail_msg("%s", status_message());
    }
    assert_int_equal(model_need_tokenizer(model), STATUS_OK);
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(model_tokenizer(model));
    struct token_list list = {0};
    assert_non_null(scratch);
    assert_int_equal(
        tokenizer_encode(model_tokenizer(model), scratch, text, strlen(text), false, &list),
        STATUS_OK);
    assert_int_equal(list.count, count);
    assert_memory_equal(list.ids, ids, count * sizeof *ids);
    token_list_destroy(&list);
    tokenizer_scratch_destroy(scratch);
    model_close(model);
}

/* There is none, for that reason. */
static void expect_none(void *const *state, const char *why)
{
    struct model *model = open_model(folder_of(state));
    assert_null(model_tokenizer(model));
    assert_int_equal(model_need_tokenizer(model), STATUS_INVALID);
    if (strstr(status_message(), why) == NULL) {
        fail_msg("expected \"%s\", got %s", why, status_message());
    }
    assert_non_null(strstr(status_message(), "; rows of text need a tokenizer.json"));
    const char *folder = folder_of(state); /* it begins with that, and names it once */
    assert_memory_equal(status_message(), folder, strlen(folder));
    assert_null(strstr(status_message() + 1, folder));
    model_close(model);
}

static void digest_of(void *const *state, char sha256_hex[65])
{
    struct model *model = open_model(folder_of(state));
    assert_int_equal(model_text_digest(model, sha256_hex), STATUS_OK);
    model_close(model);
}

/* Writes a file, which has to be one of those that texts depend on. */
static void put_and_digest(void *const *state, const char *name, const char *text,
                           char sha256_hex[65])
{
    char before[65];
    strcpy(before, sha256_hex);
    put_text(state, name, text);
    digest_of(state, sha256_hex);
    if (strcmp(before, sha256_hex) == 0) {
        fail_msg("the digest does not cover %s", name);
    }
}

/* A model's facts, so that one without a tokenizer can be opened. */
static void put_config(void *const *state)
{
    struct buffer config = {0};
    assert_int_equal(file_read(SLUICE_TEST_DATA "/models/llama/config.json", 1 << 20, &config),
                     STATUS_OK);
    put_text(state, "config.json", config.data);
    buffer_destroy(&config);
}

static const char wordpiece_config[] = "{\"tokenizer_class\":\"BertTokenizer\"}";

static void words_in_a_list(void **state)
{
    char digest[65];
    put_config(state);
    put_text(state, "tokenizer_config.json", wordpiece_config);
    digest_of(state, digest);
    put_and_digest(state, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\n##s\n", digest);
    expect_ids(state, "Hellos hello", (const int32_t[]){4, 5, 4}, 3);
    put_and_digest(state, "added_tokens.json", "{\"<x>\":6}", digest);
    expect_ids(state, "hello<x>", (const int32_t[]){4, 6}, 2);
    put_and_digest(state, "special_tokens_map.json", "{\"unk_token\":\"[UNK]\"}", digest);
    put_and_digest(state, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\n##t\n", digest);
    put_and_digest(state, "tokenizer_config.json",
                   "{\"tokenizer_class\":\"BertTokenizer\",\"do_lower_case\":false}", digest);
    /* What comes first in the table of files is read, and no other. */
    char same[65];
    put_text(state, "vocab.json", "{\"a\":0}");
    expect_none(state, "vocab.json: ");
    remove(scratch_path(state, "vocab.json"));
    digest_of(state, same);
    assert_string_equal(same, digest);
}

/* Every byte, and two merges. */
static void put_byte_vocabulary(void *const *state)
{
    struct buffer text = {0};
    assert_int_equal(buffer_append_text(&text, "{\"ab\":256,\"<s>\":257,\"abab\":258"), STATUS_OK);
    for (int byte = 0, others = 0; byte < 256; byte++) {
        const bool shown = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        assert_int_equal(
            buffer_format(&text, ",\"\\u%04x\":%d", shown ? byte : 256 + others++, byte),
            STATUS_OK);
    }
    assert_int_equal(buffer_append_text(&text, "}"), STATUS_OK);
    put_text(state, "vocab.json", text.data);
    buffer_destroy(&text);
}

static void pairs_with_their_merges(void **state)
{
    char digest[65] = "";
    put_config(state);
    put_text(state, "tokenizer_config.json", "{}");
    put_byte_vocabulary(state);
    expect_none(state, "vocab.json: ");
    put_and_digest(state, "merges.txt", "#version: 0.2\na b\nab ab\n", digest);
    expect_none(state, "vocab.json and merges.txt: "); /* of which family is not said */
    put_text(state, "tokenizer_config.json",
             "{\"tokenizer_class\":\"GPT2Tokenizer\",\"bos_token\":\"<s>\"}");
    digest_of(state, digest);
    expect_ids(state, "ababab", (const int32_t[]){258, 256}, 2);
    put_and_digest(state, "merges.txt", "#version: 0.2\na b\n", digest);
    expect_ids(state, "abab", (const int32_t[]){256, 256}, 2);
}

/* The family stands in config.json where no class does. */
static void a_family_by_its_type(void **state)
{
    put_byte_vocabulary(state);
    put_text(state, "merges.txt", "#version: 0.2\na b\n");
    put_text(state, "tokenizer_config.json", "{\"eos_token\":\"<s>\"}");
    put_config(state);
    expect_none(state, "model_type \"llama\" of config.json");
}

static void files_that_are_no_tokenizers(void **state)
{
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\n";
    put_config(state);
    put_text(state, "tokenizer_config.json", "{}");
    expect_none(state, ": no tokenizer.json, nor another file that a tokenizer is read from "
                       "(tokenizer.model, ");
    expect_none(state, ", *.tiktoken, tekken.json, vocab.json, vocab.txt)");
    put_text(state, "source.spm", "x");
    expect_none(state, "/source.spm: not a file that tokenizers are read from");
    put_text(state, "tokenizer.model", lfs);
    expect_none(state, "/tokenizer.model: a pointer of git-lfs in the file's place");
    put_text(state, "tokenizer.model", "");
    expect_none(state, "/tokenizer.model: ");
    put_text(state, "tokenizer.model", "no model");
    expect_none(state, "/tokenizer.model: neither a SentencePiece model nor tiktoken's ranks");
    remove(scratch_path(state, "tokenizer.model"));
    put_text(state, "b.tiktoken", "no ranks at all");
    expect_none(state, "/b.tiktoken: ");
    put_text(state, "a.tiktoken", "no ranks at all"); /* the first of several */
    expect_none(state, "/a.tiktoken: ");
    put_text(state, "tokenizer.json", "{");
    struct model *model;
    assert_int_equal(model_open(folder_of(state), &model), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "/tokenizer.json: "));
}

/* ---- Weights that are there or not ---- */

/* A model of the test data with each `from` in the header of its weights replaced. */
static void copy_model(void *const *state, const char *source, const char *from, const char *to)
{
    char path[512];
    struct buffer text = {0};
    uint64_t length;
    snprintf(path, sizeof path, "%s/%s/config.json", SLUICE_TEST_DATA, source);
    assert_int_equal(file_read(path, 1 << 20, &text), STATUS_OK);
    put_text(state, "config.json", text.data);
    buffer_clear(&text);
    snprintf(path, sizeof path, "%s/%s/model.safetensors", SLUICE_TEST_DATA, source);
    assert_int_equal(file_read(path, 64 << 20, &text), STATUS_OK);
    memcpy(&length, text.data, 8);
    assert_int_equal(strlen(from), strlen(to)); /* nothing moves */
    int found = 0;
    for (char *at = text.data + 8; at + strlen(from) <= text.data + 8 + length; at++) {
        if (memcmp(at, from, strlen(from)) == 0) {
            memcpy(at, to, strlen(to));
            found++;
        }
    }
    if (found == 0 && from[0] != '\0') {
        fail_msg("%s has no %s", source, from);
    }
    assert_non_null(scratch_write(state, "model.safetensors", text.data, text.length));
    buffer_destroy(&text);
}

static void expect_weights(void *const *state, status expected, const char *message)
{
    struct model *model = open_model(folder_of(state));
    const status s = model_check_weights(model);
    if (s != expected || (s != STATUS_OK && strstr(status_message(), message) == NULL)) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
    model_close(model);
}

static void every_tensor_is_looked_for(void **state)
{
    static const struct {
        const char *source, *from, *to, *message;
    } cases[] = {
        {"models/llama", "embed_tokens", "embed_tokenz", "model.embed_tokens.weight is missing"},
        {"models/llama", "model.norm.weight", "model.morn.weight", "model.norm.weight is missing"},
        {"models/llama", "lm_head", "lm_haed", "lm_head.weight is missing"},
        {"models/llama", "layers.1.self_attn.v_proj", "layers.1.self_attn.w_proj",
         "layers.1.self_attn.v_proj.weight is missing"},
        {"models/llama", "layers.1.mlp.down_proj", "layers.1.mlp.dawn_proj",
         "layers.1.mlp.down_proj.weight is missing"},
        {"models/mixtral", "experts.1.w2", "experts.1.v2", "experts.1.w2.weight is missing"},
        {"encoders/bert", "position_embeddings", "position_embeddingz",
         "position_embeddings.weight is missing"},
        {"encoders/bert", "token_type_embeddings", "token_type_embeddingz",
         "token_type_embeddings.weight is missing"},
        {"encoders/bert", "embeddings.LayerNorm.bias", "embeddings.LayerNorm.dias",
         "embeddings.LayerNorm.bias is missing"},
        /* Another shape. */
        {"encoders/bert", "\"shape\": [2, 32]", "\"shape\": [1, 64]",
         "token_type_embeddings.weight"},
        {"encoders/bert", "\"shape\": [40, 32]", "\"shape\": [32, 40]",
         "position_embeddings.weight"},
    };
    copy_model(state, "models/llama", "", "");
    expect_weights(state, STATUS_OK, "");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        copy_model(state, cases[i].source, cases[i].from, cases[i].to);
        expect_weights(state, STATUS_INVALID, cases[i].message);
    }
    remove(scratch_path(state, "model.safetensors"));
    expect_weights(state, STATUS_NOT_FOUND, folder_of(state));
    put_text(state, "pytorch_model.bin", "x");
    expect_weights(state, STATUS_NOT_FOUND, "pytorch_model.bin");
    remove(scratch_path(state, "config.json"));
    put_text(state, "tokenizer_config.json", wordpiece_config);
    put_text(state, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n");
    expect_weights(state, STATUS_NOT_FOUND, "config.json");
}

/* ---- What is made of several tensors ---- */

static struct model_weights *load(struct model *model, struct partition *partition)
{
    struct model_weights *weights;
    assert_int_equal(partition_create(model_config(model), 1, 0, 1, 0, 1, partition), STATUS_OK);
    if (model_load(model, partition, &keeping, WEIGHT_FLOAT32, &weights) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return weights;
}

static void unload(struct model *model, struct partition *partition, struct model_weights *weights)
{
    model_weights_destroy(weights, partition, &keeping);
    partition_destroy(partition);
    model_close(model);
    assert_int_equal(live_objects, 0);
}

/* Values of the tensor whose name ends so. */
static void read_tensor(const struct model *model, const char *end, int64_t first, int count,
                        float *out)
{
    struct tensor_scratch scratch = {0};
    for (size_t i = 0; i < model->tensors.count; i++) {
        const struct tensor *tensor = &model->tensors.items[i];
        const size_t length = strlen(tensor->name), end_length = strlen(end);
        if (length >= end_length && strcmp(tensor->name + length - end_length, end) == 0) {
            assert_int_equal(
                tensor_read_values(&model->tensors, tensor, first, count, &scratch, out),
                STATUS_OK);
            tensor_scratch_destroy(&scratch);
            return;
        }
    }
    fail_msg("no tensor %s", end);
}

static void positions_have_the_token_types(void **state)
{
    (void)state;
    static const char *const paths[] = {SLUICE_TEST_DATA "/encoders/bert",
                                        SLUICE_TEST_DATA "/encoders/roberta"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        float position[64], type[64];
        struct partition partition;
        struct model *model = open_model(paths[i]);
        const int width = model_config(model)->hidden;
        struct model_weights *weights = load(model, &partition);
        const int rows = model_config(model)->position_rows;
        assert_true(rows > 0 && weights->positions->rows % rows == 0);
        assert_int_equal(weights->positions->columns, width);
        for (int row = 0; row < weights->positions->rows; row++) { /* those of a type together */
            read_tensor(model, "token_type_embeddings.weight", (int64_t)(row / rows) * width, width,
                        type);
            read_tensor(model, "position_embeddings.weight", (int64_t)(row % rows) * width, width,
                        position);
            for (int column = 0; column < width; column++) {
                assert_true(weights->positions->values[row * width + column] ==
                            position[column] + type[column]);
            }
        }
        unload(model, &partition, weights);
    }
}

static void keys_and_values_have_scales_of_their_own(void **state)
{
    (void)state;
    struct partition partition;
    struct model *model = open_model(SLUICE_TEST_DATA "/models_fp8/llama_static");
    struct model_weights *weights = load(model, &partition);
    for (int layer = 0; layer < model_config(model)->layers; layer++) {
        char name[64];
        float key, value;
        snprintf(name, sizeof name, "layers.%d.self_attn.k_proj.k_scale", layer);
        read_tensor(model, name, 0, 1, &key);
        snprintf(name, sizeof name, "layers.%d.self_attn.v_proj.v_scale", layer);
        read_tensor(model, name, 0, 1, &value);
        assert_true(key != value);
        assert_true(weights->layers[layer].key_scale == key);
        assert_true(weights->layers[layer].value_scale == value);
    }
    unload(model, &partition, weights);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_in_a_list),
        TEST(pairs_with_their_merges),
        TEST(a_family_by_its_type),
        TEST(files_that_are_no_tokenizers),
        TEST(every_tensor_is_looked_for),
        TEST(positions_have_the_token_types),
        TEST(keys_and_values_have_scales_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
