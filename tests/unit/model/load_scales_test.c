/* SPDX-License-Identifier: Apache-2.0 */
/* Static scales of FP8 checkpoints: the names that they are published under, shapes, and values
 * that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "model/load/scales.h"
#include "scratch_folder.h"
#include "source_rows.h"

enum { MOST_SCALES = 3, SIDE = 8 };

/* A tensor of float32 beside the weights; its name stands behind "model.layers.0.self_attn.". */
struct scale {
    const char *name, *shape;
    float values[2];
    int count;
};

/* A model of one layer with the tensors of a header and their data, both destroyed. */
static struct model *write_model(void **state, struct buffer *header, struct buffer *data)
{
    static const char config[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":1,\"hidden_size\":8,"
        "\"intermediate_size\":8,\"num_attention_heads\":1,\"vocab_size\":8,"
        "\"quantization_config\":{\"quant_method\":\"fp8\"}}";
    struct buffer file = {0};
    const uint64_t length = header->length;
    assert_int_equal(buffer_append(&file, &length, sizeof length), STATUS_OK);
    assert_int_equal(buffer_append(&file, header->data, header->length), STATUS_OK);
    assert_int_equal(buffer_append(&file, data->data, data->length), STATUS_OK);
    assert_non_null(scratch_write(state, "config.json", config, sizeof config - 1));
    assert_non_null(scratch_write(state, "model.safetensors", file.data, file.length));
    buffer_destroy(header);
    buffer_destroy(data);
    buffer_destroy(&file);
    struct model *model;
    const struct scratch_folder *folder = *state;
    if (model_open(folder->path, &model) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return model;
}

/* Its projections are FP8, with these tensors beside them. */
static struct model *make_model(void **state, const struct scale *scales)
{
    static const char *const weights[] = {"q_proj", "k_proj", "v_proj"};
    struct buffer header = {0}, data = {0};
    const char *separator = "{";
    for (size_t i = 0; i < COUNT_OF(weights); i++, separator = ",") {
        static const char values[SIDE * SIDE];
        assert_int_equal(
            buffer_format(&header,
                          "%s\"model.layers.0.self_attn.%s.weight\":{\"dtype\":\"F8_E4M3\","
                          "\"shape\":[8,8],\"data_offsets\":[%zu,%zu]}",
                          separator, weights[i], data.length, data.length + sizeof values),
            STATUS_OK);
        assert_int_equal(buffer_append(&data, values, sizeof values), STATUS_OK);
    }
    for (int i = 0; i < MOST_SCALES && scales[i].name != NULL; i++) {
        const size_t bytes = (size_t)scales[i].count * sizeof(float);
        assert_int_equal(
            buffer_format(&header,
                          ",\"model.layers.0.self_attn.%s\":{\"dtype\":\"F32\",\"shape\":%s,"
                          "\"data_offsets\":[%zu,%zu]}",
                          scales[i].name, scales[i].shape, data.length, data.length + bytes),
            STATUS_OK);
        assert_int_equal(buffer_append(&data, scales[i].values, bytes), STATUS_OK);
    }
    assert_int_equal(buffer_append(&header, "}", 1), STATUS_OK);
    return write_model(state, &header, &data);
}

static void scales_of_the_cache_have_many_names(void **state)
{
    static const struct {
        struct scale scales[MOST_SCALES];
        float key, value; /* 1: there is none */
    } cases[] = {
        {{{0}}, 1, 1},
        {{{"k_scale", "[]", {2}, 1}, {"v_scale", "[1]", {3}, 1}}, 2, 3},
        {{{"attn.k_scale", "[]", {2}, 1}, {"attn.v_scale", "[]", {3}, 1}}, 2, 3},
        {{{"k_proj.k_scale", "[1]", {2}, 1}, {"v_proj.v_scale", "[]", {3}, 1}}, 2, 3},
        {{{"qkv_proj.k_scale", "[]", {2}, 1}, {"qkv_proj.v_scale", "[]", {3}, 1}}, 2, 3},
        {{{"k_proj.output_scale", "[]", {2}, 1}, {"v_proj.output_scale", "[]", {3}, 1}}, 2, 3},
        {{{"kv_scale", "[]", {0.5f}, 1}}, 0.5f, 0.5f},
        {{{"v_scale", "[1, 1]", {3}, 1}}, 1, 3},
        /* of each head: the largest holds all */
        {{{"k_scale", "[2]", {2, 5}, 2}, {"v_scale", "[2,1,1]", {4, 3}, 2}}, 5, 4},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model *model = make_model(state, cases[i].scales);
        float key = 1, value = 1;
        assert_int_equal(load_cache_scales(model, 0, &key, &value), STATUS_OK);
        if (key != cases[i].key || value != cases[i].value) {
            fail_msg("case %zu: %g and %g", i, (double)key, (double)value);
        }
        model_close(model);
    }
}

static status input_scale(const struct model *model, enum weight_format format, float *out)
{
    struct weight_item item = {.count = 1, .part_count = 3};
    for (int i = 0; i < 3; i++) {
        item.parts[i] = (struct weight_part){
            .role = (enum tensor_role)(ROLE_Q + i), .rows = SIDE, .columns = SIDE};
    }
    *out = NAN;
    return load_input_scales(model, &item, format, out);
}

static void scales_of_inputs_have_many_names(void **state)
{
    static const struct {
        struct scale scales[MOST_SCALES];
        float input; /* 0: of each row */
    } cases[] = {
        {{{0}}, 0},
        {{{"q_proj.input_scale", "[]", {2}, 1}}, 2},
        {{{"q_proj.activation_scale", "[1]", {2}, 1}, {"k_proj.activation_scale", "[]", {3}, 1}},
         3},
        {{{"v_proj.act_scale", "[1]", {0.25f}, 1}}, 0.25f},
        {{{"q_proj.input_scale", "[]", {2}, 1},
          {"k_proj.input_scale", "[]", {5}, 1},
          {"v_proj.input_scale", "[2]", {3, 4}, 2}},
         5},
        {{{"o_proj.input_scale", "[]", {2}, 1}}, 0}, /* another product's */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model *model = make_model(state, cases[i].scales);
        float input;
        assert_int_equal(input_scale(model, WEIGHT_FP8, &input), STATUS_OK);
        if (input != cases[i].input) {
            fail_msg("case %zu: %g", i, (double)input);
        }
        /* of weights in another format it would cut inputs off */
        assert_int_equal(input_scale(model, WEIGHT_INT8, &input), STATUS_OK);
        assert_true(input == 0);
        model_close(model);
    }
}

static void what_is_no_scale_is_refused(void **state)
{
    static const struct {
        struct scale scales[MOST_SCALES];
        const char *message;
    } cases[] = {
        {{{"k_scale", "[]", {0}, 1}}, "self_attn.k_scale: 0 is no scale"},
        {{{"v_scale", "[]", {-1}, 1}}, "self_attn.v_scale: -1 is no scale"},
        {{{"v_scale", "[2]", {1, INFINITY}, 2}}, "self_attn.v_scale: inf is no scale"},
        {{{"k_scale", "[0]", {0}, 0}}, "k_scale: its shape is not one of static scales"},
        {{{"q_proj.input_scale", "[]", {0}, 1}}, "q_proj.input_scale: 0 is no scale"},
        {{{"q_proj.input_scale", "[2]", {1, -INFINITY}, 2}},
         "q_proj.input_scale: -inf is no scale"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model *model = make_model(state, cases[i].scales);
        float key, value, input;
        status s = load_cache_scales(model, 0, &key, &value);
        s = s == STATUS_OK ? input_scale(model, WEIGHT_FP8, &input) : s;
        if (s != STATUS_INVALID || strstr(status_message(), cases[i].message) == NULL) {
            fail_msg("case %zu: %s, \"%s\"", i, status_name(s), status_message());
        }
        model_close(model);
    }
}

/* The weights' own, which every row or block has. */
static void scales_of_weights_fit_them(void **state)
{
    static const struct {
        struct scale scales[MOST_SCALES];
        const char *message; /* NULL: fits */
    } cases[] = {
        {{{"q_proj.weight_scale", "[]", {2}, 1}}, NULL},
        {{{"q_proj.weight_scale_inv", "[1,2]", {2, 3}, 2}}, NULL},
        {{{"q_proj.weight_scale_inv", "[2,1]", {2, 0}, 2}}, NULL},
        {{{"q_proj.weight_scale", "[1,1,2]", {2, 3}, 2}}, "does not fit the shape of"},
        {{{"q_proj.weight_scale", "[]", {NAN}, 1}}, "nan is no scale"},
        {{{"q_proj.weight_scale", "[2,1]", {1, INFINITY}, 2}}, "inf is no scale"},
        {{{"q_proj.weight_scale", "[2]", {1, 2}, 2}}, "does not fit the shape of"},
        {{{"q_proj.weight_scale", "[]", {-1}, 1}}, "-1 is no scale"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model *model = make_model(state, cases[i].scales);
        const struct tensor *tensor =
            tensor_table_find(&model->tensors, "model.layers.0.self_attn.q_proj.weight");
        assert_non_null(tensor);
        struct tensor_scratch scratch = {0};
        struct weight_rows rows;
        const status s = source_rows(&model->tensors, tensor, (struct rectangle){0, SIDE, 0, SIDE},
                                     false, &scratch, &rows);
        if (cases[i].message == NULL
                ? s != STATUS_OK
                : s != STATUS_INVALID || strstr(status_message(), cases[i].message) == NULL) {
            fail_msg("case %zu: %s, \"%s\"", i, status_name(s), status_message());
        }
        tensor_scratch_destroy(&scratch);
        model_close(model);
    }
}

/* Long rows of which few columns are wanted are read in part. */
static void ranges_of_columns_have_their_scales(void **state)
{
    enum { ROWS = 2, COLUMNS = 1 << 15, BLOCK = 128, FIRST = 20000, COUNT = 8000 };
    static float scales[COLUMNS / BLOCK];
    static char values[ROWS * COLUMNS];
    memset(values, 0x38, sizeof values); /* 1 */
    for (int i = 0; i < COLUMNS / BLOCK; i++) {
        scales[i] = (float)(i + 1);
    }
    struct buffer header = {0}, data = {0};
    assert_int_equal(buffer_append(&data, values, sizeof values), STATUS_OK);
    assert_int_equal(buffer_append(&data, scales, sizeof scales), STATUS_OK);
    assert_int_equal(
        buffer_format(&header,
                      "{\"x.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[%d,%d],"
                      "\"data_offsets\":[0,%zu]},\"x.weight_scale_inv\":{\"dtype\":\"F32\","
                      "\"shape\":[1,%d],\"data_offsets\":[%zu,%zu]}}",
                      ROWS, COLUMNS, sizeof values, COLUMNS / BLOCK, sizeof values,
                      sizeof values + sizeof scales),
        STATUS_OK);
    struct model *model = write_model(state, &header, &data);
    struct tensor_scratch scratch = {0};
    struct weight_rows rows;
    assert_int_equal(source_rows(&model->tensors, tensor_table_find(&model->tensors, "x.weight"),
                                 (struct rectangle){0, ROWS, FIRST, COUNT}, false, &scratch, &rows),
                     STATUS_OK);
    for (int row = 0; row < ROWS; row++) {
        for (int i = 0; i < COUNT; i++) {
            const float is = ((const float *)rows.data)[(size_t)row * rows.stride + (size_t)i];
            if (is != scales[(FIRST + i) / BLOCK]) {
                fail_msg("row %d, column %d: %g", row, FIRST + i, (double)is);
            }
        }
    }
    tensor_scratch_destroy(&scratch);
    model_close(model);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(scales_of_the_cache_have_many_names), IN_FOLDER(scales_of_inputs_have_many_names),
        IN_FOLDER(what_is_no_scale_is_refused),         IN_FOLDER(scales_of_weights_fit_them),
        IN_FOLDER(ranges_of_columns_have_their_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
