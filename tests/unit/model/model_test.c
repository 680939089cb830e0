/* SPDX-License-Identifier: Apache-2.0 */
/* Opening models: what a directory or a file may hold, what each accessor says, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "load_backend.h"
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

static void assert_refused(const char *path, status expected, const char *message)
{
    struct model *model;
    status s = model_open(path, &model);
    if (s != expected || strstr(status_message(), message) == NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
    assert_null(model);
}

/* Copies a file of the test data into the folder with every `from` of its first bytes replaced. */
static void copy_replaced(void *const *state, const char *source, const char *name,
                          const char *from, const char *to)
{
    struct buffer text = {0}, out = {0};
    assert_int_equal(file_read(source, 64 << 20, &text), STATUS_OK);
    uint64_t length;
    memcpy(&length, text.data, 8);
    assert_int_equal(buffer_append(&out, text.data, 8), STATUS_OK);
    for (const char *at = text.data + 8; at < text.data + 8 + length;) {
        bool is_here = strncmp(at, from, strlen(from)) == 0;
        assert_int_equal(buffer_append(&out, is_here ? to : at, is_here ? strlen(to) : 1),
                         STATUS_OK);
        at += is_here ? strlen(from) : 1;
    }
    uint64_t new_length = out.length - 8;
    memcpy(out.data, &new_length, 8);
    assert_int_equal(buffer_append(&out, text.data + 8 + length, text.length - 8 - length),
                     STATUS_OK);
    assert_non_null(scratch_write(state, name, out.data, out.length));
    buffer_destroy(&text);
    buffer_destroy(&out);
}

static const char tokenizer_text[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":2,\"content\":\"<s>\",\"special\":true,"
    "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],"
    "\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":null,"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}";

static status render(const struct model *model, const struct json *messages, struct buffer *out)
{
    const struct chat_request request = {.messages = messages, .add_generation_prompt = true};
    return model_render_chat(model, NULL, &request, out);
}

static void a_directory_may_be_a_tokenizer_alone(void **state)
{
    struct scratch_folder *folder = *state;
    put_text(state, "tokenizer.json", tokenizer_text);
    put_text(state, "tokenizer_config.json",
             "{\"bos_token\":{\"content\":\"<s>\",\"lstrip\":false},\"eos_token\":null,"
             "\"chat_template\":[{\"name\":\"tools\",\"template\":\"no\"},"
             "{\"name\":\"default\",\"template\":\"{{ bos_token }}{{ messages[0].content }}\"}]}");
    put_text(state, "special_tokens_map.json",
             "{\"bos_token\":\"no\",\"eos_token\":\"</s>\",\"unk_token\":{\"content\":\"?\"}}");
    struct model *model = open_model(folder->path);
    assert_null(model_config(model));
    assert_non_null(model_tokenizer(model));
    assert_non_null(model_chat_template(model));
    assert_string_equal(model_bos_text(model), "<s>");
    assert_string_equal(model_eos_text(model), "</s>");
    assert_string_equal(model_unk_text(model), "?");
    assert_null(model_pad_text(model));

    struct arena arena = {0};
    struct json *messages;
    struct buffer out = {0};
    static const char text[] = "[{\"role\":\"user\",\"content\":\"hi\"}]";
    assert_int_equal(json_parse(text, strlen(text), &arena, &messages), STATUS_OK);
    assert_int_equal(render(model, messages, &out), STATUS_OK);
    assert_string_equal(out.data, "<s>hi");
    char config[65], weights[65];
    assert_int_equal(model_digest(model, config, weights), STATUS_NOT_FOUND);
    model_close(model);

    put_text(state, "chat_template.jinja", "the file wins");
    model = open_model(folder->path);
    buffer_clear(&out);
    assert_int_equal(render(model, messages, &out), STATUS_OK);
    assert_string_equal(out.data, "the file wins");
    model_close(model);

    put_text(state, "chat_template.jinja", "{% nonsense %}");
    model = open_model(folder->path);
    assert_null(model_chat_template(model));
    assert_int_not_equal(render(model, messages, &out), STATUS_OK);
    assert_non_null(strstr(status_message(), "chat_template.jinja"));
    model_close(model);
    buffer_destroy(&out);
    arena_destroy(&arena);
}

/* More templates of rows than are kept, some of them again and again. */
static void rows_bring_templates(void **state)
{
    struct scratch_folder *folder = *state;
    put_text(state, "tokenizer.json", tokenizer_text);
    put_text(state, "tokenizer_config.json", "{\"chat_template\":\"the model's\"}");
    struct model *model = open_model(folder->path);
    struct chat_cache *cache = chat_cache_create();
    struct buffer out = {0};
    assert_non_null(cache);
    for (int i = 0; i < 200; i++) {
        char text[80], expected[80];
        int number = i % 3 == 0 ? 0 : i;
        snprintf(text, sizeof text, "{{ 'number' }} %d", number);
        snprintf(expected, sizeof expected, "number %d", number);
        const struct chat_request request = {.template_ = text, .template_length = strlen(text)};
        buffer_clear(&out);
        assert_int_equal(model_render_chat(model, cache, &request, &out), STATUS_OK);
        assert_string_equal(out.data, expected);
    }
    const struct chat_request named = {.template_ = "default", .template_length = 7};
    buffer_clear(&out);
    assert_int_equal(model_render_chat(model, cache, &named, &out), STATUS_OK);
    assert_string_equal(out.data, "the model's");
    buffer_destroy(&out);
    chat_cache_destroy(cache);
    model_close(model);
}

static void a_directory_may_be_weights_alone(void **state)
{
    (void)state;
    struct model *model = open_model(SLUICE_TEST_DATA "/models/llama");
    assert_non_null(model_config(model));
    assert_null(model_tokenizer(model));
    assert_null(model_chat_template(model));
    assert_null(model_bos_text(model));
    struct buffer out = {0};
    assert_int_equal(render(model, NULL, &out), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "no chat template"));
    model_close(model);
}

static void a_gguf_file_brings_everything(void **state)
{
    (void)state;
    struct model *model = open_model(SLUICE_TEST_DATA "/gguf/llama.gguf");
    assert_string_equal(model_config(model)->architecture, "llama");
    assert_non_null(model_tokenizer(model));
    assert_non_null(model_chat_template(model));
    assert_string_equal(model_bos_text(model), "0");
    assert_string_equal(model_eos_text(model), "t0");
    struct arena arena = {0};
    struct json *messages;
    struct buffer out = {0};
    static const char text[] = "[{\"role\":\"user\",\"content\":\"hi\"}]";
    assert_int_equal(json_parse(text, strlen(text), &arena, &messages), STATUS_OK);
    assert_int_equal(render(model, messages, &out), STATUS_OK);
    assert_string_equal(out.data, "0hit0");
    buffer_destroy(&out);
    arena_destroy(&arena);
    model_close(model);
}

static void digests_change_with_what_they_cover(void **state)
{
    struct scratch_folder *folder = *state;
    char config[65], weights[65], other_config[65], other_weights[65];
    struct model *model = open_model(SLUICE_TEST_DATA "/models/llama");
    assert_int_equal(model_digest(model, config, weights), STATUS_OK);
    model_close(model);
    assert_int_equal(strlen(config), 64);
    assert_int_equal(strlen(weights), 64);

    struct buffer text = {0};
    assert_int_equal(file_read(SLUICE_TEST_DATA "/models/llama/config.json", 1 << 20, &text),
                     STATUS_OK);
    put_text(state, "config.json", text.data);
    copy_replaced(state, SLUICE_TEST_DATA "/models/llama/model.safetensors", "model.safetensors",
                  "lm_head", "lm_haed");
    model = open_model(folder->path);
    assert_int_equal(model_digest(model, other_config, other_weights), STATUS_OK);
    assert_string_equal(config, other_config);
    assert_string_not_equal(weights, other_weights);

    /* The renamed tensor is missing, and said so. */
    struct partition part;
    struct model_weights *loaded;
    assert_int_equal(partition_create(model_config(model), 1, 0, 1, 0, 1, &part), STATUS_OK);
    assert_int_equal(model_load(model, &part, &keeping, WEIGHT_FLOAT32, &loaded), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "tensor lm_head.weight is missing"));
    assert_int_equal(model_weight_bytes(model, &part, &keeping, WEIGHT_FLOAT32), -1);
    assert_int_equal(live_objects, 0);
    partition_destroy(&part);
    model_close(model);

    assert_int_equal(buffer_append_text(&text, "\n"), STATUS_OK);
    put_text(state, "config.json", text.data);
    model = open_model(folder->path);
    assert_int_equal(model_digest(model, other_config, other_weights), STATUS_OK);
    assert_string_not_equal(config, other_config);

    /* Other values in the same places, and another template. */
    char text_before[65], text_after[65], weights_after[65];
    assert_int_equal(model_text_digest(model, text_before), STATUS_OK);
    model_close(model);
    FILE *file = fopen(scratch_path(state, "model.safetensors"), "r+b");
    assert_non_null(file);
    const float changed = 0.5F;
    assert_int_equal(fseek(file, -4, SEEK_END), 0);
    assert_int_equal(fwrite(&changed, sizeof changed, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    put_text(state, "generation_config.json", "{\"eos_token_id\": 7}");
    model = open_model(folder->path);
    assert_int_equal(model_digest(model, other_config, weights_after), STATUS_OK);
    assert_string_not_equal(other_weights, weights_after);
    assert_int_equal(model_text_digest(model, text_after), STATUS_OK);
    assert_string_not_equal(text_before, text_after);
    model_close(model);
    buffer_destroy(&text);
}

/* A text model inside of a larger one: prefixed names, its facts in text_config. */
static void prefixed_names_are_found(void **state)
{
    struct scratch_folder *folder = *state;
    struct buffer text = {0}, config = {0};
    assert_int_equal(file_read(SLUICE_TEST_DATA "/models/gemma3/config.json", 1 << 20, &text),
                     STATUS_OK);
    assert_int_equal(buffer_format(&config,
                                   "{\"architectures\":[\"Gemma3ForConditionalGeneration\"],"
                                   "\"text_config\":%s}",
                                   text.data),
                     STATUS_OK);
    put_text(state, "config.json", config.data);
    static const char *const prefixes[] = {"\"language_model.model.", "\"model.language_model."};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        copy_replaced(state, SLUICE_TEST_DATA "/models/gemma3/model.safetensors",
                      "model.safetensors", "\"model.", prefixes[i]);
        struct model *model = open_model(folder->path);
        struct partition part;
        struct model_weights *loaded;
        assert_int_equal(partition_create(model_config(model), 1, 0, 1, 0, 1, &part), STATUS_OK);
        if (model_load(model, &part, &keeping, WEIGHT_FLOAT32, &loaded) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        model_weights_destroy(loaded, &part, &keeping);
        assert_int_equal(live_objects, 0);
        partition_destroy(&part);
        model_close(model);
    }
    buffer_destroy(&text);
    buffer_destroy(&config);
}

static void shapes_must_be_the_configurations(void **state)
{
    struct scratch_folder *folder = *state;
    struct buffer text = {0};
    assert_int_equal(file_read(SLUICE_TEST_DATA "/models/llama/config.json", 1 << 20, &text),
                     STATUS_OK);
    char *number = strstr(text.data, "\"intermediate_size\": 128");
    assert_non_null(number);
    memcpy(number, "\"intermediate_size\": 129", 24);
    put_text(state, "config.json", text.data);
    copy_replaced(state, SLUICE_TEST_DATA "/models/llama/model.safetensors", "model.safetensors",
                  "@", "@");
    struct model *model = open_model(folder->path);
    struct partition part;
    struct model_weights *loaded;
    assert_int_equal(partition_create(model_config(model), 1, 0, 1, 0, 1, &part), STATUS_OK);
    assert_int_equal(model_load(model, &part, &keeping, WEIGHT_FLOAT32, &loaded), STATUS_INVALID);
    assert_non_null(strstr(status_message(),
                           "tensor model.layers.0.mlp.gate_proj.weight has shape [128, 64] where "
                           "the configuration says [129, 64]"));
    assert_int_equal(live_objects, 0);
    partition_destroy(&part);
    model_close(model);
    buffer_destroy(&text);
}

static void what_is_no_model_is_refused(void **state)
{
    struct scratch_folder *folder = *state;
    assert_refused("no/such/model", STATUS_NOT_FOUND, "no/such/model: No such file");
    assert_refused(folder->path, STATUS_NOT_FOUND, "neither config.json nor tokenizer.json");
    put_text(state, "config.json", "{\"architectures\":[\"X\"]}");
    assert_refused(folder->path, STATUS_UNSUPPORTED, "config.json: architectures: \"X\"");
    put_text(state, "config.json",
             "{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":1,\"hidden_size\":64,"
             "\"intermediate_size\":96,\"num_attention_heads\":8,\"vocab_size\":100}");
    put_text(state, "hf_quant_config.json", "{\"quantization\":{\"quant_algo\":\"W4A8_AWQ\"}}");
    assert_refused(
        folder->path, STATUS_UNSUPPORTED,
        "hf_quant_config.json: quantization: weights quantised by \"modelopt W4A8_AWQ\"");
    put_text(state, "hf_quant_config.json", "{\"quantization\":{\"quant_algo\":\"FP8\"}}");
    struct model *model = open_model(folder->path);
    assert_int_equal(model_config(model)->published, WEIGHT_FP8);
    model_close(model);
    put_text(state, "config.json", "{");
    assert_refused(folder->path, STATUS_INVALID, "config.json: byte");
    put_text(state, "model.gguf", "GGUF");
    assert_refused(scratch_path(state, "model.gguf"), STATUS_INVALID, "truncated");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_directory_may_be_a_tokenizer_alone), IN_FOLDER(rows_bring_templates),
        IN_FOLDER(a_directory_may_be_weights_alone),     IN_FOLDER(a_gguf_file_brings_everything),
        IN_FOLDER(digests_change_with_what_they_cover),  IN_FOLDER(prefixed_names_are_found),
        IN_FOLDER(shapes_must_be_the_configurations),    IN_FOLDER(what_is_no_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
