/* SPDX-License-Identifier: Apache-2.0 */
/* The table of JSON Schema's keywords: draft 2020-12, and what people still have of earlier ones.
 */
#include "grammar/schema/keywords.h"

#include <string.h>

#define COMPILED(text, kind, words)                                                                \
    {                                                                                              \
        .name = (text), .use = KEYWORD_COMPILED, .holds = (kind), .says = (words)                  \
    }
#define ANNOTATION(text, words)                                                                    \
    {                                                                                              \
        .name = (text), .use = KEYWORD_ANNOTATION, .says = (words)                                 \
    }
#define REFUSED(text, words)                                                                       \
    {                                                                                              \
        .name = (text), .use = KEYWORD_REFUSED, .says = (words)                                    \
    }

static const struct schema_keyword table[] = {
    COMPILED("type", HOLDS_VALUE, "a name or a list of names"),
    COMPILED("enum", HOLDS_VALUE, "each value as it is written in the schema"),
    COMPILED("const", HOLDS_VALUE, "as it is written in the schema"),

    COMPILED("properties", HOLDS_NAMED_SCHEMAS, "in the order in which they are declared"),
    COMPILED("required", HOLDS_VALUE, "names that `properties` lacks come after those it has"),
    COMPILED("additionalProperties", HOLDS_SCHEMA,
             "after all others; without it any, as the standard says"),
    COMPILED("patternProperties", HOLDS_NAMED_SCHEMAS, "at most 6 patterns that meet in an object"),
    COMPILED("propertyNames", HOLDS_SCHEMA, ""),
    COMPILED("minProperties", HOLDS_VALUE, "names that are not declared count once together"),
    COMPILED("maxProperties", HOLDS_VALUE, ""),

    COMPILED("items", HOLDS_SCHEMA_OR_LIST, "a list is draft-07's `prefixItems`"),
    COMPILED("prefixItems", HOLDS_SCHEMAS, ""),
    COMPILED("additionalItems", HOLDS_SCHEMA, "draft-07: behind a list of `items`"),
    COMPILED("minItems", HOLDS_VALUE, ""),
    COMPILED("maxItems", HOLDS_VALUE, ""),

    COMPILED("minLength", HOLDS_VALUE, "in characters"),
    COMPILED("maxLength", HOLDS_VALUE, "in characters"),
    COMPILED("pattern", HOLDS_VALUE, "ECMA-262, found anywhere in the text"),
    COMPILED("format", HOLDS_VALUE, "the table of formats below"),

    COMPILED("minimum", HOLDS_VALUE, "exactly, digit by digit"),
    COMPILED("maximum", HOLDS_VALUE, "exactly, digit by digit"),
    COMPILED("exclusiveMinimum", HOLDS_VALUE, "exactly, digit by digit"),
    COMPILED("exclusiveMaximum", HOLDS_VALUE, "exactly, digit by digit"),
    COMPILED("multipleOf", HOLDS_VALUE, "1 alone: integers"),

    COMPILED("allOf", HOLDS_SCHEMAS, "merged"),
    COMPILED("anyOf", HOLDS_SCHEMAS, ""),
    COMPILED("oneOf", HOLDS_SCHEMAS, "where no two of its schemas can hold for one value"),
    COMPILED("$ref", HOLDS_VALUE, "within the document, also recursive"),
    COMPILED("$defs", HOLDS_NAMED_SCHEMAS, ""),
    COMPILED("definitions", HOLDS_NAMED_SCHEMAS, "draft-07's `$defs`"),
    COMPILED("$id", HOLDS_VALUE, "what references within the document may name"),
    COMPILED("id", HOLDS_VALUE, "draft-04's `$id`"),
    COMPILED("$anchor", HOLDS_VALUE, "what references within the document may name"),

    ANNOTATION("$schema", "schemas are read as draft 2020-12, with the older words above"),
    ANNOTATION("$comment", ""),
    ANNOTATION("title", ""),
    ANNOTATION("description", ""),
    ANNOTATION("default", ""),
    ANNOTATION("example", "OpenAPI's"),
    ANNOTATION("examples", ""),
    ANNOTATION("deprecated", ""),
    ANNOTATION("readOnly", ""),
    ANNOTATION("readonly", "an older spelling"),
    ANNOTATION("writeOnly", ""),
    ANNOTATION("contentEncoding", "an annotation in draft 2020-12"),
    ANNOTATION("contentMediaType", "an annotation in draft 2020-12"),
    ANNOTATION("contentSchema", "an annotation in draft 2020-12"),
    ANNOTATION("discriminator", "OpenAPI's: `oneOf` and `anyOf` say it all"),
    ANNOTATION("externalDocs", "OpenAPI's"),
    ANNOTATION("xml", "OpenAPI's"),
    ANNOTATION("markdownDescription", "of editors"),
    ANNOTATION("enumDescriptions", "of editors"),
    ANNOTATION("enumNames", "of form builders"),
    ANNOTATION("propertyOrder", "of form builders"),
    ANNOTATION("javaType", "of code generators"),
    ANNOTATION("links", "of hyper-schemas"),
    ANNOTATION("self", "Snowplow's"),
    ANNOTATION("strict", "of a function's schema in OpenAI's API"),

    REFUSED("not", "a complement of structures is no automaton"),
    REFUSED("if", "write `anyOf` of the cases"),
    REFUSED("then", "write `anyOf` of the cases"),
    REFUSED("else", "write `anyOf` of the cases"),
    REFUSED("uniqueItems", "items would have to be remembered; false is fine"),
    REFUSED("contains", "write `prefixItems`"),
    REFUSED("minContains", "write `prefixItems`"),
    REFUSED("maxContains", "write `prefixItems`"),
    REFUSED("dependentRequired", "write `anyOf` of the cases"),
    REFUSED("dependentSchemas", "write `anyOf` of the cases"),
    REFUSED("dependencies", "write `anyOf` of the cases"),
    REFUSED("unevaluatedProperties", "write `additionalProperties`; true is fine"),
    REFUSED("unevaluatedItems", "write `items`; true is fine"),
    REFUSED("$dynamicRef", "write `$ref`"),
    REFUSED("$dynamicAnchor", "write `$anchor`"),
    REFUSED("$recursiveRef", "write `$ref`"),
    REFUSED("$recursiveAnchor", "write `$anchor`"),
    REFUSED("$vocabulary", "of meta-schemas"),
    REFUSED("nullable", "OpenAPI's: write `\"type\": [\"string\", \"null\"]`"),
    REFUSED("extends", "draft-03's: write `allOf`"),
    REFUSED("disallow", "draft-03's"),
    REFUSED("divisibleBy", "draft-03's"),
};

static const struct schema_keyword extension = {.name = "x-", .use = KEYWORD_ANNOTATION};

const struct schema_keyword *schema_keyword_find(const char *name, size_t length)
{
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) {
            return &table[i];
        }
    }
    return length >= 2 && memcmp(name, "x-", 2) == 0 ? &extension : NULL;
}

const struct schema_keyword *schema_keyword_at(size_t index)
{
    return index < COUNT_OF(table) ? &table[index] : NULL;
}

const char *keyword_use_name(enum keyword_use use)
{
    static const char *const names[] = {[KEYWORD_COMPILED] = "compiled",
                                        [KEYWORD_ANNOTATION] = "ignored",
                                        [KEYWORD_REFUSED] = "refused"};
    return names[use];
}
