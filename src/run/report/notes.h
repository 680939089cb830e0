/* SPDX-License-Identifier: Apache-2.0 */
/* What is worth a warning, once and with a count: every leader notes what it meets in its rows, at
 * the end rank 0 puts the notes of all together and says each kind in one line. A job of a million
 * rows says it once.
 *
 * Another kind: a value of the enum and a row of the table in notes.c. */
#ifndef SLUICE_RUN_NOTES_H
#define SLUICE_RUN_NOTES_H

#include "sluice/job.h"

enum note_kind {
    NOTE_ROW_PARAMETERS, /* columns of plain rows were read as parameters; names: the columns */
    NOTE_OTHER_MODEL,    /* requests name another model; names: those */
    NOTE_UNKNOWN_FIELDS, /* bodies have fields that no table has; names: the fields */
    NOTE_KIND_COUNT
};

/* Names that differ from row to row are bounded in number and in length. */
enum { NOTE_MAX_NAMES = 32, NOTE_NAME_BYTES = 64 };

struct note {
    int64_t rows;
    size_t name_count;
    struct note_name {
        char text[NOTE_NAME_BYTES]; /* NUL-terminated; a longer one is cut */
        int64_t rows;
    } * names;       /* malloc'ed */
    int64_t unnamed; /* mentions of names that came when there were too many */
};

/* Zero-initialise; end with notes_destroy. */
struct notes {
    struct note kinds[NOTE_KIND_COUNT];
};
void notes_destroy(struct notes *notes);

/* One more row, or `rows` more mentions of a name by the rows of that kind. */
void notes_add_row(struct notes *notes, enum note_kind kind);
status notes_add_name(struct notes *notes, enum note_kind kind, const char *name, size_t length,
                      int64_t rows) MUST_CHECK;
/* What a parsed row, good or bad, gives rise to. */
status notes_add_parsed(struct notes *notes, const struct job *job,
                        const struct row *row) MUST_CHECK;

/* For the way between ranks: appends all of it, and adds what was packed to `notes`. */
status notes_pack(const struct notes *notes, struct buffer *out) MUST_CHECK;
status notes_merge(struct notes *notes, const void *bytes, size_t length) MUST_CHECK;

/* Appends a line for each kind that has rows, names in order of how common they are. The same
 * whatever rank noted what. */
status notes_describe(struct notes *notes, struct buffer *out) MUST_CHECK;

#endif
