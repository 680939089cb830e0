/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the analysis of a template: shapes of values, and the state of a walk. analyze.c
 * says what for. */
#ifndef SLUICE_TEXT_TEMPLATE_ANALYZE_H
#define SLUICE_TEXT_TEMPLATE_ANALYZE_H

#include "text/template/tree.h"

enum {
    IS_MESSAGES = 1,    /* a list of messages */
    IS_MESSAGE = 2,     /* one of them */
    IS_CONTENT = 4,     /* a message's content */
    IS_PART = 8,        /* one item of it */
    IS_RECORD = 16,     /* a dict or namespace that the template makes: see `fields` */
    IS_CALLS = 32,      /* a message's tool calls */
    IS_CALL = 64,       /* one of them */
    IS_FUNCTION = 128,  /* its function: name and arguments */
    IS_ARGUMENTS = 256, /* of a call */
};

struct shape {
    uint16_t is;    /* what it may be */
    uint16_t holds; /* what it may have inside, at whatever depth: lists, tuples, dict views */
};

static const struct shape shapeless;

/* A binding that can be taken back. */
struct change {
    size_t name, set_at;
    struct shape shape;
};

struct field {
    const struct string *name;
    struct shape shape;
};

struct known_macro {
    const struct node *node;
    const struct name *name;
    struct shape *parameters; /* [node->macro.count] joined over all calls */
};

struct analysis {
    struct chat_template *template_;
    struct shape *now;  /* [names] where the walk stands */
    struct shape *ever; /* [names] anywhere: what a macro's body may see of names around it */
    size_t *set_at;     /* [names] length of `changes` when it was set; 0: not set */
    struct change *changes, *merged;
    size_t change_count, change_capacity, merged_count, merged_capacity;
    struct shape *given; /* arguments of the calls being looked at, as a stack */
    size_t given_count, given_capacity;
    struct field *fields;
    size_t field_count, field_capacity;
    struct known_macro *macros;
    size_t macro_count, macro_capacity;
    size_t macro_mark; /* changes when the macro around was entered, plus 1; 0: in none */
    size_t steps;
    int depth;
    bool again;    /* something flowed backwards */
    status failed; /* out of memory */
    bool content_indexed, content_tested, arguments_tested;
    struct template_uses uses;
};

static inline struct shape shape_join(struct shape a, struct shape b)
{
    return (struct shape){a.is | b.is, a.holds | b.holds};
}

/* A list, tuple or view with such items. */
static inline struct shape shape_holding(struct shape a)
{
    return (struct shape){0, a.is | a.holds};
}

/* What a loop over it, or an index, gives. */
static inline struct shape shape_of_item(struct shape f)
{
    struct shape item = {f.holds, f.holds};
    item.is |= f.is & IS_MESSAGES ? IS_MESSAGE : 0;
    item.is |= f.is & IS_CALLS ? IS_CALL : 0;
    item.is |= f.is & IS_CONTENT ? IS_PART : 0;
    return item;
}

/* Counts work; false when there has been too much of it, or memory has run out: then the walk
 * ends with what it has found. */
bool analysis_charge(struct analysis *a, size_t steps);
/* array_grow of one of the lists. */
bool analysis_grow(struct analysis *a, void *list, size_t *capacity, size_t count, size_t size);
/* Joins into a shape that outlives the pass. */
void analysis_note(struct analysis *a, struct shape *known, struct shape more);
void analysis_bind(struct analysis *a, const struct name *name, struct shape shape);
struct shape analysis_name(const struct analysis *a, const struct name *name);
/* The field of that name of all records together; NULL: out of memory. */
struct shape *analysis_field(struct analysis *a, const struct string *name);
void analysis_set_field(struct analysis *a, const struct string *name, struct shape shape);

/* Expressions (shapes.c): what the value may be, noting what is done with it. */
struct shape analysis_shape(struct analysis *a, const struct node *node);
/* Something walks over it. */
void analysis_note_walked(struct analysis *a, struct shape f);
bool template_is_called(const struct string *string, const char *name);

#endif
