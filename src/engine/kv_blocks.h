/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of the KV cache: who holds which, and which full ones can be found again by content.
 *
 * Knows block numbers and token ids, never what is kept in a block: a number stands for that block
 * in every store of positions of every layer (struct cache_store in sluice/backend.h). A block is
 *   free       nobody holds it, its content means nothing;
 *   held       one or more sequences count on its content;
 *   cached     nobody holds it, its content is known and can be held again; the least recently held
 *              one is given away when no free one is left.
 *
 * A *prefix* is the identity of all tokens from position 0 to the end of a full block. It is a
 * number of its own for each published content, never used twice, and a block is found by (prefix
 * before it, its tokens): equal prefixes are equal token by token, whatever the hashes do. */
#ifndef SLUICE_KV_BLOCKS_H
#define SLUICE_KV_BLOCKS_H

#include "sluice/base.h"

enum { KV_BLOCK_NONE = -1 };

/* Prefixes of no tokens. Keys computed with long rope frequencies are other keys. */
enum { KV_PREFIX_EMPTY = 0, KV_PREFIX_EMPTY_LONG_ROPE = 1 };

struct kv_blocks;

status kv_blocks_create(int count, int block_tokens, bool prefix_cache,
                        struct kv_blocks **out) MUST_CHECK;
void kv_blocks_destroy(struct kv_blocks *self);

int kv_blocks_available(const struct kv_blocks *self); /* free and cached */
int kv_blocks_used(const struct kv_blocks *self);      /* held */
int kv_blocks_peak_used(const struct kv_blocks *self);
int kv_blocks_shared(const struct kv_blocks *self); /* held more than once */
/* How often a block is held. */
int kv_blocks_holds(const struct kv_blocks *self, int32_t block);

/* A block, held once, with meaningless content; KV_BLOCK_NONE where all are held. */
int32_t kv_blocks_take(struct kv_blocks *self);
/* Holds a held or cached block once more. */
void kv_blocks_hold(struct kv_blocks *self, int32_t block);
/* Ends one hold. A sequence releases its last block first: then a cached block is always given away
 * before the one that it continues. */
void kv_blocks_release(struct kv_blocks *self, int32_t block);

/* The published block with `tokens` [block_tokens] after `prefix`, or KV_BLOCK_NONE. Not held. */
int32_t kv_blocks_find(const struct kv_blocks *self, uint64_t prefix, const int32_t *tokens);
/* Makes a block, held once and now full, findable. Where an equal one is there already, that one is
 * held and returned instead and `block` is released. */
int32_t kv_blocks_publish(struct kv_blocks *self, int32_t block, uint64_t prefix,
                          const int32_t *tokens);
/* The prefix that ends with a published block. */
uint64_t kv_blocks_prefix(const struct kv_blocks *self, int32_t block);

/* Walks everything: whether lists, table and counts agree. For tests. */
bool kv_blocks_consistent(const struct kv_blocks *self);

#endif
