/* SPDX-License-Identifier: Apache-2.0 */
/* Which vertices of a graph reach each other: Tarjan, "Depth-first search and linear graph
 * algorithms" (SIAM Journal on Computing 1, 1972), without recursion. */
#include <stdlib.h>

#include "grammar/tables.h"

struct search {
    uint32_t *index, *low; /* [count]; index 0: not seen yet */
    uint32_t *stack;       /* vertices whose component is open */
    uint32_t *path;        /* the way to the vertex at hand */
    uint32_t *edge;        /* [count] next edge of a vertex on the path */
    uint32_t stack_count, path_count, seen;
};

static void enter(struct search *self, uint32_t vertex, const uint32_t *starts)
{
    self->index[vertex] = self->low[vertex] = ++self->seen;
    self->stack[self->stack_count++] = vertex;
    self->path[self->path_count++] = vertex;
    self->edge[vertex] = starts[vertex];
}

/* Leaves the vertex at the path's end; where it is the root of a component that one is complete. */
static void leave(struct search *self, uint32_t *component_of, size_t *components)
{
    const uint32_t vertex = self->path[--self->path_count];
    if (self->path_count > 0) {
        uint32_t *low = &self->low[self->path[self->path_count - 1]];
        *low = self->low[vertex] < *low ? self->low[vertex] : *low;
    }
    if (self->low[vertex] == self->index[vertex]) {
        uint32_t member;
        do {
            member = self->stack[--self->stack_count];
            component_of[member] = (uint32_t)*components;
        } while (member != vertex);
        (*components)++;
    }
}

static void search_from(struct search *self, uint32_t root, const uint32_t *starts,
                        const uint32_t *targets, uint32_t *component_of, size_t *components)
{
    enter(self, root, starts);
    while (self->path_count > 0) {
        const uint32_t vertex = self->path[self->path_count - 1];
        if (self->edge[vertex] == starts[vertex + 1]) {
            leave(self, component_of, components);
            continue;
        }
        const uint32_t target = targets[self->edge[vertex]++];
        if (self->index[target] == 0) {
            enter(self, target, starts);
        } else if (component_of[target] == UINT32_MAX && self->index[target] < self->low[vertex]) {
            self->low[vertex] = self->index[target];
        }
    }
}

status graph_components(size_t count, const uint32_t *starts, const uint32_t *targets,
                        uint32_t *component_of, size_t *components)
{
    uint32_t *memory = calloc(5 * count + 1, sizeof *memory);
    if (memory == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    struct search search = {.index = memory,
                            .low = memory + count,
                            .stack = memory + 2 * count,
                            .path = memory + 3 * count,
                            .edge = memory + 4 * count};
    *components = 0;
    for (size_t i = 0; i < count; i++) {
        component_of[i] = UINT32_MAX;
    }
    for (size_t i = 0; i < count; i++) {
        if (search.index[i] == 0) {
            search_from(&search, (uint32_t)i, starts, targets, component_of, components);
        }
    }
    free(memory);
    return STATUS_OK;
}
