/* SPDX-License-Identifier: Apache-2.0 */
/* Which tokens fit: masks over the vocabulary, computed by a walk over its trie and kept.
 *
 * A token fits at a set of places where it fits at one of them, so a mask is the union of theirs.
 * A place's mask depends on its state, and on what it comes back to only where a token goes over
 * the end of its rule. So it is kept by state; where tokens go over the end it names the nodes of
 * the trie at which they do, and what follows these is kept by the next state to come back to, and
 * so on: a tree of masks, as deep as tokens reach. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/matcher.h"

/* How a state takes a character of plain text: all of them lead to the state of that number, or
 * none leads on, or neither. */
enum { TEXT_NONE = UINT32_MAX - 2, TEXT_SOME, TEXT_UNKNOWN };

static const size_t default_bytes = (size_t)256 << 20;

/* A mask of the tree. `words` are the tokens that fit whatever is further below. */
struct mask_entry {
    struct mask_entry *sibling, *children;
    uint32_t back;            /* what is come back to; of a root its state */
    uint32_t suspended_count; /* nodes of the trie whose bytes lead below what is known */
    uint32_t *suspended;
    uint32_t *words;
    uint32_t *words_at_end; /* the same with the end tokens; NULL: not asked for yet */
    bool is_unkept;         /* a matcher has it for as long as it stays where it is */
};

struct grammar_masks {
    const struct grammar *grammar;
    const struct grammar_vocabulary *vocabulary;
    pthread_mutex_t lock; /* over the tree and what is left; not held while a mask is computed */
    struct mask_entry **roots;   /* [states] */
    _Atomic uint32_t *text_ways; /* [states] see text_way; two threads may find the same one */
    size_t bytes_left;
};

const struct grammar *masks_grammar(const struct grammar_masks *self)
{
    return self->grammar;
}

const struct grammar_vocabulary *grammar_masks_vocabulary(const struct grammar_masks *self)
{
    return self->vocabulary;
}

/* ---- Life ---- */

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar's masks");
}

status grammar_masks_create(const struct grammar *grammar,
                            const struct grammar_vocabulary *vocabulary, size_t bytes,
                            struct grammar_masks **out)
{
    struct grammar_masks *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    self->grammar = grammar;
    self->vocabulary = vocabulary;
    self->bytes_left = bytes > 0 ? bytes : default_bytes;
    self->roots = calloc((size_t)grammar->state_count + 1, sizeof(struct mask_entry *));
    self->text_ways = malloc(((size_t)grammar->state_count + 1) * sizeof *self->text_ways);
    if (self->roots == NULL || self->text_ways == NULL) {
        free(self->roots);
        free(self->text_ways);
        free(self);
        return no_memory();
    }
    for (uint32_t i = 0; i < grammar->state_count; i++) {
        atomic_init(&self->text_ways[i], TEXT_UNKNOWN);
    }
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return STATUS_OK;
}

/* Entries are linked in a list by `sibling`; a tree's children are made part of that list. */
void mask_entries_destroy(struct mask_entry *first)
{
    while (first != NULL) {
        struct mask_entry *entry = first;
        if (entry->children != NULL) {
            struct mask_entry *last = entry->children;
            while (last->sibling != NULL) {
                last = last->sibling;
            }
            last->sibling = entry->sibling;
            entry->sibling = entry->children;
        }
        first = entry->sibling;
        free(entry->suspended);
        free(entry->words);
        free(entry->words_at_end);
        free(entry);
    }
}

void grammar_masks_destroy(struct grammar_masks *self)
{
    if (self != NULL) {
        for (uint32_t i = 0; i < self->grammar->state_count; i++) {
            mask_entries_destroy(self->roots[i]);
        }
        free(self->roots);
        free(self->text_ways);
        pthread_mutex_destroy(&self->lock);
        free(self);
    }
}

/* ---- The walk ---- */

/* Where the bytes up to a depth lead: to one plain state, or to a range of places. */
struct mask_level {
    bool is_plain;
    uint32_t state, stack; /* plain */
    uint32_t start, count; /* else: of places; plain: where those of deeper levels begin, and 0 */
    uint32_t stacks;       /* how many there were; later ones belong to deeper levels */
};

void mask_walk_destroy(struct mask_walk *self)
{
    stacks_destroy(&self->stacks);
    free(self->places.items);
    free(self->levels);
}

static status walk_prepare(struct mask_walk *self, const struct grammar_vocabulary *vocabulary)
{
    if (self->levels != NULL) {
        return STATUS_OK;
    }
    TRY(stacks_create(&self->stacks));
    self->levels = calloc((size_t)vocabulary->depth + 1, sizeof *self->levels);
    return self->levels != NULL ? STATUS_OK : no_memory();
}

static void set_tokens(const struct grammar_vocabulary *vocabulary, const struct trie_node *node,
                       uint32_t *words)
{
    int32_t token = node->token;
    if (token != TOKEN_NONE) {
        words[token / 32] |= UINT32_C(1) << (token % 32);
    }
    while (node->is_shared && (token = vocabulary->same[token]) != TOKEN_NONE) {
        words[token / 32] |= UINT32_C(1) << (token % 32);
    }
}

struct walker {
    struct mask_walk *walk;
    const struct grammar *grammar;
    const struct grammar_vocabulary *vocabulary;
    struct mask_entry *entry;
    size_t suspended_capacity;
};

static status suspend_at(struct walker *self, uint32_t node)
{
    struct mask_entry *entry = self->entry;
    if (entry->suspended_count > 0 && entry->suspended[entry->suspended_count - 1] == node) {
        return STATUS_OK;
    }
    void *items = entry->suspended;
    status s = array_grow(&items, &self->suspended_capacity, (size_t)entry->suspended_count + 1,
                          sizeof *entry->suspended);
    entry->suspended = items;
    if (s == STATUS_OK) {
        entry->suspended[entry->suspended_count++] = node;
    }
    return s;
}

/* A plain level as a range of places. */
static status spread_level(struct mask_walk *walk, struct mask_level *level)
{
    if (!level->is_plain) {
        return STATUS_OK;
    }
    struct places *places = &walk->places;
    void *items = places->items;
    status s = array_grow(&items, &places->capacity, places->count + 1, sizeof *places->items);
    places->items = items;
    TRY(s);
    level->start = (uint32_t)places->count;
    level->count = 1;
    places->items[places->count++] = (struct grammar_place){level->state, level->stack};
    return STATUS_OK;
}

/* A level of one place that is plain is remembered as such. */
static void settle_level(const struct walker *self, struct mask_level *level)
{
    const struct grammar_place place = self->walk->places.items[level->start];
    level->is_plain = level->count == 1 && self->grammar->is_plain[place.state];
    level->state = place.state;
    level->stack = place.stack;
}

/* The step to a node that is not from one plain state to another. *alive: its subtree is to be
 * gone through. */
static status step_wide(struct walker *self, uint32_t at, bool *alive)
{
    struct mask_walk *walk = self->walk;
    const struct trie_node *node = &self->vocabulary->nodes[at];
    struct mask_level *above = &walk->levels[node->depth - 1];
    struct mask_level *level = &walk->levels[node->depth];
    walk->places.count = above->start + above->count;
    const size_t kept = walk->places.count;
    struct mask_level from = *above;
    TRY(spread_level(walk, &from));
    stacks_cut(&walk->stacks, above->stacks);
    const size_t start = walk->places.count;
    struct step_outcome outcome;
    TRY(places_step(&walk->places, from.start, from.count, &walk->stacks, self->grammar,
                    self->grammar->classes[node->byte], &outcome));
    const size_t count = walk->places.count - start;
    memmove(walk->places.items + kept, walk->places.items + start,
            count * sizeof *walk->places.items);
    walk->places.count = kept + count;
    if (count > 0 || outcome.at_end || outcome.at_unknown) {
        set_tokens(self->vocabulary, node, self->entry->words);
    }
    if (outcome.at_unknown) {
        TRY(suspend_at(self, at));
    }
    *alive = count > 0;
    if (*alive) {
        *level = (struct mask_level){
            .start = (uint32_t)kept, .count = (uint32_t)count, .stacks = walk->stacks.count};
        settle_level(self, level);
        if (level->is_plain) {
            walk->places.count = kept;
            level->start = (uint32_t)kept;
            level->count = 0;
        }
    }
    return STATUS_OK;
}

/* Goes through the nodes below `root`, whose level is set. */
static status walk_below(struct walker *self, uint32_t root)
{
    const struct grammar *grammar = self->grammar;
    const struct trie_node *nodes = self->vocabulary->nodes;
    struct mask_level *levels = self->walk->levels;
    const uint32_t past = nodes[root].past;
    uint32_t *words = self->entry->words;
    for (uint32_t at = root + 1; at < past;) {
        const struct trie_node *node = &nodes[at];
        const struct mask_level *above = &levels[node->depth - 1];
        if (above->is_plain) {
            const uint32_t to = grammar->next[(size_t)above->state * grammar->class_count +
                                              grammar->classes[node->byte]];
            if (to == AUTOMATON_DEAD) {
                at = node->past;
                continue;
            }
            if (grammar->is_plain[to]) {
                struct mask_level *level = &levels[node->depth];
                *level = *above;
                level->state = to;
                set_tokens(self->vocabulary, node, words);
                at++;
                continue;
            }
        }
        bool alive;
        TRY(step_wide(self, at, &alive));
        at = alive ? at + 1 : node->past;
    }
    return STATUS_OK;
}

/* Goes on from a node of the trie in a state with the unknown below. */
static status walk_from(struct walker *self, uint32_t root, uint32_t state)
{
    struct mask_walk *walk = self->walk;
    struct step_outcome outcome = {0};
    stacks_cut(&walk->stacks, STACK_FIRST);
    walk->places.count = 0;
    TRY(places_add(&walk->places, 0, &walk->stacks, self->grammar,
                   (struct grammar_place){state, STACK_UNKNOWN}, &outcome));
    if (outcome.at_unknown && self->vocabulary->nodes[root].depth > 0) {
        /* at 0 nothing is read yet: that is a place of its own */
        TRY(suspend_at(self, root));
    }
    if (walk->places.count == 0) {
        return STATUS_OK;
    }
    struct mask_level *level = &walk->levels[self->vocabulary->nodes[root].depth];
    *level = (struct mask_level){.count = (uint32_t)walk->places.count, .stacks = STACK_FIRST};
    settle_level(self, level);
    if (level->is_plain) {
        walk->places.count = 0;
        level->count = 0;
    }
    return walk_below(self, root);
}

/* ---- Plain text ---- */

/* Bytes of UTF-8 by what may follow: a lead byte, the range of the next one, how many come after
 * that. */
static const struct utf8_lead {
    uint8_t first, last, low, high, more;
} utf8_leads[] = {
    {0x20, 0x21, 0, 0, 0},       {0x23, 0x5B, 0, 0, 0},       {0x5D, 0x7E, 0, 0, 0},
    {0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1}, {0xE1, 0xEC, 0x80, 0xBF, 1},
    {0xED, 0xED, 0x80, 0x9F, 1}, {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
    {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2},
};

/* What bytes low to high of a state have in common: a state that all lead to, TEXT_NONE or
 * TEXT_SOME. Within a character a state that is not plain has something in common with none. */
static uint32_t common_step(const struct grammar *grammar, uint32_t state, uint8_t low,
                            uint8_t high)
{
    const uint32_t *row = grammar->next + (size_t)state * grammar->class_count;
    const uint32_t to = row[grammar->classes[low]];
    for (unsigned byte = low; byte <= high; byte++) {
        if (row[grammar->classes[byte]] != to) {
            return TEXT_SOME;
        }
    }
    return to == AUTOMATON_DEAD ? TEXT_NONE : grammar->is_plain[to] ? to : TEXT_SOME;
}

/* The same of all characters with the given lead bytes. */
static uint32_t lead_step(const struct grammar *grammar, uint32_t state,
                          const struct utf8_lead *lead)
{
    uint32_t to = common_step(grammar, state, lead->first, lead->last);
    if (lead->low > 0 && to < TEXT_NONE) {
        to = common_step(grammar, to, lead->low, lead->high);
    }
    for (int i = 0; i < lead->more && to < TEXT_NONE; i++) {
        to = common_step(grammar, to, 0x80, 0xBF);
    }
    return to;
}

static uint32_t text_way(const struct grammar_masks *masks, uint32_t state)
{
    _Atomic uint32_t *way = &masks->text_ways[state];
    const uint32_t known = atomic_load_explicit(way, memory_order_relaxed);
    if (known != TEXT_UNKNOWN) {
        return known;
    }
    uint32_t common = lead_step(masks->grammar, state, &utf8_leads[0]);
    for (size_t i = 1; i < COUNT_OF(utf8_leads) && common != TEXT_SOME; i++) {
        if (lead_step(masks->grammar, state, &utf8_leads[i]) != common) {
            common = TEXT_SOME;
        }
    }
    atomic_store_explicit(way, common, memory_order_relaxed);
    return common;
}

/* Adds the tokens of plain text where a state takes any text of up to so many characters; false
 * where it is not so simple. */
static bool add_texts(const struct grammar_masks *masks, uint32_t state, uint32_t *words)
{
    size_t length = 0;
    if (!masks->grammar->is_plain[state]) {
        return false;
    }
    for (uint32_t way; length < TEXT_LENGTHS; length++) {
        way = text_way(masks, state);
        if (way == TEXT_SOME) {
            return false;
        }
        if (way == TEXT_NONE) {
            break;
        }
        length = way == state ? TEXT_LENGTHS - 1 : length;
        state = way;
    }
    memcpy(words, masks->vocabulary->texts[length], masks->vocabulary->words * sizeof *words);
    return true;
}

/* ---- Entries ---- */

/* The entry of a state (above NULL), or of what is come back to below `above`. */
static status compute_entry(const struct grammar_masks *masks, struct mask_walk *walk,
                            const struct mask_entry *above, uint32_t back, struct mask_entry *entry)
{
    struct walker walker = {
        .walk = walk, .grammar = masks->grammar, .vocabulary = masks->vocabulary, .entry = entry};
    TRY(walk_prepare(walk, masks->vocabulary));
    entry->back = back;
    entry->words = calloc(masks->vocabulary->words + 1, sizeof *entry->words);
    if (entry->words == NULL) {
        return no_memory();
    }
    if (above == NULL) {
        if (!add_texts(masks, back, entry->words)) {
            TRY(walk_from(&walker, 0, back));
        }
        return walk_from(&walker, masks->vocabulary->others, back);
    }
    memcpy(entry->words, above->words, masks->vocabulary->words * sizeof *entry->words);
    for (uint32_t i = 0; i < above->suspended_count; i++) {
        TRY(walk_from(&walker, above->suspended[i], back));
    }
    return STATUS_OK;
}

static struct mask_entry *find_entry(struct mask_entry *first, uint32_t back)
{
    while (first != NULL && first->back != back) {
        first = first->sibling;
    }
    return first;
}

static size_t entry_bytes(const struct grammar_masks *masks, const struct mask_entry *entry)
{
    return sizeof *entry + masks->vocabulary->words * sizeof *entry->words +
           entry->suspended_count * sizeof *entry->suspended;
}

/* Puts a computed entry in the list at `place`, or takes the one that another thread has put there;
 * where no room is left, the matcher keeps it for now. */
static struct mask_entry *put_entry(struct grammar_matcher *matcher, struct mask_entry **place,
                                    struct mask_entry *entry, bool place_is_kept)
{
    struct grammar_masks *masks = matcher->masks;
    const size_t bytes = entry_bytes(masks, entry);
    struct mask_entry *unused = NULL;
    pthread_mutex_lock(&masks->lock);
    struct mask_entry *other = place_is_kept ? find_entry(*place, entry->back) : NULL;
    if (other != NULL) {
        unused = entry;
        entry = other;
    } else if (place_is_kept && bytes <= masks->bytes_left) {
        masks->bytes_left -= bytes;
        entry->sibling = *place;
        *place = entry;
    } else {
        entry->is_unkept = true;
        entry->sibling = matcher->unkept;
        matcher->unkept = entry;
    }
    pthread_mutex_unlock(&masks->lock);
    mask_entries_destroy(unused);
    return entry;
}

static status get_entry(struct grammar_matcher *matcher, struct mask_entry *above, uint32_t back,
                        struct mask_entry **out)
{
    struct grammar_masks *masks = matcher->masks;
    struct mask_entry **place = above != NULL ? &above->children : &masks->roots[back];
    const bool place_is_kept = above == NULL || !above->is_unkept;
    pthread_mutex_lock(&masks->lock);
    *out = place_is_kept ? find_entry(*place, back) : NULL;
    pthread_mutex_unlock(&masks->lock);
    if (*out != NULL) {
        return STATUS_OK;
    }
    struct mask_entry *entry = calloc(1, sizeof *entry);
    status s =
        entry != NULL ? compute_entry(masks, &matcher->walk, above, back, entry) : no_memory();
    if (s != STATUS_OK) {
        mask_entries_destroy(entry);
        return s;
    }
    *out = put_entry(matcher, place, entry, place_is_kept);
    return STATUS_OK;
}

/* The entry that holds for all of a place. */
static status entry_of(struct grammar_matcher *self, struct grammar_place place,
                       struct mask_entry **out)
{
    TRY(get_entry(self, NULL, place.state, out));
    while ((*out)->suspended_count > 0 && place.stack != STACK_BOTTOM) {
        const struct stack below = self->stacks.items[place.stack];
        TRY(get_entry(self, *out, below.back, out));
        place.stack = below.parent;
    }
    return STATUS_OK;
}

/* ---- Masks of matchers ---- */

static void set_ends(const struct grammar_vocabulary *vocabulary, uint32_t *words)
{
    for (size_t i = 0; i < vocabulary->end_count; i++) {
        const int32_t token = vocabulary->ends[i];
        words[token / 32] |= UINT32_C(1) << (token % 32);
    }
}

/* A kept mask with the end tokens: made once, as long as there is room. */
static const uint32_t *words_at_end(struct grammar_masks *masks, struct mask_entry *entry)
{
    const size_t bytes = masks->vocabulary->words * sizeof *entry->words;
    pthread_mutex_lock(&masks->lock);
    if (entry->words_at_end == NULL && !entry->is_unkept && bytes <= masks->bytes_left) {
        entry->words_at_end = malloc(bytes + 1);
        if (entry->words_at_end != NULL) {
            masks->bytes_left -= bytes;
            memcpy(entry->words_at_end, entry->words, bytes);
            set_ends(masks->vocabulary, entry->words_at_end);
        }
    }
    const uint32_t *words = entry->words_at_end;
    pthread_mutex_unlock(&masks->lock);
    return words;
}

static status prepare_words(struct grammar_matcher *self)
{
    if (self->words == NULL) {
        self->words = malloc((self->vocabulary->words + 1) * sizeof *self->words);
    }
    return self->words != NULL ? STATUS_OK : no_memory();
}

static status join_masks(struct grammar_matcher *self)
{
    const size_t count = self->vocabulary->words;
    TRY(prepare_words(self));
    memset(self->words, 0, count * sizeof *self->words);
    for (size_t i = 0; i < self->places.count; i++) {
        struct mask_entry *entry;
        TRY(entry_of(self, self->places.items[i], &entry));
        for (size_t j = 0; j < count; j++) {
            self->words[j] |= entry->words[j];
        }
    }
    if (self->at_end) {
        set_ends(self->vocabulary, self->words);
    }
    return STATUS_OK;
}

status grammar_matcher_mask(struct grammar_matcher *self, const uint32_t **words)
{
    mask_entries_destroy(self->unkept);
    self->unkept = NULL;
    if (self->places.count == 1) {
        struct mask_entry *entry;
        TRY(entry_of(self, self->places.items[0], &entry));
        *words = self->at_end ? words_at_end(self->masks, entry) : entry->words;
        if (*words != NULL) {
            return STATUS_OK;
        }
    }
    *words = NULL;
    TRY(join_masks(self));
    *words = self->words;
    return STATUS_OK;
}
