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
    static const char *const prefixes[] = {
        "model.", "language_model.model.", "model.language_model.", "", "bert.", "roberta."};
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

/* Rows before the wanted part in the file's tensor, and the rows that it has in all. */
static void part_rows(const struct model_config *config, enum tensor_part which, int rows,
                      int64_t *before, int64_t *total)
{
    int64_t q = (int64_t)config->heads * config->head_dim;
    int64_t kv = (int64_t)config->kv_heads * config->head_dim;
    *before = 0;
    *total = rows;
    switch (which) {
    case PART_WHOLE:
        break;
    case PART_V_OF_QKV:
        *before += kv;
        /* fall through */
    case PART_K_OF_QKV:
        *before += q;
        /* fall through */
    case PART_Q_OF_QKV:
        *total = q + 2 * kv;
        break;
    case PART_UP_OF_PAIR:
        *before = rows;
        /* fall through */
    case PART_GATE_OF_PAIR:
        *total = 2 * (int64_t)rows;
        break;
    }
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
    bool is_same = tensor->rank == rank;
    for (int i = 0; i < rank && is_same; i++) {
        is_same = tensor->shape[i] == expected[i];
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

static status place(const struct model *model, const struct weight_part *part, bool is_vector,
                    const struct tensor_name *name, int expert, int expert_count,
                    const struct tensor *tensor, struct tensor_source *out)
{
    int64_t before, total;
    part_rows(&model->config, name->part, is_vector ? part->columns : part->rows, &before, &total);
    TRY(tensor_source_find(&model->tensors, tensor, out));
    out->first_row = before;
    if (is_vector && part->taps > 0) {
        return check_shape(model, tensor, (int64_t[]){total / part->taps, 1, part->taps}, 3);
    }
    if (is_vector) {
        return check_shape(model, tensor, (int64_t[]){total}, 1);
    }
    bool is_stack = part->role >= ROLE_EXPERT_GATE && strstr(name->pattern, "{expert}") == NULL;
    if (!is_stack) {
        return check_shape(model, tensor, (int64_t[]){total, part->columns}, 2);
    }
    out->first_row += expert * total;
    return check_shape(model, tensor, (int64_t[]){expert_count, total, part->columns}, 3);
}

status weight_source_find(const struct model *model, const struct weight_part *part, bool is_vector,
                          int layer, int expert, int expert_count, struct tensor_source *out)
{
    char name[NAME_BYTES], first[NAME_BYTES] = "";
    for (const struct tensor_name *at = names_of(model, part->role); at->pattern != NULL; at++) {
        if (at->role != part->role) {
            continue;
        }
        const struct pattern_numbers numbers = {layer, model->config.layers - 1, expert};
        if (!fill_pattern(at->pattern, model->tensor_prefix, &numbers, name)) {
            continue;
        }
        const struct tensor *tensor = tensor_table_find(&model->tensors, name);
        if (tensor != NULL) {
            return place(model, part, is_vector, at, expert, expert_count, tensor, out);
        }
        if (first[0] == '\0') {
            memcpy(first, name, sizeof first);
        }
    }
    return status_fail(STATUS_INVALID, "%s: tensor %s is missing%s", model->path, first,
                       model->tensors.count == 0 ? "; there are no weights" : "");
}
