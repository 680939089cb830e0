/* SPDX-License-Identifier: Apache-2.0 */
/* The members of an object, as its schemas name them. */
#ifndef SLUICE_GRAMMAR_SCHEMA_MEMBERS_H
#define SLUICE_GRAMMAR_SCHEMA_MEMBERS_H

#include "grammar/schema/compiler.h"

struct member_name {
    const char *name;
    size_t length;
    bool is_required;
};

/* In the order in which they are declared; what is only required comes last. */
struct member_names {
    struct member_name *items;
    size_t count;
};

status member_names_read(struct schema_compiler *self, const struct conjunction *set,
                         struct member_names *out) MUST_CHECK;
/* A member of any other name, with its value; *there: whether there can be one. */
status other_members(struct schema_compiler *self, const struct conjunction *set,
                     const struct member_names *declared, grammar_node *out,
                     bool *there) MUST_CHECK;

#endif
