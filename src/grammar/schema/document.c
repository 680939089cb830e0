/* SPDX-License-Identifier: Apache-2.0 */
/* Where schemas stand in a document, and what references mean: JSON pointers (RFC 6901), anchors,
 * and identifiers within the document (JSON Schema 2020-12, sections 8.2 and 9.2). */
#include "grammar/schema/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/schema/keywords.h"

/* A schema with an $id of its own, and what all schemas below it are relative to. */
struct resource {
    const char *uri; /* without a fragment; "" of a document without $id */
    const struct json *root;
};

struct anchor {
    size_t resource;
    const char *name;
    const struct json *schema;
};

struct home {
    const struct json *schema;
    size_t resource;
};

struct schema_document {
    const struct json *root;
    struct arena *arena;
    struct resource *resources;
    struct anchor *anchors;
    struct home *homes; /* of all schemas that the walk finds, by address */
    size_t resource_count, anchor_count, home_count;
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a JSON schema");
}

/* ---- Identifiers ---- */

static size_t scheme_length(const char *uri)
{
    size_t length =
        strspn(uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return length > 0 && uri[length] == ':' ? length + 1 : 0;
}

/* RFC 3986, section 5.2, as far as documents use it: no dot segments. `length` is of the reference
 * without its fragment. */
static status join_uri(const char *base, const char *reference, size_t length, struct arena *arena,
                       char **out)
{
    size_t kept = 0, scheme = scheme_length(base);
    if (length == 0) {
        kept = strlen(base);
    } else if (scheme_length(reference) == 0) {
        const char *path = base + scheme;
        if (strncmp(path, "//", 2) == 0) {
            path += 2 + strcspn(path + 2, "/");
        }
        const char *slash = reference[0] == '/' ? path : strrchr(path, '/');
        kept = slash != NULL ? (size_t)(slash - base) : (size_t)(path - base);
        kept += slash != NULL && slash[0] == '/' && reference[0] != '/';
    }
    *out = arena_allocate(arena, kept + length + 1);
    if (*out == NULL) {
        return no_memory();
    }
    memcpy(*out, base, kept);
    memcpy(*out + kept, reference, length);
    return STATUS_OK;
}

/* ---- The walk ---- */

struct walk {
    struct schema_document *document;
    size_t resource_capacity, anchor_capacity, home_capacity;
};

/* The arrays are malloc'ed while they grow and copied to the arena at the end of the walk. */
static status grow(void *items, size_t *capacity, size_t count, size_t size)
{
    void *grown;
    memcpy(&grown, items, sizeof grown);
    TRY(array_grow(&grown, capacity, count + 1, size));
    memcpy(items, &grown, sizeof grown);
    return STATUS_OK;
}

static status text_of(const struct walk *walk, const struct json *schema, const char *keyword,
                      const char **out)
{
    const struct json *value = json_get(schema, keyword);
    *out = json_string(value);
    return value == NULL || *out != NULL
               ? STATUS_OK
               : schema_fail(walk->document, schema, keyword, STATUS_INVALID,
                             "expected a string, not %s", json_kind(value));
}

static status add_anchor(struct walk *walk, const struct json *schema, size_t resource,
                         const char *name)
{
    struct schema_document *self = walk->document;
    for (size_t i = 0; i < self->anchor_count; i++) {
        if (self->anchors[i].resource == resource && strcmp(self->anchors[i].name, name) == 0) {
            return schema_fail(self, schema, "$anchor", STATUS_INVALID, "%.60s is there twice",
                               name);
        }
    }
    TRY(grow(&self->anchors, &walk->anchor_capacity, self->anchor_count, sizeof *self->anchors));
    self->anchors[self->anchor_count++] = (struct anchor){resource, name, schema};
    return STATUS_OK;
}

/* The schema's $id, or draft-04's `id`; NULL: none. */
static status id_of(const struct schema_document *self, const struct json *schema, const char **out)
{
    const struct json *id = json_get(schema, "$id"), *older = json_get(schema, "id");
    const struct json *value = id != NULL ? id : older;
    *out = json_string(value);
    return value == NULL || *out != NULL
               ? STATUS_OK
               : schema_fail(self, schema, id != NULL ? "$id" : "id", STATUS_INVALID,
                             "expected a string, not %s", json_kind(value));
}

/* An $id that is a mere fragment is draft-07's way to write an anchor. */
static status add_names(struct walk *walk, const struct json *schema, size_t *resource)
{
    struct schema_document *self = walk->document;
    const char *id, *anchor;
    TRY(id_of(self, schema, &id));
    TRY(text_of(walk, schema, "$anchor", &anchor));
    if (id != NULL && id[0] == '#' && id[1] != '\0') {
        TRY(add_anchor(walk, schema, *resource, id + 1));
    } else if (id != NULL && schema != self->root) {
        char *uri;
        TRY(join_uri(self->resources[*resource].uri, id, strcspn(id, "#"), self->arena, &uri));
        for (size_t i = 0; i < self->resource_count; i++) {
            if (strcmp(self->resources[i].uri, uri) == 0) {
                return schema_fail(self, schema, "$id", STATUS_INVALID, "%.60s is there twice", id);
            }
        }
        TRY(grow(&self->resources, &walk->resource_capacity, self->resource_count,
                 sizeof *self->resources));
        *resource = self->resource_count;
        self->resources[self->resource_count++] = (struct resource){uri, schema};
    }
    return anchor != NULL ? add_anchor(walk, schema, *resource, anchor) : STATUS_OK;
}

static status walk_schema(struct walk *walk, const struct json *schema, size_t resource);

static status walk_list(struct walk *walk, const struct json *list, size_t resource)
{
    for (size_t i = 0; list->type == JSON_ARRAY && i < list->length; i++) {
        TRY(walk_schema(walk, list->items[i], resource));
    }
    for (size_t i = 0; list->type == JSON_OBJECT && i < list->length; i++) {
        TRY(walk_schema(walk, list->members[i].value, resource));
    }
    return STATUS_OK;
}

static status walk_schema(struct walk *walk, const struct json *schema, size_t resource)
{
    struct schema_document *self = walk->document;
    if (schema->type != JSON_OBJECT) {
        return STATUS_OK; /* what is no schema is an error where it is used */
    }
    TRY(add_names(walk, schema, &resource));
    TRY(grow(&self->homes, &walk->home_capacity, self->home_count, sizeof *self->homes));
    self->homes[self->home_count++] = (struct home){schema, resource};
    for (size_t i = 0; i < schema->length; i++) {
        const struct json_member *member = &schema->members[i];
        const struct schema_keyword *keyword = schema_keyword_find(member->key, member->key_length);
        const enum keyword_holds holds = keyword != NULL ? keyword->holds : HOLDS_VALUE;
        if (holds == HOLDS_SCHEMA ||
            (holds == HOLDS_SCHEMA_OR_LIST && member->value->type == JSON_OBJECT)) {
            TRY(walk_schema(walk, member->value, resource));
        } else if (holds != HOLDS_VALUE) {
            TRY(walk_list(walk, member->value, resource));
        }
    }
    return STATUS_OK;
}

static int compare_homes(const void *a, const void *b)
{
    const uintptr_t left = (uintptr_t)((const struct home *)a)->schema;
    const uintptr_t right = (uintptr_t)((const struct home *)b)->schema;
    return (left > right) - (left < right);
}

static status settle(struct arena *arena, void *items, size_t count, size_t size)
{
    void *grown, *settled = NULL;
    memcpy(&grown, items, sizeof grown);
    if (count > 0 && (settled = arena_allocate_array(arena, count, size)) != NULL) {
        memcpy(settled, grown, count * size);
    }
    free(grown);
    memcpy(items, &settled, sizeof settled);
    return count == 0 || settled != NULL ? STATUS_OK : no_memory();
}

static status keep_walk(struct schema_document *self)
{
    status a = settle(self->arena, &self->resources, self->resource_count, sizeof *self->resources);
    status b = settle(self->arena, &self->anchors, self->anchor_count, sizeof *self->anchors);
    status c = settle(self->arena, &self->homes, self->home_count, sizeof *self->homes);
    return a != STATUS_OK ? a : b != STATUS_OK ? b : c;
}

status schema_document_create(const struct json *root, struct arena *arena,
                              struct schema_document **out)
{
    struct schema_document *self = arena_allocate(arena, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    *self = (struct schema_document){.root = root, .arena = arena};
    struct walk walk = {.document = self};
    status s = grow(&self->resources, &walk.resource_capacity, 0, sizeof *self->resources);
    if (s == STATUS_OK) {
        const char *id = NULL;
        s = id_of(self, root, &id);
        char *uri = arena_copy(arena, id != NULL ? id : "", id != NULL ? strcspn(id, "#") : 0);
        self->resources[self->resource_count++] = (struct resource){uri, root};
        s = s != STATUS_OK ? s : uri != NULL ? walk_schema(&walk, root, 0) : no_memory();
    }
    status kept = keep_walk(self);
    TRY(s);
    TRY(kept);
    if (self->home_count > 0) {
        qsort(self->homes, self->home_count, sizeof *self->homes, compare_homes);
    }
    *out = self;
    return STATUS_OK;
}

/* ---- References ---- */

static size_t home_of(const struct schema_document *self, const struct json *schema)
{
    const struct home key = {schema, 0};
    const struct home *found = self->home_count == 0 ? NULL
                                                     : bsearch(&key, self->homes, self->home_count,
                                                               sizeof *self->homes, compare_homes);
    return found != NULL ? found->resource : 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Undoes the escapes of URIs and pointers in place; returns the length. */
static size_t unescape(char *text, bool is_pointer)
{
    size_t length = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (!is_pointer && *at == '%' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
            text[length++] = (char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
            at += 2;
        } else if (is_pointer && *at == '~' && (at[1] == '0' || at[1] == '1')) {
            text[length++] = at[1] == '0' ? '~' : '/';
            at++;
        } else {
            text[length++] = *at;
        }
    }
    text[length] = '\0';
    return length;
}

static const struct json *step_into(const struct json *value, const char *token, size_t length)
{
    if (value->type == JSON_OBJECT) {
        for (size_t i = 0; i < value->length; i++) {
            if (value->members[i].key_length == length &&
                memcmp(value->members[i].key, token, length) == 0) {
                return value->members[i].value;
            }
        }
        return NULL;
    }
    char *end;
    bool is_index = length > 0 && length < 10 && token[0] >= '0' && token[0] <= '9';
    size_t index = is_index ? strtoul(token, &end, 10) : 0;
    return value->type == JSON_ARRAY && is_index && *end == '\0' && index < value->length
               ? value->items[index]
               : NULL;
}

static const struct json *follow_pointer(const struct json *value, char *pointer)
{
    while (value != NULL && *pointer != '\0') {
        char *token = pointer + 1;
        char *end = strchr(token, '/');
        pointer = end != NULL ? end : token + strlen(token);
        char kept = *pointer;
        *pointer = '\0';
        value = step_into(value, token, unescape(token, true));
        *pointer = kept;
    }
    return value;
}

static const struct resource *find_resource(const struct schema_document *self, const char *uri)
{
    for (size_t i = 0; i < self->resource_count; i++) {
        if (strcmp(self->resources[i].uri, uri) == 0) {
            return &self->resources[i];
        }
    }
    return NULL;
}

static status find_fragment(const struct schema_document *self, const struct resource *resource,
                            const char *fragment, const struct json **out)
{
    char *text = arena_copy(self->arena, fragment, strlen(fragment));
    if (text == NULL) {
        return no_memory();
    }
    unescape(text, false);
    *out = NULL;
    if (text[0] == '\0' || text[0] == '/') {
        *out = follow_pointer(resource->root, text);
    }
    for (size_t i = 0; *out == NULL && i < self->anchor_count; i++) {
        if (self->anchors[i].resource == (size_t)(resource - self->resources) &&
            strcmp(self->anchors[i].name, text) == 0) {
            *out = self->anchors[i].schema;
        }
    }
    return STATUS_OK;
}

status schema_document_resolve(const struct schema_document *self, const struct json *schema,
                               const char *reference, const struct json **out)
{
    const size_t length = strcspn(reference, "#");
    const struct resource *home = &self->resources[home_of(self, schema)];
    char *uri;
    TRY(join_uri(home->uri, reference, length, self->arena, &uri));
    const struct resource *resource = length == 0 ? home : find_resource(self, uri);
    if (resource == NULL) {
        return schema_fail(self, schema, "$ref", STATUS_UNSUPPORTED,
                           "%.120s is in another document; put it under $defs", reference);
    }
    TRY(find_fragment(self, resource, reference[length] == '#' ? reference + length + 1 : "", out));
    return *out != NULL ? STATUS_OK
                        : schema_fail(self, schema, "$ref", STATUS_INVALID,
                                      "%.120s: nothing is there", reference);
}

/* ---- Messages ---- */

enum { POINTER_BYTES = 240 };

static bool find_place(const struct json *value, const struct json *wanted, char *text,
                       size_t length)
{
    if (value == wanted) {
        return true;
    }
    bool is_object = value->type == JSON_OBJECT;
    for (size_t i = 0; (is_object || value->type == JSON_ARRAY) && i < value->length; i++) {
        int more = is_object ? snprintf(text + length, POINTER_BYTES - length, "/%.60s",
                                        value->members[i].key)
                             : snprintf(text + length, POINTER_BYTES - length, "/%zu", i);
        size_t end = length + (size_t)more < POINTER_BYTES ? length + (size_t)more : length;
        if (find_place(is_object ? value->members[i].value : value->items[i], wanted, text, end)) {
            return true;
        }
        text[length] = '\0';
    }
    return false;
}

static void write_place(const struct schema_document *self, const struct json *schema,
                        const char *keyword, char text[2 * POINTER_BYTES])
{
    char pointer[POINTER_BYTES] = "";
    find_place(self->root, schema, pointer, 0);
    snprintf(text, 2 * POINTER_BYTES, "#%s%s%s", pointer, keyword != NULL ? "/" : "",
             keyword != NULL ? keyword : "");
}

status schema_fail(const struct schema_document *self, const struct json *schema,
                   const char *keyword, status code, const char *format, ...)
{
    char place[2 * POINTER_BYTES], text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    write_place(self, schema, keyword, place);
    return status_fail(code, "%s: %s", place, text);
}

status schema_context(const struct schema_document *self, const struct json *schema,
                      const char *keyword, status s)
{
    char place[2 * POINTER_BYTES];
    if (s == STATUS_OK) {
        return s;
    }
    write_place(self, schema, keyword, place);
    return status_context(s, "%s", place);
}
