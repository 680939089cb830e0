/* SPDX-License-Identifier: Apache-2.0 */
/* Folders on disk: what makes a created or renamed file survive a crash. */
#ifndef SLUICE_DATA_DURABLE_H
#define SLUICE_DATA_DURABLE_H

#include "sluice/base.h"

/* fsyncs a folder; file systems that cannot are taken to need none. */
status durable_sync_folder(const char *path) MUST_CHECK;
/* fsyncs the folder that `path` stands in. */
status durable_sync_parent(const char *path) MUST_CHECK;

#endif
