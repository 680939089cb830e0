/* SPDX-License-Identifier: Apache-2.0 */
/* One float32 matrix in an HDF5 file, written a few rows at a time. */
#ifndef SLUICE_MATRIX_FILE_H
#define SLUICE_MATRIX_FILE_H

#include "sluice/base.h"

struct matrix_file;

/* Creates "path.partial" with the dataset `name` [rows, columns]. An existing `path` is replaced at
 * the end. */
status matrix_file_create(const char *path, const char *name, int64_t rows, int64_t columns,
                          struct matrix_file **out) MUST_CHECK;
/* Rows [first, first + count) of values [count, columns]. */
status matrix_file_write(struct matrix_file *file, int64_t first, int64_t count,
                         const float *values) MUST_CHECK;
/* Closes and renames to the final name. The file is gone afterwards, also on failure. */
status matrix_file_finish(struct matrix_file *file) MUST_CHECK;
/* Closes and removes what was written. */
void matrix_file_abandon(struct matrix_file *file);

#endif
