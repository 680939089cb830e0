/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a message between ranks: refused, or every part of what it says lies inside of it.
 */
#include "fuzz.h"
#include "run/ranks/wire.h"

static void read_shard(const char *bytes, size_t length)
{
    struct wire_reader reader = {bytes, length, 0};
    struct record record = {0};
    bool more = true;
    status s = STATUS_OK;
    while (s == STATUS_OK && more) {
        s = shard_next(&reader, &record, &more);
        REQUIRE(s == STATUS_OK || s == STATUS_INTERNAL);
        REQUIRE(reader.offset <= length);
        REQUIRE(s != STATUS_OK || !more || (unsigned)record.kind <= RECORD_BAD);
    }
    buffer_destroy(&record.bytes);
}

static void read_rows(const char *bytes, size_t length)
{
    struct wire_reader reader = {bytes, length, 0};
    bool more = true;
    status s = STATUS_OK;
    while (s == STATUS_OK && more) {
        int64_t row;
        const void *results;
        size_t size;
        s = rows_next(&reader, &row, &results, &size, &more);
        REQUIRE(s == STATUS_OK || s == STATUS_INTERNAL);
        if (s == STATUS_OK && more) {
            REQUIRE((const char *)results >= bytes &&
                    (size_t)((const char *)results - bytes) + size <= length);
        }
    }
}

static void check_inside(const char *bytes, size_t length, const void *part, size_t size)
{
    REQUIRE((const char *)part >= bytes && (size_t)((const char *)part - bytes) <= length &&
            size <= length - (size_t)((const char *)part - bytes));
}

/* What is unpacked packs again, so all of it can be read. */
static void read_step(const char *bytes, size_t length)
{
    struct batch batch;
    int prefill;
    status s = step_unpack(bytes, length, &batch, &prefill);
    REQUIRE(s == STATUS_OK || s == STATUS_INTERNAL);
    if (s != STATUS_OK) {
        return;
    }
    size_t int_bytes = sizeof(int32_t);
    REQUIRE(batch.tokens >= 0 && batch.sequences >= 0 && batch.outputs >= 0 &&
            batch.block_table_stride >= 0);
    check_inside(bytes, length, batch.token_ids, (size_t)batch.tokens * int_bytes);
    check_inside(bytes, length, batch.positions, (size_t)batch.tokens * int_bytes);
    check_inside(bytes, length, batch.query_start, ((size_t)batch.sequences + 1) * int_bytes);
    check_inside(bytes, length, batch.context_length, (size_t)batch.sequences * int_bytes);
    check_inside(bytes, length, batch.output_rows, (size_t)batch.outputs * int_bytes);
    check_inside(bytes, length, batch.block_table,
                 (size_t)batch.sequences * (size_t)batch.block_table_stride * int_bytes);
    if (batch.long_rope != NULL) {
        check_inside(bytes, length, batch.long_rope, (size_t)batch.sequences);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    uint8_t kind = take_byte(&input);
    char *message = malloc(input.length > 0 ? input.length : 1); /* aligned, nothing behind it */
    REQUIRE(message != NULL);
    if (input.length > 0) {
        memcpy(message, input.bytes, input.length);
    }
    switch (kind % 3) {
    case 0:
        read_shard(message, input.length);
        break;
    case 1:
        read_rows(message, input.length);
        break;
    default:
        read_step(message, input.length);
        break;
    }
    free(message);
    return 0;
}
