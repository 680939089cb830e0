/* SPDX-License-Identifier: Apache-2.0 */
/* Records from an HDF5 data set; the part of the record reader that knows HDF5. docs/data-sets.md
 * has the layout. */
#ifndef SLUICE_DATA_RECORD_HDF5_H
#define SLUICE_DATA_RECORD_HDF5_H

#include "data/input/record_json.h"
#include "sluice/data.h"

struct record_hdf5;

bool record_hdf5_detect(const char *path);
/* Of `options` what it says of fields. The path is borrowed. */
status record_hdf5_open(const char *path, const struct record_reader_options *options,
                        struct record_hdf5 **out) MUST_CHECK;
int64_t record_hdf5_rows(const struct record_hdf5 *reader);
/* Fills kind and bytes of `record` from row `row`; rows are asked for in order. */
status record_hdf5_read(struct record_hdf5 *reader, int64_t row, struct record *record) MUST_CHECK;
void record_hdf5_close(struct record_hdf5 *reader);

#endif
