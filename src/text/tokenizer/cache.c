/* SPDX-License-Identifier: Apache-2.0 */
/* Words seen before and their ids. Prose repeats its words, so that most of the work of a model is
 * found here. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

enum { CACHE_SLOTS = 1 << 17, CACHE_WORDS = CACHE_SLOTS / 2, CACHE_IDS = 1 << 20 };

struct word_slot {
    uint64_t hash;
    uint32_t key; /* offset in keys */
    uint32_t ids; /* offset in ids */
    uint32_t id_count;
    uint32_t length; /* of the key; 0: free */
};

static struct word_slot *find_word(const struct word_cache *cache, const char *word, size_t length,
                                   uint64_t hash)
{
    for (size_t i = hash & (CACHE_SLOTS - 1);; i = (i + 1) & (CACHE_SLOTS - 1)) {
        struct word_slot *slot = &cache->slots[i];
        if (slot->length == 0 || (slot->hash == hash && slot->length == length &&
                                  memcmp(cache->keys.data + slot->key, word, length) == 0)) {
            return slot;
        }
    }
}

bool word_cache_find(const struct word_cache *cache, const char *word, size_t length, uint64_t hash,
                     const int32_t **ids, size_t *count)
{
    if (cache->count == 0) {
        return false;
    }
    const struct word_slot *slot = find_word(cache, word, length, hash);
    if (slot->length == 0) {
        return false;
    }
    *ids = slot->id_count > 0 ? cache->ids.ids + slot->ids : NULL;
    *count = slot->id_count;
    return true;
}

status word_cache_add(struct word_cache *cache, const char *word, size_t length, uint64_t hash,
                      const int32_t *ids, size_t count)
{
    if (length == 0 || length > WORD_CACHE_LONGEST) {
        return STATUS_OK;
    }
    if (cache->slots == NULL) {
        cache->slots = calloc(CACHE_SLOTS, sizeof *cache->slots);
        if (cache->slots == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for a word cache");
        }
    }
    if (cache->count >= CACHE_WORDS || cache->ids.count + count > CACHE_IDS) {
        memset(cache->slots, 0, CACHE_SLOTS * sizeof *cache->slots);
        cache->count = 0;
        cache->ids.count = 0;
        buffer_clear(&cache->keys);
    }
    size_t key = cache->keys.length, first = cache->ids.count;
    TRY(buffer_append(&cache->keys, word, length));
    for (size_t i = 0; i < count; i++) {
        TRY(token_list_append(&cache->ids, ids[i]));
    }
    *find_word(cache, word, length, hash) =
        (struct word_slot){hash, (uint32_t)key, (uint32_t)first, (uint32_t)count, (uint32_t)length};
    cache->count++;
    return STATUS_OK;
}

void word_cache_destroy(struct word_cache *cache)
{
    free(cache->slots);
    buffer_destroy(&cache->keys);
    token_list_destroy(&cache->ids);
    *cache = (struct word_cache){0};
}
