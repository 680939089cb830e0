/* SPDX-License-Identifier: Apache-2.0 */
/* One small file a rank: where it is, what stands in it, and what a folder holds of them. */
#include "data/journal/crash_notes.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sluice/data.h"

static const char note_prefix[] = "crash.", excuse_prefix[] = "excuse.";

status attempts_note(const char *directory, int rank, int replica, struct buffer *path,
                     struct buffer *text)
{
    char name[32];
    snprintf(name, sizeof name, "%s%d", note_prefix, rank);
    TRY(path_join(directory, name, path));
    return buffer_format(text, "rank %d replica %d signal ", rank, replica);
}

status attempts_excuse(const char *directory, int rank, int ranks, struct buffer *path,
                       struct buffer *text)
{
    char name[32];
    snprintf(name, sizeof name, "%s%d", excuse_prefix, rank);
    TRY(path_join(directory, name, path));
    return buffer_format(text, "ranks %d\n", ranks);
}

static bool is_note(const char *name)
{
    return strncmp(name, note_prefix, sizeof note_prefix - 1) == 0 ||
           strncmp(name, excuse_prefix, sizeof excuse_prefix - 1) == 0;
}

typedef status (*note_visitor)(const char *directory, const char *name, struct crash_notes *notes);

static status visit_notes(const char *directory, note_visitor visit, struct crash_notes *notes)
{
    DIR *folder = opendir(directory);
    if (folder == NULL) {
        return status_fail_errno(STATUS_IO, "%s", directory);
    }
    status s = STATUS_OK;
    struct dirent *item;
    while (s == STATUS_OK && (item = readdir(folder)) != NULL) {
        if (is_note(item->d_name)) {
            s = visit(directory, item->d_name, notes);
        }
    }
    closedir(folder);
    return s;
}

static status add_replica(struct crash_notes *notes, int32_t replica)
{
    void *replicas = notes->replicas;
    status s = array_grow(&replicas, &notes->capacity, notes->count + 1, sizeof *notes->replicas);
    notes->replicas = replicas;
    TRY(s);
    notes->replicas[notes->count++] = replica;
    return STATUS_OK;
}

static status take_crash(struct crash_notes *notes, const char *text)
{
    int rank, replica, number;
    if (sscanf(text, "rank %d replica %d signal %d", &rank, &replica, &number) != 3) {
        return STATUS_OK;
    }
    log_write(LOG_WARNING, "rank %d died of signal %d (%s) in the last start", rank, number,
              strsignal(number));
    return add_replica(notes, replica);
}

static void take_excuse(struct crash_notes *notes, const char *text)
{
    int ranks;
    if (sscanf(text, "ranks %d", &ranks) == 1 && ranks > 0) {
        bool is_least = notes->excuses_wanted == 0 || ranks < notes->excuses_wanted;
        notes->excuses_wanted = is_least ? ranks : notes->excuses_wanted;
        notes->excuses++;
    }
}

static status read_note(const char *directory, const char *name, struct crash_notes *notes)
{
    struct buffer path = {0}, text = {0};
    status s = path_join(directory, name, &path);
    if (s == STATUS_OK) {
        s = file_read(path.data, 4096, &text);
    }
    if (s == STATUS_OK && strncmp(name, note_prefix, sizeof note_prefix - 1) == 0) {
        s = take_crash(notes, text.data);
    } else if (s == STATUS_OK) {
        take_excuse(notes, text.data);
    }
    buffer_destroy(&path);
    buffer_destroy(&text);
    return s;
}

static status remove_note(const char *directory, const char *name, struct crash_notes *notes)
{
    (void)notes;
    struct buffer path = {0};
    status s = path_join(directory, name, &path);
    if (s == STATUS_OK) {
        unlink(path.data);
    }
    buffer_destroy(&path);
    return s;
}

status crash_notes_read(const char *directory, struct crash_notes *out)
{
    return visit_notes(directory, read_note, out);
}

status crash_notes_remove(const char *directory)
{
    return visit_notes(directory, remove_note, NULL);
}

bool crash_notes_excuse(const struct crash_notes *notes)
{
    return notes->count == 0 && notes->excuses > 0 && notes->excuses >= notes->excuses_wanted;
}

bool crash_notes_name(const struct crash_notes *notes, int32_t replica)
{
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->replicas[i] == replica) {
            return true;
        }
    }
    return false;
}

void crash_notes_destroy(struct crash_notes *notes)
{
    free(notes->replicas);
    *notes = (struct crash_notes){0};
}
