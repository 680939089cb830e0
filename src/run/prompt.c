/* SPDX-License-Identifier: Apache-2.0 */
/* Rows to token ids: chat template, tokenizer, what is scored, what an encoder can take. */
#include "run/prompt.h"
#include "sluice/task.h"

#include <string.h>

status prompt_encoder_start(struct prompt_encoder *encoder, const struct model *model,
                            int max_tokens, int64_t now)
{
    *encoder = (struct prompt_encoder){.model = model, .max_tokens = max_tokens, .now = now};
    const struct tokenizer *tokenizer = model_tokenizer(model);
    encoder->templates = chat_cache_create();
    if (encoder->templates == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for chat templates");
    }
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
    chat_cache_destroy(encoder->templates);
    tokenizer_scratch_destroy(encoder->scratch);
    buffer_destroy(&encoder->text);
    buffer_destroy(&encoder->whole);
    token_list_destroy(&encoder->tokens);
    token_list_destroy(&encoder->content);
    *encoder = (struct prompt_encoder){0};
}

bool prompt_keeps_token_ids(const struct job *job, const struct model *model, const struct row *row)
{
    bool asked = row->return_token_ids != NULL && row->return_token_ids->boolean;
    const bool always = task_gives(task_facts(row->params.task), "token_ids");
    return job->output.include_token_ids || asked || always || row->params.sampling.logprobs >= 0 ||
           model_tokenizer(model) == NULL;
}

static status append_tokens(struct prompt_encoder *encoder, const int32_t *ids, size_t count)
{
    struct token_list *tokens = &encoder->tokens;
    void *grown = tokens->ids;
    status s = array_grow(&grown, &tokens->capacity, tokens->count + count, sizeof(int32_t));
    tokens->ids = grown;
    TRY(s);
    if (count > 0) {
        memcpy(tokens->ids + tokens->count, ids, count * sizeof(int32_t));
    }
    tokens->count += count;
    return STATUS_OK;
}

struct row_format prompt_row_format(const struct job *job)
{
    bool needs_chat = job->data.system != NULL; /* which job_load has reconciled with data.chat */
    return (struct row_format){.prompt_field = job->data.prompt_field,
                               .prompt_template = job->data.prompt_template,
                               .system = job->data.system,
                               .completion_field = job->data.completion_field,
                               .id_field = job->data.id_field,
                               .columns_are_data = !job->data.row_parameters,
                               .chat = needs_chat ? CHAT_ALWAYS : job->data.chat};
}

static status encode_text(struct prompt_encoder *encoder, const char *text, size_t length,
                          bool add_special, struct token_list *out)
{
    return tokenizer_encode(model_tokenizer(encoder->model), encoder->scratch, text, length,
                            add_special, out);
}

/* A chat template writes the special tokens itself; a request may say otherwise. */
static bool adds_special(const struct row *row, bool chat)
{
    return row->add_special_tokens != NULL ? row->add_special_tokens->boolean : !chat;
}

/* Spaces at the end of a context are the continuation's: tokens mostly begin with one. */
static size_t length_without_spaces(const struct buffer *text)
{
    static const char spaces[] = " \t\n\v\f\r";
    size_t length = text->length;
    while (length > 0 && memchr(spaces, text->data[length - 1], sizeof spaces - 1) != NULL) {
        length--;
    }
    return length;
}

/* Chat template, then tokenizer. */
static status encode_prompt(struct prompt_encoder *encoder, const struct row *row, bool chat)
{
    if (row->kind == PROMPT_TOKENS) {
        return append_tokens(encoder, row->tokens, row->token_count);
    }
    TRY(model_need_tokenizer(encoder->model));
    TRY(chat ? model_render_row(encoder->model, encoder->templates, row, encoder->now,
                                &encoder->text)
             : buffer_append(&encoder->text, row->text, row->text_length));
    const bool is_context = row->completions != NULL && !chat;
    const size_t length = is_context ? length_without_spaces(&encoder->text) : encoder->text.length;
    return encode_text(encoder, encoder->text.data, length, adds_special(row, chat),
                       &encoder->tokens);
}

/* ---- Scored rows ---- */

/* Where the tokens of the completion begin among those of both texts. Of one completion that is the
 * first that differs from the prompt's own; of several as lm-evaluation-harness has it, behind as
 * many as the prompt alone has. */
static size_t split_at(const struct row *row, const struct token_list *prompt,
                       const struct token_list *whole)
{
    size_t common = 0;
    if (row->completions != NULL) {
        return prompt->count < whole->count ? prompt->count : whole->count;
    }
    while (common < prompt->count && common < whole->count &&
           prompt->ids[common] == whole->ids[common]) {
        common++;
    }
    return common;
}

/* Prompt and completion as one text; the prompt's own tokens tell where the completion's begin. */
static status append_text(struct prompt_encoder *encoder, const struct row *row, bool chat)
{
    struct token_list *tokens = &encoder->tokens, *whole = &encoder->content;
    buffer_clear(&encoder->whole);
    whole->count = 0;
    TRY(buffer_append(&encoder->whole, encoder->text.data, encoder->text.length));
    TRY(buffer_append(&encoder->whole, row->completion, row->completion_length));
    TRY(encode_text(encoder, encoder->whole.data, encoder->whole.length, adds_special(row, chat),
                    whole));
    const size_t first = split_at(row, tokens, whole);
    tokens->count = 0;
    encoder->first_scored = first;
    return append_tokens(encoder, whole->ids, whole->count);
}

static status append_completion(struct prompt_encoder *encoder, const struct row *row, bool chat)
{
    encoder->first_scored = encoder->tokens.count;
    if (row->completion_tokens != NULL) {
        TRY(append_tokens(encoder, row->completion_tokens, row->completion_token_count));
    } else if (row->completion != NULL) {
        TRY(model_need_tokenizer(encoder->model));
        TRY(row->kind == PROMPT_TOKENS
                ? encode_text(encoder, row->completion, row->completion_length, false,
                              &encoder->tokens)
                : append_text(encoder, row, chat));
    } else {
        encoder->first_scored = 1;
    }
    if (encoder->first_scored == 0) {
        encoder->first_scored = 1; /* nothing precedes the first token */
    }
    return encoder->first_scored < encoder->tokens.count
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "nothing to score: %zu tokens, and none before the first",
                             encoder->tokens.count);
}

/* ---- Prompts that are cut ---- */

/* How many tokens the tokenizer puts before any text. */
static status count_before(struct prompt_encoder *encoder, const struct row *row, bool chat,
                           size_t *before)
{
    const struct token_list *tokens = &encoder->tokens, *nothing = &encoder->content;
    *before = 0;
    if (row->kind == PROMPT_TOKENS || !adds_special(row, chat)) {
        return STATUS_OK;
    }
    encoder->content.count = 0;
    TRY(encode_text(encoder, "", 0, true, &encoder->content));
    while (*before < nothing->count && *before < tokens->count &&
           tokens->ids[*before] == nothing->ids[*before]) {
        ++*before;
    }
    return STATUS_OK;
}

/* What the output shows of a prompt that was cut is what is left of it. */
static status rewrite_text(struct prompt_encoder *encoder, size_t before, size_t prompt)
{
    const struct tokenizer *tokenizer = model_tokenizer(encoder->model);
    if (tokenizer == NULL || encoder->text.length == 0) {
        return STATUS_OK;
    }
    buffer_clear(&encoder->text);
    return tokenizer_decode(tokenizer, encoder->tokens.ids + before, prompt - before, false,
                            &encoder->text);
}

/* How many tokens of a prompt of so many may stay, by what the row asks for. */
static status most_tokens(const struct prompt_encoder *encoder, const struct row *row,
                          size_t prompt, size_t *most)
{
    const struct generate_params *params = &row->params;
    *most = params->truncate_prompt > 0 ? (size_t)params->truncate_prompt : prompt;
    if (params->truncate_prompt >= 0 || encoder->max_tokens == 0) {
        return STATUS_OK;
    }
    const bool is_given = task_facts(params->task)->work == WORK_READ;
    int64_t behind = is_given ? (int64_t)(encoder->tokens.count - prompt) : params->max_new_tokens;
    int64_t room = encoder->max_tokens - behind;
    if (room > 0) {
        *most = (size_t)room;
        return STATUS_OK;
    }
    return encoder->tokens.count + !is_given <= (size_t)encoder->max_tokens
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "truncate_prompt_tokens: -1 leaves nothing of the prompt: the context "
                             "holds %d tokens, and %lld are to follow",
                             encoder->max_tokens, (long long)behind);
}

/* Of the prompt, which comes before what is scored, the last tokens stay, and those before any
 * text. */
static status cut_prompt(struct prompt_encoder *encoder, const struct row *row, bool chat)
{
    struct token_list *tokens = &encoder->tokens;
    bool has_completion = row->completion != NULL || row->completion_tokens != NULL;
    size_t prompt = has_completion ? encoder->first_scored : tokens->count, most, before;
    TRY(most_tokens(encoder, row, prompt, &most));
    if (prompt <= most) {
        return STATUS_OK;
    }
    TRY(count_before(encoder, row, chat, &before));
    before = before < most ? before : most;
    size_t cut = prompt - most;
    memmove(tokens->ids + before, tokens->ids + before + cut,
            (tokens->count - before - cut) * sizeof *tokens->ids);
    tokens->count -= cut;
    encoder->first_scored -= has_completion ? cut : 0;
    return rewrite_text(encoder, before, most);
}

/* ---- Embedded rows ---- */

/* What the post-processor puts around a text stays, the text loses its end. */
static status cut_content(struct prompt_encoder *encoder, size_t most)
{
    struct token_list *tokens = &encoder->tokens, *content = &encoder->content;
    content->count = 0;
    TRY(encode_text(encoder, encoder->text.data, encoder->text.length, false, content));
    size_t around = tokens->count - content->count, before = 0;
    while (before < around && (content->count == 0 || tokens->ids[before] != content->ids[0])) {
        before++;
    }
    size_t kept = most > around ? most - around : 0;
    size_t behind = around - before;
    memmove(tokens->ids + before + kept, tokens->ids + tokens->count - behind,
            behind * sizeof *tokens->ids);
    tokens->count = before + kept + behind;
    return STATUS_OK;
}

/* Tokens that stay of a text: as many as the model takes, or fewer that the row asks for. */
static size_t most_content(const struct prompt_encoder *encoder, const struct row *row)
{
    size_t most = encoder->max_tokens > 0 ? (size_t)encoder->max_tokens : SIZE_MAX;
    size_t asked = row->params.truncate_prompt > 0 ? (size_t)row->params.truncate_prompt : most;
    return asked < most ? asked : most;
}

static status encode_content(struct prompt_encoder *encoder, const struct row *row)
{
    const struct embedding_facts *facts = model_embedding(encoder->model);
    size_t most = most_content(encoder, row);
    if (row->kind == PROMPT_TOKENS) {
        bool is_cut = row->params.truncate_prompt != 0 && row->token_count > most;
        return append_tokens(encoder, row->tokens, is_cut ? most : row->token_count);
    }
    TRY(model_need_tokenizer(encoder->model));
    if (facts->prompt != NULL) {
        TRY(buffer_append_text(&encoder->text, facts->prompt));
    }
    TRY(facts->lower_case ? text_lower_case(row->text, row->text_length, &encoder->text)
                          : buffer_append(&encoder->text, row->text, row->text_length));
    TRY(encode_text(encoder, encoder->text.data, encoder->text.length, adds_special(row, false),
                    &encoder->tokens));
    return encoder->tokens.count > most ? cut_content(encoder, most) : STATUS_OK;
}

/* ---- Pairs ---- */

/* Zeros, then ones: a type for each token. */
static status take_types(struct prompt_encoder *encoder, const struct row *row)
{
    static const char what[] =
        "token_type_ids: expected a 0 for each token of the first text, then "
        "a 1 for each of the second";
    const struct json *types = row->token_types;
    if (types == NULL) {
        return STATUS_OK;
    }
    if (row->kind != PROMPT_TOKENS || types->type != JSON_ARRAY ||
        types->length != row->token_count) {
        return status_fail(STATUS_INVALID, what);
    }
    size_t second = types->length;
    for (size_t i = 0; i < types->length; i++) {
        int64_t type;
        if (!json_int64(types->items[i], &type) || type < 0 || type > 1 ||
            (type == 0 && second < i) || (type == 1 && i == 0)) {
            return status_fail(STATUS_INVALID, what);
        }
        second = type == 1 && second == types->length ? i : second;
    }
    encoder->second_text = second < encoder->tokens.count ? second : 0;
    return STATUS_OK;
}

/* A prompt with the texts of a row in their places. */
static status write_words_prompt(struct prompt_encoder *encoder, const struct row *row,
                                 const char *prompt)
{
    static const char query[] = "{query}", document[] = "{document}";
    while (*prompt != '\0') {
        if (strncmp(prompt, query, strlen(query)) == 0) {
            TRY(buffer_append(&encoder->text, row->text, row->text_length));
            prompt += strlen(query);
        } else if (strncmp(prompt, document, strlen(document)) == 0) {
            TRY(buffer_append(&encoder->text, row->completion, row->completion_length));
            prompt += strlen(document);
        } else {
            TRY(buffer_append(&encoder->text, prompt++, 1));
        }
    }
    return STATUS_OK;
}

static status encode_pair(struct prompt_encoder *encoder, const struct row *row)
{
    if (row->kind == PROMPT_TOKENS) { /* a pair already */
        TRY(append_tokens(encoder, row->tokens, row->token_count));
        return take_types(encoder, row);
    }
    if (row->completion == NULL) {
        return status_fail(STATUS_INVALID, "no document: expected a text, or documents, a list");
    }
    TRY(model_need_tokenizer(encoder->model));
    const char *prompt = model_rank_prompt(encoder->model);
    if (prompt != NULL) {
        TRY(write_words_prompt(encoder, row, prompt));
        return encode_text(encoder, encoder->text.data, encoder->text.length, false,
                           &encoder->tokens);
    }
    const struct text_span texts[2] = {{row->text, row->text_length},
                                       {row->completion, row->completion_length}};
    return tokenizer_encode_pair(model_tokenizer(encoder->model), encoder->scratch, texts,
                                 most_content(encoder, row), &encoder->tokens,
                                 &encoder->second_text);
}

/* ---- Rows of any task ---- */

static status check_truncation_side(const struct row *row, const char *side)
{
    return row->params.truncate_prompt == 0 || row->truncation_side == NULL ||
                   json_is_string(row->truncation_side, side)
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "truncation_side: only %s is supported here", side);
}

/* Of a vector that is not made for it no part is one. */
static status check_dimensions(const struct prompt_encoder *encoder, const struct row *row,
                               const struct task_facts *task)
{
    int width = model_config(encoder->model)->hidden;
    int64_t wanted = 0;
    if (row->dimensions == NULL || (json_int64(row->dimensions, &wanted) && wanted == 0)) {
        return STATUS_OK;
    }
    if (!task_gives(task, "embedding")) {
        return status_fail(STATUS_INVALID, "dimensions: only embeddings have them");
    }
    return wanted == width
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "dimensions: %.40s; this model's vectors have %d, and are not cut",
                             row->dimensions->text, width);
}

static status check_row_fits(const struct prompt_encoder *encoder, const struct row *row,
                             const struct task_facts *task)
{
    if (row->kind == PROMPT_MESSAGES && !task->takes_messages) {
        return status_fail(STATUS_INVALID, "messages: an encoder embeds plain texts");
    }
    TRY(check_truncation_side(row, task->truncation_side));
    return check_dimensions(encoder, row, task);
}

status prompt_encode(struct prompt_encoder *encoder, const struct row *row)
{
    const struct task_facts *task = task_facts(row->params.task);
    const bool chat = row->kind == PROMPT_MESSAGES;
    buffer_clear(&encoder->text);
    encoder->tokens.count = 0;
    encoder->first_scored = encoder->second_text = 0;
    TRY(check_row_fits(encoder, row, task));
    if (task->encoding == ENCODE_CONTENT && !chat) {
        TRY(encode_content(encoder, row));
        return take_types(encoder, row);
    }
    if (task->encoding == ENCODE_PAIR) {
        return encode_pair(encoder, row);
    }
    TRY(encode_prompt(encoder, row, chat));
    TRY(task->encoding == ENCODE_COMPLETION ? append_completion(encoder, row, chat) : STATUS_OK);
    return row->params.truncate_prompt != 0 ? cut_prompt(encoder, row, chat) : STATUS_OK;
}
