/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a model directory: names of parts, files that are not what their names say, and
 * weights in forms that are not read. */
#ifndef SLUICE_MODEL_FILES_H
#define SLUICE_MODEL_FILES_H

#include "sluice/base.h"

/* Names of a folder's entries that end with `end`, sorted by bytes; none where the folder cannot be
 * read. End with file_names_destroy in every case. */
struct file_names {
    char **items;
    size_t count, capacity;
};
status file_names_read(const char *folder, const char *end, struct file_names *out) MUST_CHECK;
void file_names_destroy(struct file_names *names);

bool name_ends_with(const char *name, const char *end);

/* "X-00002-of-00007.gguf": part 2 of 7 of X. */
struct part_name {
    size_t stem;       /* bytes of X */
    int number, count; /* from 1 */
    const char *end;   /* ".gguf" */
};
bool part_name_parse(const char *name, struct part_name *out);
/* Appends the name of another part of the same whole. */
status part_name_write(const char *name, const struct part_name *part, int number,
                       struct buffer *out) MUST_CHECK;

/* Refuses a model's file by its first bytes, where they are not the model's: a pointer of git-lfs,
 * a page of HTML, an archive. STATUS_OK for everything else. */
status model_file_check(const char *path, const void *head, size_t length) MUST_CHECK;

/* What to say of a folder without config.json: what it is instead, and what is there. */
status model_name_other_folder(const char *folder) MUST_CHECK;
/* What to say of a folder without safetensors: which weights it has in a form that is not read. */
status model_name_other_weights(const char *folder) MUST_CHECK;

#endif
