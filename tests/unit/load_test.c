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

#include "sluice/json.h"
#include "sluice/model.h"

/* ---- A backend that keeps what is written ---- */

struct matrix {
    int count, rows, columns, slices;
    int32_t slice_start[MAX_SLICES + 1];
    enum dtype stored;
    float *values;    /* [count, rows, columns] */
    uint8_t *written; /* times, likewise */
    bool finished;
};

struct vector {
    int length;
    float *values;
};

static int live_objects;

static enum dtype activation_dtype(struct backend *backend)
{
    (void)backend;
    return DTYPE_FLOAT32;
}

static status matrix_create(struct backend *backend, int count, int rows, int columns,
                            const int32_t *slice_start, int slices, enum dtype stored,
                            struct matrix **out)
{
    (void)backend;
    struct matrix *matrix = calloc(1, sizeof *matrix);
    size_t size = (size_t)count * (size_t)rows * (size_t)columns;
    matrix->count = count;
    matrix->rows = rows;
    matrix->columns = columns;
    matrix->slices = slices;
    matrix->stored = stored;
    if (slices > 0) {
        memcpy(matrix->slice_start, slice_start, (size_t)(slices + 1) * sizeof *slice_start);
        assert_int_equal(slice_start[0], 0);
        assert_int_equal(slice_start[slices], columns);
    }
    matrix->values = calloc(size + 1, sizeof *matrix->values);
    matrix->written = calloc(size + 1, 1);
    live_objects++;
    *out = matrix;
    return STATUS_OK;
}

static float half_value(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value =
        exponent == 0 ? (float)fraction / 16777216.0f : (float)(1024 + fraction) / 1024.0f;
    for (int i = 15; exponent != 0 && i < exponent; i++) {
        value *= 2;
    }
    for (int i = exponent; exponent != 0 && i < 15; i++) {
        value /= 2;
    }
    return half & 0x8000 ? -value : value;
}

static float value_of(const void *data, enum dtype type, size_t index)
{
    if (type == DTYPE_FLOAT32) {
        float value;
        memcpy(&value, (const char *)data + 4 * index, 4);
        return value;
    }
    uint16_t half;
    memcpy(&half, (const char *)data + 2 * index, 2);
    if (type == DTYPE_FLOAT16) {
        return half_value(half);
    }
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static status matrix_write(struct backend *backend, struct matrix *matrix, int index, int first_row,
                           int row_count, const void *data, enum dtype source, size_t stride)
{
    (void)backend;
    assert_in_range(index, 0, matrix->count - 1);
    assert_true(first_row >= 0 && row_count >= 0 && first_row + row_count <= matrix->rows);
    assert_true(stride >= (size_t)matrix->columns);
    assert_int_not_equal(source, DTYPE_FLOAT8_E4M3);
    for (int row = 0; row < row_count; row++) {
        size_t at = ((size_t)index * (size_t)matrix->rows + (size_t)(first_row + row)) *
                    (size_t)matrix->columns;
        for (int column = 0; column < matrix->columns; column++) {
            matrix->values[at + (size_t)column] =
                value_of(data, source, (size_t)row * stride + (size_t)column);
            matrix->written[at + (size_t)column]++;
        }
    }
    return STATUS_OK;
}

static status matrix_finish(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    size_t size = (size_t)matrix->count * (size_t)matrix->rows * (size_t)matrix->columns;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(matrix->written[i], 1);
    }
    matrix->finished = true;
    return STATUS_OK;
}

static void matrix_destroy(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    live_objects--;
    free(matrix->values);
    free(matrix->written);
    free(matrix);
}

static int64_t matrix_bytes(struct backend *backend, int count, int rows, int columns, int slices,
                            enum dtype stored)
{
    (void)backend;
    (void)slices;
    return (int64_t)count * rows * columns * (stored == DTYPE_FLOAT32 ? 4 : 2);
}

static status vector_create(struct backend *backend, int length, const float *values,
                            struct vector **out)
{
    (void)backend;
    struct vector *vector = calloc(1, sizeof *vector);
    vector->length = length;
    vector->values = malloc((size_t)length * sizeof *values + 1);
    memcpy(vector->values, values, (size_t)length * sizeof *values);
    live_objects++;
    *out = vector;
    return STATUS_OK;
}

static void vector_destroy(struct backend *backend, struct vector *vector)
{
    (void)backend;
    live_objects--;
    free(vector->values);
    free(vector);
}

static const struct backend_operations operations = {
    .activation_dtype = activation_dtype,
    .matrix_create = matrix_create,
    .matrix_write = matrix_write,
    .matrix_finish = matrix_finish,
    .matrix_destroy = matrix_destroy,
    .matrix_bytes = matrix_bytes,
    .vector_create = vector_create,
    .vector_destroy = vector_destroy,
};
static struct backend keeping = {.operations = &operations};

/* ---- The file, read another way ---- */

struct file {
    struct buffer bytes;
    struct arena arena;
    struct json *header;
    const float *data;
    const char *family;
    const struct model_config *config;
};

static void file_open(struct file *file, const char *family)
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
    status s = model_load(model, part, &keeping, DTYPE_FLOAT32, &weights);
    if (s != STATUS_OK) {
        fail_msg("%s: %s", file->family, status_message());
    }
    for (int i = 0; i < part->layer_count; i++) {
        check_attention(file, part, part->first_layer + i, &weights->layers[i]);
        check_mlp(file, part, part->first_layer + i, &weights->layers[i]);
        check_norms(file, part->first_layer + i, &weights->layers[i]);
    }
    check_outside(file, part, weights);
    int64_t planned = model_weight_bytes(model, part, &keeping, DTYPE_FLOAT32);
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
    file_open(&file, family);
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
    static const char *const families[] = {"llama", "llama3", "mistral",  "mixtral",
                                           "gemma", "gemma2", "gemma3",   "qwen2",
                                           "qwen3", "phi3",   "qwen3_moe"};
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        check_family(families[i]);
    }
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
    assert_int_equal(model_load_random(config, &whole, &keeping, DTYPE_FLOAT32, 7, &all),
                     STATUS_OK);
    assert_int_equal(model_load_random(config, &half, &keeping, DTYPE_FLOAT32, 7, &part),
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
        cmocka_unit_test(random_values_do_not_depend_on_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
