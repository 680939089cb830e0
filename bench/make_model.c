/* SPDX-License-Identifier: Apache-2.0 */
/* A model directory of a Llama's shape with random bfloat16 weights, for measuring how it loads:
 * config.json, safetensors files of a few GB each, their index.
 *
 *     bench_make_model DIR [LAYERS [HIDDEN [HEADS [KV_HEADS [INTERMEDIATE [VOCABULARY]]]]]]
 *
 * Without numbers it has the shape of Llama 3.1 8B and takes 16 GB. Heads have HIDDEN / HEADS
 * dimensions. Values repeat after 64 MiB; they are finite and small. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sluice/base.h"

enum { PATTERN_VALUES = 32 << 20, MAX_NAME = 96 };
static const uint64_t shard_bytes = 4000000000;

struct shape {
    int layers, hidden, heads, kv_heads, intermediate, vocabulary;
};

struct entry {
    char name[MAX_NAME];
    int64_t rows, columns; /* columns 0: a vector */
    int shard;
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_make_model: %s\n", status_message());
        exit(1);
    }
}

static uint64_t entry_bytes(const struct entry *entry)
{
    return 2 * (uint64_t)entry->rows * (uint64_t)(entry->columns > 0 ? entry->columns : 1);
}

static void add(struct entry *entries, size_t *count, const char *name, int64_t rows,
                int64_t columns)
{
    struct entry *entry = &entries[(*count)++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->rows = rows;
    entry->columns = columns;
}

static void add_layer(struct entry *entries, size_t *count, const struct shape *shape, int layer)
{
    const int head = shape->hidden / shape->heads;
    const struct {
        const char *name;
        int rows, columns;
    } tensors[] = {
        {"input_layernorm", shape->hidden, 0},
        {"self_attn.q_proj", shape->hidden, shape->hidden},
        {"self_attn.k_proj", shape->kv_heads * head, shape->hidden},
        {"self_attn.v_proj", shape->kv_heads * head, shape->hidden},
        {"self_attn.o_proj", shape->hidden, shape->hidden},
        {"post_attention_layernorm", shape->hidden, 0},
        {"mlp.gate_proj", shape->intermediate, shape->hidden},
        {"mlp.up_proj", shape->intermediate, shape->hidden},
        {"mlp.down_proj", shape->hidden, shape->intermediate},
    };
    for (size_t i = 0; i < COUNT_OF(tensors); i++) {
        char name[MAX_NAME];
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, tensors[i].name);
        add(entries, count, name, tensors[i].rows, tensors[i].columns);
    }
}

/* Signs, exponents from 2^-8 to 2^-5 and fractions at random. */
static uint16_t *create_pattern(void)
{
    uint16_t *pattern = malloc(PATTERN_VALUES * sizeof *pattern);
    if (pattern == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "out of memory"));
    }
    for (size_t i = 0; i < PATTERN_VALUES; i += 4) {
        const uint64_t word = hash_bytes(&i, sizeof i, 0);
        for (size_t j = 0; j < 4; j++) {
            pattern[i + j] = (uint16_t)((word >> (16 * j) & 0x81ffu) | 0x3c00u);
        }
    }
    return pattern;
}

static FILE *create_file(const char *directory, const char *name)
{
    struct buffer path = {0};
    check(path_join(directory, name, &path));
    FILE *file = fopen(path.data, "wb");
    if (file == NULL) {
        check(status_fail_errno(STATUS_IO, "%s", path.data));
    }
    buffer_destroy(&path);
    return file;
}

static void write_bytes(FILE *file, const void *bytes, size_t length)
{
    if (fwrite(bytes, 1, length, file) != length) {
        check(status_fail_errno(STATUS_IO, "write"));
    }
}

static void close_file(FILE *file)
{
    if (fclose(file) != 0) {
        check(status_fail_errno(STATUS_IO, "write"));
    }
}

static void shard_name(int shard, int shards, char name[64])
{
    snprintf(name, 64, "model-%05d-of-%05d.safetensors", shard + 1, shards);
}

static void write_shard(const char *directory, const struct entry *entries, size_t count, int shard,
                        int shards, const uint16_t *pattern)
{
    struct buffer header = {0};
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].shard != shard) {
            continue;
        }
        char columns[32] = "";
        if (entries[i].columns > 0) {
            snprintf(columns, sizeof columns, ",%lld", (long long)entries[i].columns);
        }
        check(buffer_format(
            &header,
            "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%lld%s],\"data_offsets\":[%llu,%llu]}",
            offset > 0 ? "," : "{", entries[i].name, (long long)entries[i].rows, columns,
            (unsigned long long)offset, (unsigned long long)(offset + entry_bytes(&entries[i]))));
        offset += entry_bytes(&entries[i]);
    }
    check(buffer_append_byte(&header, '}'));
    while (header.length % 8 != 0) {
        check(buffer_append_byte(&header, ' '));
    }
    char name[64];
    shard_name(shard, shards, name);
    FILE *file = create_file(directory, name);
    uint8_t length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (uint8_t)((uint64_t)header.length >> (8 * i));
    }
    write_bytes(file, length, sizeof length);
    write_bytes(file, header.data, header.length);
    const uint64_t period = PATTERN_VALUES * sizeof *pattern;
    for (uint64_t done = 0; done < offset; done += period) {
        write_bytes(file, pattern, (size_t)(offset - done < period ? offset - done : period));
    }
    close_file(file);
    buffer_destroy(&header);
}

static void write_index(const char *directory, const struct entry *entries, size_t count,
                        int shards)
{
    FILE *file = create_file(directory, "model.safetensors.index.json");
    fprintf(file, "{\"weight_map\":{");
    for (size_t i = 0; i < count; i++) {
        char name[64];
        shard_name(entries[i].shard, shards, name);
        fprintf(file, "%s\"%s\":\"%s\"", i > 0 ? "," : "", entries[i].name, name);
    }
    fprintf(file, "}}\n");
    close_file(file);
}

static void write_config(const char *directory, const struct shape *shape)
{
    FILE *file = create_file(directory, "config.json");
    fprintf(file,
            "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"torch_dtype\":"
            "\"bfloat16\",\"hidden_act\":\"silu\",\"num_hidden_layers\":%d,\"hidden_size\":%d,"
            "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"intermediate_size\":%d,"
            "\"vocab_size\":%d,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-05,"
            "\"rope_theta\":500000.0,\"tie_word_embeddings\":false}\n",
            shape->layers, shape->hidden, shape->heads, shape->kv_heads, shape->intermediate,
            shape->vocabulary);
    close_file(file);
}

int main(int argc, char **argv)
{
    struct shape shape = {32, 4096, 32, 8, 14336, 128256};
    int *const numbers[] = {&shape.layers,   &shape.hidden,       &shape.heads,
                            &shape.kv_heads, &shape.intermediate, &shape.vocabulary};
    bool usable = argc >= 2 && argc <= 2 + (int)COUNT_OF(numbers);
    for (int i = 2; usable && i < argc; i++) {
        *numbers[i - 2] = atoi(argv[i]);
        usable = *numbers[i - 2] > 0 && *numbers[i - 2] <= 1 << 20;
    }
    if (!usable || shape.layers > 1 << 12 || shape.hidden % shape.heads != 0) {
        fprintf(stderr, "usage: bench_make_model DIR [LAYERS [HIDDEN [HEADS [KV_HEADS "
                        "[INTERMEDIATE [VOCABULARY]]]]]]\n");
        return 2;
    }
    if (mkdir(argv[1], 0777) != 0 && errno != EEXIST) {
        check(status_fail_errno(STATUS_IO, "%s", argv[1]));
    }
    struct entry *entries = calloc(9 * (size_t)shape.layers + 3, sizeof *entries);
    if (entries == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "out of memory"));
    }
    size_t count = 0;
    add(entries, &count, "model.embed_tokens.weight", shape.vocabulary, shape.hidden);
    for (int i = 0; i < shape.layers; i++) {
        add_layer(entries, &count, &shape, i);
    }
    add(entries, &count, "model.norm.weight", shape.hidden, 0);
    add(entries, &count, "lm_head.weight", shape.vocabulary, shape.hidden);
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        entries[i].shard = (int)(total / shard_bytes);
        total += entry_bytes(&entries[i]);
    }
    const int shards = entries[count - 1].shard + 1;
    uint16_t *pattern = create_pattern();
    for (int shard = 0; shard < shards; shard++) {
        write_shard(argv[1], entries, count, shard, shards, pattern);
    }
    write_index(argv[1], entries, count, shards);
    write_config(argv[1], &shape);
    printf("%s: %.2f GB in %d files\n", argv[1], (double)total / 1e9, shards);
    free(pattern);
    free(entries);
    return 0;
}
