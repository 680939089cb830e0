/* SPDX-License-Identifier: Apache-2.0 */
/* Arena, growable buffer and growable arrays. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/base.h"

enum { ARENA_CHUNK_BYTES = 64 * 1024, ARENA_ALIGNMENT = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t capacity;
    size_t used;
    _Alignas(ARENA_ALIGNMENT) char bytes[];
};

void *arena_allocate(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_t rounded = (bytes + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < rounded) {
        size_t capacity = rounded > ARENA_CHUNK_BYTES ? rounded : ARENA_CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + capacity);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->capacity = capacity;
        chunk->used = 0;
        /* A large allocation goes behind the chunk in use, which still has room for small ones. */
        if (arena->chunks != NULL && rounded > ARENA_CHUNK_BYTES) {
            chunk->next = arena->chunks->next;
            arena->chunks->next = chunk;
        } else {
            chunk->next = arena->chunks;
            arena->chunks = chunk;
        }
    }
    void *result = chunk->bytes + chunk->used;
    chunk->used += rounded;
    arena->used_bytes += rounded;
    return memset(result, 0, rounded);
}

void *arena_allocate_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return NULL;
    }
    return arena_allocate(arena, bytes);
}

char *arena_copy(struct arena *arena, const char *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : arena_allocate(arena, length + 1);
    if (copy != NULL && length > 0) {
        memcpy(copy, text, length);
    }
    return copy;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *kept = arena->chunks;
    if (kept != NULL) {
        struct arena_chunk *chunk = kept->next;
        while (chunk != NULL) {
            struct arena_chunk *next = chunk->next;
            free(chunk);
            chunk = next;
        }
        kept->next = NULL;
        kept->used = 0;
    }
    arena->used_bytes = 0;
}

void arena_destroy(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena->chunks = NULL;
    arena->used_bytes = 0;
}

status buffer_reserve(struct buffer *buffer, size_t extra)
{
    size_t needed;
    if (__builtin_add_overflow(buffer->length, extra, &needed) ||
        __builtin_add_overflow(needed, 1, &needed)) {
        return status_fail(STATUS_NO_MEMORY, "a buffer of more bytes than can be counted");
    }
    void *data = buffer->data;
    status s = array_grow(&data, &buffer->capacity, needed, 1);
    buffer->data = data;
    return s;
}

status buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    TRY(buffer_reserve(buffer, length));
    if (length > 0) {
        memcpy(buffer->data + buffer->length, bytes, length);
    }
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
    return STATUS_OK;
}

status buffer_append_text(struct buffer *buffer, const char *text)
{
    return buffer_append(buffer, text, strlen(text));
}

status buffer_append_byte(struct buffer *buffer, char byte)
{
    return buffer_append(buffer, &byte, 1);
}

status buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    status s = length < 0 ? status_fail(STATUS_INTERNAL, "text that cannot be formatted")
                          : buffer_reserve(buffer, (size_t)length);
    if (s == STATUS_OK) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    return s;
}

void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
    if (buffer->data != NULL) {
        buffer->data[0] = '\0';
    }
}

void buffer_destroy(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

status array_grow(void **items, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity) {
        return STATUS_OK;
    }
    size_t wanted = *capacity < 16 ? 16 : *capacity;
    while (wanted < needed) {
        if (__builtin_mul_overflow(wanted, 2, &wanted)) {
            wanted = needed;
        }
    }
    size_t bytes;
    void *grown = __builtin_mul_overflow(wanted, size, &bytes) ? NULL : realloc(*items, bytes);
    if (grown == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu items of %zu bytes", wanted,
                           size);
    }
    *items = grown;
    *capacity = wanted;
    return STATUS_OK;
}
