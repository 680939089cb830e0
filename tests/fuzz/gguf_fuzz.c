/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a GGUF file: parsed, its facts and tokenizer read, its tensors expanded. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/formats/gguf.h"
#include "model/read/tensor_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* A table over a file in memory that holds the input. */
static void open_table(struct tensor_table *table, const uint8_t *bytes, size_t length)
{
    int file;
    if (tensor_table_open_file(table, "/proc/self/exe", &file) != STATUS_OK) {
        abort();
    }
    close(table->files[file].fd);
    table->files[file].fd = memfd_create("input", MFD_CLOEXEC);
    table->files[file].size = length;
    if (table->files[file].fd < 0 ||
        write(table->files[file].fd, bytes, length) != (ssize_t)length) {
        abort();
    }
}

static void read_tensors(const struct tensor_table *table)
{
    struct tensor_scratch scratch = {0};
    for (size_t i = 0; i < table->count && i < 16; i++) {
        const struct tensor *tensor = &table->items[i];
        float values[256];
        uint64_t count;
        if (tensor_count_elements(tensor->shape, tensor->rank, &count) && count >= 1) {
            int wanted = count < 256 ? (int)count : 256;
            if (tensor_read_values(table, tensor, 0, wanted, &scratch, values) == STATUS_OK &&
                tensor->bytes > table->files[0].size) {
                abort();
            }
        }
    }
    tensor_scratch_destroy(&scratch);
}

static void use(const struct gguf *gguf, const uint8_t *bytes, size_t length)
{
    struct tensor_table table = {0};
    struct arena arena = {0};
    struct model_config config;
    struct tokenizer *tokenizer = NULL;
    open_table(&table, bytes, length);
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < gguf->tensor_count; i++) {
        s = tensor_table_add(&table, &gguf->tensors[i]);
    }
    if (s == STATUS_OK && tensor_table_finish(&table) == STATUS_OK) {
        read_tensors(&table);
        if (gguf_read_config(gguf, &table, &arena, &config) == STATUS_OK) {
            struct rope_facts facts;
            (void)!rope_facts_create(&config, false, 4096, &arena, &facts);
        }
    }
    if (gguf_create_tokenizer(gguf, &tokenizer) == STATUS_OK && tokenizer != NULL) {
        tokenizer_destroy(tokenizer);
    }
    arena_destroy(&arena);
    tensor_table_destroy(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct gguf gguf;
    bool needs_more;
    if (gguf_parse(bytes, length, length, &gguf, &needs_more) == STATUS_OK) {
        use(&gguf, bytes, length);
    }
    gguf_destroy(&gguf);
    return 0;
}
