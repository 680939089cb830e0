/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what a result has: of each member of struct result its dataset in the output file,
 * its place between ranks and in the journal, and its member of an exported line.
 *
 * Whoever sends, writes, reads or exports results walks the table and knows no column by name.
 * docs/adding.md says how a column is added. */
#ifndef SLUICE_DATA_OUTPUT_COLUMNS_H
#define SLUICE_DATA_OUTPUT_COLUMNS_H

#include <hdf5.h>

#include "sluice/data.h"

/* A result with what an output file has besides, which is made of the rest. */
struct stored_result {
    struct result result;
    int32_t status_code; /* result_status_code */
    int64_t copied_from; /* the row that a copy was made of; -1: it is none */
    int32_t file;        /* where there are several input files: which */
};

enum column_kind {
    COLUMN_INT32,
    COLUMN_INT64, /* signed or not */
    COLUMN_DOUBLE,
    COLUMN_NAME,      /* an enum or a bool, counted from 0; in a file an enumeration over int8 */
    COLUMN_TEXT,      /* const char * and its length; NULL: none */
    COLUMN_TOKEN_IDS, /* const int32_t *; NULL: none. What is missing in a file is -1 */
    COLUMN_FLOATS,    /* const float *; NULL: none. What is missing in a file is NaN */
};

enum column_shape {
    PER_RESULT, /* one value; a list of values where it has a width */
    PER_TOKEN,  /* one for each of completion_tokens, or as many as the width: flat in a file */
    COLUMN_SHAPES,
};

/* How a flat shape is cut into results. */
struct flat_shape {
    size_t count;        /* place in struct stored_result of the int32_t number of items */
    const char *counted; /* that number's name */
    const char *offsets; /* path of the dataset with [results + 1] places where results begin */
};
extern const struct flat_shape flat_shapes[COLUMN_SHAPES]; /* PER_RESULT: nothing */
int32_t flat_shape_count(enum column_shape shape, const struct stored_result *result);

/* How it gets from its leader to rank 0 and through the journal. */
enum column_travel {
    TRAVEL_NOT,  /* it is made where it is needed */
    TRAVEL_HEAD, /* numbers: at a fixed place of the head; texts: at the end, in the table's order,
                    with their lengths in the head. The head is full: no column joins these */
    TRAVEL_PART, /* behind the head in order of `bit`, where that bit of the head is set */
};

/* Whether an exported line of JSON has it. */
enum column_json {
    JSON_NOT,
    JSON_THERE,  /* where the file has the column and the result a value of it */
    JSON_FILLED, /* a text that is not empty */
    JSON_ALWAYS,
    JSON_ID,    /* always; a number where id_is_number */
    JSON_VALUE, /* a text that is JSON: there as JSON_THERE, and written as the value it is */
    JSON_TRUTH, /* an enum of none, false and true: there but for none, and written without quotes
                 */
};

struct result_column {
    const char *name; /* of the JSON line's member */
    const char *path; /* of the dataset; NULL: in no file */
    enum column_kind kind;
    enum column_shape shape;
    size_t member, member_bytes; /* its place and size in struct stored_result */
    size_t length;               /* COLUMN_TEXT: place of the length */
    /* Arrays: place of the int32_t number of values that a result, or each of its items, has; 0:
     * one an item. */
    size_t width;
    int32_t widest;         /* what that number is at most */
    const char *width_name; /* for documentation */
    /* COLUMN_NAME: the names, and the last value. */
    const char *(*value_name)(int value);
    int last;

    /* When a file has it. 0: always; else one more than the place in struct output_columns of a
     * bool, or with a width of the int32_t width of the column, 0 for none. */
    size_t when;
    bool is_required;   /* files of every version have it; another may be missing, and is 0 then */
    bool is_empty_list; /* a list of no items is there, unless of an error */

    enum column_travel travel;
    unsigned bit; /* the first of those that a COLUMN_NAME takes for its value; columns of the
                     same bit stand one after the other, and are all there or none */
    size_t length_bytes; /* of a text behind the head: 1 or 4 */

    enum column_json json;
    bool has_name;  /* a field of the input with this name is renamed, there or not */
    bool is_choice; /* OpenAI's form has it in a choice, under its name */
};

#define OUTPUT_ROWS_PATH  "/results/row"  /* says how many results there are */
#define OUTPUT_FILES_PATH "/results/file" /* counts the files of /inputs */

enum { RESULT_COLUMNS_MOST = 64 };
extern const struct result_column result_columns[];
extern const size_t result_column_count;

/* The member: of a number or name its value, of the others the pointer. */
const void *column_member(const struct result_column *column, const struct stored_result *result);
void *column_member_of(const struct result_column *column, struct stored_result *result);
/* Of an array or a text: the pointer. */
const void *column_pointer(const struct result_column *column, const struct stored_result *result);
size_t column_text_length(const struct result_column *column, const struct stored_result *result);
int column_name_value(const struct result_column *column, const struct stored_result *result);
void column_set_name(const struct result_column *column, int value, struct stored_result *result);
/* Of an array: how many items the result has by its count, and values by its width. */
size_t column_items(const struct result_column *column, const struct stored_result *result);
int32_t column_width(const struct result_column *column, const struct stored_result *result);
void column_set_width(const struct result_column *column, int32_t width,
                      struct stored_result *result);
void column_set_pointer(const struct result_column *column, const void *pointer,
                        struct stored_result *result);
void column_set_text(const struct result_column *column, const char *text, size_t length,
                     struct stored_result *result);

bool column_is_array(const struct result_column *column);
/* The first of those with its bit, and whether it is that itself. */
const struct result_column *column_leader(const struct result_column *column);
bool column_leads(const struct result_column *column);
/* Whether a value of an array stands for a missing one. */
bool column_is_fill(const struct result_column *column, const void *value);
/* Whether the result has a value of it. Arrays and texts: that is not NULL, and so for all columns
 * of the same bit. A double: that is finite. */
bool column_is_there(const struct result_column *column, const struct stored_result *result);
/* Whether counts are none below 0 and names are such as the table has. */
bool result_columns_sane(const struct stored_result *result);

/* How wide the column is in a file of these columns: 0 where that has none, 1 for single values. */
int32_t column_file_width(const struct result_column *column, const struct output_columns *columns);
/* The member that `when` says, NULL for none: a bool, with a width an int32_t. */
void *column_when(const struct result_column *column, struct output_columns *columns);

/* The type of a value in memory, predefined: not to be closed. Of texts none. */
hid_t column_memory_type(const struct result_column *column);
/* Of a COLUMN_NAME: the type of its dataset, for the caller to close; negative on failure. */
hid_t column_enum_type(const struct result_column *column);
/* As docs/output-format.md has it: "float32 [tokens]". */
status column_describe_type(const struct result_column *column, struct buffer *out) MUST_CHECK;

#endif
