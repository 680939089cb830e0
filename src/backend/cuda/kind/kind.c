/* SPDX-License-Identifier: Apache-2.0 */
/* CUDA's row of the table of kinds. This folder is compiled into every program, also without the
 * toolkit: a plan for GPUs can be made where there are none. */
#include "backend/cuda/kind/memory.h"
#include "backend/kinds.h"

#ifdef SLUICE_CUDA
/* All that is seen of src/backend/cuda/cuda.h, which needs the toolkit's headers. */
int cuda_device_count(void);
status cuda_device_facts(int device, struct device_facts *out);
double cuda_device_energy(int device);
status cuda_device_address(int device, char out[32]);
enum device_link cuda_device_link(int device, const char *address);
status cuda_backend_create(const struct backend_options *options, struct backend **out);
#endif

/* Kernels find a position's block by a shift. */
static bool takes_block_tokens(int tokens)
{
    return tokens > 1 && (tokens & (tokens - 1)) == 0;
}

const struct backend_kind cuda_kind = {
    .name = "cuda",
    .place = "a GPU",
    .devices = "GPUs",
    .has_own_memory = true,
    .runs_behind = true,
    .not_built = "this program was built without CUDA; use cpu, or build with the preset cuda",
    .not_there = "no GPU is visible on this host; use cpu, ask the batch system for GPUs, or look "
                 "at CUDA_VISIBLE_DEVICES",
    .has_narrow_types = true,
    .takes_block_tokens = takes_block_tokens,
    .block_tokens = "a power of two",
    .usual_tokens = 8192,
    .usual_sequences = 512,
    .usual_sequences_large = 2048,
    .large_memory_bytes = (int64_t)38e9, /* what is left to use of 40 GB */
    .usual_slices = 2,
    /* Little is left for what no plan counts, but the libraries' kernels and workspaces, room for
     * attention's parts and for sampling with penalties are of a size that does not shrink with
     * the GPU's memory. */
    .memory_share = 0.96,
    .reserve_bytes = (int64_t)768 << 20,
    .add_scratch = cuda_kind_add_scratch,
    .row_margin = 16,
    .partial_bytes = cuda_kind_partial_bytes,
#ifdef SLUICE_CUDA
    .device_count = cuda_device_count,
    .device_facts = cuda_device_facts,
    .device_energy = cuda_device_energy,
    .device_address = cuda_device_address,
    .device_link = cuda_device_link,
    .create = cuda_backend_create,
#endif
};
