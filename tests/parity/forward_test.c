/* SPDX-License-Identifier: Apache-2.0 */
/* The forward pass against Hugging Face transformers (tests/data/models), and against itself: the
 * same bits however a prompt is cut into steps, what it is batched with, where its blocks lie, on
 * how many ranks and with which instruction set. */
#include "parity/forward_fixture.h"

#include "backend/cpu/cpu.h"

static const char *const families[] = {"llama",
                                       "llama3",
                                       "mistral",
                                       "mixtral",
                                       "gemma",
                                       "gemma2",
                                       "gemma3",
                                       "qwen2",
                                       "qwen3",
                                       "qwen3_moe",
                                       "phi3",
                                       "granite",
                                       "smollm3",
                                       "glm4",
                                       "seed_oss",
                                       "ernie4_5",
                                       "starcoder2",
                                       "cohere2",
                                       "mistral3",
                                       "olmo2",
                                       "olmo3",
                                       "ministral3",
                                       "qwen2_moe",
                                       "granitemoe",
                                       "granitemoeshared",
                                       "glm4_moe",
                                       "minimax_m2",
                                       "ernie4_5_moe",
                                       "gpt_oss",
                                       "lfm2",
                                       "qwen3_5",
                                       "granite_hybrid",
                                       "qwen3_next",
                                       "deepseek_v2",
                                       "deepseek_v3",
                                       "models_fp8/deepseek_v3_block",
                                       "falcon_h1",
                                       "nemotron_h"};

static status create_cpu(const struct machine *machine, const struct backend_options *options,
                         struct backend **out)
{
    return cpu_backend_create_with(machine->facts, options, out);
}

/* Valid until it is called again. */
static const struct machine *machine_of(const struct cpu_kernels *kernels, int threads)
{
    static struct machine machine;
    machine = (struct machine){.create = create_cpu,
                               .facts = kernels,
                               .compute = DTYPE_FLOAT32,
                               .stored = WEIGHT_FLOAT32,
                               .kv = DTYPE_FLOAT32,
                               .threads = threads,
                               .slices = 8};
    return &machine;
}

/* ---- Tests ---- */

static int largest(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

/* The prompts of `set` have the same bits in both. */
static void assert_same_bits(const char *family, const char *what, const struct golden *golden,
                             const struct logits *is, const struct logits *should, unsigned set)
{
    for (int i = 0; i < PROMPTS; i++) {
        const size_t count = (size_t)golden->prompt[i].length * (size_t)golden->vocabulary;
        if ((set >> i & 1) && memcmp(is->of[i], should->of[i], count * sizeof(float)) != 0) {
            fail_msg("%s, prompt %d: other bits with %s", family, i, what);
        }
    }
}

static void logits_are_golden(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        struct logits logits =
            run_layout(families[f], &golden, machine_of(cpu_kernels_best(), 2), 1, 1,
                       (struct course){.set = all_prompts, .chunk = MAX_LENGTH});
        double worst = 0;
        for (int i = 0; i < PROMPTS; i++) {
            for (int j = 0; j < golden.prompt[i].length; j++) {
                const size_t at = (size_t)j * (size_t)golden.vocabulary;
                const double error = relative_error(logits.of[i] + at, golden.prompt[i].logits + at,
                                                    golden.vocabulary);
                worst = error > worst || isnan(error) ? error : worst;
            }
        }
        print_message("%-10s worst relative error of a position's logits %.2e\n", families[f],
                      worst);
        assert_true(worst < 1e-4);
        logits_destroy(&logits);
        golden_destroy(&golden);
    }
}

/* Prompt and answer in one call: the logits before each token of the answer must choose it. */
static void greedy_tokens_are_golden(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        int prompt_length[PROMPTS];
        for (int i = 0; i < PROMPTS; i++) {
            prompt_length[i] = golden.prompt[i].length;
            memcpy(golden.prompt[i].ids + prompt_length[i], golden.prompt[i].answer,
                   sizeof golden.prompt[i].answer);
            golden.prompt[i].length += ANSWER;
        }
        struct logits logits = run_layout(families[f], &golden, machine_of(cpu_kernels_best(), 2),
                                          1, 1, (struct course){.set = all_prompts, .chunk = 1});
        for (int i = 0; i < PROMPTS; i++) {
            for (int j = 0; j < ANSWER; j++) {
                const int at = prompt_length[i] + j - 1;
                const int token = largest(logits.of[i] + (size_t)at * (size_t)golden.vocabulary,
                                          golden.vocabulary);
                if (token != golden.prompt[i].answer[j] && golden.prompt[i].margin[j] > 1e-4) {
                    fail_msg("%s, prompt %d, token %d: %d, golden %d by %g", families[f], i, j,
                             token, golden.prompt[i].answer[j], golden.prompt[i].margin[j]);
                }
            }
        }
        logits_destroy(&logits);
        golden_destroy(&golden);
    }
}

static void bits_know_no_batch(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int threads;
        struct course course;
    } ways[] = {
        {"one prompt alone, scattered blocks", 1, {1u << 5, MAX_LENGTH, true, false}},
        {"another prompt alone", 1, {1u << 3, MAX_LENGTH, false, false}},
        {"token by token", 2, {(1u << PROMPTS) - 1, 1, true, false}},
        {"chunks of 5", 3, {(1u << PROMPTS) - 1, 5, true, false}},
        {"chunks of 19", 1, {(1u << PROMPTS) - 1, 19, false, false}},
        {"half of the prompts", 4, {0x2a, 33, true, false}},
        {"the last tokens alone", 2, {(1u << PROMPTS) - 1, MAX_LENGTH, false, true}},
        {"the last tokens alone, in chunks of 12", 2, {(1u << PROMPTS) - 1, 12, true, true}},
    };
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        struct logits whole =
            run_layout(families[f], &golden, machine_of(cpu_kernels_best(), 2), 1, 1,
                       (struct course){.set = all_prompts, .chunk = MAX_LENGTH});
        for (size_t i = 0; i < COUNT_OF(ways); i++) {
            struct logits other =
                run_layout(families[f], &golden, machine_of(cpu_kernels_best(), ways[i].threads), 1,
                           1, ways[i].course);
            fill_unasked(&golden, &ways[i].course, &whole, &other);
            assert_same_bits(families[f], ways[i].what, &golden, &other, &whole,
                             ways[i].course.set);
            logits_destroy(&other);
        }
        logits_destroy(&whole);
        golden_destroy(&golden);
    }
}

static void bits_know_no_ranks(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int tp, pp;
        bool last_only;
    } layouts[] = {{"tp 2", 2, 1, false}, {"tp 4", 4, 1, true},        {"tp 8", 8, 1, false},
                   {"pp 3", 1, 3, true},  {"tp 2, pp 2", 2, 2, false}, {"tp 2, pp 2", 2, 2, true}};
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        struct logits whole =
            run_layout(families[f], &golden, machine_of(cpu_kernels_best(), 2), 1, 1,
                       (struct course){.set = all_prompts, .chunk = MAX_LENGTH});
        for (size_t i = 0; i < COUNT_OF(layouts); i++) {
            const struct course course = {
                .set = all_prompts, .chunk = 40, .last_only = layouts[i].last_only};
            struct logits other =
                run_layout(families[f], &golden, machine_of(cpu_kernels_best(), 1), layouts[i].tp,
                           layouts[i].pp, course);
            fill_unasked(&golden, &course, &whole, &other);
            assert_same_bits(families[f], layouts[i].what, &golden, &other, &whole, all_prompts);
            logits_destroy(&other);
        }
        logits_destroy(&whole);
        golden_destroy(&golden);
    }
}

/* AVX2 and AVX-512 give the same bits; the baseline, which has no fused multiply-add, the same
 * numbers. */
static void bits_know_no_vectors(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        const struct course course = {.set = all_prompts, .chunk = 40};
        struct logits best =
            run_layout(families[f], &golden, machine_of(cpu_kernels_best(), 2), 1, 1, course);
        struct logits plain =
            run_layout(families[f], &golden, machine_of(&cpu_kernels_baseline, 1), 1, 1, course);
        for (int i = 0; i < PROMPTS; i++) {
            assert_true(relative_error(plain.of[i], best.of[i],
                                       golden.prompt[i].length * golden.vocabulary) < 1e-5);
        }
        logits_destroy(&plain);
#ifdef SLUICE_CPU_X86_KERNELS
        if (cpu_kernels_best() == &cpu_kernels_v4) {
            struct logits other =
                run_layout(families[f], &golden, machine_of(&cpu_kernels_v3, 1), 1, 1, course);
            assert_same_bits(families[f], "AVX2", &golden, &other, &best, all_prompts);
            logits_destroy(&other);
        }
#endif
        logits_destroy(&best);
        golden_destroy(&golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_golden),    cmocka_unit_test(greedy_tokens_are_golden),
        cmocka_unit_test(bits_know_no_batch),   cmocka_unit_test(bits_know_no_ranks),
        cmocka_unit_test(bits_know_no_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
