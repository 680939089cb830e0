/* SPDX-License-Identifier: Apache-2.0 */
/* Loading, of a file and of random values, on a device whose calls fail in turn: what failed is
 * told, nothing is called after it, and what was made is given back. */
#include <stdio.h>

#include "load_backend.h"
#include "sluice/model.h"

enum { FIRST = 6 }; /* calls that fail one by one; behind them some of all */

static int calls, failing; /* calls so far; the one that fails, or -1 */

static bool fails(void)
{
    return calls++ == failing;
}

static status refuse(void)
{
    return status_fail(STATUS_IO, "call %d failed", failing);
}

static status create_matrix(struct backend *backend, int count, int rows, int columns,
                            const int32_t *slice_start, int slices, enum weight_format stored,
                            struct matrix **out)
{
    *out = NULL;
    return fails() ? refuse()
                   : keeping.operations->matrix_create(backend, count, rows, columns, slice_start,
                                                       slices, stored, out);
}

static status write_matrix(struct backend *backend, struct matrix *matrix, int index, int first_row,
                           int row_count, const struct weight_rows *rows)
{
    return fails() ? refuse()
                   : keeping.operations->matrix_write(backend, matrix, index, first_row, row_count,
                                                      rows);
}

static status finish_matrix(struct backend *backend, struct matrix *matrix)
{
    return fails() ? refuse() : keeping.operations->matrix_finish(backend, matrix);
}

static status create_vector(struct backend *backend, int length, const float *values,
                            struct vector **out)
{
    *out = NULL;
    return fails() ? refuse() : keeping.operations->vector_create(backend, length, values, out);
}

/* A load of the model on a device whose call `which` fails; returns the calls that were made. */
static int load(struct model *model, const struct partition *partition, bool is_random, int which)
{
    struct backend_operations table = *keeping.operations;
    struct backend backend = {.operations = &table};
    struct model_weights *weights;
    table.matrix_create = create_matrix;
    table.matrix_write = write_matrix;
    table.matrix_finish = finish_matrix;
    table.vector_create = create_vector;
    calls = 0;
    failing = which;
    const status s = is_random ? model_load_random(model_config(model), partition, &backend,
                                                   WEIGHT_FLOAT32, 7, &weights)
                               : model_load(model, partition, &backend, WEIGHT_FLOAT32, &weights);
    if (which < 0) {
        assert_int_equal(s, STATUS_OK);
        model_weights_destroy(weights, partition, &backend);
    } else {
        char message[32];
        snprintf(message, sizeof message, "call %d failed", which);
        assert_int_equal(s, STATUS_IO);
        if (strstr(status_message(), message) == NULL) {
            fail_msg("\"%s\" is not in: %s", message, status_message());
        }
        assert_null(weights);
        assert_int_equal(calls, which + 1);
    }
    assert_int_equal(live_objects, 0);
    return calls;
}

static void calls_fail_in_turn(void **state)
{
    (void)state;
    static const char *const families[] = {"qwen2", "mixtral"};
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        char path[1024];
        struct model *model;
        struct partition partition;
        snprintf(path, sizeof path, "%s/models/%s", SLUICE_TEST_DATA, families[i]);
        assert_int_equal(model_open(path, &model), STATUS_OK);
        assert_int_equal(partition_create(model_config(model), 2, 1, 2, 1, 4, &partition),
                         STATUS_OK);
        for (int is_random = 0; is_random < 2; is_random++) {
            const int all = load(model, &partition, is_random == 1, -1);
            assert_true(all > 3 * FIRST);
            for (int which = 0; which < all; which += which < FIRST ? 1 : all / 7) {
                assert_int_equal(load(model, &partition, is_random == 1, which), which + 1);
            }
        }
        partition_destroy(&partition);
        model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_fail_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
