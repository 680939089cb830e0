/* SPDX-License-Identifier: Apache-2.0 */
/* Block allocator and prefix cache. Every operation is O(1) but for hashing a block's tokens. */
#include "engine/kv_blocks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct block {
    int32_t holds;
    int32_t previous, next; /* cached: in order of last use; free: next only */
    int32_t next_in_bucket;
    uint64_t prefix; /* ending with this block; 0: not published */
    uint64_t before; /* prefix that it continues */
};

struct kv_blocks {
    int count, block_tokens;
    int free_count, cached_count, used, peak_used, shared;
    int32_t first_free;
    int32_t oldest, newest; /* cached */
    uint64_t next_prefix;
    struct block *blocks; /* [count] */
    int32_t *tokens;      /* [count, block_tokens] of published blocks; NULL: no prefix cache */
    int32_t *buckets;     /* [bucket_mask + 1] */
    size_t bucket_mask;
};

status kv_blocks_create(int count, int block_tokens, bool prefix_cache, struct kv_blocks **out)
{
    struct kv_blocks *self = calloc(1, sizeof *self);
    size_t buckets = 16;
    while (buckets < (size_t)count * 2) {
        buckets *= 2;
    }
    bool created = self != NULL;
    if (created) {
        self->blocks = calloc((size_t)count, sizeof *self->blocks);
        created = self->blocks != NULL;
    }
    if (created && prefix_cache) {
        self->tokens = calloc((size_t)count, (size_t)block_tokens * sizeof *self->tokens);
        self->buckets = malloc(buckets * sizeof *self->buckets);
        created = self->tokens != NULL && self->buckets != NULL;
    }
    if (!created) {
        kv_blocks_destroy(self);
        return status_fail(STATUS_NO_MEMORY, "out of memory for a table of %d KV blocks", count);
    }
    self->count = count;
    self->block_tokens = block_tokens;
    self->oldest = self->newest = self->first_free = KV_BLOCK_NONE;
    self->next_prefix = KV_PREFIX_EMPTY_LONG_ROPE + 1;
    self->bucket_mask = buckets - 1;
    if (self->buckets != NULL) {
        memset(self->buckets, 0xff, buckets * sizeof *self->buckets); /* KV_BLOCK_NONE */
    }
    for (int32_t block = count - 1; block >= 0; block--) {
        self->blocks[block].next = self->first_free;
        self->first_free = block;
    }
    self->free_count = count;
    *out = self;
    return STATUS_OK;
}

void kv_blocks_destroy(struct kv_blocks *self)
{
    if (self != NULL) {
        free(self->blocks);
        free(self->tokens);
        free(self->buckets);
        free(self);
    }
}

int kv_blocks_available(const struct kv_blocks *self)
{
    return self->free_count + self->cached_count;
}

int kv_blocks_used(const struct kv_blocks *self)
{
    return self->used;
}

int kv_blocks_peak_used(const struct kv_blocks *self)
{
    return self->peak_used;
}

int kv_blocks_shared(const struct kv_blocks *self)
{
    return self->shared;
}

int kv_blocks_holds(const struct kv_blocks *self, int32_t block)
{
    return self->blocks[block].holds;
}

static const int32_t *tokens_of(const struct kv_blocks *self, int32_t block)
{
    return self->tokens + (size_t)block * (size_t)self->block_tokens;
}

static int32_t *bucket_of(const struct kv_blocks *self, uint64_t before, const int32_t *tokens)
{
    size_t bytes = (size_t)self->block_tokens * sizeof *tokens;
    return &self->buckets[hash_bytes(tokens, bytes, before) & self->bucket_mask];
}

static void unlink_cached(struct kv_blocks *self, int32_t block)
{
    const struct block *entry = &self->blocks[block];
    int32_t *to_here = entry->previous < 0 ? &self->oldest : &self->blocks[entry->previous].next;
    int32_t *back_here = entry->next < 0 ? &self->newest : &self->blocks[entry->next].previous;
    *to_here = entry->next;
    *back_here = entry->previous;
    self->cached_count--;
}

static void link_newest(struct kv_blocks *self, int32_t block)
{
    struct block *entry = &self->blocks[block];
    entry->previous = self->newest;
    entry->next = KV_BLOCK_NONE;
    *(self->newest < 0 ? &self->oldest : &self->blocks[self->newest].next) = block;
    self->newest = block;
    self->cached_count++;
}

static void unpublish(struct kv_blocks *self, int32_t block)
{
    struct block *entry = &self->blocks[block];
    int32_t *link = bucket_of(self, entry->before, tokens_of(self, block));
    while (*link != block) {
        assert(*link != KV_BLOCK_NONE);
        link = &self->blocks[*link].next_in_bucket;
    }
    *link = entry->next_in_bucket;
    entry->prefix = 0;
}

static void note_first_hold(struct kv_blocks *self, int32_t block)
{
    assert(self->blocks[block].holds == 0);
    self->blocks[block].holds = 1;
    self->used++;
    self->peak_used = self->used > self->peak_used ? self->used : self->peak_used;
}

int32_t kv_blocks_take(struct kv_blocks *self)
{
    int32_t block = self->first_free;
    if (block != KV_BLOCK_NONE) {
        self->first_free = self->blocks[block].next;
        self->free_count--;
    } else if (self->oldest != KV_BLOCK_NONE) {
        block = self->oldest;
        unlink_cached(self, block);
        unpublish(self, block);
    } else {
        return KV_BLOCK_NONE;
    }
    note_first_hold(self, block);
    return block;
}

void kv_blocks_hold(struct kv_blocks *self, int32_t block)
{
    struct block *entry = &self->blocks[block];
    if (entry->holds > 0) {
        self->shared += ++entry->holds == 2;
        return;
    }
    assert(entry->prefix != 0);
    unlink_cached(self, block);
    note_first_hold(self, block);
}

void kv_blocks_release(struct kv_blocks *self, int32_t block)
{
    struct block *entry = &self->blocks[block];
    assert(entry->holds > 0);
    if (--entry->holds > 0) {
        self->shared -= entry->holds == 1;
        return;
    }
    self->used--;
    if (entry->prefix != 0) {
        link_newest(self, block);
    } else {
        entry->next = self->first_free;
        self->first_free = block;
        self->free_count++;
    }
}

int32_t kv_blocks_find(const struct kv_blocks *self, uint64_t prefix, const int32_t *tokens)
{
    size_t bytes = (size_t)self->block_tokens * sizeof *tokens;
    int32_t block = *bucket_of(self, prefix, tokens);
    while (block != KV_BLOCK_NONE && (self->blocks[block].before != prefix ||
                                      memcmp(tokens_of(self, block), tokens, bytes) != 0)) {
        block = self->blocks[block].next_in_bucket;
    }
    return block;
}

int32_t kv_blocks_publish(struct kv_blocks *self, int32_t block, uint64_t prefix,
                          const int32_t *tokens)
{
    int32_t equal = kv_blocks_find(self, prefix, tokens);
    if (equal != KV_BLOCK_NONE) {
        assert(equal != block);
        kv_blocks_hold(self, equal);
        kv_blocks_release(self, block);
        return equal;
    }
    struct block *entry = &self->blocks[block];
    assert(entry->holds == 1 && entry->prefix == 0);
    int32_t *bucket = bucket_of(self, prefix, tokens);
    entry->before = prefix;
    entry->prefix = self->next_prefix++;
    entry->next_in_bucket = *bucket;
    *bucket = block;
    memcpy(self->tokens + (size_t)block * (size_t)self->block_tokens, tokens,
           (size_t)self->block_tokens * sizeof *tokens);
    return block;
}

uint64_t kv_blocks_prefix(const struct kv_blocks *self, int32_t block)
{
    assert(self->blocks[block].prefix != 0);
    return self->blocks[block].prefix;
}

bool kv_blocks_consistent(const struct kv_blocks *self)
{
    int held = 0, shared = 0, published = 0, found = 0;
    for (int32_t block = 0; block < self->count; block++) {
        const struct block *entry = &self->blocks[block];
        held += entry->holds > 0;
        shared += entry->holds > 1;
        published += entry->prefix != 0;
        found += entry->prefix != 0 &&
                 kv_blocks_find(self, entry->before, tokens_of(self, block)) == block;
    }
    int free_count = 0, cached = 0;
    for (int32_t block = self->first_free; block >= 0; block = self->blocks[block].next) {
        free_count += self->blocks[block].holds == 0 && self->blocks[block].prefix == 0;
    }
    for (int32_t block = self->oldest; block >= 0; block = self->blocks[block].next) {
        cached += self->blocks[block].holds == 0 && self->blocks[block].prefix != 0;
    }
    return held == self->used && shared == self->shared && free_count == self->free_count &&
           cached == self->cached_count && held + free_count + cached == self->count &&
           found == published && self->used <= self->peak_used;
}
