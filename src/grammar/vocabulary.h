/* SPDX-License-Identifier: Apache-2.0 */
/* A vocabulary's tokens as a trie of their bytes, laid out in the order of a walk. */
#ifndef SLUICE_GRAMMAR_VOCABULARY_H
#define SLUICE_GRAMMAR_VOCABULARY_H

#include "grammar/grammar.h"

#define TOKEN_NONE (-1)

/* Node 0 is the empty text; children follow their parent, in ascending order of bytes. */
struct trie_node {
    uint32_t past;  /* behind the last node of its subtree */
    int32_t token;  /* the first token that ends here, or TOKEN_NONE */
    uint16_t depth; /* bytes from the root */
    uint8_t byte;
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
    uint32_t roots[256]; /* the node of a first byte, 0 where no token begins so */
};

#endif
