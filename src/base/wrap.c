/* SPDX-License-Identifier: Apache-2.0 */
/* Words in lines of a width, and lines for whoever reads standard error. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sluice/base.h"

/* Characters of a word, of which each takes a column. */
static int count_columns(const char *word, size_t length)
{
    int columns = 0;
    for (size_t from = 0, size; from < length; from += size, columns++) {
        utf8_decode(word + from, length - from, &size);
    }
    return columns;
}

status text_wrap(const char *text, int column, int indent, int columns, struct buffer *out)
{
    bool is_first = true;
    for (const char *word = text; *word != '\0'; is_first = false) {
        const size_t length = strcspn(word, " \n");
        const int width = count_columns(word, length);
        if (!is_first && column + 1 + width > columns) {
            TRY(buffer_format(out, "\n%*s", indent, ""));
            column = indent;
        } else if (!is_first) {
            TRY(buffer_append_byte(out, ' '));
            column++;
        }
        TRY(buffer_append(out, word, length));
        column += width;
        word += length + (word[length] != '\0');
    }
    return buffer_append_byte(out, '\n');
}

/* 0 where standard error is no terminal, or one that does not say how wide it is. */
static int terminal_columns(void)
{
    enum { LEAST = 40 };
    struct winsize size;
    const bool told = isatty(STDERR_FILENO) && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    return told && size.ws_col >= LEAST ? size.ws_col : 0;
}

void log_put_line(const char *line)
{
    enum { INDENT = 4 };
    const int columns = terminal_columns();
    struct buffer text = {0};
    const status s = columns > 0 ? text_wrap(line, 0, INDENT, columns, &text)
                                 : buffer_format(&text, "%s\n", line);
    if (s == STATUS_OK) {
        fputs(text.data, stderr); /* one write, so that lines of several ranks do not mix */
    } else {
        fprintf(stderr, "%s\n", line);
    }
    buffer_destroy(&text);
}
