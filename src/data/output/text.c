/* SPDX-License-Identifier: Apache-2.0 */
/* Texts as HDF5's variable strings, or packed as compressed bytes with offsets. */
#include "data/output/text.h"

#include <stdio.h>
#include <string.h>

enum {
    CHUNK_BYTES = 256 * 1024, /* of packed texts: what deflate sees at once; fits HDF5's cache of
                                 chunks (1 MiB), so that a chunk filled in parts is packed once */
};

/* PATH/name, shorter than the longest name of ours by far. */
static status packed_path(const char *path, const char *name, char out[256])
{
    int length = snprintf(out, 256, "%s/%s", path, name);
    return length < 256 ? STATUS_OK
                        : status_fail(STATUS_INTERNAL, "%s: a path of %d bytes", path, length);
}

/* ---- Writing packed byte strings ---- */

static status make_group(hid_t file, const char *path)
{
    if (hdf5_path_exists(file, path)) {
        return STATUS_OK;
    }
    hid_t group = H5Gcreate2(file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0) {
        return hdf5_fail(STATUS_IO, "%s: cannot be created", path);
    }
    H5Gclose(group);
    return STATUS_OK;
}

status packed_column_create(hid_t file, const char *path, struct packed_column *column)
{
    char name[256];
    const int64_t first = 0;
    TRY(make_group(file, path));
    TRY(packed_path(path, "offsets", name));
    TRY(output_number_create(file, name, H5T_NATIVE_INT64, H5T_NATIVE_INT64, OUTPUT_BATCH_ROWS, 0,
                             &column->offsets));
    TRY(buffer_append(&column->offsets.batch, &first, sizeof first));
    TRY(packed_path(path, "bytes", name));
    return output_number_create(file, name, H5T_NATIVE_UINT8, H5T_NATIVE_UINT8, CHUNK_BYTES, 0,
                                &column->bytes);
}

status packed_column_append(struct packed_column *column, const char *bytes, size_t length)
{
    TRY(buffer_append(&column->bytes.batch, bytes, length));
    column->total += (int64_t)length;
    return buffer_append(&column->offsets.batch, &column->total, sizeof column->total);
}

status packed_column_flush(struct packed_column *column)
{
    TRY(output_number_flush(&column->offsets));
    return output_number_flush(&column->bytes);
}

void packed_column_destroy(struct packed_column *column)
{
    buffer_destroy(&column->offsets.batch);
    buffer_destroy(&column->bytes.batch);
}

/* ---- Writing texts ---- */

status output_text_create(hid_t file, int fd, const char *path, hid_t string_type, bool packed,
                          struct text_column *column)
{
    column->form = packed ? TEXTS_PACKED : TEXTS_VARIABLE;
    column->file = file;
    column->fd = fd;
    return packed ? packed_column_create(file, path, &column->packed)
                  : output_dataset_create(file, path, string_type, OUTPUT_BATCH_ROWS, 0,
                                          &column->dataset);
}

/* Appends the text with U+FFFD for what may not stand in it. */
static status append_clean(const char *text, size_t length, bool nul_is_fine, struct buffer *out)
{
    size_t start = 0;
    if (length > 0 && (nul_is_fine || memchr(text, '\0', length) == NULL) &&
        utf8_valid(text, length, NULL)) {
        return buffer_append(out, text, length);
    }
    for (size_t i = 0; i < length;) {
        size_t size = 1;
        if ((text[i] != '\0' || nul_is_fine) && utf8_decode(text + i, length - i, &size) >= 0) {
            i += size;
            continue;
        }
        TRY(buffer_append(out, text + start, i - start));
        TRY(buffer_append_text(out, "\xEF\xBF\xBD"));
        start = ++i;
    }
    return length > start ? buffer_append(out, text + start, length - start) : STATUS_OK;
}

static status append_packed(struct packed_column *column, const char *text, size_t length)
{
    size_t before = column->bytes.batch.length;
    TRY(append_clean(text, length, true, &column->bytes.batch));
    column->total += (int64_t)(column->bytes.batch.length - before);
    return buffer_append(&column->offsets.batch, &column->total, sizeof column->total);
}

status output_text_put(struct string_heap *heap, const char *text, size_t length,
                       struct buffer *references)
{
    TRY(string_heap_begin(heap));
    TRY(append_clean(text, length, false, &heap->bytes));
    return string_heap_end(heap, references);
}

status output_text_append(struct text_column *column, const char *text, size_t length)
{
    length = text != NULL ? length : 0;
    if (column->form == TEXTS_PACKED) {
        return append_packed(&column->packed, text, length);
    }
    if (column->form == TEXTS_ABSENT) {
        return STATUS_OK;
    }
    return output_text_put(&column->heap, text, length, &column->references);
}

status output_text_append_reference(struct text_column *column, const char *reference)
{
    return buffer_append(&column->references, reference, STRING_REFERENCE_BYTES);
}

/* A chunk that is not full is written again when more has come. */
static status write_references(struct text_column *column)
{
    struct buffer *all = &column->references;
    const size_t count = all->length / STRING_REFERENCE_BYTES;
    for (size_t at = 0; at < count; at += OUTPUT_BATCH_ROWS) {
        const size_t rows = count - at < OUTPUT_BATCH_ROWS ? count - at : OUTPUT_BATCH_ROWS;
        TRY(output_references_write(column->dataset, column->written + (int64_t)at, rows,
                                    all->data + at * STRING_REFERENCE_BYTES));
    }
    const size_t whole = count - count % OUTPUT_BATCH_ROWS;
    if (whole > 0) {
        const size_t gone = whole * STRING_REFERENCE_BYTES;
        memmove(all->data, all->data + gone, all->length - gone);
        all->length -= gone;
        column->written += (int64_t)whole;
    }
    column->placed = count - whole;
    return STATUS_OK;
}

static status flush_variable(struct text_column *column)
{
    const size_t count = column->references.length / STRING_REFERENCE_BYTES;
    if (count == column->placed) {
        return STATUS_OK;
    }
    char *first = column->references.data + column->placed * STRING_REFERENCE_BYTES;
    TRY(string_heap_place(&column->heap, column->file, column->fd, first, count - column->placed,
                          STRING_REFERENCE_BYTES));
    return write_references(column);
}

status output_text_flush(struct text_column *column)
{
    switch (column->form) {
    case TEXTS_PACKED:
        return packed_column_flush(&column->packed);
    case TEXTS_VARIABLE:
        return flush_variable(column);
    case TEXTS_ABSENT:
        break;
    }
    return STATUS_OK;
}

size_t output_text_pending(const struct text_column *column)
{
    return column->heap.bytes.length + column->packed.bytes.batch.length;
}

void output_text_destroy(struct text_column *column)
{
    buffer_destroy(&column->heap.bytes);
    buffer_destroy(&column->references);
    packed_column_destroy(&column->packed);
}

/* ---- Reading packed byte strings ---- */

status packed_source_open(hid_t file, const char *path, int64_t count, struct packed_source *source)
{
    char name[256];
    TRY(packed_path(path, "offsets", name));
    TRY(hdf5_column_open(file, name, H5T_INTEGER, 1, &source->offsets));
    if (count == INT64_MAX || source->offsets.length != count + 1) {
        return status_fail(STATUS_INVALID, "%s: %lld offsets where %lld belong", name,
                           (long long)source->offsets.length, (long long)count + 1);
    }
    TRY(packed_path(path, "bytes", name));
    return hdf5_column_open(file, name, H5T_INTEGER, 1, &source->bytes);
}

static status check_offsets(const struct packed_source *source, int64_t first, int64_t count,
                            const int64_t *offsets)
{
    for (int64_t i = 0; i < count; i++) {
        if (offsets[i] < 0 || offsets[i + 1] < offsets[i] ||
            offsets[i + 1] > source->bytes.length) {
            return status_fail(STATUS_INVALID, "%s: item %lld: %lld to %lld is no range of %lld",
                               source->offsets.name, (long long)(first + i), (long long)offsets[i],
                               (long long)offsets[i + 1], (long long)source->bytes.length);
        }
    }
    return STATUS_OK;
}

/* Spreads the bytes, which stand at the block's end, over the block with a NUL behind each. */
static void spread(char *block, int64_t count, const int64_t *offsets, const char **texts,
                   size_t *lengths)
{
    const char *from = block + count;
    for (int64_t i = 0; i < count; i++) {
        lengths[i] = (size_t)(offsets[i + 1] - offsets[i]);
        texts[i] = block;
        memmove(block, from, lengths[i]);
        block[lengths[i]] = '\0';
        block += lengths[i] + 1;
        from += lengths[i];
    }
}

status packed_source_read(const struct packed_source *source, int64_t first, int64_t count,
                          size_t budget, struct arena *arena, const char **texts, size_t *lengths)
{
    int64_t *offsets = arena_allocate_array(arena, (size_t)count + 1, sizeof *offsets);
    if (offsets == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for texts");
    }
    TRY(hdf5_column_read(&source->offsets, H5T_NATIVE_INT64, first, count + 1, offsets));
    TRY(check_offsets(source, first, count, offsets));
    int64_t bytes = offsets[count] - offsets[0];
    size_t used = arena->used_bytes;
    if (used > budget || (uint64_t)bytes + (uint64_t)count > budget - used) {
        return status_fail(STATUS_LIMIT, "%s: %lld bytes of texts", source->bytes.name,
                           (long long)bytes);
    }
    char *block = arena_allocate(arena, (size_t)bytes + (size_t)count + 1);
    if (block == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for texts");
    }
    TRY(hdf5_column_read(&source->bytes, H5T_NATIVE_UINT8, offsets[0], bytes, block + count));
    spread(block, count, offsets, texts, lengths);
    return STATUS_OK;
}

void packed_source_close(struct packed_source *source)
{
    hdf5_column_close(&source->offsets);
    hdf5_column_close(&source->bytes);
}

/* ---- Reading texts ---- */

static bool is_packed(hid_t file, const char *path)
{
    char name[256];
    return packed_path(path, "offsets", name) == STATUS_OK && hdf5_path_exists(file, name);
}

status output_text_open(hid_t file, const char *path, int64_t rows, struct text_source *source)
{
    source->there = true;
    source->is_packed = is_packed(file, path);
    if (source->is_packed) {
        return packed_source_open(file, path, rows, &source->packed);
    }
    TRY(hdf5_column_open(file, path, H5T_STRING, 1, &source->strings));
    return source->strings.length == rows
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "%s: %lld rows where there are %lld", path,
                             (long long)source->strings.length, (long long)rows);
}

status output_text_read(const struct text_source *source, int64_t first, int64_t count,
                        size_t budget, struct arena *arena, const char **texts, size_t *lengths)
{
    return source->is_packed
               ? packed_source_read(&source->packed, first, count, budget, arena, texts, lengths)
               : hdf5_column_read_strings(&source->strings, first, count, budget, arena, texts,
                                          lengths);
}

void output_text_close(struct text_source *source)
{
    hdf5_column_close(&source->strings);
    packed_source_close(&source->packed);
    source->there = false;
}
