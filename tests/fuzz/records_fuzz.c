/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a data set, plain or compressed as they tell themselves: read to the end, or a
 * message with the place. The first byte says how many rows are wanted, and whether the file is
 * called as JSON lines, CSV or TSV are. */
#include "fuzz.h"
#include "sluice/data.h"

/* What the readers make themselves is JSON. */
static void check_json(const struct record *record)
{
    struct arena arena = {0};
    struct json *value;
    status s = json_parse(record->bytes.data, record->bytes.length, &arena, &value);
    REQUIRE(s == STATUS_OK && value->type == JSON_OBJECT);
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    int limit = take_byte(&input);
    char path[600];
    /* Without an ending the content tells what it is; HDF5 has a target of its own. */
    if (input.length >= 4 && memcmp(input.bytes, "\x89HDF", 4) == 0) {
        return 0;
    }
    const char *end = limit >= 208 ? ".csv" : limit >= 192 ? ".tsv" : "";
    snprintf(path, sizeof path, "%s/set%s", fuzz_folder(), end);
    write_fuzz_file(path, input.bytes, input.length);
    struct record_reader_options options = {
        .path = path, .limit = limit < 128 ? limit : -1, .quiet = true};
    if (limit >= 240) {
        options.prompt_template = "{a}";
    }
    struct record_reader *reader;
    status s = record_reader_open(&options, &reader);
    require_message(s);
    if (s != STATUS_OK) {
        return 0;
    }
    struct record record = {0};
    bool more = true;
    int64_t rows = 0, last = 0;
    while (s == STATUS_OK && more) {
        s = record_reader_next(reader, &record, &more);
        if (s == STATUS_OK && more) {
            REQUIRE(record.row == rows++ && record.position > last);
            REQUIRE(record.kind == RECORD_JSON || record.kind == RECORD_BAD);
            REQUIRE(record.bytes.length == 0 ||
                    memchr(record.bytes.data, '\n', record.bytes.length) == NULL);
            last = record.position;
            if (end[0] != '\0' && record.kind == RECORD_JSON) {
                check_json(&record);
            }
        }
    }
    require_message(s);
    REQUIRE(options.limit < 0 || rows <= options.limit);
    if (s == STATUS_OK) {
        int64_t file_bytes;
        char sha256[65];
        s = record_reader_digest(reader, &file_bytes, sha256);
        require_message(s);
        REQUIRE(s != STATUS_OK || (size_t)file_bytes == input.length);
    }
    buffer_destroy(&record.bytes);
    record_reader_close(reader);
    return 0;
}
