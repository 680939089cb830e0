/* SPDX-License-Identifier: Apache-2.0 */
/* Thrift's compact protocol, as far as Parquet's footers and page headers need it.
 * https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md */
#ifndef SLUICE_DATA_EXPORT_THRIFT_H
#define SLUICE_DATA_EXPORT_THRIFT_H

#include "sluice/base.h"

enum thrift_type { THRIFT_I32 = 5, THRIFT_I64 = 6, THRIFT_BINARY = 8, THRIFT_STRUCT = 12 };

/* A struct that is being written. Its fields come in ascending order of their ids. */
struct thrift {
    struct buffer *out;
    int last; /* id of the field before; 0 at a struct's beginning */
};

status thrift_int(struct thrift *self, int id, enum thrift_type type, int64_t value) MUST_CHECK;
status thrift_text(struct thrift *self, int id, const char *text) MUST_CHECK;
/* Begins a struct in a field; its own fields go to a `struct thrift` of their own, and end with
 * thrift_end. */
status thrift_struct(struct thrift *self, int id) MUST_CHECK;
status thrift_end(struct buffer *out) MUST_CHECK;
/* Begins a list in a field; `count` items follow: structs as above, or those of the two below. */
status thrift_list(struct thrift *self, int id, enum thrift_type type, size_t count) MUST_CHECK;
status thrift_item_int(struct buffer *out, int64_t value) MUST_CHECK;
status thrift_item_text(struct buffer *out, const char *text) MUST_CHECK;

/* A number in groups of 7 bits, the lowest first. */
status thrift_varint(struct buffer *out, uint64_t value) MUST_CHECK;

#endif
