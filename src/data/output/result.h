/* SPDX-License-Identifier: Apache-2.0 */
/* What can be told of an encoded result without decoding it. */
#ifndef SLUICE_DATA_RESULT_H
#define SLUICE_DATA_RESULT_H

#include "sluice/data.h"

/* The size of the encoded result at the front of `length` bytes, 0 where it is malformed or not all
 * there. Looks at its head only. */
size_t result_encoded_size(const void *bytes, size_t length);

/* Whether a result is an error, and how many tokens it has: of its head alone. */
bool result_encoded_failed(const void *bytes, int64_t *tokens);
/* Adds the columns that this whole encoded result needs. Looks at its head only; STATUS_EXISTS
 * where it is of a form that this program does not read. */
status result_encoded_columns(const void *bytes, struct output_columns *columns) MUST_CHECK;

#endif
