/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of a template: tokens to tree. */
#include <stdio.h>
#include <stdlib.h>

#include "text/template/tree.h"

/* ---- What both parser files use ---- */

status template_parser_fail(const struct parser *p, int line, const char *format, ...)
{
    (void)p;
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status_fail(STATUS_INVALID, "line %d: %s", line, message);
}

status template_parser_node(struct parser *p, enum node_kind kind, int line, struct node **out)
{
    *out = arena_allocate(&p->template_->arena, sizeof **out);
    if (*out == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    (*out)->kind = kind;
    (*out)->line = line;
    return STATUS_OK;
}

status template_parser_name(struct parser *p, const char *text, size_t length,
                            const struct name **out)
{
    struct chat_template *template_ = p->template_;
    struct name **bucket = &template_->buckets[hash_bytes(text, length, 0) % TEMPLATE_NAME_BUCKETS];
    for (struct name *name = *bucket; name != NULL; name = name->next) {
        if (name->string.length == length && memcmp(name->string.text, text, length) == 0) {
            *out = name;
            return STATUS_OK;
        }
    }
    struct name *name = arena_allocate(&template_->arena, sizeof *name);
    char *copy = arena_copy(&template_->arena, text, length);
    if (name == NULL || copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    name->string = (struct string){
        .text = copy, .length = length, .characters = template_count_characters(text, length)};
    name->index = template_->name_count++;
    name->next = *bucket;
    *bucket = name;
    *out = name;
    return STATUS_OK;
}

void template_parser_next(struct parser *p)
{
    if (p->current->type != TOKEN_END) {
        p->current++;
    }
}

bool template_parser_at(const struct parser *p, enum token_type type)
{
    return p->current->type == type;
}

bool template_parser_at_name(const struct parser *p, const char *name)
{
    return p->current->type == TOKEN_NAME && p->current->length == strlen(name) &&
           memcmp(p->current->text, name, p->current->length) == 0;
}

bool template_parser_skip_name(struct parser *p, const char *name)
{
    bool found = template_parser_at_name(p, name);
    if (found) {
        template_parser_next(p);
    }
    return found;
}

static const char *describe(const struct token *token)
{
    return token->type == TOKEN_NAME ? token->text : template_token_describe(token->type);
}

static status fail_expected(const struct parser *p, const char *expected)
{
    if (p->current->type == TOKEN_END) {
        return template_parser_fail(p, p->current->line,
                                    "unexpected end of template, expected '%s'.", expected);
    }
    return template_parser_fail(p, p->current->line, "expected token '%s', got '%s'", expected,
                                describe(p->current));
}

status template_parser_expect(struct parser *p, enum token_type type)
{
    if (p->current->type != type) {
        return fail_expected(p, template_token_describe(type));
    }
    template_parser_next(p);
    return STATUS_OK;
}

/* A level deeper; on success the caller takes p->depth back down. After a failure nothing is parsed
 * any more, so nobody need. */
status template_parser_enter(struct parser *p)
{
    if (++p->depth > TEMPLATE_MAX_PARSE_DEPTH) {
        return status_fail(STATUS_LIMIT, "line %d: nested more than %d levels deep",
                           p->current->line, (int)TEMPLATE_MAX_PARSE_DEPTH);
    }
    return STATUS_OK;
}

status template_builder_add(struct node_builder *builder, struct node *node)
{
    void *items = builder->items;
    TRY(array_grow(&items, &builder->capacity, builder->count + 1, sizeof(struct node *)));
    builder->items = items;
    builder->items[builder->count++] = node;
    return STATUS_OK;
}

status template_builder_finish(struct parser *p, struct node_builder *builder,
                               struct node_list *out)
{
    *out = (struct node_list){.count = builder->count};
    if (builder->count == 0) {
        return STATUS_OK;
    }
    out->items = arena_allocate_array(&p->template_->arena, builder->count, sizeof *out->items);
    if (out->items == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    memcpy(out->items, builder->items, builder->count * sizeof *out->items);
    return STATUS_OK;
}

/* ---- Bodies ---- */

static status parse_statement(struct parser *p, struct node **out);

static bool at_any(const struct parser *p, const char *const *ends)
{
    for (; *ends != NULL; ends++) {
        if (template_parser_at_name(p, *ends)) {
            return true;
        }
    }
    return false;
}

/* An unknown tag (the current token) or, with name NULL, the end of the template in a block. */
static status fail_tag(const struct parser *p, const char *name)
{
    struct buffer text = {0};
    bool nesting = false;
    for (const struct open_tag *open = p->open; open != NULL && name != NULL; open = open->outer) {
        nesting = nesting || at_any(p, open->ends);
    }
    status s = name == NULL ? buffer_append_text(&text, "Unexpected end of template.")
                            : buffer_format(&text, "Encountered unknown tag '%s'.", name);
    if (s == STATUS_OK && p->open != NULL) {
        s = buffer_append_text(&text, nesting ? " You probably made a nesting mistake. Jinja is "
                                                "expecting this tag, but currently looking for"
                                              : " Jinja was looking for the following tags:");
        for (size_t i = 0; s == STATUS_OK && p->open->ends[i] != NULL; i++) {
            s = buffer_format(&text, "%s '%s'", i == 0 ? "" : " or", p->open->ends[i]);
        }
        s = s != STATUS_OK
                ? s
                : buffer_format(&text, ". The innermost block that needs to be closed is '%s'.",
                                p->open->name->text);
    }
    if (s == STATUS_OK) {
        s = template_parser_fail(p, p->current->line, "%s", text.data);
    }
    buffer_destroy(&text);
    return s;
}

/* Up to a tag named in `ends`, which is left as the current token; to the end with ends == NULL. */
static status parse_body(struct parser *p, const char *const *ends, struct node_list *out)
{
    struct node_builder body = {0};
    struct node *node = NULL;
    status s = STATUS_OK;
    while (s == STATUS_OK && p->current->type != TOKEN_END) {
        const struct token *token = p->current;
        template_parser_next(p);
        if (token->type == TOKEN_DATA) {
            s = template_parser_node(p, NODE_DATA, token->line, &node);
            if (s == STATUS_OK) {
                node->data = (struct string){.text = token->text, .length = token->length};
            }
        } else if (token->type == TOKEN_VARIABLE_BEGIN) {
            s = template_parser_node(p, NODE_PRINT, token->line, &node);
            struct node *value = NULL;
            s = s != STATUS_OK ? s : template_parse_tuple(p, TUPLE_PLAIN, NULL, false, &value);
            s = s != STATUS_OK ? s : template_parser_expect(p, TOKEN_VARIABLE_END);
            struct node_builder one = {.items = &value, .count = 1, .capacity = 1};
            s = s != STATUS_OK ? s : template_builder_finish(p, &one, &node->items);
        } else {
            if (ends != NULL && at_any(p, ends)) {
                break;
            }
            s = parse_statement(p, &node);
            s = s != STATUS_OK ? s : template_parser_expect(p, TOKEN_BLOCK_END);
        }
        s = s != STATUS_OK ? s : template_builder_add(&body, node);
    }
    if (s == STATUS_OK && ends != NULL && p->current->type == TOKEN_END) {
        s = fail_tag(p, NULL);
    }
    s = s != STATUS_OK ? s : template_builder_finish(p, &body, out);
    free(body.items);
    return s;
}

/* The rest of a block's tag and its body. */
static status parse_block(struct parser *p, const struct token *name, const char *const *ends,
                          struct node_list *out)
{
    struct open_tag open = {.name = name, .ends = ends, .outer = p->open};
    if (p->current->type == TOKEN_COLON) {
        template_parser_next(p);
    }
    TRY(template_parser_expect(p, TOKEN_BLOCK_END));
    p->open = &open;
    status s = parse_body(p, ends, out);
    p->open = open.outer;
    return s;
}

/* As parse_block for one end tag, which is skipped. The body is a scope of its own: unknown filters
 * are errors at once again, whatever branch the block stands in. */
static status parse_scoped_block(struct parser *p, const struct token *name, const char *end,
                                 struct node_list *out)
{
    bool soft = p->soft;
    p->soft = false;
    TRY(parse_block(p, name, (const char *const[]){end, NULL}, out));
    p->soft = soft;
    template_parser_next(p);
    return STATUS_OK;
}

/* As parse_scoped_block for what is called like a function: break cannot leave it. */
static status parse_function_body(struct parser *p, const struct token *name, const char *end,
                                  struct node_list *out)
{
    int breakable = p->breakable;
    p->breakable = 0;
    TRY(parse_scoped_block(p, name, end, out));
    p->breakable = breakable;
    return STATUS_OK;
}

/* ---- Targets of assignments ---- */

static status check_target(struct parser *p, const struct node *target)
{
    static const char *const words[] = {
        [NODE_CONSTANT] = "const", [NODE_LIST] = "list", [NODE_DICT] = "dict"};
    switch (target->kind) {
    case NODE_NAME:
        if (p->loops > 0 && target->name == p->template_->loop) {
            return template_parser_fail(p, target->line,
                                        "Can't assign to special loop variable in for-loop target");
        }
        return STATUS_OK;
    case NODE_NAMESPACE_TARGET:
        return STATUS_OK;
    case NODE_TUPLE:
        for (size_t i = 0; i < target->items.count; i++) {
            TRY(check_target(p, target->items.items[i]));
        }
        return STATUS_OK;
    default:
        return template_parser_fail(p, target->line, "can't assign to '%s'",
                                    target->kind < COUNT_OF(words) && words[target->kind] != NULL
                                        ? words[target->kind]
                                        : "expression");
    }
}

static status parse_target(struct parser *p, const char *end_name, bool with_namespace,
                           struct node **out)
{
    TRY(template_parse_tuple(p, TUPLE_TARGET, end_name, with_namespace, out));
    return check_target(p, *out);
}

static status parse_name_only(struct parser *p, const struct name **out)
{
    const struct token *token = p->current;
    TRY(template_parser_expect(p, TOKEN_NAME));
    static const char *const reserved[] = {"true", "True", "false", "False", "none", "None"};
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        if (strcmp(token->text, reserved[i]) == 0) {
            return template_parser_fail(p, token->line, "can't assign to 'name'");
        }
    }
    return template_parser_name(p, token->text, token->length, out);
}

/* ---- Statements ---- */

static status parse_set(struct parser *p, const struct token *tag, struct node *node)
{
    TRY(parse_target(p, NULL, true, &node->set.target));
    if (p->current->type == TOKEN_ASSIGN) {
        template_parser_next(p);
        node->kind = NODE_SET;
        return template_parse_tuple(p, TUPLE_PLAIN, NULL, false, &node->set.value);
    }
    bool soft = p->soft;
    p->soft = false;
    TRY(template_parse_filter(p, NULL, false, &node->set.value));
    p->soft = soft;
    return parse_scoped_block(p, tag, "endset", &node->set.body);
}

static status parse_for(struct parser *p, const struct token *tag, struct node *node)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    bool soft = p->soft;
    p->loops++;
    TRY(parse_target(p, "in", false, &node->loop.target));
    if (!template_parser_skip_name(p, "in")) {
        return fail_expected(p, "in");
    }
    TRY(template_parse_tuple(p, TUPLE_NO_CONDITIONAL, "recursive", false, &node->loop.iterable));
    p->soft = false;
    if (template_parser_skip_name(p, "if")) {
        TRY(template_parse_expression(p, true, &node->loop.test));
    }
    node->loop.recursive = template_parser_skip_name(p, "recursive");
    p->breakable++;
    TRY(parse_block(p, tag, ends, &node->loop.body));
    p->breakable--;
    bool has_else = template_parser_at_name(p, "else");
    template_parser_next(p);
    if (has_else) {
        TRY(parse_scoped_block(p, tag, "endfor", &node->loop.otherwise));
    }
    p->loops--;
    p->soft = soft;
    return STATUS_OK;
}

static status add_branch(struct parser *p, struct node *node, size_t *capacity,
                         struct branch_node **out)
{
    if (node->branches.count == *capacity) {
        size_t wanted = *capacity == 0 ? 2 : 2 * *capacity;
        struct branch_node *grown =
            arena_allocate_array(&p->template_->arena, wanted, sizeof *grown);
        if (grown == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
        }
        if (node->branches.count > 0) {
            memcpy(grown, node->branches.branches, node->branches.count * sizeof *grown);
        }
        node->branches.branches = grown;
        *capacity = wanted;
    }
    *out = &node->branches.branches[node->branches.count++];
    return STATUS_OK;
}

static status parse_if(struct parser *p, const struct token *tag, struct node *node)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    size_t capacity = 0;
    bool soft = p->soft;
    p->soft = true;
    for (bool more = true; more;) {
        struct branch_node *branch;
        struct branch_node parsed = {0};
        TRY(template_parse_tuple(p, TUPLE_NO_CONDITIONAL, NULL, false, &parsed.test));
        TRY(parse_block(p, tag, ends, &parsed.body));
        TRY(add_branch(p, node, &capacity, &branch));
        *branch = parsed;
        more = template_parser_skip_name(p, "elif");
    }
    bool has_else = template_parser_at_name(p, "else");
    template_parser_next(p);
    if (has_else) {
        struct branch_node *branch;
        struct branch_node parsed = {0};
        TRY(parse_block(p, tag, last, &parsed.body));
        TRY(add_branch(p, node, &capacity, &branch));
        *branch = parsed;
        template_parser_next(p);
    }
    p->soft = soft;
    return STATUS_OK;
}

/* "(a, b=1)" of a macro or call block. */
static status parse_signature(struct parser *p, struct node *node)
{
    struct node_builder defaults = {0};
    const struct name **names = NULL;
    size_t capacity = 0;
    bool has_defaults = false;
    status s = template_parser_expect(p, TOKEN_LEFT_PARENTHESIS);
    while (s == STATUS_OK && p->current->type != TOKEN_RIGHT_PARENTHESIS) {
        struct node *value = NULL;
        void *items = names;
        s = node->macro.count == 0 ? STATUS_OK : template_parser_expect(p, TOKEN_COMMA);
        s = s != STATUS_OK ? s
                           : array_grow(&items, &capacity, node->macro.count + 1, sizeof *names);
        names = items;
        s = s != STATUS_OK ? s : parse_name_only(p, &names[node->macro.count]);
        if (s == STATUS_OK && p->current->type == TOKEN_ASSIGN) {
            template_parser_next(p);
            has_defaults = true;
            s = template_parse_expression(p, true, &value);
        } else if (s == STATUS_OK && has_defaults) {
            s = template_parser_fail(p, p->current->line,
                                     "non-default argument follows default argument");
        }
        s = s != STATUS_OK ? s : template_builder_add(&defaults, value);
        node->macro.count += s == STATUS_OK;
    }
    s = s != STATUS_OK ? s : template_parser_expect(p, TOKEN_RIGHT_PARENTHESIS);
    if (s == STATUS_OK && node->macro.count > 0) {
        struct node_list list;
        s = template_builder_finish(p, &defaults, &list);
        node->macro.defaults = list.items;
        node->macro.parameters =
            arena_allocate_array(&p->template_->arena, node->macro.count, sizeof *names);
        if (s == STATUS_OK && node->macro.parameters == NULL) {
            s = status_fail(STATUS_NO_MEMORY, "out of memory for a template");
        } else if (s == STATUS_OK) {
            memcpy(node->macro.parameters, names, node->macro.count * sizeof *names);
        }
    }
    free(defaults.items);
    free(names);
    return s;
}

/* Body of a macro or call block, noting which of the special names it uses. */
static status parse_macro_body(struct parser *p, const struct token *tag, const char *end,
                               struct node *node)
{
    struct name_use use = {0}, *outer = p->use;
    p->use = &use;
    TRY(parse_function_body(p, tag, end, &node->macro.body));
    p->use = outer;
    if (outer != NULL) {
        outer->caller |= use.caller;
        outer->varargs |= use.varargs;
        outer->kwargs |= use.kwargs;
    }
    for (size_t i = 0; i < node->macro.count; i++) {
        const struct name *parameter = node->macro.parameters[i];
        if (parameter == p->template_->caller && use.caller && node->macro.defaults[i] == NULL) {
            return template_parser_fail(
                p, node->line,
                "When defining macros or call blocks the special \"caller\" argument must be "
                "omitted or be given a default.");
        }
        use.caller = use.caller && parameter != p->template_->caller;
        use.varargs = use.varargs && parameter != p->template_->varargs;
        use.kwargs = use.kwargs && parameter != p->template_->kwargs;
    }
    node->macro.uses_caller = use.caller;
    node->macro.uses_varargs = use.varargs;
    node->macro.uses_kwargs = use.kwargs;
    return STATUS_OK;
}

static status parse_macro(struct parser *p, const struct token *tag, struct node *node)
{
    TRY(parse_name_only(p, &node->macro.name));
    if (p->loops > 0 && node->macro.name == p->template_->loop) {
        return template_parser_fail(p, node->line,
                                    "Can't assign to special loop variable in for-loop target");
    }
    TRY(parse_signature(p, node));
    return parse_macro_body(p, tag, "endmacro", node);
}

static status parse_call_block(struct parser *p, const struct token *tag, struct node *node)
{
    if (p->current->type == TOKEN_LEFT_PARENTHESIS) {
        TRY(parse_signature(p, node));
    }
    TRY(template_parse_expression(p, true, &node->macro.call));
    if (node->macro.call->kind != NODE_CALL) {
        return template_parser_fail(p, node->line, "expected call");
    }
    return parse_macro_body(p, tag, "endcall", node);
}

static status parse_filter_block(struct parser *p, const struct token *tag, struct node *node)
{
    bool soft = p->soft;
    p->soft = false;
    TRY(template_parse_filter(p, NULL, true, &node->filter_block.filter));
    p->soft = soft;
    return parse_scoped_block(p, tag, "endfilter", &node->filter_block.body);
}

static status parse_with(struct parser *p, const struct token *tag, struct node *node)
{
    struct node_builder targets = {0}, values = {0};
    status s = STATUS_OK;
    while (s == STATUS_OK && p->current->type != TOKEN_BLOCK_END) {
        struct node *target, *value;
        s = targets.count == 0 ? STATUS_OK : template_parser_expect(p, TOKEN_COMMA);
        s = s != STATUS_OK ? s : parse_target(p, NULL, false, &target);
        s = s != STATUS_OK ? s : template_parser_expect(p, TOKEN_ASSIGN);
        s = s != STATUS_OK ? s : template_parse_expression(p, true, &value);
        s = s != STATUS_OK ? s : template_builder_add(&targets, target);
        s = s != STATUS_OK ? s : template_builder_add(&values, value);
    }
    struct node_list list = {0};
    s = s != STATUS_OK ? s : template_builder_finish(p, &targets, &list);
    node->with.targets = list.items;
    node->with.count = list.count;
    s = s != STATUS_OK ? s : template_builder_finish(p, &values, &list);
    node->with.values = list.items;
    free(targets.items);
    free(values.items);
    return s != STATUS_OK ? s : parse_scoped_block(p, tag, "endwith", &node->with.body);
}

static status parse_print(struct parser *p, const struct token *tag, struct node *node)
{
    (void)tag;
    struct node_builder values = {0};
    status s = STATUS_OK;
    while (s == STATUS_OK && p->current->type != TOKEN_BLOCK_END) {
        struct node *value;
        s = values.count == 0 ? STATUS_OK : template_parser_expect(p, TOKEN_COMMA);
        s = s != STATUS_OK ? s : template_parse_expression(p, true, &value);
        s = s != STATUS_OK ? s : template_builder_add(&values, value);
    }
    s = s != STATUS_OK ? s : template_builder_finish(p, &values, &node->items);
    free(values.items);
    return s;
}

static status parse_generation(struct parser *p, const struct token *tag, struct node *node)
{
    return parse_function_body(p, tag, "endgeneration", &node->body);
}

static status parse_loop_control(struct parser *p, const struct token *tag, struct node *node)
{
    return p->breakable > 0
               ? STATUS_OK
               : template_parser_fail(p, node->line,
                                      node->kind == NODE_BREAK ? "'break' outside loop"
                                                               : "'%s' not properly in loop",
                                      tag->text);
}

static status parse_unsupported(struct parser *p, const struct token *tag, struct node *node)
{
    (void)p;
    return status_fail(STATUS_UNSUPPORTED,
                       "line %d: {%% %s %%} is not supported: a chat template stands alone",
                       node->line, tag->text);
}

static status parse_statement(struct parser *p, struct node **out)
{
    static const struct {
        const char *tag;
        enum node_kind kind;
        status (*parse)(struct parser *p, const struct token *tag, struct node *node);
    } statements[] = {
        {"if", NODE_IF, parse_if},
        {"for", NODE_FOR, parse_for},
        {"set", NODE_SET_BLOCK, parse_set},
        {"macro", NODE_MACRO, parse_macro},
        {"call", NODE_CALL_BLOCK, parse_call_block},
        {"filter", NODE_FILTER_BLOCK, parse_filter_block},
        {"with", NODE_WITH, parse_with},
        {"print", NODE_PRINT, parse_print},
        {"generation", NODE_GENERATION, parse_generation},
        {"break", NODE_BREAK, parse_loop_control},
        {"continue", NODE_CONTINUE, parse_loop_control},
        {"include", NODE_DATA, parse_unsupported},
        {"import", NODE_DATA, parse_unsupported},
        {"from", NODE_DATA, parse_unsupported},
        {"extends", NODE_DATA, parse_unsupported},
        {"block", NODE_DATA, parse_unsupported},
        {"autoescape", NODE_DATA, parse_unsupported},
    };
    const struct token *tag = p->current;
    if (tag->type != TOKEN_NAME) {
        return template_parser_fail(p, tag->line, "tag name expected");
    }
    for (size_t i = 0; i < COUNT_OF(statements); i++) {
        if (template_parser_at_name(p, statements[i].tag)) {
            template_parser_next(p);
            TRY(template_parser_enter(p));
            TRY(template_parser_node(p, statements[i].kind, tag->line, out));
            TRY(statements[i].parse(p, tag, *out));
            p->depth--;
            return STATUS_OK;
        }
    }
    return fail_tag(p, tag->text);
}

status template_parse(struct chat_template *template_, const struct template_tokens *tokens)
{
    struct parser parser = {.template_ = template_, .current = tokens->tokens};
    TRY(template_parser_name(&parser, "loop", 4, &template_->loop));
    TRY(template_parser_name(&parser, "caller", 6, &template_->caller));
    TRY(template_parser_name(&parser, "varargs", 7, &template_->varargs));
    TRY(template_parser_name(&parser, "kwargs", 6, &template_->kwargs));
    return parse_body(&parser, NULL, &template_->body);
}
