/* SPDX-License-Identifier: Apache-2.0 */
/* The GGUF format: metadata and tensor places (gguf.c), facts (gguf_config.c), tokenizer
 * (gguf_tokenizer.c). */
#ifndef SLUICE_GGUF_H
#define SLUICE_GGUF_H

#include "model/read/model_tensors.h"
#include "sluice/model.h"

enum gguf_type {
    GGUF_UINT8,
    GGUF_INT8,
    GGUF_UINT16,
    GGUF_INT16,
    GGUF_UINT32,
    GGUF_INT32,
    GGUF_FLOAT32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_UINT64,
    GGUF_INT64,
    GGUF_FLOAT64,
    GGUF_TYPE_COUNT,
};

struct gguf_value {
    enum gguf_type type;
    union {
        int64_t integer; /* all integers and booleans; uint64 beyond int64 is refused */
        double real;
        const char *text; /* GGUF_STRING, NUL-terminated */
    };
    /* GGUF_ARRAY: */
    enum gguf_type item_type;
    size_t count;
    const void *items;        /* numbers as the file has them, packed, little-endian */
    const char *const *texts; /* strings */
};

struct gguf_entry {
    const char *key;
    struct gguf_value value;
};

struct gguf {
    struct arena arena;
    struct gguf_entry *entries;
    size_t count;
    struct tensor *tensors; /* file 0, absolute offsets; names in the arena */
    size_t tensor_count;
    char metadata_sha256[65]; /* of the bytes up to the tensor infos */
};

/* Reads the header from the first `length` bytes of a file of `file_size`. Where it goes on past
 * `length`, *needs_more is set, nothing else is, and the result is STATUS_OK. End with gguf_destroy
 * in every case. */
status gguf_parse(const uint8_t *bytes, size_t length, uint64_t file_size, struct gguf *out,
                  bool *needs_more) MUST_CHECK;
/* Opens a file, reads its header, adds its tensors to `table`. Call tensor_table_finish after it.
 */
status gguf_open(struct tensor_table *table, const char *path, struct gguf *out) MUST_CHECK;
void gguf_destroy(struct gguf *gguf);

/* Values by key; false or NULL where the key is absent or of another type. An array of equal
 * integers counts as one. */
const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key);
bool gguf_integer(const struct gguf *gguf, const char *key, int64_t *out);
bool gguf_real(const struct gguf *gguf, const char *key, double *out);
const char *gguf_text(const struct gguf *gguf, const char *key);

/* Facts of the model; arrays live in `arena`. The table is finished. */
status gguf_read_config(const struct gguf *gguf, const struct tensor_table *table,
                        struct arena *arena, struct model_config *out) MUST_CHECK;

/* The file's tokenizer; *out is NULL where it has none. */
status gguf_create_tokenizer(const struct gguf *gguf, struct tokenizer **out) MUST_CHECK;

/* The format's types of tensors by their place in the table: the name, or NULL behind the last. */
const char *gguf_type_at(size_t index, enum weight_format *format);

#endif
