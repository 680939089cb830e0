/* SPDX-License-Identifier: Apache-2.0 */
/* Rows out of order: each once, those that begin alike together, long ones early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "run/order/row_batch.h"
#include "run/order/row_order.h"
#include "run/order/twins.h"
#include "scratch_folder.h"
#include "sluice/json.h"
#include "sluice/task.h"

enum { GROUPS = 7, ROWS = 210, LIMIT = 16 };

static struct row_key key_of(const char *line, const char *field)
{
    struct record record = {.kind = RECORD_JSON};
    assert_int_equal(buffer_append_text(&record.bytes, line), STATUS_OK);
    struct row_key key;
    row_key_find(&record, field, LIMIT, &key);
    buffer_destroy(&record.bytes);
    return key;
}

/* A line whose prompt begins with `length` letters of its group and ends with its number. */
static void write_line(char *line, size_t size, const char *before, int group, int length, int row)
{
    char head[9000];
    memset(head, 'a' + group, (size_t)length);
    head[length] = '\0';
    snprintf(line, size, "{%s\"prompt\": \"%s %d\"}", before, head, row);
}

static void keys_look_at_prompts_alone(void **state)
{
    (void)state;
    char line[10000], other[10000];
    write_line(line, sizeof line, "\"id\": 1, ", 0, 600, 1);
    write_line(other, sizeof other, "\"id\": 22222, \"tag\": \"x\", ", 0, 600, 2);
    struct row_key a = key_of(line, NULL), b = key_of(other, NULL);
    assert_true(a.prefix[0] != 0 && a.prefix[0] == b.prefix[0]);
    assert_true(a.prefix[1] != 0 && a.prefix[1] == b.prefix[1]);
    assert_true(a.prefix[2] == 0);
    write_line(other, sizeof other, "", 1, 600, 1);
    assert_true(key_of(other, NULL).prefix[0] != a.prefix[0]);
    write_line(line, sizeof line, "", 0, 300, 1); /* alike up to 128 bytes, not up to 512 */
    write_line(other, sizeof other, "", 0, 400, 1);
    memset(other + 250, 'b', 40);
    a = key_of(line, NULL);
    b = key_of(other, NULL);
    assert_true(a.prefix[0] != 0 && a.prefix[0] == b.prefix[0]);
    write_line(line, sizeof line, "", 0, 600, 1);
    write_line(other, sizeof other, "", 0, 600, 1);
    memset(other + 450, 'b', 40);
    a = key_of(line, NULL);
    b = key_of(other, NULL);
    assert_true(a.prefix[0] == b.prefix[0] && a.prefix[1] != 0 && a.prefix[1] != b.prefix[1]);
}

static void keys_read_limits_of_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        double tokens;
    } cases[] = {
        {"{\"prompt\": \"\"}", LIMIT},
        {"{\"prompt\": \"\", \"max_tokens\": 500}", 500},
        {"{\"max_completion_tokens\" :7, \"prompt\": \"\"}", 7},
        {"{\"prompt\": \"\", \"max_tokens\": \"many\"}", LIMIT},
        {"{\"prompt\": \"max_tokens\"}", LIMIT},
        {"", LIMIT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double cost = key_of(cases[i].line, NULL).cost;
        assert_true(cost >= cases[i].tokens && cost < cases[i].tokens + 20);
    }
    struct record bad = {.kind = RECORD_BAD};
    struct row_key key;
    row_key_find(&bad, NULL, LIMIT, &key);
    assert_true(key.prefix[0] == 0 && key.cost == LIMIT);
}

static void write_data(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    char line[10000];
    for (int i = 0; i < ROWS; i++) { /* groups take turns; every 50th row is long */
        char before[64] = "";
        if (i % 50 == 49) {
            snprintf(before, sizeof before, "\"max_tokens\": %d, ", 5000 + i);
        }
        write_line(line, sizeof line, before, i % GROUPS, 700, i);
        fprintf(file, "%s\n", line);
    }
    fclose(file);
}

/* Hands all rows out, after `at_once` of them were handed out as read. */
static void hand_out(const char *folder, bool as_read, int at_once, int64_t *rows)
{
    char path[600];
    snprintf(path, sizeof path, "%s/data.jsonl", folder);
    write_data(path);
    struct record_reader_options options = {.path = path, .limit = -1};
    struct record_reader *reader;
    assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
    struct row_order_options order_options = {
        .reader = reader, .directory = folder, .max_new_tokens = LIMIT, .as_read = as_read};
    struct row_order *order;
    assert_int_equal(row_order_create(&order_options, &order), STATUS_OK);
    struct record record = {0};
    bool more = true;
    bool seen[ROWS] = {false};
    for (int i = 0; i <= ROWS; i++) {
        if (i == at_once) {
            for (bool ahead = true; ahead;) {
                assert_int_equal(row_order_read(order, &ahead), STATUS_OK);
            }
            assert_int_equal(row_order_left(order), as_read ? -1 : ROWS - i);
        }
        assert_int_equal(row_order_next(order, &record, &more), STATUS_OK);
        assert_int_equal(more, i < ROWS);
        if (more) {
            assert_in_range(record.row, 0, ROWS - 1);
            assert_false(seen[record.row]);
            seen[record.row] = true;
            assert_int_equal(record.position, record.row + 1);
            char number[16];
            snprintf(number, sizeof number, " %lld\"}", (long long)record.row);
            assert_string_equal(record.bytes.data + record.bytes.length - strlen(number), number);
            rows[i] = record.row;
        }
    }
    assert_int_equal(row_order_left(order), 0);
    buffer_destroy(&record.bytes);
    row_order_destroy(order);
    record_reader_close(reader);
}

static void rows_that_begin_alike_follow_each_other(void **state)
{
    const struct scratch_folder *scratch = *state;
    const char *folder = scratch->path;
    int64_t rows[ROWS];
    hand_out(folder, false, 10, rows);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rows[i], i); /* as read, at once */
    }
    for (int i = 10; i < 14; i++) { /* then the long ones, the longest first */
        assert_int_equal(rows[i], 49 + 50 * (13 - i));
    }
    int changes = 0;
    for (int i = 15; i < ROWS; i++) {
        changes += rows[i] % GROUPS != rows[i - 1] % GROUPS;
        assert_true(rows[i] % GROUPS != rows[i - 1] % GROUPS || rows[i] > rows[i - 1]);
    }
    assert_int_equal(changes, GROUPS - 1);
    assert_int_equal(rows[14], 10); /* of groups the one whose first row is first */
}

static void rows_go_out_as_read_if_asked(void **state)
{
    int64_t rows[ROWS];
    hand_out(((const struct scratch_folder *)*state)->path, true, 10, rows);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(rows[i], i);
    }
}

/* Read by the thread: nothing goes out as it was read, and all goes out once. */
static void a_thread_reads_before_rows_are_asked_for(void **state)
{
    const char *folder = ((const struct scratch_folder *)*state)->path;
    char path[600];
    snprintf(path, sizeof path, "%s/data.jsonl", folder);
    write_data(path);
    struct record_reader_options options = {.path = path, .limit = -1};
    struct record_reader *reader;
    assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
    struct row_order_options order_options = {
        .reader = reader, .directory = folder, .max_new_tokens = LIMIT};
    struct row_order *order;
    assert_int_equal(row_order_create(&order_options, &order), STATUS_OK);
    row_order_begin(order);
    while (row_order_is_reading(order)) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(row_order_left(order), ROWS);
    struct record record = {0};
    int64_t sum = 0;
    bool more = true;
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(row_order_next(order, &record, &more), STATUS_OK);
        assert_true(more);
        sum += record.row;
        if (i < 4) {
            assert_int_equal(record.row, 49 + 50 * (3 - i));
        }
    }
    assert_int_equal(sum, ROWS * (ROWS - 1) / 2);
    assert_int_equal(row_order_next(order, &record, &more), STATUS_OK);
    assert_false(more);
    buffer_destroy(&record.bytes);
    row_order_destroy(order);
    record_reader_close(reader);
}

/* Asked for while the thread reads, and destroyed while it does. */
static void a_thread_ends_when_rows_are_asked_for(void **state)
{
    const char *folder = ((const struct scratch_folder *)*state)->path;
    char path[600];
    snprintf(path, sizeof path, "%s/data.jsonl", folder);
    write_data(path);
    for (int round = 0; round < 20; round++) {
        struct record_reader_options options = {.path = path, .limit = -1};
        struct record_reader *reader;
        assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
        struct row_order_options order_options = {
            .reader = reader, .directory = folder, .max_new_tokens = LIMIT};
        struct row_order *order;
        assert_int_equal(row_order_create(&order_options, &order), STATUS_OK);
        row_order_begin(order);
        struct record record = {0};
        bool more = round % 4 != 3;
        bool seen[ROWS] = {false};
        while (more) {
            assert_int_equal(row_order_next(order, &record, &more), STATUS_OK);
            assert_true(!more || !seen[record.row]);
            seen[record.row] |= more;
        }
        for (int i = 0; i < ROWS; i++) {
            assert_int_equal(seen[i], round % 4 != 3);
        }
        buffer_destroy(&record.bytes);
        row_order_destroy(order);
        record_reader_close(reader);
    }
}

/* A file that ends in the middle of its compressed data: the rows before that go out first. */
static void rows_before_an_error_go_out(void **state)
{
    static const unsigned char cut[] = {
        /* gzip of "{\"prompt\": \"a\"}\n" twice, cut short */
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x03, 0x00, 0x20, 0x00,
        0xdf, 0xff, 0x7b, 0x22, 0x70, 0x72, 0x6f, 0x6d, 0x70, 0x74, 0x22, 0x3a, 0x20,
        0x22, 0x61, 0x22, 0x7d, 0x0a, 0x7b, 0x22, 0x70, 0x72, 0x6f, 0x6d, 0x70, 0x74,
        0x22, 0x3a, 0x20, 0x22, 0x61, 0x22, 0x7d, 0x0a, 0x00, 0x00, 0x00, 0xff, 0xff};
    const char *path = scratch_write(state, "cut.jsonl.gz", cut, sizeof cut);
    struct record_reader_options options = {.path = path, .limit = -1};
    struct record_reader *reader;
    assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
    struct row_order_options order_options = {
        .reader = reader, .directory = ((const struct scratch_folder *)*state)->path};
    struct row_order *order;
    assert_int_equal(row_order_create(&order_options, &order), STATUS_OK);
    bool more = true;
    row_order_begin(order);
    while (more) {
        assert_int_equal(row_order_read(order, &more), STATUS_OK);
    }
    struct record record = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(row_order_next(order, &record, &more), STATUS_OK);
        assert_true(more);
        assert_string_equal(record.bytes.data, "{\"prompt\": \"a\"}");
    }
    assert_int_not_equal(row_order_next(order, &record, &more), STATUS_OK);
    assert_non_null(strstr(status_message(), "cut.jsonl.gz"));
    buffer_destroy(&record.bytes);
    row_order_destroy(order);
    record_reader_close(reader);
}

/* More bytes than memory is to hold: the rest is in a file that nobody sees, and comes back. */
static void bytes_come_back_from_the_file(void **state)
{
    enum { BYTES = 1 << 20, RECORDS = 20 };
    struct row_batch *batch;
    assert_int_equal(row_batch_create(((const struct scratch_folder *)*state)->path, &batch),
                     STATUS_OK);
    for (int round = 0; round < 2; round++) {
        struct record record = {.kind = RECORD_TEXT};
        for (int i = 0; i < RECORDS; i++) {
            buffer_clear(&record.bytes);
            assert_int_equal(buffer_reserve(&record.bytes, BYTES), STATUS_OK);
            memset(record.bytes.data, 'a' + i, BYTES);
            record.bytes.length = i == 3 ? 0 : BYTES;
            record.row = i;
            struct row_key key = {.prefix = {(uint64_t)(i % 3) | 1}};
            assert_int_equal(row_batch_add(batch, &record, &key), STATUS_OK);
        }
        row_batch_sort(batch);
        assert_int_equal(row_batch_left(batch), RECORDS);
        for (int i = 0; i < RECORDS; i++) {
            assert_int_equal(row_batch_take(batch, &record), STATUS_OK);
            assert_int_equal(record.bytes.length, record.row == 3 ? 0 : BYTES);
            for (size_t j = 0; j < record.bytes.length; j += 4097) {
                assert_int_equal(record.bytes.data[j], 'a' + record.row);
            }
        }
        assert_int_equal(row_batch_left(batch), 0);
        row_batch_clear(batch);
        buffer_destroy(&record.bytes);
    }
    row_batch_destroy(batch);
}

/* ---- Rows that ask the same ---- */

static struct row plain_row(void)
{
    struct row row;
    memset(&row, 0, sizeof row);
    generate_params_defaults(&row.params);
    row.params.task = TASK_GENERATE;
    row.params.sampling.temperature = 0;
    return row;
}

static void rows_with_a_form_have_no_twins(void **state)
{
    (void)state;
    struct row row = plain_row();
    struct json tools = {.type = JSON_ARRAY};
    assert_true(twin_is_plain(&row));
    row.tools = &tools;
    assert_false(twin_is_plain(&row));
    row = plain_row();
    row.may_call_tools = true;
    assert_false(twin_is_plain(&row));
    row = plain_row();
    row.params.structured.kind = STRUCTURED_CHOICE;
    assert_false(twin_is_plain(&row));
    row = plain_row();
    row.params.grammar = (void *)&row;
    assert_false(twin_is_plain(&row));
    row = plain_row();
    row.params.task = TASK_SCORE;
    assert_false(twin_is_plain(&row));
}

static void twins_ask_the_same(void **state)
{
    (void)state;
    static struct twins twins;
    static const int32_t tokens[] = {4, 5, 6}, others[] = {4, 5, 7};
    struct json yes = {.type = JSON_BOOLEAN, .boolean = true}, no = {.type = JSON_BOOLEAN};
    struct row first = plain_row(), second = plain_row();
    struct twin known, asked;
    memset(&twins, 0, sizeof twins);
    twin_set(&known, &first, tokens, 3);
    assert_null(twins_find(&twins, &known));
    twins_add(&twins, &known);
    second.params.sampling.stream = 77; /* which no greedy answer depends on */
    second.return_token_ids = &no;
    twin_set(&asked, &second, tokens, 3);
    assert_ptr_equal(twins_find(&twins, &asked), &known);
    twin_set(&asked, &second, others, 3);
    assert_null(twins_find(&twins, &asked));
    twin_set(&asked, &second, tokens, 2);
    assert_null(twins_find(&twins, &asked));
    second.return_token_ids = &yes;
    twin_set(&asked, &second, tokens, 3);
    assert_null(twins_find(&twins, &asked));
    second = plain_row();
    second.endpoint = ENDPOINT_CHAT;
    twin_set(&asked, &second, tokens, 3);
    assert_null(twins_find(&twins, &asked));
    second = plain_row();
    second.params.max_new_tokens++;
    twin_set(&asked, &second, tokens, 3);
    assert_null(twins_find(&twins, &asked));
    second = plain_row();
    first.params.sampling.temperature = second.params.sampling.temperature = 1;
    twin_set(&asked, &second, tokens, 3);
    assert_ptr_equal(twins_find(&twins, &asked), &known);
    second.params.sampling.stream = 77;
    assert_null(twins_find(&twins, &asked)); /* it draws other numbers */
    first = plain_row();
    second = plain_row();
    twins_add(&twins, &asked); /* of several the latest */
    assert_ptr_equal(twins_find(&twins, &asked), &asked);
    twins_remove(&twins, &known);
    assert_ptr_equal(twins_find(&twins, &asked), &asked);
    twins_remove(&twins, &known); /* it is not in */
    twins_remove(&twins, &asked);
    assert_null(twins_find(&twins, &asked));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_with_a_form_have_no_twins),
        cmocka_unit_test(twins_ask_the_same),
        cmocka_unit_test(keys_look_at_prompts_alone),
        cmocka_unit_test(keys_read_limits_of_tokens),
        cmocka_unit_test(rows_that_begin_alike_follow_each_other),
        cmocka_unit_test(rows_go_out_as_read_if_asked),
        cmocka_unit_test(a_thread_reads_before_rows_are_asked_for),
        cmocka_unit_test(a_thread_ends_when_rows_are_asked_for),
        cmocka_unit_test(rows_before_an_error_go_out),
        cmocka_unit_test(bytes_come_back_from_the_file),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
