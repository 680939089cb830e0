/* SPDX-License-Identifier: Apache-2.0 */
/* Small parts of the texts of structures: white space, separators, brackets. */
#include "grammar/schema/compiler.h"

#include <string.h>

status schema_no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a JSON schema");
}

/* A rule, so that its states are there once and not at each place. */
status white_space_node(struct schema_compiler *self, bool any, grammar_node *out)
{
    static const struct code_point_range blank[] = {{' ', ' '}, {'\t', '\n'}, {'\r', '\r'}};
    grammar_rule rule;
    grammar_node node;
    if (!any) {
        return grammar_literal(self->expressions, "", 0, out);
    }
    TRY(grammar_code_points(self->expressions, blank, COUNT_OF(blank), &node));
    TRY(grammar_repeat(self->expressions, node, 0, SCHEMA_WHITE_SPACE_MOST, &node));
    TRY(grammar_rule_declare(self->expressions, "white space", &rule));
    TRY(grammar_rule_define(self->expressions, rule, node));
    return grammar_reference(self->expressions, rule, out);
}

status spaced_node(struct schema_compiler *self, const char *text, grammar_node *out)
{
    grammar_node parts[3] = {self->white_space, 0, self->white_space};
    TRY(grammar_literal(self->expressions, text, strlen(text), &parts[1]));
    return grammar_sequence(self->expressions, parts, 3, out);
}

status enclosed_node(struct schema_compiler *self, const char *open, const char *close,
                     const grammar_node *body, bool may_be_empty, grammar_node *out)
{
    grammar_node parts[4], inner[2];
    size_t count = 0;
    TRY(grammar_literal(self->expressions, open, strlen(open), &parts[count++]));
    parts[count++] = self->white_space;
    if (body != NULL) {
        inner[0] = *body;
        inner[1] = self->white_space;
        TRY(grammar_sequence(self->expressions, inner, 2, &parts[count]));
        TRY(grammar_repeat(self->expressions, parts[count], may_be_empty ? 0 : 1, 1,
                           &parts[count]));
        count++;
    }
    TRY(grammar_literal(self->expressions, close, strlen(close), &parts[count++]));
    return grammar_sequence(self->expressions, parts, count, out);
}
