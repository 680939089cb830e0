/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a row's vectors for each task, against the same from the files' tensors by this
 * test's own few lines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model_internal.h"
#include "model/read/tensor_source.h"
#include "scratch_folder.h"
#include "sluice/model.h"

enum { TOKENS = 5, HIDDEN = 64, LABELS = 3 };

static float hidden[TOKENS * HIDDEN];

static int fill_hidden(void **state)
{
    (void)state;
    uint32_t word = 99;
    for (int i = 0; i < TOKENS * HIDDEN; i++) {
        word = word * 1664525u + 1013904223u;
        hidden[i] = (float)(word >> 8) / (1 << 23) - 1.0f;
    }
    return 0;
}

static struct model *open_for(const char *name, enum task task)
{
    char path[512];
    struct model *model;
    snprintf(path, sizeof path, "%s/heads/%s", SLUICE_TEST_DATA, name);
    if (model_open(path, &model) != STATUS_OK || model_prepare(model, task) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_true(model_config(model)->pools);
    assert_int_equal(model_config(model)->hidden, HIDDEN);
    return model;
}

static void run(struct model *model, int tokens, float *out)
{
    struct pooler *pooler;
    if (pooler_create(model, &pooler) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    out[model_config(model)->answer_width] = 17; /* behind the end */
    pooler_run(pooler, hidden, tokens, out);
    assert_true(out[model_config(model)->answer_width] == 17);
    pooler_destroy(pooler);
}

static void read_tensor(const struct model *model, const char *name, int count, float *out)
{
    struct tensor_scratch scratch = {0};
    const struct tensor *tensor = tensor_table_find(&model->tensors, name);
    assert_non_null(tensor);
    assert_int_equal(tensor_read_values(&model->tensors, tensor, 0, count, &scratch, out),
                     STATUS_OK);
    tensor_scratch_destroy(&scratch);
}

static double dot(const float *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < HIDDEN; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

static void assert_close(double is, double should)
{
    if (!(fabs(is - should) <= 1e-5 * (1 + fabs(should)))) {
        fail_msg("%.9g, expected %.9g", is, should);
    }
}

/* A decoder's labels: of its last token. */
static void labels_of_a_decoder(void **state)
{
    (void)state;
    float weight[LABELS * HIDDEN], out[LABELS + 1];
    double last[HIDDEN], logits[LABELS], sum = 0;
    struct model *model = open_for("llama_cls", TASK_CLASSIFY);
    assert_int_equal(model_config(model)->answer_width, LABELS);
    assert_false(model_config(model)->whole_rows);
    read_tensor(model, "score.weight", LABELS * HIDDEN, weight);
    run(model, TOKENS, out);
    for (int i = 0; i < HIDDEN; i++) {
        last[i] = (double)hidden[(TOKENS - 1) * HIDDEN + i];
    }
    for (int i = 0; i < LABELS; i++) {
        logits[i] = dot(weight + i * HIDDEN, last);
        sum += exp(logits[i]);
    }
    for (int i = 0; i < LABELS; i++) {
        assert_close((double)out[i], exp(logits[i]) / sum);
    }
    model_close(model);
}

/* The one label of an encoder, as it is: of its first token, through a layer with tanh. */
static double label_of_an_encoder(const struct model *model)
{
    float dense[HIDDEN * HIDDEN], dense_bias[HIDDEN], label[HIDDEN], bias;
    double first[HIDDEN], between[HIDDEN];
    read_tensor(model, "bert.pooler.dense.weight", HIDDEN * HIDDEN, dense);
    read_tensor(model, "bert.pooler.dense.bias", HIDDEN, dense_bias);
    read_tensor(model, "classifier.weight", HIDDEN, label);
    read_tensor(model, "classifier.bias", 1, &bias);
    for (int i = 0; i < HIDDEN; i++) {
        first[i] = (double)hidden[i];
    }
    for (int i = 0; i < HIDDEN; i++) {
        between[i] = tanh(dot(dense + (size_t)i * HIDDEN, first) + (double)dense_bias[i]);
    }
    return dot(label, between) + (double)bias;
}

static void one_label_for_every_task(void **state)
{
    (void)state;
    static const enum task tasks[] = {TASK_REWARD, TASK_CLASSIFY, TASK_RERANK};
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        float out[2];
        struct model *model = open_for("bert_cls", tasks[i]);
        assert_int_equal(model_config(model)->answer_width, 1);
        assert_true(model_config(model)->whole_rows);
        const double raw = label_of_an_encoder(model);
        run(model, TOKENS, out);
        assert_close((double)out[0], tasks[i] == TASK_REWARD ? raw : 1 / (1 + exp(-raw)));
        model_close(model);
    }
}

static void embeddings_have_no_head(void **state)
{
    (void)state;
    float out[HIDDEN + 1];
    struct model *model = open_for("qwen3_embedding", TASK_EMBED);
    const struct embedding_facts *facts = model_embedding(model);
    assert_int_equal(facts->pooling, POOLING_LAST);
    assert_int_equal(model_config(model)->answer_width, HIDDEN);
    run(model, TOKENS, out);
    double squares = 0;
    const float *last = hidden + (TOKENS - 1) * HIDDEN;
    for (int i = 0; i < HIDDEN; i++) {
        squares += (double)last[i] * (double)last[i];
    }
    const double scale = facts->normalize ? 1 / sqrt(squares) : 1;
    for (int i = 0; i < HIDDEN; i++) {
        assert_close((double)out[i], (double)last[i] * scale);
    }
    model_close(model);
}

/* Where rows are not whole the last token alone comes. */
static void the_last_token_alone(void **state)
{
    (void)state;
    float all[LABELS + 1], alone[LABELS + 1];
    struct model *model = open_for("llama_cls", TASK_CLASSIFY);
    run(model, TOKENS, all);
    memmove(hidden, hidden + (TOKENS - 1) * HIDDEN, HIDDEN * sizeof *hidden);
    run(model, 1, alone);
    assert_memory_equal(all, alone, sizeof all);
    model_close(model);
}

static void what_a_model_cannot_do_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum task task;
    } cases[] = {{"llama_cls", TASK_REWARD},         {"llama_cls", TASK_RERANK},
                 {"llama_cls", TASK_GENERATE},       {"bert_cls", TASK_GENERATE},
                 {"qwen3_embedding", TASK_CLASSIFY}, {"qwen3_embedding", TASK_RERANK}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[512];
        struct model *model;
        snprintf(path, sizeof path, "%s/heads/%s", SLUICE_TEST_DATA, cases[i].name);
        assert_int_equal(model_open(path, &model), STATUS_OK);
        assert_int_not_equal(model_prepare(model, cases[i].task), STATUS_OK);
        model_close(model);
    }
}

/* ---- Words as labels ---- */

enum { NO = 1, YES = 2, REST = 3 }; /* ids */

static const char words_tokenizer[] =
    "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,"
    "\"decoder\":null,\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"no\":1,\"yes\":2},"
    "\"merges\":[]}}";

/* Qwen 3 with a tokenizer that has the words. */
static struct model *open_reranker(void **state)
{
    static const char *const names[] = {"config.json", "model.safetensors"};
    const struct scratch_folder *folder = *state;
    struct buffer bytes = {0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/qwen3/%s", SLUICE_TEST_DATA, names[i]);
        buffer_clear(&bytes);
        assert_int_equal(file_read(path, 16 << 20, &bytes), STATUS_OK);
        assert_non_null(scratch_write(state, names[i], bytes.data, bytes.length));
    }
    buffer_destroy(&bytes);
    assert_non_null(
        scratch_write(state, "tokenizer.json", words_tokenizer, sizeof words_tokenizer - 1));
    struct model *model;
    if (model_open(folder->path, &model) != STATUS_OK ||
        model_prepare(model, TASK_RERANK) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return model;
}

/* Of the last token: the share that "yes" has of the two words. */
static void the_second_of_two_words(void **state)
{
    static float head[REST * HIDDEN];
    float out[2];
    double last[HIDDEN];
    struct model *model = open_reranker(state);
    fill_hidden(NULL);
    assert_int_equal(model_config(model)->answer_width, 1);
    assert_false(model_config(model)->whole_rows);
    assert_non_null(strstr(model_rank_prompt(model), "<Query>: {query}\n<Document>: {document}"));
    read_tensor(model, "lm_head.weight", REST * HIDDEN, head);
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int i = 0; i < HIDDEN; i++) {
            float *value = &hidden[(TOKENS - 1) * HIDDEN + i];
            *value = (float)sign * *value * 20;
            last[i] = (double)*value;
        }
        const double no = exp(dot(head + (size_t)NO * HIDDEN, last));
        const double yes = exp(dot(head + (size_t)YES * HIDDEN, last));
        run(model, TOKENS, out);
        assert_close((double)out[0], yes / (no + yes));
    }
    model_close(model);
}

#define TEST(name) cmocka_unit_test_setup(name, fill_hidden)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(labels_of_a_decoder),
        TEST(one_label_for_every_task),
        TEST(embeddings_have_no_head),
        TEST(the_last_token_alone),
        TEST(what_a_model_cannot_do_is_refused),
        cmocka_unit_test_setup_teardown(the_second_of_two_words, scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
