/* SPDX-License-Identifier: Apache-2.0 */
/* Whole data sets in one line of text, which the tests of each kind of file compare. */
#ifndef SLUICE_TESTS_RECORD_CHECKS_H
#define SLUICE_TESTS_RECORD_CHECKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scratch_folder.h"
#include "sluice/data.h"

static inline struct record_reader *open_limited(const char *path, int64_t limit)
{
    struct record_reader *reader;
    const struct record_reader_options options = {.path = path, .limit = limit};
    if (record_reader_open(&options, &reader) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return reader;
}

/* Reads everything: "line:kind:bytes|" for each record; `*last` is the last status. */
static inline char *read_all(const char *path, const char *prompt_field, status *last)
{
    struct record_reader *reader = NULL;
    const struct record_reader_options options = {
        .path = path, .prompt_field = prompt_field, .limit = -1};
    struct record record = {0};
    struct buffer all = {0};
    bool more = true;
    int64_t row = 0;
    assert_int_equal(buffer_append_text(&all, ""), STATUS_OK);
    *last = record_reader_open(&options, &reader);
    while (*last == STATUS_OK) {
        *last = record_reader_next(reader, &record, &more);
        if (*last != STATUS_OK || !more) {
            break;
        }
        assert_int_equal(record.row, row++);
        assert_int_equal(buffer_format(&all, "%lld:%d:", (long long)record.position, record.kind),
                         STATUS_OK);
        if (record.kind == RECORD_TOKENS) {
            for (size_t i = 0; i < record.bytes.length; i += 4) {
                int32_t token;
                memcpy(&token, record.bytes.data + i, sizeof token);
                assert_int_equal(buffer_format(&all, "%d,", token), STATUS_OK);
            }
        } else {
            assert_int_equal(buffer_append(&all, record.bytes.data, record.bytes.length),
                             STATUS_OK);
        }
        assert_int_equal(buffer_append_byte(&all, '|'), STATUS_OK);
    }
    record_reader_close(reader);
    buffer_destroy(&record.bytes);
    return all.data;
}

static inline void assert_rows(const char *path, const char *prompt_field, const char *expected)
{
    status last;
    char *all = read_all(path, prompt_field, &last);
    if (last != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_string_equal(all, expected);
    free(all);
}

static inline void assert_refused(const char *path, status expected, const char *message)
{
    status last;
    free(read_all(path, NULL, &last));
    if (last != expected || strstr(status_message(), message) == NULL ||
        strstr(status_message(), path) == NULL) {
        fail_msg("%s: %s", status_name(last), status_message());
    }
}

#endif
