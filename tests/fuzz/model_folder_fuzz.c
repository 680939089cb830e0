/* SPDX-License-Identifier: Apache-2.0 */
/* A model's small files, each ended by a NUL: config.json, generation_config.json,
 * tokenizer_config.json, special_tokens_map.json, tokenizer.json, chat_template.jinja,
 * hf_quant_config.json, chat_template.json. What opens can render a conversation or says why not.
 */
#include <sys/stat.h>

#include "fuzz.h"
#include "sluice/chat_template.h"
#include "sluice/model.h"

static const char *const names[] = {
    "config.json",    "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
    "tokenizer.json", "chat_template.jinja",    "hf_quant_config.json",  "chat_template.json"};

static void check(const struct model *model, const struct json *messages)
{
    const char *const texts[] = {model_bos_text(model), model_eos_text(model),
                                 model_pad_text(model), model_unk_text(model)};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        REQUIRE(texts[i] == NULL || utf8_valid(texts[i], strlen(texts[i]), NULL));
    }
    const struct model_config *config = model_config(model);
    REQUIRE(config == NULL ||
            (config->layers >= 1 && config->heads >= 1 && config->end_count <= 16));
    const struct chat_template *template_ = model_chat_template(model);
    if (template_ != NULL) {
        struct buffer out = {0};
        const struct chat_variables variables = {.messages = messages,
                                                 .bos_token = texts[0],
                                                 .eos_token = texts[1],
                                                 .add_generation_prompt = true,
                                                 .now = 1769862896};
        require_message(chat_template_render(template_, &variables, &out));
        buffer_destroy(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char text[] = "[{\"role\":\"user\",\"content\":\"Good morning\"}]";
    static struct arena arena;
    static struct json *messages;
    static char folder[600];
    char path[700];
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "%s/model", fuzz_folder());
        REQUIRE(mkdir(folder, 0700) == 0);
        REQUIRE(json_parse(text, sizeof text - 1, &arena, &messages) == STATUS_OK);
    }
    struct fuzz_input input = {bytes, length};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct fuzz_input content = take_text(&input);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (content.length > 0) {
            write_fuzz_file(path, content.bytes, content.length);
        } else {
            unlink(path);
        }
    }
    struct model *model;
    status s = model_open(folder, &model);
    require_message(s);
    if (s == STATUS_OK) {
        check(model, messages);
        model_close(model);
    }
    return 0;
}
