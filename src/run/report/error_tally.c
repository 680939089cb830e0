/* SPDX-License-Identifier: Apache-2.0 */
/* Error texts into kinds, and the commonest kinds into a line. */
#include "run/report/error_tally.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
    KINDS_MOST = 1000, /* data sets can make up errors without end; their number is bounded */
    KEY_BYTES = 400,   /* of a text that are looked at */
    TEXT_BYTES = 240,  /* that are shown */
    KINDS_SHOWN = 3,
};

struct error_kind {
    uint64_t key; /* hash of the text without what may differ */
    char *text;   /* the first one's, without its position */
    char *place;  /* "line 7", "" where the text names none */
    int64_t rows, last_row;
};

/* ---- Kinds ---- */

static size_t digits_at(const char *text, size_t at, size_t length)
{
    size_t digits = 0;
    while (at + digits < length && isdigit((unsigned char)text[at + digits])) {
        digits++;
    }
    return digits;
}

/* Bytes of "line 7" or "row 7, sample 0", where a colon and a space follow; else 0. */
static size_t position_at(const char *text, size_t length)
{
    static const char *const words[] = {"line ", "prompt ", "row "};
    static const char sample[] = ", sample ";
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        size_t at = strlen(words[i]);
        if (length <= at || memcmp(text, words[i], at) != 0) {
            continue;
        }
        size_t digits = digits_at(text, at, length), more = sizeof sample - 1;
        at += digits;
        if (digits > 0 && length - at > more && memcmp(text + at, sample, more) == 0) {
            at += more + digits_at(text, at + more, length);
        }
        if (digits > 0 && length - at >= 2 && memcmp(text + at, ": ", 2) == 0) {
            return at;
        }
    }
    return 0;
}

/* Bytes of the position that a text begins with, its colon and space left out: "line 7", or "b.csv:
 * line 7", since a file that one of several was read from is part of the place. */
static size_t position_length(const char *text, size_t length)
{
    for (size_t start = 0; start < length;) {
        size_t found = position_at(text + start, length - start);
        if (found > 0) {
            return start + found;
        }
        const char *colon = memchr(text + start, ':', length - start);
        size_t next = colon != NULL ? (size_t)(colon - text) + 2 : length;
        if (colon == NULL || start > 0 || next > length || colon[1] != ' ') {
            return 0;
        }
        start = next;
    }
    return 0;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Bytes of a quoted value that begins here, its quotes included; 0 where none does. An apostrophe
 * between letters quotes nothing. */
static size_t quoted_length(const char *text, size_t at, size_t length)
{
    char quote = text[at];
    if ((quote != '"' && quote != '\'' && quote != '`') || (at > 0 && is_word(text[at - 1]))) {
        return 0;
    }
    for (size_t end = at + 1; end < length; end++) {
        if (text[end] == quote && (end + 1 == length || !is_word(text[end + 1]))) {
            return end + 1 - at;
        }
    }
    return 0;
}

/* Bytes of a number that begins here; a digit within a word ("float32") counts as well, since a
 * field may be called after its number. */
static size_t number_length(const char *text, size_t at, size_t length)
{
    bool has_sign = text[at] == '-' && at + 1 < length && (at == 0 || !is_word(text[at - 1]));
    size_t end = at + has_sign, digits;
    while ((digits = digits_at(text, end, length)) > 0) {
        end += digits;
        bool goes_on = end + 1 < length && (text[end] == '.' || text[end] == ',');
        end += goes_on && isdigit((unsigned char)text[end + 1]);
    }
    return end > at + has_sign ? end - at : 0;
}

/* Copies the text with a mark in place of each number and quoted value. */
static size_t write_key(const char *text, size_t length, char key[KEY_BYTES])
{
    size_t used = 0;
    for (size_t at = 0; at < length && used < KEY_BYTES;) {
        size_t quoted = quoted_length(text, at, length);
        size_t number = quoted > 0 ? 0 : number_length(text, at, length);
        key[used++] = quoted > 0 ? '"' : number > 0 ? '#' : text[at];
        at += quoted > 0 ? quoted : number > 0 ? number : 1;
    }
    return used;
}

size_t error_place_length(const char *error, size_t length)
{
    size_t place = position_length(error, length);
    return place > 0 ? place + 2 : 0;
}

static char *copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

/* Where a text is cut, which is not within a character. */
static size_t shown_length(const char *text, size_t length)
{
    if (length <= TEXT_BYTES) {
        return length;
    }
    size_t shown = TEXT_BYTES;
    while (shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80) {
        shown--;
    }
    return shown;
}

static status add_kind(struct error_tally *tally, const struct error_kind *kind, const char *text,
                       size_t length, const char *place, size_t place_length)
{
    void *items = tally->kinds;
    status s = array_grow(&items, &tally->capacity, tally->count + 1, sizeof *tally->kinds);
    tally->kinds = items;
    TRY(s);
    struct error_kind *added = &tally->kinds[tally->count];
    *added = *kind;
    added->text = copy_text(text, shown_length(text, length));
    added->place = copy_text(place, place_length);
    tally->count++;
    return added->text != NULL && added->place != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory to count errors");
}

status error_tally_add(struct error_tally *tally, int64_t row, const char *error, size_t length)
{
    size_t text_at = error_place_length(error, length), place = text_at > 0 ? text_at - 2 : 0;
    const char *text = error + text_at;
    size_t text_length = length - text_at;
    char key[KEY_BYTES];
    struct error_kind kind = {.rows = 1, .last_row = row};
    kind.key = hash_bytes(key, write_key(text, text_length, key), 0);
    for (size_t i = 0; i < tally->count; i++) {
        struct error_kind *known = &tally->kinds[i];
        if (known->key == kind.key) {
            known->rows += known->last_row != row;
            known->last_row = row;
            return STATUS_OK;
        }
    }
    if (tally->count == KINDS_MOST) {
        tally->uncounted++;
        return STATUS_OK;
    }
    return add_kind(tally, &kind, text, text_length, error, place);
}

/* ---- The line ---- */

/* The commonest first; the earlier of two that are equally common. */
static void move_commonest_forward(struct error_tally *tally, size_t to)
{
    size_t best = to;
    for (size_t i = to + 1; i < tally->count; i++) {
        best = tally->kinds[i].rows > tally->kinds[best].rows ? i : best;
    }
    struct error_kind found = tally->kinds[best];
    memmove(&tally->kinds[to + 1], &tally->kinds[to], (best - to) * sizeof found);
    tally->kinds[to] = found;
}

bool error_tally_get(struct error_tally *tally, size_t index, struct error_group *out)
{
    if (index >= tally->count) {
        return false;
    }
    move_commonest_forward(tally, index);
    const struct error_kind *kind = &tally->kinds[index];
    *out = (struct error_group){.text = kind->text, .place = kind->place, .rows = kind->rows};
    return true;
}

static status describe_kind(const struct error_kind *kind, struct buffer *out)
{
    TRY(buffer_format(out, "%s%lld %s: %s", out->length > 0 ? "; " : "", (long long)kind->rows,
                      kind->rows == 1 ? "row" : "rows", kind->text));
    return kind->place[0] == '\0'
               ? STATUS_OK
               : buffer_format(out, " (%s%s)", kind->rows > 1 ? "first: " : "", kind->place);
}

status error_tally_describe(struct error_tally *tally, struct buffer *out)
{
    int64_t others = tally->uncounted;
    for (size_t i = 0; i < tally->count; i++) {
        if (i < KINDS_SHOWN) {
            move_commonest_forward(tally, i);
            TRY(describe_kind(&tally->kinds[i], out));
        } else {
            others += tally->kinds[i].rows;
        }
    }
    return others == 0 ? STATUS_OK
                       : buffer_format(out, "; %lld %s: other errors", (long long)others,
                                       others == 1 ? "row" : "rows");
}

void error_tally_destroy(struct error_tally *tally)
{
    for (size_t i = 0; i < tally->count; i++) {
        free(tally->kinds[i].text);
        free(tally->kinds[i].place);
    }
    free(tally->kinds);
    *tally = (struct error_tally){0};
}
