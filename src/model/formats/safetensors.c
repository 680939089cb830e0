/* SPDX-License-Identifier: Apache-2.0 */
/* The safetensors format: 8 bytes of header length (little-endian), a JSON header of names with
 * dtype, shape and data_offsets, the data. A directory has one file, or several and an index.
 *
 * Format: github.com/huggingface/safetensors, "Format". Names that the index sends to another file
 * than the one whose header has them do no harm: the headers are what counts. */
#include "model/formats/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/read/model_files.h"
#include "sluice/json.h"

enum {
    HEADER_LIMIT = 100 * 1000 * 1000, /* as the reference implementation has it */
    INDEX_LIMIT = 256 * 1024 * 1024,
    SHARD_LIMIT = 4096,
};

/* Types that are no weights: they have a size, and are stepped over. */
static const struct {
    const char *name;
    int bytes;
} other_types[] = {
    {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"F64", 8}, {"C64", 8}, {"I64", 8}, {"I32", 4},
    {"I16", 2},     {"U64", 8},     {"U32", 4}, {"U16", 2}, {"U8", 1},  {"BOOL", 1},
};

static status parse_type(const struct json *entry, struct tensor *tensor, uint64_t *value_bytes)
{
    const char *text = json_string(json_get(entry, "dtype"));
    for (int i = 0; text != NULL && i < WEIGHT_NONE; i++) {
        const struct weight_format_facts *facts = weight_format_facts((enum weight_format)i);
        if (facts->safetensors != NULL && strcmp(facts->safetensors, text) == 0) {
            tensor->format = (enum weight_format)i;
            tensor->type_name = facts->safetensors;
            *value_bytes = (uint64_t)facts->bytes;
            return STATUS_OK;
        }
    }
    for (size_t i = 0; text != NULL && i < COUNT_OF(other_types); i++) {
        if (strcmp(other_types[i].name, text) == 0) {
            tensor->format = WEIGHT_NONE;
            tensor->type_name = other_types[i].name;
            *value_bytes = (uint64_t)other_types[i].bytes;
            return STATUS_OK;
        }
    }
    return status_fail(STATUS_INVALID, "unknown dtype \"%.32s\"", text == NULL ? "" : text);
}

static status parse_shape(const struct json *entry, struct tensor *tensor)
{
    const struct json *shape = json_get(entry, "shape");
    if (shape == NULL || shape->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID, "shape: expected an array");
    }
    if (shape->length > TENSOR_MAX_RANK) {
        return status_fail(STATUS_INVALID, "shape: %zu dimensions, more than %d", shape->length,
                           TENSOR_MAX_RANK);
    }
    tensor->rank = (int)shape->length;
    for (int i = 0; i < tensor->rank; i++) {
        int64_t side;
        if (!json_int64(shape->items[i], &side) || side < 0) {
            return status_fail(STATUS_INVALID, "shape: expected integers from 0");
        }
        tensor->shape[i] = side;
    }
    return STATUS_OK;
}

static status parse_place(const struct json *entry, uint64_t value_bytes, uint64_t data_start,
                          uint64_t file_size, struct tensor *tensor)
{
    const struct json *offsets = json_get(entry, "data_offsets");
    int64_t begin, end;
    if (offsets == NULL || offsets->type != JSON_ARRAY || offsets->length != 2 ||
        !json_int64(offsets->items[0], &begin) || !json_int64(offsets->items[1], &end) ||
        begin < 0 || end < begin) {
        return status_fail(STATUS_INVALID, "data_offsets: expected [begin, end]");
    }
    uint64_t count, bytes;
    if (!tensor_count_elements(tensor->shape, tensor->rank, &count) ||
        __builtin_mul_overflow(count, value_bytes, &bytes)) {
        return status_fail(STATUS_INVALID, "shape: too large");
    }
    if (bytes != (uint64_t)(end - begin)) {
        return status_fail(STATUS_INVALID,
                           "data_offsets span %lld bytes where shape and dtype make %llu",
                           (long long)(end - begin), (unsigned long long)bytes);
    }
    if ((uint64_t)end > file_size - data_start) {
        return status_fail(STATUS_INVALID,
                           "ends at byte %llu of a file of %llu bytes; the file is truncated",
                           (unsigned long long)data_start + (unsigned long long)end,
                           (unsigned long long)file_size);
    }
    tensor->offset = data_start + (uint64_t)begin;
    tensor->bytes = bytes;
    return STATUS_OK;
}

static status add_entry(struct tensor_table *table, int file, const struct json_member *member,
                        uint64_t data_start)
{
    struct tensor tensor = {.file = file};
    if (strlen(member->key) != member->key_length) {
        return status_fail(STATUS_INVALID, "a NUL in the name");
    }
    uint64_t value_bytes = 0;
    TRY(parse_type(member->value, &tensor, &value_bytes));
    TRY(parse_shape(member->value, &tensor));
    TRY(parse_place(member->value, value_bytes, data_start, table->files[file].size, &tensor));
    tensor.name = arena_copy(&table->arena, member->key, member->key_length);
    if (tensor.name == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    return tensor_table_add(table, &tensor);
}

status safetensors_parse_header(struct tensor_table *table, int file, const char *header,
                                size_t length, uint64_t data_start)
{
    const char *path = table->files[file].path;
    struct arena arena = {0};
    struct json *root;
    status s = json_parse(header, length, &arena, &root);
    if (s == STATUS_OK && root->type != JSON_OBJECT) {
        s = status_fail(STATUS_INVALID, "expected an object");
    }
    s = status_context(s, "%s: header", path);
    for (size_t i = 0; s == STATUS_OK && i < root->length; i++) {
        if (strcmp(root->members[i].key, "__metadata__") != 0) {
            s = status_context(add_entry(table, file, &root->members[i], data_start),
                               "%s: tensor %.200s", path, root->members[i].key);
        }
    }
    arena_destroy(&arena);
    return s;
}

static status add_file(struct tensor_table *table, const char *path)
{
    int index;
    TRY(tensor_table_open_file(table, path, &index));
    const struct tensor_file *file = &table->files[index];
    uint8_t prefix[8];
    if (file->size < sizeof prefix) {
        return status_fail(STATUS_INVALID, "%s: %llu bytes, too short for a safetensors file", path,
                           (unsigned long long)file->size);
    }
    TRY(tensor_file_read(file, 0, prefix, sizeof prefix));
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) {
        length = length << 8 | prefix[i];
    }
    if (length > HEADER_LIMIT || length > file->size - sizeof prefix) {
        return status_fail(STATUS_INVALID,
                           "%s: header of %llu bytes in a file of %llu; not a safetensors file, or "
                           "truncated",
                           path, (unsigned long long)length, (unsigned long long)file->size);
    }
    char *header = malloc((size_t)length + 1);
    if (header == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    status s = tensor_file_read(file, sizeof prefix, header, (size_t)length);
    if (s == STATUS_OK) {
        s = safetensors_parse_header(table, index, header, (size_t)length, sizeof prefix + length);
    }
    free(header);
    return s;
}

/* A file name of the index must stay in the directory. */
static bool is_plain_name(const char *name, size_t length)
{
    return length > 0 && length < 256 && strlen(name) == length && strchr(name, '/') == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The distinct file names of the weight map, sorted. */
static status collect_shards(const struct json *index, struct arena *arena, const char ***out,
                             size_t *count)
{
    const struct json *map = json_get(index, "weight_map");
    if (map == NULL || map->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "weight_map: expected an object");
    }
    const char **names = arena_allocate_array(arena, map->length + 1, sizeof *names);
    if (names == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < map->length; i++) {
        const struct json *value = map->members[i].value;
        names[i] = json_string(value);
        if (names[i] == NULL || !is_plain_name(names[i], value->length)) {
            return status_fail(STATUS_INVALID,
                               "weight_map: %.200s: expected the name of a file in this directory",
                               map->members[i].key);
        }
    }
    qsort(names, map->length, sizeof *names, compare_texts);
    size_t distinct = 0;
    for (size_t i = 0; i < map->length; i++) {
        if (distinct == 0 || strcmp(names[distinct - 1], names[i]) != 0) {
            names[distinct++] = names[i];
        }
    }
    if (distinct > SHARD_LIMIT) {
        return status_fail(STATUS_LIMIT, "weight_map: %zu files, more than %d", distinct,
                           SHARD_LIMIT);
    }
    *out = names;
    *count = distinct;
    return STATUS_OK;
}

static status add_indexed(struct tensor_table *table, const char *directory, const char *index_path)
{
    struct buffer text = {0}, path = {0};
    struct arena arena = {0};
    struct json *index;
    const char **names = NULL;
    size_t count = 0;
    status s = file_read(index_path, INDEX_LIMIT, &text);
    if (s == STATUS_OK) {
        s = model_file_check(index_path, text.data, text.length);
    }
    if (s == STATUS_OK) {
        s = json_parse(text.data, text.length, &arena, &index);
        if (s == STATUS_OK) {
            s = collect_shards(index, &arena, &names, &count);
        }
        s = status_context(s, "%s", index_path);
    }
    for (size_t i = 0; s == STATUS_OK && i < count; i++) {
        buffer_clear(&path);
        s = path_join(directory, names[i], &path);
        if (s == STATUS_OK) {
            s = add_file(table, path.data);
        }
    }
    buffer_destroy(&path);
    buffer_destroy(&text);
    arena_destroy(&arena);
    return s;
}

static status add_named(struct tensor_table *table, const char *directory, const char *name)
{
    struct buffer path = {0};
    status s = path_join(directory, name, &path);
    if (s == STATUS_OK) {
        s = add_file(table, path.data);
    }
    buffer_destroy(&path);
    return s;
}

static status miss_part(const char *directory, const char *name, const struct part_name *part,
                        int number)
{
    struct buffer missing = {0};
    status s = part_name_write(name, part, number, &missing);
    if (s == STATUS_OK) {
        s = status_fail(STATUS_NOT_FOUND,
                        "%s: %s is missing (there is no model.safetensors.index.json either): %s "
                        "is one of %d parts",
                        directory, missing.data, name, part->count);
    }
    buffer_destroy(&missing);
    return s;
}

/* All parts of the whole that `names` begins with; their headers say what is in which. */
static status add_parts(struct tensor_table *table, const char *directory,
                        const struct file_names *names, const struct part_name *first)
{
    if (first->number != 1) {
        return miss_part(directory, names->items[0], first, 1);
    }
    for (int i = 0; i < first->count; i++) {
        struct part_name part;
        bool next = (size_t)i < names->count && part_name_parse(names->items[i], &part) &&
                    part.number == i + 1 && part.count == first->count;
        if (!next) {
            return miss_part(directory, names->items[0], first, i + 1);
        }
        TRY(add_named(table, directory, names->items[i]));
    }
    return (size_t)first->count == names->count
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "%s: which *.safetensors are the model's is not said: there is no "
                             "model.safetensors.index.json, and %s stands beside the parts %s…",
                             directory, names->items[first->count], names->items[0]);
}

static bool is_adapter(const char *name)
{
    return strncmp(name, "adapter", strlen("adapter")) == 0;
}

/* Without index and model.safetensors: parts by their names, or a single file of another name. */
static status add_unindexed(struct tensor_table *table, const char *directory, bool *found)
{
    struct file_names names;
    struct part_name part;
    status s = file_names_read(directory, ".safetensors", &names);
    *found = s == STATUS_OK && names.count > 0 && !is_adapter(names.items[0]);
    if (*found && part_name_parse(names.items[0], &part)) {
        s = add_parts(table, directory, &names, &part);
    } else if (*found && names.count == 1) {
        s = add_named(table, directory, names.items[0]);
    } else if (*found) {
        s = status_fail(STATUS_INVALID,
                        "%s: which *.safetensors are the model's is not said: there is no "
                        "model.safetensors.index.json, and %s and %s are there",
                        directory, names.items[0], names.items[1]);
    }
    file_names_destroy(&names);
    return s;
}

status safetensors_open_directory(struct tensor_table *table, const char *directory, bool *found)
{
    struct buffer path = {0};
    *found = true;
    status s = path_join(directory, "model.safetensors.index.json", &path);
    if (s == STATUS_OK && access(path.data, F_OK) == 0) {
        s = add_indexed(table, directory, path.data);
    } else if (s == STATUS_OK) {
        buffer_clear(&path);
        s = path_join(directory, "model.safetensors", &path);
        if (s == STATUS_OK && access(path.data, F_OK) == 0) {
            s = add_file(table, path.data);
        } else if (s == STATUS_OK) {
            s = add_unindexed(table, directory, found);
        }
    }
    buffer_destroy(&path);
    return s;
}
