/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the folder that the journal and its companions stand in, and empties it in the end. */
#include "data/journal/folder.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "data/journal/durable.h"

status journal_folder_require(const char *directory, const struct stat *info)
{
    return S_ISDIR(info->st_mode)
               ? STATUS_OK
               : status_fail(STATUS_EXISTS, "%s: not a folder, and in the journal's place",
                             directory);
}

status journal_folder_open(const char *directory)
{
    if (mkdir(directory, 0777) == 0) {
        return durable_sync_parent(directory);
    }
    if (errno != EEXIST) {
        return status_fail_errno(STATUS_IO, "%s", directory);
    }
    struct stat info;
    if (stat(directory, &info) != 0) {
        return status_fail_errno(STATUS_IO, "%s", directory);
    }
    return journal_folder_require(directory, &info);
}

void journal_folder_empty(const char *directory)
{
    static const char *const ours[] = {"journal", "attempts", "inputs", "progress",
                                       "crash.",  "excuse.",  "lock.",  "template_time"};
    DIR *folder = opendir(directory);
    struct dirent *item;
    while (folder != NULL && (item = readdir(folder)) != NULL) {
        for (size_t i = 0; i < COUNT_OF(ours); i++) {
            if (strncmp(item->d_name, ours[i], strlen(ours[i])) == 0) {
                unlinkat(dirfd(folder), item->d_name, 0);
                break;
            }
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
}
