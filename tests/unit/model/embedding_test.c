/* SPDX-License-Identifier: Apache-2.0 */
/* What the files beside an encoder say of its embeddings, what of it is refused, and pooling by
 * hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "model/embedding.h"
#include "scratch_folder.h"

enum { POSITIONS = 512 };

static struct model *begin(void **state)
{
    static struct model model;
    model = (struct model){.path = ((struct scratch_folder *)*state)->path, .has_config = true};
    model.config.encoder = model.config.pools = true;
    model.config.head = HEAD_NONE;
    model.config.max_positions = POSITIONS;
    return &model;
}

static void put(void **state, const char *name, const char *text)
{
    assert_non_null(scratch_write(state, name, text, strlen(text)));
}

static const struct embedding_facts *open_facts(void **state)
{
    struct model *model = begin(state);
    if (embedding_open(model) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return model_embedding(model);
}

static void expect_refused(void **state, status expected, const char *message)
{
    struct model *model = begin(state);
    assert_int_equal(embedding_open(model), expected);
    if (strstr(status_message(), message) == NULL) {
        fail_msg("\"%s\" is not in: %s", message, status_message());
    }
    arena_destroy(&model->arena);
}

static void nothing_beside_it(void **state)
{
    const struct embedding_facts *facts = open_facts(state);
    assert_int_equal(facts->pooling, POOLING_MEAN);
    assert_false(facts->normalize || facts->lower_case);
    assert_null(facts->prompt);
    struct model *model = begin(state);
    model->config.pools = false;
    assert_null(model_embedding(model));
    model->config.pools = true;
    model->has_config = false;
    assert_null(model_embedding(model));
}

static const char modules[] = "[{\"type\": \"sentence_transformers.models.Transformer\", \"path\": "
                              "\"\"}, {\"type\": \"sentence_transformers.models.Pooling\", "
                              "\"path\": \"1_Pooling\"}]";

static void pooling_of_both_forms(void **state)
{
    static const struct {
        const char *config;
        enum pooling pooling;
    } cases[] = {
        {"{\"pooling_mode\": \"mean\"}", POOLING_MEAN},
        {"{\"pooling_mode\": \"cls\"}", POOLING_CLS},
        {"{\"pooling_mode\": \"max\"}", POOLING_MAX},
        {"{\"pooling_mode\": \"mean_sqrt_len_tokens\"}", POOLING_MEAN_SQRT},
        {"{\"pooling_mode\": \"lasttoken\"}", POOLING_LAST},
        {"{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": true, "
         "\"pooling_mode_mean_tokens\": false}",
         POOLING_CLS},
        {"{\"pooling_mode_mean_tokens\": true, \"pooling_mode_weightedmean_tokens\": false}",
         POOLING_MEAN},
        {"{\"pooling_mode_max_tokens\": true}", POOLING_MAX},
        {"{\"pooling_mode_mean_sqrt_len_tokens\": true}", POOLING_MEAN_SQRT},
        {"{\"pooling_mode_lasttoken\": true, \"pooling_mode_\": 3}", POOLING_LAST},
    };
    put(state, "modules.json", modules);
    assert_int_equal(mkdir(scratch_path(state, "1_Pooling"), 0700), 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put(state, "1_Pooling/config.json", cases[i].config);
        assert_int_equal(open_facts(state)->pooling, cases[i].pooling);
    }
    static const struct {
        const char *config, *message;
        status status;
    } wrong[] = {
        {"{\"pooling_mode\": \"median\"}", "\"median\" is not supported", STATUS_UNSUPPORTED},
        {"{\"pooling_mode\": 3}", "1_Pooling/config.json: pooling_mode", STATUS_INVALID},
        {"{\"pooling_mode_weightedmean_tokens\": true}",
         "pooling_mode_weightedmean_tokens is not supported", STATUS_UNSUPPORTED},
        {"{\"pooling_mode_cls_token\": true, \"pooling_mode_max_tokens\": true}",
         "2 pooling modes are true", STATUS_UNSUPPORTED},
        {"{\"pooling_mode_cls_token\": false}", "0 pooling modes are true", STATUS_UNSUPPORTED},
        {"{\"pooling_mode_cls_token\": \"yes\"}", "pooling_mode_cls_token", STATUS_INVALID},
        {"[]", "expected an object", STATUS_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        put(state, "1_Pooling/config.json", wrong[i].config);
        expect_refused(state, wrong[i].status, wrong[i].message);
    }
    assert_int_equal(remove(scratch_path(state, "1_Pooling/config.json")), 0);
    expect_refused(state, STATUS_NOT_FOUND, "1_Pooling/config.json: is not there");
}

static void modules_are_known(void **state)
{
    put(state, "modules.json",
        "[{\"type\": \"Normalize\", \"path\": \"2_Normalize\"}, {\"type\": \"a.b.Transformer\", "
        "\"path\": \"\"}]");
    assert_true(open_facts(state)->normalize);
    put(state, "modules.json", "[]");
    assert_false(open_facts(state)->normalize);
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"{}", "modules.json: expected a list of modules"},
        {"[{\"path\": \"\"}]", "expected modules with type and path"},
        {"[{\"type\": \"Normalize\"}]", "expected modules with type and path"},
        {"[{\"type\": \"Pooling\", \"path\": \"/1\"}]", "expected modules with type and path"},
        {"[{\"type\": \"Pooling\", \"path\": \"1/../..\"}]", "expected modules with type and path"},
        {"[{\"type\": \"a.CNN\", \"path\": \"3\"}]", "module \"a.CNN\" is not supported"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        put(state, "modules.json", wrong[i].text);
        expect_refused(state, i < 5 ? STATUS_INVALID : STATUS_UNSUPPORTED, wrong[i].message);
    }
    char deep[400] = "[{\"type\": \"Pooling\", \"path\": \"";
    for (int length = 199; length <= 200; length++) { /* not there, or no folder's name */
        const size_t at = strlen("[{\"type\": \"Pooling\", \"path\": \"");
        memset(deep + at, 'd', (size_t)length);
        strcpy(deep + at + length, "\"}]");
        put(state, "modules.json", deep);
        expect_refused(state, length < 200 ? STATUS_NOT_FOUND : STATUS_INVALID,
                       length < 200 ? "is not there" : "expected modules with type and path");
    }
}

enum { WIDE = 8, NARROW = 5 };

static const char dense_list[] =
    "[{\"type\": \"a.Transformer\", \"path\": \"\"}, {\"type\": \"a.Dense\", \"path\": \"2\"}]";

/* Opens a model of WIDE values with one module Dense; the model is to be destroyed. */
static status open_dense(void **state, const char *config, struct model **out)
{
    put(state, "2/config.json", config);
    *out = begin(state);
    (*out)->config.hidden = WIDE;
    return embedding_open(*out);
}

static void dense_modules(void **state)
{
    static const struct {
        const char *more;
        int activation;
        bool has_bias;
    } cases[] = {
        {"", HEAD_TANH, true},
        {", \"bias\": false", HEAD_TANH, false},
        {", \"bias\": true, \"activation_function\": \"torch.nn.modules.linear.Identity\"",
         HEAD_LINEAR, true},
        {", \"activation_function\": \"torch.nn.modules.activation.Tanh\"", HEAD_TANH, true},
        {", \"activation_function\": \"torch.nn.modules.activation.ReLU\"", HEAD_RELU, true},
        {", \"activation_function\": \"torch.nn.modules.activation.GELU\"", HEAD_GELU, true},
    };
    char config[256];
    struct model *model;
    put(state, "modules.json", dense_list);
    assert_int_equal(mkdir(scratch_path(state, "2"), 0700), 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snprintf(config, sizeof config, "{\"in_features\": 8, \"out_features\": 5%s}",
                 cases[i].more);
        if (open_dense(state, config, &model) != STATUS_OK) {
            fail_msg("%s: %s", config, status_message());
        }
        assert_int_equal(model->module_count, 1);
        assert_string_equal(model->modules[0].folder, "2");
        assert_int_equal(model->modules[0].inputs, WIDE);
        assert_int_equal(model->modules[0].outputs, NARROW);
        assert_int_equal(model->modules[0].has_bias, cases[i].has_bias);
        assert_int_equal(model->modules[0].activation, cases[i].activation);
        arena_destroy(&model->arena);
    }
}

static void wrong_dense_modules(void **state)
{
    static const struct {
        const char *config, *message;
    } wrong[] = {
        {"[]", "2/config.json: expected an object"},
        {"{\"out_features\": 5}", "in_features"},
        {"{\"in_features\": 8}", "out_features"},
        {"{\"in_features\": 8, \"out_features\": 0}", "out_features"},
        {"{\"in_features\": 7, \"out_features\": 5}", "in_features: 7 where the vectors have 8"},
        {"{\"in_features\": 8, \"out_features\": 5, \"bias\": 1}", "bias"},
        {"{\"in_features\": 8, \"out_features\": 5, \"activation_function\": \"Tanh\"}",
         "activation_function"},
        {"{\"in_features\": 8, \"out_features\": 5, \"activation_function\": 3}",
         "torch's Identity, Tanh, ReLU or GELU"},
    };
    struct model *model;
    put(state, "modules.json", dense_list);
    assert_int_equal(mkdir(scratch_path(state, "2"), 0700), 0);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(open_dense(state, wrong[i].config, &model), STATUS_INVALID);
        if (strstr(status_message(), wrong[i].message) == NULL) {
            fail_msg("\"%s\" is not in: %s", wrong[i].message, status_message());
        }
        arena_destroy(&model->arena);
    }
    assert_int_equal(remove(scratch_path(state, "2/config.json")), 0);
    expect_refused(state, STATUS_NOT_FOUND, "2/config.json: is not there");
}

/* Each takes what the one before it gives; four at most, none behind Normalize. */
static void dense_modules_follow_each_other(void **state)
{
    static const char dense[] = "{\"type\": \"Dense\", \"path\": \"2\"}";
    char list[512];
    struct model *model;
    assert_int_equal(mkdir(scratch_path(state, "2"), 0700), 0);
    for (int count = 2; count <= MODEL_MAX_MODULES + 1; count++) {
        int length = snprintf(list, sizeof list, "[%s", dense);
        for (int i = 1; i < count; i++) {
            length += snprintf(list + length, sizeof list - (size_t)length, ", %s", dense);
        }
        strcpy(list + length, "]");
        put(state, "modules.json", list);
        const status s = open_dense(state, "{\"in_features\": 8, \"out_features\": 8}", &model);
        assert_int_equal(s, count <= MODEL_MAX_MODULES ? STATUS_OK : STATUS_UNSUPPORTED);
        assert_int_equal(model->module_count, count <= MODEL_MAX_MODULES ? count : count - 1);
        arena_destroy(&model->arena);
        assert_int_equal(open_dense(state, "{\"in_features\": 8, \"out_features\": 5}", &model),
                         STATUS_INVALID); /* the second's are 5 */
        assert_non_null(strstr(status_message(), "in_features: 8 where the vectors have 5"));
        arena_destroy(&model->arena);
    }
    put(state, "modules.json",
        "[{\"type\": \"Normalize\", \"path\": \"\"}, {\"type\": \"Dense\", \"path\": \"2\"}]");
    expect_refused(state, STATUS_UNSUPPORTED, "a Dense module behind Normalize");
}

static void lengths(void **state)
{
    static const struct {
        const char *transformer, *tokenizer;
        int length;
        bool lower_case;
    } cases[] = {
        {NULL, "{\"model_max_length\": 128}", 128, false},
        {NULL, "{\"model_max_length\": 511}", 511, false},
        {NULL, "{\"model_max_length\": 513}", POSITIONS, false},
        {NULL, "{\"model_max_length\": 0}", POSITIONS, false},
        {NULL, "{\"model_max_length\": 1000000000000000019884624838656}", POSITIONS, false},
        {"{\"max_seq_length\": 256, \"do_lower_case\": true}", "{\"model_max_length\": 128}", 256,
         true},
        {"{\"max_seq_length\": 1}", "{}", 1, false},
        {"{\"max_seq_length\": 600}", "{\"model_max_length\": 128}", POSITIONS, false},
        {"{\"do_lower_case\": true}", "{\"model_max_length\": 128}", 128, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put(state, "tokenizer_config.json", cases[i].tokenizer);
        if (cases[i].transformer != NULL) {
            put(state, "sentence_bert_config.json", cases[i].transformer);
        }
        struct model *model = begin(state);
        assert_int_equal(embedding_open(model), STATUS_OK);
        assert_int_equal(model->config.max_positions, cases[i].length);
        assert_int_equal(model->embedding.lower_case, cases[i].lower_case);
    }
    put(state, "sentence_bert_config.json", "{\"max_seq_length\": 0}");
    expect_refused(state, STATUS_INVALID, "sentence_bert_config.json: max_seq_length");
    put(state, "sentence_bert_config.json", "{\"do_lower_case\": 1}");
    expect_refused(state, STATUS_INVALID, "sentence_bert_config.json: do_lower_case");
}

static void prompts(void **state)
{
    static const char file[] = "config_sentence_transformers.json";
    put(state, file, "{\"prompts\": {\"query\": \"query: \"}}");
    assert_null(open_facts(state)->prompt);
    put(state, file, "{\"prompts\": {\"query\": \"query: \"}, \"default_prompt_name\": \"query\"}");
    struct model *model = begin(state);
    assert_int_equal(embedding_open(model), STATUS_OK);
    assert_string_equal(model->embedding.prompt, "query: ");
    arena_destroy(&model->arena);
    static const char *const wrong[] = {
        "{\"prompts\": {\"query\": \"q\"}, \"default_prompt_name\": \"other\"}",
        "{\"prompts\": {\"query\": 3}, \"default_prompt_name\": \"query\"}",
        "{\"default_prompt_name\": \"query\"}",
        "{\"prompts\": {\"query\": \"q\"}, \"default_prompt_name\": 4}",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        put(state, file, wrong[i]);
        expect_refused(state, STATUS_INVALID, "default_prompt_name: names none of the prompts");
    }
}

static void pooled_by_hand(void **state)
{
    (void)state;
    static const float hidden[] = {3, -1, 1, -2, 5, -6, 7, 1}; /* four tokens of two values */
    static const struct {
        enum pooling pooling;
        float values[2];
    } cases[] = {
        {POOLING_MEAN, {4, -2}},      {POOLING_CLS, {3, -1}}, {POOLING_MAX, {7, 1}},
        {POOLING_MEAN_SQRT, {8, -4}}, {POOLING_LAST, {7, 1}},
    };
    float out[2];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        embedding_pool(cases[i].pooling, hidden, 4, 2, out);
        assert_true(out[0] == cases[i].values[0] && out[1] == cases[i].values[1]);
        embedding_normalize(out, 2);
        const double length = hypot(cases[i].values[0], cases[i].values[1]);
        assert_true(fabs(out[0] - cases[i].values[0] / length) < 1e-6);
        assert_true(fabs(out[1] - cases[i].values[1] / length) < 1e-6);
        embedding_pool(cases[i].pooling, hidden, 1, 2, out);
        embedding_normalize(out, 2);
        assert_true(fabs(out[0] - 3 / sqrt(10)) < 1e-6);
    }
    float nothing[2] = {0, 0}, little[2] = {0, 1e-13f};
    embedding_normalize(nothing, 2);
    assert_true(nothing[0] == 0 && nothing[1] == 0);
    embedding_normalize(little, 2);
    assert_true(fabs(little[1] - 0.1) < 1e-6); /* no more than by a million million */
    static const char *const names[] = {"mean", "cls", "max", "mean_sqrt_len_tokens", "lasttoken"};
    static const enum pooling order[] = {POOLING_MEAN, POOLING_CLS, POOLING_MAX, POOLING_MEAN_SQRT,
                                         POOLING_LAST};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_string_equal(pooling_name(order[i]), names[i]);
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(nothing_beside_it),
        WITH_FOLDER(pooling_of_both_forms),
        WITH_FOLDER(modules_are_known),
        WITH_FOLDER(lengths),
        WITH_FOLDER(prompts),
        cmocka_unit_test(pooled_by_hand),
        WITH_FOLDER(dense_modules),
        WITH_FOLDER(wrong_dense_modules),
        WITH_FOLDER(dense_modules_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
