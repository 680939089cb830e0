/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors are a packed weight together, by the layouts of the methods that pack.
 *
 *   GPTQ    qweight [in·bits/32, out], qzeros [groups, out·bits/32], scales [groups, out], g_idx
 *           [in]; the first form of files stores zeros less one (AutoGPTQ, qlinear_cuda_old.py)
 *   AWQ     qweight [in, out/8], qzeros [groups, out/8], scales [groups, out]; a word's nibbles are
 *           columns 0, 2, 4, 6, 1, 3, 5, 7 (AutoAWQ, awq/utils/packing_utils.py)
 *   compressed-tensors
 *           weight_packed [out, in·bits/32], weight_scale [out, groups], weight_shape,
 *           weight_zero_point [out·bits/32, groups], weight_g_idx [in]; numbers and zeros alike are
 *           stored plus 2^(bits − 1). FP4: weight_packed [out, in/2] of bytes, weight_scale in FP8
 *           and weight_global_scale, by which scales are divided; or powers of two (MXFP4)
 *   ModelOpt, NVFP4
 *           weight [out, in/2], weight_scale in FP8, weight_scale_2, which scales are multiplied by
 *   MXFP4   X_blocks [experts, out, in/32, 16], X_scales [experts, out, in/32] (gpt-oss)
 *   bitsandbytes
 *           weight, a byte for two numbers that follow each other through all rows, the first in
 *           the high half; quant_map, absmax of each block, quant_state in JSON */
#include "model/read/packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/json.h"

enum { NAME_BYTES = 512, WORD_BITS = 32, BYTE_BITS = 8 };

/* Where number i of eight stands in a word, by AutoAWQ's order; and in a byte of bitsandbytes. */
static const uint8_t awq_order[8] = {0, 4, 1, 5, 2, 6, 3, 7};
static const uint8_t high_first[2] = {1, 0};

/* One weight on its way into the table. */
struct packed_search {
    struct tensor_table *table;
    const struct weight_packing *packing;
    const struct tensor *tensor; /* that shows that there is one */
    size_t kept;                 /* of its name: what the names of its parts begin with */
    struct tensor weight;        /* as it is to stand in the table */
    struct packed_weight *packed;
};

/* ---- Parts ---- */

/* The tensor called by the beginning and an ending; NULL where there is none. */
static const struct tensor *part(const struct packed_search *search, const char *ending)
{
    char name[NAME_BYTES];
    const int length =
        snprintf(name, sizeof name, "%.*s%s", (int)search->kept, search->tensor->name, ending);
    return length > 0 && (size_t)length < sizeof name ? tensor_table_find(search->table, name)
                                                      : NULL;
}

static status need(const struct packed_search *search, const char *ending,
                   const struct tensor **out)
{
    *out = part(search, ending);
    return *out != NULL
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "%s: tensor %s: no %.*s%s beside it",
                             tensor_path(search->table, search->tensor), search->tensor->name,
                             (int)search->kept, search->tensor->name, ending);
}

static status misfit(const struct packed_search *search, const struct tensor *tensor)
{
    return status_fail(STATUS_INVALID, "%s: tensor %s does not fit the shape of %s",
                       tensor_path(search->table, tensor), tensor->name, search->tensor->name);
}

static bool is_type(const struct tensor *tensor, const char *type)
{
    return strcmp(tensor->type_name, type) == 0;
}

static bool is_matrix(const struct tensor *tensor, int64_t rows, int64_t columns)
{
    return tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns;
}

/* Words of numbers: 32 bits, or bytes. */
static status take_words(const struct packed_search *search, const struct tensor *tensor,
                         struct packed_numbers *out)
{
    const bool is_words = is_type(tensor, "I32"), is_bytes = is_type(tensor, "U8");
    if ((!is_words && !is_bytes) || tensor->rank != 2) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: tensor %s: packed numbers of type %s in %d dimensions; expected "
                           "I32 or U8 in two",
                           tensor_path(search->table, tensor), tensor->name, tensor->type_name,
                           tensor->rank);
    }
    out->tensor = *tensor;
    out->word_bytes = is_words ? WORD_BITS / BYTE_BITS : 1;
    return STATUS_OK;
}

/* The bits of a number where `words` words of 32 hold `numbers` of them; 0 where none fits. */
static int bits_of(int64_t words, int64_t numbers)
{
    static const int known[] = {2, 3, 4, 8};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (numbers > 0 && numbers <= INT32_MAX && words <= INT32_MAX &&
            words * WORD_BITS == numbers * known[i]) {
            return known[i];
        }
    }
    return 0;
}

static status no_bits(const struct packed_search *search)
{
    return status_fail(STATUS_UNSUPPORTED,
                       "%s: tensor %s: its shape is that of no packed numbers of 2, 3, 4 or 8 bits",
                       tensor_path(search->table, search->tensor), search->tensor->name);
}

/* The weight's shape; what a row is cut into groups by follows. */
static void set_shape(struct packed_search *search, enum weight_format format, int64_t rows,
                      int64_t columns)
{
    struct packed_weight *packed = search->packed;
    packed->rows = rows;
    packed->columns = columns;
    search->weight = *search->tensor;
    search->weight.format = format;
    search->weight.rank = 2;
    search->weight.shape[0] = rows;
    search->weight.shape[1] = columns;
    search->weight.packed = packed;
    search->weight.read_rows = packed_read_rows;
}

/* `groups` groups of columns: of `group` each, the last of which may be short; of all columns where
 * it is GROUP_OF_ALL; equal ones where it is 0. */
static status set_groups(const struct packed_search *search, const struct tensor *scales,
                         int64_t groups, int64_t group)
{
    struct packed_weight *packed = search->packed;
    const int64_t columns = packed->columns;
    if (group == GROUP_OF_ALL) {
        group = columns;
    } else if (group == 0 && groups > 0 && columns % groups == 0) {
        group = columns / groups;
    }
    packed->groups = groups;
    packed->group = group;
    return columns > 0 && group > 0 && groups == (columns + group - 1) / group
               ? STATUS_OK
               : misfit(search, scales);
}

/* The group of each column, where the checkpoint has such a list. */
static status set_order(const struct packed_search *search, const char *ending)
{
    const struct tensor *order = part(search, ending);
    if (order == NULL || (order->rank == 1 && order->shape[0] == 0)) {
        return STATUS_OK;
    }
    if (!is_type(order, "I32") || order->rank != 1 || order->shape[0] != search->packed->columns) {
        return misfit(search, order);
    }
    search->packed->order = *order;
    return STATUS_OK;
}

/* ---- GPTQ and AWQ ---- */

static status find_by_columns(struct packed_search *search, bool is_awq)
{
    struct packed_weight *packed = search->packed;
    const struct tensor *zeros, *scales;
    TRY(need(search, ".qzeros", &zeros));
    TRY(need(search, ".scales", &scales));
    TRY(take_words(search, search->tensor, &packed->numbers));
    TRY(take_words(search, zeros, &packed->zeros));
    if (scales->rank != 2) {
        return misfit(search, scales);
    }
    const int64_t groups = scales->shape[0], rows = scales->shape[1];
    const int bits = bits_of(zeros->shape[1], rows);
    if (bits == 0 || packed->numbers.word_bytes == 1 || packed->zeros.word_bytes == 1) {
        return no_bits(search);
    }
    const int64_t words = search->tensor->shape[0];
    const int64_t columns = is_awq ? words : words * WORD_BITS / bits;
    const int64_t width = is_awq ? rows * bits / WORD_BITS : rows;
    if ((is_awq && bits != 4) || (!is_awq && bits_of(words, columns) != bits)) {
        return no_bits(search);
    }
    if (search->tensor->shape[1] != width || zeros->shape[0] != groups) {
        return misfit(search, search->tensor->shape[1] != width ? scales : zeros);
    }
    packed->numbers.bits = packed->zeros.bits = bits;
    packed->numbers.by_columns = packed->zeros.by_columns = true;
    packed->numbers.along_first = !is_awq;
    packed->scales = *scales;
    packed->scales_by_columns = true;
    set_shape(search, WEIGHT_PACKED_INTEGERS, rows, columns);
    TRY(set_order(search, ".g_idx"));
    return set_groups(search, scales, groups, search->packing->group);
}

static status find_gptq(struct packed_search *search)
{
    search->packed->zero = search->packing->method == PACKING_GPTQ ? 1 : 0;
    return find_by_columns(search, false);
}

static status find_awq(struct packed_search *search)
{
    struct packed_numbers *const both[] = {&search->packed->numbers, &search->packed->zeros};
    TRY(find_by_columns(search, true));
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        both[i]->order = awq_order;
        both[i]->run = COUNT_OF(awq_order);
    }
    return STATUS_OK;
}

/* ---- Numbers that are few enough to be read here ---- */

static status read_small(const struct packed_search *search, const struct tensor *tensor, void *to,
                         size_t bytes)
{
    return tensor->bytes == bytes
               ? tensor_file_read(&search->table->files[tensor->file], tensor->offset, to, bytes)
               : misfit(search, tensor);
}

static status read_floats(const struct packed_search *search, const struct tensor *tensor,
                          int count, float *out)
{
    uint64_t there;
    if (!tensor_count_elements(tensor->shape, tensor->rank, &there) || there != (uint64_t)count) {
        return misfit(search, tensor);
    }
    struct tensor_scratch scratch = {0};
    const status s = tensor_read_values(search->table, tensor, 0, count, &scratch, out);
    tensor_scratch_destroy(&scratch);
    TRY(s);
    for (int i = 0; i < count; i++) {
        if (!isfinite(out[i])) {
            return status_fail(STATUS_INVALID, "%s: tensor %s: %g is no scale",
                               tensor_path(search->table, tensor), tensor->name, (double)out[i]);
        }
    }
    return STATUS_OK;
}

static status read_global(struct packed_search *search, const char *ending)
{
    const struct tensor *tensor;
    TRY(need(search, ending, &tensor));
    TRY(read_floats(search, tensor, 1, &search->packed->global));
    return search->packed->global > 0 ? STATUS_OK
                                      : status_fail(STATUS_INVALID, "%s: tensor %s: %g is no scale",
                                                    tensor_path(search->table, tensor),
                                                    tensor->name, (double)search->packed->global);
}

/* ---- FP4 ---- */

/* Two in a byte along a row, and a scale for each group of a row. */
static status find_fp4(struct packed_search *search, const struct tensor *numbers,
                       const struct tensor *scales, enum packed_scale kind)
{
    struct packed_weight *packed = search->packed;
    TRY(take_words(search, numbers, &packed->numbers));
    if (packed->numbers.word_bytes != 1 || numbers->shape[1] > INT32_MAX) {
        return no_bits(search);
    }
    const int64_t rows = numbers->shape[0], columns = 2 * numbers->shape[1];
    const bool is_exponent = kind == PACKED_SCALE_EXPONENT;
    if (scales->rank != 2 || scales->shape[0] != rows ||
        (is_exponent && !is_type(scales, "U8") && !is_type(scales, "F8_E8M0"))) {
        return misfit(search, scales);
    }
    packed->numbers.bits = 4;
    packed->map = weight_fp4_values;
    packed->kind = kind;
    packed->scales = *scales;
    set_shape(search, WEIGHT_PACKED_FP4, rows, columns);
    return set_groups(search, scales, scales->shape[1], 0);
}

static status find_modelopt(struct packed_search *search)
{
    const struct tensor *scales;
    TRY(need(search, "weight_scale", &scales));
    TRY(read_global(search, "weight_scale_2"));
    return find_fp4(search, search->tensor, scales, PACKED_SCALE_BY_GLOBAL);
}

/* The same bytes in fewer dimensions: [all rows, the rest]. */
static bool flatten(const struct tensor *tensor, int dimensions_of_rows, struct tensor *out)
{
    uint64_t rows, columns;
    *out = *tensor;
    out->rank = 2;
    if (tensor->rank <= dimensions_of_rows ||
        !tensor_count_elements(tensor->shape, dimensions_of_rows, &rows) ||
        !tensor_count_elements(tensor->shape + dimensions_of_rows,
                               tensor->rank - dimensions_of_rows, &columns) ||
        rows > INT64_MAX || columns > INT32_MAX) {
        return false;
    }
    out->shape[0] = (int64_t)rows;
    out->shape[1] = (int64_t)columns;
    return true;
}

static status find_mxfp4(struct packed_search *search)
{
    const struct tensor *scales, *blocks = search->tensor;
    struct tensor flat_blocks, flat_scales;
    TRY(need(search, "_scales", &scales));
    if (blocks->rank != 4 || !flatten(blocks, 2, &flat_blocks)) {
        return no_bits(search);
    }
    if (scales->rank != 3 || !flatten(scales, 2, &flat_scales)) {
        return misfit(search, scales);
    }
    TRY(find_fp4(search, &flat_blocks, &flat_scales, PACKED_SCALE_EXPONENT));
    search->weight.rank = 3;
    search->weight.shape[0] = blocks->shape[0];
    search->weight.shape[1] = blocks->shape[1];
    search->weight.shape[2] = search->packed->columns;
    return STATUS_OK;
}

/* ---- compressed-tensors ---- */

static status find_zero_points(struct packed_search *search, int bits)
{
    struct packed_weight *packed = search->packed;
    const struct tensor *zeros = part(search, "_zero_point");
    packed->zero = 1 << (bits - 1);
    if (zeros == NULL) {
        return STATUS_OK;
    }
    TRY(take_words(search, zeros, &packed->zeros));
    if (packed->zeros.word_bytes == 1 ||
        !is_matrix(zeros, (packed->rows * bits + WORD_BITS - 1) / WORD_BITS, packed->groups)) {
        return misfit(search, zeros);
    }
    packed->zeros.bits = bits;
    packed->zeros.along_first = true;
    packed->zero = 0; /* numbers and zeros are moved alike */
    return STATUS_OK;
}

static status find_pack_quantized(struct packed_search *search, const struct tensor *scales)
{
    struct packed_weight *packed = search->packed;
    const struct tensor *shape;
    int64_t sides[2];
    TRY(need(search, "_shape", &shape));
    if (!is_type(shape, "I64")) {
        return misfit(search, shape);
    }
    TRY(read_small(search, shape, sides, sizeof sides));
    const int64_t words = search->tensor->shape[1];
    const int bits = bits_of(words, sides[1]);
    if (bits == 0 || bits == 3) {
        return no_bits(search);
    }
    if (sides[0] != search->tensor->shape[0] || scales->rank != 2 || scales->shape[0] != sides[0]) {
        return misfit(search, sides[0] != search->tensor->shape[0] ? shape : scales);
    }
    packed->numbers.bits = bits;
    packed->scales = *scales;
    set_shape(search, WEIGHT_PACKED_INTEGERS, sides[0], sides[1]);
    TRY(set_order(search, "_g_idx"));
    TRY(set_groups(search, scales, scales->shape[1], 0));
    return find_zero_points(search, bits);
}

static status find_compressed(struct packed_search *search)
{
    const struct tensor *scales;
    TRY(need(search, "_scale", &scales));
    TRY(take_words(search, search->tensor, &search->packed->numbers));
    if (search->packed->numbers.word_bytes > 1) {
        return find_pack_quantized(search, scales);
    }
    if (is_type(scales, "U8") || is_type(scales, "F8_E8M0")) {
        return find_fp4(search, search->tensor, scales, PACKED_SCALE_EXPONENT);
    }
    TRY(read_global(search, "_global_scale"));
    return find_fp4(search, search->tensor, scales, PACKED_SCALE_OVER_GLOBAL);
}

/* ---- bitsandbytes ---- */

static const char *const state_endings[] = {"weight.quant_state.bitsandbytes__nf4",
                                            "weight.quant_state.bitsandbytes__fp4"};

static const struct tensor *find_state(const struct packed_search *search)
{
    const struct tensor *state = part(search, state_endings[0]);
    return state != NULL ? state : part(search, state_endings[1]);
}

/* What a quant_state says. */
struct quant_state {
    int64_t rows, columns, block, nested_block;
    double nested_offset;
};

static bool parse_state(const struct json *root, struct quant_state *out)
{
    enum { LARGEST = 1 << 24 };
    const struct json *shape = json_get(root, "shape");
    return shape != NULL && shape->type == JSON_ARRAY && shape->length == 2 &&
           json_int64(shape->items[0], &out->rows) && json_int64(shape->items[1], &out->columns) &&
           json_int64(json_get(root, "blocksize"), &out->block) && out->rows > 0 &&
           out->rows < LARGEST && out->columns > 0 && out->columns < LARGEST && out->block > 0 &&
           out->block < LARGEST &&
           (json_get(root, "nested_blocksize") == NULL ||
            (json_int64(json_get(root, "nested_blocksize"), &out->nested_block) &&
             out->nested_block > 0 && out->nested_block < LARGEST &&
             json_double(json_get(root, "nested_offset"), &out->nested_offset)));
}

static status read_state(const struct packed_search *search, const struct tensor *tensor,
                         struct quant_state *out)
{
    char text[4096];
    struct arena arena = {0};
    struct json *root;
    if (tensor->bytes > sizeof text) {
        return misfit(search, tensor);
    }
    TRY(read_small(search, tensor, text, (size_t)tensor->bytes));
    const bool is_read = json_parse(text, (size_t)tensor->bytes, &arena, &root) == STATUS_OK &&
                         parse_state(root, out);
    arena_destroy(&arena);
    return is_read ? STATUS_OK
                   : status_fail(STATUS_INVALID, "%s: tensor %s: no quantisation's state in JSON",
                                 tensor_path(search->table, tensor), tensor->name);
}

/* The largest magnitudes are themselves codes, of blocks with magnitudes of their own. */
static status find_nested(struct packed_search *search, const struct quant_state *state,
                          int64_t blocks)
{
    struct packed_weight *packed = search->packed;
    const struct tensor *map, *scales;
    struct packed_nested *nested = arena_allocate(&search->table->arena, sizeof *nested);
    if (nested == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    TRY(need(search, "weight.nested_quant_map", &map));
    TRY(need(search, "weight.nested_absmax", &scales));
    TRY(read_floats(search, map, PACKED_NESTED_MAP, nested->map));
    if (scales->rank != 1 ||
        scales->shape[0] != (blocks + state->nested_block - 1) / state->nested_block ||
        !is_type(&packed->scales, "U8")) {
        return misfit(search, scales);
    }
    nested->scales = *scales;
    nested->block = state->nested_block;
    nested->offset = (float)state->nested_offset;
    packed->nested = nested;
    packed->kind = PACKED_SCALE_NESTED;
    return STATUS_OK;
}

static status find_bitsandbytes(struct packed_search *search)
{
    struct packed_weight *packed = search->packed;
    struct quant_state state = {0};
    const struct tensor *map, *scales;
    TRY(read_state(search, find_state(search), &state));
    TRY(need(search, "weight.quant_map", &map));
    TRY(need(search, "weight.absmax", &scales));
    float *values = arena_allocate_array(&search->table->arena, PACKED_MAP, sizeof *values);
    if (values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    TRY(read_floats(search, map, PACKED_MAP, values));
    const int64_t count = state.rows * state.columns,
                  blocks = (count + state.block - 1) / state.block;
    if (state.columns % 2 != 0 || search->tensor->bytes != (uint64_t)count / 2) {
        return misfit(search, search->tensor);
    }
    if (scales->rank != 1 || scales->shape[0] != blocks) {
        return misfit(search, scales);
    }
    packed->numbers = (struct packed_numbers){
        .tensor = *search->tensor, .word_bytes = 1, .bits = 4, .order = high_first, .run = 2};
    packed->numbers.tensor.rank = 2; /* whatever type the bytes were stored as */
    packed->numbers.tensor.shape[0] = state.rows;
    packed->numbers.tensor.shape[1] = state.columns / 2;
    packed->map = values;
    packed->scales = *scales;
    packed->is_flat = true;
    packed->group = state.block;
    set_shape(search, WEIGHT_PACKED_CODES, state.rows, state.columns);
    return state.nested_block > 0 ? find_nested(search, &state, blocks) : STATUS_OK;
}

/* ---- All of a table ---- */

/* A layout: the end of a tensor's name that shows it, what of that end the names of its parts keep,
 * and what the weight is called; NULL: as that tensor. */
static const struct layout {
    enum weight_packing_method method;
    const char *ending, *kept, *called;
    status (*find)(struct packed_search *search);
} layouts[] = {
    {PACKING_GPTQ, ".qweight", "", ".weight", find_gptq},
    {PACKING_GPTQ_V2, ".qweight", "", ".weight", find_gptq},
    {PACKING_AWQ, ".qweight", "", ".weight", find_awq},
    {PACKING_COMPRESSED_TENSORS, ".weight_packed", ".weight", ".weight", find_compressed},
    {PACKING_MODELOPT_FP4, ".weight", ".", NULL, find_modelopt},
    {PACKING_MXFP4, "_blocks", "", "", find_mxfp4},
    {PACKING_BITSANDBYTES, ".weight", ".", NULL, find_bitsandbytes},
};

static bool shows(const struct layout *layout, const struct packed_search *search)
{
    switch (layout->method) {
    case PACKING_MODELOPT_FP4:
        return is_type(search->tensor, "U8");
    case PACKING_BITSANDBYTES:
        return find_state(search) != NULL;
    default:
        return true;
    }
}

static const struct layout *layout_of(enum weight_packing_method method)
{
    for (size_t i = 0; i < COUNT_OF(layouts); i++) {
        if (layouts[i].method == method) {
            return &layouts[i];
        }
    }
    return NULL;
}

static status name_weight(struct packed_search *search, const struct layout *layout)
{
    const size_t stem = strlen(search->tensor->name) - strlen(layout->ending);
    char name[NAME_BYTES];
    const int length =
        snprintf(name, sizeof name, "%.*s%s", (int)stem, search->tensor->name, layout->called);
    if (length < 1 || (size_t)length >= sizeof name) {
        return status_fail(STATUS_INVALID, "%s: tensor %.100s…: a name of more than %d bytes",
                           tensor_path(search->table, search->tensor), search->tensor->name,
                           NAME_BYTES);
    }
    search->weight.name = arena_copy(&search->table->arena, name, (size_t)length);
    return search->weight.name != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory");
}

/* Tensor `index` and what belongs to it, if it shows a weight; *found says whether. */
static status find_one(struct packed_search *search, const struct layout *layout, size_t index,
                       bool *found)
{
    search->tensor = &search->table->items[index];
    const size_t length = strlen(search->tensor->name), ending = strlen(layout->ending);
    *found = length > ending && strcmp(search->tensor->name + length - ending, layout->ending) == 0;
    search->kept = length - ending + strlen(layout->kept);
    if (!*found || !shows(layout, search)) {
        *found = false;
        return STATUS_OK;
    }
    search->packed = arena_allocate(&search->table->arena, sizeof *search->packed);
    if (search->packed == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    TRY(layout->find(search));
    return layout->called != NULL ? name_weight(search, layout) : STATUS_OK;
}

status packed_weights_find(struct tensor_table *table, const struct weight_packing *packing)
{
    const struct layout *layout = layout_of(packing->method);
    struct tensor *added = NULL;
    size_t count = 0, capacity = 0;
    status s = STATUS_OK;
    for (size_t i = 0; layout != NULL && s == STATUS_OK && i < table->count; i++) {
        struct packed_search search = {.table = table, .packing = packing};
        bool found;
        s = find_one(&search, layout, i, &found);
        if (s != STATUS_OK || !found) {
            continue;
        }
        if (layout->called == NULL) {
            table->items[i] = search.weight; /* its name stays, and so does its place */
            continue;
        }
        void *grown = added;
        s = array_grow(&grown, &capacity, count + 1, sizeof *added);
        added = grown;
        if (s == STATUS_OK) {
            added[count++] = search.weight;
        }
    }
    for (size_t i = 0; s == STATUS_OK && i < count; i++) {
        s = tensor_table_add(table, &added[i]);
    }
    free(added);
    return s == STATUS_OK && count > 0 ? tensor_table_sort(table) : s;
}
