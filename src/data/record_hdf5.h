/* SPDX-License-Identifier: Apache-2.0 */
/* Records from an HDF5 data set; the part of the record reader that knows HDF5. */
#ifndef SLUICE_DATA_RECORD_HDF5_H
#define SLUICE_DATA_RECORD_HDF5_H

#include "sluice/data.h"

enum { RECORD_MAX_BYTES = 64 * 1024 * 1024 }; /* of one record, of any kind */

struct record_hdf5;

bool record_hdf5_detect(const char *path);
/* `prompt_field` NULL: /prompt where it exists, else /input_ids with /input_offsets. The path is
 * borrowed. */
status record_hdf5_open(const char *path, const char *prompt_field,
                        struct record_hdf5 **out) MUST_CHECK;
int64_t record_hdf5_rows(const struct record_hdf5 *reader);
/* Fills kind and bytes of `record` from row `row`; rows are asked for in order. */
status record_hdf5_read(struct record_hdf5 *reader, int64_t row, struct record *record) MUST_CHECK;
void record_hdf5_close(struct record_hdf5 *reader);

#endif
