/* SPDX-License-Identifier: Apache-2.0 */
/* Thrift's compact protocol: numbers in zigzag and groups of 7 bits, fields by the step from the id
 * before. */
#include "data/export/thrift.h"

#include <string.h>

enum { TYPE_LIST = 9 };

status thrift_varint(struct buffer *out, uint64_t value)
{
    while (value >= 0x80) {
        TRY(buffer_append_byte(out, (char)(value | 0x80)));
        value >>= 7;
    }
    return buffer_append_byte(out, (char)value);
}

status thrift_item_int(struct buffer *out, int64_t value)
{
    return thrift_varint(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

status thrift_item_text(struct buffer *out, const char *text)
{
    const size_t length = strlen(text);
    TRY(thrift_varint(out, length));
    return buffer_append(out, text, length);
}

/* Steps of 1 to 15 stand beside the type; Parquet has no larger ones. */
static status begin_field(struct thrift *self, int id, int type)
{
    const int step = id - self->last;
    self->last = id;
    return buffer_append_byte(self->out, (char)(step << 4 | type));
}

status thrift_int(struct thrift *self, int id, enum thrift_type type, int64_t value)
{
    TRY(begin_field(self, id, type));
    return thrift_item_int(self->out, value);
}

status thrift_text(struct thrift *self, int id, const char *text)
{
    TRY(begin_field(self, id, THRIFT_BINARY));
    return thrift_item_text(self->out, text);
}

status thrift_struct(struct thrift *self, int id)
{
    return begin_field(self, id, THRIFT_STRUCT);
}

status thrift_end(struct buffer *out)
{
    return buffer_append_byte(out, 0);
}

status thrift_list(struct thrift *self, int id, enum thrift_type type, size_t count)
{
    TRY(begin_field(self, id, TYPE_LIST));
    if (count < 15) {
        return buffer_append_byte(self->out, (char)(count << 4 | type));
    }
    TRY(buffer_append_byte(self->out, (char)(0xF0 | type)));
    return thrift_varint(self->out, count);
}
