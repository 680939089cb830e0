/* SPDX-License-Identifier: Apache-2.0 */
/* The table of input files in an output file: /inputs, one row a file. */
#ifndef SLUICE_DATA_OUTPUT_INPUTS_H
#define SLUICE_DATA_OUTPUT_INPUTS_H

#include "data/hdf5/support.h"
#include "sluice/inputs.h"

/* `rows` of each file: [files->count]. */
status output_inputs_write(hid_t file, hid_t string_type, const struct input_files *files,
                           const int64_t *rows) MUST_CHECK;

/* The paths, in the arena; *count is 0 where the output has no such table. */
status output_inputs_read(hid_t file, struct arena *arena, const char *const **paths,
                          size_t *count) MUST_CHECK;

#endif
