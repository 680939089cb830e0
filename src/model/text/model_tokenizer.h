/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's tokenizer, from tokenizer.json or from what stands there in its place. */
#ifndef SLUICE_MODEL_MODEL_TOKENIZER_H
#define SLUICE_MODEL_MODEL_TOKENIZER_H

#include "model/model_internal.h"

/* The text of a file of the directory; *found is false where there is none. */
status model_read_optional(const struct model *model, const char *name, size_t limit,
                           struct buffer *out, bool *found) MUST_CHECK;

/* A file that a directory's tokenizer may be in, in the order in which they are looked for; NULL
 * behind the last. */
struct tokenizer_file {
    const char *name; /* or its end, behind a "*" */
    const char *what;
};
const struct tokenizer_file *model_tokenizer_file_at(size_t index);

/* `config` is tokenizer_config.json's text, empty where there is none. A tokenizer.json that cannot
 * be read is a failure; another file, or none, is noted: rows of token ids run without it. */
status model_tokenizer_open(struct model *model, const struct buffer *config) MUST_CHECK;

/* Tokens that no file names by what they are for are those that the tokenizer's own file does. */
void model_tokenizer_fill_names(struct model *model);

/* The digest of the files that the tokenizer is made of goes into `hash`. */
status model_tokenizer_digest(const struct model *model, struct sha256 *hash) MUST_CHECK;

#endif
