/* SPDX-License-Identifier: Apache-2.0 */
/* From config.json to facts. */
#ifndef SLUICE_CONFIG_H
#define SLUICE_CONFIG_H

#include "model/family.h"
#include "sluice/json.h"

/* Bounds of what a configuration may say: far beyond any model, small enough that no product of
 * two of them and a head size overflows. */
enum {
    CONFIG_MAX_LAYERS = 4096,
    CONFIG_MAX_HEADS = 4096,
    CONFIG_MAX_HEAD_DIM = 4096,
    CONFIG_MAX_WIDTH = 1 << 20, /* hidden, intermediate, heads · head_dim */
    CONFIG_MAX_VOCABULARY = 1 << 24,
    CONFIG_MAX_POSITIONS = 1 << 30,
    CONFIG_MAX_EXPERTS = 4096,
    CONFIG_MAX_GROUPS = 256, /* of experts */
};

/* Facts of a parsed config.json; `generation` is generation_config.json or NULL. Both dialects:
 * transformers 5 (rope_parameters, dtype, layer_types) and 4. Arrays live in `arena`. Messages name
 * the key: "num_attention_heads: expected a positive integer, not \"x\"". */
status config_from_json(const struct json *root, const struct json *generation, struct arena *arena,
                        struct model_config *out) MUST_CHECK;

/* The object that the text model's facts are in: `root` itself or its text_config. */
const struct json *config_text_object(const struct json *root, const struct family *family);

/* Sets what follows from the family alone: norms, biases other than by key, multipliers of 1. */
void config_set_family(const struct family *family, struct model_config *out);

/* Checks that belong together (heads and key/value heads, sizes that must not overflow) and fills
 * in the head size where it is derived. */
status config_finish(struct model_config *config) MUST_CHECK;

/* Puts an end token into the list unless it is there, outside of the vocabulary, or negative;
 * STATUS_LIMIT where the list is full. */
status config_add_end(struct model_config *config, int64_t id) MUST_CHECK;

/* ---- Typed reads of members ---- */

/* Absent and null give `fallback`. A fallback of 0 for a positive integer, or NAN for a number,
 * means that the key is required: "key: missing". */

status config_read_integer(const struct json *object, const char *key, int minimum, int maximum,
                           int fallback, int *out) MUST_CHECK;
/* In (0, maximum]; where `fallback` is 0, a written 0 is the same as absent: off. */
status config_read_positive(const struct json *object, const char *key, double maximum,
                            double fallback, double *out) MUST_CHECK;
status config_read_bool(const struct json *object, const char *key, bool fallback,
                        bool *out) MUST_CHECK;
/* Whether the member is there and not null. */
bool config_has(const struct json *object, const char *key);
/* "key: expected WHAT, not VALUE". */
status config_expected(const char *key, const char *what, const struct json *value);

/* ---- config_quantization.c ---- */

/* A way to quantise that can be read: a method and, where it has several formats, the key that
 * names the format and its value. */
struct quantization {
    const char *method, *key, *format;
    enum weight_format weights;
    const char *writers; /* what writes it */
    enum weight_packing_method packing;
    bool is_default; /* also where the key is absent */
};
/* NULL behind the last. */
const struct quantization *config_quantization_at(size_t index);

/* ---- src/model/head/config_head.c ---- */

/* What an architecture's name says of what follows the layers. */
enum model_head config_head_of(const char *architecture, bool is_encoder);
/* The family of "XForSequenceClassification" or "XModel" by its "XForCausalLM" or "XModel"; NULL.
 */
const struct family *config_family_by_stem(const char *architecture);
/* Reads head, labels and how scores are made of them; sizes are set already. */
status config_read_head(const struct json *root, const struct family *family, struct arena *arena,
                        struct model_config *out) MUST_CHECK;

/* ---- config_layers.c ---- */

/* Reads which layer is of which kind, and the window. */
status config_read_layers(const struct json *object, const struct family *family,
                          struct arena *arena, struct model_config *out) MUST_CHECK;
/* Layers that a configuration of layers of one block lists; 0: none. */
int config_count_blocks(const struct json *object);
/* Reads which layers have no rope; kinds of layers are known already. */
status config_read_layers_without_rope(const struct json *object, const struct family *family,
                                       struct arena *arena, struct model_config *out) MUST_CHECK;
/* Gives layers the family's other kind, as `rule` says: all of them, those from `first` on, or all
 * but every pattern-th. */
status config_mark_layers(struct model_config *config, const struct family *family,
                          struct arena *arena, enum layer_rule rule, int first,
                          int pattern) MUST_CHECK;

/* ---- src/model/mixers/facts.c ---- */

/* Reads the facts of layers that are no attention; sizes and kinds are known already. */
status mixer_facts_read(const struct json *object, const struct family *family,
                        struct model_config *out) MUST_CHECK;

/* ---- config_experts.c ---- */

/* Reads all that says how a mixture of experts is made; sizes are set already. */
status config_read_experts(const struct json *object, const struct family *family,
                           struct arena *arena, struct model_config *out) MUST_CHECK;

/* ---- config_rope.c ---- */

/* Reads rope, rope_local and rotary_fraction in either dialect; sizes are set already. */
status config_read_rope(const struct json *object, const struct family *family, struct arena *arena,
                        struct model_config *out) MUST_CHECK;
/* YaRN's scale of q and k for contexts `factor` times as long. src/model/rope.c. */
double rope_yarn_scale(double factor, double mscale);
/* The rotated part of a head: what transformers computes as int(head_dim · fraction). */
int config_rotary_dimensions(const struct model_config *config);

/* What `object`, the value of `key`, says of a checkpoint's quantisation: `published` becomes the
 * format of its weights and `packing` how they lie, and both stay as they are where it says of
 * none; other ways are STATUS_UNSUPPORTED, with a message that names them. */
status config_read_quantization(const char *key, const struct json *object,
                                struct model_config *out) MUST_CHECK;

#endif
