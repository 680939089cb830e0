/* SPDX-License-Identifier: Apache-2.0 */
/* Rows under way beside a model that searches all of them: random operations, and what the file
 * holds after each write. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/journal/little_endian.h"
#include "data/journal/under_way.h"
#include "scratch_folder.h"

enum { MOST = 3000, OFFSET = 36 };

/* What there is to be: rows in no order. */
struct model {
    int64_t rows[MOST];
    int32_t replicas[MOST];
    size_t count;
    uint64_t random;
};

static uint64_t draw(struct model *model, uint64_t below)
{
    model->random = model->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (model->random >> 33) % below;
}

static size_t find(const struct model *model, int64_t row)
{
    size_t i = 0;
    while (i < model->count && model->rows[i] != row) {
        i++;
    }
    return i;
}

static void add(struct model *model, struct rows_under_way *rows)
{
    /* Neighbours, far ones, and those whose places in the table are near each other. */
    int64_t row = (int64_t)draw(model, 3) == 0
                      ? (int64_t)draw(model, UINT64_C(1) << 33)
                      : (int64_t)draw(model, 5000) << (draw(model, 2) * 20);
    if (model->count == MOST || find(model, row) < model->count) {
        return;
    }
    int32_t replica = (int32_t)draw(model, 100);
    assert_int_equal(under_way_add(rows, row, replica), STATUS_OK);
    model->rows[model->count] = row;
    model->replicas[model->count++] = replica;
}

static void take(struct model *model, struct rows_under_way *rows)
{
    if (model->count == 0) {
        assert_false(under_way_remove(rows, 7));
        return;
    }
    size_t i = (size_t)draw(model, model->count);
    assert_true(under_way_remove(rows, model->rows[i]));
    assert_false(under_way_remove(rows, model->rows[i]));
    model->count--;
    model->rows[i] = model->rows[model->count];
    model->replicas[i] = model->replicas[model->count];
}

/* Every row stands in the file once with its replica; others may stand there still. */
static void check_file(const struct model *model, struct rows_under_way *rows, int fd)
{
    assert_int_equal(under_way_write(rows, fd, OFFSET), STATUS_OK);
    off_t end = lseek(fd, 0, SEEK_END);
    size_t length = end > OFFSET ? (size_t)end - OFFSET : 0, found = 0;
    static bool seen[MOST];
    memset(seen, 0, sizeof seen);
    char *bytes = malloc(length + 1);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, length, OFFSET), length);
    for (size_t at = 0; at + SLOT_BYTES <= length; at += SLOT_BYTES) {
        int64_t row = little_endian_get_int64(bytes + at + SLOT_ROW) - 1;
        size_t i = row >= 0 ? find(model, row) : model->count;
        if (i < model->count &&
            model->replicas[i] == little_endian_get_int32(bytes + at + SLOT_REPLICA)) {
            found += !seen[i]; /* an earlier place of the same row may stand there still */
            seen[i] = true;
        }
    }
    free(bytes);
    assert_int_equal(found, model->count);
    assert_int_equal(rows->count, model->count);
}

static void rows_are_where_the_model_has_them(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        static struct model model;
        model = (struct model){.random = seed};
        struct rows_under_way rows = {0};
        int fd = open(scratch_path(state, "slots"), O_RDWR | O_CREAT | O_TRUNC, 0666);
        assert_true(fd >= 0);
        size_t most = 0;
        for (int step = 0; step < 12000; step++) {
            /* Ebb and flow, so that pages empty and are used again. */
            bool flow = step / 2000 % 2 == 0;
            draw(&model, 10) < (flow ? 7u : 3u) ? add(&model, &rows) : take(&model, &rows);
            most = model.count > most ? model.count : most;
            if (draw(&model, 500) == 0) {
                check_file(&model, &rows, fd);
            }
        }
        check_file(&model, &rows, fd);
        /* Never more than twice as many slots as there were rows, and two pages. */
        assert_true(rows.page_count * SLOT_PAGE <= 2 * most + 2 * SLOT_PAGE);
        while (model.count > 0) {
            take(&model, &rows);
        }
        assert_int_equal(rows.count, 0);
        under_way_destroy(&rows);
        close(fd);
    }
}

/* A shard's rows stand together once the first have come back: few writes, whatever the order in
 * which rows end. */
static void a_shard_takes_few_pages(void **state)
{
    static struct model model;
    model = (struct model){.random = 1};
    struct rows_under_way rows = {0};
    int fd = open(scratch_path(state, "shards"), O_RDWR | O_CREAT | O_TRUNC, 0666);
    assert_true(fd >= 0);
    size_t pages = 0;
    int64_t next = 0;
    for (int shard = 0; shard < 400; shard++) {
        while (model.count > MOST - 256) {
            take(&model, &rows);
        }
        for (int i = 0; i < 256; i++) {
            assert_int_equal(under_way_add(&rows, next, 0), STATUS_OK);
            model.rows[model.count++] = next++;
        }
        pages += rows.unwritten_count;
        assert_int_equal(under_way_write(&rows, fd, 0), STATUS_OK);
        assert_int_equal(rows.unwritten_count, 0);
    }
    assert_true(pages <= 400 * 3);
    under_way_destroy(&rows);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_where_the_model_has_them),
        cmocka_unit_test(a_shard_takes_few_pages),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
