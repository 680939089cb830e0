/* SPDX-License-Identifier: Apache-2.0 */
/* Products with packed weights: how one is cut into work for the threads. The cuts decide nothing
 * about an output's bits (kernels/product.c). */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"

enum {
    AHEAD_BYTES = 8192,      /* how far a single tile reads weights ahead */
    FEW_ROWS = 3,            /* the kernels then take several panels at once */
    ITEM_ROWS = 96,          /* rows of a piece of work: their input stays in the second cache */
    ITEM_BYTES = 512 * 1024, /* weights of a piece of work, likewise */
    /* Rows whose distance is a multiple of 2 KiB fall into few sets of the first cache and push
     * each other out; they are copied to a stride that does not. */
    BAD_STRIDE = 512,
    STRIDE_PADDING = 16,
};

/* One product cut into panel groups × row groups. */
struct cut {
    int panels_each, rows_each;
    int panel_groups, row_groups;
};

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

/* Panels of a piece of work so that the busiest thread has least to do. A piece's first panel
 * comes from far, later ones are brought near in time: longer pieces lose less. */
static int panels_of_piece(const struct matrix *matrix, int row_groups, int threads, int most)
{
    int best = 1;
    double best_cost = 0;
    for (int each = 1; each <= most; each++) {
        const double pieces = (double)divide_up(matrix->panels, each) * row_groups;
        const double rounds = ceil(pieces / threads);
        const double cost = rounds * (each + 0.1);
        /* A little worse is not worth fewer pieces: a thread that is held up holds up all. */
        if (each == 1 || cost < 0.98 * best_cost) {
            best = each;
            best_cost = cost;
        }
    }
    return best;
}

static struct cut cut_product(const struct matrix *matrix, int rows, int threads)
{
    struct cut cut = {.rows_each = rows < ITEM_ROWS ? rows : ITEM_ROWS};
    cut.row_groups = divide_up(rows, cut.rows_each);
    const size_t fitting = matrix->panel_bytes > 0 ? ITEM_BYTES / matrix->panel_bytes : ITEM_BYTES;
    int most = divide_up(matrix->panels, threads);
    if (rows <= FEW_ROWS) {
        /* Nothing is read twice: stretches as long as memory likes them. */
        cut.panels_each = matrix->panels >= 64 ? divide_up(most, 4) : most;
    } else {
        most = (size_t)most > fitting ? (int)fitting : most;
        cut.panels_each = panels_of_piece(matrix, cut.row_groups, threads, most > 0 ? most : 1);
    }
    cut.panel_groups = divide_up(matrix->panels, cut.panels_each);
    return cut;
}

/* Rows [first_row, last_row) by panels [first_panel, last_panel). */
static void run_item(const struct cpu_kernels *kernels, const struct product_call *call,
                     const float *in, size_t in_stride, int first_row, int last_row,
                     int first_panel, int last_panel)
{
    const struct matrix *matrix = call->matrix;
    const char *weights = (const char *)matrix->region.data +
                          (size_t)call->index * (size_t)matrix->panels * matrix->panel_bytes;
    const int32_t whole[2] = {0, matrix->columns};
    const int rows = last_row - first_row;
    const int tiles = divide_up(rows, kernels->tile_rows);
    const size_t out_stride = call->out_stride > 0 ? call->out_stride : (size_t)matrix->rows;
    const int at_once = rows <= FEW_ROWS ? last_panel - first_panel : 1;

    for (int panel = first_panel; panel < last_panel; panel += at_once) {
        const int left = matrix->rows - panel * PANEL;
        const char *here = weights + (size_t)panel * matrix->panel_bytes;
        struct product_tile tile = {
            .in_stride = in_stride,
            .panel = here,
            .panel_bytes = matrix->panel_bytes,
            .panels = at_once,
            .bfloat16 = matrix->bfloat16,
            .slice_start = call->range != NULL  ? call->range
                           : matrix->slices > 0 ? matrix->slice_start
                                                : whole,
            .slices = call->range == NULL && matrix->slices > 0 ? matrix->slices : 1,
            .bias =
                call->bias != NULL ? (const float *)call->bias->region.data + panel * PANEL : NULL,
            .out_stride = out_stride,
            .columns = left < at_once * PANEL ? left : at_once * PANEL,
            .next_step = matrix->columns > 0
                             ? matrix->panel_bytes / (size_t)matrix->columns / (size_t)tiles
                             : 0,
        };
        /* Weights come near while others are used: the panel's own from a distance ahead where one
         * tile uses them, else a part of the next panel with each tile. */
        const char *next = tiles == 1                     ? here + AHEAD_BYTES
                           : panel + at_once < last_panel ? here + matrix->panel_bytes
                                                          : here;
        for (int i = 0; i < tiles; i++) {
            const int row = first_row + (int)((int64_t)rows * i / tiles);
            const int end = first_row + (int)((int64_t)rows * (i + 1) / tiles);
            tile.in = in + (size_t)row * in_stride;
            tile.rows = end - row;
            tile.out = call->out + (size_t)row * out_stride + (size_t)panel * PANEL;
            tile.next = next + (size_t)i * (matrix->panel_bytes / (size_t)tiles);
            kernels->product(&tile);
        }
    }
}

void cpu_product_rows(const struct cpu_kernels *kernels, const struct product_call *call,
                      int first_row, int last_row)
{
    run_item(kernels, call, call->in, call->in_stride, first_row, last_row, 0,
             call->matrix->panels);
}

size_t cpu_copied_floats(int rows, size_t in_stride)
{
    const bool is_copied = in_stride % BAD_STRIDE == 0 && rows > 4;
    return is_copied ? (size_t)rows * (in_stride + STRIDE_PADDING) : 0;
}

size_t cpu_output_floats(int outputs, int columns)
{
    return (size_t)outputs * ((size_t)columns + STRIDE_PADDING);
}

status cpu_product_run(struct cpu_backend *cpu, const struct product_call *call)
{
    const struct matrix *matrix = call->matrix;
    if (call->rows == 0 || matrix->rows == 0) {
        return STATUS_OK;
    }
    const float *in = call->in;
    size_t in_stride = call->in_stride;
    const int threads = cpu_threads_for(cpu, (double)call->rows * matrix->rows * matrix->columns);
    const size_t copied = cpu_copied_floats(call->rows, in_stride);
    if (copied > 0) {
        const size_t stride = in_stride + STRIDE_PADDING;
        size_t bytes;
        TRY(cpu_size(&bytes, "copied rows", 2, copied, sizeof(float)));
        TRY(cpu_region_grow(&cpu->gathered, bytes, "copied rows"));
        float *copy = cpu->gathered.data;
#pragma omp parallel for num_threads(threads)
        for (int row = 0; row < call->rows; row++) {
            memcpy(copy + (size_t)row * stride, call->in + (size_t)row * call->in_stride,
                   (size_t)matrix->columns * sizeof(float));
        }
        in = copy;
        in_stride = stride;
    }
    const struct cut cut = cut_product(matrix, call->rows, threads);
    const int items = cut.panel_groups * cut.row_groups;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int item = 0; item < items; item++) {
        const int row = item % cut.row_groups * cut.rows_each;
        const int panel = item / cut.row_groups * cut.panels_each;
        const int last_row = row + cut.rows_each < call->rows ? row + cut.rows_each : call->rows;
        const int last_panel =
            panel + cut.panels_each < matrix->panels ? panel + cut.panels_each : matrix->panels;
        run_item(cpu->kernels, call, in, in_stride, row, last_row, panel, last_panel);
    }
    return STATUS_OK;
}

status cpu_product(struct backend *backend, const struct matrix *matrix, const struct vector *bias,
                   struct device_buffer *in, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->rows;
    const float *from = cpu_floats(in, tokens, matrix->columns);
    float *to = cpu_floats(out, tokens, matrix->rows);
    if (from == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    if (matrix->slices > 0 || matrix->count != 1 ||
        (bias != NULL && bias->length != matrix->rows)) {
        return status_fail(STATUS_INTERNAL, "product: the matrix is sliced or a stack, or the bias "
                                            "has another length");
    }
    const struct product_call call = {.matrix = matrix,
                                      .in = from,
                                      .in_stride = (size_t)matrix->columns,
                                      .rows = tokens,
                                      .bias = bias,
                                      .out = to};
    return cpu_is_rounded(cpu, matrix) ? cpu_product_rounded(cpu, &call)
                                       : cpu_product_run(cpu, &call);
}

status cpu_product_sliced(struct backend *backend, const struct matrix *matrix,
                          struct device_buffer *in, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->rows;
    const float *from = cpu_floats(in, tokens, matrix->columns);
    float *to = cpu_floats(out, tokens, matrix->rows);
    if (from == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    if (matrix->slices == 0 || matrix->count != 1) {
        return status_fail(STATUS_INTERNAL, "sliced product: the matrix has no slices");
    }
    const struct product_call call = {.matrix = matrix,
                                      .in = from,
                                      .in_stride = (size_t)matrix->columns,
                                      .rows = tokens,
                                      .out = to};
    return cpu_is_rounded(cpu, matrix) ? cpu_product_rounded(cpu, &call)
                                       : cpu_product_run(cpu, &call);
}

status cpu_logits(struct backend *backend, const struct matrix *matrix, float scale, float soft_cap,
                  struct device_buffer *in, struct device_buffer *logits)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct batch *batch = cpu->batch;
    const size_t columns = (size_t)matrix->columns;
    const float *from = cpu_floats(in, cpu->rows, matrix->columns);
    float *to = cpu_floats(logits, batch->outputs, matrix->rows);
    if (from == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    if (matrix->slices > 0 || matrix->count != 1) {
        return status_fail(STATUS_INTERNAL, "logits: the matrix is sliced or a stack");
    }
    const size_t stride = columns + STRIDE_PADDING;
    size_t bytes;
    TRY(cpu_size(&bytes, "output rows", 2, cpu_output_floats(batch->outputs, matrix->columns),
                 sizeof(float)));
    TRY(cpu_region_grow(&cpu->gathered, bytes, "output rows"));
    float *rows = cpu->gathered.data;
    for (int i = 0; i < batch->outputs; i++) {
        /* ascending: as many as rows are all of them */
        const int row = cpu->rows == batch->outputs ? i : batch->output_rows[i];
        memcpy(rows + (size_t)i * stride, from + (size_t)row * columns, columns * sizeof(float));
    }
    const struct product_call call = {
        .matrix = matrix, .in = rows, .in_stride = stride, .rows = batch->outputs, .out = to};
    TRY(cpu_product_run(cpu, &call));
    if (scale != 1.0f || soft_cap > 0.0f) {
        const int threads = cpu_threads_for(cpu, 16.0 * batch->outputs * matrix->rows);
#pragma omp parallel for num_threads(threads)
        for (int i = 0; i < batch->outputs; i++) {
            cpu->kernels->scale_cap(to + (size_t)i * (size_t)matrix->rows, scale, soft_cap,
                                    matrix->rows);
        }
    }
    return STATUS_OK;
}

/* The table is packed like any matrix, since with tied embeddings it is the vocabulary projection
 * too: a token's row is every 32nd value of its panel. */
static void embed_row(const struct matrix *table, int row, float scale, bool is_added, float *out)
{
    const char *panel =
        (const char *)table->region.data + (size_t)(row / PANEL) * table->panel_bytes;
    const size_t place = (size_t)panel_place(row % PANEL, table->bfloat16);
    for (size_t k = 0; k < (size_t)table->columns; k++) {
        float value;
        if (table->bfloat16) {
            const uint32_t bits = (uint32_t)((const uint16_t *)panel)[k * PANEL + place] << 16;
            memcpy(&value, &bits, sizeof value);
        } else {
            value = ((const float *)panel)[k * PANEL + place];
        }
        /* -0 becomes 0, as it does in a sum over ranks */
        out[k] = value * scale + (is_added ? out[k] : 0.0f);
    }
}

status cpu_embed(struct backend *backend, const struct matrix *table, int first_row, float scale,
                 struct device_buffer *residual)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct batch *batch = cpu->batch;
    float *out = cpu_floats(residual, batch->tokens, table->columns);
    if (out == NULL) {
        return STATUS_INTERNAL;
    }
    const size_t columns = (size_t)table->columns;
    const int threads = cpu_threads_for(cpu, 32.0 * batch->tokens * table->columns);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < batch->tokens; token++) {
        const int64_t row = (int64_t)cpu->token_ids[token] - first_row;
        float *to = out + (size_t)token * columns;
        if (row >= 0 && row < table->rows) {
            embed_row(table, (int)row, scale, false, to);
        } else {
            memset(to, 0, columns * sizeof *to);
        }
    }
    return STATUS_OK;
}

status cpu_embed_types(struct backend *backend, const struct matrix *table, int first_row,
                       int position_step, int type_step, struct device_buffer *residual)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct batch *batch = cpu->batch;
    float *out = cpu_floats(residual, batch->tokens, table->columns);
    if (out == NULL) {
        return STATUS_INTERNAL;
    }
    for (int token = 0; token < batch->tokens; token++) {
        const int type = batch->token_types != NULL ? batch->token_types[token] : 0;
        const int64_t row = first_row + (int64_t)batch->positions[token] * position_step +
                            (int64_t)type * type_step;
        if (row >= table->rows) {
            return status_fail(STATUS_INTERNAL, "position %d of type %d: the table has %d rows",
                               batch->positions[token], type, table->rows);
        }
        embed_row(table, (int)row, 1.0f, true, out + (size_t)token * (size_t)table->columns);
    }
    return STATUS_OK;
}

status cpu_embed_positions(struct backend *backend, const struct matrix *table, int first_row,
                           struct device_buffer *residual)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct batch *batch = cpu->batch;
    float *out = cpu_floats(residual, batch->tokens, table->columns);
    if (out == NULL) {
        return STATUS_INTERNAL;
    }
    for (int token = 0; token < batch->tokens; token++) {
        const int64_t row = (int64_t)batch->positions[token] + first_row;
        if (row >= table->rows) {
            return status_fail(STATUS_INTERNAL, "position %d: the table has %d, from %d on",
                               batch->positions[token], table->rows, first_row);
        }
    }
    const int threads = cpu_threads_for(cpu, 32.0 * batch->tokens * table->columns);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < batch->tokens; token++) {
        embed_row(table, batch->positions[token] + first_row, 1.0f, true,
                  out + (size_t)token * (size_t)table->columns);
    }
    return STATUS_OK;
}
