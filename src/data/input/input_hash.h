/* SPDX-License-Identifier: Apache-2.0 */
/* A data set's hashes, taken on a thread while other things go on. */
#ifndef SLUICE_DATA_INPUT_HASH_H
#define SLUICE_DATA_INPUT_HASH_H

#include "sluice/inputs.h"

struct input_hash;

/* Begins. Until the hashes are there each file has its present size, a hash of zeros, and no number
 * of lines. */
status input_hash_start(struct input_files *files, struct input_hash **out) MUST_CHECK;
/* Whether input_hash_take will not wait. */
bool input_hash_is_ready(const struct input_hash *hash);
/* Waits for the thread and puts into `files`, of input_hash_start, what input_files_hash would.
 * STATUS_INVALID for a file that has another size now. */
status input_hash_take(struct input_hash *hash, struct input_files *files) MUST_CHECK;
/* Ends the thread, wherever it is. NULL is ignored. */
void input_hash_end(struct input_hash *hash);

#endif
