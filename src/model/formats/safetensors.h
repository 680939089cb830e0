/* SPDX-License-Identifier: Apache-2.0 */
/* The safetensors format: headers into the table of tensors. */
#ifndef SLUICE_SAFETENSORS_H
#define SLUICE_SAFETENSORS_H

#include "model/read/model_tensors.h"

/* Adds the tensors of model.safetensors, or of the files that model.safetensors.index.json names,
 * in `directory`. *found is false where it has neither. Call tensor_table_finish after it. */
status safetensors_open_directory(struct tensor_table *table, const char *directory,
                                  bool *found) MUST_CHECK;

/* Adds the tensors that a header names: `header` is the JSON text, `data_start` where the data
 * begin in file `file` of the table. Every place is checked against the file's size. */
status safetensors_parse_header(struct tensor_table *table, int file, const char *header,
                                size_t length, uint64_t data_start) MUST_CHECK;

#endif
