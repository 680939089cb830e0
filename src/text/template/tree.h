/* SPDX-License-Identifier: Apache-2.0 */
/* A template's tokens, its syntax tree, and what the parser's files share. Text -> tokens
 * (lex.c) -> tree (parse*.c), all in the template's arena and constant from then
 * on. */
#ifndef SLUICE_TEXT_TEMPLATE_TREE_H
#define SLUICE_TEXT_TEMPLATE_TREE_H

#include "text/template/internal.h"

/* ---- Tokens ---- */

struct token {
    enum token_type type;
    int line;
    const char *text; /* DATA, NAME, STRING (escapes resolved), INTEGER beyond 64 bits */
    size_t length;
    int64_t integer; /* INTEGER with text == NULL */
    double real;     /* FLOAT */
};

struct template_tokens {
    struct token *tokens; /* malloc'ed; ends with TOKEN_END */
    size_t count, capacity;
};

/* Splits a template into tokens, white space control applied. Texts point into `arena`. The caller
 * frees out->tokens, also after a failure. */
status template_lex(const char *text, size_t length, struct arena *arena,
                    struct template_tokens *out) MUST_CHECK;

/* ---- Syntax tree ---- */

struct name {
    struct string string;
    size_t index;      /* among the template's names */
    struct name *next; /* of the same hash bucket */
};

enum node_kind {
    NODE_CONSTANT,
    NODE_NAME,
    NODE_NAMESPACE_TARGET, /* only where something is assigned to */
    NODE_TUPLE,
    NODE_LIST,
    NODE_DICT,
    NODE_ATTRIBUTE,
    NODE_ITEM,
    NODE_SLICE,
    NODE_CALL,
    NODE_FILTER,
    NODE_TEST,
    NODE_NEGATE,
    NODE_POSITIVE,
    NODE_NOT,
    NODE_AND,
    NODE_OR,
    NODE_ARITHMETIC,
    NODE_CONCATENATE,
    NODE_COMPARE,
    NODE_CONDITIONAL,
    NODE_DATA,
    NODE_PRINT,
    NODE_IF,
    NODE_FOR,
    NODE_SET,
    NODE_SET_BLOCK,
    NODE_MACRO,
    NODE_CALL_BLOCK,
    NODE_FILTER_BLOCK,
    NODE_WITH,
    NODE_GENERATION,
    NODE_BREAK,
    NODE_CONTINUE,
};

struct node_list {
    struct node **items;
    size_t count;
};

struct keyword_node {
    struct string *name;
    struct node *value;
};

struct call_node {
    struct node_list arguments;
    struct keyword_node *keywords;
    size_t keyword_count;
    struct node *more_arguments, *more_keywords; /* *a and **b, or NULL */
};

struct operand_node {
    enum token_type operation;
    struct node *value;
};

struct branch_node {
    struct node *test; /* NULL: else */
    struct node_list body;
};

struct node {
    enum node_kind kind;
    int line;
    union {
        struct value constant;   /* CONSTANT */
        struct string data;      /* DATA */
        const struct name *name; /* NAME */
        struct {
            const struct name *name;
            struct string *attribute;
        } target;               /* NAMESPACE_TARGET */
        struct node_list items; /* TUPLE, LIST, CONCATENATE, PRINT; DICT: key, value, key… */
        struct {
            struct node *object;
            struct string *name;
        } attribute; /* ATTRIBUTE */
        struct {
            struct node *object, *key;
        } item; /* ITEM */
        struct {
            struct node *object, *start, *stop, *step; /* each but object may be NULL */
        } slice;                                       /* SLICE */
        struct {
            struct node *callee;
            struct call_node arguments;
        } call; /* CALL */
        struct {
            struct node *operand; /* NULL: the text of the block around it */
            struct string *name;
            const struct native *native; /* NULL: unknown, an error when it is reached */
            struct call_node arguments;
        } applied;            /* FILTER, TEST */
        struct node *operand; /* NEGATE, POSITIVE, NOT */
        struct {
            struct node *left, *right;
            enum token_type operation; /* ARITHMETIC */
        } binary;                      /* AND, OR, ARITHMETIC */
        struct {
            struct node *first;
            struct operand_node *rest;
            size_t count;
        } compare; /* COMPARE */
        struct {
            struct node *test, *then, *otherwise; /* otherwise may be NULL */
        } conditional;                            /* CONDITIONAL */
        struct {
            struct branch_node *branches;
            size_t count;
        } branches; /* IF */
        struct {
            struct node *target, *iterable, *test; /* test may be NULL */
            struct node_list body, otherwise;
            bool recursive;
        } loop; /* FOR */
        struct {
            struct node *target, *value; /* SET_BLOCK: value is the filter or NULL */
            struct node_list body;       /* SET_BLOCK */
        } set;                           /* SET, SET_BLOCK */
        struct {
            const struct name *name; /* NULL: a call block */
            const struct name **parameters;
            struct node **defaults; /* [count], NULL where there is none */
            size_t count;
            bool uses_caller, uses_varargs, uses_kwargs;
            struct node_list body;
            struct node *call; /* CALL_BLOCK: a CALL */
        } macro;               /* MACRO, CALL_BLOCK */
        struct {
            struct node *filter;
            struct node_list body;
        } filter_block; /* FILTER_BLOCK */
        struct {
            struct node **targets, **values;
            size_t count;
            struct node_list body;
        } with;                /* WITH */
        struct node_list body; /* GENERATION */
    };
};

enum { TEMPLATE_NAME_BUCKETS = 256 };

/* What a template does with a conversation (analyze.c). */
struct template_uses {
    bool iterates_content;    /* it walks over a message's content: a list stays a list */
    bool arguments_as_object; /* it looks into the arguments of tool calls */
    bool arguments_as_text;   /* it asks whether they are a string, and takes nothing else */
    bool calls_have_function; /* it looks for `function` in a tool call */
    bool reads_function_call; /* it looks for `function_call` in a message */
};

struct chat_template {
    char *name; /* for messages */
    struct arena arena;
    struct node_list body;
    struct name *buckets[TEMPLATE_NAME_BUCKETS];
    size_t name_count;
    struct template_uses uses;
    /* Names that mean something to the interpreter itself. */
    const struct name *loop, *caller, *varargs, *kwargs;
};

/* Fills template_->uses from the tree. */
status template_analyze(struct chat_template *template_) MUST_CHECK;

/* Tokens to tree: fills template_->body and its names. */
status template_parse(struct chat_template *template_,
                      const struct template_tokens *tokens) MUST_CHECK;

/* What the two parser files share. */
struct parser {
    struct chat_template *template_;
    const struct token *current;
    int depth;
    int loops;            /* `for` bodies around, for `loop` as a target */
    int breakable;        /* `for` bodies around within this macro, for break and continue */
    bool soft;            /* inside a branch: an unknown filter is an error only when reached */
    struct name_use *use; /* special names seen in the macro body being parsed, or NULL */
    const struct open_tag *open; /* the innermost block that is not closed yet, or NULL */
};

/* A block being parsed, for messages. */
struct open_tag {
    const struct token *name;
    const char *const *ends; /* tags it waits for; NULL after the last */
    const struct open_tag *outer;
};

struct name_use {
    bool caller, varargs, kwargs;
};

status template_parser_fail(const struct parser *p, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
status template_parser_node(struct parser *p, enum node_kind kind, int line, struct node **out);
status template_parser_name(struct parser *p, const char *text, size_t length,
                            const struct name **out);
status template_parser_expect(struct parser *p, enum token_type type);
bool template_parser_at(const struct parser *p, enum token_type type);
bool template_parser_at_name(const struct parser *p, const char *name);
bool template_parser_skip_name(struct parser *p, const char *name);
void template_parser_next(struct parser *p);
status template_parser_enter(struct parser *p);
/* A growing list whose items stay in malloc'ed memory until finished into the arena. */
struct node_builder {
    struct node **items;
    size_t count, capacity;
};
status template_builder_add(struct node_builder *builder, struct node *node);
status template_builder_finish(struct parser *p, struct node_builder *builder,
                               struct node_list *out);

status template_parse_expression(struct parser *p, bool with_conditional, struct node **out);
status template_parse_primary(struct parser *p, bool with_namespace, struct node **out);
/* Attributes, items and calls after *node; then filters and tests as well. */
status template_parse_postfix(struct parser *p, struct node **node);
status template_parse_filters_and_tests(struct parser *p, struct node **node);
enum tuple_form { TUPLE_PLAIN, TUPLE_NO_CONDITIONAL, TUPLE_PARENTHESES, TUPLE_TARGET };
status template_parse_tuple(struct parser *p, enum tuple_form form, const char *end_name,
                            bool with_namespace, struct node **out);
status template_parse_filter(struct parser *p, struct node *operand, bool start_inline,
                             struct node **out);

#endif
