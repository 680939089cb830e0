/* SPDX-License-Identifier: Apache-2.0 */
/* From job, model and plan to the engine's options. */
#include "run/steps/engine_setup.h"

/* Tokens of half a step from which products gain by running beside the other half's attention. */
enum { HALF_TOKENS = 512 };

struct engine_options engine_setup(const struct job *job, const struct model *model,
                                   const struct plan *plan)
{
    const struct model_config *config = model_config(model);
    return (struct engine_options){
        .admission = job->engine.admission,
        .max_sequences = plan->max_sequences,
        .max_batch_tokens = plan->max_batch_tokens,
        .kv_blocks = plan->kv_blocks,
        .kv_block_tokens = plan->kv_block_tokens,
        .max_model_len = plan->max_model_len,
        .steps_in_flight = plan->pp,
        .plans_ahead = plan->plans_ahead && !config->pools,
        .has_states = plan->state_places > 0,
        .kept_states = plan->kept_states,
        .prefix_cache = job->engine.prefix_cache && !(config->pools && config->whole_rows),
        .long_rope_threshold =
            config->rope.kind == ROPE_LONGROPE ? config->rope.original_max_positions : 0,
        .tokenizer = model_tokenizer(model),
        .ends = config->ends,
        .end_count = config->end_count,
        .half_tokens = HALF_TOKENS,
        .embedding_width = config->pools ? config->answer_width : 0,
        .pools_last = config->pools && !config->whole_rows,
    };
}
