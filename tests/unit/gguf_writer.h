/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF files for tests: keys of every type and tensors of float32, written in memory. */
#ifndef SLUICE_TESTS_GGUF_WRITER_H
#define SLUICE_TESTS_GGUF_WRITER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/formats/gguf.h"

/* Zero-initialise it; end it with gguf_writer_end. */
struct gguf_writer {
    struct buffer entries, tensors, data, whole;
    uint64_t entry_count, tensor_count;
};

static inline void gguf_append(struct buffer *to, const void *bytes, size_t count)
{
    assert_int_equal(buffer_append(to, bytes, count), STATUS_OK);
}

static inline void gguf_append_text(struct buffer *to, const char *text)
{
    const uint64_t length = strlen(text);
    gguf_append(to, &length, sizeof length);
    gguf_append(to, text, length);
}

static inline void gguf_begin_entry(struct gguf_writer *writer, const char *key,
                                    enum gguf_type type)
{
    const uint32_t number = type;
    gguf_append_text(&writer->entries, key);
    gguf_append(&writer->entries, &number, sizeof number);
    writer->entry_count++;
}

/* A number of any type: the first `bytes` bytes at `value`. */
static inline void gguf_put_number(struct gguf_writer *writer, const char *key, enum gguf_type type,
                                   const void *value, size_t bytes)
{
    gguf_begin_entry(writer, key, type);
    gguf_append(&writer->entries, value, bytes);
}

static inline void gguf_put_uint32(struct gguf_writer *writer, const char *key, uint32_t value)
{
    gguf_put_number(writer, key, GGUF_UINT32, &value, sizeof value);
}

static inline void gguf_put_float32(struct gguf_writer *writer, const char *key, float value)
{
    gguf_put_number(writer, key, GGUF_FLOAT32, &value, sizeof value);
}

static inline void gguf_put_text(struct gguf_writer *writer, const char *key, const char *text)
{
    gguf_begin_entry(writer, key, GGUF_STRING);
    gguf_append_text(&writer->entries, text);
}

static inline void gguf_begin_array(struct gguf_writer *writer, const char *key,
                                    enum gguf_type type, uint64_t count)
{
    const uint32_t number = type;
    gguf_begin_entry(writer, key, GGUF_ARRAY);
    gguf_append(&writer->entries, &number, sizeof number);
    gguf_append(&writer->entries, &count, sizeof count);
}

static inline void gguf_put_array(struct gguf_writer *writer, const char *key, enum gguf_type type,
                                  const void *items, uint64_t count, size_t item_bytes)
{
    gguf_begin_array(writer, key, type, count);
    gguf_append(&writer->entries, items, count * item_bytes);
}

static inline void gguf_put_texts(struct gguf_writer *writer, const char *key,
                                  const char *const *texts, uint64_t count)
{
    gguf_begin_array(writer, key, GGUF_STRING, count);
    for (uint64_t i = 0; i < count; i++) {
        gguf_append_text(&writer->entries, texts[i]);
    }
}

/* float32 of `rows` rows of `columns` values, or a vector where `rows` is 0; `values` NULL: all 1.
 */
static inline void gguf_put_tensor(struct gguf_writer *writer, const char *name, uint64_t columns,
                                   uint64_t rows, const float *values)
{
    static const char padding[32];
    const uint32_t rank = rows == 0 ? 1 : 2, type = 0;
    const uint64_t sides[] = {columns, rows}, offset = writer->data.length;
    gguf_append_text(&writer->tensors, name);
    gguf_append(&writer->tensors, &rank, sizeof rank);
    gguf_append(&writer->tensors, sides, rank * sizeof *sides);
    gguf_append(&writer->tensors, &type, sizeof type);
    gguf_append(&writer->tensors, &offset, sizeof offset);
    for (uint64_t i = 0; i < columns * (rows == 0 ? 1 : rows); i++) {
        const float value = values != NULL ? values[i] : 1.0f;
        gguf_append(&writer->data, &value, sizeof value);
    }
    gguf_append(&writer->data, padding, -writer->data.length % sizeof padding);
    writer->tensor_count++;
}

/* The file so far, of version 3; good until the next call. */
static inline const struct buffer *gguf_whole(struct gguf_writer *writer)
{
    static const char padding[32];
    static const uint32_t version = 3;
    struct buffer *whole = &writer->whole;
    buffer_clear(whole);
    gguf_append(whole, "GGUF", 4);
    gguf_append(whole, &version, sizeof version);
    gguf_append(whole, &writer->tensor_count, sizeof writer->tensor_count);
    gguf_append(whole, &writer->entry_count, sizeof writer->entry_count);
    gguf_append(whole, writer->entries.data, writer->entries.length);
    gguf_append(whole, writer->tensors.data, writer->tensors.length);
    gguf_append(whole, padding, -whole->length % sizeof padding);
    gguf_append(whole, writer->data.data, writer->data.length);
    return whole;
}

static inline void gguf_writer_end(struct gguf_writer *writer)
{
    buffer_destroy(&writer->entries);
    buffer_destroy(&writer->tensors);
    buffer_destroy(&writer->data);
    buffer_destroy(&writer->whole);
    memset(writer, 0, sizeof *writer);
}

#endif
