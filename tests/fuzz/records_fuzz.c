/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a data set, plain or compressed as they tell themselves: read to the end, or a
 * message with the place. The first byte says how many rows are wanted. */
#include "fuzz.h"
#include "sluice/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    int limit = take_byte(&input);
    char path[600];
    /* Without an ending the content tells what it is; HDF5 has a target of its own. */
    if (input.length >= 4 && memcmp(input.bytes, "\x89HDF", 4) == 0) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/set", fuzz_folder());
    write_fuzz_file(path, input.bytes, input.length);
    struct record_reader_options options = {.path = path, .limit = limit < 128 ? limit : -1};
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
