/* SPDX-License-Identifier: Apache-2.0 */
/* Which file of a directory the tokenizer is read from: tokenizer.json, always, and without one the
 * first of those that older models, or the models' own releases, come with. */
#include "model/text/model_tokenizer.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "model/read/model_files.h"
#include "sluice/json.h"

enum { TOKENIZER_LIMIT = 256 << 20 };

/* Vocabularies in the order in which they are looked for. */
static const struct tokenizer_file vocabularies[] = {
    {"tokenizer.model", "SentencePiece (BPE, unigram), or tiktoken's ranks"},
    {"spiece.model", "SentencePiece"},
    {"sentencepiece.bpe.model", "SentencePiece"},
    {"sentencepiece.model", "SentencePiece"},
    {"spm.model", "SentencePiece"},
    {"tiktoken.model", "tiktoken's ranks"},
    {"*.tiktoken", "tiktoken's ranks"},
    {"tekken.json", "Mistral's, with its special tokens"},
    {"vocab.json", "byte-level BPE, with `merges.txt`"},
    {"vocab.txt", "WordPiece"},
};

const struct tokenizer_file *model_tokenizer_file_at(size_t index)
{
    static const struct tokenizer_file first = {"tokenizer.json", "Hugging Face tokenizers"};
    if (index == 0) {
        return &first;
    }
    return index - 1 < COUNT_OF(vocabularies) ? &vocabularies[index - 1] : NULL;
}

/* What else adds to one of these. */
static const char *const companion_names[] = {"merges.txt", "added_tokens.json"};

/* Names that are looked for in vain: people should know that they were seen. */
static const char *const unread_names[] = {"source.spm",       "vocab.bpe", "encoder.json",
                                           "bpe.codes",        "vocab",     "dict.txt",
                                           "sentencepiece.bpe"};

status model_read_optional(const struct model *model, const char *name, size_t limit,
                           struct buffer *out, bool *found)
{
    struct buffer path = {0};
    status s = path_join(model->path, name, &path);
    if (s == STATUS_OK) {
        s = file_read(path.data, limit, out);
        if (s == STATUS_OK) {
            s = model_file_check(path.data, out->data, out->length);
        }
    }
    buffer_destroy(&path);
    *found = s == STATUS_OK;
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

/* ---- Which file ---- */

static bool is_there(const struct model *model, const char *name)
{
    struct buffer path = {0};
    struct stat info;
    bool there = path_join(model->path, name, &path) == STATUS_OK && stat(path.data, &info) == 0;
    buffer_destroy(&path);
    return there;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length > end_length && strcmp(text + length - end_length, end) == 0;
}

/* The directory's file with this end; of several the first by name. */
static status find_by_end(const struct model *model, const char *end, struct buffer *out)
{
    DIR *directory = opendir(model->path);
    if (directory == NULL) {
        return status_fail_errno(STATUS_IO, "%s", model->path);
    }
    status s = STATUS_OK;
    const struct dirent *entry;
    while (s == STATUS_OK && (entry = readdir(directory)) != NULL) {
        if (ends_with(entry->d_name, end) &&
            (out->length == 0 || strcmp(entry->d_name, out->data) < 0)) {
            buffer_clear(out);
            s = buffer_append_text(out, entry->d_name);
        }
    }
    closedir(directory);
    return s;
}

/* The name of the vocabulary that is there; empty: none. */
static status find_vocabulary(const struct model *model, struct buffer *out)
{
    for (size_t i = 0; i < COUNT_OF(vocabularies) && out->length == 0; i++) {
        const char *name = vocabularies[i].name;
        if (name[0] == '*') {
            TRY(find_by_end(model, name + 1, out));
        } else if (is_there(model, name)) {
            TRY(buffer_append_text(out, name));
        }
    }
    return STATUS_OK;
}

/* ---- Reading it ---- */

/* The bytes of what a tokenizer is made of, and config.json's model_type. */
struct folder {
    struct buffer name, vocabulary, merges, map, added, config_json;
    struct arena arena;
};

static void folder_destroy(struct folder *folder)
{
    struct buffer *const buffers[] = {&folder->name, &folder->vocabulary, &folder->merges,
                                      &folder->map,  &folder->added,      &folder->config_json};
    for (size_t i = 0; i < COUNT_OF(buffers); i++) {
        buffer_destroy(buffers[i]);
    }
    arena_destroy(&folder->arena);
}

/* NULL data where there is no file, and some where there is an empty one. */
static status read_span(const struct model *model, const char *name, struct buffer *buffer,
                        struct text_span *out)
{
    bool found;
    TRY(model_read_optional(model, name, TOKENIZER_LIMIT, buffer, &found));
    if (found) {
        *out = (struct text_span){buffer->data != NULL ? buffer->data : "", buffer->length};
    }
    return STATUS_OK;
}

static status read_model_type(const struct model *model, struct folder *folder, const char **out)
{
    struct text_span text = {0};
    struct json *root;
    TRY(read_span(model, "config.json", &folder->config_json, &text));
    if (text.data != NULL) {
        TRY(status_context(json_parse(text.data, text.length, &folder->arena, &root),
                           "config.json"));
        *out = json_string(json_get(root, "model_type"));
    }
    return STATUS_OK;
}

static status open_folder(struct model *model, struct folder *folder, const struct buffer *config)
{
    struct tokenizer_files files = {.name = folder->name.data};
    TRY(read_span(model, folder->name.data, &folder->vocabulary, &files.vocabulary));
    if (strcmp(files.name, "vocab.json") == 0) {
        TRY(read_span(model, "merges.txt", &folder->merges, &files.merges));
    }
    TRY(read_span(model, "special_tokens_map.json", &folder->map, &files.special_tokens_map));
    TRY(read_span(model, "added_tokens.json", &folder->added, &files.added_tokens));
    TRY(read_model_type(model, folder, &files.model_type));
    files.config = (struct text_span){config->data, config->length};
    return tokenizer_create_from_files(&files, &model->tokenizer);
}

/* ---- What is missing ---- */

/* Keeps what status_message() says as the reason why there is no tokenizer. */
static status note_problem(struct model *model, const char *name)
{
    struct buffer text = {0};
    bool has_merges = strcmp(name, "vocab.json") == 0 && is_there(model, "merges.txt");
    const char *why = status_message();
    size_t folder = strlen(model->path);
    bool is_named = strncmp(why, model->path, folder) == 0 && why[folder] == '/';
    status s = is_named ? buffer_append_text(&text, why)
                        : buffer_format(&text, "%s/%s%s: %s", model->path, name,
                                        has_merges ? " and merges.txt" : "", why);
    if (s != STATUS_OK) {
        buffer_destroy(&text);
        return s;
    }
    model->tokenizer_problem = text.data;
    model->tokenizer_file_there = true;
    return STATUS_OK;
}

static status note_absence(struct model *model)
{
    const char *seen = NULL;
    for (size_t i = 0; i < COUNT_OF(unread_names) && seen == NULL; i++) {
        seen = is_there(model, unread_names[i]) ? unread_names[i] : NULL;
    }
    if (seen != NULL) {
        (void)status_fail(STATUS_UNSUPPORTED, "not a file that tokenizers are read from");
        return note_problem(model, seen);
    }
    struct buffer text = {0};
    status s = buffer_format(&text,
                             "%s: no tokenizer.json, nor another file that a tokenizer is "
                             "read from (",
                             model->path);
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(vocabularies); i++) {
        s = buffer_format(&text, "%s%s", i > 0 ? ", " : "", vocabularies[i].name);
    }
    if (s == STATUS_OK) {
        s = buffer_append_text(&text, ")");
    }
    if (s != STATUS_OK) {
        buffer_destroy(&text);
        return s;
    }
    model->tokenizer_problem = text.data;
    return STATUS_OK;
}

status model_need_tokenizer(const struct model *model)
{
    return model->tokenizer != NULL
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "%s; rows of text need a tokenizer.json, rows of "
                             "token ids need none",
                             model->tokenizer_problem != NULL ? model->tokenizer_problem
                                                              : model->path);
}

/* ---- Opening ---- */

static bool is_of_the_file(status s)
{
    return s == STATUS_INVALID || s == STATUS_UNSUPPORTED || s == STATUS_LIMIT;
}

static status open_other(struct model *model, const struct buffer *config)
{
    struct folder folder = {0};
    status s = find_vocabulary(model, &folder.name);
    if (s == STATUS_OK && folder.name.length == 0) {
        s = note_absence(model);
    } else if (s == STATUS_OK) {
        s = open_folder(model, &folder, config);
        s = is_of_the_file(s) ? note_problem(model, folder.name.data) : s;
    }
    folder_destroy(&folder);
    return s;
}

status model_tokenizer_open(struct model *model, const struct buffer *config)
{
    struct buffer text = {0};
    bool found;
    status s = model_read_optional(model, "tokenizer.json", TOKENIZER_LIMIT, &text, &found);
    if (s == STATUS_OK && found) {
        s = status_context(tokenizer_create(text.data, text.length, config->data, config->length,
                                            &model->tokenizer),
                           "%s/tokenizer.json", model->path);
    } else if (s == STATUS_OK) {
        s = open_other(model, config);
    }
    buffer_destroy(&text);
    return s;
}

void model_tokenizer_fill_names(struct model *model)
{
    const char **const slots[TOKENIZER_NAME_COUNT] = {
        [TOKENIZER_BOS] = &model->bos_text,
        [TOKENIZER_EOS] = &model->eos_text,
        [TOKENIZER_PAD] = &model->pad_text,
        [TOKENIZER_UNKNOWN] = &model->unk_text,
    };
    for (size_t i = 0; model->tokenizer != NULL && i < TOKENIZER_NAME_COUNT; i++) {
        if (*slots[i] == NULL) {
            *slots[i] = tokenizer_named(model->tokenizer, (enum tokenizer_name)i);
        }
    }
}

static status digest_file(const struct model *model, const char *name, struct sha256 *hash)
{
    struct buffer text = {0}, head = {0};
    bool found = false;
    status s = model_read_optional(model, name, TOKENIZER_LIMIT, &text, &found);
    if (s == STATUS_OK && found) {
        s = buffer_format(&head, "%s %zu\n", name, text.length);
    }
    if (s == STATUS_OK && found) {
        sha256_update(hash, head.data, head.length);
        sha256_update(hash, text.data, text.length);
    }
    buffer_destroy(&text);
    buffer_destroy(&head);
    return s;
}

status model_tokenizer_digest(const struct model *model, struct sha256 *hash)
{
    if (is_there(model, "tokenizer.json")) {
        return digest_file(model, "tokenizer.json", hash);
    }
    struct buffer name = {0};
    status s = find_vocabulary(model, &name);
    if (s == STATUS_OK && name.length > 0) {
        s = digest_file(model, name.data, hash);
    }
    for (size_t i = 0; s == STATUS_OK && name.length > 0 && i < COUNT_OF(companion_names); i++) {
        s = digest_file(model, companion_names[i], hash);
    }
    buffer_destroy(&name);
    return s;
}
