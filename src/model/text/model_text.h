/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizer, chat template and token strings of a model: model_text.c. */
#ifndef SLUICE_MODEL_TEXT_H
#define SLUICE_MODEL_TEXT_H

#include "model/model_internal.h"

/* From the files of the model's directory; what is not there stays NULL. */
status model_text_open_directory(struct model *model) MUST_CHECK;
/* From a GGUF file's metadata. */
status model_text_open_gguf(struct model *model) MUST_CHECK;

#endif
