/* SPDX-License-Identifier: Apache-2.0 */
/* A vocabulary's trie, and texts spelt in it. */
#include "grammar/vocabulary.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST_TOKEN = 1024 }; /* longer ones never match */

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a vocabulary's trie");
}

/* ---- Building ---- */

static int compare_tokens(const void *a, const void *b, void *context)
{
    const struct grammar_vocabulary *self = context;
    const int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    const size_t left_length = self->byte_start[left + 1] - self->byte_start[left];
    const size_t right_length = self->byte_start[right + 1] - self->byte_start[right];
    const size_t least = left_length < right_length ? left_length : right_length;
    const int order =
        memcmp(self->bytes + self->byte_start[left], self->bytes + self->byte_start[right], least);
    if (order != 0) {
        return order;
    }
    return left_length != right_length ? (left_length > right_length) - (left_length < right_length)
                                       : (left > right) - (left < right);
}

/* How many characters a token of plain text has; 0 for one of something else, or longer. */
static size_t text_length(const char *bytes, size_t length)
{
    size_t count = 0;
    for (size_t at = 0; at < length; count++) {
        size_t size;
        const int32_t point = utf8_decode(bytes + at, length - at, &size);
        if (point < 0x20 || point == '"' || point == '\\' || point == 0x7F) {
            return 0;
        }
        at += size;
    }
    return count <= TEXT_LENGTHS ? count : 0;
}

/* Where the walk stands while tokens come in order: nodes from the root to the latest token. */
struct trie_path {
    uint32_t nodes[LONGEST_TOKEN + 1];
    size_t depth;
    uint32_t *roots;
    int32_t last;
};

static void close_path(struct grammar_vocabulary *self, struct trie_path *path, size_t depth)
{
    for (; path->depth > depth; path->depth--) {
        self->nodes[path->nodes[path->depth]].past = self->node_count;
    }
}

static void add_token(struct grammar_vocabulary *self, struct trie_path *path, int32_t token)
{
    const char *bytes = self->bytes + self->byte_start[token];
    const size_t length = self->byte_start[token + 1] - self->byte_start[token];
    size_t shared = 0;
    while (shared < length && shared < path->depth &&
           self->nodes[path->nodes[shared + 1]].byte == (uint8_t)bytes[shared]) {
        shared++;
    }
    close_path(self, path, shared);
    for (size_t i = shared; i < length; i++) {
        path->nodes[++path->depth] = self->node_count;
        if (i == 0) {
            path->roots[(uint8_t)bytes[0]] = self->node_count;
        }
        self->nodes[self->node_count++] = (struct trie_node){
            .token = TOKEN_NONE, .depth = (uint16_t)(i + 1), .byte = (uint8_t)bytes[i]};
    }
    struct trie_node *node = &self->nodes[path->nodes[length]];
    if (node->token == TOKEN_NONE) {
        node->token = token;
    } else {
        node->is_shared = true;
        self->same[path->last] = token; /* equal ones come one after the other */
    }
    path->last = token;
    self->depth = length > self->depth ? (uint16_t)length : self->depth;
}

/* The trie of tokens in their order; its root is the next node. */
static void build_trie(struct grammar_vocabulary *self, struct trie_path *path,
                       const int32_t *order, size_t count, uint32_t *roots)
{
    const uint32_t root = self->node_count++;
    *path = (struct trie_path){.nodes = {root}, .roots = roots, .last = TOKEN_NONE};
    self->nodes[root] = (struct trie_node){.token = TOKEN_NONE};
    for (size_t i = 0; i < count; i++) {
        add_token(self, path, order[i]);
    }
    close_path(self, path, 0);
    self->nodes[root].past = self->node_count;
}

/* Masks of the tokens of plain text; *order keeps the others at its end, and how many stand before
 * them is returned. */
static size_t part_texts(struct grammar_vocabulary *self, int32_t *order, int32_t *others,
                         size_t count)
{
    size_t texts = 0, other_count = 0;
    for (size_t i = 0; i < count; i++) {
        const int32_t token = order[i];
        const uint32_t start = self->byte_start[token];
        const size_t characters =
            text_length(self->bytes + start, self->byte_start[token + 1] - start);
        if (characters == 0) {
            others[other_count++] = token;
            continue;
        }
        order[texts++] = token;
        for (size_t j = characters; j <= TEXT_LENGTHS; j++) {
            self->texts[j][token / 32] |= UINT32_C(1) << (token % 32);
        }
    }
    memcpy(order + texts, others, other_count * sizeof *order);
    return texts;
}

static size_t list_tokens(struct grammar_vocabulary *self, int32_t *order)
{
    size_t count = 0;
    for (size_t i = 0; i < self->token_count; i++) {
        const size_t length = self->byte_start[i + 1] - self->byte_start[i];
        self->same[i] = TOKEN_NONE;
        if (length > 0 && length <= LONGEST_TOKEN && !grammar_vocabulary_is_end(self, (int32_t)i)) {
            order[count++] = (int32_t)i;
        }
    }
    qsort_r(order, count, sizeof *order, compare_tokens, self);
    return count;
}

static status build_tries(struct grammar_vocabulary *self)
{
    int32_t *order = malloc((self->token_count + 1) * sizeof *order);
    int32_t *others = malloc((self->token_count + 1) * sizeof *others);
    struct trie_path *path = malloc(sizeof *path);
    bool has_memory = order != NULL && others != NULL && path != NULL;
    for (size_t i = 0; i <= TEXT_LENGTHS; i++) {
        self->texts[i] = calloc(self->words + 1, sizeof *self->texts[i]);
        has_memory = has_memory && self->texts[i] != NULL;
    }
    self->nodes = malloc(((size_t)self->byte_start[self->token_count] + 2) * sizeof *self->nodes);
    self->same = malloc((self->token_count + 1) * sizeof *self->same);
    if (has_memory && self->nodes != NULL && self->same != NULL) {
        const size_t count = list_tokens(self, order);
        const size_t texts = part_texts(self, order, others, count);
        build_trie(self, path, order, texts, self->roots[0]);
        self->others = self->node_count;
        build_trie(self, path, order + texts, count - texts, self->roots[1]);
    } else {
        has_memory = false;
    }
    free(order);
    free(others);
    free(path);
    return has_memory ? STATUS_OK : no_memory();
}

static status copy_tokens(struct grammar_vocabulary *self, const char *const *token_bytes,
                          const size_t *token_lengths, const int32_t *ends, size_t end_count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < self->token_count; i++) {
        bytes += token_lengths[i];
    }
    if (bytes > UINT32_MAX / 2) {
        return status_fail(STATUS_LIMIT, "a vocabulary of %zu bytes", bytes);
    }
    self->bytes = malloc(bytes + 1);
    self->byte_start = malloc((self->token_count + 1) * sizeof *self->byte_start);
    self->ends = malloc((end_count + 1) * sizeof *self->ends);
    if (self->bytes == NULL || self->byte_start == NULL || self->ends == NULL) {
        return no_memory();
    }
    uint32_t at = 0;
    for (size_t i = 0; i < self->token_count; i++) {
        self->byte_start[i] = at;
        if (token_lengths[i] > 0) {
            memcpy(self->bytes + at, token_bytes[i], token_lengths[i]);
        }
        at += (uint32_t)token_lengths[i];
    }
    self->byte_start[self->token_count] = at;
    for (size_t i = 0; i < end_count; i++) {
        if (ends[i] >= 0 && (size_t)ends[i] < self->token_count) {
            self->ends[self->end_count++] = ends[i];
        }
    }
    return STATUS_OK;
}

status grammar_vocabulary_create(const char *const *token_bytes, const size_t *token_lengths,
                                 size_t count, const int32_t *ends, size_t end_count,
                                 struct grammar_vocabulary **out)
{
    struct grammar_vocabulary *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    self->token_count = count;
    self->words = (count + 31) / 32;
    status s = mask_pool_create(self->words, &self->pool);
    if (s == STATUS_OK) {
        s = copy_tokens(self, token_bytes, token_lengths, ends, end_count);
    }
    if (s == STATUS_OK) {
        s = build_tries(self);
    }
    if (s != STATUS_OK) {
        grammar_vocabulary_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void grammar_vocabulary_destroy(struct grammar_vocabulary *self)
{
    if (self != NULL) {
        free(self->bytes);
        free(self->byte_start);
        free(self->nodes);
        free(self->same);
        free(self->ends);
        for (size_t i = 0; i <= TEXT_LENGTHS; i++) {
            free(self->texts[i]);
        }
        mask_pool_destroy(self->pool);
        free(self);
    }
}

size_t grammar_vocabulary_size(const struct grammar_vocabulary *self)
{
    return self->token_count;
}

size_t grammar_vocabulary_longest(const struct grammar_vocabulary *self)
{
    return self->depth;
}

bool grammar_vocabulary_is_end(const struct grammar_vocabulary *self, int32_t token)
{
    for (size_t i = 0; i < self->end_count; i++) {
        if (self->ends[i] == token) {
            return true;
        }
    }
    return false;
}

status grammar_vocabulary_bytes(const struct grammar_vocabulary *self, int32_t token,
                                struct buffer *out)
{
    if (token < 0 || (size_t)token >= self->token_count) {
        return STATUS_OK;
    }
    const uint32_t start = self->byte_start[token];
    return buffer_append(out, self->bytes + start, self->byte_start[token + 1] - start);
}

/* ---- Spelling ---- */

/* Where a text stands in both tries; 0: it has left one. */
struct trie_place {
    uint32_t nodes[2];
};

static uint32_t child_of(const struct grammar_vocabulary *self, uint32_t node, uint8_t byte)
{
    const uint32_t past = node != 0 ? self->nodes[node].past : 0;
    for (uint32_t child = node + 1; child < past; child = self->nodes[child].past) {
        if (self->nodes[child].byte >= byte) {
            return self->nodes[child].byte == byte ? child : 0;
        }
    }
    return 0;
}

/* Goes on by byte number `depth` of a text; false: no token has it so. */
static bool trie_step(const struct grammar_vocabulary *self, struct trie_place *place, size_t depth,
                      uint8_t byte)
{
    for (int i = 0; i < 2; i++) {
        place->nodes[i] = depth == 0 ? self->roots[i][byte] : child_of(self, place->nodes[i], byte);
    }
    return place->nodes[0] != 0 || place->nodes[1] != 0;
}

static int32_t token_at(const struct grammar_vocabulary *self, const struct trie_place *place)
{
    for (int i = 0; i < 2; i++) {
        if (place->nodes[i] != 0 && self->nodes[place->nodes[i]].token != TOKEN_NONE) {
            return self->nodes[place->nodes[i]].token;
        }
    }
    return TOKEN_NONE;
}

/* fewest[i] is how many tokens bytes[i..] take, token[i] the first of these: the longest of those
 * that do equally well. */
static void find_fewest(const struct grammar_vocabulary *self, const char *bytes, size_t count,
                        uint32_t *fewest, int32_t *token)
{
    fewest[count] = 0;
    for (size_t i = count; i-- > 0;) {
        fewest[i] = UINT32_MAX;
        struct trie_place place;
        for (size_t j = i; j < count && trie_step(self, &place, j - i, (uint8_t)bytes[j]); j++) {
            const uint32_t after = fewest[j + 1];
            const int32_t found = token_at(self, &place);
            if (found != TOKEN_NONE && after != UINT32_MAX && after + 1 <= fewest[i]) {
                fewest[i] = after + 1;
                token[i] = found;
            }
        }
    }
}

status grammar_vocabulary_spell(const struct grammar_vocabulary *self, const char *bytes,
                                size_t count, struct token_list *out, bool *ok)
{
    uint32_t *fewest = malloc((count + 1) * sizeof *fewest);
    int32_t *token = malloc((count + 1) * sizeof *token);
    status s = fewest != NULL && token != NULL
                   ? STATUS_OK
                   : status_fail(STATUS_NO_MEMORY, "out of memory for the tokens of a text");
    if (s == STATUS_OK) {
        find_fewest(self, bytes, count, fewest, token);
        *ok = fewest[0] != UINT32_MAX;
        void *ids = out->ids;
        s = *ok ? array_grow(&ids, &out->capacity, out->count + fewest[0] + 1, sizeof *out->ids)
                : STATUS_OK;
        out->ids = ids;
    }
    for (size_t i = 0; s == STATUS_OK && *ok && i < count;) {
        const int32_t id = token[i];
        out->ids[out->count++] = id;
        i += self->byte_start[id + 1] - self->byte_start[id];
    }
    free(fewest);
    free(token);
    return s;
}

size_t grammar_vocabulary_settled(const struct grammar_vocabulary *self, const char *bytes,
                                  size_t count)
{
    size_t start = count > self->depth ? count - self->depth : 0;
    for (; start < count; start++) {
        struct trie_place place;
        size_t at = start;
        while (at < count && trie_step(self, &place, at - start, (uint8_t)bytes[at])) {
            at++;
        }
        for (int i = 0; at == count && i < 2; i++) {
            const uint32_t node = place.nodes[i];
            if (node != 0 && self->nodes[node].past > node + 1) {
                return start; /* a token begins here and goes over the end */
            }
        }
    }
    return count;
}
