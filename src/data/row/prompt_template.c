/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts from columns. */
#include "data/row/prompt_template.h"

#include <string.h>

bool prompt_template_next(const char **rest, struct template_piece *piece)
{
    const char *text = *rest;
    if (*text == '\0') {
        return false;
    }
    bool is_brace = (text[0] == '{' || text[0] == '}') && text[1] == text[0];
    if (is_brace) {
        *piece = (struct template_piece){text, 1, false};
        *rest = text + 2;
        return true;
    }
    if (text[0] == '{') {
        *piece = (struct template_piece){text + 1, strcspn(text + 1, "{}"), true};
        *rest = text + 1 + piece->length + (text[1 + piece->length] == '}');
        return true;
    }
    size_t length = strcspn(text + 1, "{}") + 1;
    *piece = (struct template_piece){text, length, false};
    *rest = text + length;
    return true;
}

static const char *find_fault(const char *text, bool *has_column)
{
    for (const char *at = text; *at != '\0';) {
        size_t name = strcspn(at + 1, "{}");
        if (at[0] != '{' && at[0] != '}') {
            at++;
        } else if (at[1] == at[0]) {
            at += 2;
        } else if (at[0] == '}') {
            return "a } with no { before it; }} is a brace";
        } else if (at[1 + name] != '}') {
            return "a { with no } after it; {{ is a brace";
        } else if (name == 0) {
            return "{} names no column; {{}} are braces";
        } else {
            *has_column = true;
            at += name + 2;
        }
    }
    return NULL;
}

status prompt_template_check(const char *text)
{
    bool has_column = false;
    const char *fault = find_fault(text, &has_column);
    if (fault == NULL && !has_column) {
        fault = "names no column; {name} stands for one";
    }
    return fault == NULL ? STATUS_OK : status_fail(STATUS_INVALID, "%s", fault);
}

bool prompt_template_names(const char *text, const char *name, size_t length)
{
    struct template_piece piece;
    while (prompt_template_next(&text, &piece)) {
        if (piece.is_column && piece.length == length && memcmp(piece.text, name, length) == 0) {
            return true;
        }
    }
    return false;
}

static const struct json *find_column(const struct json *fields, const struct template_piece *piece)
{
    for (size_t i = 0; i < fields->length; i++) {
        const struct json_member *member = &fields->members[i];
        if (member->key_length == piece->length &&
            memcmp(member->key, piece->text, piece->length) == 0) {
            return member->value;
        }
    }
    return NULL;
}

status prompt_template_apply(const char *text, const struct json *fields, struct buffer *out)
{
    struct template_piece piece;
    TRY(buffer_append(out, "", 0));
    while (prompt_template_next(&text, &piece)) {
        if (!piece.is_column) {
            TRY(buffer_append(out, piece.text, piece.length));
            continue;
        }
        const struct json *value = find_column(fields, &piece);
        if (value == NULL || value->type == JSON_NULL || value->type == JSON_NOT_FINITE) {
            return status_fail(STATUS_INVALID, "column %.*s is %s; data.prompt_template needs it",
                               piece.length < 60 ? (int)piece.length : 60, piece.text,
                               value == NULL ? "missing" : json_kind(value));
        }
        TRY(value->type == JSON_STRING ? buffer_append(out, value->text, value->length)
                                       : json_write(value, out));
    }
    return STATUS_OK;
}
