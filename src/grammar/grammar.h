/* SPDX-License-Identifier: Apache-2.0 */
/* Grammars at work: which tokens may come next, which must, and how an answer ends soonest.
 *
 * A compiled grammar is a set of deterministic automata over bytes that call each other; a matcher
 * is where one text stands in it: a small set of (state, stack of states to return to). A token is
 * allowed where its bytes lead on to a text that can still be completed. */
#ifndef SLUICE_GRAMMAR_H
#define SLUICE_GRAMMAR_H

#include "grammar/expression.h"
#include "sluice/tokenizer.h"

/* ---- Grammars: immutable, shared by threads ---- */

struct grammar;

/* The texts of `root`. The expressions may be destroyed afterwards. `limits` NULL: the defaults.
 * STATUS_INVALID where no text matches, STATUS_LIMIT. The caller destroys *out. */
status grammar_compile(struct grammar_expressions *expressions, grammar_node root,
                       const struct grammar_limits *limits, struct grammar **out) MUST_CHECK;
void grammar_destroy(struct grammar *self);

/* ---- Vocabularies: the bytes of a model's tokens; once a model, shared by threads ---- */

struct grammar_vocabulary;

/* token_bytes[i], [token_lengths[i]] of them: what token i adds to a text. A token of length 0
 * (special ones, ids that stand for nothing) never matches. `ends` [end_count] are allowed exactly
 * where the text may end. Everything is copied. The caller destroys *out. */
status grammar_vocabulary_create(const char *const *token_bytes, const size_t *token_lengths,
                                 size_t count, const int32_t *ends, size_t end_count,
                                 struct grammar_vocabulary **out) MUST_CHECK;
void grammar_vocabulary_destroy(struct grammar_vocabulary *self);

/* Bytes that stand for a special token in a grammar: they are no UTF-8, so that nothing else has
 * them, and no other token spells them. */
enum { GRAMMAR_SPECIAL_BYTES = 4 };
void grammar_special_bytes(int32_t token, char out[GRAMMAR_SPECIAL_BYTES]);

/* Of a model's tokenizer: `count` is the model's vocabulary, which may be larger. Special tokens
 * match their grammar_special_bytes alone. */
status grammar_vocabulary_of(const struct tokenizer *tokenizer, size_t count, const int32_t *ends,
                             size_t end_count, struct grammar_vocabulary **out) MUST_CHECK;

/* Bytes of its longest token. */
size_t grammar_vocabulary_longest(const struct grammar_vocabulary *self);

/* ---- A grammar for a vocabulary: where masks are kept; shared by threads ---- */

struct grammar_masks;

/* Borrows both. `bytes` bounds the masks kept (0: the default); what is not kept is computed again,
 * with the same outcome. The caller destroys *out after its matchers. */
status grammar_masks_create(const struct grammar *grammar,
                            const struct grammar_vocabulary *vocabulary, size_t bytes,
                            struct grammar_masks **out) MUST_CHECK;
void grammar_masks_destroy(struct grammar_masks *self);
const struct grammar_vocabulary *grammar_masks_vocabulary(const struct grammar_masks *self);

/* ---- Matchers: one a sample, used by one thread at a time ---- */

struct grammar_matcher;

status grammar_matcher_create(struct grammar_masks *masks, struct grammar_matcher **out) MUST_CHECK;
void grammar_matcher_destroy(struct grammar_matcher *self);
struct grammar_masks *grammar_matcher_masks(const struct grammar_matcher *self);
/* A second one in the same place. */
status grammar_matcher_clone(const struct grammar_matcher *self,
                             struct grammar_matcher **out) MUST_CHECK;
/* Back to the beginning. */
status grammar_matcher_reset(struct grammar_matcher *self) MUST_CHECK;

/* Goes on by a token. *ok false: it does not fit, and the matcher stays where it is. An end token
 * fits where the text may end, and changes nothing. */
status grammar_matcher_accept(struct grammar_matcher *self, int32_t token, bool *ok) MUST_CHECK;
/* The same by bytes. */
status grammar_matcher_accept_bytes(struct grammar_matcher *self, const char *bytes, size_t count,
                                    bool *ok) MUST_CHECK;

/* The tokens that fit, a bit each in the form of sampling.h. */
struct grammar_mask {
    const uint32_t *words; /* [sampling_mask_words(vocabulary)] */
    uint64_t serial;       /* sampling_mask_serial of a mask that is kept; else 0 */
};
/* *out is borrowed: until the matcher is used next, or, where it is one of the masks kept, for as
 * long as these live. */
status grammar_matcher_mask(struct grammar_matcher *self, struct grammar_mask *out) MUST_CHECK;
/* The same where it is one that is kept and needs no work, else false. Never fails. */
bool grammar_matcher_known_mask(const struct grammar_matcher *self, struct grammar_mask *out);

/* Whether the text may end here, and whether it must. */
bool grammar_matcher_may_end(const struct grammar_matcher *self);
bool grammar_matcher_must_end(const struct grammar_matcher *self);

/* Appends the bytes that are the only way to go on, up to where there is a choice or the text may
 * end; *to_end: it must end there. The matcher stays where it is. At most GRAMMAR_FORCED_MOST
 * bytes. */
enum { GRAMMAR_FORCED_MOST = 4096 };
status grammar_matcher_forced(struct grammar_matcher *self, struct buffer *out,
                              bool *to_end) MUST_CHECK;

/* Appends the bytes of the shortest way to a text that may end, of several the same one in the same
 * place; and how many there are. */
status grammar_matcher_shortest(struct grammar_matcher *self, struct buffer *out) MUST_CHECK;
size_t grammar_matcher_shortest_length(const struct grammar_matcher *self);

/* ---- Bytes as tokens ---- */

/* Appends the fewest tokens that give exactly these bytes (of several, those whose first token is
 * the longest). *ok false where the vocabulary cannot say them. */
status grammar_vocabulary_spell(const struct grammar_vocabulary *self, const char *bytes,
                                size_t count, struct token_list *out, bool *ok) MUST_CHECK;

/* Of bytes[0..count), with more to come that is unknown: how many at the beginning no token can
 * reach over the end from. */
size_t grammar_vocabulary_settled(const struct grammar_vocabulary *self, const char *bytes,
                                  size_t count);

/* Appends the bytes of a token to `out`. */
status grammar_vocabulary_bytes(const struct grammar_vocabulary *self, int32_t token,
                                struct buffer *out) MUST_CHECK;
size_t grammar_vocabulary_size(const struct grammar_vocabulary *self);
bool grammar_vocabulary_is_end(const struct grammar_vocabulary *self, int32_t token);

#endif
