/* SPDX-License-Identifier: Apache-2.0 */
/* JSON lines in, JSON lines out. */
#include "cli/json_lines.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

enum { MAX_LINE_BYTES = 64 << 20 };

/* Reads up to and without the newline; of a line that is too long, *too_long, the rest is skipped.
 */
static status read_line(struct buffer *line, bool *too_long, bool *more)
{
    int c;
    buffer_clear(line);
    *too_long = false;
    while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
        if (line->length == MAX_LINE_BYTES) {
            *too_long = true;
        } else {
            TRY(buffer_append_byte(line, (char)c));
        }
    }
    *more = c != EOF || line->length > 0;
    return ferror(stdin) ? status_fail_errno(STATUS_IO, "standard input") : STATUS_OK;
}

static status answer(json_line_handler handle, void *context, const struct buffer *line,
                     bool too_long, struct arena *arena, struct buffer *out)
{
    if (too_long) {
        char most[24];
        return status_fail(STATUS_LIMIT, "a line of more than %s",
                           format_bytes(MAX_LINE_BYTES, most));
    }
    struct json *value;
    TRY(json_parse(line->data, line->length, arena, &value));
    return handle(context, value, arena, out);
}

static status run(json_line_handler handle, void *context, struct buffer *line, struct arena *arena,
                  struct buffer *out, int64_t *bad_lines)
{
    for (;;) {
        bool too_long, more;
        TRY(read_line(line, &too_long, &more));
        if (!more) {
            return STATUS_OK;
        }
        if (line->length == 0 || strspn(line->data, " \t\r\v\f") == line->length) {
            continue;
        }
        arena_reset(arena);
        buffer_clear(out);
        status s = answer(handle, context, line, too_long, arena, out);
        if (s == STATUS_NO_MEMORY) {
            return s;
        }
        if (s != STATUS_OK) {
            ++*bad_lines;
            buffer_clear(out);
            TRY(buffer_append_text(out, "{\"error\":"));
            TRY(json_write_string(status_message(), strlen(status_message()), out));
            TRY(buffer_append_byte(out, '}'));
        }
        TRY(buffer_append_byte(out, '\n'));
        if (fwrite(out->data, 1, out->length, stdout) != out->length) {
            return status_fail_errno(STATUS_IO, "standard output");
        }
    }
}

int json_lines_run(json_line_handler handle, void *context)
{
    struct buffer line = {0}, out = {0};
    struct arena arena = {0};
    int64_t bad_lines = 0;
    status s = run(handle, context, &line, &arena, &out, &bad_lines);
    buffer_destroy(&line);
    buffer_destroy(&out);
    arena_destroy(&arena);
    if (s != STATUS_OK) {
        return cli_fail(EXIT_FAILED);
    }
    return cli_finish_output(bad_lines == 0 ? EXIT_DONE : EXIT_FAILED);
}
