/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tasks. */
#include "sluice/task.h"

#define COMPLETIONS                                                                                \
    .endpoint = ENDPOINT_NONE, .url_end = "/completions",                                          \
    .urls = "/v1/chat/completions and /v1/completions are"

static const struct task_facts table[] = {
    [TASK_GENERATE] = {.name = "generate",
                       .done = "generated from",
                       .refused = {"task: ", " is an encoder: it embeds and does not generate; use "
                                             "task: embed"},
                       .takes_messages = true,
                       COMPLETIONS,
                       .encoding = ENCODE_PROMPT,
                       .truncation_side = "left",
                       .work = WORK_SAMPLE,
                       .gives_if_asked = ANSWER_TOKEN_IDS | ANSWER_LOGPROBS},
    [TASK_SCORE] = {.name = "score",
                    .done = "scored",
                    .refused = {"generate.mode: score: ",
                                " is an encoder, which gives tokens no probabilities"},
                    .takes_messages = true,
                    .takes_completion = true,
                    COMPLETIONS,
                    .encoding = ENCODE_COMPLETION,
                    .truncation_side = "left",
                    .work = WORK_READ,
                    .gives = ANSWER_TOKEN_IDS | ANSWER_LOGPROBS | ANSWER_SUMS,
                    .gives_if_asked = ANSWER_TOKEN_IDS | ANSWER_LOGPROBS},
    [TASK_EMBED] = {.name = "embed",
                    .done = "embedded",
                    .needs_encoder = true,
                    .refused = {"task: ", " generates; embed is for encoders (BERT, RoBERTa)"},
                    .prompt_name = "input",
                    .endpoint = ENDPOINT_EMBEDDINGS,
                    .url_end = "/embeddings",
                    .urls = "/v1/embeddings is",
                    .encoding = ENCODE_CONTENT,
                    .truncation_side = "right",
                    .work = WORK_POOL,
                    .gives = ANSWER_VECTOR},
};
_Static_assert(COUNT_OF(table) == TASKS, "every task has a row");

const struct task_facts *task_facts(enum task task)
{
    return &table[task];
}

void task_choose_columns(const struct task_facts *task, int width, struct output_columns *columns)
{
    const bool may_have_ids = (task->gives_if_asked & ANSWER_TOKEN_IDS) != 0;
    const bool may_have_logprobs = (task->gives_if_asked & ANSWER_LOGPROBS) != 0;
    columns->token_ids =
        (columns->token_ids && may_have_ids) || (task->gives & ANSWER_TOKEN_IDS) != 0;
    columns->logprobs =
        (columns->logprobs && may_have_logprobs) || (task->gives & ANSWER_LOGPROBS) != 0;
    columns->top_logprobs = may_have_logprobs ? columns->top_logprobs : 0;
    columns->scores = (task->gives & ANSWER_SUMS) != 0;
    columns->embedding_width = (task->gives & ANSWER_VECTOR) != 0 ? width : 0;
}

enum task task_choose(enum task asked, bool is_encoder)
{
    if (table[asked].work != WORK_SAMPLE) {
        return asked;
    }
    enum task task = 0;
    while (table[task].needs_encoder != is_encoder) {
        task++;
    }
    return task;
}

status task_check_model(enum task task, bool is_encoder, const char *architecture)
{
    const struct task_facts *facts = &table[task];
    return facts->needs_encoder == is_encoder
               ? STATUS_OK
               : status_fail(STATUS_UNSUPPORTED, "%s%s%s", facts->refused[0], architecture,
                             facts->refused[1]);
}
