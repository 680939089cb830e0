/* SPDX-License-Identifier: Apache-2.0 */
/* A vocabulary's tokens as two tries of their bytes, laid out in the order of a walk: of tokens of
 * plain text, which are most, and of the others. Where a grammar takes any text, as within a JSON
 * string, the tokens of plain text need no walk. */
#ifndef SLUICE_GRAMMAR_VOCABULARY_H
#define SLUICE_GRAMMAR_VOCABULARY_H

#include "grammar/grammar.h"
#include "grammar/masks/pool.h"

#define TOKEN_NONE (-1)

/* Plain text is up to so many whole characters but control ones, quotation marks and backslashes.
 * Of each length there is a mask of the tokens that are no longer. */
enum { TEXT_LENGTHS = 64 };

/* Two nodes, the first and `others`, are the empty text; children follow their parent, in ascending
 * order of bytes. */
struct trie_node {
    uint32_t past;  /* behind the last node of its subtree */
    int32_t token;  /* the first token that ends here, or TOKEN_NONE */
    uint16_t depth; /* bytes from the root */
    uint8_t byte;
    bool is_shared; /* further tokens end here: see `same` */
};

struct grammar_vocabulary {
    size_t token_count;
    size_t words; /* of a mask */
    char *bytes;
    uint32_t *byte_start; /* [token_count + 1] */
    struct trie_node *nodes;
    uint32_t node_count;
    int32_t *same;  /* [token_count] the next token of the same bytes, or TOKEN_NONE */
    uint16_t depth; /* of the longest token */
    int32_t *ends;
    size_t end_count;
    uint32_t others;                   /* root of the second trie */
    uint32_t roots[2][256];            /* of each trie the node of a first byte, or 0 */
    uint32_t *texts[TEXT_LENGTHS + 1]; /* masks by the most characters of a token */
    struct mask_pool *pool;            /* masks that grammars keep */
};

#endif
