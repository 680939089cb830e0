/* SPDX-License-Identifier: Apache-2.0 */
/* What every backend asks of a batch before it works on it. */
#ifndef SLUICE_BACKEND_BATCH_H
#define SLUICE_BACKEND_BATCH_H

#include "sluice/backend.h"

/* STATUS_INTERNAL where the batch is larger than the backend was made for, or its sequences' tokens
 * do not follow one another, or its output rows do not ascend within it. */
status batch_check(const struct batch *batch, int max_tokens, int max_sequences) MUST_CHECK;

/* STATUS_INTERNAL where a token is to be one that the step before drew, which has drawn `drawn`. */
status batch_check_drawn(const struct batch *batch, int drawn) MUST_CHECK;

/* STATUS_INTERNAL where a position of a sequence has no block, or the block is not one of `blocks`
 * of `block_tokens` positions. */
status batch_check_blocks(const struct batch *batch, int block_tokens, int blocks) MUST_CHECK;

#endif
