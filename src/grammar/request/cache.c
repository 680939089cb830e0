/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled forms by what was asked for: a million rows with one schema compile it once. */
#include <stdlib.h>
#include <string.h>

#include "grammar/request/request.h"

enum { IDLE_MOST = 64 }; /* entries that nobody has taken and that are kept all the same */

struct structured_entry {
    struct structured_entry *next;
    uint64_t hash;
    struct structured_request request; /* its texts behind the entry */
    enum thinking thinking;
    struct grammar *grammar;
    struct grammar_masks *masks;
    status failure; /* of compiling, with its message */
    char *message;
    size_t users;
};

struct structured_cache {
    const struct grammar_vocabulary *vocabulary;
    struct answer_style style;
    struct structured_entry *entries; /* the latest first */
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for the form of answers");
}

status structured_cache_create(const struct grammar_vocabulary *vocabulary,
                               const struct answer_style *style, struct structured_cache **out)
{
    struct structured_cache *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    self->vocabulary = vocabulary;
    self->style = *style;
    *out = self;
    return STATUS_OK;
}

static void destroy_entry(struct structured_entry *entry)
{
    grammar_masks_destroy(entry->masks);
    grammar_destroy(entry->grammar);
    free(entry->message);
    free(entry);
}

void structured_cache_destroy(struct structured_cache *self)
{
    while (self != NULL && self->entries != NULL) {
        struct structured_entry *entry = self->entries;
        self->entries = entry->next;
        destroy_entry(entry);
    }
    free(self);
}

/* ---- Looking up ---- */

static uint64_t hash_request(const struct structured_request *request, enum thinking thinking)
{
    const uint64_t settings[] = {(uint64_t)request->kind, request->any_white_space,
                                 request->closed_objects, request->function != NULL,
                                 (uint64_t)thinking};
    uint64_t hash = hash_bytes(settings, sizeof settings, 0);
    hash = hash_bytes(&request->compile_limit, sizeof request->compile_limit, hash);
    hash = request->text_length > 0 ? hash_bytes(request->text, request->text_length, hash) : hash;
    return request->function != NULL
               ? hash_bytes(request->function, strlen(request->function), hash)
               : hash;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_request(const struct structured_request *a, const struct structured_request *b)
{
    return a->kind == b->kind && a->any_white_space == b->any_white_space &&
           a->closed_objects == b->closed_objects && a->compile_limit == b->compile_limit &&
           a->text_length == b->text_length &&
           (a->text_length == 0 || memcmp(a->text, b->text, a->text_length) == 0) &&
           same_text(a->function, b->function);
}

/* The entry, moved to the front; NULL where there is none. */
static struct structured_entry *find(struct structured_cache *self, uint64_t hash,
                                     const struct structured_request *request,
                                     enum thinking thinking)
{
    for (struct structured_entry **at = &self->entries; *at != NULL; at = &(*at)->next) {
        struct structured_entry *entry = *at;
        if (entry->hash == hash && entry->thinking == thinking &&
            same_request(&entry->request, request)) {
            *at = entry->next;
            entry->next = self->entries;
            self->entries = entry;
            return entry;
        }
    }
    return NULL;
}

/* Lets go of those that were not used for the longest time. */
static void forget_idle(struct structured_cache *self)
{
    int idle = 0;
    for (struct structured_entry **at = &self->entries; *at != NULL;) {
        struct structured_entry *entry = *at;
        if (entry->users == 0 && ++idle > IDLE_MOST) {
            *at = entry->next;
            destroy_entry(entry);
        } else {
            at = &entry->next;
        }
    }
}

/* ---- Making ---- */

static struct structured_entry *copy_request(const struct structured_request *request)
{
    const size_t name = request->function != NULL ? strlen(request->function) + 1 : 0;
    struct structured_entry *entry = calloc(1, sizeof *entry + request->text_length + 1 + name);
    if (entry == NULL) {
        return NULL;
    }
    char *text = (char *)(entry + 1);
    entry->request = *request;
    entry->request.text = text;
    if (request->text_length > 0) {
        memcpy(text, request->text, request->text_length);
    }
    if (name > 0) {
        entry->request.function = memcpy(text + request->text_length + 1, request->function, name);
    }
    return entry;
}

static status compile(const struct structured_cache *self, struct structured_entry *entry)
{
    status s = structured_compile(&entry->request, &self->style, entry->thinking, &entry->grammar);
    if (s == STATUS_OK) {
        return grammar_masks_create(entry->grammar, self->vocabulary, 0, &entry->masks);
    }
    if (s != STATUS_INVALID && s != STATUS_UNSUPPORTED && s != STATUS_LIMIT) {
        return s;
    }
    entry->failure = s;
    entry->message = strdup(status_message());
    return entry->message != NULL ? STATUS_OK : no_memory();
}

static status make(struct structured_cache *self, uint64_t hash,
                   const struct structured_request *request, enum thinking thinking,
                   struct structured_entry **out)
{
    struct structured_entry *entry = copy_request(request);
    if (entry == NULL) {
        return no_memory();
    }
    entry->hash = hash;
    entry->thinking = thinking;
    status s = compile(self, entry);
    if (s != STATUS_OK) {
        destroy_entry(entry);
        return s;
    }
    entry->next = self->entries;
    self->entries = entry;
    *out = entry;
    return STATUS_OK;
}

status structured_take(struct structured_cache *self, const struct structured_request *request,
                       enum thinking thinking, struct structured_entry **out)
{
    const uint64_t hash = hash_request(request, thinking);
    struct structured_entry *entry = find(self, hash, request, thinking);
    if (entry == NULL) {
        TRY(make(self, hash, request, thinking, &entry));
        forget_idle(self);
    }
    if (entry->failure != STATUS_OK) {
        return status_fail(entry->failure, "%s", entry->message);
    }
    entry->users++;
    *out = entry;
    return STATUS_OK;
}

void structured_release(struct structured_cache *self, struct structured_entry *entry)
{
    (void)self;
    entry->users--;
}

struct grammar_masks *structured_masks(const struct structured_entry *entry)
{
    return entry->masks;
}
