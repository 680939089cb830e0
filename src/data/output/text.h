/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of texts in an output file, in either of their forms, written and read.
 *
 * *Variable*: one dataset of HDF5's own strings, which HDF5 keeps in heaps outside of the filters:
 * readable as they are, not compressed. *Packed*: in the dataset's place a group of two,
 * `bytes` (all texts end to end, compressed) and `offsets` (where each begins, and the end). */
#ifndef SLUICE_DATA_OUTPUT_TEXT_H
#define SLUICE_DATA_OUTPUT_TEXT_H

#include "data/output/dataset.h"

/* ---- Writing ---- */

/* Byte strings end to end and their offsets. Zero-initialise. */
struct packed_column {
    struct number_column offsets, bytes;
    int64_t total; /* bytes so far */
};
/* Makes PATH/bytes and PATH/offsets, and the group above them where it is not there. */
status packed_column_create(hid_t file, const char *path, struct packed_column *column) MUST_CHECK;
/* Puts a byte string into the batch, as it is. */
status packed_column_append(struct packed_column *column, const char *bytes,
                            size_t length) MUST_CHECK;
status packed_column_flush(struct packed_column *column) MUST_CHECK;
void packed_column_destroy(struct packed_column *column);

/* Texts, one a result. Zero-initialise. */
struct text_column {
    enum { TEXTS_ABSENT, TEXTS_VARIABLE, TEXTS_PACKED } form;
    struct packed_column packed;
    hid_t file, dataset; /* variable, like all below */
    int fd;
    struct string_heap heap;
    struct buffer references; /* of the rows from `written` on */
    size_t placed;            /* of these: whose strings are in the file */
    int64_t written;          /* rows of whole chunks */
};
/* `fd` is another descriptor of the same file, borrowed. */
status output_text_create(hid_t file, int fd, const char *path, hid_t string_type, bool packed,
                          struct text_column *column) MUST_CHECK;
/* Puts a text into the batch; NULL counts as empty. What is not UTF-8 becomes U+FFFD, and so does a
 * NUL, at which HDF5's own strings end; a packed text may have one. */
status output_text_append(struct text_column *column, const char *text, size_t length) MUST_CHECK;
/* The same of a variable text as it comes to stand in a heap. */
status output_text_put(struct string_heap *heap, const char *text, size_t length,
                       struct buffer *references) MUST_CHECK;
/* Puts a text into the batch that stands in the file already: its reference, of a variable one. */
status output_text_append_reference(struct text_column *column, const char *reference) MUST_CHECK;
/* Writes the batch; nothing to do for a column that this file does not have. */
status output_text_flush(struct text_column *column) MUST_CHECK;
/* Bytes of the batch. */
size_t output_text_pending(const struct text_column *column);
void output_text_destroy(struct text_column *column);

/* ---- Reading: everything is checked, the file may come from anywhere ---- */

struct packed_source {
    struct hdf5_column offsets, bytes;
};
/* `count` is how many byte strings there must be. Close it in any case. */
status packed_source_open(hid_t file, const char *path, int64_t count,
                          struct packed_source *source) MUST_CHECK;
/* Reads [first, first + count) into the arena, a NUL behind each; STATUS_LIMIT when it would hold
 * more than `budget` bytes. */
status packed_source_read(const struct packed_source *source, int64_t first, int64_t count,
                          size_t budget, struct arena *arena, const char **texts,
                          size_t *lengths) MUST_CHECK;
void packed_source_close(struct packed_source *source);

/* Zero-initialise; what was not opened has no texts. */
struct text_source {
    bool there;
    struct hdf5_column strings; /* variable, or of fixed size as others may have written them */
    bool is_packed;
    struct packed_source packed;
};
/* As above; `rows` is how many texts there must be. */
status output_text_open(hid_t file, const char *path, int64_t rows,
                        struct text_source *source) MUST_CHECK;
status output_text_read(const struct text_source *source, int64_t first, int64_t count,
                        size_t budget, struct arena *arena, const char **texts,
                        size_t *lengths) MUST_CHECK;
void output_text_close(struct text_source *source);

#endif
