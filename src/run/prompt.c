/* Rows to prompts: chat template, tokenizer. */
#include "run/prompt.h"

#include <string.h>

status prompt_encoder_start(struct prompt_encoder *encoder, const struct model *model,
                            enum chat_mode chat, int64_t now)
{
    *encoder = (struct prompt_encoder){.model = model, .chat = chat, .now = now};
    const struct tokenizer *tokenizer = model_tokenizer(model);
    if (tokenizer != NULL) {
        encoder->scratch = tokenizer_scratch_create(tokenizer);
        if (encoder->scratch == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for the tokenizer");
        }
    }
    return STATUS_OK;
}

void prompt_encoder_end(struct prompt_encoder *encoder)
{
    tokenizer_scratch_destroy(encoder->scratch);
    buffer_destroy(&encoder->text);
    token_list_destroy(&encoder->tokens);
    *encoder = (struct prompt_encoder){0};
}

/* A text prompt becomes the content of one user message. */
static status render(struct prompt_encoder *encoder, const struct row *row)
{
    struct json content = {.type = JSON_STRING, .length = row->text_length, .text = row->text};
    struct json role = {.type = JSON_STRING, .length = 4, .text = "user"};
    struct json_member members[] = {{"role", 4, &role}, {"content", 7, &content}};
    struct json message = {.type = JSON_OBJECT, .length = 2, .members = members};
    struct json *items[] = {&message};
    struct json wrapped = {.type = JSON_ARRAY, .length = 1, .items = items};
    const struct json *messages = row->kind == PROMPT_TEXT ? &wrapped : row->messages;
    return model_render_chat(encoder->model, messages, row->tools, row->documents,
                             row->template_variables, true, encoder->now, &encoder->text);
}

static status copy_tokens(struct prompt_encoder *encoder, const struct row *row)
{
    void *ids = encoder->tokens.ids;
    status s = array_grow(&ids, &encoder->tokens.capacity, row->token_count, sizeof(int32_t));
    encoder->tokens.ids = ids;
    TRY(s);
    if (row->token_count > 0) {
        memcpy(encoder->tokens.ids, row->tokens, row->token_count * sizeof(int32_t));
    }
    encoder->tokens.count = row->token_count;
    return STATUS_OK;
}

status prompt_encode(struct prompt_encoder *encoder, const struct row *row)
{
    buffer_clear(&encoder->text);
    encoder->tokens.count = 0;
    if (row->kind == PROMPT_TOKENS) {
        return copy_tokens(encoder, row);
    }
    const struct tokenizer *tokenizer = model_tokenizer(encoder->model);
    if (tokenizer == NULL) {
        return status_fail(STATUS_INVALID,
                           "the model has no tokenizer: only rows of prompt_token_ids can run");
    }
    bool chat = row->kind == PROMPT_MESSAGES || encoder->chat == CHAT_ALWAYS;
    TRY(chat ? render(encoder, row) : buffer_append(&encoder->text, row->text, row->text_length));
    /* A chat template writes the special tokens itself. */
    return tokenizer_encode(tokenizer, encoder->scratch, encoder->text.data, encoder->text.length,
                            !chat, &encoder->tokens);
}
