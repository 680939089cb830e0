/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a safetensors header: every tensor that is accepted lies inside of the file. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/formats/safetensors.h"
#include "model/read/tensor_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { FILE_BYTES = 4096, DATA_START = 128 };

/* All of a tensor as the loader reads it, with what lies beside it; and its last column. */
static void read_rows(const struct tensor_table *table, const struct tensor *tensor, bool as_it_is,
                      struct tensor_scratch *scratch)
{
    struct tensor_source source;
    if (tensor_source_find(table, tensor, &source) != STATUS_OK) {
        if (status_message()[0] == '\0') {
            abort();
        }
        return;
    }
    const int columns = tensor->rank > 0 ? (int)tensor->shape[tensor->rank - 1] : 1;
    const int rows = tensor_rows_within(&source, FILE_BYTES) > 8 ? 8 : 1;
    const int firsts[] = {0, columns - 1};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        const struct tensor_read read = {.source = source,
                                         .row_count = rows,
                                         .first_column = firsts[i],
                                         .column_count = columns - firsts[i],
                                         .as_it_is = as_it_is && tensor_source_is_by_rows(&source)};
        struct weight_rows out;
        if (tensor_read_rows(table, &read, scratch, &out) != STATUS_OK) {
            if (status_message()[0] == '\0') {
                abort();
            }
            continue;
        }
        const unsigned char *data = out.data;
        volatile unsigned char last =
            data[((size_t)(rows - 1) * out.stride + (size_t)(columns - firsts[i])) *
                     (size_t)weight_format_facts(out.format)->bytes -
                 1];
        volatile float scale = out.scales != NULL ? out.scales[rows - 1] : 0.0f;
        (void)last;
        (void)scale;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct tensor_table table = {0};
    int file;
    if (tensor_table_open_file(&table, "/proc/self/exe", &file) != STATUS_OK) {
        abort();
    }
    table.files[file].size = FILE_BYTES;
    status s = safetensors_parse_header(&table, file, (const char *)bytes, length, DATA_START);
    if (s == STATUS_OK) {
        s = tensor_table_finish(&table);
    }
    struct tensor_scratch scratch = {0};
    for (size_t i = 0; s == STATUS_OK && i < table.count; i++) {
        const struct tensor *tensor = &table.items[i];
        if (tensor->offset < DATA_START || tensor->bytes > FILE_BYTES - tensor->offset) {
            abort();
        }
        float value;
        if (tensor->bytes > 0 &&
            tensor_read_values(&table, tensor, 0, 1, &scratch, &value) != STATUS_OK &&
            status_message()[0] == '\0') {
            abort();
        }
        for (int kept = 0; tensor->bytes > 0 && kept < 2; kept++) {
            read_rows(&table, tensor, kept != 0, &scratch);
        }
    }
    tensor_scratch_destroy(&scratch);
    tensor_table_destroy(&table);
    return 0;
}
