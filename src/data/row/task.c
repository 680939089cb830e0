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
                       .needs = ABLE_LOGITS,
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
                    .needs = ABLE_LOGITS,
                    .refused = {"generate.mode: score: ",
                                " is an encoder, which gives tokens no probabilities"},
                    .takes_messages = true,
                    .takes_completion = true,
                    .completion_name = "completion",
                    .completions_name = "continuations",
                    .list_prompt_name = "context",
                    .completion_may_be_ids = true,
                    COMPLETIONS,
                    .encoding = ENCODE_COMPLETION,
                    .truncation_side = "left",
                    .work = WORK_READ,
                    .columns = {"token_ids", "logprobs", "logprob_sum", "logprob_mean", "is_greedy",
                                "bytes", "bits_per_byte"},
                    .columns_asked = {TOKEN_COLUMNS}},
    [TASK_CLASSIFY] = {.name = "classify",
                       .done = "classified",
                       .needs = ABLE_LABELS,
                       .refused = {"task: ", " has no head for labels, which classify needs"},
                       .takes_messages = true,
                       COMPLETIONS,
                       .encoding = ENCODE_CONTENT,
                       .truncation_side = "right",
                       .work = WORK_POOL,
                       .columns = {"label", "score", "scores"}},
    [TASK_RERANK] = {.name = "rerank",
                     .done = "ranked",
                     .needs = ABLE_RANK,
                     .refused = {"task: ", " has no head with one label, which rerank needs"},
                     .takes_completion = true,
                     .completion_name = "document",
                     .completions_name = "documents",
                     .prompt_name = "query",
                     COMPLETIONS,
                     .encoding = ENCODE_PAIR,
                     .truncation_side = "right",
                     .work = WORK_POOL,
                     .columns = {"score"}},
    [TASK_REWARD] = {.name = "reward",
                     .done = "valued",
                     .needs = ABLE_VALUE,
                     .refused = {"task: ", " has no head with one label, which reward needs"},
                     .takes_messages = true,
                     COMPLETIONS,
                     .encoding = ENCODE_CONTENT,
                     .truncation_side = "right",
                     .work = WORK_POOL,
                     .columns = {"score"}},
    [TASK_EMBED] = {.name = "embed",
                    .done = "embedded",
                    .needs = ABLE_VECTORS,
                    .refused = {"task: ", " gives no vectors, which embed needs"},
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

enum task task_choose(enum task asked, unsigned abilities)
{
    if (table[asked].work != WORK_SAMPLE) {
        return asked;
    }
    if ((abilities & ABLE_BEST) != 0) {
        return TASK_EMBED;
    }
    enum task task = 0;
    while (task + 1 < TASKS && (table[task].needs & abilities) == 0) {
        task++;
    }
    return task;
}

/* "generate, score": what the model can do. */
static status list_tasks(unsigned abilities, struct buffer *out)
{
    for (enum task task = 0; task < TASKS; task++) {
        if ((table[task].needs & abilities) != 0) {
            TRY(buffer_format(out, "%s%s", out->length > 0 ? ", " : "", table[task].name));
        }
    }
    return STATUS_OK;
}

status task_check_model(enum task task, unsigned abilities, const char *architecture)
{
    const struct task_facts *facts = &table[task];
    if ((facts->needs & abilities) != 0) {
        return STATUS_OK;
    }
    if (abilities == ABLE_VECTORS || (facts->needs & ABLE_LOGITS) == 0) {
        return status_fail(STATUS_UNSUPPORTED, "%s%s%s", facts->refused[0], architecture,
                           facts->refused[1]);
    }
    struct buffer list = {0};
    status s = list_tasks(abilities, &list);
    if (s == STATUS_OK) {
        s = status_fail(STATUS_UNSUPPORTED,
                        "task: %s: %s has no logits of tokens; what it can do: %s", facts->name,
                        architecture, list.data);
    }
    buffer_destroy(&list);
    return s;
}
