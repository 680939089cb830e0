/* SPDX-License-Identifier: Apache-2.0 */
/* Long texts without a state for each of their characters: blocks of equal length, which are called
 * one after the other, as many as there may be. What is left is counted by where a block comes back
 * to, so all long texts of a grammar share the states of two blocks:
 *
 *     up to n blocks = fewer characters than a block, then the end
 *                    | a whole block, then up to n - 1 blocks
 *
 * While a block is read it is open which of the two it is; that is two places at most. */
#include <stdlib.h>

#include "grammar/nodes.h"

enum {
    LONG_TEXT = 4096,  /* characters from which on it is worth it */
    LEAST_BLOCK = 512, /* characters */
    MOST_BLOCKS = 32,  /* of a text, which nest in each other; longer texts have larger blocks */
};

struct long_text {
    struct grammar_expressions *expressions;
    grammar_node unit, last; /* a character; what ends the text */
    uint32_t block;
    grammar_node whole, part; /* a block; less than one, with the end */
};

/* `a`, then `b`. */
static status follow(const struct long_text *self, grammar_node a, grammar_node b,
                     grammar_node *out)
{
    const grammar_node nodes[] = {a, b};
    return grammar_sequence(self->expressions, nodes, COUNT_OF(nodes), out);
}

/* Fewer than `count` characters, then the end. */
static status fewer(const struct long_text *self, uint32_t count, grammar_node *out)
{
    TRY(grammar_repeat(self->expressions, self->unit, 0, count - 1, out));
    return follow(self, *out, self->last, out);
}

static status prepare(struct long_text *self, uint32_t most)
{
    self->block = LEAST_BLOCK;
    while (most / self->block > MOST_BLOCKS) {
        self->block *= 2;
    }
    TRY(grammar_repeat(self->expressions, self->unit, self->block, self->block, &self->whole));
    return fewer(self, self->block, &self->part);
}

/* Fewer than `count` characters and the end, or so many and then `rest`. */
static status fewer_or(const struct long_text *self, grammar_node few, grammar_node all,
                       grammar_node rest, grammar_node *out)
{
    grammar_node ways[2] = {few};
    TRY(follow(self, all, rest, &ways[1]));
    return grammar_choice(self->expressions, ways, COUNT_OF(ways), out);
}

/* Up to `most` characters and the end. */
static status up_to(const struct long_text *self, uint32_t most, grammar_node *out)
{
    grammar_node few, all;
    const uint32_t rest = most % self->block;
    *out = self->last;
    for (uint32_t i = 0; i < most / self->block; i++) {
        TRY(fewer_or(self, self->part, self->whole, *out, out));
    }
    if (rest == 0) {
        return STATUS_OK;
    }
    TRY(fewer(self, rest, &few));
    TRY(grammar_repeat(self->expressions, self->unit, rest, rest, &all));
    return fewer_or(self, few, all, *out, out);
}

/* Exactly `count` characters. */
static status exactly(const struct long_text *self, uint32_t count, grammar_node *out)
{
    grammar_node rest;
    const uint32_t blocks = count / self->block;
    TRY(grammar_repeat(self->expressions, self->whole, blocks, blocks, out));
    TRY(grammar_repeat(self->expressions, self->unit, count % self->block, count % self->block,
                       &rest));
    return follow(self, *out, rest, out);
}

status grammar_split_long_text(struct grammar_expressions *self, grammar_node node,
                               grammar_node *out)
{
    const struct expression content = self->nodes[node];
    *out = node;
    if (content.kind != NODE_SEQUENCE || content.count != 3) {
        return STATUS_OK;
    }
    const grammar_node first = self->children[content.first];
    const struct expression text = self->nodes[self->children[content.first + 1]];
    if (text.kind != NODE_REPEAT || text.most == GRAMMAR_UNBOUNDED || text.most < LONG_TEXT) {
        return STATUS_OK;
    }
    struct long_text long_text = {
        .expressions = self, .unit = text.first, .last = self->children[content.first + 2]};
    grammar_node parts[3] = {first};
    TRY(prepare(&long_text, text.most));
    TRY(exactly(&long_text, text.least, &parts[1]));
    TRY(up_to(&long_text, text.most - text.least, &parts[2]));
    return grammar_sequence(self, parts, COUNT_OF(parts), out);
}
