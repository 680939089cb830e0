/* SPDX-License-Identifier: Apache-2.0 */
/* One dataset of scalars: which type it has, its window, a value as JSON. */
#include "data/hdf5/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sluice/json.h"

enum {
    NUMBER_WINDOW = 4096, /* numbers read at once */
    STRING_WINDOW = 256,  /* strings, fewer where they are long */
    STRING_WINDOW_BYTES = 4 << 20,
    MOST_NAMES = 1 << 16 /* of an enumeration */
};

enum value_kind {
    VALUE_SIGNED,
    VALUE_UNSIGNED,
    VALUE_FLOAT,
    VALUE_DOUBLE,
    VALUE_NAMED,
    VALUE_TEXT
};

struct enum_name {
    int64_t value;
    char *name;
};

struct hdf5_table_column {
    struct hdf5_column column;
    char *path, *key;
    enum column_reading reading;
    enum value_kind kind;
    int64_t first, count; /* rows in the window */
    union {
        int64_t integers[NUMBER_WINDOW];
        uint64_t naturals[NUMBER_WINDOW];
        double reals[NUMBER_WINDOW];
        struct {
            const char *texts[STRING_WINDOW];
            size_t lengths[STRING_WINDOW];
        } strings;
    } window;
    struct arena arena;      /* of the strings in the window */
    struct enum_name *names; /* VALUE_NAMED */
    int name_count;
    bool is_boolean; /* its names are those of h5py's booleans */
};

static status no_memory(const char *path)
{
    return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", path);
}

/* ---- Types ---- */

/* A member's value in the type of the file, widened. */
static bool enum_value(hid_t type, unsigned index, int64_t *out)
{
    union {
        int64_t integer;
        char bytes[16];
    } value = {0};
    hid_t base = H5Tget_super(type);
    bool read = base >= 0 && H5Tget_size(base) <= sizeof value &&
                H5Tget_member_value(type, index, &value) >= 0 &&
                H5Tconvert(base, H5T_NATIVE_INT64, 1, &value, NULL, H5P_DEFAULT) >= 0;
    if (base >= 0) {
        H5Tclose(base);
    }
    *out = value.integer;
    return read;
}

static bool is_named(const struct hdf5_table_column *self, int64_t value, const char *name)
{
    for (int i = 0; i < self->name_count; i++) {
        if (self->names[i].value == value) {
            return strcasecmp(self->names[i].name, name) == 0;
        }
    }
    return false;
}

static status read_names(struct hdf5_table_column *self, hid_t type)
{
    int count = H5Tget_nmembers(type);
    if (count < 0 || count > MOST_NAMES) {
        return hdf5_fail(STATUS_INVALID, "%s: an enumeration of %d names", self->path, count);
    }
    self->names = calloc((size_t)count + 1, sizeof *self->names);
    if (self->names == NULL) {
        return no_memory(self->path);
    }
    for (int i = 0; i < count; i++) {
        char *name = H5Tget_member_name(type, (unsigned)i);
        if (name == NULL || !enum_value(type, (unsigned)i, &self->names[i].value)) {
            H5free_memory(name);
            return hdf5_fail(STATUS_INVALID, "%s: an unreadable enumeration", self->path);
        }
        self->names[i].name = strdup(name);
        H5free_memory(name);
        if (self->names[i].name == NULL) {
            return no_memory(self->path);
        }
        self->name_count++;
    }
    self->is_boolean = count == 2 && is_named(self, 0, "false") && is_named(self, 1, "true");
    return STATUS_OK;
}

static status choose_kind(struct hdf5_table_column *self, hid_t type)
{
    size_t size = H5Tget_size(type);
    switch (H5Tget_class(type)) {
    case H5T_STRING:
        self->kind = VALUE_TEXT;
        return STATUS_OK;
    case H5T_ENUM:
        self->kind = VALUE_NAMED;
        return read_names(self, type);
    case H5T_FLOAT:
        self->kind = size <= sizeof(float) ? VALUE_FLOAT : VALUE_DOUBLE;
        return STATUS_OK;
    case H5T_INTEGER:
        self->kind = H5Tget_sign(type) == H5T_SGN_NONE ? VALUE_UNSIGNED : VALUE_SIGNED;
        return size <= sizeof(int64_t)
                   ? STATUS_OK
                   : status_fail(STATUS_INVALID, "%s: integers of %zu bytes", self->path, size);
    default:
        return status_fail(STATUS_INTERNAL, "%s: a type that is none", self->path);
    }
}

static status open_dataset(hid_t file, struct hdf5_table_column *self)
{
    TRY(hdf5_column_open(file, self->path, H5T_NO_CLASS, 1, &self->column));
    hid_t type = H5Dget_type(self->column.dataset);
    if (type < 0) {
        return hdf5_fail(STATUS_INVALID, "%s: unreadable type", self->path);
    }
    status s = choose_kind(self, type);
    H5Tclose(type);
    return s;
}

status hdf5_table_column_open(hid_t file, const char *path, const char *key,
                              enum column_reading reading, struct hdf5_table_column **out)
{
    *out = NULL;
    struct hdf5_table_column *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory(path);
    }
    self->reading = reading;
    self->path = strdup(path);
    self->key = strdup(key);
    status s = self->path != NULL && self->key != NULL ? open_dataset(file, self) : no_memory(path);
    if (s != STATUS_OK) {
        hdf5_table_column_close(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void hdf5_table_column_close(struct hdf5_table_column *self)
{
    if (self == NULL) {
        return;
    }
    hdf5_column_close(&self->column);
    for (int i = 0; i < self->name_count; i++) {
        free(self->names[i].name);
    }
    free(self->names);
    free(self->path);
    free(self->key);
    arena_destroy(&self->arena);
    free(self);
}

const char *hdf5_table_column_key(const struct hdf5_table_column *self)
{
    return self->key;
}

const char *hdf5_table_column_path(const struct hdf5_table_column *self)
{
    return self->path;
}

bool hdf5_table_column_is_text(const struct hdf5_table_column *self)
{
    return self->kind == VALUE_TEXT;
}

int64_t hdf5_table_column_length(const struct hdf5_table_column *self)
{
    return self->column.length;
}

/* ---- Windows ---- */

static bool is_in_window(const struct hdf5_table_column *self, int64_t row)
{
    return row >= self->first && row < self->first + self->count;
}

static status fill_numbers(struct hdf5_table_column *self, int64_t row)
{
    int64_t left = self->column.length - row;
    int64_t count = left < NUMBER_WINDOW ? left : NUMBER_WINDOW;
    bool is_real = self->kind == VALUE_FLOAT || self->kind == VALUE_DOUBLE;
    hid_t memory = is_real                        ? H5T_NATIVE_DOUBLE
                   : self->kind == VALUE_UNSIGNED ? H5T_NATIVE_UINT64
                                                  : H5T_NATIVE_INT64;
    self->count = 0;
    self->first = row;
    TRY(hdf5_column_read(&self->column, memory, row, count, &self->window));
    self->count = count;
    return STATUS_OK;
}

/* With fewer strings where they are long; one alone may have RECORD_MAX_BYTES. `count` is 0
 * afterwards when the one at `row` has more. */
static status fill_strings(struct hdf5_table_column *self, int64_t row)
{
    int64_t left = self->column.length - row;
    int64_t count = left < STRING_WINDOW ? left : STRING_WINDOW;
    if (self->arena.used_bytes > STRING_WINDOW_BYTES) {
        arena_destroy(&self->arena); /* one huge string's; not kept */
        self->arena = (struct arena){0};
    }
    self->first = row;
    self->count = 0;
    for (;;) {
        arena_reset(&self->arena);
        status s = hdf5_column_read_strings(
            &self->column, row, count, count > 1 ? STRING_WINDOW_BYTES : RECORD_MAX_BYTES,
            &self->arena, self->window.strings.texts, self->window.strings.lengths);
        if (s != STATUS_LIMIT) {
            self->count = s == STATUS_OK ? count : 0;
            return s;
        }
        if (count == 1) {
            return STATUS_OK;
        }
        count = count / 4 > 0 ? count / 4 : 1;
    }
}

status hdf5_table_column_text(struct hdf5_table_column *self, int64_t row, const char **text,
                              size_t *length)
{
    *text = NULL;
    *length = 0;
    if (!is_in_window(self, row)) {
        TRY(fill_strings(self, row));
        if (self->count == 0) {
            return STATUS_OK;
        }
    }
    *text = self->window.strings.texts[row - self->first];
    *length = self->window.strings.lengths[row - self->first];
    return STATUS_OK;
}

/* ---- Values ---- */

/* As Python writes them, which JSON has no form for. */
static status write_real(double value, bool is_single, struct buffer *json)
{
    char text[32];
    if (isnan(value)) {
        return buffer_append_text(json, "NaN");
    }
    if (isinf(value)) {
        return buffer_append_text(json, value > 0 ? "Infinity" : "-Infinity");
    }
    if (!is_single) {
        return json_write_double(value, json);
    }
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtof(text, NULL) == (float)value) {
            break;
        }
    }
    return buffer_append_text(json, text);
}

static status write_named(const struct hdf5_table_column *self, int64_t value, struct buffer *json)
{
    if (self->is_boolean && (value == 0 || value == 1)) {
        return buffer_append_text(json, value == 1 ? "true" : "false");
    }
    for (int i = 0; i < self->name_count; i++) {
        if (self->names[i].value == value) {
            return json_write_string(self->names[i].name, strlen(self->names[i].name), json);
        }
    }
    return buffer_format(json, "%lld", (long long)value);
}

static status write_text(struct hdf5_table_column *self, int64_t row, struct buffer *json)
{
    const char *text;
    size_t length, bad_offset;
    TRY(hdf5_table_column_text(self, row, &text, &length));
    if (text == NULL) {
        return status_fail(STATUS_LIMIT, "%s: a string of more than 64 MiB", self->path);
    }
    if (!utf8_valid(text, length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "%s: byte %zu: not valid UTF-8", self->path, bad_offset);
    }
    return record_write_text(self->reading, text, length, json);
}

status hdf5_table_column_write(struct hdf5_table_column *self, int64_t row, struct buffer *json)
{
    if (self->kind == VALUE_TEXT) {
        return write_text(self, row, json);
    }
    if (!is_in_window(self, row)) {
        TRY(fill_numbers(self, row));
    }
    int64_t at = row - self->first;
    switch (self->kind) {
    case VALUE_SIGNED:
        return buffer_format(json, "%lld", (long long)self->window.integers[at]);
    case VALUE_UNSIGNED:
        return buffer_format(json, "%llu", (unsigned long long)self->window.naturals[at]);
    case VALUE_NAMED:
        return write_named(self, self->window.integers[at], json);
    default:
        return write_real(self->window.reals[at], self->kind == VALUE_FLOAT, json);
    }
}
