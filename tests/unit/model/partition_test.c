/* SPDX-License-Identifier: Apache-2.0 */
/* Partition: over all ranks every thing is owned once, slices fall on the same places whatever tp
 * is, and every query head finds its key/value head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/model.h"

static const struct model_config models[] = {
    {.layers = 7, .heads = 8, .kv_heads = 2, .head_dim = 8, .intermediate = 128, .vocabulary = 320},
    {.layers = 30,
     .heads = 9,
     .kv_heads = 3,
     .head_dim = 64,
     .intermediate = 1536,
     .vocabulary = 49152},
    {.layers = 3,
     .heads = 4,
     .kv_heads = 1,
     .head_dim = 32,
     .intermediate = 130,
     .vocabulary = 321,
     .experts = 5,
     .expert_intermediate = 3},
    {.layers = 4, .heads = 14, .kv_heads = 2, .head_dim = 16, .intermediate = 7, .vocabulary = 11},
    {.layers = 3, .heads = 1, .kv_heads = 1, .head_dim = 2, .intermediate = 1, .vocabulary = 1},
};

static void check_rank(const struct model_config *config, const struct partition *part, int *heads,
                       int *columns, int *expert_columns)
{
    assert_int_equal(part->first_head, *heads);
    assert_int_equal(part->first_column, *columns);
    assert_int_equal(part->first_expert_column, *expert_columns);
    int group = config->heads / config->kv_heads;
    for (int i = 0; i < part->head_count; i++) {
        assert_in_range(part->kv_head_of[i], 0, part->kv_head_count - 1);
        assert_int_equal(part->first_kv_head + part->kv_head_of[i], (part->first_head + i) / group);
    }
    if (part->head_count > 0) {
        assert_int_equal(part->kv_head_of[part->head_count - 1], part->kv_head_count - 1);
    } else {
        assert_int_equal(part->kv_head_count, 0);
    }
    for (int i = 0; i <= part->local_slices; i++) {
        int slice = part->tp_rank * part->local_slices + i;
        assert_int_equal(part->first_head * config->head_dim + part->head_slice_start[i],
                         config->heads * slice / part->slices * config->head_dim);
        assert_int_equal(part->first_column + part->column_slice_start[i],
                         config->intermediate * slice / part->slices);
        assert_int_equal(part->first_expert_column + part->expert_slice_start[i],
                         config->expert_intermediate * slice / part->slices);
    }
    *heads += part->head_count;
    *columns += part->column_count;
    *expert_columns += part->expert_column_count;
}

static void check_cut(const struct model_config *config, int slices, int tp, int pp)
{
    int layers = 0;
    for (int stage = 0; stage < pp; stage++) {
        int heads = 0, columns = 0, expert_columns = 0, vocabulary = 0, count = 0;
        for (int rank = 0; rank < tp; rank++) {
            struct partition part;
            assert_int_equal(partition_create(config, tp, rank, pp, stage, slices, &part),
                             STATUS_OK);
            check_rank(config, &part, &heads, &columns, &expert_columns);
            assert_int_equal(part.first_vocabulary_row, vocabulary);
            vocabulary += part.vocabulary_row_count;
            assert_int_equal(part.first_layer, layers);
            assert_int_equal(part.has_embedding, stage == 0);
            assert_int_equal(part.has_head, stage == pp - 1);
            assert_true(part.layer_count > 0);
            count = part.layer_count;
            partition_destroy(&part);
        }
        assert_int_equal(heads, config->heads);
        assert_int_equal(columns, config->intermediate);
        assert_int_equal(expert_columns, config->expert_intermediate);
        assert_int_equal(vocabulary, config->vocabulary);
        layers += count;
    }
    assert_int_equal(layers, config->layers);
}

static void every_part_is_owned_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        for (int slices = 1; slices <= MAX_SLICES; slices *= 2) {
            for (int tp = 1; tp <= slices; tp *= 2) {
                for (int pp = 1; pp <= 3; pp++) {
                    check_cut(&models[i], slices, tp, pp);
                }
            }
        }
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        int tp, pp, slices;
        const char *message;
    } cases[] = {
        {1, 8, 8, "pp 8: the model has 7 layers"},
        {4, 1, 2, "tp 4: does not divide the 2 slices"},
        {3, 1, 8, "tp 3: does not divide the 8 slices"},
        {0, 1, 8, "tp 0"},
        {1, 0, 8, "pp 0"},
        {1, 1, 6, "tp_slices 6: expected 1, 2, 4 or 8"},
        {1, 1, 16, "tp_slices 16"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct partition part;
        assert_int_equal(
            partition_create(&models[0], cases[i].tp, 0, cases[i].pp, 0, cases[i].slices, &part),
            STATUS_INVALID);
        assert_non_null(strstr(status_message(), cases[i].message));
        partition_destroy(&part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_is_owned_once),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
