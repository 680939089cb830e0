/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the chat template interpreter: tokens, syntax tree, values and the state of one rendering.
 *
 * A template goes text -> tokens (lex.c) -> tree (parse*.c), all in the
 * template's arena and constant from then on. A rendering (struct render) walks the tree with its
 * own arena; nothing is freed before it ends, and what it may take is bounded. Values follow
 * Python's rules, since that is what templates are written against: the language is Jinja 3.1 as
 * Hugging Face's transformers configures it (immutable sandbox, trim_blocks, lstrip_blocks, loop
 * controls). */
#ifndef SLUICE_TEXT_TEMPLATE_INTERNAL_H
#define SLUICE_TEXT_TEMPLATE_INTERNAL_H

#include <string.h>

#include "sluice/base.h"
#include "sluice/json.h"

enum {
    TEMPLATE_MAX_TEXT_BYTES = 1 << 20,     /* of a template */
    TEMPLATE_MAX_PARSE_DEPTH = 150,        /* nested expressions and blocks */
    TEMPLATE_MAX_DEPTH = 1200,             /* nested evaluation, recursive macros included */
    TEMPLATE_MAX_STEPS = 10 * 1000 * 1000, /* a rendering */
    TEMPLATE_MAX_OUTPUT_BYTES = 16 << 20,  /* a rendering's text, and any text under construction */
    TEMPLATE_MAX_MEMORY_BYTES = 256 << 20, /* a rendering's values */
    TEMPLATE_MAX_RANGE = 100000,           /* items; the sandbox of Jinja has the same bound */
    TEMPLATE_MAX_PARAMETERS = 6,           /* of a built-in function */
};

struct chat_template;
struct chat_variables;

/* chat_template_render for continue_final_message; `name` is the template's. */
status template_render_continued(const struct chat_template *template_, const char *name,
                                 const struct chat_variables *variables,
                                 struct buffer *out) MUST_CHECK;

/* ---- Values ---- */

enum value_type {
    VALUE_ABSENT, /* an argument that was not given; never seen by a template */
    VALUE_UNDEFINED,
    VALUE_NONE,
    VALUE_BOOLEAN,
    VALUE_INTEGER,
    VALUE_BIG_INTEGER, /* beyond 64 bits: only passed through, as its decimal text */
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_DICT,
    VALUE_VIEW, /* what dict.keys(), .values() and .items() give */
    VALUE_RANGE,
    VALUE_GENERATOR, /* can be walked once */
    VALUE_NAMESPACE, /* the one mutable container */
    VALUE_MACRO,
    VALUE_LOOP,     /* the variable `loop` */
    VALUE_FUNCTION, /* a global such as range */
    VALUE_METHOD,   /* a built-in method and the object it belongs to */
    VALUE_CYCLER,
    VALUE_JOINER,
};

struct value {
    enum value_type type;
    union {
        bool boolean; /* VALUE_BOOLEAN; VALUE_NONE: it is a message's content */
        int64_t integer;
        double real;
        const struct undefined *undefined;
        const struct string *string; /* VALUE_STRING, VALUE_BIG_INTEGER */
        const struct list *list;     /* VALUE_LIST, VALUE_TUPLE */
        struct dict *dict;           /* VALUE_DICT, VALUE_NAMESPACE */
        const struct view *view;
        const struct range *range;
        struct generator *generator;
        const struct macro *macro;
        struct loop *loop;
        const struct native *function;
        const struct method *method;
        struct cycler *cycler;
        struct joiner *joiner;
    };
};

/* UTF-8; constant. `growth` lets a text that is extended again and again grow in place: bytes past
 * `length` may be appended by whoever finds that growth->used is where this string ends. */
struct string {
    const char *text;
    size_t length;     /* bytes */
    size_t characters; /* code points */
    struct growth *growth;
    bool markup; /* marked as safe HTML: + escapes what it is joined with */
};

struct growth {
    size_t used, capacity; /* bytes from the start of the text */
};

/* Why a value is undefined; the message is put together only if it is needed. */
struct undefined {
    bool is_content;    /* of a message that has none: see template_text_of */
    const char *hint;   /* the whole message, or NULL */
    const char *object; /* type of the object that lacks `name`, or NULL for a plain variable */
    struct value name;
};

struct list {
    struct value *items;
    size_t count;
    bool is_group; /* a pair of the groupby filter, with the attributes grouper and list */
    const struct string *written; /* or NULL: see template_text_of */
};

struct dict {
    struct value *keys, *values; /* [count], in the order of insertion */
    size_t count, capacity;
    bool is_message;              /* "content" is there, in a way, also where it is not */
    const struct string *written; /* or NULL: see template_text_of */
};

enum view_kind { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

struct view {
    const struct dict *dict;
    enum view_kind kind;
};

struct range {
    int64_t start, stop, step;
    size_t count;
};

/* A position in anything that can be walked. */
struct iterator {
    struct value source;
    size_t index;  /* items given so far */
    size_t offset; /* strings: bytes */
};

struct render;
struct node;
struct node_list;
struct name;

/* The next item into *out, or *more = false at the end. */
typedef status generator_next(struct render *r, struct generator *generator, struct value *out,
                              bool *more);

struct generator {
    generator_next *next;
    struct iterator source;
    void *state;         /* of `next` */
    const char *written; /* type name, "generator" or "list_reverseiterator" */
    bool done, running;
};

struct macro {
    const struct node *node; /* NODE_MACRO or NODE_CALL_BLOCK */
    struct scope *scope;     /* where it was defined */
};

struct loop {
    const struct node *node; /* NODE_FOR */
    struct scope *scope;     /* around the loop */
    struct iterator iterator;
    struct value source, current, previous, after, changed; /* VALUE_ABSENT: none yet */
    int64_t index0, depth0, length;                         /* length -1: not known yet */
};

struct method {
    struct value self;
    const struct native *native;
};

struct cycler {
    const struct value *items;
    size_t count, position;
};

struct joiner {
    struct value separator;
    bool used;
};

/* ---- Calls of what is built in ---- */

struct keyword {
    struct value name; /* a string */
    struct value value;
};

/* The arguments of a call. A native with named parameters gets them bound: count is then the number
 * of its parameters, VALUE_ABSENT stands where none was given, and there are no keywords. */
struct call {
    struct value self; /* filter and test: the operand; method: the object; else VALUE_ABSENT */
    const struct value *arguments;
    size_t count;
    const struct keyword *keywords;
    size_t keyword_count;
};

typedef status native_call(struct render *r, const struct call *call, struct value *out);

/* A filter, test, method or global function, as a row of a table. */
struct native {
    const char *name;
    native_call *call;
    unsigned char required; /* parameters without default */
    bool variadic;          /* takes whatever is given, unbound */
    const char *parameters[TEMPLATE_MAX_PARAMETERS];
};

struct native_table {
    const struct native *rows;
    size_t count;
};

extern const struct native_table template_filters, template_sequence_filters, template_tests,
    template_string_methods, template_splitting_methods, template_list_methods,
    template_tuple_methods, template_dict_methods, template_cycler_methods, template_loop_methods,
    template_functions;

/* The row of that name or NULL. */
const struct native *template_native_find(const struct native_table *table,
                                          const struct string *name);
const struct native *template_filter_find(const struct string *name);

/* Binds the arguments to the native's parameters and calls it. `what` ("filter") is for messages.
 */
status template_native_call(struct render *r, const char *what, const struct native *native,
                            const struct call *call, struct value *out) MUST_CHECK;

/* Filter or test by a name known only now, as map and select do. */
status template_filter_apply(struct render *r, const struct value *name, const struct call *call,
                             struct value *out) MUST_CHECK;
status template_test_apply(struct render *r, const struct value *name, const struct call *call,
                           bool *out) MUST_CHECK;

/* Tokens, and the operations of the tree by the token that writes them. */
enum token_type {
    TOKEN_END,
    TOKEN_DATA,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_ADD,
    TOKEN_SUBTRACT,
    TOKEN_MULTIPLY,
    TOKEN_DIVIDE,
    TOKEN_FLOOR_DIVIDE,
    TOKEN_MODULO,
    TOKEN_POWER,
    TOKEN_TILDE,
    TOKEN_EQUAL,
    TOKEN_NOT_EQUAL,
    TOKEN_LESS,
    TOKEN_LESS_EQUAL,
    TOKEN_GREATER,
    TOKEN_GREATER_EQUAL,
    TOKEN_IN,     /* comparisons of the tree only: the lexer gives names */
    TOKEN_NOT_IN, /* likewise */
    TOKEN_ASSIGN,
    TOKEN_DOT,
    TOKEN_COLON,
    TOKEN_PIPE,
    TOKEN_COMMA,
    TOKEN_SEMICOLON,
    TOKEN_LEFT_BRACKET,
    TOKEN_RIGHT_BRACKET,
    TOKEN_LEFT_PARENTHESIS,
    TOKEN_RIGHT_PARENTHESIS,
    TOKEN_LEFT_BRACE,
    TOKEN_RIGHT_BRACE,
};

/* How a message names a token type: "end of print statement". */
const char *template_token_describe(enum token_type type);

/* ---- A rendering ---- */

struct binding {
    const struct name *name;
    struct value value;
};

struct scope {
    struct scope *parent; /* NULL: the root, whose values are r->root_values */
    struct binding *bindings;
    size_t count, capacity;
};

struct render {
    const struct chat_template *template_;
    struct arena arena;
    struct buffer out;         /* the text so far; above a mark, text under construction */
    struct value *root_values; /* [template_->name_count], VALUE_ABSENT: not set */
    struct scope root;
    int64_t now; /* Unix seconds */
    size_t steps;
    int depth;
    int error_line;      /* of the innermost node that failed; 0 before */
    bool arguments_stay; /* arguments of tool calls stay the texts that they are */
    bool arguments_read; /* some were texts and have become objects */
    bool raised;         /* the failure is raise_exception's */
};

/* STATUS_INVALID with the message; the line is added where the rendering ends. */
status template_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Counts work, in steps; STATUS_LIMIT. */
status template_charge(struct render *r, size_t steps) MUST_CHECK;
status template_enter(struct render *r) MUST_CHECK; /* one level deeper; r->depth-- leaves */

/* Zeroed memory of the rendering. */
status template_allocate(struct render *r, size_t count, size_t size, void *out) MUST_CHECK;

/* Text under construction: append at the end of r->out from a mark (r->out.length) on, then take it
 * as a string, which puts r->out back to the mark. */
status template_write(struct render *r, const char *text, size_t length) MUST_CHECK;
status template_write_text(struct render *r, const char *text) MUST_CHECK;
status template_write_repeated(struct render *r, char byte, size_t count) MUST_CHECK;
status template_write_character(struct render *r, int32_t code_point) MUST_CHECK;
status template_take(struct render *r, size_t mark, struct value *out) MUST_CHECK;

/* ---- Making values (value.c) ---- */

static inline struct value value_none(void)
{
    return (struct value){.type = VALUE_NONE};
}

static inline struct value value_boolean(bool boolean)
{
    return (struct value){.type = VALUE_BOOLEAN, .boolean = boolean};
}

static inline struct value value_integer(int64_t integer)
{
    return (struct value){.type = VALUE_INTEGER, .integer = integer};
}

static inline struct value value_float(double real)
{
    return (struct value){.type = VALUE_FLOAT, .real = real};
}

static inline struct value value_string(const struct string *string)
{
    return (struct value){.type = VALUE_STRING, .string = string};
}

static inline bool value_is_given(const struct value *value)
{
    return value->type != VALUE_ABSENT;
}

/* Arguments of "%.*s" in messages: strings have no NUL after them. */
#define STRING_ARGUMENTS(string) (int)(string)->length, (string)->text

/* Neither left out nor none, as most optional parameters want it. */
static inline bool value_is_some(const struct value *value)
{
    return value->type != VALUE_ABSENT && value->type != VALUE_NONE;
}

/* An optional integer argument; fails for anything else. */
status template_argument_integer(const struct value *value, int64_t otherwise,
                                 int64_t *out) MUST_CHECK;
/* An argument of `method` that must be a string. */
status template_argument_string(const char *method, const struct value *value,
                                const struct string **out) MUST_CHECK;

size_t template_count_characters(const char *text, size_t length);
/* A string that points to `text`, which must live as long as the rendering. */
status template_string_view(struct render *r, const char *text, size_t length,
                            struct value *out) MUST_CHECK;
status template_string_copy(struct render *r, const char *text, size_t length,
                            struct value *out) MUST_CHECK;
status template_concatenate(struct render *r, const struct string *a, const struct string *b,
                            struct value *out) MUST_CHECK;
/* A list or tuple that takes over `items`. */
status template_list(struct render *r, enum value_type type, struct value *items, size_t count,
                     struct value *out) MUST_CHECK;
status template_pair(struct render *r, struct value first, struct value second,
                     struct value *out) MUST_CHECK;
status template_dict(struct render *r, size_t capacity, struct value *out) MUST_CHECK;
status template_dict_put(struct render *r, struct dict *dict, const struct value *key,
                         const struct value *value) MUST_CHECK;
/* *out = NULL where the key is not there. Fails for a key that cannot be hashed. */
status template_dict_get(struct render *r, const struct dict *dict, const struct value *key,
                         const struct value **out) MUST_CHECK;
status template_undefined(struct render *r, const char *hint, const struct value *object,
                          const struct value *name, struct value *out) MUST_CHECK;
status template_undefined_format(struct render *r, struct value *out, const char *format, ...)
    __attribute__((format(printf, 3, 4))) MUST_CHECK;
/* Fails with the message of an undefined value. */
status template_fail_undefined(struct render *r, const struct value *value) MUST_CHECK;
status template_from_json(struct render *r, const struct json *json, struct value *out) MUST_CHECK;
/* Likewise, a conversation in the form that its template takes (messages.c). */
status template_from_messages(struct render *r, const struct json *json,
                              struct value *out) MUST_CHECK;

/* ---- What values are ---- */

const char *template_type_name(const struct value *value); /* Python's: "str", "NoneType" */
status template_truth(struct render *r, const struct value *value, bool *out) MUST_CHECK;
status template_equal(struct render *r, const struct value *a, const struct value *b,
                      bool *out) MUST_CHECK;
/* `operation` is LESS, LESS_EQUAL, GREATER or GREATER_EQUAL. */
status template_order(struct render *r, enum token_type operation, const struct value *a,
                      const struct value *b, bool *out) MUST_CHECK;
status template_contains(struct render *r, const struct value *container, const struct value *item,
                         bool *out) MUST_CHECK;
/* len(): fails where there is none. */
status template_length(struct render *r, const struct value *value, size_t *out) MUST_CHECK;
bool template_is_sized(const struct value *value);
bool template_is_iterable(const struct value *value);
bool template_is_callable(const struct value *value);
bool template_is_integral(const struct value *value, int64_t *out); /* integers and booleans */
bool template_is_number(const struct value *value, double *out);    /* and floats */
bool template_is_text(const struct value *value, const char *text); /* exactly this string */
/* The text that a value stands for where one is wanted (printed, joined with a text), else NULL: of
 * a string itself; of a message's content that is null or missing ""; of what came as a text or as
 * text parts and was read for the template's sake, that text. Everywhere else it is what it is. */
const struct string *template_text_of(const struct value *value);
/* Content that is null or missing: to a test for none it is none, to all that takes a text "". */
bool template_is_no_content(const struct value *value);
/* *value, or "" in its place where it is no content. */
struct value template_or_empty(const struct value *value);

/* ---- Walking (iterate.c) ---- */

status template_iterator_start(struct render *r, const struct value *source,
                               struct iterator *out) MUST_CHECK;
status template_iterator_next(struct render *r, struct iterator *iterator, struct value *out,
                              bool *more) MUST_CHECK;
/* All items as a new array. */
status template_items(struct render *r, const struct value *source, struct value **items,
                      size_t *count) MUST_CHECK;
status template_generator(struct render *r, generator_next *next, const struct value *source,
                          void *state, struct value *out) MUST_CHECK;
status template_reversed(struct render *r, const struct value *source,
                         struct value *out) MUST_CHECK;
/* sequence[start:stop:step]; NULL or none where left out. */
status template_slice(struct render *r, const struct value *sequence, const struct value *start,
                      const struct value *stop, const struct value *step,
                      struct value *out) MUST_CHECK;
/* Stable sort of items by keys[i], ascending or (still stable) descending. */
status template_sort(struct render *r, struct value *items, struct value *keys, size_t count,
                     bool reverse) MUST_CHECK;

/* ---- Text of values (print.c, format.c) ---- */

/* Appends to r->out. */
status template_write_value(struct render *r, const struct value *value) MUST_CHECK; /* str() */
status template_write_repr(struct render *r, const struct value *value) MUST_CHECK;  /* repr() */
status template_write_json(struct render *r, const struct call *bound) MUST_CHECK;   /* tojson */
status template_write_escaped(struct render *r, const char *text, size_t length) MUST_CHECK;
/* The value itself if it is a string, else str() of it. */
status template_to_string(struct render *r, const struct value *value,
                          struct value *out) MUST_CHECK;
enum { TEMPLATE_FLOAT_BYTES = 40 };
void template_float_text(double real, char text[TEMPLATE_FLOAT_BYTES]); /* Python's repr() */
/* format % arguments. */
status template_format_percent(struct render *r, const struct string *format,
                               const struct value *arguments, struct value *out) MUST_CHECK;
/* format.format(…). */
status template_format_braces(struct render *r, const struct string *format,
                              const struct call *call, struct value *out) MUST_CHECK;

/* ---- Characters (unicode.c) ---- */

bool template_is_space(int32_t code_point);
bool template_is_alphabetic(int32_t code_point);
bool template_is_decimal(int32_t code_point);
bool template_is_digit(int32_t code_point);
bool template_is_numeric(int32_t code_point);
bool template_is_upper(int32_t code_point);
bool template_is_lower(int32_t code_point);
bool template_is_title(int32_t code_point);
bool template_is_printable(int32_t code_point);
enum letter_case { CASE_UPPER, CASE_LOWER, CASE_TITLE };
/* Appends the character at `offset` in another case to r->out; *size is its bytes. */
status template_write_cased_at(struct render *r, const struct string *string, size_t offset,
                               enum letter_case wanted, size_t *size) MUST_CHECK;
/* Appends the text: its first character in one case, the rest in another. */
status template_write_cased(struct render *r, const struct string *string, enum letter_case first,
                            enum letter_case rest) MUST_CHECK;
/* Bytes of white space at the start and at the end. */
size_t template_space_prefix(const char *text, size_t length);
size_t template_space_suffix(const char *text, size_t length);
/* The first (or last) place of `needle` in text[start..end) as an offset into text, SIZE_MAX if
 * there is none. */
status template_find_bytes(struct render *r, const char *text, size_t start, size_t end,
                           const struct string *needle, bool last, size_t *out) MUST_CHECK;
/* Where the code point that ends at `end` (not 0) starts. */
size_t template_previous_character(const char *text, size_t end);
/* Byte offset of the code point with that index (its end for index == characters). */
size_t template_character_offset(const struct string *string, size_t index);
/* Bytes of the line at text, without its end; *end_size is the end's bytes, 0 at the text's end. */
size_t template_line_length(const char *text, size_t length, size_t *end_size);

/* ---- Evaluation ---- */

status template_evaluate(struct render *r, const struct node *node, struct scope *scope,
                         struct value *out) MUST_CHECK;
status template_binary(struct render *r, enum token_type operation, const struct value *a,
                       const struct value *b, struct value *out) MUST_CHECK;
status template_apply_filter(struct render *r, const struct node *node, const struct value *operand,
                             struct scope *scope, struct value *out) MUST_CHECK;

/* object.name and object[key], with Jinja's fallbacks: undefined where there is neither. */
status template_get_attribute(struct render *r, const struct value *object,
                              const struct value *name, struct value *out) MUST_CHECK;
status template_get_item(struct render *r, const struct value *object, const struct value *key,
                         struct value *out) MUST_CHECK;
/* Only what is an attribute, no items; *found = false where there is none. */
status template_find_attribute(struct render *r, const struct value *object,
                               const struct string *name, struct value *out,
                               bool *found) MUST_CHECK;
status template_call_value(struct render *r, const struct value *callee, const struct call *call,
                           struct value *out) MUST_CHECK;

/* Statements (execute.c). */
enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };
status template_execute(struct render *r, const struct node_list *body, struct scope *scope,
                        enum flow *flow) MUST_CHECK;
status template_call_macro(struct render *r, const struct macro *macro, const struct call *call,
                           struct value *out) MUST_CHECK;
status template_call_loop(struct render *r, struct loop *loop, const struct value *iterable,
                          struct value *out) MUST_CHECK;
status template_loop_attribute(struct render *r, struct loop *loop, const struct string *name,
                               struct value *out, bool *found) MUST_CHECK;

struct value *template_scope_find(const struct render *r, struct scope *scope,
                                  const struct name *name);
status template_scope_set(struct render *r, struct scope *scope, const struct name *name,
                          const struct value *value) MUST_CHECK;

#endif
