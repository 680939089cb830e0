/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of backends and the CPU's buffers, memory and limits. */
#include "cpu_fixture.h"

static void registry_knows_its_backends(void **state)
{
    (void)state;
    struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = 8, .max_sequences = 4, .threads = 1};
    struct backend *backend;
    assert_true(backend_is_built("cpu"));
    assert_false(backend_is_built("abacus"));
    assert_int_equal(backend_device_count("cpu"), 1);
    assert_int_equal(backend_device_count("abacus"), 0);
    assert_int_equal(backend_create("abacus", &options, &backend), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "abacus"));
    options.device = 1;
    assert_int_equal(backend_create("cpu", &options, &backend), STATUS_NOT_FOUND);
    options.device = 0;
    options.compute = DTYPE_FLOAT8_E4M3;
    assert_int_equal(backend_create("cpu", &options, &backend), STATUS_UNSUPPORTED);
    options.compute = DTYPE_FLOAT32;
    options.max_tokens = 0;
    assert_int_equal(backend_create("cpu", &options, &backend), STATUS_INVALID);
    options.max_tokens = 8;
    check(backend_create("cpu", &options, &backend));
    assert_non_null(strstr(backend->operations->device_name(backend), "1 thread"));
    assert_int_equal(backend->operations->activation_dtype(backend), DTYPE_FLOAT32);
    check(backend->operations->synchronize(backend));
    backend->operations->destroy(backend);
}

static void types_have_names_and_sizes(void **state)
{
    (void)state;
    assert_string_equal(dtype_name(DTYPE_FLOAT32), "float32");
    assert_string_equal(dtype_name(DTYPE_BFLOAT16), "bfloat16");
    assert_string_equal(dtype_name(DTYPE_FLOAT16), "float16");
    assert_string_equal(dtype_name(DTYPE_FLOAT8_E4M3), "fp8");
    assert_int_equal(dtype_bytes(DTYPE_FLOAT32), 4);
    assert_int_equal(dtype_bytes(DTYPE_BFLOAT16), 2);
    assert_int_equal(dtype_bytes(DTYPE_FLOAT16), 2);
    assert_int_equal(dtype_bytes(DTYPE_FLOAT8_E4M3), 1);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    int64_t total_bytes, free_bytes;
    check(op->memory(backend, &total_bytes, &free_bytes));
    assert_true(total_bytes > 0 && free_bytes >= 0 && free_bytes <= total_bytes);
    struct device_buffer *buffer;
    assert_int_equal(op->buffer_create(backend, (size_t)total_bytes + 1, &buffer),
                     STATUS_NO_MEMORY);
    assert_null(buffer);
    assert_int_equal(op->buffer_create(backend, SIZE_MAX, &buffer), STATUS_NO_MEMORY);
    struct kv_cache *cache;
    const struct cache_store store = {STORE_KEYS_VALUES, 1 << 30, 1 << 14, 0};
    const struct cache_store stores[] = {store, store, store, store};
    const struct cache_layout layout = {
        .layers = 4, .stores = stores, .block_tokens = 1 << 14, .dtype = DTYPE_FLOAT32};
    assert_int_equal(op->kv_create(backend, &layout, 1 << 30, &cache), STATUS_LIMIT);
    assert_int_equal(op->kv_create(backend, &layout, 1, &cache), STATUS_LIMIT);
    assert_true(op->kv_block_bytes(backend, &layout) == INT64_MAX);
    assert_true(op->matrix_bytes(backend, 2, 33, 10, 0, WEIGHT_BFLOAT16) == 2 * 64 * 10 * 2);
    op->destroy(backend);
}

static void buffers_hold_their_bytes(void **state)
{
    (void)state;
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    static const size_t sizes[] = {0, 1, 64, 5 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct device_buffer *buffer;
        check(op->buffer_create(backend, sizes[i], &buffer));
        assert_true((uintptr_t)op->host_address(backend, buffer) % 64 == 0);
        const char text[] = "bytes";
        char back[sizeof text] = "";
        if (sizes[i] >= sizeof text) {
            const size_t end = sizes[i] - sizeof text;
            check(op->upload(backend, buffer, end, text, sizeof text));
            check(op->download(backend, buffer, end, back, sizeof text));
            assert_string_equal(back, text);
        }
        assert_int_equal(op->upload(backend, buffer, sizes[i], text, 1), STATUS_INTERNAL);
        assert_int_equal(op->download(backend, buffer, sizes[i] + 1, back, 0), STATUS_INTERNAL);
        assert_int_equal(op->download(backend, buffer, 1, back, SIZE_MAX), STATUS_INTERNAL);
        op->buffer_destroy(backend, buffer);
    }
    op->destroy(backend);
}

/* A step that does not hold together is refused whole. */
static void steps_are_checked(void **state)
{
    (void)state;
    int32_t ids[3] = {0}, positions[3] = {0, 1, 0}, start[3] = {0, 2, 3}, context[2] = {2, 1},
            outputs[2] = {1, 2};
    const struct batch good = {.tokens = 3,
                               .sequences = 2,
                               .outputs = 2,
                               .token_ids = ids,
                               .positions = positions,
                               .query_start = start,
                               .context_length = context,
                               .output_rows = outputs};
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    check(op->step_begin(backend, &good));
    struct batch bad = good;
    bad.tokens = FIXTURE_TOKENS + 1;
    assert_int_equal(op->step_begin(backend, &bad), STATUS_INTERNAL);
    bad.tokens = 2;
    assert_int_equal(op->step_begin(backend, &bad), STATUS_INTERNAL);
    outputs[1] = 3;
    assert_int_equal(op->step_begin(backend, &good), STATUS_INTERNAL);
    outputs[1] = 2;
    positions[1] = 2;
    assert_int_equal(op->step_begin(backend, &good), STATUS_INTERNAL);
    positions[1] = 1;
    start[1] = 0;
    assert_int_equal(op->step_begin(backend, &good), STATUS_INTERNAL);
    start[1] = 4;
    assert_int_equal(op->step_begin(backend, &good), STATUS_INTERNAL);
    op->destroy(backend);
}

/* The first bytes of one buffer to another; no more than either has. */
static void buffers_are_copied(void **state)
{
    (void)state;
    const struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = 8, .max_sequences = 4};
    struct backend *backend;
    check(backend_create("cpu", &options, &backend));
    const struct backend_operations *op = backend->operations;
    struct device_buffer *from, *to;
    char in[1001], out[1001];
    for (size_t j = 0; j < sizeof in; j++) {
        in[j] = (char)(j * 7);
    }
    check(op->buffer_create(backend, sizeof in, &from));
    check(op->buffer_create(backend, sizeof in, &to));
    check(op->upload(backend, from, 0, in, sizeof in));
    check(op->copy(backend, from, to, sizeof in));
    check(op->download(backend, to, 0, out, sizeof out));
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(op->copy(backend, from, to, sizeof in + 1), STATUS_INTERNAL);
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, to);
    op->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_knows_its_backends), cmocka_unit_test(types_have_names_and_sizes),
        cmocka_unit_test(memory_is_bounded),           cmocka_unit_test(buffers_hold_their_bytes),
        cmocka_unit_test(steps_are_checked),           cmocka_unit_test(buffers_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
