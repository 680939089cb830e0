/* SPDX-License-Identifier: Apache-2.0 */
/* The journal beside a model of it: random appends, commits, reopenings, kills that cut off what
 * was not committed, and reading back in groups of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/journal/read_back.h"
#include "scratch_folder.h"
#include "sluice/data.h"

enum { ROWS = 700, STEPS = 2000 };

/* 0: not there; else the number from which its results are made. */
struct model {
    uint32_t rows[ROWS], committed[ROWS];
    int64_t committed_bytes;
    uint64_t random;
    uint32_t next;
};

static uint64_t draw(struct model *model, uint64_t below)
{
    model->random = model->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (model->random >> 33) % below;
}

static int samples_of(uint32_t number)
{
    return 1 + (int)(number % 3);
}

static size_t text_of(uint32_t number, int sample, char text[9000])
{
    size_t length = number % 50 == 0 ? 8000 : number * 7 % 400;
    memset(text, 'a' + (int)((number + (uint32_t)sample) % 26), length);
    return length;
}

static void append(struct model *model, struct journal *journal)
{
    static char text[9000];
    int64_t row = (int64_t)draw(model, ROWS);
    struct buffer bytes = {0};
    uint32_t number = ++model->next;
    for (int i = 0; i < samples_of(number); i++) {
        const struct result result = {.row = row,
                                      .sample = i,
                                      .id = "",
                                      .text = text,
                                      .text_length = text_of(number, i, text),
                                      .error = "",
                                      .passthrough = ""};
        assert_int_equal(result_encode(&result, &bytes), STATUS_OK);
    }
    status s = journal_append(journal, row, bytes.data, bytes.length);
    buffer_destroy(&bytes);
    assert_int_equal(s, model->rows[row] != 0 ? STATUS_INTERNAL : STATUS_OK);
    model->rows[row] = model->rows[row] != 0 ? model->rows[row] : number;
}

struct seen {
    const struct model *model;
    int64_t row;
    int32_t sample; /* the next */
};

static bool is_past(const struct seen *seen)
{
    return seen->row >= 0 && seen->sample < samples_of(seen->model->rows[seen->row]);
}

static status see(void *context, const struct result *result)
{
    struct seen *seen = context;
    static char text[9000];
    if (!is_past(seen)) { /* the next row that is there */
        do {
            seen->row++;
        } while (seen->row < ROWS && seen->model->rows[seen->row] == 0);
        seen->sample = 0;
    }
    assert_int_equal(result->row, seen->row);
    assert_int_equal(result->sample, seen->sample);
    size_t length = text_of(seen->model->rows[seen->row], seen->sample, text);
    assert_int_equal(result->text_length, length);
    assert_memory_equal(result->text, text, length);
    seen->sample++;
    return STATUS_OK;
}

/* The rows up to the first gap, by a reader of its own. */
static void check_beside(const struct model *model, const struct journal *journal)
{
    static struct journal_place places[ROWS];
    struct seen seen = {.model = model, .row = -1};
    struct journal_reader *reader;
    int64_t row = 0, gap = 0;
    while (gap < ROWS && model->rows[gap] != 0) {
        gap++;
    }
    assert_int_equal(journal_follow(journal, &row, places, ROWS), gap);
    assert_int_equal(row, gap);
    assert_int_equal(journal_reader_open(journal_path(journal), &reader), STATUS_OK);
    assert_int_equal(journal_reader_visit(reader, places, (size_t)gap, see, &seen), STATUS_OK);
    assert_int_equal(seen.row, gap - 1);
    journal_reader_close(reader);
}

static void check(const struct model *model, struct journal *journal)
{
    struct seen seen = {.model = model, .row = -1};
    int64_t rows = 0;
    assert_int_equal(journal_visit(journal, see, &seen), STATUS_OK);
    for (int64_t row = 0; row < ROWS; row++) {
        rows += model->rows[row] != 0;
        assert_int_equal(journal_has_row(journal, row), model->rows[row] != 0);
        assert_true(row <= seen.row || model->rows[row] == 0);
    }
    assert_int_equal(journal_row_count(journal), rows);
    check_beside(model, journal);
}

static struct journal *reopen(const char *path)
{
    struct journal *journal;
    if (journal_open(path, "a: job\n", 0, &journal) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return journal;
}

static void commit(struct model *model, struct journal *journal)
{
    assert_int_equal(journal_commit(journal), STATUS_OK);
    memcpy(model->committed, model->rows, sizeof model->rows);
    model->committed_bytes = journal_bytes(journal);
}

/* What a kill and a power failure leave: what was committed, and some of the bytes behind it. */
static struct journal *cut(struct model *model, struct journal *journal, const char *path)
{
    char file[300];
    struct stat info;
    snprintf(file, sizeof file, "%s/journal", path);
    int64_t committed = model->committed_bytes;
    uint32_t rows[ROWS];
    memcpy(rows, model->committed, sizeof rows);
    journal_close(journal, false); /* commits, and more than a kill would leave */
    assert_int_equal(stat(file, &info), 0);
    int64_t behind = info.st_size - committed;
    assert_true(behind >= 0);
    int64_t kept = behind > 0 ? (int64_t)draw(model, (uint64_t)behind) : 0;
    assert_int_equal(truncate(file, (off_t)(committed + kept)), 0);
    journal = reopen(path);
    for (int64_t row = 0; row < ROWS; row++) { /* whole entries behind the commit are kept */
        assert_true(rows[row] == 0 || journal_has_row(journal, row));
        model->rows[row] = journal_has_row(journal, row) ? model->rows[row] : 0;
    }
    return journal;
}

static void random_operations(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        static struct model model;
        model = (struct model){.random = seed};
        const char *name = scratch_path(state, "journal");
        char path[256];
        snprintf(path, sizeof path, "%s%d", name, (int)seed);
        struct journal *journal = reopen(path);
        commit(&model, journal);
        model.committed_bytes = journal_bytes(journal);
        for (int step = 0; step < STEPS; step++) {
            read_back_limits.bytes = 1 + (int64_t)draw(&model, 30000);
            read_back_limits.rows = 1 + (size_t)draw(&model, 100);
            switch (draw(&model, 60)) {
            case 0:
                commit(&model, journal);
                break;
            case 1:
                check(&model, journal);
                break;
            case 2:
                journal_close(journal, false);
                journal = reopen(path);
                commit(&model, journal);
                break;
            case 3:
                journal = cut(&model, journal, path);
                commit(&model, journal);
                break;
            default:
                append(&model, journal);
            }
        }
        check(&model, journal);
        journal_close(journal, true);
    }
}

/* What is read is at most twice what was written, in whatever order rows finished. */
static int64_t bytes_read(void)
{
    FILE *file = fopen("/proc/self/io", "r");
    long long bytes = -1;
    if (file != NULL) {
        assert_int_equal(fscanf(file, "rchar: %lld", &bytes), 1);
        fclose(file);
    }
    return bytes;
}

static status ignore(void *context, const struct result *result)
{
    (void)context;
    (void)result;
    return STATUS_OK;
}

static void shuffled_rows_are_read_once(void **state)
{
    char text[800];
    memset(text, 'x', sizeof text);
    const char *path = scratch_path(state, "shuffled");
    struct journal *journal = reopen(path);
    for (int64_t i = 0; i < 20000; i++) {
        const struct result result = {.row = i * 7919 % 20000,
                                      .id = "",
                                      .text = text,
                                      .text_length = sizeof text,
                                      .error = "",
                                      .passthrough = ""};
        struct buffer bytes = {0};
        assert_int_equal(result_encode(&result, &bytes), STATUS_OK);
        assert_int_equal(journal_append(journal, result.row, bytes.data, bytes.length), STATUS_OK);
        buffer_destroy(&bytes);
    }
    assert_int_equal(journal_commit(journal), STATUS_OK);
    static const int64_t limits[] = {100 << 10, 4 << 20, 256 << 20};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        read_back_limits.bytes = limits[i];
        read_back_limits.rows = 1 << 20;
        int64_t before = bytes_read();
        assert_int_equal(journal_visit(journal, ignore, NULL), STATUS_OK);
        assert_true(before < 0 || bytes_read() - before <= 2 * journal_bytes(journal) + 4096);
    }
    journal_close(journal, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations),
        cmocka_unit_test(shuffled_rows_are_read_once),
    };
    log_configure(LOG_ERROR, NULL);
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
