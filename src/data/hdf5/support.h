/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 with our errors: what the readers and the writer of HDF5 files share.
 *
 * HDF5 is used from one thread at a time. */
#ifndef SLUICE_DATA_HDF5_SUPPORT_H
#define SLUICE_DATA_HDF5_SUPPORT_H

#include <hdf5.h>

#include "sluice/base.h"

/* Keeps HDF5 from printing its errors, and makes it know the filters that are ours; call before any
 * other HDF5 function. */
void hdf5_silence(void);

/* As status_fail, with the innermost message of HDF5's error stack after it. */
status hdf5_fail(status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Access properties for every file of ours: closing a file closes all that is open in it, and HDF5
 * takes no lock of its own (many shared file systems have none). Negative on failure. */
hid_t hdf5_file_access(void);

/* Opens for reading. STATUS_NOT_FOUND, STATUS_INVALID (not HDF5, a directory), STATUS_IO. */
status hdf5_open_readonly(const char *path, hid_t *file) MUST_CHECK;

/* Whether something stands at this path of the file. Links that lead nowhere, or to other files:
 * false. */
bool hdf5_path_exists(hid_t file, const char *path);

bool hdf5_path_is_group(hid_t file, const char *path);

/* Calls `visit` with every name in a group, in order of bytes; ends with its first failure. The
 * group must be known to be in this file. */
typedef status (*hdf5_link_visitor)(void *context, const char *name);
status hdf5_visit_links(hid_t file, const char *path, hdf5_link_visitor visit,
                        void *context) MUST_CHECK;

/* Variable-length UTF-8 string type; negative on failure. */
hid_t hdf5_string_type(void);

/* An HDF5 dataset of one dimension, opened for reading. */
struct hdf5_column {
    char name[256]; /* for messages */
    hid_t dataset, space;
    hid_t memory; /* strings: the type to read them as; else negative */
    int64_t length;
    size_t fixed_size; /* strings of fixed size: bytes of one; 0 for variable ones */
    bool space_padded;
};

/* Opens a dataset and checks that its values are in this file, that it has `rank` dimensions
 * (length is the first) and a type of this class. H5T_ENUM is taken for H5T_INTEGER; H5T_NO_CLASS
 * stands for any of strings, numbers and enumerations. Begin with a
 * zeroed struct; close it in any case. */
status hdf5_column_open(hid_t file, const char *path, H5T_class_t type_class, int rank,
                        struct hdf5_column *column) MUST_CHECK;
void hdf5_column_close(struct hdf5_column *column);

/* Reads elements [first, first + count) of a numeric dataset as `memory`. Two dimensions: whole
 * rows. */
status hdf5_column_read(const struct hdf5_column *column, hid_t memory, int64_t first,
                        int64_t count, void *out) MUST_CHECK;

/* Reads strings [first, first + count) into texts and lengths. They live in `arena`; when it would
 * hold more than `budget` bytes, STATUS_LIMIT. A string that was never written is empty. */
status hdf5_column_read_strings(const struct hdf5_column *column, int64_t first, int64_t count,
                                size_t budget, struct arena *arena, const char **texts,
                                size_t *lengths) MUST_CHECK;

#endif
