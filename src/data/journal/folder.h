/* SPDX-License-Identifier: Apache-2.0 */
/* The folder OUT.h5.sluice, which holds the journal, its lock, and what else a job keeps between
 * its starts. */
#ifndef SLUICE_DATA_JOURNAL_FOLDER_H
#define SLUICE_DATA_JOURNAL_FOLDER_H

#include <sys/stat.h>

#include "sluice/base.h"

/* Makes the folder where it is not there; its name is on disk when the call returns. STATUS_EXISTS
 * where something else stands in its place. */
status journal_folder_open(const char *directory) MUST_CHECK;
/* STATUS_EXISTS unless `info`, of stat, is a folder's. */
status journal_folder_require(const char *directory, const struct stat *info) MUST_CHECK;
/* Removes everything in it but the lock, what earlier starts left half done included. What others
 * have put there stays, and the folder with it. */
void journal_folder_empty(const char *directory);

#endif
