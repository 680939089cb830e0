/* SPDX-License-Identifier: Apache-2.0 */
/* An HDF5 data set made as the input says: every record is one that a row can be read from, and
 * nothing comes out of other files. */
#include "data/hdf5/support.h"
#include "hdf5_build.h"
#include "sluice/data.h"

enum { MOST_ROWS = 80 };

static void build(const char *path, struct fuzz_input *input)
{
    static const char *const names[] = {"/prompt", "/input_ids",   "/input_offsets", "/group/text",
                                        "/label",  "/group/label", "/messages",      "/id"};
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    REQUIRE(file >= 0);
    uint8_t which = take_byte(input);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (which >> i & 1) {
            build_dataset(file, names[i], input);
        }
    }
    REQUIRE(H5Fclose(file) >= 0);
}

static void check_record(const struct record *record)
{
    REQUIRE(record->unit == UNIT_PROMPT);
    if (record->kind == RECORD_JSON) {
        struct arena arena = {0};
        struct json *value;
        REQUIRE(json_parse(record->bytes.data, record->bytes.length, &arena, &value) == STATUS_OK);
        arena_destroy(&arena);
    }
    REQUIRE(!has_secret(record->bytes.data, record->bytes.length));
    if (record->kind == RECORD_TOKENS) {
        REQUIRE(record->bytes.length % sizeof(int32_t) == 0);
        for (size_t i = 0; i < record->bytes.length; i += sizeof(int32_t)) {
            int32_t token;
            memcpy(&token, record->bytes.data + i, sizeof token);
            REQUIRE(token >= 0);
        }
    }
}

static void read_all(const char *path, const char *prompt_field, const char *id_field)
{
    struct record_reader_options options = {.path = path,
                                            .prompt_field = prompt_field,
                                            .id_field = id_field,
                                            .limit = MOST_ROWS,
                                            .quiet = true};
    struct record_reader *reader;
    status s = record_reader_open(&options, &reader);
    require_message(s);
    if (s != STATUS_OK) {
        return;
    }
    struct record record = {0};
    bool more = true;
    while (s == STATUS_OK && more) {
        s = record_reader_next(reader, &record, &more);
        if (s == STATUS_OK && more) {
            check_record(&record);
        }
    }
    require_message(s);
    buffer_destroy(&record.bytes);
    record_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    char path[600];
    hdf5_silence();
    if (secret[0] == '\0') {
        make_secrets();
    }
    snprintf(path, sizeof path, "%s/set.h5", fuzz_folder());
    build(path, &input);
    read_all(path, NULL, NULL);
    read_all(path, "group/text", NULL);
    read_all(path, "input_ids", "id");
    return 0;
}
