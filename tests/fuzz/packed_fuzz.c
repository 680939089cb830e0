/* SPDX-License-Identifier: Apache-2.0 */
/* A safetensors file of weights that are packed: a byte for the method, one for the group, and the
 * file. Whatever was found is read, whole and in its last row and column. */
#include "fuzz.h"
#include "model/formats/safetensors.h"
#include "model/read/packed.h"

static char path[700];

static void read_rectangle(const struct tensor_table *table, const struct tensor_read *read,
                           struct tensor_scratch *scratch)
{
    struct weight_rows rows;
    const status s = tensor_read_rows(table, read, scratch, &rows);
    require_message(s);
    if (s == STATUS_OK) {
        const float *values = rows.data;
        volatile float first = values[0];
        volatile float last =
            values[(size_t)(read->row_count - 1) * rows.stride + (size_t)read->column_count - 1];
        (void)first;
        (void)last;
    }
}

static void read_weight(const struct tensor_table *table, const struct tensor *tensor,
                        struct tensor_scratch *scratch)
{
    enum { MOST = 1 << 20 };
    const struct packed_weight *packed = tensor->packed;
    struct tensor_source source;
    require_message(tensor_source_find(table, tensor, &source));
    REQUIRE(packed->rows >= 0 && packed->columns >= 0);
    if (packed->rows == 0 || packed->columns == 0 || packed->columns > MOST / packed->rows) {
        return;
    }
    const int rows = (int)packed->rows, columns = (int)packed->columns;
    const struct tensor_read whole = {.source = source, .row_count = rows, .column_count = columns};
    const struct tensor_read corner = {.source = source,
                                       .first_row = rows - 1,
                                       .row_count = 1,
                                       .first_column = columns - 1,
                                       .column_count = 1};
    read_rectangle(table, &whole, scratch);
    read_rectangle(table, &corner, scratch);
}

static status open_table(struct tensor_table *table, const struct fuzz_input *input)
{
    int file;
    uint64_t length;
    TRY(tensor_table_open_file(table, path, &file));
    if (input->length < sizeof length) {
        return STATUS_OK;
    }
    memcpy(&length, input->bytes, sizeof length);
    if (length > input->length - sizeof length) {
        return STATUS_OK;
    }
    TRY(safetensors_parse_header(table, file, (const char *)input->bytes + sizeof length,
                                 (size_t)length, sizeof length + length));
    return tensor_table_finish(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    const struct weight_packing packing = {.method = take_byte(&input) % (PACKING_BITSANDBYTES + 1),
                                           .group = (int8_t)take_byte(&input)};
    if (path[0] == '\0') {
        snprintf(path, sizeof path, "%s/model.safetensors", fuzz_folder());
    }
    write_fuzz_file(path, input.bytes, input.length);
    struct tensor_table table = {0};
    status s = open_table(&table, &input);
    if (s == STATUS_OK) {
        s = packed_weights_find(&table, &packing);
    }
    require_message(s);
    struct tensor_scratch scratch = {0};
    for (size_t i = 0; s == STATUS_OK && i < table.count; i++) {
        if (table.items[i].packed != NULL) {
            read_weight(&table, &table.items[i], &scratch);
        }
    }
    tensor_scratch_destroy(&scratch);
    tensor_table_destroy(&table);
    return 0;
}
