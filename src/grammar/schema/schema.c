/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas from outside: a compiler for one document, and what documents may hold. */
#include "grammar/schema/schema.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/schema/compiler.h"
#include "grammar/schema/formats.h"
#include "grammar/schema/keywords.h"

static status compiler_start(struct schema_compiler *self, struct grammar_expressions *expressions,
                             const struct json *schema, const struct schema_options *options,
                             struct arena *arena)
{
    struct schema_document *document;
    *self =
        (struct schema_compiler){.expressions = expressions, .arena = arena, .options = *options};
    TRY(schema_document_create(schema, arena, &document));
    self->document = document;
    return white_space_node(self, options->any_white_space, &self->white_space);
}

static status compile_root(struct schema_compiler *self, const struct json *schema,
                           grammar_node *out)
{
    struct conjunction root = {0};
    TRY(conjunction_add(self, &root, schema, NULL, -1));
    return conjunction_compile(self, &root, out);
}

status schema_compile(struct grammar_expressions *expressions, const struct json *schema,
                      const struct schema_options *options, grammar_node *out)
{
    struct arena arena = {0};
    struct schema_compiler compiler;
    status s = compiler_start(&compiler, expressions, schema, options, &arena);
    if (s == STATUS_OK) {
        s = compile_root(&compiler, schema, out);
        free(compiler.done);
    }
    arena_destroy(&arena);
    return s;
}

status schema_compile_text(struct grammar_expressions *expressions, const char *text, size_t length,
                           const struct schema_options *options, grammar_node *out)
{
    struct arena arena = {0};
    struct json *schema;
    status s = json_parse(text, length, &arena, &schema);
    if (s == STATUS_OK) {
        s = schema_compile(expressions, schema, options, out);
    }
    arena_destroy(&arena);
    return s;
}

status schema_accepts(struct grammar_expressions *expressions, const struct json *schema,
                      const struct json *value, bool *out)
{
    const struct schema_options options = {0};
    struct arena arena = {0};
    struct schema_compiler compiler;
    status s = compiler_start(&compiler, expressions, schema, &options, &arena);
    if (s == STATUS_OK) {
        s = value_satisfies(&compiler, schema, value, out);
    }
    arena_destroy(&arena);
    return s;
}

/* ---- Documentation ---- */

static status describe_keywords(struct buffer *out)
{
    const struct schema_keyword *keyword;
    TRY(buffer_append_text(out, "| keyword | here | how |\n| --- | --- | --- |\n"));
    for (size_t i = 0; (keyword = schema_keyword_at(i)) != NULL; i++) {
        TRY(buffer_format(out, "| `%s` | %s | %s |\n", keyword->name,
                          keyword_use_name(keyword->use), keyword->says));
    }
    return STATUS_OK;
}

status schema_describe(struct buffer *out)
{
    const struct text_format *format;
    TRY(describe_keywords(out));
    TRY(buffer_append_text(out, "\n| format | as |\n| --- | --- |\n"));
    for (size_t i = 0; (format = text_format_at(i)) != NULL; i++) {
        TRY(buffer_format(out, "| `%s` | %s |\n", format->name, format->says));
    }
    return STATUS_OK;
}
