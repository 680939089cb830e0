/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kinds, what each answers where it has no device, and the memory that CUDA's steps
 * take, counted by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/kind/memory.h"
#include "sluice/backend.h"

static void kinds_are_found(void **state)
{
    (void)state;
    const struct backend_kind *cpu = backend_kind_find("cpu"), *cuda = backend_kind_find("cuda");
    assert_ptr_equal(backend_kind_at(0), cpu);
    assert_ptr_equal(backend_kind_at(1), cuda);
    assert_null(backend_kind_at(2));
    assert_null(backend_kind_find("cud"));
    assert_ptr_equal(backend_kind_host(), cpu);
    assert_string_equal(cpu->name, "cpu");
    assert_string_equal(cuda->name, "cuda");
    assert_true(backend_kind_is_built(cpu));
    assert_int_equal(backend_kind_device_count(cpu), 1);
    assert_true(cpu->takes_block_tokens(16) && cpu->takes_block_tokens(48));
    assert_false(cpu->takes_block_tokens(15) || cpu->takes_block_tokens(17));
    assert_true(cuda->takes_block_tokens(2) && cuda->takes_block_tokens(16));
    assert_false(cuda->takes_block_tokens(1) || cuda->takes_block_tokens(48) ||
                 cuda->takes_block_tokens(0));
}

/* A kind as a program without its library has it, and one with two devices. */
static int two(void)
{
    return 2;
}

static status never(const struct backend_options *options, struct backend **out)
{
    (void)options;
    *out = NULL;
    return status_fail(STATUS_UNSUPPORTED, "never");
}

static enum device_link by_address(int device, const char *address)
{
    return device == 1 && strcmp(address, "0000:17:00.0") == 0 ? DEVICE_LINK_DIRECT
                                                               : DEVICE_LINK_BUS;
}

static void kinds_without_devices(void **state)
{
    (void)state;
    struct backend_kind kind = {.device_count = two};
    assert_false(backend_kind_is_built(&kind));
    assert_int_equal(backend_kind_device_count(&kind), 0);
    kind.create = never;
    assert_true(backend_kind_is_built(&kind));
    assert_int_equal(backend_kind_device_count(&kind), 2);
}

static void devices_by_name(void **state)
{
    (void)state;
    struct device_facts facts;
    assert_int_equal(backend_device_facts("cpu", 0, &facts), STATUS_OK);
    assert_string_equal(facts.name, "host processors");
    assert_true(facts.arithmetic[0] != '\0');
    assert_int_equal(backend_device_facts("cpu", 1, &facts), STATUS_NOT_FOUND);
    assert_string_equal(status_message(), "cpu device 1: this host has 1");
    assert_int_equal(backend_device_facts("cpu", -1, &facts), STATUS_NOT_FOUND);
    assert_int_equal(backend_device_facts("abacus", 0, &facts), STATUS_UNSUPPORTED);
    assert_string_equal(status_message(), "no backend \"abacus\" in this build");
    assert_true(isnan(backend_device_energy("cpu", 0)));
    assert_true(isnan(backend_device_energy("abacus", 0)));
    assert_true(isnan(backend_device_energy("cuda", -1)));
    struct backend *backend = (struct backend *)(void *)&facts;
    const struct backend_options options = {.device = 7};
    assert_int_equal(backend_create("cpu", &options, &backend), STATUS_NOT_FOUND);
    assert_null(backend);
}

/* ---- CUDA's memory ---- */

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void partial_sums(void **state)
{
    (void)state;
    size_t scales = 0;
    assert_int_equal(cuda_partials_bytes(2, 3, 5, 2, false, &scales), 64); /* 60, in 16s */
    assert_int_equal(scales, 64);
    assert_int_equal(cuda_partials_bytes(2, 3, 5, 2, true, &scales),
                     64 + 64); /* 2 (5 + 3) floats */
    assert_int_equal(scales, 64);
    assert_int_equal(cuda_partials_bytes(1, 4, 2, 2, true, &scales), 16 + 32); /* 24, in 16s */
    assert_int_equal(scales, 16);
    const struct step_shape shape = {
        .compute = DTYPE_BFLOAT16, .slices = 4, .tokens = 100, .hidden = 33};
    assert_int_equal(cuda_kind_partial_bytes(&shape), 4 * 100 * 33 * 2);
}

static void expect_scratch(const struct step_shape *shape, int64_t rows, int64_t work)
{
    struct scratch_bytes total = {.rows = 3, .work = 5};
    cuda_kind_add_scratch(shape, &total);
    assert_int_equal(total.rows, 3 + rows);
    assert_int_equal(total.work, 5 + work);
}

/* The widest product of a layer, its in- and output, for its rows and for the reference's. */
static int64_t trial(const struct step_shape *s)
{
    const int64_t up = s->hidden + (int64_t)s->columns * (s->gated ? 2 : 1);
    const int64_t qkv = s->hidden + (int64_t)(s->query_heads + 2 * s->kv_heads) * s->head_dim;
    const int64_t down = s->columns + (int64_t)s->slices * s->hidden;
    return 2 * most(most(up, qkv), down) * most(s->tokens, 512);
}

static void scratch_of_layers(void **state)
{
    (void)state;
    struct step_shape shape = {.compute = DTYPE_BFLOAT16,
                               .stored = WEIGHT_BFLOAT16,
                               .tokens = 600,
                               .outputs = 40,
                               .hidden = 64,
                               .head_dim = 16,
                               .query_heads = 3,
                               .kv_heads = 2,
                               .columns = 100,
                               .gated = true,
                               .slices = 1};
    expect_scratch(&shape, 0, trial(&shape)); /* gate and up are the widest */
    shape.gated = false;
    shape.slices = 3; /* down is */
    expect_scratch(&shape, 0, trial(&shape));
    shape.columns = 10;
    shape.slices = 1;
    shape.query_heads = 12; /* queries, keys and values are */
    expect_scratch(&shape, 0, trial(&shape));
    shape.tokens = 20; /* the reference has more */
    expect_scratch(&shape, 0, trial(&shape));
    shape.compute = DTYPE_FLOAT32;
    expect_scratch(&shape, 0, 2 * trial(&shape));
    shape.compute = DTYPE_BFLOAT16;
    shape.stored = WEIGHT_FP8; /* inputs are rounded, beside them */
    expect_scratch(&shape, 20 * (64 + 12 * 16 + 10), trial(&shape));
}

static void scratch_of_the_vocabulary(void **state)
{
    (void)state;
    struct step_shape shape = {.compute = DTYPE_BFLOAT16,
                               .stored = WEIGHT_BFLOAT16,
                               .tokens = 600,
                               .outputs = 40,
                               .hidden = 64,
                               .head_dim = 16,
                               .query_heads = 3,
                               .kv_heads = 2,
                               .columns = 100,
                               .gated = true,
                               .slices = 1};
    shape.vocabulary = 1000; /* 32 words a mask, half more */
    expect_scratch(&shape, 0, trial(&shape) + 40 * 32 * 4 * 3 / 2);
    shape.vocabulary_rows = 1000; /* a row of logits is the largest product's */
    expect_scratch(&shape, 0, 512 * (2 * 64 + 4 * 1000) + 40 * 32 * 4 * 3 / 2);
    shape.outputs = 550;
    expect_scratch(&shape, 0, 550 * (2 * 64 + 4 * 1000) + 550 * 32 * 4 * 3 / 2);
    shape.vocabulary_rows = 10;
    expect_scratch(&shape, 0, trial(&shape) + 550 * 32 * 4 * 3 / 2);
}

static void scratch_of_experts(void **state)
{
    (void)state;
    struct step_shape shape = {.compute = DTYPE_BFLOAT16,
                               .stored = WEIGHT_BFLOAT16,
                               .tokens = 600,
                               .hidden = 64,
                               .head_dim = 16,
                               .query_heads = 3,
                               .kv_heads = 2,
                               .slices = 2,
                               .experts = 8,
                               .experts_used = 2,
                               .expert_columns = 96};
    const int64_t rows = 600 * 2;
    const int64_t active = rows * 96 * 2 * 2, partial = rows * 64 * 2 * 2;
    expect_scratch(&shape, 0, trial(&shape) + active + partial + 32 * rows);
    shape.expert_columns = 1 << 20; /* worked on in parts */
    expect_scratch(&shape, 0, trial(&shape) + (512ll << 20) + partial + 32 * rows);
    shape.slices = 4000;
    expect_scratch(&shape, 0, trial(&shape) + (512ll << 20) + (256ll << 20) + 32 * rows);
    shape.experts = 0;
    expect_scratch(&shape, 0, trial(&shape));
}

static void links(void **state)
{
    (void)state;
    struct backend_kind kind = {.create = never};
    assert_int_equal(backend_kind_link(&kind, 1, "0000:17:00.0"), DEVICE_LINK_UNKNOWN);
    kind.device_link = by_address;
    assert_int_equal(backend_kind_link(&kind, 1, ""), DEVICE_LINK_UNKNOWN);
    assert_int_equal(backend_kind_link(&kind, 1, "0000:17:00.0"), DEVICE_LINK_DIRECT);
    assert_int_equal(backend_kind_link(&kind, 0, "0000:17:00.0"), DEVICE_LINK_BUS);
    assert_string_equal(backend_link_text(DEVICE_LINK_UNKNOWN), "");
    assert_string_equal(backend_link_text(DEVICE_LINK_HOST_MEMORY), ", through the host's memory");
    assert_string_equal(backend_link_text(DEVICE_LINK_BUS), ", over PCI Express");
    assert_string_equal(backend_link_text(DEVICE_LINK_DIRECT), ", over NVLink");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_found),
        cmocka_unit_test(kinds_without_devices),
        cmocka_unit_test(devices_by_name),
        cmocka_unit_test(links),
        cmocka_unit_test(partial_sums),
        cmocka_unit_test(scratch_of_layers),
        cmocka_unit_test(scratch_of_the_vocabulary),
        cmocka_unit_test(scratch_of_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
