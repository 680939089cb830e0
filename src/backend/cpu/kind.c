/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU's row of the table of kinds. */
#include <math.h>
#include <stdio.h>

#include "backend/cpu/cpu.h"
#include "backend/kinds.h"

static int device_count(void)
{
    return 1;
}

static status device_facts(int device, struct device_facts *out)
{
    (void)device;
    *out = (struct device_facts){0};
    snprintf(out->name, sizeof out->name, "host processors");
    snprintf(out->arithmetic, sizeof out->arithmetic, "%s", cpu_arithmetic());
    return STATUS_OK;
}

static double device_energy(int device)
{
    (void)device;
    return NAN;
}

/* Keys lie in groups of 16 positions. */
static bool takes_block_tokens(int tokens)
{
    return tokens % 16 == 0;
}

const struct backend_kind cpu_kind = {
    .name = "cpu",
    .place = "the CPU",
    .devices = "CPUs",
    .takes_block_tokens = takes_block_tokens,
    .block_tokens = "a multiple of 16",
    .usual_tokens = 512,
    .usual_sequences = 64,
    .usual_sequences_large = 64,
    .usual_slices = 8,
    /* Of what the system calls available: the rest is for what no plan counts. */
    .memory_share = 0.9,
    .usual_cache_bytes = (int64_t)4 << 30,
    .add_scratch = cpu_add_scratch,
    .row_margin = CPU_ROW_MARGIN,
    .device_count = device_count,
    .device_facts = device_facts,
    .device_energy = device_energy,
    .create = cpu_backend_create,
};
