/* SPDX-License-Identifier: Apache-2.0 */
/* Which tokens fit: masks over the vocabulary, computed by a walk over its trie and kept.
 *
 * A token fits at a set of places where it fits at one of them, so a mask is the union of theirs.
 * A place's mask depends on its state, and on what it comes back to only where a token goes over
 * the end of its rule. So it is kept by state; where tokens go over the end it names the nodes of
 * the trie at which they do, and what follows these is kept by the next state to come back to, and
 * so on: a tree of masks, as deep as tokens reach. Entries never change once they are in the tree,
 * which is read without a lock. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/masks/texts.h"
#include "grammar/matcher.h"

static const size_t default_bytes = (size_t)256 << 20;

/* A mask of the tree: the tokens that fit whatever is further below. */
struct mask_entry {
    struct mask_entry *sibling;            /* set before the entry is in a list */
    _Atomic(struct mask_entry *) children; /* the latest first */
    uint32_t back;                         /* what is come back to; of a root its state */
    uint32_t suspended_count;              /* nodes of the trie that lead below what is known */
    uint32_t *suspended;
    struct kept_mask *mask;
    _Atomic(struct kept_mask *) at_end; /* with the end tokens; NULL: not asked for yet */
    bool is_unkept;                     /* a matcher has it for as long as it stays where it is */
};

/* Two masks of entries together, where a text is at two places. */
struct joined_mask {
    struct joined_mask *next; /* set before it is in a chain */
    const struct kept_mask *a, *b;
    bool at_end;
    struct kept_mask *mask;
};
enum { JOINED_CHAINS = 256 };

struct grammar_masks {
    const struct grammar *grammar;
    const struct grammar_vocabulary *vocabulary;
    struct mask_texts texts;
    pthread_mutex_t lock;                /* over what is added to the tree, and over what is left */
    _Atomic(struct mask_entry *) *roots; /* [states] */
    _Atomic(struct joined_mask *) joined[JOINED_CHAINS];
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
    self->roots = malloc(((size_t)grammar->state_count + 1) * sizeof *self->roots);
    status s = self->roots != NULL ? mask_texts_create(&self->texts, grammar) : no_memory();
    if (s != STATUS_OK) {
        free(self->roots);
        free(self);
        return s;
    }
    for (uint32_t i = 0; i < grammar->state_count; i++) {
        atomic_init(&self->roots[i], NULL);
    }
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return STATUS_OK;
}

/* Entries are linked in a list by `sibling`; a tree's children are made part of that list. */
static void destroy_entries(struct mask_pool *pool, struct mask_entry *first)
{
    while (first != NULL) {
        struct mask_entry *entry = first, *children = atomic_load(&entry->children);
        if (children != NULL) {
            struct mask_entry *last = children;
            while (last->sibling != NULL) {
                last = last->sibling;
            }
            last->sibling = entry->sibling;
            entry->sibling = children;
        }
        first = entry->sibling;
        free(entry->suspended);
        mask_pool_release(pool, entry->mask);
        mask_pool_release(pool, atomic_load(&entry->at_end));
        free(entry);
    }
}

void masks_forget_unkept(struct grammar_matcher *self)
{
    destroy_entries(self->vocabulary->pool, self->unkept);
    self->unkept = NULL;
}

static void destroy_joined(struct grammar_masks *self)
{
    for (size_t i = 0; i < JOINED_CHAINS; i++) {
        for (struct joined_mask *joined = atomic_load(&self->joined[i]), *next; joined != NULL;
             joined = next) {
            next = joined->next;
            mask_pool_release(self->vocabulary->pool, joined->mask);
            free(joined);
        }
    }
}

void grammar_masks_destroy(struct grammar_masks *self)
{
    if (self != NULL) {
        for (uint32_t i = 0; i < self->grammar->state_count; i++) {
            destroy_entries(self->vocabulary->pool, atomic_load(&self->roots[i]));
        }
        free(self->roots);
        destroy_joined(self);
        mask_texts_destroy(&self->texts);
        pthread_mutex_destroy(&self->lock);
        free(self);
    }
}

/* ---- Entries ---- */

/* The words and the suspended nodes of a state (above NULL), or of what is come back to below
 * `above`. */
static status walk_entry(const struct grammar_masks *masks, struct mask_walk *walk,
                         const struct mask_entry *above, uint32_t back,
                         struct mask_finding *finding)
{
    const struct grammar *grammar = masks->grammar;
    const struct grammar_vocabulary *vocabulary = masks->vocabulary;
    if (above == NULL) {
        if (!mask_texts_add(&masks->texts, vocabulary, back, finding->words)) {
            TRY(mask_walk_from(walk, grammar, vocabulary, 0, back, finding));
        }
        return mask_walk_from(walk, grammar, vocabulary, vocabulary->others, back, finding);
    }
    memcpy(finding->words, above->mask->words, vocabulary->words * sizeof *finding->words);
    for (uint32_t i = 0; i < above->suspended_count; i++) {
        TRY(mask_walk_from(walk, grammar, vocabulary, above->suspended[i], back, finding));
    }
    return STATUS_OK;
}

static status compute_entry(const struct grammar_masks *masks, struct mask_walk *walk,
                            const struct mask_entry *above, uint32_t back, struct mask_entry *entry)
{
    entry->back = back;
    entry->mask = mask_pool_make(masks->vocabulary->pool);
    if (entry->mask == NULL) {
        return no_memory();
    }
    struct mask_finding finding = {.words = entry->mask->words};
    status s = walk_entry(masks, walk, above, back, &finding);
    entry->suspended = finding.suspended;
    entry->suspended_count = finding.suspended_count;
    return s;
}

static struct mask_entry *find_entry(struct mask_entry *first, uint32_t back)
{
    while (first != NULL && first->back != back) {
        first = first->sibling;
    }
    return first;
}

/* What keeping costs: of masks those that no other grammar has. */
static bool afford(struct grammar_masks *masks, size_t bytes)
{
    const bool has = bytes <= masks->bytes_left;
    masks->bytes_left -= has ? bytes : 0;
    return has;
}

static size_t mask_bytes(const struct grammar_masks *masks)
{
    return sizeof(struct kept_mask) + masks->vocabulary->words * sizeof(uint32_t);
}

/* Puts a computed entry in the list at `place`, or takes the one that another thread has put there;
 * where no room is left, the matcher keeps it for now. */
static struct mask_entry *put_entry(struct grammar_matcher *matcher,
                                    _Atomic(struct mask_entry *) *place, struct mask_entry *entry,
                                    bool place_is_kept)
{
    struct grammar_masks *masks = matcher->masks;
    const size_t own = sizeof *entry + entry->suspended_count * sizeof *entry->suspended;
    struct mask_entry *unused = NULL;
    pthread_mutex_lock(&masks->lock);
    struct mask_entry *other = place_is_kept ? find_entry(atomic_load(place), entry->back) : NULL;
    if (other != NULL) {
        unused = entry;
        entry = other;
    } else if (place_is_kept && afford(masks, own + mask_bytes(masks))) {
        bool is_new;
        entry->mask = mask_pool_put(masks->vocabulary->pool, entry->mask, &is_new);
        masks->bytes_left += is_new ? 0 : mask_bytes(masks);
        entry->sibling = atomic_load(place);
        atomic_store_explicit(place, entry, memory_order_release);
    } else {
        entry->is_unkept = true;
        entry->sibling = matcher->unkept;
        matcher->unkept = entry;
    }
    pthread_mutex_unlock(&masks->lock);
    destroy_entries(masks->vocabulary->pool, unused);
    return entry;
}

/* Where the entry of `back` is kept, if it is. */
static struct mask_entry *look_up(const struct grammar_masks *masks, struct mask_entry *above,
                                  uint32_t back)
{
    const _Atomic(struct mask_entry *) *place =
        above != NULL ? &above->children : &masks->roots[back];
    return find_entry(atomic_load_explicit(place, memory_order_acquire), back);
}

static status get_entry(struct grammar_matcher *matcher, struct mask_entry *above, uint32_t back,
                        struct mask_entry **out)
{
    struct grammar_masks *masks = matcher->masks;
    *out = look_up(masks, above, back);
    if (*out != NULL) {
        return STATUS_OK;
    }
    struct mask_entry *entry = calloc(1, sizeof *entry);
    status s =
        entry != NULL ? compute_entry(masks, &matcher->walk, above, back, entry) : no_memory();
    if (s != STATUS_OK) {
        destroy_entries(masks->vocabulary->pool, entry);
        return s;
    }
    *out = put_entry(matcher, above != NULL ? &above->children : &masks->roots[back], entry,
                     above == NULL || !above->is_unkept);
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

/* The same, if it is kept already; else NULL. */
static struct mask_entry *known_entry_of(const struct grammar_matcher *self,
                                         struct grammar_place place)
{
    struct mask_entry *entry = look_up(self->masks, NULL, place.state);
    while (entry != NULL && entry->suspended_count > 0 && place.stack != STACK_BOTTOM) {
        const struct stack below = self->stacks.items[place.stack];
        entry = look_up(self->masks, entry, below.back);
        place.stack = below.parent;
    }
    return entry;
}

/* ---- Masks of matchers ---- */

static void set_ends(const struct grammar_vocabulary *vocabulary, uint32_t *words)
{
    for (size_t i = 0; i < vocabulary->end_count; i++) {
        const int32_t token = vocabulary->ends[i];
        words[token / 32] |= UINT32_C(1) << (token % 32);
    }
}

static struct kept_mask *make_at_end(struct grammar_masks *masks, const struct mask_entry *entry)
{
    const struct grammar_vocabulary *vocabulary = masks->vocabulary;
    struct kept_mask *made = mask_pool_copy(vocabulary->pool, entry->mask);
    bool is_new;
    if (made == NULL) {
        masks->bytes_left += mask_bytes(masks);
        return NULL;
    }
    set_ends(vocabulary, made->words);
    made = mask_pool_put(vocabulary->pool, made, &is_new);
    masks->bytes_left += is_new ? 0 : mask_bytes(masks);
    return made;
}

/* A kept mask with the end tokens: made once, as long as there is room. */
static const struct kept_mask *mask_at_end(struct grammar_masks *masks, struct mask_entry *entry)
{
    struct kept_mask *mask = atomic_load_explicit(&entry->at_end, memory_order_acquire);
    if (mask != NULL || entry->is_unkept) {
        return mask;
    }
    pthread_mutex_lock(&masks->lock);
    mask = atomic_load(&entry->at_end);
    if (mask == NULL && afford(masks, mask_bytes(masks))) {
        mask = make_at_end(masks, entry);
        atomic_store_explicit(&entry->at_end, mask, memory_order_release);
    }
    pthread_mutex_unlock(&masks->lock);
    return mask;
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
            self->words[j] |= entry->mask->words[j];
        }
    }
    if (self->at_end) {
        set_ends(self->vocabulary, self->words);
    }
    return STATUS_OK;
}

/* ---- Two places: most that are ambiguous are so in two ways, again and again in the same ---- */

static _Atomic(struct joined_mask *) *
joined_chain(struct grammar_masks *masks, const struct kept_mask *a, const struct kept_mask *b)
{
    return &masks->joined[(a->serial * 31 + b->serial) % JOINED_CHAINS];
}

static const struct kept_mask *find_joined(struct grammar_masks *masks, const struct kept_mask *a,
                                           const struct kept_mask *b, bool at_end)
{
    struct joined_mask *joined =
        atomic_load_explicit(joined_chain(masks, a, b), memory_order_acquire);
    while (joined != NULL && (joined->a != a || joined->b != b || joined->at_end != at_end)) {
        joined = joined->next;
    }
    return joined != NULL ? joined->mask : NULL;
}

static status make_joined(struct grammar_masks *masks, const struct kept_mask *a,
                          const struct kept_mask *b, bool at_end, struct joined_mask **out)
{
    const struct grammar_vocabulary *vocabulary = masks->vocabulary;
    struct joined_mask *made = calloc(1, sizeof *made);
    struct kept_mask *mask = mask_pool_make(vocabulary->pool);
    bool is_new;
    if (made == NULL || mask == NULL) {
        mask_pool_release(vocabulary->pool, mask);
        free(made);
        return no_memory();
    }
    for (size_t i = 0; i < vocabulary->words; i++) {
        mask->words[i] = a->words[i] | b->words[i];
    }
    if (at_end) {
        set_ends(vocabulary, mask->words);
    }
    mask = mask_pool_put(vocabulary->pool, mask, &is_new);
    masks->bytes_left += is_new ? 0 : mask_bytes(masks);
    *made = (struct joined_mask){.a = a, .b = b, .at_end = at_end, .mask = mask};
    *out = made;
    return STATUS_OK;
}

/* Made once, as long as there is room; else *out is NULL. */
static status keep_joined(struct grammar_masks *masks, const struct kept_mask *a,
                          const struct kept_mask *b, bool at_end, const struct kept_mask **out)
{
    _Atomic(struct joined_mask *) *chain = joined_chain(masks, a, b);
    struct joined_mask *made = NULL;
    status s = STATUS_OK;
    pthread_mutex_lock(&masks->lock);
    *out = find_joined(masks, a, b, at_end);
    if (*out == NULL && afford(masks, sizeof *made + mask_bytes(masks))) {
        s = make_joined(masks, a, b, at_end, &made);
    }
    if (made != NULL) {
        made->next = atomic_load(chain);
        atomic_store_explicit(chain, made, memory_order_release);
        *out = made->mask;
    }
    pthread_mutex_unlock(&masks->lock);
    return s;
}

/* ---- All of it ---- */

/* The mask, where it is one that is kept; of one place also one that is kept for now. */
static status single_mask(struct grammar_matcher *self, struct grammar_mask *out)
{
    struct mask_entry *entry;
    TRY(entry_of(self, self->places.items[0], &entry));
    const struct kept_mask *mask = self->at_end ? mask_at_end(self->masks, entry) : entry->mask;
    if (mask != NULL) {
        *out = (struct grammar_mask){mask->words, entry->is_unkept ? 0 : mask->serial};
    }
    return STATUS_OK;
}

/* Likewise of two places; both have to be kept. */
static status double_mask(struct grammar_matcher *self, struct grammar_mask *out)
{
    struct mask_entry *a, *b;
    const struct kept_mask *mask;
    TRY(entry_of(self, self->places.items[0], &a));
    TRY(entry_of(self, self->places.items[1], &b));
    if (a->is_unkept || b->is_unkept) {
        return STATUS_OK;
    }
    mask = find_joined(self->masks, a->mask, b->mask, self->at_end);
    if (mask == NULL) {
        TRY(keep_joined(self->masks, a->mask, b->mask, self->at_end, &mask));
    }
    if (mask != NULL) {
        *out = (struct grammar_mask){mask->words, mask->serial};
    }
    return STATUS_OK;
}

status grammar_matcher_mask(struct grammar_matcher *self, struct grammar_mask *out)
{
    masks_forget_unkept(self);
    *out = (struct grammar_mask){0};
    if (self->places.count == 1) {
        TRY(single_mask(self, out));
    } else if (self->places.count == 2) {
        TRY(double_mask(self, out));
    }
    if (out->words == NULL) {
        TRY(join_masks(self));
        out->words = self->words;
    }
    return STATUS_OK;
}

bool grammar_matcher_known_mask(const struct grammar_matcher *self, struct grammar_mask *out)
{
    struct mask_entry *entries[2] = {NULL};
    const struct kept_mask *mask = NULL;
    const size_t count = self->places.count;
    for (size_t i = 0; i < count && count <= COUNT_OF(entries); i++) {
        entries[i] = known_entry_of(self, self->places.items[i]);
    }
    if (count == 2 && entries[0] != NULL && entries[1] != NULL) {
        mask = find_joined(self->masks, entries[0]->mask, entries[1]->mask, self->at_end);
    } else if (count == 1 && entries[0] != NULL) {
        mask = self->at_end ? atomic_load_explicit(&entries[0]->at_end, memory_order_acquire)
                            : entries[0]->mask;
    }
    *out =
        mask != NULL ? (struct grammar_mask){mask->words, mask->serial} : (struct grammar_mask){0};
    return mask != NULL;
}
