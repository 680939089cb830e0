/* SPDX-License-Identifier: Apache-2.0 */
/* States of sequences: where each layer's lie. */
#include <string.h>

#include "backend/cpu/cpu.h"

/* The floats of a place: all layers' states. */
static status plan_place(const struct cache_layout *layout, struct kv_store *stores, size_t *values)
{
    *values = 0;
    for (int i = 0; i < layout->layers; i++) {
        const int64_t own = layout->stores[i].state_values;
        if (own < 0 || __builtin_add_overflow(*values, (size_t)own, values) ||
            *values > INT64_MAX / (2 * sizeof(float))) {
            return status_fail(STATUS_LIMIT, "states: more bytes than can be addressed");
        }
        if (stores != NULL) {
            stores[i].state_offset = *values - (size_t)own;
            stores[i].state_values = (size_t)own;
        }
    }
    return STATUS_OK;
}

int64_t cpu_state_bytes(struct backend *backend, const struct cache_layout *layout)
{
    (void)backend;
    size_t values;
    return plan_place(layout, NULL, &values) == STATUS_OK ? (int64_t)(values * sizeof(float))
                                                          : INT64_MAX;
}

status cpu_states_create(struct kv_cache *cache, const struct cache_layout *layout)
{
    size_t bytes;
    if (layout->places < 0) {
        return status_fail(STATUS_INVALID, "states: %d places", layout->places);
    }
    TRY(plan_place(layout, cache->stores, &cache->place_values));
    cache->places = layout->places;
    TRY(cpu_size(&bytes, "states", 3, (size_t)layout->places, cache->place_values, sizeof(float)));
    return cpu_region_create(&cache->states, bytes, "states of sequences");
}

status cpu_states_of(const struct cpu_backend *cpu, const struct kv_cache *cache, int layer,
                     size_t values, struct state_view *out)
{
    const struct batch *batch = cpu->batch;
    if (layer < 0 || layer >= cache->layers || cache->stores[layer].state_values != values) {
        return status_fail(STATUS_INTERNAL, "layer %d keeps no states of %zu values", layer,
                           values);
    }
    for (int s = 0; s < batch->sequences; s++) {
        if (batch->state_place == NULL || batch->state_place[s] < 0 ||
            batch->state_place[s] >= cache->places) {
            return status_fail(STATUS_INTERNAL, "step: sequence %d has place %d for states, of %d",
                               s, batch->state_place == NULL ? -1 : batch->state_place[s],
                               cache->places);
        }
        if (batch->state_from != NULL &&
            (batch->state_from[s] < 0 || batch->state_from[s] >= cache->places)) {
            return status_fail(STATUS_INTERNAL, "step: sequence %d begins with place %d of %d", s,
                               batch->state_from[s], cache->places);
        }
    }
    *out = (struct state_view){.first =
                                   (float *)cache->states.data + cache->stores[layer].state_offset,
                               .stride = cache->place_values};
    for (int s = 0; s < batch->sequences; s++) {
        const int32_t from = batch->state_from != NULL ? batch->state_from[s] : 0;
        if (batch->positions[batch->query_start[s]] == 0) {
            memset(cpu_state_at(cpu, out, s), 0, values * sizeof(float));
        } else if (batch->state_from != NULL && from != batch->state_place[s]) {
            memcpy(cpu_state_at(cpu, out, s), out->first + (size_t)from * out->stride,
                   values * sizeof(float));
        }
    }
    return STATUS_OK;
}
