/* SPDX-License-Identifier: Apache-2.0 */
/* Memory over many steps: after the first run through, none is taken any more, neither on the GPU
 * nor, but for what the allocator rounds, on the host. */
#include "gpu/gpu_fixture.h"

#include <cuda_runtime_api.h>
#include <malloc.h>

#include "gpu/gpu_require.h"
#include "measure/bench_steps.h"

enum { REQUESTS = 200, PROMPT = 40, ANSWER = 60, ROUNDS = 3, HOST_SLACK = 64 * 1024 };

static size_t gpu_bytes_free(void)
{
    size_t free_bytes, total;
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    assert_int_equal(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
    return free_bytes;
}

static void run_type(int dtype, int kv_dtype, const char *name)
{
    struct job job;
    struct model *model;
    struct plan plan;
    struct stage stage = {0};
    const struct bench_load load = {
        .requests = REQUESTS, .prompt_tokens = PROMPT, .new_tokens = ANSWER};
    check(job_initialize(&job));
    job.model.path = SLUICE_TEST_DATA "/../../data/small-model";
    job.model.max_model_len = PROMPT + ANSWER;
    job.model.dtype = dtype;
    job.model.kv_dtype = kv_dtype;
    job.engine.device = backend_kind_find("cuda");
    job.engine.max_sequences = 16;
    job.engine.max_batch_tokens = 64; /* prompts in chunks, beside answers */
    job.engine.kv_memory = 16 << 20;
    check(model_open(job.model.path, &model));
    check(plan_create(&job, model, 1, 1, 0, NULL, &plan));
    check(stage_create(&plan, model, MPI_COMM_SELF, 0, &stage));
    size_t gpu = 0, host = 0;
    int64_t steps = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        struct bench_times times = {.seconds = 0};
        check(bench_generate(&job, &stage, MPI_COMM_SELF, &load, &times));
        assert_int_equal(times.output_tokens, REQUESTS * ANSWER);
        if (round > 0) {
            steps += (int64_t)(times.prefill.count + times.decode.count);
        }
        bench_times_destroy(&times);
        if (round == 0) {
            gpu = gpu_bytes_free();
            host = mallinfo2().uordblks;
        }
    }
    const size_t host_after = mallinfo2().uordblks;
    print_message("%-9s %lld steps: GPU memory %+lld bytes, host memory %+lld bytes\n", name,
                  (long long)steps, (long long)gpu - (long long)gpu_bytes_free(),
                  (long long)host_after - (long long)host);
    assert_true(steps >= 1000);
    assert_true(gpu_bytes_free() >= gpu);
    assert_true(host_after <= host + HOST_SLACK);
    stage_destroy(&stage);
    model_close(model);
    job_destroy(&job);
}

static void steps_take_no_memory(void **state)
{
    (void)state;
    run_type(DTYPE_BFLOAT16, -1, "bfloat16");
    run_type(DTYPE_FLOAT8_E4M3, DTYPE_FLOAT8_E4M3, "fp8");
    run_type(DTYPE_FLOAT32, -1, "float32");
}

int main(void)
{
    gpu_require();
    MPI_Init(NULL, NULL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_take_no_memory)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    MPI_Finalize();
    return failed;
}
