/* SPDX-License-Identifier: Apache-2.0 */
/* The list of a rank's weights, from the facts and the partition alone. */
#include "model/load/weight_walk.h"

#include <stdlib.h>
#include <string.h>

struct weight_walk {
    const struct model_config *config;
    const struct partition *partition;
    weight_visitor *visit;
    void *context;
    int layer;
};

status model_weights_create(const struct partition *partition, struct model_weights **out)
{
    struct model_weights *weights = calloc(1, sizeof *weights);
    if (weights != NULL) {
        weights->layers = calloc((size_t)partition->layer_count + 1, sizeof *weights->layers);
    }
    if (weights == NULL || weights->layers == NULL) {
        free(weights);
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    for (int layer = 0; layer < partition->layer_count; layer++) {
        weights->layers[layer].key_scale = weights->layers[layer].value_scale = 1;
    }
    *out = weights;
    return STATUS_OK;
}

enum weight_format weight_kept_format(struct backend *backend, const struct weight_item *item,
                                      enum weight_format stored, enum dtype source)
{
    const enum dtype activation = backend->operations->activation_dtype(backend);
    if (item->is_exact && weight_format_is_quantized(stored)) {
        stored = weight_format_of(activation);
    }
    bool is_free =
        stored == WEIGHT_FLOAT32 && source == DTYPE_BFLOAT16 && activation == DTYPE_FLOAT32;
    return is_free ? WEIGHT_BFLOAT16 : stored;
}

status weight_finish_vector(const struct weight_item *item, float *values)
{
    const size_t count = (size_t)item->columns, taps = (size_t)item->taps;
    if (taps < 2) {
        return STATUS_OK;
    }
    float *copy = malloc((count + 1) * sizeof *copy);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    memcpy(copy, values, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        values[i % taps * (count / taps) + i / taps] = copy[i];
    }
    free(copy);
    return STATUS_OK;
}

/* A whole vector, the same on every rank. */
static status visit_vector(const struct weight_walk *walk, enum tensor_role role, int length,
                           bool is_norm, struct vector **slot)
{
    struct weight_item item = {
        .layer = walk->layer,
        .is_vector = true,
        .is_norm = is_norm,
        .count = 1,
        .rows = 1,
        .columns = length,
        .part_count = 1,
        .parts =
            {{.role = role, .rows = 1, .columns = length, .row_count = 1, .column_count = length}},
        .vector = slot,
    };
    return walk->visit(walk->context, &item);
}

static status visit_norm(const struct weight_walk *walk, enum tensor_role role, int length,
                         struct vector **slot)
{
    return visit_vector(walk, role, length, true, slot);
}

/* A rank's part of a vector: of a norm over all heads, or of what each head has. */
static status visit_own(const struct weight_walk *walk, bool is_norm, enum tensor_role role,
                        int length, int first, int own, struct vector **slot)
{
    struct weight_item item = {.layer = walk->layer,
                               .is_vector = true,
                               .is_norm = is_norm,
                               .count = 1,
                               .rows = 1,
                               .columns = own,
                               .part_count = 1,
                               .parts = {{.role = role,
                                          .rows = 1,
                                          .columns = length,
                                          .row_count = 1,
                                          .first_column = first,
                                          .column_count = own}},
                               .vector = slot};
    return walk->visit(walk->context, &item);
}

/* A norm of the hidden size with, in layer norms, a bias. */
static status visit_hidden_norm(const struct weight_walk *walk, enum tensor_role role,
                                enum tensor_role bias_role, struct vector **slot,
                                struct vector **bias_slot)
{
    TRY(visit_norm(walk, role, walk->config->hidden, slot));
    return walk->config->norm_bias
               ? visit_vector(walk, bias_role, walk->config->hidden, false, bias_slot)
               : STATUS_OK;
}

static bool is_exact(enum tensor_role role)
{
    return role == ROLE_EMBEDDING || role == ROLE_POSITIONS || role == ROLE_TOKEN_TYPES ||
           role == ROLE_HEAD || role == ROLE_ROUTER || role == ROLE_SHARED_GATE_ROW ||
           role == ROLE_KEY_UP || role == ROLE_VALUE_UP;
}

/* `parts` as rows of a matrix, one below the other. */
static status visit_rows(const struct weight_walk *walk, int count, const struct weight_part *parts,
                         int part_count, struct matrix **slot)
{
    struct weight_item item = {.layer = walk->layer, .count = count, .matrix = slot};
    item.is_exact = is_exact(parts[0].role);
    item.part_count = part_count;
    item.columns = parts[0].columns;
    for (int i = 0; i < part_count; i++) {
        item.parts[i] = parts[i];
        item.parts[i].first_column = 0;
        item.parts[i].column_count = parts[i].columns;
        item.parts[i].at_row = item.rows;
        item.rows += parts[i].row_count;
    }
    return walk->visit(walk->context, &item);
}

/* The same rows of the biases that belong to such a matrix, one after the other. */
static status visit_bias(const struct weight_walk *walk, int count, const struct weight_part *parts,
                         int part_count, const enum tensor_role *roles, struct vector **slot)
{
    struct weight_item item = {
        .layer = walk->layer, .is_vector = true, .count = count, .rows = 1, .vector = slot};
    item.part_count = part_count;
    for (int i = 0; i < part_count; i++) {
        item.parts[i] = (struct weight_part){.role = roles[i],
                                             .rows = 1,
                                             .columns = parts[i].rows,
                                             .row_count = 1,
                                             .first_column = parts[i].first_row,
                                             .column_count = parts[i].row_count,
                                             .at_row = item.columns,
                                             .is_head_rows = parts[i].is_head_rows};
        item.columns += parts[i].row_count;
    }
    return walk->visit(walk->context, &item);
}

/* All rows of a column range, cut into the rank's slices. */
static status visit_sliced(const struct weight_walk *walk, enum tensor_role role, int count,
                           int columns, int first, int own, const int32_t *starts,
                           struct matrix **slot)
{
    int hidden = walk->config->hidden;
    struct weight_item item = {
        .layer = walk->layer,
        .count = count,
        .rows = hidden,
        .columns = own,
        .slice_start = starts,
        .slices = walk->partition->local_slices,
        .part_count = 1,
        .parts = {{.role = role,
                   .rows = hidden,
                   .columns = columns,
                   .row_count = hidden,
                   .first_column = first,
                   .column_count = own}},
        .matrix = slot,
    };
    return walk->visit(walk->context, &item);
}

/* Rows of q that have a head's gates behind each head become q's alone; returns the gates'. */
static struct weight_part split_from_gates(const struct model_config *config, struct weight_part *q)
{
    q->rows *= 2;
    q->first_row *= 2;
    q->piece = config->head_dim;
    q->stride = 2 * config->head_dim;
    struct weight_part gates = *q;
    gates.is_head_rows = false;
    gates.first_row += config->head_dim;
    return gates;
}

static status visit_attention(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct partition *partition = walk->partition;
    int size = config->head_dim;
    int kv_rows = config->kv_heads * size;
    int first_kv = partition->first_kv_head * size, own_kv = partition->kv_head_count * size;
    struct weight_part qkv[] = {
        {.role = ROLE_Q,
         .rows = config->heads * size,
         .columns = config->hidden,
         .first_row = partition->first_head * size,
         .row_count = partition->head_count * size,
         .is_head_rows = true},
        {.role = ROLE_K,
         .rows = kv_rows,
         .columns = config->hidden,
         .first_row = first_kv,
         .row_count = own_kv,
         .is_head_rows = true},
        {.role = ROLE_V,
         .rows = kv_rows,
         .columns = config->hidden,
         .first_row = first_kv,
         .row_count = own_kv},
    };
    static const enum tensor_role biases[] = {ROLE_Q_BIAS, ROLE_K_BIAS, ROLE_V_BIAS};
    if (config->gated_attention) {
        struct weight_part gates = split_from_gates(config, &qkv[0]);
        TRY(visit_rows(walk, 1, &gates, 1, &layer->attention_gate));
    }
    if (config->pre_norm) {
        TRY(visit_hidden_norm(walk, ROLE_ATTENTION_NORM, ROLE_ATTENTION_NORM_BIAS,
                              &layer->attention_norm, &layer->attention_norm_bias));
    }
    TRY(visit_rows(walk, 1, qkv, 3, &layer->qkv));
    if (config->qkv_bias) {
        TRY(visit_bias(walk, 1, qkv, 3, biases, &layer->qkv_bias));
    }
    if (config->wide_qk_norm) {
        TRY(visit_own(walk, true, ROLE_Q_NORM, config->heads * size, qkv[0].first_row,
                      qkv[0].row_count, &layer->q_norm));
        TRY(visit_own(walk, true, ROLE_K_NORM, kv_rows, first_kv, own_kv, &layer->k_norm));
    } else if (config->qk_norm) {
        TRY(visit_norm(walk, ROLE_Q_NORM, size, &layer->q_norm));
        TRY(visit_norm(walk, ROLE_K_NORM, size, &layer->k_norm));
    }
    if (config->sinks) {
        TRY(visit_own(walk, false, ROLE_SINKS, config->heads, partition->first_head,
                      partition->head_count, &layer->sinks));
    }
    TRY(visit_sliced(walk, ROLE_ATTENTION_OUTPUT, 1, config->heads * size,
                     partition->first_head * size, partition->head_count * size,
                     partition->head_slice_start, &layer->attention_output));
    if (config->attention_output_bias) {
        TRY(visit_vector(walk, ROLE_ATTENTION_OUTPUT_BIAS, config->hidden, false,
                         &layer->attention_output_bias));
    }
    if (config->post_norm) {
        TRY(visit_norm(walk, ROLE_ATTENTION_POST_NORM, config->hidden,
                       &layer->attention_post_norm));
    }
    return config->parallel || !config->pre_norm || !model_has_mlp(config, walk->layer)
               ? STATUS_OK
               : visit_hidden_norm(walk, ROLE_MLP_NORM, ROLE_MLP_NORM_BIAS, &layer->mlp_norm,
                                   &layer->mlp_norm_bias);
}

/* `count` channels of a convolution's taps or bias from `first` on, of `all`; taps 0: the bias. */
static status visit_channels(const struct weight_walk *walk, enum tensor_role role, int all,
                             int first, int count, int taps, struct vector **slot)
{
    const int each = taps > 0 ? taps : 1;
    struct weight_item item = {.layer = walk->layer,
                               .is_vector = true,
                               .count = 1,
                               .rows = 1,
                               .columns = count * each,
                               .taps = taps,
                               .part_count = 1,
                               .parts = {{.role = role,
                                          .rows = 1,
                                          .columns = all * each,
                                          .row_count = 1,
                                          .first_column = first * each,
                                          .column_count = count * each,
                                          .taps = taps}},
                               .vector = slot};
    return walk->visit(walk->context, &item);
}

/* Rows for B, C and x of the rank's channels. */
static status visit_short_convolution(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct partition *partition = walk->partition;
    const int hidden = config->hidden, first = partition->channels.first;
    const int own = partition->channels.count, taps = config->convolution_taps;
    static const enum tensor_role biases[] = {ROLE_MIXER_INPUT_BIAS, ROLE_MIXER_INPUT_BIAS,
                                              ROLE_MIXER_INPUT_BIAS};
    struct weight_part input[3];
    for (int i = 0; i < 3; i++) {
        input[i] = (struct weight_part){.role = ROLE_MIXER_INPUT,
                                        .rows = 3 * hidden,
                                        .columns = hidden,
                                        .first_row = i * hidden + first,
                                        .row_count = own};
    }
    TRY(visit_norm(walk, ROLE_ATTENTION_NORM, hidden, &layer->attention_norm));
    TRY(visit_rows(walk, 1, input, 3, &layer->mixer_input));
    TRY(visit_channels(walk, ROLE_CONVOLUTION, hidden, first, own, taps, &layer->convolution));
    if (config->convolution_bias) {
        TRY(visit_bias(walk, 1, input, 3, biases, &layer->mixer_input_bias));
        TRY(visit_channels(walk, ROLE_CONVOLUTION_BIAS, hidden, first, own, 0,
                           &layer->convolution_bias));
        TRY(visit_vector(walk, ROLE_MIXER_OUTPUT_BIAS, hidden, false,
                         &layer->attention_output_bias));
    }
    TRY(visit_sliced(walk, ROLE_MIXER_OUTPUT, 1, hidden, first, own,
                     partition->channels.slice_start, &layer->attention_output));
    return visit_norm(walk, ROLE_MLP_NORM, hidden, &layer->mlp_norm);
}

/* The channels of a convolution over q, k and v of the rank's heads. */
static status visit_delta_channels(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct model_cut *cut = &walk->partition->delta_keys;
    const int taps = config->convolution_taps, keys = config->delta_key_heads;
    const int key = config->delta_key_dim;
    const int value = config->delta_value_heads / keys * config->delta_value_dim;
    const int starts[] = {cut->first * key, (keys + cut->first) * key,
                          2 * keys * key + cut->first * value};
    const int counts[] = {cut->count * key, cut->count * key, cut->count * value};
    struct weight_item item = {.layer = walk->layer,
                               .is_vector = true,
                               .count = 1,
                               .rows = 1,
                               .taps = taps,
                               .part_count = 3,
                               .vector = &layer->convolution};
    for (int i = 0; i < 3; i++) {
        item.parts[i] = (struct weight_part){.role = ROLE_CONVOLUTION,
                                             .rows = 1,
                                             .columns = keys * (2 * key + value) * taps,
                                             .row_count = 1,
                                             .first_column = starts[i] * taps,
                                             .column_count = counts[i] * taps,
                                             .at_row = item.columns,
                                             .taps = taps};
        item.columns += counts[i] * taps;
    }
    return walk->visit(walk->context, &item);
}

/* Where one of q, k, v, z, b and a lies: in a matrix of its own or of q, k and v, and where all of
 * a key head are together. */
struct delta_piece {
    enum tensor_role role;
    int rows, before; /* of the matrix, and where this part begins in it */
    enum tensor_role fused_role;
    int fused_rows, fused_before, fused_stride;
    int size; /* of a key head's piece */
};

/* Rows for q, k, v, z, b and a of the rank's key heads and their value heads, in this order. */
static status visit_delta_input(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct model_cut *cut = &walk->partition->delta_keys;
    const int n = config->delta_key_heads, heads = config->delta_value_heads / n;
    const int key = config->delta_key_dim, value = heads * config->delta_value_dim;
    const int apart = n * (2 * key + value), wide = 2 * key + 2 * value, both = 2 * heads;
    const enum tensor_role in = ROLE_MIXER_INPUT;
    const struct delta_piece pieces[] = {
        {in, apart, 0, in, n * wide, 0, wide, key},
        {in, apart, n * key, in, n * wide, key, wide, key},
        {in, apart, 2 * n * key, in, n * wide, 2 * key, wide, value},
        {ROLE_DELTA_Z, n * value, 0, in, n * wide, 2 * key + value, wide, value},
        {ROLE_DELTA_B, n * heads, 0, ROLE_DELTA_B, n * both, 0, both, heads},
        {ROLE_DELTA_A, n * heads, 0, ROLE_DELTA_B, n * both, heads, both, heads},
    };
    struct weight_part input[COUNT_OF(pieces)];
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        const struct delta_piece *piece = &pieces[i];
        const bool fused = config->delta_fused;
        const int stride = fused ? piece->fused_stride : piece->size;
        input[i] = (struct weight_part){.role = fused ? piece->fused_role : piece->role,
                                        .rows = fused ? piece->fused_rows : piece->rows,
                                        .columns = config->hidden,
                                        .first_row = (fused ? piece->fused_before : piece->before) +
                                                     cut->first * stride,
                                        .row_count = cut->count * piece->size,
                                        .piece = fused ? piece->size : 0,
                                        .stride = stride};
    }
    return visit_rows(walk, 1, input, (int)COUNT_OF(input), &layer->mixer_input);
}

static status visit_gated_delta(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct model_cut *cut = &walk->partition->delta_keys;
    const int hidden = config->hidden, all = config->delta_value_heads;
    const int heads = all / config->delta_key_heads, dim = config->delta_value_dim;
    const int first = cut->first * heads, own = cut->count * heads;
    TRY(visit_norm(walk, ROLE_ATTENTION_NORM, hidden, &layer->attention_norm));
    TRY(visit_delta_input(walk, layer));
    TRY(visit_delta_channels(walk, layer));
    TRY(visit_channels(walk, ROLE_DECAY, all, first, own, 0, &layer->decay));
    TRY(visit_channels(walk, ROLE_STEP_BIAS, all, first, own, 0, &layer->step_bias));
    TRY(visit_vector(walk, ROLE_MIXER_NORM, dim, false, &layer->mixer_norm));
    TRY(visit_sliced(walk, ROLE_MIXER_OUTPUT, 1, all * dim, first * dim, own * dim,
                     cut->slice_start, &layer->attention_output));
    return visit_norm(walk, ROLE_MLP_NORM, hidden, &layer->mlp_norm);
}

enum { SCAN_PARTS = 5 }; /* z, x, B, C and dt */

/* Of each of them: all, and the rank's first and how many; what is convolved from 1 to 3. */
static void list_scan_parts(const struct weight_walk *walk, int all[SCAN_PARTS],
                            int first[SCAN_PARTS], int own[SCAN_PARTS])
{
    const struct model_config *config = walk->config;
    const struct partition *partition = walk->partition;
    const int dim = config->scan_head_dim, state = config->scan_state_dim;
    const int widths[SCAN_PARTS] = {dim, dim, state, state, 1};
    for (int i = 0; i < SCAN_PARTS; i++) {
        const bool is_group = i == 2 || i == 3;
        all[i] = widths[i] * (is_group ? config->scan_groups : config->scan_heads);
        first[i] =
            widths[i] * (is_group ? partition->first_scan_group : partition->scan_heads.first);
        own[i] = widths[i] * (is_group ? partition->scan_group_count : partition->scan_heads.count);
    }
}

static status visit_scan_input(const struct weight_walk *walk, struct layer_weights *layer)
{
    int all[SCAN_PARTS], first[SCAN_PARTS], own[SCAN_PARTS], rows = 0;
    struct weight_part input[SCAN_PARTS];
    enum tensor_role biases[SCAN_PARTS];
    list_scan_parts(walk, all, first, own);
    for (int i = 0; i < SCAN_PARTS; i++) {
        input[i] = (struct weight_part){.role = ROLE_MIXER_INPUT,
                                        .columns = walk->config->hidden,
                                        .first_row = rows + first[i],
                                        .row_count = own[i]};
        biases[i] = ROLE_MIXER_INPUT_BIAS;
        rows += all[i];
    }
    for (int i = 0; i < SCAN_PARTS; i++) {
        input[i].rows = rows;
    }
    TRY(visit_rows(walk, 1, input, SCAN_PARTS, &layer->mixer_input));
    return walk->config->scan_input_bias
               ? visit_bias(walk, 1, input, SCAN_PARTS, biases, &layer->mixer_input_bias)
               : STATUS_OK;
}

/* Taps of x, B and C, or with `taps` 0 their biases. */
static status visit_scan_channels(const struct weight_walk *walk, enum tensor_role role, int taps,
                                  struct vector **slot)
{
    int all[SCAN_PARTS], first[SCAN_PARTS], own[SCAN_PARTS], channels = 0;
    const int each = taps > 0 ? taps : 1;
    struct weight_item item = {.layer = walk->layer,
                               .is_vector = true,
                               .count = 1,
                               .rows = 1,
                               .taps = taps,
                               .part_count = SCAN_PARTS - 2,
                               .vector = slot};
    list_scan_parts(walk, all, first, own);
    for (int i = 1; i + 1 < SCAN_PARTS; i++) {
        item.parts[i - 1] = (struct weight_part){.role = role,
                                                 .rows = 1,
                                                 .row_count = 1,
                                                 .first_column = (channels + first[i]) * each,
                                                 .column_count = own[i] * each,
                                                 .at_row = item.columns,
                                                 .taps = taps};
        item.columns += own[i] * each;
        channels += all[i];
    }
    for (int i = 0; i < item.part_count; i++) {
        item.parts[i].columns = channels * each;
    }
    return walk->visit(walk->context, &item);
}

/* A state space without the norms around it. */
static status visit_space(const struct weight_walk *walk, struct layer_weights *layer,
                          struct matrix **output)
{
    const struct model_config *config = walk->config;
    const struct model_cut *cut = &walk->partition->scan_heads;
    const int hidden = config->hidden, all = config->scan_heads, dim = config->scan_head_dim;
    TRY(visit_scan_input(walk, layer));
    TRY(visit_scan_channels(walk, ROLE_CONVOLUTION, config->convolution_taps, &layer->convolution));
    if (config->convolution_bias) {
        TRY(visit_scan_channels(walk, ROLE_CONVOLUTION_BIAS, 0, &layer->convolution_bias));
    }
    TRY(visit_channels(walk, ROLE_DECAY, all, cut->first, cut->count, 0, &layer->decay));
    TRY(visit_channels(walk, ROLE_STEP_BIAS, all, cut->first, cut->count, 0, &layer->step_bias));
    TRY(visit_channels(walk, ROLE_SKIP, all, cut->first, cut->count, 0, &layer->skip));
    if (config->scan_norm_groups > 0) {
        TRY(visit_channels(walk, ROLE_MIXER_NORM, all * dim, cut->first * dim, cut->count * dim, 0,
                           &layer->mixer_norm));
    }
    TRY(visit_sliced(walk, ROLE_MIXER_OUTPUT, 1, all * dim, cut->first * dim, cut->count * dim,
                     cut->slice_start, output));
    return config->scan_output_bias ? visit_vector(walk, ROLE_MIXER_OUTPUT_BIAS, hidden, false,
                                                   &layer->attention_output_bias)
                                    : STATUS_OK;
}

static status visit_state_space(const struct weight_walk *walk, struct layer_weights *layer)
{
    const int hidden = walk->config->hidden;
    TRY(visit_norm(walk, ROLE_ATTENTION_NORM, hidden, &layer->attention_norm));
    TRY(visit_space(walk, layer, &layer->attention_output));
    return model_has_mlp(walk->config, walk->layer)
               ? visit_norm(walk, ROLE_MLP_NORM, hidden, &layer->mlp_norm)
               : STATUS_OK;
}

/* A stack of one product for each of the rank's heads, of `rows` rows of the head's in the tensor
 * from `first` on: these, or turned [latent, rows]. */
static status visit_head_products(const struct weight_walk *walk, enum tensor_role role, int first,
                                  int rows, bool is_turned, struct matrix **slot)
{
    const struct model_config *config = walk->config;
    const int stride = config->latent_key_dim + config->head_dim, latent = config->latent_dim;
    const int columns = is_turned ? rows : latent;
    const struct weight_item item = {
        .layer = walk->layer,
        .count = walk->partition->head_count,
        .rows = is_turned ? latent : rows,
        .columns = columns,
        .is_exact = is_exact(role),
        .part_count = 1,
        .parts = {{.role = role,
                   .rows = config->heads * stride,
                   .columns = latent,
                   .first_row = first,
                   .row_count = is_turned ? latent : rows,
                   .column_count = columns,
                   .head_stride = stride,
                   .first_head = walk->partition->first_head,
                   .is_turned = is_turned}},
        .matrix = slot,
    };
    return walk->visit(walk->context, &item);
}

/* What makes q: of the hidden state, or of a latent of its own, which every rank has. */
static status visit_latent_queries(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const int size = config->latent_key_dim + config->latent_rope_dim;
    const int latent = config->query_latent_dim;
    const struct weight_part down = {
        .role = ROLE_QUERY_DOWN, .rows = latent, .columns = config->hidden, .row_count = latent};
    const struct weight_part up = {.role = latent > 0 ? ROLE_QUERY_UP : ROLE_Q,
                                   .rows = config->heads * size,
                                   .columns = latent > 0 ? latent : config->hidden,
                                   .first_row = walk->partition->first_head * size,
                                   .row_count = walk->partition->head_count * size,
                                   .is_head_rows = true,
                                   .head_size = size,
                                   .before_rotated = config->latent_key_dim};
    if (latent > 0) {
        TRY(visit_rows(walk, 1, &down, 1, &layer->query_down));
        TRY(visit_norm(walk, ROLE_Q_NORM, latent, &layer->q_norm));
    }
    return visit_rows(walk, 1, &up, 1, &layer->qkv);
}

static status visit_latent(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct partition *partition = walk->partition;
    const int hidden = config->hidden, dim = config->head_dim;
    const int width = config->latent_dim + config->latent_rope_dim;
    const struct weight_part down = {.role = ROLE_LATENT_DOWN,
                                     .rows = width,
                                     .columns = hidden,
                                     .row_count = width,
                                     .is_head_rows = true,
                                     .head_size = width,
                                     .before_rotated = config->latent_dim};
    TRY(visit_norm(walk, ROLE_ATTENTION_NORM, hidden, &layer->attention_norm));
    TRY(visit_latent_queries(walk, layer));
    TRY(visit_rows(walk, 1, &down, 1, &layer->mixer_input));
    TRY(visit_norm(walk, ROLE_LATENT_NORM, config->latent_dim, &layer->mixer_norm));
    TRY(visit_head_products(walk, ROLE_KEY_UP, 0, config->latent_key_dim, true, &layer->key_up));
    TRY(visit_head_products(walk, ROLE_VALUE_UP, config->latent_key_dim, dim, false,
                            &layer->value_up));
    TRY(visit_sliced(walk, ROLE_ATTENTION_OUTPUT, 1, config->heads * dim,
                     partition->first_head * dim, partition->head_count * dim,
                     partition->head_slice_start, &layer->attention_output));
    return visit_norm(walk, ROLE_MLP_NORM, hidden, &layer->mlp_norm);
}

static status visit_mixer(const struct weight_walk *walk, struct layer_weights *layer)
{
    switch (model_layer_kind(walk->config, walk->layer).mixer) {
    case MIXER_ATTENTION:
        break;
    case MIXER_SHORT_CONVOLUTION:
        return visit_short_convolution(walk, layer);
    case MIXER_GATED_DELTA:
        return visit_gated_delta(walk, layer);
    case MIXER_STATE_SPACE:
        return visit_state_space(walk, layer);
    case MIXER_LATENT:
        return visit_latent(walk, layer);
    case MIXER_ATTENTION_AND_SPACE:
        TRY(visit_space(walk, layer, &layer->space_output));
        break;
    case MIXER_NONE:
        return visit_norm(walk, ROLE_ATTENTION_NORM, walk->config->hidden, &layer->attention_norm);
    }
    return visit_attention(walk, layer);
}

static status visit_router(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct weight_part rows[] = {
        {.role = ROLE_ROUTER,
         .rows = config->experts,
         .columns = config->hidden,
         .row_count = config->experts},
        {.role = ROLE_SHARED_GATE_ROW, .rows = 1, .columns = config->hidden, .row_count = 1}};
    TRY(visit_rows(walk, 1, rows, config->shared_gate ? 2 : 1, &layer->router));
    if (config->router_bias) {
        TRY(visit_vector(walk, ROLE_ROUTER_BIAS, config->experts, false, &layer->router_bias));
    }
    return config->router_correction ? visit_vector(walk, ROLE_ROUTER_CORRECTION, config->experts,
                                                    false, &layer->router_correction)
                                     : STATUS_OK;
}

/* The second product's bias: of a plain MLP after the sum over ranks, of experts before it. */
static status visit_down_bias(const struct weight_walk *walk, bool is_dense, int count,
                              struct layer_weights *layer)
{
    const int hidden = walk->config->hidden;
    const struct weight_part rows = {.rows = hidden, .row_count = hidden};
    static const enum tensor_role roles[] = {ROLE_EXPERT_DOWN_BIAS, ROLE_DOWN_BIAS};
    return is_dense || walk->partition->tp_rank == 0
               ? visit_bias(walk, count, &rows, 1, roles + is_dense, &layer->down_bias)
               : STATUS_OK;
}

/* Gate rows, then up rows; experts: a stack of them. */
static status visit_mlp(const struct weight_walk *walk, struct layer_weights *layer)
{
    const struct model_config *config = walk->config;
    const struct partition *partition = walk->partition;
    bool is_dense = config->experts == 0 ||
                    (config->layer_is_dense != NULL && config->layer_is_dense[walk->layer]);
    bool has_bias = is_dense ? config->mlp_bias : config->expert_bias;
    int count = is_dense ? 1 : config->experts + model_shared_experts(config);
    int width = is_dense ? config->intermediate : config->expert_intermediate;
    int first = is_dense ? partition->first_column : partition->first_expert_column;
    int own = is_dense ? partition->column_count : partition->expert_column_count;
    struct weight_part up[] = {
        {.role = is_dense ? ROLE_GATE : ROLE_EXPERT_GATE,
         .rows = width,
         .columns = config->hidden,
         .first_row = first,
         .row_count = own},
        {.role = is_dense ? ROLE_UP : ROLE_EXPERT_UP,
         .rows = width,
         .columns = config->hidden,
         .first_row = first,
         .row_count = own},
    };
    static const enum tensor_role biases[] = {ROLE_GATE_BIAS, ROLE_UP_BIAS, ROLE_EXPERT_GATE_BIAS,
                                              ROLE_EXPERT_UP_BIAS};
    int skipped = config->gated ? 0 : 1;
    if (!is_dense) {
        TRY(visit_router(walk, layer));
    }
    TRY(visit_rows(walk, count, up + skipped, 2 - skipped, &layer->gate_up));
    if (has_bias) {
        TRY(visit_bias(walk, count, up + skipped, 2 - skipped,
                       biases + skipped + (is_dense ? 0 : 2), &layer->gate_up_bias));
    }
    TRY(visit_sliced(walk, is_dense ? ROLE_DOWN : ROLE_EXPERT_DOWN, count, width, first, own,
                     is_dense ? partition->column_slice_start : partition->expert_slice_start,
                     &layer->down));
    if (has_bias) {
        TRY(visit_down_bias(walk, is_dense, count, layer));
    }
    return config->post_norm
               ? visit_norm(walk, ROLE_MLP_POST_NORM, config->hidden, &layer->mlp_post_norm)
               : STATUS_OK;
}

static status visit_vocabulary(const struct weight_walk *walk, enum tensor_role role,
                               struct matrix **slot)
{
    struct weight_part rows = {.role = role,
                               .rows = walk->config->vocabulary,
                               .columns = walk->config->hidden,
                               .first_row = walk->partition->first_vocabulary_row,
                               .row_count = walk->partition->vocabulary_row_count};
    return visit_rows(walk, 1, &rows, 1, slot);
}

/* The whole table on every rank: it is added after the sum over ranks. Of every token type the
 * positions with it added; where there are none, the types alone. */
static status visit_positions(const struct weight_walk *walk, struct matrix **slot)
{
    const int positions = walk->config->position_rows, types = walk->config->token_types;
    struct weight_part rows = {.role = positions > 0 ? ROLE_POSITIONS : ROLE_TOKEN_TYPES,
                               .rows = positions > 0 ? positions : types,
                               .columns = walk->config->hidden,
                               .row_count = positions > 0 && types > 0 ? positions * types
                                                                       : positions + types,
                               .token_types = positions > 0 ? types : 0};
    return rows.row_count > 0 ? visit_rows(walk, 1, &rows, 1, slot) : STATUS_OK;
}

status weights_visit(const struct model_config *config, const struct partition *partition,
                     struct model_weights *weights, weight_visitor *visit, void *context)
{
    struct weight_walk walk = {
        .config = config, .partition = partition, .visit = visit, .context = context, .layer = -1};
    if (partition->has_embedding) {
        TRY(visit_vocabulary(&walk, ROLE_EMBEDDING, &weights->embedding));
        TRY(visit_positions(&walk, &weights->positions));
    }
    for (int i = 0; i < partition->layer_count; i++) {
        walk.layer = partition->first_layer + i;
        TRY(visit_mixer(&walk, &weights->layers[i]));
        if (model_has_mlp(config, walk.layer)) {
            TRY(visit_mlp(&walk, &weights->layers[i]));
        }
    }
    walk.layer = -1;
    if (!partition->has_head) {
        return STATUS_OK;
    }
    TRY(visit_hidden_norm(&walk, ROLE_FINAL_NORM, ROLE_FINAL_NORM_BIAS, &weights->final_norm,
                          &weights->final_norm_bias));
    if (config->pools) {
        return STATUS_OK;
    }
    if (config->tied_embeddings && partition->has_embedding) {
        weights->head = weights->embedding;
        return STATUS_OK;
    }
    return visit_vocabulary(&walk, config->tied_embeddings ? ROLE_EMBEDDING : ROLE_HEAD,
                            &weights->head);
}
