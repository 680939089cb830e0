/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between ranks: what is packed comes out again, and a message cut anywhere is an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "run/ranks/wire.h"

static void shards_come_out_as_packed(void **state)
{
    (void)state;
    struct buffer message = {0};
    struct record record = {.row = 7, .position = 9, .kind = RECORD_TOKENS};
    assert_int_equal(buffer_append(&record.bytes, "\1\0\0\0", 4), STATUS_OK);
    assert_int_equal(shard_begin(&message), STATUS_OK);
    assert_int_equal(shard_append(&message, &record), STATUS_OK);
    record.row = 8;
    record.kind = RECORD_JSON;
    record.unit = UNIT_PROMPT;
    record.file = "b.jsonl";
    buffer_clear(&record.bytes);
    assert_int_equal(shard_append(&message, &record), STATUS_OK);

    struct wire_reader reader = {message.data, message.length, 1};
    bool more;
    assert_int_equal(shard_next(&reader, &record, &more), STATUS_OK);
    assert_true(more);
    assert_int_equal(record.row, 7);
    assert_int_equal(record.position, 9);
    assert_int_equal(record.kind, RECORD_TOKENS);
    assert_int_equal(record.unit, UNIT_LINE);
    assert_null(record.file);
    assert_int_equal(record.bytes.length, 4);
    assert_memory_equal(record.bytes.data, "\1\0\0\0", 4);
    assert_int_equal(shard_next(&reader, &record, &more), STATUS_OK);
    assert_true(more);
    assert_int_equal(record.row, 8);
    assert_int_equal(record.unit, UNIT_PROMPT);
    assert_string_equal(record.file, "b.jsonl");
    assert_int_equal(record.bytes.length, 0);
    assert_int_equal(shard_next(&reader, &record, &more), STATUS_OK);
    assert_false(more);

    reader = (struct wire_reader){message.data, 20, 1};
    assert_int_equal(shard_next(&reader, &record, &more), STATUS_INTERNAL);
    buffer_destroy(&record.bytes);
    buffer_destroy(&message);
}

static void steps_keep_only_the_blocks_in_use(void **state)
{
    (void)state;
    const int32_t ids[] = {5, 6, 7}, positions[] = {0, 1, 40}, query_start[] = {0, 2, 3};
    const int32_t context[] = {2, 41}, outputs[] = {2};
    const int32_t tables[] = {3, -1, -1, -1, -1,
                              4, 9,  2,  -1, -1}; /* stride 5; 41 positions are 3 blocks of 16 */
    const uint8_t long_rope[] = {0, 1};
    const int32_t places[] = {7, 2};
    struct batch batch = {.tokens = 3,
                          .sequences = 2,
                          .outputs = 1,
                          .token_ids = ids,
                          .positions = positions,
                          .query_start = query_start,
                          .context_length = context,
                          .block_table = tables,
                          .block_table_stride = 5,
                          .long_rope = long_rope,
                          .state_place = places,
                          .output_rows = outputs,
                          .decodes = 2,
                          .first_half = 1};
    struct buffer message = {0};
    assert_int_equal(step_pack(&batch, 16, 2, &message), STATUS_OK);
    struct batch out;
    int prefill;
    assert_int_equal(step_unpack(message.data, message.length, &out, &prefill), STATUS_OK);
    assert_int_equal(prefill, 2);
    assert_int_equal(out.tokens, 3);
    assert_int_equal(out.sequences, 2);
    assert_int_equal(out.outputs, 1);
    assert_int_equal(out.block_table_stride, 3);
    assert_memory_equal(out.token_ids, ids, sizeof ids);
    assert_memory_equal(out.positions, positions, sizeof positions);
    assert_memory_equal(out.query_start, query_start, sizeof query_start);
    assert_memory_equal(out.context_length, context, sizeof context);
    assert_memory_equal(out.output_rows, outputs, sizeof outputs);
    assert_memory_equal(out.block_table + 3, tables + 5, 3 * sizeof *tables);
    assert_memory_equal(out.long_rope, long_rope, sizeof long_rope);
    assert_memory_equal(out.state_place, places, sizeof places);
    assert_int_equal(out.decodes, 2);
    assert_int_equal(out.first_half, 1);
    for (size_t length = 0; length < message.length; length++) {
        assert_int_equal(step_unpack(message.data, length, &out, &prefill), STATUS_INTERNAL);
    }
    /* In blocks of 9 the same positions are all 5. And no layer keeps states. */
    buffer_clear(&message);
    batch.state_place = NULL;
    assert_int_equal(step_pack(&batch, 9, 2, &message), STATUS_OK);
    assert_int_equal(step_unpack(message.data, message.length, &out, &prefill), STATUS_OK);
    assert_int_equal(out.block_table_stride, 5);
    assert_memory_equal(out.block_table, tables, sizeof tables);
    assert_null(out.state_place);
    assert_memory_equal(out.long_rope, long_rope, sizeof long_rope);
    buffer_destroy(&message);
}

static void rows_come_out_as_packed(void **state)
{
    (void)state;
    struct buffer message = {0};
    assert_int_equal(rows_append(&message, 3, "abc", 3), STATUS_OK);
    assert_int_equal(rows_append(&message, 1, "", 0), STATUS_OK);
    struct wire_reader reader = {message.data, message.length, 0};
    int64_t row;
    const void *bytes;
    size_t length;
    bool more;
    assert_int_equal(rows_next(&reader, &row, &bytes, &length, &more), STATUS_OK);
    assert_int_equal(row, 3);
    assert_int_equal(length, 3);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(rows_next(&reader, &row, &bytes, &length, &more), STATUS_OK);
    assert_true(more);
    assert_int_equal(row, 1);
    assert_int_equal(length, 0);
    assert_int_equal(rows_next(&reader, &row, &bytes, &length, &more), STATUS_OK);
    assert_false(more);
    reader = (struct wire_reader){message.data, message.length - 1, 0};
    assert_int_equal(rows_next(&reader, &row, &bytes, &length, &more), STATUS_OK);
    assert_int_equal(rows_next(&reader, &row, &bytes, &length, &more), STATUS_INTERNAL);
    buffer_destroy(&message);
}

/* Counts that are negative, or so large that their sum wraps around to the message's length. */
static void wrong_counts_are_refused(void **state)
{
    (void)state;
    static const int32_t messages[][10] = {
        {-1, 0, 0, 0, 0, 0, 0},         {0, -1, 0, 0, 0, 0, 0},       {0, 0, -1, 0, 0, 0, 0},
        {0, 0, 0, -1, 0, 0, 0},         {1, 0, -2, 0, 0, 0, 0},       {-1, 1, 1, 0, 0, 0, 0},
        {0, 0x40000000, 0, 0x40000000}, {INT32_MAX, INT32_MAX, 0, 0}, {0, 1, 0, INT32_MIN},
    };
    struct batch out;
    int prefill;
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        for (size_t ints = 6; ints <= COUNT_OF(messages[0]); ints++) {
            assert_int_equal(step_unpack(messages[i], ints * sizeof(int32_t), &out, &prefill),
                             STATUS_INTERNAL);
        }
    }
}

static void a_record_of_no_kind_is_refused(void **state)
{
    (void)state;
    struct record record = {.row = 1, .kind = (enum record_kind)9}, out = {0};
    struct buffer message = {0};
    assert_int_equal(shard_append(&message, &record), STATUS_OK);
    struct wire_reader reader = {message.data, message.length, 0};
    bool more;
    assert_int_equal(shard_next(&reader, &out, &more), STATUS_INTERNAL);
    buffer_destroy(&message);
    buffer_destroy(&out.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_come_out_as_packed),
        cmocka_unit_test(steps_keep_only_the_blocks_in_use),
        cmocka_unit_test(rows_come_out_as_packed),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(a_record_of_no_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
