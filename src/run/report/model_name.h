/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request's `model` means the model of the job. */
#ifndef SLUICE_RUN_MODEL_NAME_H
#define SLUICE_RUN_MODEL_NAME_H

#include <stdbool.h>

/* `path`: model.path of the job. Generous: its path, its folder's or file's name, the name with an
 * organisation before it, and the beginning of the name up to a separator all mean it, in whatever
 * case: "Qwen/Qwen2.5-7B-Instruct" and "qwen2.5-7b" are models/Qwen2.5-7B-Instruct-Q4_K_M.gguf. */
bool model_goes_by(const char *path, const char *name);

#endif
