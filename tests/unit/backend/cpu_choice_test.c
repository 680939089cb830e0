/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU backend chooses for itself: kernels by the processor's flags, threads by the work;
 * and the options that it is made with, at their bounds. */
#include "cpu_fixture.h"

/* ---- Kernels ---- */

/* Whether the processor says that it has all of these. */
static bool has_flags(const char *flags)
{
    static char line[1 << 14];
    FILE *file = fopen("/proc/cpuinfo", "r");
    assert_non_null(file);
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, "flags", 5) == 0;
    }
    fclose(file);
    line[strcspn(line, "\n")] = ' ';
    for (const char *flag = flags; *flag != '\0';) {
        char word[24];
        const size_t length = strcspn(flag, " ");
        snprintf(word, sizeof word, " %.*s ", (int)length, flag);
        if (strstr(line, word) == NULL) {
            return false;
        }
        flag += length + (flag[length] == ' ');
    }
    return true;
}

static void kernels_are_the_best_that_run(void **state)
{
    (void)state;
    const char *before = getenv("SLUICE_CPU_KERNELS");
    char *kept = before != NULL ? strdup(before) : NULL;
    const struct cpu_kernels *best = &cpu_kernels_baseline;
#ifdef SLUICE_CPU_X86_KERNELS
    const bool v3 = has_flags("avx2 fma bmi1 bmi2");
    const bool v4 = v3 && has_flags("avx512f avx512bw avx512cd avx512dq avx512vl");
    best = v4 ? &cpu_kernels_v4 : v3 ? &cpu_kernels_v3 : best;
#else
    (void)has_flags;
#endif
    static const char *const asked[] = {NULL, "", "v3", "baseline", "baseline "};
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        (void)(asked[i] != NULL ? setenv("SLUICE_CPU_KERNELS", asked[i], 1)
                                : unsetenv("SLUICE_CPU_KERNELS"));
        const struct cpu_kernels *expected = i == 3 ? &cpu_kernels_baseline : best;
        assert_ptr_equal(cpu_kernels_best(), expected);
        assert_string_equal(cpu_arithmetic(), expected == &cpu_kernels_baseline
                                                  ? "processors without fused multiply-add"
                                                  : "processors with fused multiply-add");
    }
    (void)(kept != NULL ? setenv("SLUICE_CPU_KERNELS", kept, 1) : unsetenv("SLUICE_CPU_KERNELS"));
    free(kept);
}

/* ---- Threads ---- */

static void threads_are_as_many_as_the_work_is_worth(void **state)
{
    (void)state;
    static const struct {
        int threads, expected;
        double work;
    } cases[] = {{4, 1, 0},     {4, 1, 50e3},  {4, 1, 99e3},  {4, 2, 100e3},
                 {4, 3, 199e3}, {4, 4, 200e3}, {4, 4, 1e300}, {1, 1, 1e9}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct cpu_backend cpu = {.threads = cases[i].threads};
        assert_int_equal(cpu_threads_for(&cpu, cases[i].work), cases[i].expected);
    }
}

/* ---- Options and rows ---- */

static void options_at_their_bounds(void **state)
{
    (void)state;
    static const struct {
        int tokens, sequences, threads;
        bool fits;
    } cases[] = {{1, 1, 0, true},  {1, 1, 1, true},  {1, 1, 2, true},
                 {0, 1, 1, false}, {1, 0, 1, false}, {1, 1, -1, false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct backend_options options = {.compute = DTYPE_BFLOAT16,
                                                .max_tokens = cases[i].tokens,
                                                .max_sequences = cases[i].sequences,
                                                .threads = cases[i].threads};
        struct backend *backend;
        const status s = cpu_backend_create(&options, &backend);
        assert_int_equal(s, cases[i].fits ? STATUS_OK : STATUS_INVALID);
        if (s != STATUS_OK) {
            assert_null(backend);
            continue;
        }
        const struct cpu_backend *cpu = cpu_of(backend);
        assert_int_equal(cpu->threads,
                         cases[i].threads > 0 ? cases[i].threads : cpu_host_threads());
        assert_int_equal(cpu->activation, DTYPE_BFLOAT16);
        assert_int_equal(strstr(backend->operations->device_name(backend), " threads,") != NULL,
                         cpu->threads != 1);
        assert_true(backend->operations->is_idle(backend));
        assert_int_equal(backend->operations->partial_bytes(backend, NULL, 5), 0);
        backend->operations->destroy(backend);
    }
}

static void rows_fit_into_buffers(void **state)
{
    (void)state;
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    struct device_buffer *buffer = fixture_buffer(backend, NULL, 12);
    assert_ptr_equal(cpu_floats(buffer, 3, 4), buffer->region.data);
    assert_ptr_equal(cpu_floats(buffer, 0, 4), buffer->region.data);
    assert_null(cpu_floats(buffer, 1, 13));
    assert_string_equal(status_message(), "buffer of 48 bytes: 1 rows of 13 do not fit");
    assert_null(cpu_floats(buffer, 1 << 30, 1 << 30)); /* more than 32 bits */
    backend->operations->buffer_destroy(backend, buffer);
    backend->operations->buffer_destroy(backend, NULL);
    backend->operations->destroy(backend);
}

/* In whichever shares the threads take it. */
static void large_buffers_are_copied(void **state)
{
    (void)state;
    enum { COUNT = 70001 };
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 4});
    const struct backend_operations *op = backend->operations;
    float *values = fixture_random(COUNT, 3), *out = malloc(COUNT * sizeof *out);
    struct device_buffer *from = fixture_buffer(backend, values, COUNT);
    struct device_buffer *to = fixture_buffer(backend, NULL, COUNT);
    struct device_buffer *small = fixture_buffer(backend, NULL, COUNT - 1);
    check(op->copy(backend, from, to, COUNT * sizeof *out - 1));
    check(op->download(backend, to, 0, out, COUNT * sizeof *out));
    assert_memory_equal(out, values, COUNT * sizeof *out - 1);
    assert_int_equal(((const char *)out)[COUNT * sizeof *out - 1], 0);
    assert_int_equal(op->copy(backend, from, small, COUNT * sizeof *out), STATUS_INTERNAL);
    assert_int_equal(op->copy(backend, small, to, COUNT * sizeof *out), STATUS_INTERNAL);
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, to);
    op->buffer_destroy(backend, small);
    op->destroy(backend);
    free(values);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_the_best_that_run),
        cmocka_unit_test(threads_are_as_many_as_the_work_is_worth),
        cmocka_unit_test(options_at_their_bounds),
        cmocka_unit_test(rows_fit_into_buffers),
        cmocka_unit_test(large_buffers_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
