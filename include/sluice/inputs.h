/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a data set: names and patterns to a list, and what keeps that list through resumes.
 */
#ifndef SLUICE_INPUTS_H
#define SLUICE_INPUTS_H

#include "sluice/base.h"

enum { INPUT_FILES_MOST = 65536 };

enum data_kind { DATA_JSON_LINES, DATA_CSV, DATA_TSV, DATA_HDF5 };

struct input_file {
    char *path;
    bool matched; /* by a pattern, not named itself */
    enum data_kind kind;
    int64_t bytes; /* with sha256: once input_files_hash has read it */
    char sha256[65];
    int64_t lines; /* that are not blank; -1 of a compressed file */
};

/* Zero-initialise; end with input_files_destroy. */
struct input_files {
    struct input_file *items;
    size_t count, capacity;
    bool has_patterns;
};

/* The files that names and patterns (`*`, `?`, `[…]`) stand for: in the order of the list, those of
 * a pattern in order of their names' bytes. A name that is there is no pattern. STATUS_INVALID for
 * a pattern without a match, a file that is there twice (through links too) and files of different
 * kinds. A single file that is not there is whoever's who opens it. */
status input_files_resolve(const char *const *names, size_t count,
                           struct input_files *out) MUST_CHECK;
void input_files_destroy(struct input_files *files);

/* Where an earlier start of the job has kept its list, in the journal's folder or, unless that is
 * to be overwritten, in the output that it has finished, files that a pattern matches since are
 * taken out again, and a warning names them. */
status input_files_keep(const char *output_path, bool overwrite,
                        struct input_files *files) MUST_CHECK;
/* Keeps the list in the journal's folder, where patterns made it. */
status input_files_save(const char *directory, const struct input_files *files) MUST_CHECK;
/* Reads every file for its size, hash and lines. */
status input_files_hash(struct input_files *files) MUST_CHECK;
/* Once hashed: the rows of all files where lines tell them, else -1. */
int64_t input_files_rows(const struct input_files *files);
/* Of all files together: the bytes, and of one its own hash, of several that of the lines "HASH
 * NAME", the names without their folders. */
status input_files_digest(const struct input_files *files, int64_t *bytes,
                          char sha256[65]) MUST_CHECK;

/* What a file is, by its first bytes and its name. */
enum data_kind data_kind_of(const char *path);

/* Path without its folders. */
const char *path_name(const char *path);

#endif
