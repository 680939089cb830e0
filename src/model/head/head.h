/* SPDX-License-Identifier: Apache-2.0 */
/* The weights of what follows the pooling: from the model's files, or from its modules' folders. */
#ifndef SLUICE_MODEL_HEAD_HEAD_H
#define SLUICE_MODEL_HEAD_HEAD_H

#include "model/head/dense.h"
#include "model/model_internal.h"

/* Two tokens, of which the second one's share says how well a document answers a query, and the
 * prompt that asks for them: {query} and {document} stand for texts. */
struct head_words {
    const char *family;
    const char *no, *yes;
    const char *prompt;
};
/* Of a model with logits that can be asked so; NULL. */
const struct head_words *head_words_of(const struct model *model);

/* What the model can be asked for, of enum model_ability. */
unsigned head_abilities(const struct model *model);

/* The layers that model->answer asks for, with their weights; head_destroy ends them. Every message
 * names file and tensor. */
status head_load(struct model *model, struct dense_layer **out, int *count) MUST_CHECK;
void head_destroy(struct dense_layer *layers, int count);
/* Whether all of them are there, with shapes that fit: no data are read. */
status head_check(struct model *model) MUST_CHECK;

#endif
