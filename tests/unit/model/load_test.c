/* SPDX-License-Identifier: Apache-2.0 */
/* Loading: every rank's pieces, over all ways to cut a model, are the file's tensors. A backend
 * that only keeps what is written stands in for a device; the expected values are read from the
 * files by this test's own few lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "load_backend.h"
#include "sluice/json.h"
#include "sluice/model.h"

/* ---- The file, read another way ---- */

struct file {
    struct buffer bytes;
    struct arena arena;
    struct json *header;
    const float *data;
    const char *family;
    const struct model_config *config;
};

static void copy_open(struct file *file, const char *family)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/models/%s/model.safetensors", SLUICE_TEST_DATA, family);
    memset(file, 0, sizeof *file);
    file->family = family;
    assert_int_equal(file_read(path, 64 << 20, &file->bytes), STATUS_OK);
    uint64_t length;
    memcpy(&length, file->bytes.data, 8);
    assert_int_equal(json_parse(file->bytes.data + 8, (size_t)length, &file->arena, &file->header),
                     STATUS_OK);
    file->data = (const float *)(file->bytes.data + 8 + length);
}

static void file_close(struct file *file)
{
    arena_destroy(&file->arena);
    buffer_destroy(&file->bytes);
}

/* The values of a tensor whose name is `format` with layer and expert filled in, or NULL. */
static const float *values_named(const struct file *file, const char *format, int layer, int expert)
{
    char name[256];
    /* The formats are this test's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(name, sizeof name, format, layer, expert);
#pragma GCC diagnostic pop
    const struct json *entry = json_get(file->header, name);
    int64_t begin;
    if (entry == NULL || !json_int64(json_get(entry, "data_offsets")->items[0], &begin)) {
        return NULL;
    }
    return file->data + begin / 4;
}

static const float *layer_values(const struct file *file, const char *name, int layer)
{
    char format[256];
    snprintf(format, sizeof format, "model.layers.%%d.%s", name);
    const float *values = values_named(file, format, layer, 0);
    if (values == NULL) {
        fail_msg("%s: layer %d has no %s", file->family, layer, name);
    }
    return values;
}

/* q, k or v rows of a layer ("weight") or their bias. */
static const float *attention_values(const struct file *file, int which, const char *kind,
                                     int layer)
{
    static const char names[] = "qkv";
    const struct model_config *config = file->config;
    char name[64];
    if (strcmp(file->family, "phi3") == 0) {
        size_t heads = which == 0 ? 0 : (size_t)(config->heads + (which - 1) * config->kv_heads);
        return layer_values(file, "self_attn.qkv_proj.weight", layer) +
               heads * (size_t)config->head_dim * (size_t)config->hidden;
    }
    snprintf(name, sizeof name, "self_attn.%c_proj.%s", names[which], kind);
    return layer_values(file, name, layer);
}

/* gate (0), up (1) or down (2) of a layer, of an expert where the model has them. */
static const float *mlp_values(const struct file *file, int which, int layer, int expert)
{
    static const char *const dense[] = {"mlp.gate_proj.weight", "mlp.up_proj.weight",
                                        "mlp.down_proj.weight"};
    static const char *const mixtral[] = {"w1", "w3", "w2"};
    static const char *const qwen[] = {"gate_proj", "up_proj", "down_proj"};
    const struct model_config *config = file->config;
    char name[96];
    if (strcmp(file->family, "phi3") == 0 && which < 2) {
        return layer_values(file, "mlp.gate_up_proj.weight", layer) +
               (size_t)which * (size_t)config->intermediate * (size_t)config->hidden;
    }
    if (config->experts == 0) {
        return layer_values(file, dense[which], layer);
    }
    if (strcmp(file->family, "mixtral") == 0) {
        snprintf(name, sizeof name, "block_sparse_moe.experts.%d.%s.weight", expert,
                 mixtral[which]);
    } else {
        snprintf(name, sizeof name, "mlp.experts.%d.%s.weight", expert, qwen[which]);
    }
    return layer_values(file, name, layer);
}

/* ---- Comparison ---- */

/* Rows [at, at + rows) of a product are rows [first, …) of `expected` [·, width], from column
 * `column` on. */
static void assert_rows(const struct matrix *matrix, int index, int at, int rows,
                        const float *expected, int width, int first, int column)
{
    assert_true(at + rows <= matrix->rows);
    for (int row = 0; row < rows; row++) {
        const float *here =
            matrix->values +
            ((size_t)index * (size_t)matrix->rows + (size_t)(at + row)) * (size_t)matrix->columns;
        const float *there = expected + (size_t)(first + row) * (size_t)width + column;
        assert_memory_equal(here, there, (size_t)matrix->columns * sizeof *here);
    }
}

static void assert_values(const struct vector *vector, int at, int count, const float *expected)
{
    assert_non_null(vector);
    assert_true(at + count <= vector->length);
    assert_memory_equal(vector->values + at, expected, (size_t)count * sizeof *expected);
}

static void check_attention(const struct file *file, const struct partition *part, int number,
                            const struct layer_weights *layer)
{
    const struct model_config *config = file->config;
    int size = config->head_dim, at = 0;
    int counts[] = {part->head_count, part->kv_head_count, part->kv_head_count};
    int firsts[] = {part->first_head, part->first_kv_head, part->first_kv_head};
    assert_true(layer->qkv->finished);
    assert_int_equal(layer->qkv->rows, (counts[0] + 2 * counts[1]) * size);
    for (int i = 0; i < 3; i++) {
        assert_rows(layer->qkv, 0, at, counts[i] * size,
                    attention_values(file, i, "weight", number), config->hidden, firsts[i] * size,
                    0);
        if (config->qkv_bias) {
            assert_values(layer->qkv_bias, at, counts[i] * size,
                          attention_values(file, i, "bias", number) + firsts[i] * size);
        }
        at += counts[i] * size;
    }
    if (config->qk_norm) {
        assert_values(layer->q_norm, 0, size,
                      layer_values(file, "self_attn.q_norm.weight", number));
        assert_values(layer->k_norm, 0, size,
                      layer_values(file, "self_attn.k_norm.weight", number));
    }
    const struct matrix *output = layer->attention_output;
    assert_int_equal(output->slices, part->local_slices);
    assert_int_equal(output->columns, part->head_count * size);
    assert_rows(output, 0, 0, config->hidden, layer_values(file, "self_attn.o_proj.weight", number),
                config->heads * size, 0, part->first_head * size);
}

static void check_mlp(const struct file *file, const struct partition *part, int number,
                      const struct layer_weights *layer)
{
    const struct model_config *config = file->config;
    int count = config->experts == 0 ? 1 : config->experts;
    int width = config->experts == 0 ? config->intermediate : config->expert_intermediate;
    int first = config->experts == 0 ? part->first_column : part->first_expert_column;
    int own = config->experts == 0 ? part->column_count : part->expert_column_count;
    assert_int_equal(layer->gate_up->count, count);
    assert_int_equal(layer->gate_up->rows, 2 * own);
    assert_int_equal(layer->down->columns, own);
    for (int expert = 0; expert < count; expert++) {
        assert_rows(layer->gate_up, expert, 0, own, mlp_values(file, 0, number, expert),
                    config->hidden, first, 0);
        assert_rows(layer->gate_up, expert, own, own, mlp_values(file, 1, number, expert),
                    config->hidden, first, 0);
        assert_rows(layer->down, expert, 0, config->hidden, mlp_values(file, 2, number, expert),
                    width, 0, first);
    }
    if (config->experts > 0) {
        const char *router = strcmp(file->family, "mixtral") == 0 ? "block_sparse_moe.gate.weight"
                                                                  : "mlp.gate.weight";
        assert_rows(layer->router, 0, 0, count, layer_values(file, router, number), config->hidden,
                    0, 0);
    }
}

static void check_norms(const struct file *file, int number, const struct layer_weights *layer)
{
    int hidden = file->config->hidden;
    bool both = file->config->post_norm;
    assert_values(layer->attention_norm, 0, hidden,
                  layer_values(file, "input_layernorm.weight", number));
    assert_values(both ? layer->attention_post_norm : layer->mlp_norm, 0, hidden,
                  layer_values(file, "post_attention_layernorm.weight", number));
    if (both) {
        assert_values(layer->mlp_norm, 0, hidden,
                      layer_values(file, "pre_feedforward_layernorm.weight", number));
        assert_values(layer->mlp_post_norm, 0, hidden,
                      layer_values(file, "post_feedforward_layernorm.weight", number));
    }
}

static void check_outside(const struct file *file, const struct partition *part,
                          const struct model_weights *weights)
{
    const struct model_config *config = file->config;
    const float *embedding = values_named(file, "model.embed_tokens.weight", 0, 0);
    const float *head =
        config->tied_embeddings ? embedding : values_named(file, "lm_head.weight", 0, 0);
    assert_int_equal(weights->embedding != NULL, part->has_embedding);
    assert_int_equal(weights->head != NULL, part->has_head);
    if (part->has_embedding) {
        assert_int_equal(weights->embedding->rows, part->vocabulary_row_count);
        assert_rows(weights->embedding, 0, 0, part->vocabulary_row_count, embedding, config->hidden,
                    part->first_vocabulary_row, 0);
    }
    if (part->has_head) {
        assert_rows(weights->head, 0, 0, part->vocabulary_row_count, head, config->hidden,
                    part->first_vocabulary_row, 0);
        assert_values(weights->final_norm, 0, config->hidden,
                      values_named(file, "model.norm.weight", 0, 0));
    }
    assert_int_equal(part->has_embedding && part->has_head && config->tied_embeddings,
                     weights->head != NULL && weights->head == weights->embedding);
}

static int64_t kept_bytes(const struct matrix *matrix)
{
    return matrix == NULL ? 0
                          : matrix_bytes(NULL, matrix->count, matrix->rows, matrix->columns, 0,
                                         matrix->stored);
}

/* Matrices only: vectors are few. */
static int64_t bytes_of(const struct partition *part, const struct model_weights *weights)
{
    int64_t bytes = kept_bytes(weights->embedding);
    bytes += weights->head == weights->embedding ? 0 : kept_bytes(weights->head);
    for (int i = 0; i < part->layer_count; i++) {
        const struct layer_weights *layer = &weights->layers[i];
        bytes += kept_bytes(layer->qkv) + kept_bytes(layer->attention_output) +
                 kept_bytes(layer->gate_up) + kept_bytes(layer->down) + kept_bytes(layer->router);
    }
    return bytes;
}

static void check_rank(struct model *model, const struct file *file, const struct partition *part)
{
    struct model_weights *weights;
    status s = model_load(model, part, &keeping, WEIGHT_FLOAT32, &weights);
    if (s != STATUS_OK) {
        fail_msg("%s: %s", file->family, status_message());
    }
    for (int i = 0; i < part->layer_count; i++) {
        check_attention(file, part, part->first_layer + i, &weights->layers[i]);
        check_mlp(file, part, part->first_layer + i, &weights->layers[i]);
        check_norms(file, part->first_layer + i, &weights->layers[i]);
    }
    check_outside(file, part, weights);
    int64_t planned = model_weight_bytes(model, part, &keeping, WEIGHT_FLOAT32);
    assert_true(planned >= bytes_of(part, weights));
    assert_true(planned < bytes_of(part, weights) + (int64_t)1024 * (part->layer_count * 8 + 1));
    model_weights_destroy(weights, part, &keeping);
}

static void check_family(const char *family)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/models/%s", SLUICE_TEST_DATA, family);
    struct model *model;
    if (model_open(path, &model) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    struct file file;
    copy_open(&file, family);
    file.config = model_config(model);
    for (int tp = 1; tp <= 8; tp *= 2) {
        for (int pp = 1; pp <= 3; pp++) {
            for (int rank = 0; rank < tp * pp; rank++) {
                struct partition part;
                assert_int_equal(
                    partition_create(file.config, tp, rank % tp, pp, rank / tp, 8, &part),
                    STATUS_OK);
                check_rank(model, &file, &part);
                partition_destroy(&part);
            }
        }
    }
    file_close(&file);
    model_close(model);
    assert_int_equal(live_objects, 0);
}

static void every_rank_has_its_part_of_the_file(void **state)
{
    (void)state;
    static const char *const families[] = {"llama",     "llama3",  "mistral", "mixtral", "gemma",
                                           "gemma2",    "gemma3",  "qwen2",   "qwen3",   "phi3",
                                           "qwen3_moe", "granite", "smollm3"};
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        check_family(families[i]);
    }
}

/* ---- GGUF, and experts in stacks ---- */

static void assert_same_matrix(const struct matrix *left, const struct matrix *right)
{
    assert_int_equal(left == NULL, right == NULL);
    if (left != NULL) {
        assert_int_equal(left->count, right->count);
        assert_int_equal(left->rows, right->rows);
        assert_int_equal(left->columns, right->columns);
        assert_memory_equal(left->values, right->values,
                            (size_t)left->count * (size_t)left->rows * (size_t)left->columns *
                                sizeof *left->values);
    }
}

static void assert_same_vector(const struct vector *left, const struct vector *right)
{
    assert_int_equal(left == NULL, right == NULL);
    if (left != NULL) {
        assert_int_equal(left->length, right->length);
        assert_values(left, 0, left->length, right->values);
    }
}

static void check_same_weights(struct model *left, struct model *right, int tp)
{
    for (int rank = 0; rank < tp; rank++) {
        struct partition part;
        struct model_weights *a, *b;
        assert_int_equal(partition_create(model_config(left), tp, rank, 1, 0, 4, &part), STATUS_OK);
        if (model_load(left, &part, &keeping, WEIGHT_FLOAT32, &a) != STATUS_OK ||
            model_load(right, &part, &keeping, WEIGHT_FLOAT32, &b) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        assert_same_matrix(a->embedding, b->embedding);
        assert_same_matrix(a->head, b->head);
        assert_same_vector(a->final_norm, b->final_norm);
        for (int i = 0; i < part.layer_count; i++) {
            const struct layer_weights *x = &a->layers[i], *y = &b->layers[i];
            assert_same_vector(x->attention_norm, y->attention_norm);
            assert_same_matrix(x->qkv, y->qkv);
            assert_same_vector(x->qkv_bias, y->qkv_bias);
            assert_same_matrix(x->attention_output, y->attention_output);
            assert_same_vector(x->attention_output_bias, y->attention_output_bias);
            assert_same_vector(x->mlp_norm, y->mlp_norm);
            assert_same_matrix(x->router, y->router);
            assert_same_matrix(x->gate_up, y->gate_up);
            assert_same_matrix(x->down, y->down);
        }
        model_weights_destroy(a, &part, &keeping);
        model_weights_destroy(b, &part, &keeping);
        partition_destroy(&part);
    }
}

static void check_same_facts(const struct model_config *a, const struct model_config *b)
{
    assert_string_equal(a->family, b->family);
    assert_int_equal(a->layers, b->layers);
    assert_int_equal(a->hidden, b->hidden);
    assert_int_equal(a->heads, b->heads);
    assert_int_equal(a->kv_heads, b->kv_heads);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->intermediate, b->intermediate);
    assert_int_equal(a->vocabulary, b->vocabulary);
    assert_int_equal(a->max_positions, b->max_positions);
    assert_int_equal(a->experts, b->experts);
    assert_int_equal(a->router.used, b->router.used);
    assert_int_equal(a->qkv_bias, b->qkv_bias);
    assert_int_equal(a->tied_embeddings, b->tied_embeddings);
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->end_count, b->end_count);
    assert_memory_equal(a->ends, b->ends, (size_t)a->end_count * sizeof *a->ends);
    assert_true(a->norm.epsilon == b->norm.epsilon);
    assert_true(a->attention_scale == b->attention_scale);
    struct arena arena = {0};
    struct rope_facts left, right;
    assert_int_equal(rope_facts_create(a, false, 256, &arena, &left), STATUS_OK);
    assert_int_equal(rope_facts_create(b, false, 256, &arena, &right), STATUS_OK);
    assert_int_equal(left.dimensions, right.dimensions);
    for (int i = 0; i < left.dimensions / 2; i++) {
        float difference = left.inverse_frequency[i] - right.inverse_frequency[i];
        assert_true(difference <= 1e-6f * left.inverse_frequency[i] &&
                    -difference <= 1e-6f * left.inverse_frequency[i]);
    }
    assert_true(left.magnitude == 1 && right.magnitude == 1);
    arena_destroy(&arena);
}

static void other_forms_load_as_the_hubs(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"llama", "llama.gguf"}, {"mixtral", "mixtral.gguf"}, {"mixtral", "mixtral_stacked"}};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[1024];
        struct model *file, *directory;
        snprintf(path, sizeof path, "%s/gguf/%s", SLUICE_TEST_DATA, names[i][1]);
        if (model_open(path, &file) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        snprintf(path, sizeof path, "%s/gguf/%s", SLUICE_TEST_DATA, names[i][0]);
        if (model_open(path, &directory) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        check_same_facts(model_config(directory), model_config(file));
        for (int tp = 1; tp <= 4; tp *= 2) {
            check_same_weights(directory, file, tp);
        }
        model_close(file);
        model_close(directory);
    }
    assert_int_equal(live_objects, 0);
}

/* ---- Random weights ---- */

static void random_values_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    struct model *model;
    assert_int_equal(model_open(SLUICE_TEST_DATA "/models/gemma2/config.json", &model), STATUS_OK);
    const struct model_config *config = model_config(model);
    struct partition whole, half;
    struct model_weights *all, *part;
    assert_int_equal(partition_create(config, 1, 0, 1, 0, 4, &whole), STATUS_OK);
    assert_int_equal(partition_create(config, 2, 1, 2, 1, 4, &half), STATUS_OK);
    assert_int_equal(model_load_random(config, &whole, &keeping, WEIGHT_FLOAT32, 7, &all),
                     STATUS_OK);
    assert_int_equal(model_load_random(config, &half, &keeping, WEIGHT_FLOAT32, 7, &part),
                     STATUS_OK);
    const struct layer_weights *from = &all->layers[half.first_layer], *to = &part->layers[0];
    int size = config->head_dim;
    assert_rows(to->qkv, 0, 0, half.head_count * size, from->qkv->values, config->hidden,
                half.first_head * size, 0);
    assert_rows(to->down, 0, 0, config->hidden, from->down->values, config->intermediate, 0,
                half.first_column);
    assert_rows(part->head, 0, 0, half.vocabulary_row_count, all->head->values, config->hidden,
                half.first_vocabulary_row, 0);
    double sum = 0, squares = 0;
    int count = from->down->rows * from->down->columns;
    for (int i = 0; i < count; i++) {
        sum += from->down->values[i];
        squares += (double)from->down->values[i] * from->down->values[i];
    }
    assert_true(sum / count < 0.002 && sum / count > -0.002);
    assert_true(squares / count > 0.00036 && squares / count < 0.00044);
    assert_true(from->down->values[0] != from->down->values[from->down->columns]);
    model_weights_destroy(all, &whole, &keeping);
    model_weights_destroy(part, &half, &keeping);
    partition_destroy(&whole);
    partition_destroy(&half);
    model_close(model);
    assert_int_equal(live_objects, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_has_its_part_of_the_file),
        cmocka_unit_test(other_forms_load_as_the_hubs),
        cmocka_unit_test(random_values_do_not_depend_on_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
