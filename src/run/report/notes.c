/* SPDX-License-Identifier: Apache-2.0 */
/* Warnings by kind: counting, packing, wording. */
#include "run/report/notes.h"

#include <stdlib.h>
#include <string.h>

#include "run/report/model_name.h"

enum { NAMES_SHOWN = 8 };

/* "2 rows: " is followed by `before`, the names, and `after`. */
static const struct {
    const char *before, *after;
} wordings[NOTE_KIND_COUNT] = {
    [NOTE_ROW_PARAMETERS] = {"columns taken for parameters: ",
                             "; where they are data, set data.row_parameters=false"},
    [NOTE_OTHER_MODEL] = {"requests name another model, and this job's has answered them: ", ""},
    [NOTE_UNKNOWN_FIELDS] = {"fields of the body that are not known and have no effect: ",
                             "; `sluice help fields` lists those that are"},
};

void notes_destroy(struct notes *notes)
{
    for (size_t i = 0; i < NOTE_KIND_COUNT; i++) {
        free(notes->kinds[i].names);
    }
    *notes = (struct notes){0};
}

/* ---- Counting ---- */

void notes_add_row(struct notes *notes, enum note_kind kind)
{
    notes->kinds[kind].rows++;
}

/* A line of a warning is one line, and as wide as letters are. */
static void copy_name(char out[NOTE_NAME_BYTES], const char *name, size_t length)
{
    size_t kept = length < NOTE_NAME_BYTES ? length : NOTE_NAME_BYTES - 1;
    while (kept < length && kept > 0 && ((unsigned char)name[kept] & 0xc0) == 0x80) {
        kept--; /* not within a character */
    }
    memcpy(out, name, kept);
    utf8_blank_controls(out, kept);
    memset(out + kept, 0, NOTE_NAME_BYTES - kept);
}

status notes_add_name(struct notes *notes, enum note_kind kind, const char *name, size_t length,
                      int64_t rows)
{
    struct note *note = &notes->kinds[kind];
    char text[NOTE_NAME_BYTES];
    copy_name(text, name, length);
    for (size_t i = 0; i < note->name_count; i++) {
        if (strcmp(note->names[i].text, text) == 0) {
            note->names[i].rows += rows;
            return STATUS_OK;
        }
    }
    if (note->name_count == NOTE_MAX_NAMES) {
        note->unnamed += rows;
        return STATUS_OK;
    }
    if (note->names == NULL) {
        note->names = calloc(NOTE_MAX_NAMES, sizeof *note->names);
        if (note->names == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for warnings");
        }
    }
    struct note_name *added = &note->names[note->name_count++];
    memcpy(added->text, text, sizeof text);
    added->rows = rows;
    return STATUS_OK;
}

static status add_names(struct notes *notes, enum note_kind kind, const struct name_list *names)
{
    if (names->count > 0) {
        notes_add_row(notes, kind);
    }
    for (size_t i = 0; i < names->count; i++) {
        TRY(notes_add_name(notes, kind, names->names[i], strlen(names->names[i]), 1));
    }
    return STATUS_OK;
}

status notes_add_parsed(struct notes *notes, const struct job *job, const struct row *row)
{
    TRY(add_names(notes, NOTE_ROW_PARAMETERS, &row->columns_taken));
    TRY(add_names(notes, NOTE_UNKNOWN_FIELDS, &row->unknown_fields));
    if (row->model == NULL || model_goes_by(job->model.path, row->model)) {
        return STATUS_OK;
    }
    notes_add_row(notes, NOTE_OTHER_MODEL);
    return notes_add_name(notes, NOTE_OTHER_MODEL, row->model, strlen(row->model), 1);
}

/* ---- Between ranks ---- */

/* An int64 of rows, one of unnamed mentions and one of names for each kind, and the names behind.
 */

struct packed_note {
    int64_t rows, unnamed, names;
};

status notes_pack(const struct notes *notes, struct buffer *out)
{
    for (size_t i = 0; i < NOTE_KIND_COUNT; i++) {
        const struct note *note = &notes->kinds[i];
        struct packed_note head = {note->rows, note->unnamed, (int64_t)note->name_count};
        TRY(buffer_append(out, &head, sizeof head));
        TRY(buffer_append(out, note->names, note->name_count * sizeof *note->names));
    }
    return STATUS_OK;
}

static status merge_kind(struct notes *notes, enum note_kind kind, const char *bytes, size_t length,
                         size_t *used)
{
    struct packed_note head;
    struct note_name name;
    memcpy(&head, bytes, sizeof head);
    if (head.names < 0 || head.names > NOTE_MAX_NAMES ||
        length - sizeof head < (size_t)head.names * sizeof name) {
        return status_fail(STATUS_INTERNAL, "warnings of a rank that are cut off");
    }
    notes->kinds[kind].rows += head.rows;
    notes->kinds[kind].unnamed += head.unnamed;
    for (size_t i = 0; i < (size_t)head.names; i++) {
        memcpy(&name, bytes + sizeof head + i * sizeof name, sizeof name);
        TRY(notes_add_name(notes, kind, name.text, strnlen(name.text, NOTE_NAME_BYTES - 1),
                           name.rows));
    }
    *used = sizeof head + (size_t)head.names * sizeof name;
    return STATUS_OK;
}

status notes_merge(struct notes *notes, const void *bytes, size_t length)
{
    const char *next = bytes;
    for (size_t i = 0; i < NOTE_KIND_COUNT; i++) {
        size_t used = 0;
        if (length < sizeof(struct packed_note)) {
            return status_fail(STATUS_INTERNAL, "warnings of a rank that are cut off");
        }
        TRY(merge_kind(notes, (enum note_kind)i, next, length, &used));
        next += used;
        length -= used;
    }
    return STATUS_OK;
}

/* ---- Words ---- */

static int compare_names(const void *a, const void *b)
{
    const struct note_name *left = a, *right = b;
    return left->rows != right->rows ? (left->rows < right->rows ? 1 : -1)
                                     : strcmp(left->text, right->text);
}

static status describe(struct note *note, enum note_kind kind, struct buffer *out)
{
    TRY(buffer_format(out, "%lld %s: %s", (long long)note->rows, note->rows == 1 ? "row" : "rows",
                      wordings[kind].before));
    if (note->name_count > 0) {
        qsort(note->names, note->name_count, sizeof *note->names, compare_names);
    }
    for (size_t i = 0; i < note->name_count && i < NAMES_SHOWN; i++) {
        TRY(buffer_format(out, "%s%s", i > 0 ? ", " : "", note->names[i].text));
    }
    bool more = note->name_count > NAMES_SHOWN || note->unnamed > 0;
    return buffer_format(out, "%s%s\n", more ? " and others" : "", wordings[kind].after);
}

status notes_describe(struct notes *notes, struct buffer *out)
{
    for (size_t i = 0; i < NOTE_KIND_COUNT; i++) {
        if (notes->kinds[i].rows > 0) {
            TRY(describe(&notes->kinds[i], (enum note_kind)i, out));
        }
    }
    return STATUS_OK;
}
