/* SPDX-License-Identifier: Apache-2.0 */
/* A look at a record's bytes: where its prompt begins, and a limit of tokens. */
#include "run/order/row_key.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of text that make a token, about. */
static const double TOKEN_BYTES = 4;
/* Names are looked for in a line's first bytes: what stands behind them is prompt. */
enum { LOOK_BYTES = 1024, NAME_BYTES = 128 };

/* Behind `"name":` in a JSON line, at its first place; NULL where there is none. */
static const char *find_member(const char *bytes, size_t length, const char *name)
{
    char quoted[NAME_BYTES];
    size_t name_length = strlen(name);
    if (name_length + 2 > sizeof quoted) {
        return NULL;
    }
    quoted[0] = quoted[name_length + 1] = '"';
    memcpy(quoted + 1, name, name_length);
    const char *end = bytes + length, *at = bytes;
    while ((at = memmem(at, (size_t)(end - at), quoted, name_length + 2)) != NULL) {
        at += name_length + 2;
        while (at < end && (*at == ' ' || *at == '\t')) {
            at++;
        }
        if (at < end && *at == ':') {
            return at + 1;
        }
    }
    return NULL;
}

/* Where the prompt of a JSON line begins: at the first of the names that a prompt may have. */
static const char *find_prompt(const char *bytes, size_t length, const char *prompt_field)
{
    static const char *const usual[] = {"messages", "prompt", "text", "prompt_token_ids", "input"};
    const size_t looked_at = length < LOOK_BYTES ? length : LOOK_BYTES;
    const char *first = NULL;
    if (prompt_field != NULL) {
        first = find_member(bytes, looked_at, prompt_field);
    }
    for (size_t i = 0; prompt_field == NULL && i < COUNT_OF(usual); i++) {
        const char *at = find_member(bytes, looked_at, usual[i]);
        first = at != NULL && (first == NULL || at < first) ? at : first;
    }
    return first != NULL ? first : bytes;
}

/* The row's own limit of tokens; fields besides the prompt stand at a line's ends. */
static double find_limit(const char *bytes, size_t length, int otherwise)
{
    static const char *const names[] = {"max_tokens", "max_completion_tokens", "max_new_tokens"};
    const size_t part = length < LOOK_BYTES ? length : LOOK_BYTES;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *at = find_member(bytes, part, names[i]);
        if (at == NULL) {
            at = find_member(bytes + length - part, part, names[i]);
        }
        if (at != NULL) {
            double limit = strtod(at, NULL); /* a record's bytes end with a null byte */
            return limit > 0 && limit < 1e9 ? limit : otherwise;
        }
    }
    return otherwise;
}

void row_key_find(const struct record *record, const char *prompt_field, int max_new_tokens,
                  struct row_key *out)
{
    static const size_t levels[ROW_KEY_LEVELS] = {128, 512, 2048, 8192};
    const char *bytes = record->bytes.data, *prompt = bytes;
    size_t length = record->bytes.length;
    *out = (struct row_key){.cost = max_new_tokens};
    if (bytes == NULL || record->kind == RECORD_BAD) {
        return;
    }
    if (record->kind == RECORD_JSON) {
        prompt = find_prompt(bytes, length, prompt_field);
        out->cost = find_limit(bytes, length, max_new_tokens);
    }
    size_t rest = length - (size_t)(prompt - bytes);
    uint64_t hash = 1;
    size_t start = 0;
    for (int i = 0; i < ROW_KEY_LEVELS && rest >= levels[i]; i++) {
        hash = hash_bytes(prompt + start, levels[i] - start, hash) | 1;
        start = levels[i];
        out->prefix[i] = hash;
    }
    out->cost += (double)rest / TOKEN_BYTES;
}
