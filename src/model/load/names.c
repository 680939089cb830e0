/* SPDX-License-Identifier: Apache-2.0 */
/* Names of tensors: patterns of the family's table, filled in and looked up. */
#include "model/load/names.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256 };

static const char standard_prefix[] = "model.";

/* What the marks of a pattern stand for. */
struct pattern_numbers {
    int layer, last, expert;
};

/* The pattern with its prefix and numbers filled in; false where one of them is no layer. */
static bool fill_pattern(const char *pattern, const char *prefix,
                         const struct pattern_numbers *numbers, char name[NAME_BYTES])
{
    static const char first_mark[] = "{first}";
    const struct {
        const char *mark;
        int number;
    } marks[] = {{"{layer}", numbers->layer},
                 {"{before}", numbers->layer - 1},
                 {"{last}", numbers->last},
                 {"{expert}", numbers->expert}};
    size_t used = 0;
    name[0] = '\0';
    if (strncmp(pattern, standard_prefix, strlen(standard_prefix)) == 0) {
        pattern += strlen(standard_prefix);
        used = (size_t)snprintf(name, NAME_BYTES, "%s", prefix);
    }
    while (*pattern != '\0' && used < NAME_BYTES - 1) {
        if (strncmp(pattern, first_mark, strlen(first_mark)) == 0) {
            if (numbers->layer != 0) {
                return false;
            }
            pattern += strlen(first_mark);
            continue;
        }
        size_t i = 0;
        while (i < COUNT_OF(marks) && strncmp(pattern, marks[i].mark, strlen(marks[i].mark)) != 0) {
            i++;
        }
        if (i == COUNT_OF(marks)) {
            name[used++] = *pattern++;
            name[used] = '\0';
            continue;
        }
        if (marks[i].number < 0) {
            return false;
        }
        used += (size_t)snprintf(name + used, NAME_BYTES - used, "%d", marks[i].number);
        pattern += strlen(marks[i].mark);
    }
    return true;
}

const struct tensor *tensor_find_in_layer(const struct model *model, const char *pattern, int layer)
{
    char name[NAME_BYTES];
    const struct pattern_numbers numbers = {.layer = layer, .last = model->config.layers - 1};
    return fill_pattern(pattern, model->tensor_prefix, &numbers, name)
               ? tensor_table_find(&model->tensors, name)
               : NULL;
}

static bool has_role(const struct tensor_name *names, enum tensor_role role)
{
    for (; names != NULL && names->pattern != NULL; names++) {
        if (names->role == role) {
            return true;
        }
    }
    return false;
}

const char *tensor_prefix_detect(const struct tensor_table *table, const struct family *family)
{
    /* Of a text model alone; of a text model inside a larger one, by transformers 4 and 5; of a
     * base model without its head. */
    static const char *const prefixes[] = {"model.",
                                           "language_model.model.",
                                           "model.language_model.",
                                           "",
                                           "bert.",
                                           "roberta.",
                                           "distilbert.",
                                           "mpnet.",
                                           "backbone."};
    const char *embedding = has_role(family->names, ROLE_EMBEDDING) ? family->names[0].pattern
                                                                    : "model.embed_tokens.weight";
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        char name[NAME_BYTES];
        if (fill_pattern(embedding, prefixes[i], &(struct pattern_numbers){0}, name) &&
            tensor_table_find(table, name) != NULL) {
            return prefixes[i];
        }
    }
    return standard_prefix;
}

/* The list that has the role: the family's own before the common one. */
static const struct tensor_name *names_of(const struct model *model, enum tensor_role role)
{
    const struct tensor_name *own =
        model->is_gguf ? model->family->gguf_names : model->family->names;
    if (has_role(own, role)) {
        return own;
    }
    return model->is_gguf ? family_gguf_names : family_common_names;
}

/* How the wanted part lies in the file's tensor. */
struct layout {
    int64_t before, total; /* rows before it, and in all */
    int step;              /* from one of its rows to the next */
    bool is_turned;
};

static struct layout part_layout(const struct model_config *config, enum tensor_part which,
                                 int64_t rows)
{
    const int64_t q = (int64_t)config->heads * config->head_dim;
    const int64_t kv = (int64_t)config->kv_heads * config->head_dim;
    switch (which) {
    case PART_Q_OF_QKV:
        return (struct layout){0, q + 2 * kv, 1, false};
    case PART_K_OF_QKV:
        return (struct layout){q, q + 2 * kv, 1, false};
    case PART_V_OF_QKV:
        return (struct layout){q + kv, q + 2 * kv, 1, false};
    case PART_GATE_OF_PAIR:
        return (struct layout){0, 2 * rows, 1, false};
    case PART_UP_OF_PAIR:
        return (struct layout){rows, 2 * rows, 1, false};
    case PART_EVEN:
        return (struct layout){0, 2 * rows, 2, false};
    case PART_ODD:
        return (struct layout){1, 2 * rows, 2, false};
    case PART_TURNED:
        return (struct layout){0, rows, 1, true};
    case PART_EVEN_TURNED:
        return (struct layout){0, 2 * rows, 2, true};
    case PART_ODD_TURNED:
        return (struct layout){1, 2 * rows, 2, true};
    case PART_WHOLE:
        break;
    }
    return (struct layout){0, rows, 1, false};
}

static void describe_shape(const int64_t *shape, int rank, char text[128])
{
    int used = snprintf(text, 128, "[");
    for (int i = 0; i < rank && used < 100; i++) {
        used += snprintf(text + used, 128 - (size_t)used, "%s%lld", i == 0 ? "" : ", ",
                         (long long)shape[i]);
    }
    snprintf(text + used, 128 - (size_t)used, "]");
}

static status check_shape(const struct model *model, const struct tensor *tensor,
                          const int64_t *expected, int rank)
{
    /* A vector may be a matrix of one row. */
    const int more = rank == 1 && tensor->rank == 2 && tensor->shape[0] == 1;
    bool is_same = tensor->rank == rank + more;
    for (int i = 0; i < rank && is_same; i++) {
        is_same = tensor->shape[i + more] == expected[i];
    }
    if (is_same) {
        return STATUS_OK;
    }
    char here[128], wanted[128];
    describe_shape(tensor->shape, tensor->rank, here);
    describe_shape(expected, rank, wanted);
    return status_fail(STATUS_INVALID, "%s: tensor %s has shape %s where the configuration says %s",
                       tensor_path(&model->tensors, tensor), tensor->name, here, wanted);
}

static bool is_expert(enum tensor_role role)
{
    return role >= ROLE_EXPERT_GATE && role <= ROLE_EXPERT_DOWN_BIAS;
}

/* Whether the tensor has all experts. */
static bool is_stack(const struct tensor_name *name)
{
    return is_expert(name->role) && strstr(name->pattern, "{expert}") == NULL;
}

static status place_vector(const struct model *model, const struct weight_part *part,
                           const struct tensor_name *name, int expert, int expert_count,
                           const struct tensor *tensor, struct tensor_source *out)
{
    const struct layout layout = part_layout(&model->config, name->part, part->columns);
    TRY(tensor_source_find(&model->tensors, tensor, out));
    out->first_row = layout.before + (is_stack(name) ? expert * layout.total : 0);
    out->row_step = layout.step;
    if (part->taps > 0) {
        return check_shape(model, tensor, (int64_t[]){layout.total / part->taps, 1, part->taps}, 3);
    }
    return is_stack(name) ? check_shape(model, tensor, (int64_t[]){expert_count, layout.total}, 2)
                          : check_shape(model, tensor, (int64_t[]){layout.total}, 1);
}

static status place_matrix(const struct model *model, const struct weight_part *part,
                           const struct tensor_name *name, int expert, int expert_count,
                           const struct tensor *tensor, struct tensor_source *out)
{
    const struct layout layout = part_layout(&model->config, name->part, part->rows);
    int64_t rows = layout.total, columns = part->columns;
    TRY(tensor_source_find(&model->tensors, tensor, out));
    out->row_step = layout.step;
    out->is_turned = layout.is_turned && tensor->packed == NULL;
    if (out->is_turned) {
        rows = part->columns;
        columns = layout.total;
        out->first_column = (int)layout.before;
    } else {
        out->first_row = layout.before;
    }
    if (part->head_stride > 0) {
        out->first_row += (int64_t)part->head_stride * (part->first_head + expert);
        out->is_turned = part->is_turned;
    }
    if (!is_stack(name)) {
        return check_shape(model, tensor, (int64_t[]){rows, columns}, 2);
    }
    out->first_row += expert * rows;
    return check_shape(model, tensor, (int64_t[]){expert_count, rows, columns}, 3);
}

/* Where a part is, by the names of its role. */
static status find_part(const struct model *model, const struct weight_part *part, bool is_vector,
                        const struct pattern_numbers *numbers, int expert_count,
                        struct tensor_source *out)
{
    char name[NAME_BYTES], first[NAME_BYTES] = "";
    for (const struct tensor_name *at = names_of(model, part->role); at->pattern != NULL; at++) {
        if (at->role != part->role ||
            !fill_pattern(at->pattern, model->tensor_prefix, numbers, name)) {
            continue;
        }
        const struct tensor *tensor = tensor_table_find(&model->tensors, name);
        if (tensor != NULL) {
            return (is_vector ? place_vector : place_matrix)(model, part, at, numbers->expert,
                                                             expert_count, tensor, out);
        }
        if (first[0] == '\0') {
            memcpy(first, name, sizeof first);
        }
    }
    return status_fail(STATUS_INVALID, "%s: tensor %s is missing%s", model->path, first,
                       model->tensors.count == 0 ? "; there are no weights" : "");
}

/* Columns of the shared MLP as those of an expert, the index-th of the shared ones. */
static status find_shared(const struct model *model, const struct weight_part *part, int layer,
                          int index, struct tensor_source *out)
{
    const struct model_config *config = &model->config;
    const bool is_down = part->role == ROLE_EXPERT_DOWN;
    const int first = index * config->expert_intermediate;
    const int left = config->shared_width - first;
    const struct pattern_numbers numbers = {layer, config->layers - 1, -1};
    struct weight_part whole = *part;
    whole.role = is_down                          ? ROLE_SHARED_DOWN
                 : part->role == ROLE_EXPERT_GATE ? ROLE_SHARED_GATE
                                                  : ROLE_SHARED_UP;
    *(is_down ? &whole.columns : &whole.rows) = config->shared_width;
    TRY(find_part(model, &whole, false, &numbers, 1, out));
    if (is_down) {
        out->first_column = first;
    } else {
        out->first_row += first;
    }
    if (left < config->expert_intermediate) {
        *(is_down ? &out->columns : &out->rows) = left;
    }
    return STATUS_OK;
}

status weight_source_find(const struct model *model, const struct weight_part *part, bool is_vector,
                          int layer, int expert, int expert_count, struct tensor_source *out)
{
    const struct pattern_numbers numbers = {layer, model->config.layers - 1, expert};
    if (!is_expert(part->role)) {
        return find_part(model, part, is_vector, &numbers, expert_count, out);
    }
    const int experts = model->config.experts;
    return expert < experts ? find_part(model, part, is_vector, &numbers, experts, out)
                            : find_shared(model, part, layer, expert - experts, out);
}
