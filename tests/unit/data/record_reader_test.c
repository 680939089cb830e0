/* SPDX-License-Identifier: Apache-2.0 */
/* Record readers of lines: the same rows from every encoding, and what is said of files that are no
 * data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <zstd.h>

#include "record_checks.h"

#define SETS SLUICE_TEST_DATA "/sets/"

static void every_encoding_gives_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *path, *sha256;
    } files[] = {
        {SETS "mixed.jsonl", "7787c08d993e89951f815177c118ed85ed828be73b57c1157b413e3fa752c937"},
        {SETS "mixed.jsonl.gz", "50c4e2fd49163880aa02ede4a5777dd0cdf77b3136afdd3e0b381abe544418c3"},
        {SETS "mixed.jsonl.zst",
         "943b6199d59c73222d0ebe61aaf2540ab6613ae11bdb479cc5c30cafef211c83"},
    };
    struct buffer plain = {0};
    struct buffer expected = {0};
    assert_int_equal(file_read(files[0].path, 4096, &plain), STATUS_OK);
    int line = 0;
    for (char *next = strtok(plain.data, "\n"); next != NULL; next = strtok(NULL, "\n")) {
        assert_int_equal(buffer_format(&expected, "%d:0:%s|", ++line, next), STATUS_OK);
    }
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        assert_rows(files[i].path, NULL, expected.data);
        /* A reader that stops early still hashes all of the file. */
        for (int64_t limit = 0; limit < 7; limit += 2) {
            struct record_reader *reader = open_limited(files[i].path, limit);
            struct record record = {0};
            bool more = true;
            int64_t rows = 0;
            int64_t bytes;
            char hex[65];
            struct stat info;
            while (more) {
                assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
                rows += more;
            }
            assert_int_equal(rows, limit < 5 ? limit : 5);
            for (int again = 0; again < 2; again++) {
                assert_int_equal(record_reader_digest(reader, &bytes, hex), STATUS_OK);
                assert_string_equal(hex, files[i].sha256);
            }
            assert_int_equal(stat(files[i].path, &info), 0);
            assert_int_equal(bytes, info.st_size);
            record_reader_close(reader);
            buffer_destroy(&record.bytes);
        }
    }
    buffer_destroy(&plain);
    buffer_destroy(&expected);
}

/* A frame that holds nothing, and is longer than what is read at once: the end is not there yet. */
static void frames_without_bytes_are_hashed(void **state)
{
    enum { EMPTY = 3 << 20 };
    static const char lines[] = "{\"a\":1}\n{\"b\":2}\n";
    struct buffer file = {0};
    char packed[256], wanted[65], hex[65];
    const size_t length = ZSTD_compress(packed, sizeof packed, lines, sizeof lines - 1, 3);
    assert_false(ZSTD_isError(length));
    static const unsigned char head[] = {0x50, 0x2A, 0x4D, 0x18, 0, 0, EMPTY >> 16, 0};
    assert_int_equal(buffer_append(&file, packed, length), STATUS_OK);
    assert_int_equal(buffer_append(&file, head, sizeof head), STATUS_OK);
    assert_int_equal(buffer_reserve(&file, EMPTY), STATUS_OK);
    memset(file.data + file.length, 7, EMPTY);
    file.length += EMPTY;
    assert_int_equal(buffer_append(&file, packed, length), STATUS_OK);
    const char *path = scratch_write(state, "skipped.zst", file.data, file.length);
    struct sha256 *hash = sha256_create();
    sha256_update(hash, file.data, file.length);
    sha256_finish(hash, wanted);
    for (int64_t limit = -1; limit < 4; limit++) {
        struct record_reader *reader = open_limited(path, limit);
        struct record record = {0};
        int64_t bytes, rows = 0;
        for (bool more = true; more; rows += more) {
            assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
        }
        assert_int_equal(rows, limit < 0 ? 4 : limit);
        assert_int_equal(record_reader_digest(reader, &bytes, hex), STATUS_OK);
        assert_string_equal(hex, wanted);
        assert_int_equal(bytes, file.length);
        record_reader_close(reader);
        buffer_destroy(&record.bytes);
    }
    buffer_destroy(&file);
}

static void lines_in_every_dress(void **state)
{
    static const char text[] = "\xEF\xBB\xBF{\"a\":1}\r\n\n  \t\r\n{\"b\":2}\n\r\n{\"c\":\"\xFF\"}";
    assert_rows(scratch_write(state, "dress", text, strlen(text)), NULL,
                "1:0:{\"a\":1}|4:0:{\"b\":2}|6:0:{\"c\":\"\xFF\"}|");
}

static void a_line_of_more_than_64_mib_is_one_bad_record(void **state)
{
    size_t most = (size_t)64 << 20;
    char *text = malloc(2 * most + 64);
    assert_non_null(text);
    memset(text, 'x', 2 * most + 64);
    text[most] = '\n';         /* the longest that is allowed */
    text[2 * most + 2] = '\n'; /* one more */
    text[2 * most + 4] = '\n';
    const char *path = scratch_write(state, "long", text, 2 * most + 5);
    free(text);
    struct record_reader *reader = open_limited(path, -1);
    struct record record = {0};
    bool more;
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_int_equal(record.kind, RECORD_JSON);
    assert_int_equal(record.bytes.length, most);
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_int_equal(record.kind, RECORD_BAD);
    assert_int_equal(record.position, 2);
    assert_string_equal(record.bytes.data, "a line of more than 64 MiB");
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_true(more);
    assert_int_equal(record.kind, RECORD_JSON);
    assert_string_equal(record.bytes.data, "x");
    record_reader_close(reader);
    buffer_destroy(&record.bytes);
    remove(path);
}

static void files_that_are_no_data(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t length;
        status expected;
        const char *message;
    } files[] = {
        {"empty.jsonl", "", 0, STATUS_INVALID, "holds no rows"},
        {"blank.jsonl", "\n \r\n", 4, STATUS_INVALID, "holds no rows"},
        {"array.json", " [{\"a\":1},\n", 11, STATUS_INVALID, "holds a JSON array"},
        {"x.parquet", "PAR1....", 8, STATUS_UNSUPPORTED, "is a Parquet file"},
        {"x.jsonl.xz",
         "\xFD"
         "7zXZ\0...",
         9, STATUS_UNSUPPORTED, "compressed with xz"},
        {"program.jsonl",
         "\x7F"
         "ELF\2\0",
         6, STATUS_INVALID, "line 1: is no text but binary (byte 5 is a NUL)"},
        {"wide.jsonl", "\xFF\xFE{\0", 4, STATUS_UNSUPPORTED, "UTF-16"},
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        assert_refused(scratch_write(state, files[i].name, files[i].bytes, files[i].length),
                       files[i].expected, files[i].message);
    }
    assert_refused(scratch_path(state, "missing.jsonl"), STATUS_NOT_FOUND, "No such file");
    assert_refused(scratch_path(state, "."), STATUS_INVALID, "a directory");
    const char *pipe = scratch_path(state, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_refused(pipe, STATUS_INVALID, "not a regular file");
}

/* Every cut and every changed byte of a compressed file: rows or a message, and a cut one never
 * passes for whole. */
static void damaged_compression_is_told(void **state)
{
    static const char *const files[] = {SETS "mixed.jsonl.gz", SETS "mixed.jsonl.zst"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct buffer whole = {0};
        assert_int_equal(file_read(files[i], 4096, &whole), STATUS_OK);
        int told = 0;
        for (size_t length = 4; length < whole.length; length++) {
            status last;
            char *all = read_all(scratch_write(state, "cut", whole.data, length), NULL, &last);
            /* Between two members the file is whole, only shorter. */
            told += last != STATUS_OK;
            if (last != STATUS_OK && last != STATUS_INVALID) {
                fail_msg("%s", status_message());
            }
            free(all);
        }
        assert_true(told >= (int)whole.length - 4 - 8);
        for (size_t at = 0; at < whole.length; at++) {
            status last;
            whole.data[at] ^= 0x10;
            free(read_all(scratch_write(state, "bad", whole.data, whole.length), NULL, &last));
            whole.data[at] ^= 0x10;
        }
        buffer_destroy(&whole);
    }
    struct buffer padded = {0};
    assert_int_equal(file_read(files[0], 4096, &padded), STATUS_OK);
    assert_int_equal(buffer_append(&padded, "\0\0\0\0", 4), STATUS_OK);
    status last;
    free(read_all(scratch_write(state, "padded", padded.data, padded.length), NULL, &last));
    assert_int_equal(last, STATUS_OK);
    assert_int_equal(buffer_append(&padded, "x", 1), STATUS_OK);
    assert_refused(scratch_write(state, "trailing", padded.data, padded.length), STATUS_INVALID,
                   "not gzip data");
    assert_refused(scratch_write(state, "short", padded.data, 100), STATUS_INVALID,
                   "line 2: byte 100: the gzip data is cut off");
    buffer_destroy(&padded);
}

static void files_of_another_form(void **state)
{
    static const char csv[] = "id,prompt\n1,a b\n";
    static const char comment[] = "one, two\n{\"prompt\": \"a\"}\n";
    static const char pretty[] = "{\n  \"prompt\": \"a\"\n}\n";
    assert_refused(scratch_write(state, "csv.jsonl", csv, strlen(csv)), STATUS_INVALID,
                   "line 1: is no JSON but looks like CSV; call the file .csv or .tsv");
    assert_refused(scratch_write(state, "pretty.json", pretty, strlen(pretty)), STATUS_INVALID,
                   "line 1: holds JSON over several lines, not one object a line; `jq -c .`");
    assert_rows(scratch_write(state, "comment.jsonl", comment, strlen(comment)), NULL,
                "1:0:one, two|2:0:{\"prompt\": \"a\"}|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_encoding_gives_the_same),
        cmocka_unit_test(frames_without_bytes_are_hashed),
        cmocka_unit_test(lines_in_every_dress),
        cmocka_unit_test(a_line_of_more_than_64_mib_is_one_bad_record),
        cmocka_unit_test(files_that_are_no_data),
        cmocka_unit_test(damaged_compression_is_told),
        cmocka_unit_test(files_of_another_form),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
