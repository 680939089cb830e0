/* SPDX-License-Identifier: Apache-2.0 */
/* Strings and ids, tries over bytes, the byte alphabet, id lists. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

struct token_slot {
    uint32_t hash;
    uint32_t entry; /* + 1; 0: free */
};

static uint32_t string_hash(const char *text, size_t length)
{
    return (uint32_t)hash_bytes(text, length, 0);
}

/* The slot of a string, or the free one where it belongs. There is always a free one. */
static struct token_slot *find_slot(const struct token_table *table, const char *text,
                                    size_t length, uint32_t hash)
{
    size_t mask = table->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct token_slot *slot = &table->slots[i];
        if (slot->entry == 0) {
            return slot;
        }
        const struct token_entry *entry = &table->entries[slot->entry - 1];
        if (slot->hash == hash && entry->length == length &&
            memcmp(entry->text, text, length) == 0) {
            return slot;
        }
    }
}

static status grow_slots(struct token_table *table)
{
    if (table->slot_count >= 2 * (table->count + 1)) {
        return STATUS_OK;
    }
    size_t old_count = table->slot_count, count = old_count == 0 ? 64 : 2 * old_count;
    struct token_slot *old = table->slots, *slots = calloc(count, sizeof *slots);
    if (slots == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a vocabulary");
    }
    table->slots = slots;
    table->slot_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].entry != 0) {
            size_t at = old[i].hash & (count - 1);
            while (slots[at].entry != 0) {
                at = (at + 1) & (count - 1);
            }
            slots[at] = old[i];
        }
    }
    free(old);
    return STATUS_OK;
}

static status set_id(struct token_table *table, int64_t id, uint32_t entry)
{
    if (id < 0 || id > TOKEN_MAX_ID) {
        return status_fail(STATUS_INVALID, "token \"%.60s\": the id %lld is not in [0, %d]",
                           table->entries[entry].text, (long long)id, TOKEN_MAX_ID);
    }
    void *by_id = table->by_id;
    status s = array_grow(&by_id, &table->id_capacity, (size_t)id + 1, sizeof *table->by_id);
    table->by_id = by_id;
    if (s != STATUS_OK) {
        return s;
    }
    if ((size_t)id >= table->id_count) {
        memset(table->by_id + table->id_count, 0,
               ((size_t)id + 1 - table->id_count) * sizeof *table->by_id);
        table->id_count = (size_t)id + 1;
    }
    table->by_id[id] = entry + 1;
    table->entries[entry].id = (int32_t)id;
    return STATUS_OK;
}

status token_table_add(struct token_table *table, const char *text, size_t length, int64_t id)
{
    if (length > INT32_MAX || table->count >= INT32_MAX) {
        return status_fail(STATUS_LIMIT, "a vocabulary that is too large");
    }
    TRY(grow_slots(table));
    uint32_t hash = string_hash(text, length);
    struct token_slot *slot = find_slot(table, text, length, hash);
    if (slot->entry != 0) {
        return set_id(table, id, slot->entry - 1);
    }
    void *entries = table->entries;
    status s = array_grow(&entries, &table->capacity, table->count + 1, sizeof *table->entries);
    table->entries = entries;
    if (s != STATUS_OK) {
        return s;
    }
    const char *copy = arena_copy(&table->strings, text, length);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a vocabulary");
    }
    table->entries[table->count] = (struct token_entry){copy, (uint32_t)length, NO_TOKEN};
    TRY(set_id(table, id, (uint32_t)table->count));
    *slot = (struct token_slot){hash, (uint32_t)++table->count};
    return STATUS_OK;
}

int32_t token_table_find(const struct token_table *table, const char *text, size_t length)
{
    if (table->count == 0) {
        return NO_TOKEN;
    }
    const struct token_slot *slot = find_slot(table, text, length, string_hash(text, length));
    return slot->entry != 0 ? table->entries[slot->entry - 1].id : NO_TOKEN;
}

const struct token_entry *token_table_at(const struct token_table *table, int32_t id)
{
    return id >= 0 && (size_t)id < table->id_count && table->by_id[id] != 0
               ? &table->entries[table->by_id[id] - 1]
               : NULL;
}

int32_t token_table_find_byte(const struct token_table *table, unsigned char byte)
{
    static const char digits[] = "0123456789ABCDEF";
    char name[] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
    return token_table_find(table, name, sizeof name);
}

void token_table_destroy(struct token_table *table)
{
    free(table->entries);
    free(table->slots);
    free(table->by_id);
    arena_destroy(&table->strings);
    *table = (struct token_table){0};
}

/* ---- Trie ---- */

struct byte_trie_edge {
    uint32_t node;
    uint32_t child; /* 0: free */
    uint8_t byte;
};

static struct byte_trie_edge *find_edge(const struct byte_trie *trie, uint32_t node, uint8_t byte)
{
    size_t mask = trie->edge_slots - 1;
    uint64_t key = ((uint64_t)node << 8 | byte) * UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = key >> 32 & mask;; i = (i + 1) & mask) {
        struct byte_trie_edge *edge = &trie->edges[i];
        if (edge->child == 0 || (edge->node == node && edge->byte == byte)) {
            return edge;
        }
    }
}

uint32_t byte_trie_child(const struct byte_trie *trie, uint32_t node, unsigned char byte)
{
    if (node == 0) {
        return trie->roots[byte];
    }
    return trie->edge_count == 0 ? 0 : find_edge(trie, node, byte)->child;
}

static status grow_edges(struct byte_trie *trie)
{
    if (trie->edge_slots >= 2 * (trie->edge_count + 1)) {
        return STATUS_OK;
    }
    struct byte_trie_edge *old = trie->edges;
    size_t old_slots = trie->edge_slots, slots = old_slots == 0 ? 256 : 2 * old_slots;
    struct byte_trie_edge *edges = calloc(slots, sizeof *edges);
    if (edges == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a trie");
    }
    trie->edges = edges;
    trie->edge_slots = slots;
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].child != 0) {
            *find_edge(trie, old[i].node, old[i].byte) = old[i];
        }
    }
    free(old);
    return STATUS_OK;
}

static status new_trie_node(struct byte_trie *trie, uint32_t *node)
{
    if (trie->node_count >= UINT32_MAX / 2) {
        return status_fail(STATUS_LIMIT, "a vocabulary that is too large");
    }
    void *values = trie->values;
    status s =
        array_grow(&values, &trie->node_capacity, trie->node_count + 2, sizeof *trie->values);
    trie->values = values;
    if (s != STATUS_OK) {
        return s;
    }
    if (trie->node_count == 0) {
        trie->values[trie->node_count++] = NO_TOKEN; /* the root */
    }
    *node = (uint32_t)trie->node_count;
    trie->values[trie->node_count++] = NO_TOKEN;
    return STATUS_OK;
}

status byte_trie_add(struct byte_trie *trie, const char *text, size_t length, int32_t value)
{
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        uint32_t child = byte_trie_child(trie, node, byte);
        if (child == 0) {
            TRY(new_trie_node(trie, &child));
            if (node == 0) {
                trie->roots[byte] = child;
            } else {
                TRY(grow_edges(trie));
                *find_edge(trie, node, byte) = (struct byte_trie_edge){node, child, byte};
                trie->edge_count++;
            }
        }
        node = child;
    }
    if (node != 0 && trie->values[node] == NO_TOKEN) {
        trie->values[node] = value;
    }
    return STATUS_OK;
}

void byte_trie_destroy(struct byte_trie *trie)
{
    free(trie->edges);
    free(trie->values);
    *trie = (struct byte_trie){0};
}

/* ---- Byte alphabet and id lists ---- */

/* Printable bytes of Latin-1 stand for themselves, the others for U+0100 and up. */
void byte_alphabet_create(struct byte_alphabet *alphabet)
{
    memset(alphabet->byte, 0xFF, sizeof alphabet->byte);
    uint16_t next = 0x100;
    for (int byte = 0; byte < 256; byte++) {
        bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        alphabet->character[byte] = printable ? (uint16_t)byte : next++;
        alphabet->byte[alphabet->character[byte]] = (int16_t)byte;
    }
}

status byte_alphabet_append(const struct byte_alphabet *alphabet, const char *bytes, size_t length,
                            struct buffer *out)
{
    size_t room;
    if (__builtin_mul_overflow(length, 2, &room)) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu bytes", length);
    }
    TRY(buffer_reserve(out, room));
    char *to = out->data + out->length;
    for (size_t i = 0; i < length; i++) {
        to += utf8_encode(alphabet->character[(unsigned char)bytes[i]], to);
    }
    out->length = (size_t)(to - out->data);
    *to = '\0';
    return STATUS_OK;
}

status token_list_append(struct token_list *list, int32_t id)
{
    void *ids = list->ids;
    status s = array_grow(&ids, &list->capacity, list->count + 1, sizeof *list->ids);
    list->ids = ids;
    if (s == STATUS_OK) {
        list->ids[list->count++] = id;
    }
    return s;
}

void token_list_destroy(struct token_list *list)
{
    free(list->ids);
    *list = (struct token_list){0};
}

status piece_list_append(struct piece_list *list, struct piece piece)
{
    void *items = list->items;
    status s = array_grow(&items, &list->capacity, list->count + 1, sizeof *list->items);
    list->items = items;
    if (s == STATUS_OK) {
        list->items[list->count++] = piece;
    }
    return s;
}
