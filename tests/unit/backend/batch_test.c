/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a batch before a backend works on it: each thing that may be wrong with one, at
 * its border, with its message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/batch.h"

enum { TOKENS = 7, SEQUENCES = 3, OUTPUTS = 3, BLOCK = 4, BLOCKS = 9, STRIDE = 2 };

/* Three sequences: a whole prompt, the end of one of 6, a decode at position 4. */
struct step {
    int32_t positions[TOKENS], query_start[SEQUENCES + 1], context[SEQUENCES];
    int32_t outputs[OUTPUTS], table[SEQUENCES * STRIDE];
    struct batch batch;
};

static struct step *good_step(void)
{
    static struct step step;
    step = (struct step){.positions = {0, 1, 2, 3, 4, 5, 4},
                         .query_start = {0, 3, 6, 7},
                         .context = {3, 6, 5},
                         .outputs = {0, 5, 6},
                         .table = {0, -1, 8, 1, 2, 3}};
    step.batch = (struct batch){.tokens = TOKENS,
                                .sequences = SEQUENCES,
                                .outputs = OUTPUTS,
                                .positions = step.positions,
                                .query_start = step.query_start,
                                .context_length = step.context,
                                .output_rows = step.outputs,
                                .block_table = step.table,
                                .block_table_stride = STRIDE};
    return &step;
}

static void expect(const struct step *step, const char *message)
{
    const status s = batch_check(&step->batch, TOKENS, SEQUENCES);
    assert_int_equal(s, message == NULL ? STATUS_OK : STATUS_INTERNAL);
    if (message != NULL) {
        assert_string_equal(status_message(), message);
    }
}

static void sizes(void **state)
{
    (void)state;
    struct step *step = good_step();
    expect(step, NULL); /* as large as it may be */
    assert_int_equal(batch_check(&step->batch, TOKENS - 1, SEQUENCES), STATUS_INTERNAL);
    assert_string_equal(status_message(),
                        "step of 7 tokens, 3 sequences, 3 outputs; made for 6 and 3");
    assert_int_equal(batch_check(&step->batch, TOKENS, SEQUENCES - 1), STATUS_INTERNAL);

    step->batch.outputs = 4;
    expect(step, "step of 7 tokens, 3 sequences, 4 outputs; made for 7 and 3");
    step->batch.outputs = -1;
    expect(step, "step of 7 tokens, 3 sequences, -1 outputs; made for 7 and 3");
    step->batch.outputs = 0;
    expect(step, NULL);

    step = good_step();
    step->batch.tokens = 0;
    expect(step, "step of 0 tokens, 3 sequences, 3 outputs; made for 7 and 3");
    step = good_step();
    step->batch.sequences = 0;
    expect(step, "step of 7 tokens, 0 sequences, 3 outputs; made for 7 and 3");
    step = good_step();
    step->query_start[0] = 1;
    expect(step, "step of 7 tokens, 3 sequences, 3 outputs; made for 7 and 3");
    step = good_step();
    step->query_start[3] = 6;
    expect(step, "step of 7 tokens, 3 sequences, 3 outputs; made for 7 and 3");

    step = good_step(); /* the smallest */
    step->batch.tokens = step->batch.sequences = step->batch.outputs = 1;
    step->query_start[1] = step->context[0] = 1;
    expect(step, NULL);
}

static void sequences(void **state)
{
    (void)state;
    struct step *step = good_step();
    step->query_start[1] = 0;
    expect(step, "step: sequence 0 has tokens 0 to 0 of 7");
    step = good_step();
    step->query_start[2] = 8;
    expect(step, "step: sequence 1 has tokens 3 to 8 of 7");
    step = good_step();
    step->query_start[2] = 2;
    expect(step, "step: sequence 1 has tokens 3 to 2 of 7");

    step = good_step();
    step->positions[4]++;
    expect(step, "step: sequence 1: token 4 stands at position 5, context 6");
    step = good_step();
    step->positions[6]--;
    expect(step, "step: sequence 2: token 6 stands at position 3, context 5");
    step = good_step();
    step->context[0] = 2; /* positions follow one another, and the first is -1 */
    for (int i = 0; i < 3; i++) {
        step->positions[i] = i - 1;
    }
    expect(step, "step: sequence 0: token 0 stands at position -1, context 2");
}

static void outputs(void **state)
{
    (void)state;
    struct step *step = good_step();
    step->outputs[0] = -1;
    expect(step, "step: output row -1 after -1, of 7 tokens");
    step = good_step();
    step->outputs[1] = 0;
    expect(step, "step: output row 0 after 0, of 7 tokens");
    step->outputs[1] = 1;
    expect(step, NULL);
    step->outputs[2] = 7;
    expect(step, "step: output row 7 after 1, of 7 tokens");
}

static void expect_blocks(const struct step *step, const char *message)
{
    const status s = batch_check_blocks(&step->batch, BLOCK, BLOCKS);
    assert_int_equal(s, message == NULL ? STATUS_OK : STATUS_INTERNAL);
    if (message != NULL) {
        assert_string_equal(status_message(), message);
    }
}

static void blocks(void **state)
{
    (void)state;
    struct step *step = good_step();
    expect_blocks(step, NULL); /* -1 stands where nothing is read */
    step->context[0] = 4;
    expect_blocks(step, NULL);
    step->context[0] = 5; /* a position more is in the next block */
    expect_blocks(step, "step: KV block -1 of 9");
    step->table[1] = 0;
    expect_blocks(step, NULL);
    step->table[3] = 9;
    expect_blocks(step, "step: KV block 9 of 9");
    step = good_step();
    step->context[2] = 8;
    expect_blocks(step, NULL);
    step->context[2] = 9;
    expect_blocks(step, "step: sequence 2 needs 3 KV blocks, has 2");
}

static void drawn_tokens(void **state)
{
    (void)state;
    static const int32_t ids[] = {7, -3, 0, -1}; /* outputs 2 and 0 of the step before */
    const struct batch batch = {.tokens = 4, .token_ids = ids};
    assert_int_equal(batch_check_drawn(&batch, 3), STATUS_OK);
    assert_int_equal(batch_check_drawn(&batch, 2), STATUS_INTERNAL);
    assert_string_equal(status_message(),
                        "step: token 1 is output 2 of the step before, which drew 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),  cmocka_unit_test(sequences),    cmocka_unit_test(outputs),
        cmocka_unit_test(blocks), cmocka_unit_test(drawn_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
