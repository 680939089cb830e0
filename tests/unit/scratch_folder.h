/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that a test writes into: below the working directory, removed at the end. */
#ifndef SLUICE_TESTS_SCRATCH_FOLDER_H
#define SLUICE_TESTS_SCRATCH_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scratch_folder {
    char path[64];
};

static inline int scratch_create(void **state)
{
    static struct scratch_folder folder;
    strcpy(folder.path, "scratch_XXXXXX");
    *state = &folder;
    return mkdtemp(folder.path) != NULL ? 0 : -1;
}

static inline int scratch_remove_one(const char *path, const struct stat *info, int flag,
                                     struct FTW *where)
{
    (void)info;
    (void)flag;
    (void)where;
    return remove(path);
}

static inline int scratch_destroy(void **state)
{
    struct scratch_folder *folder = *state;
    return nftw(folder->path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a file in the folder; good for the next 31 calls. */
static inline const char *scratch_path(void *const *state, const char *name)
{
    static char paths[32][256];
    static unsigned next;
    const struct scratch_folder *folder = *state;
    char *path = paths[next++ % 32];
    snprintf(path, sizeof paths[0], "%s/%s", folder->path, name);
    return path;
}

/* Writes a file in the folder and gives its path; NULL where it cannot. */
static inline const char *scratch_write(void *const *state, const char *name, const void *bytes,
                                        size_t length)
{
    const char *path = scratch_path(state, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        return NULL;
    }
    int failed = (length > 0 && fwrite(bytes, 1, length, file) != length);
    failed |= fclose(file) != 0;
    return failed ? NULL : path;
}

#endif
