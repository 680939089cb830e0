/* SPDX-License-Identifier: Apache-2.0 */
/* A model that a kind of device cannot compute is refused before anything is loaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/backend_needs.h"
#include "sluice/model.h"

static void what_gpus_lack_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *name, *lacks; /* NULL: nothing */
    } cases[] = {
        {"llama", NULL},
        {"qwen3_moe", NULL},
        {"mixtral", NULL},
        {"olmo2", "over all heads"},
        {"minimax_m2", "over all heads"},
        {"ministral3", "scaled by their position"},
        {"gpt_oss", "sinks"},
        {"lfm2", "short convolutions"},
        {"qwen3_5", "gate"},
        {"granite_hybrid", "state spaces"},
        {"falcon_h1", "state spaces"},
        {"nemotron_h", "state spaces"},
        {"deepseek_v2", "latent attention"},
        {"deepseek_v3", "latent attention"},
        {"qwen2_moe", "shared experts"},
        {"granitemoe", NULL},
        {"granitemoeshared", "shared experts"},
        {"glm4_moe", "this router"},
        {"ernie4_5_moe", "this router"},
        {"heads/distilbert", NULL},
        {"heads/bert_cls", NULL},
        {"heads/mpnet", "biases by distance"},
        {"heads/modernbert", "windows to both sides"},
        {"heads/nomic_bert", "token types without positions"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[1024];
        struct model *model;
        snprintf(path, sizeof path, "%s/%s%s", SLUICE_TEST_DATA,
                 strncmp(cases[i].name, "heads/", 6) == 0 ? "" : "models/", cases[i].name);
        assert_int_equal(model_open(path, &model), STATUS_OK);
        const struct model_config *config = model_config(model);
        assert_int_equal(model_check_kind(config, backend_kind_host()), STATUS_OK);
        const status s = model_check_kind(config, backend_kind_find("cuda"));
        assert_int_equal(s, cases[i].lacks == NULL ? STATUS_OK : STATUS_UNSUPPORTED);
        if (s != STATUS_OK && strstr(status_message(), cases[i].lacks) == NULL) {
            fail_msg("%s: %s", cases[i].name, status_message());
        }
        model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_gpus_lack_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
