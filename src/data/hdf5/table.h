/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of an HDF5 data set as JSON: one value a row, of any scalar type, read in windows. */
#ifndef SLUICE_DATA_HDF5_TABLE_H
#define SLUICE_DATA_HDF5_TABLE_H

#include "data/hdf5/support.h"
#include "data/input/record_json.h"

enum { HDF5_TABLE_COLUMNS = 1024 }; /* at most */

struct hdf5_table_column;

/* Opens the dataset at `path`, whose values are called `key` in a row's JSON; `reading` is what
 * texts stand for. STATUS_INVALID where it is not one number, boolean or string a row. End with
 * hdf5_table_column_close. */
status hdf5_table_column_open(hid_t file, const char *path, const char *key,
                              enum column_reading reading,
                              struct hdf5_table_column **out) MUST_CHECK;
void hdf5_table_column_close(struct hdf5_table_column *column);

const char *hdf5_table_column_key(const struct hdf5_table_column *column);
const char *hdf5_table_column_path(const struct hdf5_table_column *column);
bool hdf5_table_column_is_text(const struct hdf5_table_column *column);
int64_t hdf5_table_column_length(const struct hdf5_table_column *column);

/* The text of a row; NULL in *text where it has more than 64 MiB. Valid until the next call. */
status hdf5_table_column_text(struct hdf5_table_column *column, int64_t row, const char **text,
                              size_t *length) MUST_CHECK;

/* Appends a row's value as JSON, a text that is not UTF-8 or has more than 64 MiB as STATUS_LIMIT
 * or STATUS_INVALID, which speak of the row. Rows are asked for in order. */
status hdf5_table_column_write(struct hdf5_table_column *column, int64_t row,
                               struct buffer *json) MUST_CHECK;

#endif
