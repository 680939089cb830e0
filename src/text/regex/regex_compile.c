/* SPDX-License-Identifier: Apache-2.0 */
/* Compiler of regular expressions: tree to program. */
#include <stdlib.h>
#include <string.h>

#include "text/regex/regex_internal.h"

enum { MAX_PROGRAM = 20000, MAX_SETS = 4096, MAX_LOOKBEHIND = 255 };

status regex_set_new(struct regex *regex, uint32_t *index)
{
    if (regex->set_count == MAX_SETS) {
        return status_fail(STATUS_UNSUPPORTED, "a regular expression of more than %d characters",
                           MAX_SETS);
    }
    void *sets = regex->sets;
    status s = array_grow(&sets, &regex->set_capacity, regex->set_count + 1, sizeof *regex->sets);
    regex->sets = sets;
    if (s == STATUS_OK) {
        *index = (uint32_t)regex->set_count;
        regex->sets[regex->set_count++] = (struct unicode_set){0};
    }
    return s;
}

static status emit(struct regex *regex, struct regex_instruction instruction, uint32_t *index)
{
    if (regex->program_count == MAX_PROGRAM) {
        return status_fail(STATUS_UNSUPPORTED, "a regular expression of more than %d steps",
                           MAX_PROGRAM);
    }
    void *program = regex->program;
    status s = array_grow(&program, &regex->program_capacity, regex->program_count + 1,
                          sizeof *regex->program);
    regex->program = program;
    if (s == STATUS_OK) {
        if (index != NULL) {
            *index = (uint32_t)regex->program_count;
        }
        regex->program[regex->program_count++] = instruction;
    }
    return s;
}

/* Least and most characters that a node matches; most saturates at REGEX_UNBOUNDED. */
static void node_lengths(const struct regex_node *node, uint32_t *least, uint32_t *most)
{
    uint64_t low = 0, high = 0;
    switch (node->kind) {
    case REGEX_NODE_SET:
        low = high = 1;
        break;
    case REGEX_NODE_SEQUENCE:
        for (const struct regex_node *child = node->child; child != NULL; child = child->next) {
            uint32_t a, b;
            node_lengths(child, &a, &b);
            low += a;
            high += b;
        }
        break;
    case REGEX_NODE_ALTERNATIVE:
        low = REGEX_UNBOUNDED;
        for (const struct regex_node *child = node->child; child != NULL; child = child->next) {
            uint32_t a, b;
            node_lengths(child, &a, &b);
            low = a < low ? a : low;
            high = b > high ? b : high;
        }
        break;
    case REGEX_NODE_REPEAT: {
        uint32_t a, b;
        node_lengths(node->child, &a, &b);
        low = (uint64_t)a * node->low;
        high = b == 0 ? 0 : (uint64_t)b * node->high;
        break;
    }
    case REGEX_NODE_ATOMIC:
        node_lengths(node->child, least, most);
        return;
    default:
        break;
    }
    *least = low < REGEX_UNBOUNDED ? (uint32_t)low : REGEX_UNBOUNDED;
    *most = high < REGEX_UNBOUNDED ? (uint32_t)high : REGEX_UNBOUNDED;
}

static status compile(struct regex *regex, const struct regex_node *node);

static uint32_t here(const struct regex *regex)
{
    return (uint32_t)regex->program_count;
}

/* `node` in a run of its own, whose ACCEPT is behind it; `operation` at the front. */
static status compile_own_run(struct regex *regex, const struct regex_node *node,
                              struct regex_instruction operation)
{
    uint32_t front = 0;
    TRY(emit(regex, operation, &front));
    TRY(compile(regex, node));
    TRY(emit(regex,
             (struct regex_instruction){.operation = REGEX_ACCEPT,
                                        .mode = operation.operation == REGEX_LOOKBEHIND},
             NULL));
    regex->program[front].a = here(regex);
    return STATUS_OK;
}

static status emit_split(struct regex *regex, uint32_t *index)
{
    return emit(regex, (struct regex_instruction){.operation = REGEX_SPLIT}, index);
}

static void set_split(struct regex *regex, uint32_t index, uint32_t body, uint32_t out, bool lazy)
{
    regex->program[index].a = lazy ? out : body;
    regex->program[index].b = lazy ? body : out;
}

static status compile_loop(struct regex *regex, const struct regex_node *node)
{
    uint32_t least, most, split = 0, mark = 0;
    node_lengths(node->child, &least, &most);
    bool guarded = least == 0; /* a round that consumes nothing must be the last */
    TRY(emit_split(regex, &split));
    if (guarded) {
        if (regex->register_count == REGEX_MAX_REGISTERS) {
            return status_fail(STATUS_UNSUPPORTED,
                               "a regular expression of more than %d loops over empty parts",
                               REGEX_MAX_REGISTERS);
        }
        mark = regex->register_count++;
        TRY(emit(regex, (struct regex_instruction){.operation = REGEX_MARK, .a = mark}, NULL));
    }
    TRY(compile(regex, node->child));
    uint32_t progress = 0;
    if (guarded) {
        TRY(emit(regex, (struct regex_instruction){.operation = REGEX_PROGRESS, .a = mark},
                 &progress));
    }
    TRY(emit(regex, (struct regex_instruction){.operation = REGEX_JUMP, .a = split}, NULL));
    if (guarded) {
        regex->program[progress].b = here(regex);
    }
    set_split(regex, split, split + 1, here(regex), node->mode == REGEX_LAZY);
    return STATUS_OK;
}

static status compile_repeat(struct regex *regex, const struct regex_node *node)
{
    if (node->child->kind == REGEX_NODE_SET) {
        return emit(regex,
                    (struct regex_instruction){.operation = REGEX_LOOP,
                                               .mode = (uint8_t)node->mode,
                                               .a = node->child->set,
                                               .low = node->low,
                                               .high = node->high},
                    NULL);
    }
    if (node->mode == REGEX_POSSESSIVE) {
        struct regex_node greedy = *node;
        greedy.mode = REGEX_GREEDY;
        return compile_own_run(regex, &greedy,
                               (struct regex_instruction){.operation = REGEX_ATOMIC});
    }
    for (uint32_t i = 0; i < node->low; i++) {
        TRY(compile(regex, node->child));
    }
    if (node->high == REGEX_UNBOUNDED) {
        return compile_loop(regex, node);
    }
    uint32_t first = here(regex), optional = node->high - node->low;
    for (uint32_t i = 0; i < optional; i++) {
        uint32_t split = 0;
        TRY(emit_split(regex, &split));
        TRY(compile(regex, node->child));
        /* The way out is known at the end; until then the splits are linked through b. */
        regex->program[split].b = first;
        first = split;
    }
    uint32_t link = first;
    for (uint32_t i = 0; i < optional; i++) {
        uint32_t before = regex->program[link].b;
        set_split(regex, link, link + 1, here(regex), node->mode == REGEX_LAZY);
        link = before;
    }
    return STATUS_OK;
}

static status compile_alternatives(struct regex *regex, const struct regex_node *node)
{
    uint32_t link = UINT32_MAX; /* jumps to the end, linked through a */
    for (const struct regex_node *child = node->child; child != NULL; child = child->next) {
        uint32_t split = UINT32_MAX;
        if (child->next != NULL) {
            TRY(emit_split(regex, &split));
        }
        TRY(compile(regex, child));
        if (child->next != NULL) {
            uint32_t jump = 0;
            TRY(emit(regex, (struct regex_instruction){.operation = REGEX_JUMP, .a = link}, &jump));
            link = jump;
            set_split(regex, split, split + 1, here(regex), false);
        }
    }
    while (link != UINT32_MAX) {
        uint32_t before = regex->program[link].a;
        regex->program[link].a = here(regex);
        link = before;
    }
    return STATUS_OK;
}

/* Recursion is bounded by the parser's depth. */
static status compile(struct regex *regex, const struct regex_node *node)
{
    switch (node->kind) {
    case REGEX_NODE_EMPTY:
        return STATUS_OK;
    case REGEX_NODE_SET:
        return emit(regex, (struct regex_instruction){.operation = REGEX_SET, .a = node->set},
                    NULL);
    case REGEX_NODE_SEQUENCE:
        for (const struct regex_node *child = node->child; child != NULL; child = child->next) {
            TRY(compile(regex, child));
        }
        return STATUS_OK;
    case REGEX_NODE_ALTERNATIVE:
        return compile_alternatives(regex, node);
    case REGEX_NODE_REPEAT:
        return compile_repeat(regex, node);
    case REGEX_NODE_ATOMIC:
        return compile_own_run(regex, node->child,
                               (struct regex_instruction){.operation = REGEX_ATOMIC});
    case REGEX_NODE_LOOKAHEAD:
        return compile_own_run(
            regex, node->child,
            (struct regex_instruction){.operation = REGEX_LOOKAHEAD, .mode = node->negated});
    case REGEX_NODE_LOOKBEHIND: {
        struct regex_instruction operation = {.operation = REGEX_LOOKBEHIND, .mode = node->negated};
        node_lengths(node->child, &operation.low, &operation.high);
        if (operation.high > MAX_LOOKBEHIND) {
            return status_fail(STATUS_UNSUPPORTED, "a look behind of more than %d characters",
                               MAX_LOOKBEHIND);
        }
        return compile_own_run(regex, node->child, operation);
    }
    case REGEX_NODE_ASSERT:
        return emit(
            regex,
            (struct regex_instruction){.operation = REGEX_ASSERT, .a = (uint32_t)node->which},
            NULL);
    }
    return status_fail(STATUS_INTERNAL, "a regular expression's node of no known kind");
}

/* A greedy loop need not remember how to give characters back where what follows cannot use them:
 * at the end of the run, and before a character that is not in its set. */
static void mark_possessive(struct regex *regex)
{
    for (size_t i = 0; i < regex->program_count; i++) {
        struct regex_instruction *loop = &regex->program[i];
        if (loop->operation != REGEX_LOOP || loop->mode != REGEX_GREEDY) {
            continue;
        }
        const struct regex_instruction *next = loop + 1;
        for (int hops = 0; next->operation == REGEX_JUMP && hops < 8; hops++) {
            next = &regex->program[next->a];
        }
        bool wants_character =
            next->operation == REGEX_SET || (next->operation == REGEX_LOOP && next->low > 0);
        if ((next->operation == REGEX_ACCEPT && next->mode == 0) ||
            (wants_character &&
             unicode_set_disjoint(&regex->sets[loop->a], &regex->sets[next->a]))) {
            loop->mode = REGEX_POSSESSIVE;
        }
    }
}

/* Marks the bytes that a match of `node` can begin with; true where it may match nothing. */
static bool node_first(const struct regex *regex, const struct regex_node *node, bool bytes[256])
{
    bool empty = true;
    switch (node->kind) {
    case REGEX_NODE_SET: {
        const struct unicode_set *set = &regex->sets[node->set];
        for (size_t i = 0; i < set->count; i += 2) {
            char low[4], high[4];
            utf8_encode((int32_t)set->ranges[i], low);
            utf8_encode((int32_t)set->ranges[i + 1], high);
            for (int byte = (unsigned char)low[0]; byte <= (unsigned char)high[0]; byte++) {
                bytes[byte] = true;
            }
        }
        return false;
    }
    case REGEX_NODE_SEQUENCE:
        for (const struct regex_node *child = node->child; child != NULL && empty;
             child = child->next) {
            empty = node_first(regex, child, bytes);
        }
        return empty;
    case REGEX_NODE_ALTERNATIVE:
        empty = false;
        for (const struct regex_node *child = node->child; child != NULL; child = child->next) {
            empty = node_first(regex, child, bytes) || empty;
        }
        return empty;
    case REGEX_NODE_REPEAT:
        empty = node_first(regex, node->child, bytes);
        return empty || node->low == 0;
    case REGEX_NODE_ATOMIC:
        return node_first(regex, node->child, bytes);
    default:
        return true;
    }
}

static status compile_top(struct regex *regex, const struct regex_node *node)
{
    size_t index = regex->alternative_count++;
    regex->alternatives[index] = here(regex);
    TRY(compile(regex, node));
    TRY(emit(regex, (struct regex_instruction){.operation = REGEX_ACCEPT}, NULL));
    bool bytes[256] = {false};
    bool empty = node_first(regex, node, bytes);
    for (int byte = 0; byte < 256; byte++) {
        if (empty || bytes[byte]) {
            regex->first[byte] |= UINT64_C(1) << index;
        }
    }
    if (empty) {
        regex->first_at_end |= UINT64_C(1) << index;
    }
    return STATUS_OK;
}

status regex_read(const char *pattern, size_t length, enum regex_dialect dialect,
                  struct arena *arena, struct regex **out, struct regex_node **root)
{
    size_t bad_offset;
    if (!utf8_valid(pattern, length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "regular expression, byte %zu: not valid UTF-8",
                           bad_offset);
    }
    struct regex *regex = calloc(1, sizeof *regex);
    if (regex == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a regular expression");
    }
    regex->word_set = UINT32_MAX;
    status s = regex_parse(pattern, length, dialect, regex, arena, root);
    if (s != STATUS_OK) {
        regex_destroy(regex);
        return s;
    }
    *out = regex;
    return STATUS_OK;
}

/* Each alternative by itself, as long as there are not too many of them. */
static status compile_root(struct regex *regex, const struct regex_node *root)
{
    size_t count = 0;
    for (const struct regex_node *child = root->child; child != NULL; child = child->next) {
        count++;
    }
    if (count > REGEX_MAX_ALTERNATIVES) {
        return compile_top(regex, root);
    }
    for (const struct regex_node *child = root->child; child != NULL; child = child->next) {
        TRY(compile_top(regex, child));
    }
    return STATUS_OK;
}

status regex_create(const char *pattern, size_t length, struct regex **out)
{
    struct arena arena = {0};
    struct regex_node *root;
    struct regex *regex = NULL;
    *out = NULL;
    status s = regex_read(pattern, length, REGEX_ONIGURUMA, &arena, &regex, &root);
    if (s == STATUS_OK) {
        s = compile_root(regex, root);
    }
    arena_destroy(&arena);
    if (s != STATUS_OK) {
        regex_destroy(regex);
        return s;
    }
    mark_possessive(regex);
    *out = regex;
    return STATUS_OK;
}

void regex_destroy(struct regex *regex)
{
    if (regex == NULL) {
        return;
    }
    for (size_t i = 0; i < regex->set_count; i++) {
        unicode_set_destroy(&regex->sets[i]);
    }
    free(regex->sets);
    free(regex->program);
    free(regex);
}
