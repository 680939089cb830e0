/* SPDX-License-Identifier: Apache-2.0 */
/* A sample's place in its row's grammar. */
#include "engine/constraint.h"

#include <stdlib.h>
#include <string.h>

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a row's grammar");
}

/* ---- What samples share ---- */

void constraint_tools_create(struct constraint_tools *self, const struct tokenizer *tokenizer)
{
    *self = (struct constraint_tools){.tokenizer = tokenizer};
    pthread_mutex_init(&self->lock, NULL);
}

void constraint_tools_destroy(struct constraint_tools *self)
{
    while (self->scratch_count > 0) {
        tokenizer_scratch_destroy(self->scratches[--self->scratch_count]);
    }
    pthread_mutex_destroy(&self->lock);
}

static struct tokenizer_scratch *take_scratch(struct constraint_tools *self)
{
    struct tokenizer_scratch *scratch = NULL;
    pthread_mutex_lock(&self->lock);
    if (self->scratch_count > 0) {
        scratch = self->scratches[--self->scratch_count];
    }
    pthread_mutex_unlock(&self->lock);
    return scratch != NULL ? scratch : tokenizer_scratch_create(self->tokenizer);
}

static void give_scratch(struct constraint_tools *self, struct tokenizer_scratch *scratch)
{
    pthread_mutex_lock(&self->lock);
    if (self->scratch_count < CONSTRAINT_SCRATCHES) {
        self->scratches[self->scratch_count++] = scratch;
        scratch = NULL;
    }
    pthread_mutex_unlock(&self->lock);
    tokenizer_scratch_destroy(scratch);
}

static status encode(struct constraint_tools *self, const char *bytes, size_t length,
                     struct token_list *out)
{
    struct tokenizer_scratch *scratch = take_scratch(self);
    if (scratch == NULL) {
        return no_memory();
    }
    const status s = tokenizer_encode(self->tokenizer, scratch, bytes, length, false, out);
    give_scratch(self, scratch);
    return s;
}

/* ---- Tokens of the shortest end ---- */

static const struct grammar_vocabulary *vocabulary_of(const struct generate_params *params)
{
    return grammar_masks_vocabulary(params->grammar);
}

static status spell_shortest(struct grammar_matcher *matcher,
                             const struct grammar_vocabulary *vocabulary, struct token_list *out,
                             bool *ok)
{
    struct buffer bytes = {0};
    status s = grammar_matcher_shortest(matcher, &bytes);
    if (s == STATUS_OK) {
        s = grammar_vocabulary_spell(vocabulary, bytes.data != NULL ? bytes.data : "", bytes.length,
                                     out, ok);
    }
    buffer_destroy(&bytes);
    return s;
}

/* Whether a text of so many bytes is more than `tokens` tokens, whichever they are. A grammar may
 * ask for more than there is memory for: such a text is never written down. */
static bool is_beyond(const struct grammar_vocabulary *vocabulary, size_t bytes, size_t tokens)
{
    return bytes > tokens * grammar_vocabulary_longest(vocabulary);
}

static status fail_too_short(const struct generate_params *params, const char *more, size_t tokens)
{
    return status_fail(STATUS_INVALID,
                       "max_tokens: %d; the shortest answer of this form takes %s%zu",
                       params->max_new_tokens, more, tokens);
}

status constraint_check(const struct generate_params *params)
{
    if (params->grammar == NULL || params->grammar_after_count > 0) {
        return STATUS_OK;
    }
    struct grammar_matcher *matcher;
    struct token_list tokens = {0};
    bool ok = false;
    TRY(grammar_matcher_create(params->grammar, &matcher));
    const size_t most = (size_t)params->max_new_tokens;
    if (is_beyond(vocabulary_of(params), grammar_matcher_shortest_length(matcher), most)) {
        grammar_matcher_destroy(matcher);
        return fail_too_short(params, "more than ", most);
    }
    status s = spell_shortest(matcher, vocabulary_of(params), &tokens, &ok);
    grammar_matcher_destroy(matcher);
    const size_t count = tokens.count;
    token_list_destroy(&tokens);
    TRY(s);
    if (!ok) {
        return status_fail(STATUS_INVALID,
                           "the form of the answer: the vocabulary has no tokens for it");
    }
    return count <= most ? STATUS_OK : fail_too_short(params, "", count);
}

/* ---- Life ---- */

status constraint_create(const struct generate_params *params, const uint32_t *allowed,
                         struct constraint **out)
{
    struct constraint *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    self->allowed = allowed;
    self->is_active = params->grammar_after_count == 0;
    status s = grammar_matcher_create(params->grammar, &self->matcher);
    if (s != STATUS_OK) {
        free(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void constraint_destroy(struct constraint *self)
{
    if (self != NULL) {
        grammar_matcher_destroy(self->matcher);
        free(self->words);
        free(self);
    }
}

/* ---- Tokens ---- */

static bool ends_with_marker(const struct generate_params *params, const int32_t *output, int count)
{
    const int length = params->grammar_after_count;
    return count >= length && memcmp(output + count - length, params->grammar_after,
                                     (size_t)length * sizeof *output) == 0;
}

status constraint_take(struct constraint *self, const struct generate_params *params,
                       const int32_t *output, int count, bool *ok)
{
    self->has_mask = false;
    if (self->is_active) {
        return grammar_matcher_accept(self->matcher, output[count - 1], ok);
    }
    self->is_active = ends_with_marker(params, output, count);
    *ok = true;
    return STATUS_OK;
}

status constraint_rewind(struct constraint *self, const struct generate_params *params,
                         const int32_t *output, int count)
{
    TRY(grammar_matcher_reset(self->matcher));
    self->has_mask = false;
    self->is_active = params->grammar_after_count == 0;
    for (int i = 1; i <= count; i++) {
        bool ok;
        TRY(constraint_take(self, params, output, i, &ok));
        if (!ok) {
            return status_fail(STATUS_INTERNAL, "a grammar refuses a token that it has taken");
        }
    }
    return STATUS_OK;
}

bool constraint_must_end(const struct constraint *self)
{
    return self->is_active && grammar_matcher_must_end(self->matcher);
}

bool constraint_may_end(const struct constraint *self)
{
    return self->is_active && grammar_matcher_may_end(self->matcher);
}

/* ---- Ends ---- */

static const struct grammar_vocabulary *own_vocabulary(const struct constraint *self)
{
    return grammar_masks_vocabulary(grammar_matcher_masks(self->matcher));
}

status constraint_can_close(struct constraint *self, int left, bool *can)
{
    /* A byte is a token at most: mostly there is nothing to count. */
    const size_t bytes = grammar_matcher_shortest_length(self->matcher);
    *can = !self->is_active || bytes <= (size_t)(left > 0 ? left : 0);
    if (*can || left <= 0 || is_beyond(own_vocabulary(self), bytes, (size_t)left)) {
        return STATUS_OK;
    }
    struct token_list tokens = {0};
    status s = spell_shortest(self->matcher, own_vocabulary(self), &tokens, can);
    *can = *can && tokens.count <= (size_t)left;
    token_list_destroy(&tokens);
    return s;
}

status constraint_close(struct constraint *self, struct token_list *out)
{
    bool ok;
    TRY(spell_shortest(self->matcher, own_vocabulary(self), out, &ok));
    return ok ? STATUS_OK
              : status_fail(STATUS_INTERNAL, "the vocabulary has no tokens for an answer's end");
}

/* ---- What follows ---- */

/* How many bytes tokens ids[0 .. count) give, where they are those of `bytes`; else SIZE_MAX. */
static status match_tokens(const struct grammar_vocabulary *vocabulary, const int32_t *ids,
                           size_t count, const char *bytes, size_t length, size_t *out)
{
    struct buffer text = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        s = grammar_vocabulary_bytes(vocabulary, ids[i], &text);
    }
    const bool same = text.length == length && memcmp(text.data, bytes, length) == 0;
    *out = same ? length : SIZE_MAX;
    buffer_destroy(&text);
    return s;
}

/* The tokens of bytes as the tokenizer cuts them; where it gives other bytes (it puts a space
 * before a text, say, or knows a special token in it), the fewest that give them. */
static status cut_bytes(const struct constraint *self, struct constraint_tools *tools,
                        const char *bytes, size_t length, struct token_list *out, bool *ok)
{
    const struct grammar_vocabulary *vocabulary = own_vocabulary(self);
    size_t matched = SIZE_MAX;
    if (tools->tokenizer != NULL) {
        TRY(encode(tools, bytes, length, out));
        TRY(match_tokens(vocabulary, out->ids, out->count, bytes, length, &matched));
    }
    *ok = true;
    if (matched == SIZE_MAX) {
        out->count = 0;
        return grammar_vocabulary_spell(vocabulary, bytes, length, out, ok);
    }
    return STATUS_OK;
}

/* Drops tokens that end behind byte `settled`, and, where the answer is to be closed in time, all
 * of them if they cost too much. */
static status keep_settled(const struct constraint *self, size_t settled, int left, bool closes,
                           struct token_list *tokens)
{
    struct buffer bytes = {0};
    size_t kept = 0, kept_bytes = 0;
    status s = STATUS_OK;
    for (; kept < tokens->count && s == STATUS_OK; kept++) {
        s = grammar_vocabulary_bytes(own_vocabulary(self), tokens->ids[kept], &bytes);
        if (bytes.length > settled) {
            break;
        }
        kept_bytes = bytes.length;
    }
    buffer_destroy(&bytes);
    const size_t shortest = grammar_matcher_shortest_length(self->matcher) - kept_bytes;
    tokens->count = closes && shortest + kept > (size_t)(left > 0 ? left : 0) ? 0 : kept;
    return s;
}

static status force(struct constraint *self, struct constraint_tools *tools,
                    const struct buffer *bytes, bool to_end, int left, bool closes,
                    struct token_list *out)
{
    size_t length = bytes->length, bad;
    if (!utf8_valid(bytes->data, length, &bad)) { /* half a character is the tokenizer's to join */
        length = bad;
        to_end = false;
    }
    bool ok = false;
    if (length > 0) {
        TRY(cut_bytes(self, tools, bytes->data, length, out, &ok));
    }
    if (!ok) {
        out->count = 0;
        return STATUS_OK;
    }
    const size_t settled =
        to_end ? length : grammar_vocabulary_settled(own_vocabulary(self), bytes->data, length);
    return keep_settled(self, settled, left, closes, out);
}

status constraint_forced(struct constraint *self, struct constraint_tools *tools, int left,
                         bool closes, struct token_list *out)
{
    struct buffer bytes = {0};
    bool to_end;
    out->count = 0;
    if (!self->is_active) {
        return STATUS_OK;
    }
    status s = grammar_matcher_forced(self->matcher, &bytes, &to_end);
    if (s == STATUS_OK && bytes.length > 0) {
        s = force(self, tools, &bytes, to_end, left, closes, out);
    }
    buffer_destroy(&bytes);
    return s;
}

/* ---- Masks ---- */

static status join_allowed(struct constraint *self, size_t words)
{
    if (self->words == NULL) {
        self->words = malloc((words + 1) * sizeof *self->words);
        if (self->words == NULL) {
            return no_memory();
        }
    }
    for (size_t i = 0; i < words; i++) {
        self->words[i] = self->mask[i] & self->allowed[i];
    }
    self->mask = self->words;
    self->mask_serial = 0;
    return STATUS_OK;
}

static size_t mask_words(const struct constraint *self)
{
    return (grammar_vocabulary_size(own_vocabulary(self)) + 31) / 32;
}

static void take_mask(struct constraint *self, const struct grammar_mask *mask)
{
    self->mask = mask->words;
    self->mask_serial = mask->serial;
}

static void see_if_stuck(struct constraint *self)
{
    const size_t words = mask_words(self);
    uint32_t any = 0;
    for (size_t i = 0; i < words && any == 0; i++) {
        any = self->mask[i];
    }
    self->is_stuck = any == 0;
}

static status compute_mask(struct constraint *self)
{
    struct grammar_mask mask;
    TRY(grammar_matcher_mask(self->matcher, &mask));
    take_mask(self, &mask);
    if (self->allowed != NULL) {
        TRY(join_allowed(self, mask_words(self)));
    }
    see_if_stuck(self);
    return STATUS_OK;
}

void constraint_mask(struct constraint *self)
{
    self->mask = self->allowed;
    self->mask_serial = 0;
    self->is_stuck = false;
    self->failure = self->is_active ? compute_mask(self) : STATUS_OK;
    self->has_mask = self->failure == STATUS_OK;
}

void constraint_look_up_mask(struct constraint *self)
{
    struct grammar_mask mask;
    self->has_mask = self->is_active && self->allowed == NULL &&
                     grammar_matcher_known_mask(self->matcher, &mask);
    if (self->has_mask) {
        self->failure = STATUS_OK;
        take_mask(self, &mask);
        see_if_stuck(self);
    }
}
