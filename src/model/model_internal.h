/* SPDX-License-Identifier: Apache-2.0 */
/* What model.c opens and load.c reads. */
#ifndef SLUICE_MODEL_INTERNAL_H
#define SLUICE_MODEL_INTERNAL_H

#include "model/family.h"
#include "model/formats/gguf.h"
#include "model/read/model_tensors.h"
#include "model/text/chat_templates.h"

enum { MODEL_SAMPLING_DEFAULTS = 6, MODEL_MAX_MODULES = 4 };

/* A Dense module of sentence-transformers. */
struct dense_module {
    const char *folder;
    int inputs, outputs, activation; /* of struct head_layer */
    bool has_bias;
};

/* What a pooled row's vector becomes. */
enum model_answer { ANSWER_EMBEDDING, ANSWER_LABELS, ANSWER_RANK, ANSWER_WORDS, ANSWER_VALUE };

struct model {
    char *path;
    struct arena arena; /* arrays of the configuration, token strings */
    bool has_config;
    struct model_config config;
    struct embedding_facts embedding;
    struct dense_module modules[MODEL_MAX_MODULES]; /* that the embedding goes through */
    int module_count;
    int most_embedded;           /* tokens that are taken of a text */
    enum model_answer answer;    /* model_prepare's */
    const struct family *family; /* NULL without a configuration */
    bool is_gguf;
    struct gguf gguf;
    struct tensor_table tensors;
    const char *tensor_prefix; /* what "model." of a tensor's name pattern stands for */
    char config_sha256[65];

    struct tokenizer *tokenizer;
    char *tokenizer_problem;   /* why there is none, or NULL */
    bool tokenizer_file_there; /* ... though a file for one is */
    struct template_set templates;
    const struct json *sampling[MODEL_SAMPLING_DEFAULTS]; /* sampling_defaults.c; NULL: not said */
    const char *bos_text, *eos_text, *pad_text, *unk_text;
};

/* Parses a file into `arena`; *out is NULL where it is not there. `sha256` may be NULL. */
status model_read_json(const char *path, struct arena *arena, char sha256[65],
                       struct json **out) MUST_CHECK;

#endif
