/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file by their ids. */
#include "cli/id_index.h"

#include <stdlib.h>
#include <string.h>

#include "run/report/error_tally.h"

/* 128 bits of two hashes: of a billion results two meet by chance once in 10^20 files. */
struct fingerprint {
    uint64_t words[2];
};

struct id_entry {
    struct fingerprint key, content;
    int64_t place;
    uint32_t taken; /* of the first entry of a key: how many of that key are */
    bool is_taken;
};

static void mix(struct fingerprint *self, const void *bytes, size_t length)
{
    static const uint64_t sides[2] = {0, 0x9E3779B97F4A7C15};
    for (int i = 0; i < 2; i++) {
        self->words[i] = hash_bytes(&length, sizeof length, self->words[i] ^ sides[i]);
        if (length > 0) {
            self->words[i] = hash_bytes(bytes, length, self->words[i]);
        }
    }
}

/* A list that may be missing, which is not the same as an empty one. */
static void mix_list(struct fingerprint *self, const void *items, int64_t count, size_t size)
{
    bool is_there = items != NULL;
    mix(self, &is_there, sizeof is_there);
    mix(self, items, is_there ? (size_t)count * size : 0);
}

static struct fingerprint key_of(const struct result *result)
{
    struct fingerprint key = {{1, 1}};
    mix(&key, &result->sample, sizeof result->sample);
    mix(&key, result->id, result->id_length);
    return key;
}

static struct fingerprint content_of(const struct result *result)
{
    struct fingerprint content = {{2, 2}};
    int64_t tokens = result->completion_tokens;
    const int32_t numbers[] = {(int32_t)result->finish_reason, result->prompt_tokens,
                               result->completion_tokens, result->top_logprobs,
                               result->embedding_width};
    mix(&content, numbers, sizeof numbers);
    mix_list(&content, result->prompt, (int64_t)result->prompt_length, 1);
    mix(&content, result->text, result->text_length);
    size_t place = error_place_length(result->error, result->error_length);
    mix(&content, result->error + place, result->error_length - place);
    mix_list(&content, result->token_ids, tokens, sizeof *result->token_ids);
    mix_list(&content, result->logprobs, tokens, sizeof *result->logprobs);
    mix_list(&content, result->top_values, tokens * result->top_logprobs,
             sizeof *result->top_values);
    mix_list(&content, result->embedding, result->embedding_width, sizeof *result->embedding);
    mix_list(&content, result->label_scores, result->labels, sizeof *result->label_scores);
    mix(&content, &result->score, sizeof result->score);
    mix(&content, &result->logprob_sum, sizeof result->logprob_sum);
    return content;
}

static int compare_keys(const struct fingerprint *a, const struct fingerprint *b)
{
    for (int i = 0; i < 2; i++) {
        if (a->words[i] != b->words[i]) {
            return a->words[i] < b->words[i] ? -1 : 1;
        }
    }
    return 0;
}

static int compare_places(const void *a, const void *b)
{
    const struct id_entry *left = a, *right = b;
    return (left->place > right->place) - (left->place < right->place);
}

static int compare_entries(const void *a, const void *b)
{
    const struct id_entry *left = a, *right = b;
    int order = compare_keys(&left->key, &right->key);
    return order != 0 ? order : compare_places(a, b);
}

static status add_entry(void *context, const struct result *result)
{
    struct id_index *self = context;
    self->entries[self->count] = (struct id_entry){
        .key = key_of(result), .content = content_of(result), .place = (int64_t)self->count};
    self->count++;
    return STATUS_OK;
}

status id_index_fill(struct id_index *self, struct output_reader *reader)
{
    size_t count = (size_t)output_result_count(reader);
    self->entries = calloc(count > 0 ? count : 1, sizeof *self->entries);
    if (self->entries == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the ids of %zu results", count);
    }
    TRY(output_visit(reader, add_entry, self));
    qsort(self->entries, self->count, sizeof *self->entries, compare_entries);
    return STATUS_OK;
}

/* The first entry whose key is not less. */
static size_t find_first(const struct id_index *self, const struct fingerprint *key)
{
    size_t low = 0, high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_keys(&self->entries[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int64_t id_index_take(struct id_index *self, const struct result *result, bool *same)
{
    struct fingerprint key = key_of(result), content = content_of(result);
    size_t first = find_first(self, &key);
    size_t at = first < self->count ? first + self->entries[first].taken : first;
    if (at >= self->count || compare_keys(&self->entries[at].key, &key) != 0) {
        return -1;
    }
    struct id_entry *entry = &self->entries[at];
    *same = compare_keys(&entry->content, &content) == 0;
    self->entries[first].taken++;
    entry->is_taken = true;
    return entry->place;
}

void id_index_begin_rest(struct id_index *self)
{
    qsort(self->entries, self->count, sizeof *self->entries, compare_places);
    self->rest = 0;
}

int64_t id_index_next_rest(struct id_index *self)
{
    while (self->rest < self->count && self->entries[self->rest].is_taken) {
        self->rest++;
    }
    return self->rest < self->count ? self->entries[self->rest++].place : -1;
}

void id_index_destroy(struct id_index *self)
{
    free(self->entries);
    *self = (struct id_index){0};
}
