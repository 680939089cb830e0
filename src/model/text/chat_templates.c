/* SPDX-License-Identifier: Apache-2.0 */
/* Where a model keeps its chat templates. */
#include "model/text/chat_templates.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/read/model_files.h"

enum { FILE_LIMIT = 16 << 20, MAX_TEMPLATES = 64, MAX_NAME = 200 };

static const char folder_name[] = "additional_chat_templates";
static const char ending[] = ".jinja";

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for chat templates");
}

const struct named_template *template_set_find(const struct template_set *set, const char *name,
                                               size_t length)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strlen(set->items[i].name) == length && memcmp(set->items[i].name, name, length) == 0) {
            return &set->items[i];
        }
    }
    return NULL;
}

/* Compiles it, or keeps why it cannot be. A name that is there already keeps its template. */
static status add(struct template_set *set, const char *name, size_t name_length,
                  const char *origin, const char *text, size_t length)
{
    if (template_set_find(set, name, name_length) != NULL) {
        return STATUS_OK;
    }
    if (set->count == MAX_TEMPLATES) {
        return status_fail(STATUS_LIMIT, "more than %d chat templates", (int)MAX_TEMPLATES);
    }
    void *items = set->items;
    TRY(array_grow(&items, &set->capacity, set->count + 1, sizeof *set->items));
    set->items = items;
    struct named_template item = {.name = arena_copy(&set->arena, name, name_length),
                                  .calls = tool_call_form_of(text, length)};
    if (item.name == NULL) {
        return no_memory();
    }
    status s = chat_template_create(origin, text, length, &item.template_);
    if (s == STATUS_INVALID || s == STATUS_UNSUPPORTED || s == STATUS_LIMIT) {
        item.status = s;
        item.problem = arena_copy(&set->arena, status_message(), strlen(status_message()));
        s = item.problem != NULL ? STATUS_OK : no_memory();
    }
    TRY(s);
    set->items[set->count++] = item;
    return STATUS_OK;
}

static status name_all(struct template_set *set)
{
    struct buffer names = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < set->count; i++) {
        s = buffer_format(&names, "%s%s", i == 0 ? "" : ", ", set->items[i].name);
    }
    if (s == STATUS_OK) {
        set->names = arena_copy(&set->arena, names.length > 0 ? names.data : "", names.length);
        s = set->names != NULL ? STATUS_OK : no_memory();
    }
    buffer_destroy(&names);
    return s;
}

void template_set_destroy(struct template_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        chat_template_destroy(set->items[i].template_);
    }
    free(set->items);
    arena_destroy(&set->arena);
    *set = (struct template_set){0};
}

/* ---- Directories ---- */

/* `file` of the directory; *found is false where there is none. */
static status read_file(const char *path, const char *file, struct buffer *out, bool *found)
{
    struct buffer joined = {0};
    buffer_clear(out);
    status s = path_join(path, file, &joined);
    s = s != STATUS_OK ? s : file_read(joined.data, FILE_LIMIT, out);
    s = s != STATUS_OK ? s : model_file_check(file, out->data, out->length);
    buffer_destroy(&joined);
    *found = s == STATUS_OK;
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

/* A text, or a list of {"name", "template"}, or an object of texts by name. */
static status add_value(struct template_set *set, const char *origin, const struct json *value)
{
    if (value == NULL) {
        return STATUS_OK;
    }
    if (value->type == JSON_STRING) {
        return add(set, "default", strlen("default"), origin, value->text, value->length);
    }
    for (size_t i = 0; value->type == JSON_ARRAY && i < value->length; i++) {
        const struct json *name = json_get(value->items[i], "name");
        const struct json *text = json_get(value->items[i], "template");
        if (json_string(name) != NULL && json_string(text) != NULL) {
            TRY(add(set, name->text, name->length, origin, text->text, text->length));
        }
    }
    for (size_t i = 0; value->type == JSON_OBJECT && i < value->length; i++) {
        const struct json_member *member = &value->members[i];
        if (member->value->type == JSON_STRING) {
            TRY(add(set, member->key, member->key_length, origin, member->value->text,
                    member->value->length));
        }
    }
    return STATUS_OK;
}

/* chat_template.json, which processors have. */
static status add_processor_templates(struct template_set *set, const char *path)
{
    struct arena arena = {0};
    struct buffer text = {0};
    struct json *config = NULL;
    bool found;
    status s = read_file(path, "chat_template.json", &text, &found);
    if (s == STATUS_OK && found) {
        s = status_context(json_parse(text.data, text.length, &arena, &config),
                           "%s/chat_template.json", path);
    }
    if (s == STATUS_OK) {
        s = add_value(set, "chat_template.json", json_get(config, "chat_template"));
    }
    buffer_destroy(&text);
    arena_destroy(&arena);
    return s;
}

/* "NAME.jinja", of which the directory's entries may be. */
static int is_template_file(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), end = strlen(ending);
    return length > end && length < MAX_NAME && entry->d_name[0] != '.' &&
           strcmp(entry->d_name + length - end, ending) == 0 &&
           utf8_valid(entry->d_name, length, NULL);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

typedef status (*file_visitor)(void *context, const char *name, const struct buffer *text);

/* The files of additional_chat_templates/, in order of their names. */
static status visit_additional(const char *path, file_visitor visit, void *context)
{
    struct buffer folder = {0}, text = {0};
    struct dirent **entries = NULL;
    status s = path_join(path, folder_name, &folder);
    int count = s == STATUS_OK ? scandir(folder.data, &entries, is_template_file, by_bytes) : 0;
    if (count < 0 && errno != ENOENT && errno != ENOTDIR) {
        s = status_fail_errno(STATUS_IO, "%s", folder.data);
    }
    for (int i = 0; i < count; i++) {
        bool found = false;
        s = s != STATUS_OK ? s : read_file(folder.data, entries[i]->d_name, &text, &found);
        if (s == STATUS_OK && found) {
            s = visit(context, entries[i]->d_name, &text);
        }
        free(entries[i]);
    }
    free(entries);
    buffer_destroy(&folder);
    buffer_destroy(&text);
    return s;
}

static status add_file(void *context, const char *name, const struct buffer *text)
{
    char origin[MAX_NAME + sizeof folder_name];
    snprintf(origin, sizeof origin, "%s/%s", folder_name, name);
    return add(context, name, strlen(name) - strlen(ending), origin, text->data, text->length);
}

status template_set_open_directory(struct template_set *set, const char *path,
                                   const struct json *tokenizer_config)
{
    const struct json *inside = json_get(tokenizer_config, "chat_template");
    struct buffer text = {0};
    bool found;
    status s = read_file(path, "chat_template.jinja", &text, &found);
    if (s == STATUS_OK && found) {
        s = add(set, "default", strlen("default"), "chat_template.jinja", text.data, text.length);
    }
    buffer_destroy(&text);
    /* Of two templates by one name the first stays. */
    s = s != STATUS_OK ? s : visit_additional(path, add_file, set);
    if (s == STATUS_OK && !found) {
        s = inside != NULL ? add_value(set, "chat_template", inside)
                           : add_processor_templates(set, path);
    }
    return s != STATUS_OK ? s : name_all(set);
}

/* ---- GGUF files ---- */

status template_set_open_gguf(struct template_set *set, const struct gguf *gguf)
{
    static const char key[] = "tokenizer.chat_template";
    const char *text = gguf_text(gguf, key);
    if (text != NULL) {
        TRY(add(set, "default", strlen("default"), key, text, strlen(text)));
    }
    for (size_t i = 0; i < gguf->count; i++) {
        const struct gguf_entry *entry = &gguf->entries[i];
        const char *name = entry->key + strlen(key) + 1;
        if (strncmp(entry->key, key, strlen(key)) == 0 && name[-1] == '.' && name[0] != '\0' &&
            entry->value.type == GGUF_STRING) {
            TRY(add(set, name, strlen(name), entry->key, entry->value.text,
                    strlen(entry->value.text)));
        }
    }
    return name_all(set);
}

/* ---- A template that is chosen ---- */

static status add_chosen(struct template_set *set, const char *path, const struct buffer *text)
{
    struct sha256 *hash = sha256_create();
    if (hash == NULL) {
        return no_memory();
    }
    sha256_update(hash, text->data, text->length);
    sha256_finish(hash, set->chosen_sha256);
    TRY(add(set, path, strlen(path), path, text->data, text->length));
    const struct named_template *added = &set->items[set->count - 1];
    set->chosen = added->name;
    return added->template_ != NULL ? STATUS_OK : status_fail(added->status, "%s", added->problem);
}

status template_set_choose(struct template_set *set, const char *name_or_file)
{
    const struct named_template *named = template_set_find(set, name_or_file, strlen(name_or_file));
    struct buffer text = {0};
    if (named != NULL) {
        set->chosen = named->name;
        return named->template_ != NULL ? STATUS_OK
                                        : status_fail(named->status, "%s", named->problem);
    }
    status s = file_read(name_or_file, FILE_LIMIT, &text);
    if (s == STATUS_OK) {
        s = add_chosen(set, name_or_file, &text);
    } else if (s == STATUS_NOT_FOUND) {
        s = status_fail(s, "%s is neither a file nor the name of one of the model's templates (%s)",
                        name_or_file,
                        set->names != NULL && set->names[0] != '\0' ? set->names : "it has none");
    }
    buffer_destroy(&text);
    return s;
}

/* ---- Digest ---- */

static status digest_file(void *context, const char *name, const struct buffer *text)
{
    struct buffer head = {0};
    status s = buffer_format(&head, "%s %zu\n", name, text->length);
    if (s == STATUS_OK) {
        sha256_update(context, head.data, head.length);
        sha256_update(context, text->data, text->length);
    }
    buffer_destroy(&head);
    return s;
}

static status digest_additional(void *context, const char *name, const struct buffer *text)
{
    char full[MAX_NAME + sizeof folder_name];
    snprintf(full, sizeof full, "%s/%s", folder_name, name);
    return digest_file(context, full, text);
}

status template_set_digest(const char *path, struct sha256 *hash)
{
    struct buffer text = {0};
    bool found;
    status s = read_file(path, "chat_template.json", &text, &found);
    if (s == STATUS_OK && found) {
        s = digest_file(hash, "chat_template.json", &text);
    }
    buffer_destroy(&text);
    return s != STATUS_OK ? s : visit_additional(path, digest_additional, hash);
}
