/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tasks. */
#include "sluice/task.h"

#include <string.h>

#include "data/output/columns.h"

#define COMPLETIONS                                                                                \
    .endpoint = ENDPOINT_NONE, .url_end = "/completions",                                          \
    .urls = "/v1/chat/completions and /v1/completions are"
#define TOKEN_COLUMNS "token_ids", "logprobs", "top_logprob_ids", "top_logprob_values"

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
                       .columns_asked = {TOKEN_COLUMNS}},
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
                    .columns = {"token_ids", "logprobs", "logprob_sum", "logprob_mean"},
                    .columns_asked = {TOKEN_COLUMNS}},
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
                    .columns = {"embedding"}},
};
_Static_assert(COUNT_OF(table) == TASKS, "every task has a row");

const struct task_facts *task_facts(enum task task)
{
    return &table[task];
}

static bool has_name(const char *const names[TASK_COLUMNS_MOST], const char *name)
{
    for (size_t i = 0; i < TASK_COLUMNS_MOST && names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

bool task_gives(const struct task_facts *task, const char *column)
{
    return has_name(task->columns, column);
}

/* Columns that no task names are those of the job: any answer may have them. */
static bool is_some_tasks(const char *column)
{
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (has_name(table[i].columns, column) || has_name(table[i].columns_asked, column)) {
            return true;
        }
    }
    return false;
}

static void set_column(const struct result_column *column, struct output_columns *columns,
                       int32_t width)
{
    void *when = column_when(column, columns);
    if (column->width == 0) {
        *(bool *)when = width > 0;
    } else {
        *(int32_t *)when = width;
    }
}

void task_choose_columns(const struct task_facts *task, int width, struct output_columns *columns)
{
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column_when(column, columns) == NULL) {
            continue;
        }
        if (task_gives(task, column->name)) {
            set_column(column, columns, width);
        } else if (!has_name(task->columns_asked, column->name) && is_some_tasks(column->name)) {
            set_column(column, columns, 0);
        }
    }
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
