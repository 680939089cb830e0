/* SPDX-License-Identifier: Apache-2.0 */
/* Global heap collections in memory, and their place in the file. Numbers are little-endian, of
 * 8 bytes where the specification says size of offsets or of lengths: such files H5Fcreate makes.
 */
#include "data/hdf5/string_heap.h"

#include <string.h>

#include "data/journal/file.h"

enum {
    COLLECTION_HEAD = 16,  /* "GCOL", version 1, 3 zeros, size */
    OBJECT_HEAD = 16,      /* index, references (none is counted), 4 zeros, size */
    SMALLEST = 4096,       /* that the library takes for a collection */
    FULL = 64 * 1024,      /* no string is begun behind it */
    FULL_STRINGS = 0xFFFF, /* the largest index */
    ALIGNMENT = 8,
};

/* Of an address that counts from the heap's beginning. No file is so large. */
static const uint64_t NOT_PLACED = UINT64_C(1) << 63;

static bool has_collection(const struct string_heap *heap)
{
    return heap->collection < heap->bytes.length;
}

static size_t open_bytes(const struct string_heap *heap)
{
    return heap->bytes.length - heap->collection;
}

static status append_zeros(struct buffer *bytes, size_t count)
{
    TRY(buffer_reserve(bytes, count));
    memset(bytes->data + bytes->length, 0, count);
    bytes->length += count;
    return STATUS_OK;
}

static status open_collection(struct string_heap *heap)
{
    heap->collection = heap->bytes.length;
    heap->strings = 0;
    TRY(append_zeros(&heap->bytes, COLLECTION_HEAD));
    char *head = heap->bytes.data + heap->collection;
    memcpy(head, "GCOL", 4);
    head[4] = 1;
    return STATUS_OK;
}

/* What is left of the smallest size is an object of free space, of index 0, where its head fits. */
static status close_collection(struct string_heap *heap)
{
    if (!has_collection(heap)) {
        return STATUS_OK;
    }
    if (open_bytes(heap) < SMALLEST) {
        const size_t rest = SMALLEST - open_bytes(heap), at = heap->bytes.length;
        TRY(append_zeros(&heap->bytes, rest));
        if (rest >= OBJECT_HEAD) {
            little_endian_put(heap->bytes.data + at + 8, rest, 8);
        }
    }
    little_endian_put(heap->bytes.data + heap->collection + 8, open_bytes(heap), 8);
    heap->collection = heap->bytes.length;
    return STATUS_OK;
}

status string_heap_begin(struct string_heap *heap)
{
    if (has_collection(heap) && (open_bytes(heap) >= FULL || heap->strings == FULL_STRINGS)) {
        TRY(close_collection(heap));
    }
    if (!has_collection(heap)) {
        TRY(open_collection(heap));
    }
    heap->string = heap->bytes.length;
    return append_zeros(&heap->bytes, OBJECT_HEAD);
}

status string_heap_end(struct string_heap *heap, struct buffer *references)
{
    const size_t length = heap->bytes.length - heap->string - OBJECT_HEAD;
    char reference[STRING_REFERENCE_BYTES] = {0};
    if (length > INT32_MAX) {
        return status_fail(STATUS_LIMIT, "a text of %zu bytes", length);
    }
    if (length == 0) {
        heap->bytes.length = heap->strings > 0 ? heap->string : heap->collection;
        return buffer_append(references, reference, sizeof reference);
    }
    char *head = heap->bytes.data + heap->string;
    heap->strings++;
    little_endian_put(head, heap->strings, 2);
    little_endian_put(head + 8, length, 8);
    TRY(append_zeros(&heap->bytes, -length % ALIGNMENT));
    little_endian_put(reference, length, 4);
    little_endian_put(reference + 4, heap->collection | NOT_PLACED, 8);
    little_endian_put(reference + 12, heap->strings, 4);
    return buffer_append(references, reference, sizeof reference);
}

/* Space at the end of the file that is nobody else's. */
static status reserve(hid_t file, size_t bytes, uint64_t *address)
{
    hsize_t end;
    if (H5Fget_filesize(file, &end) < 0 || H5Fincrement_filesize(file, bytes) < 0) {
        return hdf5_fail(STATUS_IO, "no room for texts");
    }
    *address = end;
    return STATUS_OK;
}

static void set_place(char *reference, uint64_t heap)
{
    const uint64_t address = little_endian_get(reference + 4, 8);
    if ((address & NOT_PLACED) != 0) {
        little_endian_put(reference + 4, (address & ~NOT_PLACED) + heap, 8);
    }
}

status string_heap_place(struct string_heap *heap, hid_t file, int fd, char *references,
                         size_t count, size_t stride)
{
    uint64_t address;
    TRY(close_collection(heap));
    if (heap->bytes.length == 0) {
        return STATUS_OK;
    }
    TRY(reserve(file, heap->bytes.length, &address));
    TRY(journal_write_at(fd, (int64_t)address, heap->bytes.data, heap->bytes.length));
    for (size_t i = 0; i < count; i++) {
        set_place(references + i * stride, address);
    }
    buffer_clear(&heap->bytes);
    heap->collection = 0;
    return STATUS_OK;
}
