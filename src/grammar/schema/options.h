/* SPDX-License-Identifier: Apache-2.0 */
/* How schemas are read and their values written. */
#ifndef SLUICE_GRAMMAR_SCHEMA_OPTIONS_H
#define SLUICE_GRAMMAR_SCHEMA_OPTIONS_H

#include <stdbool.h>

enum {
    SCHEMA_WHITE_SPACE_MOST = 40, /* characters at one place, where it is `any` */
};

struct schema_options {
    bool any_white_space; /* up to SCHEMA_WHITE_SPACE_MOST between the parts of a structure; else
                             none */
    bool closed_objects;  /* a schema with properties and without additionalProperties takes no
                             others, which is stricter than the standard */
};

#endif
