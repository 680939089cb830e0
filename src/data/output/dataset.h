/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets that grow: the columns of an output file while it is written. */
#ifndef SLUICE_DATA_OUTPUT_DATASET_H
#define SLUICE_DATA_OUTPUT_DATASET_H

#include "data/hdf5/string_heap.h"

enum { OUTPUT_BATCH_ROWS = 4096 }; /* texts of a batch at most; also the chunk of a column */

/* A numeric dataset that grows: [rows] or [rows, width]. */
struct number_column {
    hid_t dataset; /* 0: not in this file */
    hid_t memory;  /* not owned */
    size_t item_bytes;
    int width;           /* 0: one dimension */
    struct buffer batch; /* items not yet written */
    int64_t written;
};

/* A chunked, compressed dataset of no rows yet. */
status output_dataset_create(hid_t file, const char *path, hid_t type, hsize_t chunk, int width,
                             hid_t *dataset) MUST_CHECK;
/* Appends `count` rows of `memory` items to a dataset of `written` rows. */
status output_dataset_append(hid_t dataset, hid_t memory, int64_t written, int64_t count, int width,
                             const void *items) MUST_CHECK;

/* Makes a dataset of variable strings as long as `first` + `count` and writes the chunk that begins
 * with row `first`: its references, `count` of them. */
status output_references_write(hid_t dataset, int64_t first, size_t count,
                               const char *references) MUST_CHECK;

status output_number_create(hid_t file, const char *path, hid_t stored, hid_t memory, hsize_t chunk,
                            int width, struct number_column *column) MUST_CHECK;
/* Writes the batch; nothing to do for a column that this file does not have. */
status output_number_flush(struct number_column *column) MUST_CHECK;

#endif
