/* SPDX-License-Identifier: Apache-2.0 */
/* The serial bound against figures worked out by hand and published for one shape, and the summary
 * of step times. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the four before it. */
#include <cmocka.h>

#include "sluice/bench.h"

/* Llama 3.1 8B. */
static struct model_config llama_8b(void)
{
    return (struct model_config){.layers = 32,
                                 .hidden = 4096,
                                 .heads = 32,
                                 .kv_heads = 8,
                                 .head_dim = 128,
                                 .intermediate = 14336,
                                 .vocabulary = 128256,
                                 .gated = true};
}

/* An H100 has 80 GB, an H200 141, of which nine tenths may be used. */
static const int64_t h100_bytes = (int64_t)(0.9 * 80e9), h200_bytes = (int64_t)(0.9 * 141e9);

/* Seconds of the linear layers of a step of this shape, by rows: measured on an H100. */
static const struct {
    double rows, bf16, fp8;
} measured[] = {
    {1, 5.64e-3, 3.13e-3},    {16, 5.67e-3, 3.16e-3},   {64, 5.77e-3, 3.17e-3},
    {128, 5.96e-3, 3.32e-3},  {256, 6.91e-3, 3.76e-3},  {512, 10.4e-3, 5.59e-3},
    {1024, 20.0e-3, 10.1e-3}, {2048, 41.1e-3, 20.3e-3}, {8192, 162e-3, 77.6e-3},
};

static struct device_ceilings card(double bytes_per_second, enum weight_format type)
{
    const struct model_config config = llama_8b();
    const double values = model_weight_values(&config) - 4096.0 * 128256; /* no embedding table */
    struct device_ceilings ceilings = {.bytes_per_second = bytes_per_second,
                                       .product_count = COUNT_OF(measured)};
    for (size_t i = 0; i < COUNT_OF(measured); i++) {
        const double seconds = type == WEIGHT_BFLOAT16 ? measured[i].bf16 : measured[i].fp8;
        ceilings.products[i] = (struct product_ceiling){measured[i].rows, seconds / values};
    }
    ceilings.rate_in_16_bits = ceilings_rate_in_16_bits(ceilings_product_rate(&ceilings), type);
    return ceilings;
}

static double bound(double bytes_per_second, enum weight_format type, int64_t memory, int prompt,
                    int new)
{
    const struct model_config config = llama_8b();
    const struct device_ceilings ceilings = card(bytes_per_second, type);
    const struct bound_load load = {.devices = 1,
                                    .memory_bytes = memory,
                                    .weight_value_bytes = weight_format_bits(type) / 8,
                                    .kv_value_bytes = weight_format_bits(type) / 8,
                                    .requests = 1000000,
                                    .prompt_tokens = prompt,
                                    .new_tokens = new};
    struct serial_bound out;
    serial_bound_compute(&config, &load, &ceilings, &out);
    return out.tokens_per_second;
}

/* Copies at 3.0 and 4.3 TB/s; the serial bounds of output tokens a second worked out elsewhere from
 * the same measurements, with prefill attention of long prompts at its rate for their length. */
static void test_measured_ceilings(void **state)
{
    (void)state;
    static const struct {
        int prompt, new;
        double h100, h200, bf16;
    } rows[] = {
        {128, 128, 41900, 44300, 20800},  {128, 2048, 27300, 35000, 13200},
        {128, 4096, 16500, 22500, 0},     {500, 2000, 21400, 27800, 0},
        {1000, 1000, 18400, 22900, 8850}, {1000, 2000, 16300, 21500, 0},
        {2048, 128, 4445, 4787, 2226},    {2048, 2048, 10700, 14400, 4950},
        {5000, 500, 4017, 4847, 0},       {20000, 2000, 1445, 1944, 0},
    };
    int wrong = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const double got[] = {
            bound(3.0e12, WEIGHT_FP8, h100_bytes, rows[i].prompt, rows[i].new),
            bound(4.3e12, WEIGHT_FP8, h200_bytes, rows[i].prompt, rows[i].new),
            bound(3.0e12, WEIGHT_BFLOAT16, h100_bytes, rows[i].prompt, rows[i].new)};
        const double wanted[] = {rows[i].h100, rows[i].h200, rows[i].bf16};
        for (size_t j = 0; j < COUNT_OF(wanted); j++) {
            if (wanted[j] > 0 && fabs(got[j] / wanted[j] - 1) > 0.1) {
                print_message("%d/%d, column %zu: %.0f instead of %.0f\n", rows[i].prompt,
                              rows[i].new, j, got[j], wanted[j]);
                wrong++;
            }
        }
    }
    assert_int_equal(wrong, 0);
}

/* A weight takes `reading` seconds whatever the rows, but `computing` for each of them at least. */
static struct device_ceilings simple_card(double reading, double computing, double attention)
{
    return (struct device_ceilings){
        .bytes_per_second = 1e12,
        .product_count = 2,
        .products = {{reading / computing, reading}, {1e6 * reading / computing, 1e6 * reading}},
        .rate_in_16_bits = attention};
}

static void test_product_ceilings(void **state)
{
    (void)state;
    const struct device_ceilings h100 = card(3e12, WEIGHT_BFLOAT16);
    const double values = 7504658432.0;
    assert_true(fabs(values * ceilings_product_seconds(&h100, 0.5) / 5.64e-3 - 1) < 1e-9);
    assert_true(fabs(values * ceilings_product_seconds(&h100, 256) / 6.91e-3 - 1) < 1e-9);
    assert_true(fabs(values * ceilings_product_seconds(&h100, 384) / 8.655e-3 - 1) < 1e-9);
    assert_true(fabs(values * ceilings_product_seconds(&h100, 16384) / 324e-3 - 1) < 1e-9);
    assert_true(fabs(ceilings_product_rate(&h100) / 759e12 - 1) < 0.001);
}

/* One sequence reads all weights for each token: 7.5e9 of them and its cache. */
static void test_one_sequence_reads_the_weights(void **state)
{
    (void)state;
    struct model_config config = llama_8b();
    const struct device_ceilings ceilings = simple_card(1e-12, 1e-18, 1e18);
    struct bound_load load = {.devices = 1,
                              .memory_bytes = (int64_t)1e15,
                              .weight_value_bytes = 1,
                              .kv_value_bytes = 1,
                              .requests = 1,
                              .prompt_tokens = 1,
                              .new_tokens = 1001};
    struct serial_bound out;
    serial_bound_compute(&config, &load, &ceilings, &out);
    const double layers = 32 * (4096.0 * 6144 + 4096.0 * 4096 + 3 * 4096.0 * 14336);
    const double vocabulary = 4096.0 * 128256;
    assert_int_equal(out.batch, 1);
    assert_true(fabs(out.products * 1e12 / (layers + vocabulary) - 1) < 1e-9);
    /* 65,536 bytes a position and 501.5 positions in 1,000 of 1,001 steps. */
    assert_true(fabs(out.decode_attention * 1e12 / (65536 * 501.5 * 1000 / 1001) - 1) < 1e-9);
    assert_true(fabs(model_weight_values(&config) / (layers + 2 * vocabulary) - 1) < 1e-12);

    load.devices = 2; /* without loss */
    struct serial_bound two;
    serial_bound_compute(&config, &load, &ceilings, &two);
    assert_true(fabs(two.tokens_per_second / out.tokens_per_second - 2) < 1e-9);
}

/* A window bounds what is read; memory bounds the batch. */
static void test_windows_and_memory(void **state)
{
    (void)state;
    struct model_config config = llama_8b();
    const struct layer_kind windowed = {MIXER_ATTENTION, ATTENTION_WINDOWED};
    const struct layer_kind kinds[32] = {[0] = windowed, [31] = windowed};
    config.layer_kinds = kinds;
    config.window = 100;
    const struct device_ceilings ceilings = simple_card(1e-12, 2e-15, 1e15);
    struct bound_load load = {.devices = 1,
                              .memory_bytes =
                                  (int64_t)(model_weight_values(&config) + 7.5 * 65536e3),
                              .weight_value_bytes = 1,
                              .kv_value_bytes = 1,
                              .requests = 1000,
                              .prompt_tokens = 500,
                              .new_tokens = 1000};
    struct serial_bound out;
    serial_bound_compute(&config, &load, &ceilings, &out);
    assert_int_equal(out.batch, 7); /* of 1,000 positions on average */
    const double positions = (30 * 1000.0 + 2 * 100) / 32;
    assert_true(fabs(out.decode_attention * 1e12 / (65536 * positions * 0.999) - 1) < 1e-9);
    /* Below the diagonal, and within the window. */
    const double pairs = 30 * 500.0 * 500 / 2 + 2 * (100 * 500.0 - 5000);
    const double rate = ceilings_attention_rate(&ceilings, 500);
    assert_true(fabs(out.prefill_attention * rate / (4 * 4096 * pairs / 1000) - 1) < 1e-9);
}

/* A latent is read once for all heads; prompts could be computed with keys and values. */
static void test_latents(void **state)
{
    (void)state;
    struct model_config config = llama_8b();
    struct layer_kind kinds[32];
    for (int i = 0; i < 32; i++) {
        kinds[i] = (struct layer_kind){MIXER_LATENT, ATTENTION_FULL};
    }
    config.layer_kinds = kinds;
    config.latent_dim = 500;
    config.latent_rope_dim = 50;
    config.latent_key_dim = 100;
    const struct device_ceilings ceilings = simple_card(1e-12, 2e-15, 1e15);
    const struct bound_load load = {.devices = 1,
                                    .memory_bytes = INT64_MAX / 2,
                                    .weight_value_bytes = 1,
                                    .kv_value_bytes = 2,
                                    .requests = 1,
                                    .prompt_tokens = 500,
                                    .new_tokens = 1000};
    struct serial_bound out;
    serial_bound_compute(&config, &load, &ceilings, &out);
    assert_true(fabs(out.decode_attention * 1e12 / (32 * 550.0 * 2 * 1000 * 0.999) - 1) < 1e-9);
    const double rate = ceilings_attention_rate(&ceilings, 500);
    const double pairs = 32 * 500.0 * 500 / 2; /* of 150 and 128 products for each of 32 heads */
    assert_true(fabs(out.prefill_attention * rate / (2 * 32 * 278 * pairs / 1000) - 1) < 1e-9);
    const double mixer = 4096.0 * 32 * 150 + 4096.0 * 550 + 32 * 500.0 * 228 + 4096.0 * 4096;
    const double layers = 32 * (mixer + 3 * 4096.0 * 14336);
    assert_true(fabs(model_weight_values(&config) / (layers + 2 * 4096.0 * 128256) - 1) < 1e-12);
}

/* States are read and written at every token, whatever the context, and bound the batch. */
static void test_states(void **state)
{
    (void)state;
    struct model_config config = llama_8b();
    struct layer_kind kinds[32];
    for (int i = 0; i < 32; i++) {
        kinds[i] = (struct layer_kind){MIXER_STATE_SPACE, ATTENTION_FULL};
    }
    config.layer_kinds = kinds;
    config.scan_heads = 10;
    config.scan_head_dim = 64;
    config.scan_groups = 2;
    config.scan_state_dim = 100;
    config.convolution_taps = 4;
    const double bytes = 32 * 4 * (3 * (640.0 + 400) + 640 * 100);
    const struct device_ceilings ceilings = simple_card(1e-12, 2e-15, 1e15);
    const struct bound_load load = {.devices = 1,
                                    .memory_bytes =
                                        (int64_t)(model_weight_values(&config) + 5.5 * bytes),
                                    .weight_value_bytes = 1,
                                    .kv_value_bytes = 2,
                                    .requests = 100,
                                    .prompt_tokens = 500,
                                    .new_tokens = 1000};
    struct serial_bound out;
    serial_bound_compute(&config, &load, &ceilings, &out);
    assert_int_equal(out.batch, 5);
    assert_true(fabs(out.decode_attention * 1e12 / (2 * bytes * 0.999) - 1) < 1e-9);
    assert_true(out.prefill_attention == 0);
}

/* The rate of prefill attention by length: published figures, and between them. */
static void test_attention_rate(void **state)
{
    (void)state;
    const struct device_ceilings ceilings = {.rate_in_16_bits = 710e12};
    static const struct {
        double tokens, tera;
    } rates[] = {{1, 137},    {128, 137},  {256, 246},   {512, 355},   {2048, 526},
                 {4096, 583}, {8192, 640}, {32768, 657}, {131072, 657}};
    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        const double rate = ceilings_attention_rate(&ceilings, rates[i].tokens);
        assert_true(fabs(rate / (rates[i].tera * 1e12) - 1) < 0.003);
    }
    assert_true(ceilings_rate_in_16_bits(1500e12, WEIGHT_FP8) == 750e12);
    assert_true(ceilings_rate_in_16_bits(750e12, WEIGHT_BFLOAT16) == 750e12);
}

/* A mixture's rows use few experts and, when there are many rows, read all of them. */
static void test_experts(void **state)
{
    (void)state;
    struct model_config config = llama_8b();
    config.experts = 8;
    config.router.used = 2;
    config.expert_intermediate = 1000;
    config.layers = 1;
    config.vocabulary = 0;
    const double shared = 4096.0 * 6144 + 4096.0 * 4096 + 4096.0 * 8, expert = 3 * 4096.0 * 1000;
    struct bound_load load = {.devices = 1,
                              .memory_bytes = (int64_t)1e15,
                              .weight_value_bytes = 1,
                              .kv_value_bytes = 1,
                              .requests = 1,
                              .prompt_tokens = 1,
                              .new_tokens = 1000000};
    struct serial_bound out;
    struct device_ceilings reading = simple_card(1e-12, 1e-18, 1e30);
    serial_bound_compute(&config, &load, &reading, &out);
    assert_true(fabs(out.products * 1e12 / (shared + 2 * expert) - 1) < 1e-5);
    load.requests = 1000;
    serial_bound_compute(&config, &load, &reading, &out);
    assert_true(fabs(1000 * out.products * 1e12 / (shared + 8 * expert) - 1) < 1e-5);
    struct device_ceilings computing = simple_card(1e-30, 1e-12, 1e30);
    serial_bound_compute(&config, &load, &computing, &out);
    assert_true(fabs(out.products * 1e12 / (shared + 2 * expert) - 1) < 1e-5);
}

static void test_step_times(void **state)
{
    (void)state;
    struct step_times times = {0};
    struct step_summary summary;
    step_times_summarize(&times, &summary);
    assert_int_equal(summary.steps, 0);
    assert_true(summary.mean == 0 && summary.median == 0 && summary.p99 == 0);

    /* 1 to 200 in an order of its own. */
    for (int i = 0; i < 200; i++) {
        assert_int_equal(step_times_add(&times, 1 + i * 77 % 200, 3), STATUS_OK);
    }
    step_times_summarize(&times, &summary);
    assert_int_equal(summary.steps, 200);
    assert_int_equal(summary.tokens, 600);
    assert_true(summary.mean == 100.5 && summary.median == 100.5);
    assert_true(summary.p99 == 198); /* 2 of 200 are longer */
    step_times_destroy(&times);

    assert_int_equal(step_times_add(&times, 5, 1), STATUS_OK);
    step_times_summarize(&times, &summary);
    assert_true(summary.median == 5 && summary.p99 == 5);
    step_times_destroy(&times);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_ceilings),
        cmocka_unit_test(test_product_ceilings),
        cmocka_unit_test(test_one_sequence_reads_the_weights),
        cmocka_unit_test(test_windows_and_memory),
        cmocka_unit_test(test_latents),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_attention_rate),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_step_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
