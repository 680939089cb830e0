/* SPDX-License-Identifier: Apache-2.0 */
/* What else people put where a data set should be: told by its first bytes, with what mends it. */
#ifndef SLUICE_DATA_FOREIGN_FORMAT_H
#define SLUICE_DATA_FOREIGN_FORMAT_H

#include "sluice/base.h"

enum { FOREIGN_FORMAT_BYTES = 512 }; /* as many first bytes tell every format */

/* STATUS_UNSUPPORTED, "is a Parquet file; …", where the first bytes of a file are of a format that
 * is known and not read. To be asked of the bytes as stored, and again of what they decompress to.
 */
status foreign_format_refuse(const void *bytes, size_t length) MUST_CHECK;

#endif
