/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a data set: decompressed where they are compressed, hashed as they are stored. */
#ifndef SLUICE_DATA_BYTE_SOURCE_H
#define SLUICE_DATA_BYTE_SOURCE_H

#include <stdatomic.h>

#include "sluice/base.h"

struct byte_source;

/* Opens a regular file; gzip and zstd are told by their first bytes, any number of members or
 * frames, zstd's windows up to 2 GiB. Other known formats (Parquet, xz, UTF-16…) are
 * STATUS_UNSUPPORTED by name. The path is borrowed. */
status byte_source_open(const char *path, struct byte_source **out) MUST_CHECK;
/* Fills `bytes` with up to `capacity` bytes; *length is 0 only at the end. A message names the byte
 * of the stored file; the caller adds the path. */
status byte_source_read(struct byte_source *source, void *bytes, size_t capacity,
                        size_t *length) MUST_CHECK;
/* Reads the rest of the file for the hash; reading is over after that. May be called again. */
status byte_source_digest(struct byte_source *source, int64_t *file_bytes,
                          char sha256_hex[65]) MUST_CHECK;
void byte_source_close(struct byte_source *source);

/* Hashes a whole file on its own. *lines are those that are not blank; -1 of a compressed file.
 * STATUS_STOPPED once `is_cancelled`, which may be NULL, is set: by another thread. */
status byte_source_hash_file(const char *path, const atomic_bool *is_cancelled, int64_t *file_bytes,
                             char sha256_hex[65], int64_t *lines) MUST_CHECK;

#endif
