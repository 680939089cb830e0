/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5's variable strings, written without the library.
 *
 * A dataset of variable strings has references: length, address, index. What they refer to lies in
 * *global heap collections* (HDF5 File Format Specification, III.E). The library fills these a
 * string at a time, in collections of 4 KiB, each of which it writes by itself. Here they are made
 * in memory, 64 KiB and more each, and many of them are written at once, into space at the file's
 * end that the library was asked to leave free (H5Fincrement_filesize). Whoever reads the file sees
 * no difference. */
#ifndef SLUICE_DATA_HDF5_STRING_HEAP_H
#define SLUICE_DATA_HDF5_STRING_HEAP_H

#include "data/hdf5/support.h"

enum { STRING_REFERENCE_BYTES = 16 };

/* Zero-initialise; free `bytes`. */
struct string_heap {
    struct buffer bytes; /* collections that are not in the file yet */
    size_t collection;   /* where the open one begins; the end: none is open */
    size_t string;       /* where the open string's head begins */
    unsigned strings;    /* of the open collection */
};

/* Begins a string, whose bytes the caller appends to heap->bytes. */
status string_heap_begin(struct string_heap *heap) MUST_CHECK;
/* Ends it and appends its reference to *references; its address counts from the heap's beginning,
 * and a bit says so, until string_heap_place has been called. An empty one takes no room. */
status string_heap_end(struct string_heap *heap, struct buffer *references) MUST_CHECK;
/* Writes all strings to the file, `fd` being a descriptor of it, and says where they are in those
 * of `count` references, `stride` bytes apart, that have come since the last call: all of these are
 * among them. Others, of strings that are in the file, stay as they are. */
status string_heap_place(struct string_heap *heap, hid_t file, int fd, char *references,
                         size_t count, size_t stride) MUST_CHECK;

#endif
