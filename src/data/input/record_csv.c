/* SPDX-License-Identifier: Apache-2.0 */
/* CSV and TSV: quotes, embedded newlines, and what goes wrong with them.
 *
 * A quote that is opened by mistake would make one field of all that follows up to the next quote.
 * So a record that turns out broken after its first line is given up at the line in which its quote
 * was opened, and reading goes on with the line after that: what is read stays in the window until
 * the record is whole. Every line is looked at twice at most, because what makes a record broken is
 * the very next quote, or that there is none. */
#include "data/input/record_csv.h"

#include <stdlib.h>
#include <string.h>

#include "data/input/record_json.h"
#include "data/row/prompt_template.h"

enum { BLOCK_BYTES = 128 * 1024, MOST_COLUMNS = 16384 };

struct column {
    char *name;
    enum column_reading reading;
};

struct record_csv {
    struct byte_source *source;
    char separator;
    struct column *columns;
    size_t column_count;
    /* Text from the source; the record that is read begins at `start`. */
    struct buffer window;
    size_t start, next;
    bool ended;
    int64_t line; /* 1-based, in which `next` stands */
    /* Fields of the record, end to end without their quotes. */
    struct buffer values;
    size_t *ends; /* [column_count] in values */
    size_t ends_capacity;
    size_t field_count;
};

/* ---- The window ---- */

/* Appends a block; lets go of records that are done once they are most of the window. */
static status fill(struct record_csv *self)
{
    if (self->start > BLOCK_BYTES && self->start > self->window.length / 2) {
        memmove(self->window.data, self->window.data + self->start,
                self->window.length - self->start);
        self->window.length -= self->start;
        self->next -= self->start;
        self->start = 0;
    }
    size_t got;
    TRY(buffer_reserve(&self->window, BLOCK_BYTES));
    TRY(status_context(
        byte_source_read(self->source, self->window.data + self->window.length, BLOCK_BYTES, &got),
        "line %lld", (long long)self->line));
    self->window.length += got;
    self->window.data[self->window.length] = '\0';
    self->ended = got == 0;
    return STATUS_OK;
}

/* The byte at `next`, -1 at the end. */
static status peek(struct record_csv *self, int *byte)
{
    if (self->next == self->window.length && !self->ended) {
        TRY(fill(self));
    }
    *byte = self->next < self->window.length ? (unsigned char)self->window.data[self->next] : -1;
    return STATUS_OK;
}

/* To the start of the next line, without keeping what is passed. */
static status skip_line(struct record_csv *self)
{
    for (;;) {
        int byte;
        TRY(peek(self, &byte));
        if (byte < 0) {
            return STATUS_OK;
        }
        const char *from = self->window.data + self->next;
        const char *newline = memchr(from, '\n', self->window.length - self->next);
        self->next =
            newline != NULL ? (size_t)(newline + 1 - self->window.data) : self->window.length;
        self->start = self->next;
        if (newline != NULL) {
            self->line++;
            return STATUS_OK;
        }
    }
}

/* ---- One record ---- */

enum field_state { AT_START, PLAIN, QUOTED, AFTER_QUOTE };

/* A record on its way. */
struct csv_parse {
    enum field_state state;
    int64_t quote_line; /* in which the latest quote was opened */
    size_t resume;      /* where the line after that begins; 0: not read yet */
    const char *fault;  /* what is wrong, NULL: nothing */
};

static status end_field(struct record_csv *self)
{
    void *ends = self->ends;
    status s = array_grow(&ends, &self->ends_capacity, self->field_count + 1, sizeof *self->ends);
    self->ends = ends;
    TRY(s);
    self->ends[self->field_count++] = self->values.length;
    return STATUS_OK;
}

/* Takes a byte of a field; *done at the record's end. A line's end is a newline, or a carriage
 * return and a newline. */
static status take(struct record_csv *self, struct csv_parse *parse, int byte, bool *done)
{
    bool ends_line = byte == '\n' || byte < 0;
    if (parse->state == QUOTED && byte < 0) {
        parse->fault = "is not closed";
        return STATUS_OK;
    }
    if (parse->state == QUOTED && byte != '"') {
        return buffer_append_byte(&self->values, (char)byte);
    }
    if (byte == '"' && parse->state != PLAIN) {
        if (parse->state == AFTER_QUOTE) { /* two of them are one */
            parse->state = QUOTED;
            return buffer_append_byte(&self->values, '"');
        }
        if (parse->state == AT_START) {
            parse->quote_line = self->line;
            parse->resume = 0;
        }
        parse->state = parse->state == AT_START ? QUOTED : AFTER_QUOTE;
        return STATUS_OK;
    }
    if (byte == self->separator || ends_line) {
        parse->state = AT_START;
        *done = ends_line;
        return end_field(self);
    }
    if (byte == '\r') { /* of a line's end, or the field's own */
        int after;
        self->next++;
        TRY(peek(self, &after));
        self->next--;
        if (after == '\n' || after < 0) {
            return STATUS_OK;
        }
    }
    if (parse->state == AFTER_QUOTE) {
        parse->fault = "is closed in the middle of a field";
        return STATUS_OK;
    }
    parse->state = PLAIN;
    return buffer_append_byte(&self->values, (char)byte);
}

static void step_over(struct record_csv *self, struct csv_parse *parse, int byte)
{
    self->next += byte >= 0;
    if (byte == '\n') {
        self->line++;
        if (parse->resume == 0) {
            parse->resume = self->next - self->start; /* the window may move */
        }
    }
}

/* Begins the reason why a record is bad. */
static struct buffer *spoil(struct record *record)
{
    record->kind = RECORD_BAD;
    buffer_clear(&record->bytes);
    return &record->bytes;
}

/* After a record that is given up: the line after the one in which its quote was opened. */
static status resume(struct record_csv *self, const struct csv_parse *parse)
{
    if (parse->quote_line < self->line && parse->resume > 0) {
        self->next = self->start + parse->resume;
        self->line = parse->quote_line + 1;
        return STATUS_OK;
    }
    return skip_line(self);
}

/* Reads a record into `values` and `ends`. Where it is broken, `record` says so and is RECORD_BAD;
 * *more is false at the end of the data. */
static status read_record(struct record_csv *self, struct record *record, bool *more)
{
    struct csv_parse parse = {.state = AT_START, .quote_line = self->line, .resume = 1};
    bool done = false;
    int byte;
    self->start = self->next;
    self->field_count = 0;
    buffer_clear(&self->values);
    TRY(peek(self, &byte));
    *more = byte >= 0;
    record->position = self->line;
    while (*more && !done) {
        if (self->next - self->start > RECORD_MAX_BYTES) {
            bool quoted = parse.state == QUOTED;
            TRY(quoted ? buffer_format(spoil(record),
                                       "the quote opened in line %lld is not closed within 64 MiB",
                                       (long long)parse.quote_line)
                       : buffer_append_text(spoil(record), "a line of more than 64 MiB"));
            return quoted ? resume(self, &parse) : skip_line(self);
        }
        TRY(take(self, &parse, byte, &done));
        if (parse.fault != NULL) {
            TRY(buffer_format(spoil(record), "the quote opened in line %lld %s",
                              (long long)parse.quote_line, parse.fault));
            return resume(self, &parse);
        }
        step_over(self, &parse, byte);
        TRY(done ? STATUS_OK : peek(self, &byte));
    }
    return STATUS_OK;
}

static const char *field_at(const struct record_csv *self, size_t index, size_t *length)
{
    size_t begin = index > 0 ? self->ends[index - 1] : 0;
    *length = self->ends[index] - begin;
    return self->values.data != NULL ? self->values.data + begin : "";
}

/* ---- The header ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static status check_unique(const struct record_csv *self)
{
    const char **names = malloc(self->column_count * sizeof *names);
    if (names == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the header");
    }
    for (size_t i = 0; i < self->column_count; i++) {
        names[i] = self->columns[i].name;
    }
    qsort(names, self->column_count, sizeof *names, compare_names);
    status s = STATUS_OK;
    for (size_t i = 1; s == STATUS_OK && i < self->column_count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            s = status_fail(STATUS_INVALID, "line 1: two columns are called %.60s", names[i]);
        }
    }
    free(names);
    return s;
}

static bool has_column(const struct record_csv *self, const char *name, size_t length)
{
    for (size_t i = 0; i < self->column_count; i++) {
        if (strlen(self->columns[i].name) == length &&
            memcmp(self->columns[i].name, name, length) == 0) {
            return true;
        }
    }
    return false;
}

static status require_column(const struct record_csv *self, const char *name, size_t length,
                             const char *key)
{
    if (name == NULL || has_column(self, name, length)) {
        return STATUS_OK;
    }
    size_t shown = self->column_count < 8 ? self->column_count : 8;
    struct buffer there = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < shown; i++) {
        s = buffer_format(&there, "%s%.40s", i > 0 ? ", " : "", self->columns[i].name);
    }
    if (s == STATUS_OK) {
        s = status_fail(STATUS_INVALID, "no column %.*s (%s); there are %s%s",
                        length < 60 ? (int)length : 60, name, key, there.data,
                        shown < self->column_count ? ", …" : "");
    }
    buffer_destroy(&there);
    return s;
}

static status check_fields(const struct record_csv *self,
                           const struct record_reader_options *options)
{
    static const char *const usual[] = {"prompt", "text", "messages", "prompt_token_ids", "input"};
    const struct {
        const char *name, *key;
    } named[] = {{options->prompt_field, "data.prompt_field"},
                 {options->id_field, "data.id_field"},
                 {options->completion_field, "data.completion_field"}};
    for (size_t i = 0; i < COUNT_OF(named); i++) {
        TRY(require_column(self, named[i].name, named[i].name != NULL ? strlen(named[i].name) : 0,
                           named[i].key));
    }
    struct template_piece piece;
    for (const char *rest = options->prompt_template;
         rest != NULL && prompt_template_next(&rest, &piece);) {
        TRY(require_column(self, piece.is_column ? piece.text : NULL, piece.length,
                           "data.prompt_template"));
    }
    if (options->prompt_field != NULL || options->prompt_template != NULL) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < COUNT_OF(usual); i++) {
        if (has_column(self, usual[i], strlen(usual[i]))) {
            return STATUS_OK;
        }
    }
    return require_column(self, "prompt", strlen("prompt"),
                          "nor text, messages, prompt_token_ids; data.prompt_field names another, "
                          "data.prompt_template makes prompts of columns");
}

/* Asked of the bytes, for what is JSON may be no record. */
static status refuse_json_lines(const struct record_csv *self)
{
    const char *text = self->window.data + self->start;
    bool is_object = self->window.length - self->start > 1 && text[0] == '{' &&
                     memchr("\"} ", text[1], 3) != NULL;
    return is_object ? status_fail(STATUS_UNSUPPORTED, "holds JSON lines; call it .jsonl")
                     : STATUS_OK;
}

/* What is called .csv and is something else, as far as its first line tells. */
static status check_look(const struct record_csv *self, size_t length)
{
    const char *line = self->window.data + self->start;
    const char *return_at = memchr(line, '\r', length);
    if (return_at != NULL && return_at + 1 < line + length && return_at[1] != '\n') {
        return status_fail(STATUS_UNSUPPORTED,
                           "line 1: lines end with a carriage return alone; write newlines");
    }
    if (self->separator == '\t' && self->field_count == 1 && memchr(line, ',', length) != NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "line 1: columns are separated by commas; call it .csv");
    }
    if (self->separator == ',' && self->field_count == 1 &&
        (memchr(line, ';', length) != NULL || memchr(line, '\t', length) != NULL)) {
        return status_fail(STATUS_UNSUPPORTED,
                           "line 1: columns are separated by %s; write commas%s",
                           memchr(line, ';', length) != NULL ? "semicolons" : "tabs",
                           memchr(line, ';', length) != NULL ? "" : ", or call it .tsv");
    }
    return STATUS_OK;
}

static status take_names(struct record_csv *self, const struct record_reader_options *options)
{
    if (self->field_count > MOST_COLUMNS) {
        return status_fail(STATUS_LIMIT, "line 1: %zu columns; there may be %d", self->field_count,
                           MOST_COLUMNS);
    }
    self->columns = calloc(self->field_count, sizeof *self->columns);
    if (self->columns == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the header");
    }
    for (size_t i = 0; i < self->field_count; i++) {
        size_t length;
        const char *name = field_at(self, i, &length);
        if (length == 0) {
            return status_fail(STATUS_INVALID,
                               "line 1: column %zu has no name (pandas: index=False leaves its "
                               "own out)",
                               i + 1);
        }
        if (memchr(name, '\0', length) != NULL || !utf8_valid(name, length, NULL)) {
            return status_fail(STATUS_INVALID, "line 1: the name of column %zu is not UTF-8 text",
                               i + 1);
        }
        self->columns[i].name = strndup(name, length);
        if (self->columns[i].name == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for the header");
        }
        self->columns[i].reading = column_reading_of(self->columns[i].name, options);
        self->column_count++;
    }
    return check_unique(self);
}

/* Nothing but the line's end. */
static bool is_blank(const struct record_csv *self)
{
    bool is_quoted = self->next > self->start && self->window.data[self->start] == '"';
    return self->field_count == 1 && self->ends[0] == 0 && !is_quoted;
}

static status read_header(struct record_csv *self, const struct record_reader_options *options)
{
    struct record record = {0};
    bool more;
    int byte;
    TRY(peek(self, &byte));
    if (self->window.length >= 3 && memcmp(self->window.data, "\xEF\xBB\xBF", 3) == 0) {
        self->next = 3;
    }
    self->start = self->next;
    TRY(refuse_json_lines(self));
    status s = read_record(self, &record, &more);
    if (s == STATUS_OK && record.kind == RECORD_BAD) {
        s = status_fail(STATUS_INVALID, "line 1: %s", record.bytes.data);
    } else if (s == STATUS_OK && (!more || is_blank(self))) {
        s = status_fail(STATUS_INVALID, "line 1: expected a line with the columns' names");
    }
    buffer_destroy(&record.bytes);
    TRY(s);
    TRY(check_look(self, self->next - self->start));
    TRY(take_names(self, options));
    return check_fields(self, options);
}

status record_csv_open(struct byte_source *source, char separator,
                       const struct record_reader_options *options, struct record_csv **out)
{
    *out = NULL;
    struct record_csv *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for reading");
    }
    self->source = source;
    self->separator = separator;
    self->line = 1;
    status s = read_header(self, options);
    if (s != STATUS_OK) {
        record_csv_close(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

/* ---- Rows ---- */

static status write_column(const struct record_csv *self, size_t index, struct buffer *json)
{
    const struct column *column = &self->columns[index];
    size_t length, bad_offset;
    const char *text = field_at(self, index, &length);
    if (!utf8_valid(text, length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "column %.60s: byte %zu: not valid UTF-8", column->name,
                           bad_offset);
    }
    if (length > 0 && memchr(text, '\0', length) != NULL) {
        return status_fail(STATUS_INVALID, "column %.60s: holds a NUL character", column->name);
    }
    TRY(buffer_append_byte(json, index == 0 ? '{' : ','));
    TRY(json_write_string(column->name, strlen(column->name), json));
    TRY(buffer_append_byte(json, ':'));
    return record_write_text(column->reading, text, length, json);
}

static status write_row(const struct record_csv *self, int64_t first_line, struct record *record)
{
    if (self->field_count != self->column_count) {
        TRY(buffer_format(spoil(record), "%zu field%s where the header has %zu", self->field_count,
                          self->field_count == 1 ? "" : "s", self->column_count));
        bool one_line = self->line - first_line <= 1;
        return one_line ? STATUS_OK
                        : buffer_format(&record->bytes, ", up to line %lld",
                                        (long long)(self->line - 1));
    }
    for (size_t i = 0; i < self->column_count; i++) {
        TRY(write_column(self, i, &record->bytes));
        if (record->bytes.length > RECORD_MAX_BYTES) {
            return status_fail(STATUS_LIMIT, "a row of more than 64 MiB");
        }
    }
    return buffer_append_byte(&record->bytes, '}');
}

status record_csv_next(struct record_csv *self, struct record *record, bool *more)
{
    record->kind = RECORD_JSON;
    buffer_clear(&record->bytes);
    do {
        TRY(read_record(self, record, more));
    } while (*more && record->kind == RECORD_JSON && is_blank(self));
    if (!*more || record->kind == RECORD_BAD) {
        return STATUS_OK;
    }
    status s = write_row(self, record->position, record);
    return s == STATUS_OK ? s : record_spoil(record, s);
}

void record_csv_close(struct record_csv *self)
{
    if (self == NULL) {
        return;
    }
    for (size_t i = 0; i < self->column_count; i++) {
        free(self->columns[i].name);
    }
    free(self->columns);
    free(self->ends);
    buffer_destroy(&self->window);
    buffer_destroy(&self->values);
    free(self);
}
