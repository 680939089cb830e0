/* SPDX-License-Identifier: Apache-2.0 */
/* Which kinds lack what: a row for each need, with the names of those kinds. Kernels that have not
 * run on a device count as lacking, but in a build that is there to try them (SLUICE_UNTRIED). */
#include "sluice/backend_needs.h"

#include <string.h>

#ifdef SLUICE_UNTRIED
#define UNTRIED(kind) NULL
#else
#define UNTRIED(kind) kind
#endif

static const char *const lacking[BACKEND_NEEDS] = {
    [NEED_WIDE_NORMS] = UNTRIED("cuda"),         [NEED_SCALED_QUERIES] = UNTRIED("cuda"),
    [NEED_GATED_ATTENTION] = UNTRIED("cuda"),    [NEED_SINKS] = UNTRIED("cuda"),
    [NEED_SHORT_CONVOLUTIONS] = UNTRIED("cuda"), [NEED_GATED_DELTA] = UNTRIED("cuda"),
    [NEED_STATE_SPACES] = UNTRIED("cuda"),       [NEED_LATENT_ATTENTION] = "cuda",
    [NEED_EXPERT_RULES] = UNTRIED("cuda"),       [NEED_BIAS_BY_DISTANCE] = "cuda",
    [NEED_TWO_SIDED_WINDOWS] = "cuda",           [NEED_TYPES_ALONE] = UNTRIED("cuda"),
};

bool backend_kind_lacks(const struct backend_kind *kind, enum backend_need need)
{
    return lacking[need] != NULL && strcmp(lacking[need], kind->name) == 0;
}
