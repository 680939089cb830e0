/* SPDX-License-Identifier: Apache-2.0 */
/* Whether all weights are there, before any of them is read: what `check` says of a model, and what
 * a job finds out before it has taken memory for it. */
#include <stdlib.h>

#include "model/head/head.h"
#include "model/load/names.h"
#include "model/load/weight_walk.h"
#include "model/model_internal.h"
#include "model/read/model_files.h"

static status check_part(const struct model *model, const struct weight_item *item,
                         const struct weight_part *part)
{
    struct tensor_source source;
    for (int index = 0; index < item->count; index++) {
        TRY(weight_source_find(model, part, item->is_vector, item->layer, index, item->count,
                               &source));
    }
    if (part->token_types == 0) {
        return STATUS_OK;
    }
    const struct weight_part types = {
        .role = ROLE_TOKEN_TYPES, .rows = part->token_types, .columns = part->columns};
    return weight_source_find(model, &types, false, 0, 0, 1, &source);
}

static status check_item(void *context, const struct weight_item *item)
{
    TRY(interrupt_check());
    for (int i = 0; i < item->part_count; i++) {
        TRY(check_part(context, item, &item->parts[i]));
    }
    return STATUS_OK;
}

status model_check_weights(struct model *model)
{
    if (!model->has_config) {
        return model_name_other_folder(model->path);
    }
    if (model->tensors.count == 0) {
        return model_name_other_weights(model->path);
    }
    struct partition whole;
    TRY(partition_create(&model->config, 1, 0, 1, 0, 1, &whole));
    struct model_weights *weights;
    status s = model_weights_create(&whole, &weights);
    if (s == STATUS_OK) {
        s = weights_visit(&model->config, &whole, weights, check_item, model);
        free(weights->layers);
        free(weights);
    }
    partition_destroy(&whole);
    const struct weight_part bias = {.role = ROLE_RELATIVE_BIAS,
                                     .rows = model->config.relative_buckets,
                                     .columns = model->config.heads};
    if (s == STATUS_OK && bias.rows > 0) {
        struct tensor_source source;
        s = weight_source_find(model, &bias, false, 0, 0, 1, &source);
    }
    return s == STATUS_OK && model->config.pools ? head_check(model) : s;
}
