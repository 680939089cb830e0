/* SPDX-License-Identifier: Apache-2.0 */
/* The GGUF format, versions 2 and 3, little-endian: a header of typed metadata and of tensor names,
 * shapes, types and offsets, then the data.
 *
 * Format: github.com/ggml-org/ggml, docs/gguf.md. Shapes there have the adjacent dimension first;
 * here it is last, as everywhere in this program. */
#include "model/formats/gguf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/read/model_files.h"

enum {
    MAX_ENTRIES = 1 << 16,
    MAX_TENSORS = 1 << 20,
    MAX_STRING = 16 << 20,
    MAX_KEY = 1 << 10,
    FIRST_READ = 4 << 20,
};
static const uint64_t max_header = 512u << 20;

struct cursor {
    const uint8_t *bytes;
    size_t length, at;
    bool is_short; /* wanted more than there is */
    struct arena *arena;
};

/* ---- Bytes ---- */

/* The next `count` bytes, or NULL where they are not there. */
static const uint8_t *take(struct cursor *cursor, uint64_t count)
{
    if (count > cursor->length - cursor->at) {
        cursor->is_short = true;
        return NULL;
    }
    const uint8_t *at = cursor->bytes + cursor->at;
    cursor->at += (size_t)count;
    return at;
}

static uint64_t little_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* An unsigned integer of `size` bytes; 0 where it is not there (is_short is set then). */
static uint64_t take_unsigned(struct cursor *cursor, int size)
{
    const uint8_t *at = take(cursor, (uint64_t)size);
    return at == NULL ? 0 : little_endian(at, size);
}

static status out_of_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory");
}

/* A string: *out stays NULL where the bytes are not there. */
static status take_string(struct cursor *cursor, uint64_t limit, const char **out)
{
    *out = NULL;
    uint64_t length = take_unsigned(cursor, 8);
    if (cursor->is_short) {
        return STATUS_OK;
    }
    if (length > limit) {
        return status_fail(STATUS_INVALID, "a string of %llu bytes", (unsigned long long)length);
    }
    const uint8_t *text = take(cursor, length);
    if (text == NULL) {
        return STATUS_OK;
    }
    *out = arena_copy(cursor->arena, (const char *)text, (size_t)length);
    return *out == NULL ? out_of_memory() : STATUS_OK;
}

/* ---- Metadata ---- */

static const int type_bytes[GGUF_TYPE_COUNT] = {
    [GGUF_UINT8] = 1,  [GGUF_INT8] = 1,  [GGUF_UINT16] = 2,  [GGUF_INT16] = 2,
    [GGUF_UINT32] = 4, [GGUF_INT32] = 4, [GGUF_FLOAT32] = 4, [GGUF_BOOL] = 1,
    [GGUF_UINT64] = 8, [GGUF_INT64] = 8, [GGUF_FLOAT64] = 8};

/* A number at `bytes` as an integer or a real. */
static status read_number(enum gguf_type type, const uint8_t *bytes, struct gguf_value *out)
{
    uint64_t word = little_endian(bytes, type_bytes[type]);
    switch (type) {
    case GGUF_INT8:
        out->integer = (int8_t)word;
        break;
    case GGUF_INT16:
        out->integer = (int16_t)word;
        break;
    case GGUF_INT32:
        out->integer = (int32_t)word;
        break;
    case GGUF_FLOAT32: {
        uint32_t bits = (uint32_t)word;
        float value;
        memcpy(&value, &bits, sizeof value);
        out->real = value;
        break;
    }
    case GGUF_FLOAT64:
        memcpy(&out->real, &word, sizeof out->real);
        break;
    case GGUF_UINT64:
        if (word > INT64_MAX) {
            return status_fail(STATUS_INVALID, "%llu is out of range", (unsigned long long)word);
        }
        out->integer = (int64_t)word;
        break;
    default:
        out->integer = (int64_t)word;
        break;
    }
    return STATUS_OK;
}

static status take_array(struct cursor *cursor, struct gguf_value *out)
{
    uint64_t type = take_unsigned(cursor, 4), count = take_unsigned(cursor, 8);
    if (cursor->is_short) {
        return STATUS_OK;
    }
    if (type >= GGUF_TYPE_COUNT) {
        return status_fail(STATUS_INVALID, "unknown type %llu", (unsigned long long)type);
    }
    if (type == GGUF_ARRAY) {
        return status_fail(STATUS_UNSUPPORTED, "an array of arrays");
    }
    out->item_type = (enum gguf_type)type;
    out->count = (size_t)count;
    uint64_t smallest = type == GGUF_STRING ? 8 : (uint64_t)type_bytes[type], bytes;
    if (__builtin_mul_overflow(count, smallest, &bytes) || bytes > max_header) {
        return status_fail(STATUS_INVALID, "an array of %llu items", (unsigned long long)count);
    }
    if (bytes > cursor->length - cursor->at) {
        cursor->is_short = true;
        return STATUS_OK;
    }
    if (type != GGUF_STRING) {
        const uint8_t *from = take(cursor, bytes);
        void *items = arena_allocate(cursor->arena, (size_t)bytes + 1);
        if (items == NULL) {
            return out_of_memory();
        }
        memcpy(items, from, (size_t)bytes);
        out->items = items;
        return STATUS_OK;
    }
    const char **texts = arena_allocate_array(cursor->arena, (size_t)count + 1, sizeof *texts);
    if (texts == NULL) {
        return out_of_memory();
    }
    for (size_t i = 0; i < count && !cursor->is_short; i++) {
        TRY(take_string(cursor, MAX_STRING, &texts[i]));
    }
    out->texts = texts;
    return STATUS_OK;
}

static status take_value(struct cursor *cursor, struct gguf_value *out)
{
    uint64_t type = take_unsigned(cursor, 4);
    if (cursor->is_short) {
        return STATUS_OK;
    }
    if (type >= GGUF_TYPE_COUNT) {
        return status_fail(STATUS_INVALID, "unknown type %llu", (unsigned long long)type);
    }
    out->type = (enum gguf_type)type;
    if (out->type == GGUF_STRING) {
        return take_string(cursor, MAX_STRING, &out->text);
    }
    if (out->type == GGUF_ARRAY) {
        return take_array(cursor, out);
    }
    const uint8_t *at = take(cursor, (uint64_t)type_bytes[type]);
    return at == NULL ? STATUS_OK : read_number(out->type, at, out);
}

static int compare_entries(const void *left, const void *right)
{
    return strcmp(((const struct gguf_entry *)left)->key, ((const struct gguf_entry *)right)->key);
}

static status take_metadata(struct cursor *cursor, uint64_t count, struct gguf *out)
{
    out->entries = arena_allocate_array(cursor->arena, (size_t)count + 1, sizeof *out->entries);
    if (out->entries == NULL) {
        return out_of_memory();
    }
    out->count = (size_t)count;
    for (size_t i = 0; i < count; i++) {
        struct gguf_entry *entry = &out->entries[i];
        TRY(take_string(cursor, MAX_KEY, &entry->key));
        if (!cursor->is_short) {
            TRY(status_context(take_value(cursor, &entry->value), "%.200s", entry->key));
        }
        if (cursor->is_short) {
            return STATUS_OK;
        }
    }
    qsort(out->entries, out->count, sizeof *out->entries, compare_entries);
    for (size_t i = 1; i < count; i++) {
        if (compare_entries(&out->entries[i - 1], &out->entries[i]) == 0) {
            return status_fail(STATUS_INVALID, "key %.200s is there twice", out->entries[i].key);
        }
    }
    return STATUS_OK;
}

/* ---- Tensors ---- */

/* Types by their number in the file. Those without a format have a size and no weights. */
static const struct {
    const char *name;
    int number;
    enum weight_format format;
    int bytes; /* a value, of WEIGHT_NONE */
} tensor_types[] = {
    {"F32", 0, WEIGHT_FLOAT32, 0},    {"F16", 1, WEIGHT_FLOAT16, 0},
    {"Q4_0", 2, WEIGHT_Q4_0, 0},      {"Q4_1", 3, WEIGHT_Q4_1, 0},
    {"Q5_0", 6, WEIGHT_Q5_0, 0},      {"Q5_1", 7, WEIGHT_Q5_1, 0},
    {"Q8_0", 8, WEIGHT_Q8_0, 0},      {"Q2_K", 10, WEIGHT_Q2_K, 0},
    {"Q3_K", 11, WEIGHT_Q3_K, 0},     {"Q4_K", 12, WEIGHT_Q4_K, 0},
    {"Q5_K", 13, WEIGHT_Q5_K, 0},     {"Q6_K", 14, WEIGHT_Q6_K, 0},
    {"IQ4_NL", 20, WEIGHT_IQ4_NL, 0}, {"IQ4_XS", 23, WEIGHT_IQ4_XS, 0},
    {"MXFP4", 39, WEIGHT_MXFP4, 0},   {"I8", 24, WEIGHT_NONE, 1},
    {"I16", 25, WEIGHT_NONE, 2},      {"I32", 26, WEIGHT_NONE, 4},
    {"I64", 27, WEIGHT_NONE, 8},      {"F64", 28, WEIGHT_NONE, 8},
    {"BF16", 30, WEIGHT_BFLOAT16, 0},
};

const char *gguf_type_at(size_t index, enum weight_format *format)
{
    if (index >= COUNT_OF(tensor_types)) {
        return NULL;
    }
    *format = tensor_types[index].format;
    return tensor_types[index].name;
}

static status set_type(uint64_t number, struct tensor *tensor)
{
    for (size_t i = 0; i < COUNT_OF(tensor_types); i++) {
        if ((uint64_t)tensor_types[i].number != number) {
            continue;
        }
        tensor->format = tensor_types[i].format;
        tensor->type_name = tensor_types[i].name;
        const struct weight_format_facts *facts = weight_format_facts(tensor->format);
        int size = tensor->format == WEIGHT_NONE ? tensor_types[i].bytes : facts->bytes;
        uint64_t count;
        if (!tensor_count_elements(tensor->shape, tensor->rank, &count)) {
            return status_fail(STATUS_INVALID, "the shape is too large");
        }
        int64_t row = tensor->rank > 0 ? tensor->shape[tensor->rank - 1] : 1;
        if (row % facts->elements != 0) {
            return status_fail(STATUS_INVALID, "rows of %lld values are not whole %s blocks of %d",
                               (long long)row, tensor->type_name, facts->elements);
        }
        if (__builtin_mul_overflow(count / (uint64_t)facts->elements, (uint64_t)size,
                                   &tensor->bytes)) {
            return status_fail(STATUS_INVALID, "the shape is too large");
        }
        return STATUS_OK;
    }
    struct buffer names = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(tensor_types); i++) {
        if (tensor_types[i].format != WEIGHT_NONE) {
            s = buffer_format(&names, "%s%s", i == 0 ? "" : ", ", tensor_types[i].name);
        }
    }
    if (s == STATUS_OK) {
        s = status_fail(STATUS_UNSUPPORTED, "type number %llu is not supported (supported: %s)",
                        (unsigned long long)number, names.data);
    }
    buffer_destroy(&names);
    return s;
}

static status take_tensor(struct cursor *cursor, struct tensor *tensor)
{
    TRY(take_string(cursor, MAX_KEY, &tensor->name));
    uint64_t rank = take_unsigned(cursor, 4);
    if (cursor->is_short) {
        return STATUS_OK;
    }
    if (rank > 4) {
        return status_fail(STATUS_INVALID, "tensor %.200s: %llu dimensions, more than 4",
                           tensor->name, (unsigned long long)rank);
    }
    tensor->rank = (int)rank;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        uint64_t side = take_unsigned(cursor, 8);
        tensor->shape[i] = side > INT64_MAX ? -1 : (int64_t)side;
    }
    uint64_t number = take_unsigned(cursor, 4);
    tensor->offset = take_unsigned(cursor, 8);
    return cursor->is_short
               ? STATUS_OK
               : status_context(set_type(number, tensor), "tensor %.200s", tensor->name);
}

static status place_tensors(const struct cursor *cursor, uint64_t file_size, struct gguf *gguf)
{
    int64_t alignment = 32;
    gguf_integer(gguf, "general.alignment", &alignment);
    if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0) {
        return status_fail(STATUS_INVALID, "general.alignment: expected a power of two");
    }
    uint64_t mask = (uint64_t)alignment - 1;
    uint64_t start = (cursor->at + mask) & ~mask;
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        struct tensor *tensor = &gguf->tensors[i];
        uint64_t end;
        if (__builtin_add_overflow(tensor->offset, start, &tensor->offset) ||
            __builtin_add_overflow(tensor->offset, tensor->bytes, &end) || end > file_size) {
            return status_fail(STATUS_INVALID,
                               "tensor %.200s ends past the file's %llu bytes; the file is "
                               "truncated",
                               tensor->name, (unsigned long long)file_size);
        }
    }
    return STATUS_OK;
}

/* ---- Whole ---- */

static status parse(struct cursor *cursor, uint64_t file_size, struct gguf *out)
{
    uint64_t magic = take_unsigned(cursor, 4), version = take_unsigned(cursor, 4);
    if (cursor->is_short) {
        return STATUS_OK;
    }
    if (magic != 0x46554747) { /* "GGUF" */
        return status_fail(STATUS_INVALID, "not a GGUF file; of other models name the directory, "
                                           "with config.json and *.safetensors");
    }
    if (version != 2 && version != 3) {
        return status_fail(STATUS_UNSUPPORTED, "GGUF version %llu%s; expected 2 or 3",
                           (unsigned long long)version,
                           version == 0x03000000 ? " (a big-endian file)" : "");
    }
    uint64_t tensors = take_unsigned(cursor, 8), entries = take_unsigned(cursor, 8);
    if (tensors > MAX_TENSORS || entries > MAX_ENTRIES) {
        return status_fail(STATUS_INVALID, "%llu tensors and %llu keys are more than is plausible",
                           (unsigned long long)tensors, (unsigned long long)entries);
    }
    if (cursor->is_short) {
        return STATUS_OK;
    }
    TRY(take_metadata(cursor, entries, out));
    if (cursor->is_short) {
        return STATUS_OK;
    }
    struct sha256 *hash = sha256_create();
    if (hash == NULL) {
        return out_of_memory();
    }
    sha256_update(hash, cursor->bytes, cursor->at);
    sha256_finish(hash, out->metadata_sha256);
    out->tensors = arena_allocate_array(cursor->arena, (size_t)tensors + 1, sizeof *out->tensors);
    if (out->tensors == NULL) {
        return out_of_memory();
    }
    out->tensor_count = (size_t)tensors;
    for (size_t i = 0; i < tensors && !cursor->is_short; i++) {
        TRY(take_tensor(cursor, &out->tensors[i]));
    }
    return cursor->is_short ? STATUS_OK : place_tensors(cursor, file_size, out);
}

status gguf_parse(const uint8_t *bytes, size_t length, uint64_t file_size, struct gguf *out,
                  bool *needs_more)
{
    memset(out, 0, sizeof *out);
    struct cursor cursor = {.bytes = bytes, .length = length, .arena = &out->arena};
    status s = parse(&cursor, file_size, out);
    *needs_more = s == STATUS_OK && cursor.is_short;
    if (*needs_more && length == file_size) {
        *needs_more = false;
        s = status_fail(STATUS_INVALID,
                        "the header goes on past the file's %llu bytes; the file "
                        "is truncated",
                        (unsigned long long)file_size);
    }
    return s;
}

void gguf_destroy(struct gguf *gguf)
{
    arena_destroy(&gguf->arena);
    memset(gguf, 0, sizeof *gguf);
}

/* Reads ever more of the file until the header is whole: its length stands nowhere. */
static status read_header(const struct tensor_file *file, struct gguf *out)
{
    uint8_t *bytes = NULL;
    status s = STATUS_OK;
    bool needs_more = true;
    for (uint64_t length = FIRST_READ; s == STATUS_OK && needs_more; length *= 4) {
        if (length > max_header) {
            s = status_fail(STATUS_LIMIT, "a header of more than %llu MiB",
                            (unsigned long long)(max_header >> 20));
            break;
        }
        uint64_t wanted = length < file->size ? length : file->size;
        free(bytes);
        bytes = malloc((size_t)wanted + 1);
        if (bytes == NULL) {
            s = out_of_memory();
            break;
        }
        s = tensor_file_read(file, 0, bytes, (size_t)wanted);
        if (s == STATUS_OK) {
            gguf_destroy(out);
            s = gguf_parse(bytes, (size_t)wanted, file->size, out, &needs_more);
        }
    }
    free(bytes);
    return s;
}

static status open_file(struct tensor_table *table, const char *path, struct gguf *out)
{
    int index;
    memset(out, 0, sizeof *out);
    TRY(tensor_table_open_file(table, path, &index));
    TRY(status_context(read_header(&table->files[index], out), "%s", path));
    for (size_t i = 0; i < out->tensor_count; i++) {
        struct tensor tensor = out->tensors[i];
        tensor.file = index;
        TRY(tensor_table_add(table, &tensor));
    }
    return STATUS_OK;
}

/* ---- Parts ---- */

/* llama-gguf-split: every part has split.no from 0, split.count and split.tensors.count; the first
 * has the metadata as well, each has its tensors. */

static status check_part(const struct gguf *part, const char *path, int64_t number, int64_t count)
{
    int64_t no = -1, there = -1;
    gguf_integer(part, "split.no", &no);
    gguf_integer(part, "split.count", &there);
    return no == number && there == count
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "%s: says that it is part %lld of %lld of a split file, where part "
                             "%lld of %lld is expected",
                             path, (long long)no + 1, (long long)there, (long long)number + 1,
                             (long long)count);
}

/* Adds the tensors of part `number` (from 0) of a file in `count` parts. */
static status add_part(struct tensor_table *table, const char *path, int64_t number, int64_t count)
{
    struct gguf part;
    struct stat info;
    if (stat(path, &info) != 0) {
        return status_fail_errno(STATUS_NOT_FOUND,
                                 "%s: part %lld of a GGUF file that is split in %lld; have all "
                                 "parts in one folder, or join them (llama-gguf-split --merge)",
                                 path, (long long)number + 1, (long long)count);
    }
    status s = open_file(table, path, &part);
    if (s == STATUS_OK) {
        s = check_part(&part, path, number, count);
    }
    /* Names live as long as the table. */
    for (size_t i = table->count - (s == STATUS_OK ? part.tensor_count : 0);
         s == STATUS_OK && i < table->count; i++) {
        const char *name = table->items[i].name;
        table->items[i].name = arena_copy(&table->arena, name, strlen(name));
        if (table->items[i].name == NULL) {
            s = status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
        }
    }
    gguf_destroy(&part);
    return s;
}

static status add_other_parts(struct tensor_table *table, const char *path, struct gguf *first)
{
    enum { MAX_PARTS = 4096 };
    int64_t count = 1, tensors = -1;
    struct part_name name;
    if (!gguf_integer(first, "split.count", &count) || count <= 1) {
        return STATUS_OK;
    }
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    if (part_name_parse(base, &name) && name.number != 1) {
        return status_fail(STATUS_INVALID,
                           "%s: part %d of %d of a split GGUF file; name the first part, %.*s"
                           "-00001-of-%05d%s, in model.path: all parts are read",
                           path, name.number, name.count, (int)name.stem, base, name.count,
                           name.end);
    }
    TRY(check_part(first, path, 0, count));
    if (count > MAX_PARTS || !part_name_parse(base, &name) || name.count != (int)count ||
        name.number != 1) {
        return status_fail(STATUS_INVALID,
                           "%s: part 1 of %lld of a split file, and not called so: its parts are "
                           "X-00001-of-%05lld.gguf and so on, or joined (llama-gguf-split "
                           "--merge)",
                           path, (long long)count, (long long)count);
    }
    for (int i = 1; i < (int)count; i++) {
        struct buffer next = {0};
        status s = buffer_append(&next, path, (size_t)(base - path));
        if (s == STATUS_OK) {
            s = part_name_write(base, &name, i + 1, &next);
        }
        if (s == STATUS_OK) {
            s = add_part(table, next.data, i, count);
        }
        buffer_destroy(&next);
        TRY(s);
    }
    if (gguf_integer(first, "split.tensors.count", &tensors) && tensors != (int64_t)table->count) {
        return status_fail(STATUS_INVALID, "%s: its %lld parts have %zu tensors instead of %lld",
                           path, (long long)count, table->count, (long long)tensors);
    }
    return STATUS_OK;
}

status gguf_open(struct tensor_table *table, const char *path, struct gguf *out)
{
    TRY(open_file(table, path, out));
    return add_other_parts(table, path, out);
}

/* ---- Reads ---- */

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key)
{
    if (gguf->count == 0) {
        return NULL;
    }
    struct gguf_entry wanted = {.key = key};
    const struct gguf_entry *entry =
        bsearch(&wanted, gguf->entries, gguf->count, sizeof *gguf->entries, compare_entries);
    return entry == NULL ? NULL : &entry->value;
}

static bool is_real(enum gguf_type type)
{
    return type == GGUF_FLOAT32 || type == GGUF_FLOAT64;
}

bool gguf_integer(const struct gguf *gguf, const char *key, int64_t *out)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    if (value == NULL || is_real(value->type) || value->type == GGUF_STRING) {
        return false;
    }
    if (value->type != GGUF_ARRAY) {
        *out = value->integer;
        return true;
    }
    if (value->count == 0 || value->items == NULL || is_real(value->item_type)) {
        return false;
    }
    size_t size = (size_t)type_bytes[value->item_type];
    for (size_t i = 1; i < value->count; i++) {
        if (memcmp(value->items, (const uint8_t *)value->items + i * size, size) != 0) {
            return false;
        }
    }
    struct gguf_value first = {0};
    if (read_number(value->item_type, value->items, &first) != STATUS_OK) {
        return false;
    }
    *out = first.integer;
    return true;
}

bool gguf_real(const struct gguf *gguf, const char *key, double *out)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    int64_t integer;
    if (value != NULL && is_real(value->type)) {
        *out = value->real;
        return true;
    }
    if (value != NULL && value->type != GGUF_BOOL && gguf_integer(gguf, key, &integer)) {
        *out = (double)integer;
        return true;
    }
    return false;
}

const char *gguf_text(const struct gguf *gguf, const char *key)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    return value != NULL && value->type == GGUF_STRING ? value->text : NULL;
}
