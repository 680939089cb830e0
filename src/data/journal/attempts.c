/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows are under way, and what earlier starts of the job died of.
 *
 * A start that ends without saying so leaves its rows under way in the file: the next start blames
 * them a little, and a row that is blamed enough is a suspect. Suspects run when all other rows are
 * done, in groups that are halved when they die, and one at a time in the end, where the blame is
 * certain. A process killed from outside looks the same as one that a row has killed, so it takes
 * several such ends to set a row aside; a rank that dies of a signal of its own says so in a note,
 * and then two are enough. docs/reliability.md has the rules. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/journal/attempts_file.h"
#include "data/journal/crash_notes.h"
#include "data/journal/file.h"
#include "sluice/data.h"

enum {
    UNEXPLAINED_ENDS = 2, /* that a row is under way at before it is a suspect */
    ALONE_ENDS = 3,       /* unexplained ones that it is alone at before it is set aside */
    CRASHES = 2,          /* of ranks that said so, the last one with the row alone */
    SINGLES = 16,         /* so few suspects run one at a time; a group would end no sooner */
};

struct attempts {
    struct buffer directory, path;
    int fd;
    struct suspect *suspects; /* by row */
    size_t suspect_count, suspect_capacity;
    size_t suspects_to_run; /* of them those that run in groups or alone */
    bool has_died;          /* the last start, and nobody says of what else than a row */
    struct rows_under_way under_way;
};

/* ---- Verdicts ---- */

static int compare_suspects(const void *a, const void *b)
{
    int64_t first = ((const struct suspect *)a)->row, second = ((const struct suspect *)b)->row;
    return (first > second) - (first < second);
}

static const struct suspect *find_suspect(const struct attempts *attempts, int64_t row)
{
    const struct suspect key = {.row = row};
    return attempts->suspect_count > 0 ? bsearch(&key, attempts->suspects, attempts->suspect_count,
                                                 sizeof key, compare_suspects)
                                       : NULL;
}

static enum attempt_verdict judge(const struct suspect *suspect)
{
    const uint32_t *counts = suspect->counts;
    bool crashed = counts[CRASHED_ALONE] > 0 &&
                   counts[CRASHED] + counts[CRASHED_ALONE] + counts[UNEXPLAINED_ALONE] >= CRASHES;
    if (crashed || counts[UNEXPLAINED_ALONE] >= ALONE_ENDS) {
        return ATTEMPT_SET_ASIDE;
    }
    return counts[CRASHED] + counts[CRASHED_ALONE] + counts[UNEXPLAINED_ALONE] > 0 ||
                   counts[UNEXPLAINED] >= UNEXPLAINED_ENDS
               ? ATTEMPT_SUSPECT
               : ATTEMPT_FREE;
}

enum attempt_verdict attempts_verdict(const struct attempts *attempts, int64_t row)
{
    const struct suspect *suspect = find_suspect(attempts, row);
    return suspect != NULL ? judge(suspect) : ATTEMPT_FREE;
}

/* A row that was alone before stays so. */
static bool was_alone(const struct suspect *suspect)
{
    return suspect->counts[UNEXPLAINED_ALONE] + suspect->counts[CRASHED_ALONE] > 0;
}

int64_t attempts_group(const struct attempts *attempts, int64_t row)
{
    const struct suspect *suspect = find_suspect(attempts, row);
    if (suspect == NULL || (suspect->group == 0 && attempts->suspects_to_run > SINGLES)) {
        return INT64_MAX;
    }
    return attempts->suspects_to_run <= SINGLES || suspect->group <= SINGLES || was_alone(suspect)
               ? 1
               : suspect->group;
}

void attempts_describe(const struct attempts *attempts, int64_t row, char text[160])
{
    const struct suspect *suspect = find_suspect(attempts, row);
    const uint32_t none[BLAME_KINDS] = {0};
    const uint32_t *counts = suspect != NULL ? suspect->counts : none;
    uint32_t alone = counts[UNEXPLAINED_ALONE] + counts[CRASHED_ALONE];
    snprintf(text, 160,
             "set aside: ranks died %u times with this row under way, %u of them with no other",
             counts[UNEXPLAINED] + counts[CRASHED] + alone, alone);
}

/* ---- Blame ---- */

static status add_suspect(struct attempts *attempts, const struct suspect *suspect)
{
    void *items = attempts->suspects;
    status s = array_grow(&items, &attempts->suspect_capacity, attempts->suspect_count + 1,
                          sizeof *suspect);
    attempts->suspects = items;
    TRY(s);
    attempts->suspects[attempts->suspect_count++] = *suspect;
    return STATUS_OK;
}

static bool is_open(const struct journal *journal, int64_t row)
{
    return row >= 0 && row < JOURNAL_MAX_ROW && !journal_has_row(journal, row);
}

/* What is known of one row twice becomes one; `suspects` are sorted. */
static void merge_suspects(struct attempts *attempts)
{
    struct suspect *suspects = attempts->suspects;
    size_t kept = 0;
    for (size_t i = 0; i < attempts->suspect_count; i++) {
        if (kept == 0 || suspects[kept - 1].row != suspects[i].row) {
            suspects[kept++] = suspects[i];
            continue;
        }
        struct suspect *one = &suspects[kept - 1];
        for (int kind = 0; kind < BLAME_KINDS; kind++) {
            one->counts[kind] += suspects[i].counts[kind];
        }
        bool is_less = one->group == 0 || suspects[i].group < one->group;
        one->group = suspects[i].group != 0 && is_less ? suspects[i].group : one->group;
    }
    attempts->suspect_count = kept;
}

static void sort_suspects(struct attempts *attempts)
{
    if (attempts->suspect_count > 0) {
        qsort(attempts->suspects, attempts->suspect_count, sizeof *attempts->suspects,
              compare_suspects);
        merge_suspects(attempts);
    }
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;
    return (first > second) - (first < second);
}

/* The rows that this end is to be blamed on, sorted, each once. Where a rank has said that it
 * crashed, only its replica's rows can have done it. */
static size_t choose_blamed(const struct journal *journal, const struct last_start *last,
                            const struct crash_notes *notes, int64_t *rows)
{
    size_t count = 0, kept = 0;
    if (last->alone >= 0) {
        rows[0] = last->alone;
        return is_open(journal, last->alone);
    }
    for (size_t i = 0; i < last->slot_count; i++) {
        const struct row_slot *slot = &last->slots[i];
        if (is_open(journal, slot->row) &&
            (notes->count == 0 || crash_notes_name(notes, slot->replica))) {
            rows[count++] = slot->row;
        }
    }
    if (count > 0) {
        qsort(rows, count, sizeof *rows, compare_numbers);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || rows[kept - 1] != rows[i]) {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

/* Whoever died together is to run in halves. */
static status blame(struct attempts *attempts, const struct journal *journal,
                    const struct last_start *last, const struct crash_notes *notes)
{
    int64_t *rows = malloc((last->slot_count + 1) * sizeof *rows);
    if (rows == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu rows under way",
                           last->slot_count);
    }
    size_t count = choose_blamed(journal, last, notes, rows);
    bool explained = notes->count > 0, alone = last->alone >= 0;
    struct suspect suspect = {.group = (uint32_t)((count + 1) / 2)};
    suspect.counts[explained ? (alone ? CRASHED_ALONE : CRASHED)
                             : (alone ? UNEXPLAINED_ALONE : UNEXPLAINED)] = 1;
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < count; i++) {
        suspect.row = rows[i];
        s = add_suspect(attempts, &suspect);
    }
    free(rows);
    return s;
}

static status take_in(struct attempts *attempts, const struct journal *journal,
                      const struct last_start *last, const struct crash_notes *notes)
{
    for (size_t i = 0; i < last->suspect_count; i++) {
        if (is_open(journal, last->suspects[i].row)) {
            TRY(add_suspect(attempts, &last->suspects[i]));
        }
    }
    attempts->has_died = last->running && !crash_notes_excuse(notes);
    if (attempts->has_died) {
        TRY(blame(attempts, journal, last, notes));
    }
    sort_suspects(attempts);
    for (size_t i = 0; i < attempts->suspect_count; i++) {
        attempts->suspects_to_run += judge(&attempts->suspects[i]) == ATTEMPT_SUSPECT;
    }
    return STATUS_OK;
}

bool attempts_fear_rows(const struct attempts *attempts)
{
    return attempts->has_died || attempts->suspect_count > 0;
}

/* ---- Opening and closing ---- */

static status look_back(struct attempts *attempts, const struct journal *journal)
{
    struct last_start last;
    struct crash_notes notes = {0};
    status s = attempts_file_read(attempts->path.data, &last);
    if (s == STATUS_OK) {
        s = crash_notes_read(attempts->directory.data, &notes);
    }
    if (s == STATUS_OK) {
        s = take_in(attempts, journal, &last, &notes);
    }
    last_start_destroy(&last);
    crash_notes_destroy(&notes);
    return s;
}

static status open_all(struct attempts *attempts, const char *directory,
                       const struct journal *journal, bool fresh)
{
    TRY(buffer_append_text(&attempts->directory, directory));
    TRY(path_join(directory, "attempts", &attempts->path));
    TRY(fresh ? STATUS_OK : look_back(attempts, journal));
    TRY(attempts_file_write(attempts->path.data, directory, attempts->suspects,
                            attempts->suspect_count, &attempts->fd));
    return crash_notes_remove(directory);
}

status attempts_open(const char *directory, const struct journal *journal, bool fresh,
                     struct attempts **out)
{
    *out = NULL;
    struct attempts *attempts = calloc(1, sizeof *attempts);
    if (attempts == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", directory);
    }
    attempts->fd = -1;
    status s = open_all(attempts, directory, journal, fresh);
    if (s != STATUS_OK) {
        attempts_close(attempts, ATTEMPTS_ORDERLY);
        return s;
    }
    *out = attempts;
    return STATUS_OK;
}

void attempts_close(struct attempts *attempts, enum attempts_end end)
{
    if (attempts == NULL) {
        return;
    }
    if (attempts->fd >= 0) {
        if (end == ATTEMPTS_ORDERLY) {
            /* What cannot be written counts as an end that nobody explains: a little blame. */
            status s = attempts_file_set_orderly(attempts->fd);
            (void)s;
        }
        close(attempts->fd);
    }
    buffer_destroy(&attempts->directory);
    buffer_destroy(&attempts->path);
    under_way_destroy(&attempts->under_way);
    free(attempts->suspects);
    free(attempts);
}

/* ---- Rows under way ---- */

status attempts_begin(struct attempts *attempts, int64_t row, int32_t replica)
{
    return under_way_add(&attempts->under_way, row, replica);
}

status attempts_write(struct attempts *attempts)
{
    return status_context(under_way_write(&attempts->under_way, attempts->fd,
                                          attempts_file_slots(attempts->suspect_count)),
                          "%s", attempts->path.data);
}

void attempts_end(struct attempts *attempts, int64_t row)
{
    /* The slot in the file is left: its row is in the journal by the time that it is read. */
    under_way_remove(&attempts->under_way, row);
}

void attempts_prepare_end(const struct attempts *attempts, int64_t row)
{
    under_way_prefetch(&attempts->under_way, row);
}

/* Gives a failure its file, and syncs what was written. */
static status sync_head(struct attempts *attempts, status s)
{
    TRY(status_context(s, "%s", attempts->path.data));
    return fdatasync(attempts->fd) == 0 ? STATUS_OK
                                        : status_fail_errno(STATUS_IO, "%s", attempts->path.data);
}

status attempts_begin_alone(struct attempts *attempts, int64_t row)
{
    return sync_head(attempts, attempts_file_set_alone(attempts->fd, row));
}

status attempts_end_alone(struct attempts *attempts)
{
    return status_context(attempts_file_set_alone(attempts->fd, -1), "%s", attempts->path.data);
}
