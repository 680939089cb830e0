/* SPDX-License-Identifier: Apache-2.0 */
/* An example for libsluice: how well a model foretells a text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <sluice/local_runner.h>
#include <sluice/tokenizer.h>

/* What is counted: for each token the logarithm of the probability that the model gave it. */
struct count {
    const struct token_list *tokens;
    int vocabulary;
    double sum;
};

static status add_rows(void *context, int64_t first, int64_t rows, const float *logits)
{
    struct count *count = context;
    for (int64_t i = 0; i < rows; i++, logits += count->vocabulary) {
        double total = 0;
        for (int id = 0; id < count->vocabulary; id++) {
            total += exp((double)logits[id]); /* logits are tens at most: a double holds it */
        }
        if (first + i + 1 < (int64_t)count->tokens->count) { /* the row foretells the next token */
            count->sum += logits[count->tokens->ids[first + i + 1]] - log(total);
        }
    }
    return STATUS_OK;
}

static status measure(struct local_runner *runner, const char *text, double *perplexity)
{
    const struct model *model = local_runner_model(runner);
    const struct tokenizer *tokenizer = model_tokenizer(model);
    struct token_list tokens = {0};
    struct count count = {&tokens, model_config(model)->vocabulary, 0};
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    status s = tokenizer_encode(tokenizer, scratch, text, strlen(text), true, &tokens);
    if (s == STATUS_OK) {
        s = local_runner_logits(runner, tokens.ids, tokens.count, add_rows, &count);
    }
    *perplexity = tokens.count > 1 ? exp(-count.sum / (double)(tokens.count - 1)) : NAN;
    tokenizer_scratch_destroy(scratch);
    token_list_destroy(&tokens);
    return s;
}

int main(int argc, char **argv)
{
    struct job job;
    struct local_runner *runner = NULL;
    double perplexity = 0;
    status s = argc == 3 ? job_initialize(&job)
                         : status_fail(STATUS_INVALID, "usage: perplexity MODEL TEXT");
    if (s != STATUS_OK) {
        fprintf(stderr, "perplexity: %s\n", status_message());
        return 2;
    }
    job.model.path = argv[1];
    s = local_runner_create(&job, &runner);
    s = s == STATUS_OK ? measure(runner, argv[2], &perplexity) : s;
    if (s == STATUS_OK) {
        printf("%.3f\n", perplexity);
    } else {
        fprintf(stderr, "perplexity: %s\n", status_message());
    }
    local_runner_destroy(runner);
    job_destroy(&job);
    return s != STATUS_OK;
}
