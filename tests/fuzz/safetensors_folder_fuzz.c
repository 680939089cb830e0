/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of safetensors: an index, a NUL, and a file with its length, header and data. No name of
 * the index leads out of the folder, and every tensor lies inside of its file. */
#include <sys/stat.h>

#include "fuzz.h"
#include "model/formats/safetensors.h"
#include "model/read/tensor_source.h"

static char folder[600], index_path[700], shard_path[700], outside_path[700];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "%s/model", fuzz_folder());
    snprintf(index_path, sizeof index_path, "%s/model.safetensors.index.json", folder);
    snprintf(shard_path, sizeof shard_path, "%s/a.safetensors", folder);
    snprintf(outside_path, sizeof outside_path, "%s/outside.safetensors", fuzz_folder());
    REQUIRE(mkdir(folder, 0700) == 0);
}

static void check_table(const struct tensor_table *table)
{
    for (size_t i = 0; i < table->file_count; i++) {
        const char *name = strrchr(table->files[i].path, '/');
        REQUIRE(name != NULL && strncmp(table->files[i].path, folder, strlen(folder)) == 0 &&
                (size_t)(name - table->files[i].path) == strlen(folder) &&
                strcmp(name, "/..") != 0);
    }
    struct tensor_scratch scratch = {0};
    for (size_t i = 0; i < table->count; i++) {
        const struct tensor *tensor = &table->items[i];
        const struct tensor_file *file = &table->files[tensor->file];
        float value;
        REQUIRE(tensor->offset >= 8 && tensor->offset <= file->size &&
                tensor->bytes <= file->size - tensor->offset);
        if (i < 8 && tensor->bytes > 0) {
            require_message(tensor_read_values(table, tensor, 0, 1, &scratch, &value));
        }
    }
    tensor_scratch_destroy(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct fuzz_input index = take_text(&input);
    if (folder[0] == '\0') {
        make_folder();
    }
    write_fuzz_file(index_path, index.bytes, index.length);
    write_fuzz_file(shard_path, input.bytes, input.length);
    write_fuzz_file(outside_path, input.bytes, input.length);
    struct tensor_table table = {0};
    bool found;
    status s = safetensors_open_directory(&table, folder, &found);
    if (s == STATUS_OK) {
        REQUIRE(found);
        s = tensor_table_finish(&table);
    }
    require_message(s);
    if (s == STATUS_OK) {
        check_table(&table);
    }
    tensor_table_destroy(&table);
    return 0;
}
