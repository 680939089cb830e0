/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling from rows of logits on the CPU: the arithmetic that a GPU backend is to follow.
 *
 * Of one row, in this order (vLLM's):
 *   1. Log-probabilities, where asked for: log-softmax of the raw logits; the top k by logit
 *      descending, id ascending. -inf logits have no place among the top; top_ids and top_logprobs
 *      beyond top_count are -1 and NaN.
 *      A scored row ends here: its token is the given one.
 *   2. The mask: what it leaves out becomes -inf. Biases are added, each to its token's logit.
 *      Penalties on what they leave: repetition over prompt and output (negative logits are
 * multiplied, others divided), then frequency · count and presence over the output are subtracted.
 *   3. Temperature below 1e-5: the highest logit, of equal ones the lowest id. Else weights
 *      w = exp((logit - highest) / temperature), in (0, 1].
 *   4. min_p: w < min_p goes (the highest weight is 1). top_k: the k first in the order (logit
 *      descending, id ascending) stay, exactly k also where logits are equal. top_p: of these the
 *      shortest head in the same order stays whose weight reaches top_p of the whole.
 *   5. The token: the first id, ascending over what stayed, at which the running sum of weights
 *      exceeds (philox_token_bits · total) >> 64.
 *
 * Sums of weights are sums of integers: w becomes floor(w · 2^40). Integers add to the same sum in
 * any order, so neither threads nor a GPU's reductions can change a bit, and weights below 2^-40
 * (a millionth of a millionth of the highest) are never drawn. Nothing is sorted: top_k and top_p
 * find their last token through histograms of the logits' leading bits. */
#ifndef SLUICE_CPU_SAMPLE_H
#define SLUICE_CPU_SAMPLE_H

#include "sluice/backend.h"

/* Samples `count` rows of logits [count, vocabulary], 1 to SAMPLE_MAX_VOCABULARY; changes the
 * logits of rows with a mask, biases or penalties. Ids of history and biases must be in [0,
 * vocabulary). A row with a NaN or +inf, or with nothing but -inf, at first or after step 2, comes
 * back with not_finite set. Rows are shared among the OpenMP
 * threads; may be called from many threads at once. Scratch memory of at most 24 bytes a vocabulary
 * entry and thread lives for the call, and only where a row samples or has penalties or biases.
 * STATUS_INVALID for a vocabulary out of range, STATUS_NO_MEMORY. */
status cpu_sample(float *logits, int count, int vocabulary, const struct sample_request *requests,
                  struct sample_result *results) MUST_CHECK;

#endif
