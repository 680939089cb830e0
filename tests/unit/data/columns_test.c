/* SPDX-License-Identifier: Apache-2.0 */
/* The table of result columns: that it holds together, that whatever it lists travels and is
 * stored, and that docs/output-format.md has the same columns. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <hdf5.h>

#include "data/output/columns.h"
#include "data/output/result.h"
#include "scratch_folder.h"

static void the_table_holds_together(void **state)
{
    (void)state;
    unsigned taken = 0, own;
    size_t head_texts = 0;
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        bool is_text = column->kind == COLUMN_TEXT;
        own = column->bit;
        while (column->kind == COLUMN_NAME && own < column->bit * (unsigned)column->last) {
            own = own << 1 | column->bit;
        }
        if (column_leads(column)) {
            assert_int_equal(taken & own, 0);
        } else {
            assert_true(column->shape == column[-1].shape && column->width == column[-1].width &&
                        column->when == column[-1].when);
        }
        taken |= own;
        assert_true(column->travel != TRAVEL_PART || column->bit != 0);
        assert_true(column->travel != TRAVEL_NOT || column->bit == 0);
        assert_true(column->travel != TRAVEL_PART || !is_text || column->length_bytes == 1 ||
                    column->length_bytes == 4);
        assert_true(column->shape == PER_RESULT || column->when != 0);
        assert_true((column->width != 0) == (column->width_name != NULL));
        assert_true(column->width == 0 || column->widest > 0);
        head_texts += is_text && column->travel == TRAVEL_HEAD;
        for (size_t j = 0; j < i; j++) {
            const struct result_column *other = &result_columns[j];
            assert_true(column->path == NULL || other->path == NULL ||
                        strcmp(column->path, other->path) != 0);
            assert_true(column->json == JSON_NOT || other->json == JSON_NOT ||
                        strcmp(column->name, other->name) != 0);
        }
    }
    assert_true(taken <= UINT16_MAX * 0x10001u);
    assert_int_equal(head_texts, 5);
}

/* ---- What goes in comes out ---- */

enum { LIST = 3, TOKENS = 7, ITEMS = 200 };

static int32_t token_ids[RESULT_COLUMNS_MOST][ITEMS * LIST];
static float floats[RESULT_COLUMNS_MOST][ITEMS * LIST];
static char texts[RESULT_COLUMNS_MOST][32];

static void fill_single(size_t i, struct stored_result *result)
{
    const struct result_column *column = &result_columns[i];
    void *member = column_member_of(column, result);
    switch (column->kind) {
    case COLUMN_INT32:
        *(int32_t *)member = 100 + (int32_t)i;
        break;
    case COLUMN_INT64:
        *(int64_t *)member = ((int64_t)1 << 40) + (int64_t)i;
        break;
    case COLUMN_DOUBLE:
        *(double *)member = 0.5 + (double)i;
        break;
    case COLUMN_NAME:
        column_set_name(column, column->last, result);
        break;
    case COLUMN_TEXT:
        snprintf(texts[i], sizeof texts[i], "text of %zu", i);
        column_set_text(column, texts[i], strlen(texts[i]), result);
        break;
    case COLUMN_TOKEN_IDS:
    case COLUMN_FLOATS:
        break;
    }
}

static void fill_array(size_t i, struct stored_result *result)
{
    const struct result_column *column = &result_columns[i];
    column_set_width(column, LIST, result);
    assert_true(column_items(column, result) <= ITEMS);
    for (int at = 0; at < ITEMS * LIST; at++) {
        token_ids[i][at] = at + 1000 * (int)i;
        floats[i][at] = -0.25F * (float)(at + 1000 * (int)i);
    }
    column_set_pointer(column, column->kind == COLUMN_FLOATS ? (void *)floats[i] : token_ids[i],
                       result);
}

/* A value in every column. */
static struct stored_result full_result(void)
{
    struct stored_result result = {0};
    for (size_t i = 0; i < result_column_count; i++) {
        fill_single(i, &result);
    }
    result.result.completion_tokens = TOKENS;
    for (size_t i = 0; i < result_column_count; i++) {
        if (column_is_array(&result_columns[i])) {
            fill_array(i, &result);
        }
    }
    return result;
}

static void assert_column(const struct result_column *column, const struct stored_result *expected,
                          const struct stored_result *actual)
{
    const void *before = column_member(column, expected), *after = column_member(column, actual);
    bool is_same = true;
    if (column_is_array(column)) {
        size_t bytes = column_items(column, expected) * (size_t)column_width(column, expected) * 4;
        before = column_pointer(column, expected);
        after = column_pointer(column, actual);
        is_same = after != NULL && column_width(column, actual) == column_width(column, expected) &&
                  memcmp(before, after, bytes) == 0;
    } else if (column->kind == COLUMN_TEXT) {
        size_t length = column_text_length(column, expected);
        after = column_pointer(column, actual);
        is_same = after != NULL && column_text_length(column, actual) == length &&
                  memcmp(after, column_pointer(column, expected), length + 1) == 0;
    } else {
        is_same = memcmp(before, after, column->member_bytes) == 0;
    }
    if (!is_same) {
        fail_msg("%s came back as another", column->name);
    }
}

static void every_column_travels(void **state)
{
    (void)state;
    const struct stored_result in = full_result();
    struct stored_result out = {0};
    struct buffer bytes = {0};
    struct arena arena = {0};
    size_t used;
    assert_int_equal(result_encode(&in.result, &bytes), STATUS_OK);
    if (result_decode(bytes.data, bytes.length, &arena, &out.result, &used) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_int_equal(used, bytes.length);
    for (size_t i = 0; i < result_column_count; i++) {
        if (result_columns[i].travel != TRAVEL_NOT) {
            assert_column(&result_columns[i], &in, &out);
        }
    }
    buffer_destroy(&bytes);
    arena_destroy(&arena);
}

/* The columns that a journal with this result asks for are those that its head names. */
static void every_part_asks_for_its_column(void **state)
{
    (void)state;
    struct stored_result result = full_result();
    struct buffer bytes = {0};
    struct output_columns asked = {0}, none = {0};
    assert_int_equal(result_encode(&result.result, &bytes), STATUS_OK);
    assert_int_equal(result_encoded_columns(bytes.data, &asked), STATUS_OK);
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        bool is_own = column->shape == PER_RESULT && column->width != 0;
        if (column->when != 0 && column->bit != 0 && column->path == NULL) {
            /* It travels for a column that is made of it. */
            assert_true(*(bool *)column_when(column, &asked));
        } else if (column->when != 0 && column->bit != 0 && !is_own) {
            assert_int_equal(column_file_width(column, &asked), column->width != 0 ? LIST : 1);
            assert_int_equal(column_file_width(column, &none), 0);
        }
    }
    buffer_destroy(&bytes);
}

static status compare_stored(void *context, const struct result *result)
{
    const struct stored_result expected = full_result(), actual = {.result = *result};
    for (size_t i = 0; i < result_column_count; i++) {
        if (result_columns[i].path != NULL && result_columns[i].travel != TRAVEL_NOT) {
            assert_column(&result_columns[i], &expected, &actual);
        }
    }
    ++*(int *)context;
    return STATUS_OK;
}

static struct output_columns all_columns(void)
{
    struct output_columns columns = {0};
    for (size_t i = 0; i < result_column_count; i++) {
        void *when = column_when(&result_columns[i], &columns);
        if (when != NULL && result_columns[i].width != 0) {
            *(int32_t *)when = LIST;
        } else if (when != NULL) {
            *(bool *)when = true;
        }
    }
    return columns;
}

static void every_column_is_stored(void **state)
{
    struct output_columns columns = all_columns();
    const struct stored_result result = full_result();
    for (int packed = 0; packed < 2; packed++) {
        const char *path = scratch_path(state, packed ? "packed.h5" : "variable.h5");
        struct output_writer *writer;
        struct output_reader *reader;
        int seen = 0;
        columns.packed_texts = packed != 0;
        assert_int_equal(output_create(path, true, &columns, &writer), STATUS_OK);
        assert_int_equal(output_append(writer, &result.result), STATUS_OK);
        assert_int_equal(output_finish(writer), STATUS_OK);
        assert_int_equal(output_open(path, &reader), STATUS_OK);
        assert_int_equal(output_visit(reader, compare_stored, &seen), STATUS_OK);
        assert_int_equal(seen, 1);
        output_reader_close(reader);
    }
}

/* ---- What files have had so far ---- */

static void describe_dataset(hid_t file, const char *path, struct buffer *out)
{
    hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    assert_true(dataset >= 0);
    hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
    hid_t storage = H5Dget_create_plist(dataset);
    hsize_t sizes[2] = {0}, chunk[2] = {0};
    static const char *const classes[] = {[H5T_INTEGER] = "integer",
                                          [H5T_FLOAT] = "float",
                                          [H5T_STRING] = "string",
                                          [H5T_ENUM] = "enum"};
    assert_true(H5Sget_simple_extent_dims(space, sizes, NULL) > 0);
    assert_true(H5Pget_chunk(storage, 2, chunk) > 0);
    assert_int_equal(buffer_format(out, "%s %s", path, classes[H5Tget_class(type)]), STATUS_OK);
    if (H5Tis_variable_str(type) <= 0) {
        assert_int_equal(buffer_format(out, "%zu", 8 * H5Tget_size(type)), STATUS_OK);
    }
    assert_int_equal(buffer_format(out, " [%d", (int)sizes[0]), STATUS_OK);
    if (sizes[1] > 0) {
        assert_int_equal(buffer_format(out, ", %d", (int)sizes[1]), STATUS_OK);
    }
    assert_int_equal(buffer_format(out, "] by %d", (int)chunk[0]), STATUS_OK);
    H5Pclose(storage);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(dataset);
}

/* Programs read these datasets: whatever becomes of the table, they stay as they are. */
static void datasets_stay_as_they_are(void **state)
{
    static const char *const expected[] = {
        "/results/row integer64 [1] by 4096",
        "/results/id string [1] by 4096",
        "/results/sample integer32 [1] by 4096",
        "/results/prompt string [1] by 4096",
        "/results/text string [1] by 4096",
        "/results/finish_reason enum8 [1] by 4096",
        "/results/error string [1] by 4096",
        "/results/prompt_tokens integer32 [1] by 4096",
        "/results/completion_tokens integer32 [1] by 4096",
        "/results/seconds float64 [1] by 4096",
        "/results/rank integer32 [1] by 4096",
        "/results/endpoint enum8 [1] by 4096",
        "/results/status_code integer32 [1] by 4096",
        "/results/id_is_number enum8 [1] by 4096",
        "/results/arithmetic string [1] by 4096",
        "/results/logprob_sum float64 [1] by 4096",
        "/results/logprob_mean float64 [1] by 4096",
        "/results/embedding float32 [1, 3] by 21845",
        "/results/token_offsets integer64 [2] by 4096",
        "/results/token_ids integer32 [7] by 65536",
        "/results/logprobs float32 [7] by 65536",
        "/results/top_logprob_ids integer32 [7, 3] by 21845",
        "/results/top_logprob_values float32 [7, 3] by 21845",
        "/passthrough/json string [1] by 4096",
    };
    const struct output_columns columns = all_columns();
    const struct stored_result result = full_result();
    const char *path = scratch_path(state, "stays.h5");
    struct output_writer *writer;
    struct buffer line = {0};
    assert_int_equal(output_create(path, true, &columns, &writer), STATUS_OK);
    assert_int_equal(output_append(writer, &result.result), STATUS_OK);
    assert_int_equal(output_finish(writer), STATUS_OK);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(expected[i], " "), expected[i]);
        buffer_clear(&line);
        describe_dataset(file, name, &line);
        assert_string_equal(line.data, expected[i]);
    }
    assert_true(H5Fclose(file) >= 0);
    buffer_destroy(&line);
}

/* ---- Documentation ---- */

static const char *leaf_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

static char *read_page(struct buffer *page)
{
    const char *path = SLUICE_SOURCE_DIR "/docs/output-format.md";
    assert_int_equal(file_read(path, 1 << 20, page), STATUS_OK);
    assert_non_null(strstr(page->data, "\n## Results"));
    return page->data;
}

static void the_page_has_every_column(void **state)
{
    (void)state;
    struct buffer page = {0}, line = {0};
    const char *text = read_page(&page);
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column->path == NULL) {
            continue;
        }
        buffer_clear(&line);
        assert_int_equal(buffer_format(&line, "\n| `%s` | ", leaf_of(column->path)), STATUS_OK);
        assert_int_equal(column_describe_type(column, &line), STATUS_OK);
        assert_int_equal(buffer_append_text(&line, " | "), STATUS_OK);
        if (strstr(text, line.data) == NULL) {
            fail_msg("docs/output-format.md lacks the line %s", line.data + 1);
        }
    }
    buffer_destroy(&page);
    buffer_destroy(&line);
}

static bool is_column(const char *name, size_t length)
{
    for (size_t i = 0; i < result_column_count; i++) {
        const char *path = result_columns[i].path;
        if (path != NULL && strlen(leaf_of(path)) == length &&
            memcmp(leaf_of(path), name, length) == 0) {
            return true;
        }
    }
    for (int shape = PER_RESULT + 1; shape < COLUMN_SHAPES; shape++) {
        const char *leaf = leaf_of(flat_shapes[shape].offsets);
        if (strlen(leaf) == length && memcmp(leaf, name, length) == 0) {
            return true;
        }
    }
    return false;
}

static void the_page_has_no_other_column(void **state)
{
    (void)state;
    static const char start[] = "\n| `";
    struct buffer page = {0};
    char *at = strstr(read_page(&page), "\n## Results");
    *strstr(at + 1, "\n## ") = '\0';
    size_t lines = 0;
    while ((at = strstr(at, start)) != NULL) {
        at += strlen(start);
        size_t length = strcspn(at, "`");
        if (!is_column(at, length)) {
            fail_msg("docs/output-format.md has a column %.*s", (int)length, at);
        }
        lines++;
    }
    assert_true(lines >= result_column_count / 2);
    buffer_destroy(&page);
}

static void the_page_has_the_order_of_a_line(void **state)
{
    (void)state;
    struct buffer page = {0}, name = {0};
    const char *at = strstr(read_page(&page), "\n## Exports");
    assert_non_null(at);
    for (size_t i = 0; i < result_column_count; i++) {
        if (result_columns[i].json == JSON_NOT) {
            continue;
        }
        buffer_clear(&name);
        assert_int_equal(buffer_format(&name, "`%s`", result_columns[i].name), STATUS_OK);
        const char *found = strstr(at, name.data);
        const char *end = strstr(at, "\n\n`--format openai`");
        if (found == NULL || end == NULL || found > end) {
            fail_msg("docs/output-format.md: %s is not in its place among the exported members",
                     name.data);
        }
        at = found;
    }
    buffer_destroy(&page);
    buffer_destroy(&name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_holds_together),
        cmocka_unit_test(every_column_travels),
        cmocka_unit_test(every_part_asks_for_its_column),
        cmocka_unit_test(every_column_is_stored),
        cmocka_unit_test(datasets_stay_as_they_are),
        cmocka_unit_test(the_page_has_every_column),
        cmocka_unit_test(the_page_has_no_other_column),
        cmocka_unit_test(the_page_has_the_order_of_a_line),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
