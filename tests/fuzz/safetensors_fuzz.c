/* Any text as a safetensors header: every tensor that is accepted lies inside of the file. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { FILE_BYTES = 4096, DATA_START = 128 };

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
    }
    tensor_scratch_destroy(&scratch);
    tensor_table_destroy(&table);
    return 0;
}
