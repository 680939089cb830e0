/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the schema compiler share.
 *
 * The compiler works on *conjunctions*: sets of schemas of the document that must all hold for one
 * value. `allOf` and `$ref` put further schemas into the set; `anyOf` and `oneOf` choose one of
 * several, so that a conjunction with some becomes a choice of conjunctions. What is left says for
 * each type what a value may be. A document has finitely many conjunctions, so recursion ends at
 * one that is being compiled already, which becomes a rule. */
#ifndef SLUICE_GRAMMAR_SCHEMA_COMPILER_H
#define SLUICE_GRAMMAR_SCHEMA_COMPILER_H

#include "grammar/expression.h"
#include "grammar/schema/document.h"
#include "grammar/schema/number.h"
#include "grammar/schema/options.h"

enum {
    SCHEMA_MAX_ELEMENTS = 64,       /* schemas of a conjunction */
    SCHEMA_MAX_CONJUNCTIONS = 8192, /* compiled, and asked about, for one document */
    SCHEMA_MAX_NESTING = 200,       /* conjunctions in each other */
    SCHEMA_MAX_PATTERNS = 6,        /* of patternProperties, for one object */
};

/* ---- Conjunctions: conjunction.c ---- */

struct element {
    const struct json *schema;   /* an object */
    int parent;                  /* index of the element that brought it in; -1 for none */
    bool any_chosen, one_chosen; /* a schema of its anyOf, oneOf is in the conjunction as well */
};

struct conjunction {
    struct element *elements;
    int count, capacity;
    bool is_never; /* `false` is among them */
};

struct compiled;

struct schema_compiler {
    struct grammar_expressions *expressions;
    struct schema_options options;
    const struct schema_document *document;
    struct arena *arena;
    struct compiled *done; /* of conjunctions that were compiled, or are being */
    size_t done_count, done_capacity;
    size_t steps; /* conjunctions looked at, for the limit */
    int nesting;
    int empty_nesting; /* of questions whether a conjunction is empty, and how many there were */
    size_t empty_steps;
    int check_nesting; /* of values that schemas are held against, and how often that was done */
    size_t checks;
    const struct json *listed, *listed_in; /* a value, and the enum that it was taken from */
    grammar_node white_space;              /* what may stand between two parts of a structure */
};

/* Adds a schema, and all that it refers to. STATUS_INVALID, STATUS_UNSUPPORTED, STATUS_LIMIT. */
status conjunction_add(struct schema_compiler *self, struct conjunction *set,
                       const struct json *schema, const struct json *holder, int parent) MUST_CHECK;
status conjunction_copy(struct schema_compiler *self, const struct conjunction *from,
                        struct conjunction *out) MUST_CHECK;
/* The element with an anyOf or oneOf of which none has been chosen yet, -1 for none. */
int conjunction_open(const struct conjunction *set, bool *is_one);
/* A copy in which alternative i of the open element is chosen. */
status conjunction_choose(struct schema_compiler *self, const struct conjunction *from, int open,
                          bool is_one, size_t i, struct conjunction *out) MUST_CHECK;
/* The list of values that enum or const of one of its schemas leaves, NULL for none; `single` is
 * set where it is a const. */
const struct json *conjunction_values(const struct conjunction *set, bool *single);
/* Whether all of its schemas hold for a value. */
status conjunction_accepts(struct schema_compiler *self, const struct conjunction *set,
                           const struct json *value, bool *out) MUST_CHECK;
/* The same for value `i` of those that conjunction_values has given. */
status conjunction_accepts_listed(struct schema_compiler *self, const struct conjunction *set,
                                  const struct json *values, bool single, size_t i,
                                  bool *out) MUST_CHECK;
/* Whether no value is known to satisfy it: true is certain, false is not. */
status conjunction_is_empty(struct schema_compiler *self, const struct conjunction *set,
                            bool *out) MUST_CHECK;
/* STATUS_UNSUPPORTED where two schemas of the open element's oneOf may hold for one value. */
status conjunction_check_disjoint(struct schema_compiler *self, const struct conjunction *set,
                                  int open) MUST_CHECK;
/* The texts among its values, without quotation marks. */
status conjunction_content(struct schema_compiler *self, const struct conjunction *set,
                           grammar_node *out) MUST_CHECK;
/* What a value of it may be. */
status conjunction_compile(struct schema_compiler *self, const struct conjunction *set,
                           grammar_node *out) MUST_CHECK;
/* Counts a step of work, and says how deep it is: enter, then leave. */
status compiler_enter(struct schema_compiler *self) MUST_CHECK;
void compiler_leave(struct schema_compiler *self);

/* STATUS_UNSUPPORTED for a keyword that is unknown or refused. */
status schema_check_keywords(struct schema_compiler *self, const struct json *schema) MUST_CHECK;
/* What its $ref means; NULL for none. */
status schema_reference(struct schema_compiler *self, const struct json *schema,
                        const struct json **out) MUST_CHECK;
/* Its list of schemas, NULL where it has none. STATUS_INVALID for an empty one. */
status schema_list(struct schema_compiler *self, const struct json *schema, const char *keyword,
                   const struct json **out) MUST_CHECK;

/* ---- Types: shape.c ---- */

enum schema_type {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,  /* numbers without a fraction */
    TYPE_FRACTION = 8, /* the others */
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127,
};

struct length_range {
    uint32_t least, most; /* most: GRAMMAR_UNBOUNDED for none */
};

/* What the assertions of a conjunction come to, but for those of items and members. */
struct schema_shape {
    unsigned types;
    struct number_range numbers;
    struct length_range text, items, members;
};

status shape_read(struct schema_compiler *self, const struct conjunction *set,
                  struct schema_shape *out) MUST_CHECK;
/* The types that a schema's `type` names, all where it has none. */
status type_mask(struct schema_compiler *self, const struct json *schema, unsigned *out) MUST_CHECK;
/* Narrows a range to what its bounds allow. */
status schema_numbers(struct schema_compiler *self, const struct json *schema,
                      struct number_range *range) MUST_CHECK;
/* Whether numbers must be integers by its multipleOf. */
status schema_is_whole(struct schema_compiler *self, const struct json *schema,
                       bool *out) MUST_CHECK;
/* A keyword whose value counts something; *there is false where the schema lacks it. */
status count_keyword(struct schema_compiler *self, const struct json *schema, const char *keyword,
                     uint32_t *out, bool *there) MUST_CHECK;

/* ---- Texts: text.c ---- */

/* Texts of the conjunction's lengths, patterns and formats, without quotation marks. *is_any: all
 * texts. */
status text_content(struct schema_compiler *self, const struct conjunction *set,
                    const struct length_range *length, grammar_node *out, bool *is_any) MUST_CHECK;
/* The JSON strings of these texts. */
status text_node(struct schema_compiler *self, const struct conjunction *set,
                 const struct length_range *length, grammar_node *out) MUST_CHECK;
/* Of one pattern or format. */
status pattern_content(struct schema_compiler *self, const struct json *schema, const char *pattern,
                       size_t length, grammar_node *out) MUST_CHECK;
/* *out stays as it is where the format says nothing of texts. */
status format_content(struct schema_compiler *self, const struct json *schema, const char *format,
                      grammar_node *out, bool *found) MUST_CHECK;
/* All texts of so many characters. */
status any_content(struct schema_compiler *self, const struct length_range *length,
                   grammar_node *out) MUST_CHECK;

/* ---- Structures: array.c, object.c ---- */

status array_node(struct schema_compiler *self, const struct conjunction *set,
                  const struct length_range *length, grammar_node *out) MUST_CHECK;
status array_is_empty(struct schema_compiler *self, const struct conjunction *set,
                      const struct length_range *length, bool *out) MUST_CHECK;
status object_node(struct schema_compiler *self, const struct conjunction *set,
                   const struct length_range *length, grammar_node *out) MUST_CHECK;
status object_is_empty(struct schema_compiler *self, const struct conjunction *set,
                       const struct length_range *length, bool *out) MUST_CHECK;

/* What an object's schemas say of the member of a name: the schemas of it are added to `out`. */
status member_conjunction(struct schema_compiler *self, const struct conjunction *set,
                          const char *name, size_t length, struct conjunction *out) MUST_CHECK;

/* The schema of item i, NULL for any; and how many items at the front have their own. */
const struct json *item_schema(const struct json *schema, size_t i);
size_t item_prefix(const struct json *schema);
/* Whether a pattern of patternProperties is found in a name. */
status pattern_finds(struct schema_compiler *self, const struct json *schema,
                     const struct json_member *pattern, const char *name, size_t length,
                     bool *out) MUST_CHECK;
/* The object behind a keyword, NULL where the schema lacks it. */
status schema_object(struct schema_compiler *self, const struct json *schema, const char *keyword,
                     const struct json **out) MUST_CHECK;
/* The list of names behind `required`, NULL where the schema lacks it. */
status schema_required(struct schema_compiler *self, const struct json *schema,
                       const struct json **out) MUST_CHECK;

/* ---- Values: value.c ---- */

/* Whether a schema holds for a value: exactly what the compiled keywords say. */
status value_satisfies(struct schema_compiler *self, const struct json *schema,
                       const struct json *value, bool *out) MUST_CHECK;
status values_equal(struct schema_compiler *self, const struct json *a, const struct json *b,
                    bool *out) MUST_CHECK;
/* The value as it may be written. */
status value_node(struct schema_compiler *self, const struct json *value,
                  grammar_node *out) MUST_CHECK;

/* ---- Small parts: parts.c ---- */

/* `text`, with white space on both sides. */
status spaced_node(struct schema_compiler *self, const char *text, grammar_node *out) MUST_CHECK;
/* open space (body space)? close; `body` may be NULL, and left out where `may_be_empty`. */
status enclosed_node(struct schema_compiler *self, const char *open, const char *close,
                     const grammar_node *body, bool may_be_empty, grammar_node *out) MUST_CHECK;
status white_space_node(struct schema_compiler *self, bool any, grammar_node *out) MUST_CHECK;
status schema_no_memory(void);

#endif
