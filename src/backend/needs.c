/* SPDX-License-Identifier: Apache-2.0 */
/* Which kinds lack what: a row for each need, with the names of those kinds. */
#include "sluice/backend_needs.h"

#include <string.h>

static const char *const lacking[BACKEND_NEEDS] = {
    [NEED_WIDE_NORMS] = "cuda",         [NEED_SCALED_QUERIES] = "cuda",
    [NEED_GATED_ATTENTION] = "cuda",    [NEED_SINKS] = "cuda",
    [NEED_SHORT_CONVOLUTIONS] = "cuda", [NEED_GATED_DELTA] = "cuda",
    [NEED_EXPERT_RULES] = "cuda",       [NEED_BIAS_BY_DISTANCE] = "cuda",
    [NEED_STATE_SPACES] = "cuda",       [NEED_LATENT_ATTENTION] = "cuda",
    [NEED_TWO_SIDED_WINDOWS] = "cuda",  [NEED_TYPES_ALONE] = "cuda",
};

bool backend_kind_lacks(const struct backend_kind *kind, enum backend_need need)
{
    return lacking[need] != NULL && strcmp(lacking[need], kind->name) == 0;
}
