/* SPDX-License-Identifier: Apache-2.0 */
/* From cells to wrapped lines. */
#include "cli/manual/terminal.h"

#include <string.h>

enum { CELLS = 12, INDENT = 4 };

struct cell {
    const char *text;
    int length;
};

/* The cells of a line "| a | b |"; a bar behind a backslash is part of one. */
static int split(const char *line, int length, struct cell cells[CELLS])
{
    int count = 0, start = 1;
    for (int i = 1; i < length && count < CELLS; i++) {
        if (line[i] != '|' || line[i - 1] == '\\') {
            continue;
        }
        int from = start, to = i;
        while (from < to && line[from] == ' ') {
            from++;
        }
        while (to > from && line[to - 1] == ' ') {
            to--;
        }
        cells[count++] = (struct cell){line + from, to - from};
        start = i + 1;
    }
    return count;
}

/* "| --- | --- |" */
static bool is_ruler(const char *line, int length)
{
    return (int)strspn(line, "|- ") >= length;
}

/* Columns of a text: its characters. */
static int width_of(const char *text, int length)
{
    int width = 0;
    for (int i = 0; i < length; i++) {
        width += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return width;
}

/* Where wrapped text has come to. */
struct wrap {
    struct buffer *out;
    int columns, indent, column; /* column 0: nothing stands on the line */
};

static status put_word(struct wrap *wrap, const char *word, int length)
{
    int width = width_of(word, length);
    if (wrap->column > 0 && wrap->column + 1 + width > wrap->columns) {
        TRY(buffer_append_byte(wrap->out, '\n'));
        wrap->column = 0;
    }
    TRY(wrap->column == 0 ? buffer_format(wrap->out, "%*s", wrap->indent, "")
                          : buffer_append_byte(wrap->out, ' '));
    wrap->column = (wrap->column == 0 ? wrap->indent : wrap->column + 1) + width;
    return buffer_append(wrap->out, word, (size_t)length);
}

/* Backquotes are Markdown's, and so is the backslash before a bar. */
static status put(struct wrap *wrap, const char *text, int length, const char *behind)
{
    struct buffer plain = {0};
    status s = STATUS_OK;
    for (int i = 0; s == STATUS_OK && i < length; i++) {
        bool skipped = text[i] == '`' || (text[i] == '\\' && i + 1 < length && text[i + 1] == '|');
        s = skipped ? STATUS_OK : buffer_append_byte(&plain, text[i]);
    }
    if (s == STATUS_OK) {
        s = buffer_append_text(&plain, behind);
    }
    char *rest = plain.data;
    for (char *word = strsep(&rest, " "); s == STATUS_OK && word != NULL;
         word = strsep(&rest, " ")) {
        s = *word != '\0' ? put_word(wrap, word, (int)strlen(word)) : STATUS_OK;
    }
    buffer_destroy(&plain);
    return s;
}

static status end_line(struct wrap *wrap)
{
    status s = wrap->column > 0 ? buffer_append_byte(wrap->out, '\n') : STATUS_OK;
    wrap->column = 0;
    return s;
}

static status write_row(const struct cell *heads, const struct cell *cells, int count,
                        struct wrap *wrap)
{
    wrap->indent = 0;
    TRY(put(wrap, cells[0].text, cells[0].length, ""));
    TRY(end_line(wrap));
    wrap->indent = INDENT;
    int last = count - 1;
    for (int i = 1; i < last; i++) {
        if (cells[i].length > 0) {
            bool more = false;
            for (int j = i + 1; j < last; j++) {
                more |= cells[j].length > 0;
            }
            TRY(put(wrap, heads[i].text, heads[i].length, heads[i].length > 0 ? ":" : ""));
            TRY(put(wrap, cells[i].text, cells[i].length, more ? ";" : ""));
        }
    }
    TRY(end_line(wrap));
    TRY(last > 0 ? put(wrap, cells[last].text, cells[last].length, "") : STATUS_OK);
    TRY(end_line(wrap));
    wrap->indent = 0;
    return STATUS_OK;
}

status terminal_write(const char *markdown, int columns, struct buffer *out)
{
    struct cell heads[CELLS] = {{0}}, cells[CELLS];
    struct wrap wrap = {.out = out, .columns = columns};
    bool in_table = false;
    for (const char *line = markdown; *line != '\0';) {
        int length = (int)strcspn(line, "\n");
        if (line[0] != '|') {
            in_table = false;
            TRY(put(&wrap, line, length, ""));
            TRY(length > 0 ? end_line(&wrap) : buffer_append_byte(out, '\n'));
        } else if (!in_table) {
            in_table = true;
            split(line, length, heads);
        } else if (!is_ruler(line, length)) {
            int count = split(line, length, cells);
            TRY(count > 0 ? write_row(heads, cells, count, &wrap) : STATUS_OK);
        }
        line += length + (line[length] == '\n');
    }
    return STATUS_OK;
}
