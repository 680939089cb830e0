/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tasks: what a model makes of a job's wish, what it refuses, which columns come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/output/columns.h"
#include "sluice/data.h"
#include "sluice/task.h"

static void columns_are_in_their_table(const char *const names[TASK_COLUMNS_MOST])
{
    for (size_t i = 0; i < TASK_COLUMNS_MOST && names[i] != NULL; i++) {
        bool found = false;
        for (size_t c = 0; c < result_column_count; c++) {
            const struct result_column *column = &result_columns[c];
            found = found || (strcmp(column->name, names[i]) == 0 && column->when != 0);
        }
        if (!found) {
            fail_msg("%s is no column that a file may lack", names[i]);
        }
    }
}

static void every_task_says_all_that_is_asked_of_it(void **state)
{
    (void)state;
    for (enum task task = 0; task < TASKS; task++) {
        const struct task_facts *facts = task_facts(task);
        assert_non_null(facts->name);
        assert_non_null(facts->done);
        assert_non_null(facts->refused[0]);
        assert_non_null(facts->refused[1]);
        assert_non_null(facts->url_end);
        assert_non_null(facts->urls);
        assert_non_null(facts->truncation_side);
        columns_are_in_their_table(facts->columns);
        columns_are_in_their_table(facts->columns_asked);
        /* A prompt's completion is what is read, and a vector is what is pooled. */
        assert_int_equal(facts->takes_completion,
                         facts->work == WORK_READ || facts->encoding == ENCODE_PAIR);
        assert_int_equal(facts->takes_completion, facts->completion_name != NULL);
        assert_int_equal(facts->encoding == ENCODE_COMPLETION, facts->work == WORK_READ);
        assert_int_equal(task_gives(facts, "embedding") || task_gives(facts, "score"),
                         facts->work == WORK_POOL);
    }
}

static void the_model_decides_what_sampling_becomes(void **state)
{
    (void)state;
    const unsigned decoder = ABLE_LOGITS | ABLE_VECTORS, classifier = ABLE_VECTORS | ABLE_LABELS;
    assert_int_equal(task_choose(TASK_GENERATE, decoder), TASK_GENERATE);
    assert_int_equal(task_choose(TASK_GENERATE, decoder | ABLE_BEST), TASK_EMBED);
    assert_int_equal(task_choose(TASK_GENERATE, ABLE_VECTORS), TASK_EMBED);
    assert_int_equal(task_choose(TASK_GENERATE, classifier), TASK_CLASSIFY);
    assert_int_equal(task_choose(TASK_EMBED, ABLE_VECTORS), TASK_EMBED);
    assert_int_equal(task_choose(TASK_SCORE, decoder), TASK_SCORE);
    /* To be refused by its name. */
    assert_int_equal(task_choose(TASK_SCORE, ABLE_VECTORS), TASK_SCORE);
}

static void models_of_another_kind_are_refused_in_the_tasks_words(void **state)
{
    (void)state;
    static const struct {
        enum task task;
        unsigned abilities;
        const char *message; /* NULL: it can */
    } cases[] = {
        {TASK_GENERATE, ABLE_LOGITS, NULL},
        {TASK_SCORE, ABLE_LOGITS, NULL},
        {TASK_EMBED, ABLE_VECTORS, NULL},
        {TASK_EMBED, ABLE_LOGITS | ABLE_VECTORS, NULL},
        {TASK_REWARD, ABLE_LABELS | ABLE_VALUE, NULL},
        {TASK_CLASSIFY, ABLE_LOGITS | ABLE_VECTORS,
         "task: X has no head for labels, which classify needs"},
        {TASK_REWARD, ABLE_LABELS | ABLE_VECTORS,
         "task: X has no head with one label, which reward needs"},
        {TASK_GENERATE, ABLE_LABELS | ABLE_VECTORS,
         "task: generate: X has no logits of tokens; what it can do: classify, embed"},
        {TASK_GENERATE, ABLE_VECTORS,
         "task: X is an encoder: it embeds and does not generate; use task: embed"},
        {TASK_SCORE, ABLE_VECTORS,
         "generate.mode: score: X is an encoder, which gives tokens no probabilities"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        status s = task_check_model(cases[i].task, cases[i].abilities, "X");
        assert_int_equal(s, cases[i].message == NULL ? STATUS_OK : STATUS_UNSUPPORTED);
        if (cases[i].message != NULL) {
            assert_string_equal(status_message(), cases[i].message);
        }
    }
}

static void columns_are_those_that_answers_can_have(void **state)
{
    (void)state;
    const struct output_columns nothing = {0}, all = {.prompt = true,
                                                      .token_ids = true,
                                                      .logprobs = true,
                                                      .arithmetic = true,
                                                      .top_logprobs = 3,
                                                      .id_is_number = true};
    struct output_columns columns = nothing;
    task_choose_columns(task_facts(TASK_GENERATE), 8, &columns);
    assert_memory_equal(&columns, &nothing, sizeof columns);
    columns = all;
    task_choose_columns(task_facts(TASK_GENERATE), 8, &columns);
    assert_memory_equal(&columns, &all, sizeof columns);
    columns = nothing;
    task_choose_columns(task_facts(TASK_SCORE), 8, &columns);
    assert_true(columns.token_ids && columns.logprobs && columns.scores);
    assert_int_equal(columns.top_logprobs, 0);
    assert_int_equal(columns.embedding_width, 0);
    columns = all;
    task_choose_columns(task_facts(TASK_SCORE), 8, &columns);
    assert_int_equal(columns.top_logprobs, 3);
    columns = all;
    task_choose_columns(task_facts(TASK_EMBED), 8, &columns);
    assert_true(columns.prompt && columns.id_is_number && columns.arithmetic);
    assert_false(columns.token_ids || columns.logprobs || columns.scores);
    assert_int_equal(columns.top_logprobs, 0);
    assert_int_equal(columns.embedding_width, 8);
    columns = all;
    task_choose_columns(task_facts(TASK_CLASSIFY), 8, &columns);
    assert_true(columns.label && columns.score);
    assert_int_equal(columns.labels, 8);
    assert_int_equal(columns.embedding_width, 0);
    columns = nothing;
    task_choose_columns(task_facts(TASK_REWARD), 1, &columns);
    assert_true(columns.score && !columns.label && columns.labels == 0);
}

/* Under each of their names; what is no parameter is nobody's to warn of. */
static void parameters_are_used_where_they_can_matter(void **state)
{
    (void)state;
    static const char *const sampling[] = {"temperature",
                                           "top_k",
                                           "top_p",
                                           "min_p",
                                           "repetition_penalty",
                                           "presence_penalty",
                                           "frequency_penalty",
                                           "seed",
                                           "stop",
                                           "stop_token_ids",
                                           "min_tokens",
                                           "allowed_token_ids",
                                           "logit_bias",
                                           "structured",
                                           "ignore_eos",
                                           "include_stop_str_in_output"};
    static const char *const tokens[] = {"logprobs", "top_logprobs"};
    static const char *const all[] = {"mode",
                                      "defaults",
                                      "max_new_tokens",
                                      "max_tokens",
                                      "n",
                                      "skip_special_tokens",
                                      "truncate_prompt",
                                      "truncate_prompt_tokens",
                                      "continue_final_message",
                                      "nope"};
    for (int i = 0; i < TASKS; i++) {
        const int work = task_facts((enum task)i)->work;
        for (size_t j = 0; j < COUNT_OF(sampling); j++) {
            assert_int_equal(generate_is_used(sampling[j], (enum task)i), work == WORK_SAMPLE);
        }
        for (size_t j = 0; j < COUNT_OF(tokens); j++) {
            assert_int_equal(generate_is_used(tokens[j], (enum task)i), work != WORK_POOL);
        }
        for (size_t j = 0; j < COUNT_OF(all); j++) {
            assert_true(generate_is_used(all[j], (enum task)i));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_says_all_that_is_asked_of_it),
        cmocka_unit_test(the_model_decides_what_sampling_becomes),
        cmocka_unit_test(models_of_another_kind_are_refused_in_the_tasks_words),
        cmocka_unit_test(parameters_are_used_where_they_can_matter),
        cmocka_unit_test(columns_are_those_that_answers_can_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
