/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of Split and Replace: literals and regular expressions behind one face. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

status text_pattern_create(struct text_pattern *pattern, const char *text, size_t length,
                           bool is_regex, struct arena *arena)
{
    *pattern = (struct text_pattern){0};
    if (is_regex || length == 0) { /* an empty literal matches between all characters */
        return regex_create(text, length, &pattern->regex);
    }
    pattern->literal = arena_copy(arena, text, length);
    pattern->length = length;
    return pattern->literal != NULL ? STATUS_OK
                                    : status_fail(STATUS_NO_MEMORY, "out of memory for a pattern");
}

void pattern_scan_start(struct pattern_scan *scan, const struct text_pattern *pattern,
                        const char *text, size_t length)
{
    scan->pattern = pattern;
    if (pattern->regex != NULL) {
        regex_scan_start(&scan->regex, pattern->regex, text, length);
        return;
    }
    scan->text = text;
    scan->length = length;
    scan->position = 0;
}

status pattern_scan_next(struct pattern_scan *scan, bool *found)
{
    const struct text_pattern *pattern = scan->pattern;
    if (pattern->regex != NULL) {
        TRY(regex_scan_next(&scan->regex, found));
        scan->match_start = scan->regex.match_start;
        scan->match_end = scan->regex.match_end;
        return STATUS_OK;
    }
    const char *at = scan->length > scan->position
                         ? memmem(scan->text + scan->position, scan->length - scan->position,
                                  pattern->literal, pattern->length)
                         : NULL;
    *found = at != NULL;
    if (at != NULL) {
        scan->match_start = (size_t)(at - scan->text);
        scan->match_end = scan->match_start + pattern->length;
        scan->position = scan->match_end;
    }
    return STATUS_OK;
}

void pattern_scan_destroy(struct pattern_scan *scan)
{
    free(scan->regex.stack);
    *scan = (struct pattern_scan){0};
}

status text_pattern_replace(const struct text_pattern *pattern, struct pattern_scan *scan,
                            const char *text, size_t length, const char *content,
                            size_t content_length, struct buffer *out)
{
    size_t copied = 0;
    if (length == 0) { /* nothing matches in an empty text, not even an empty pattern */
        return STATUS_OK;
    }
    pattern_scan_start(scan, pattern, text, length);
    for (;;) {
        bool found;
        TRY(pattern_scan_next(scan, &found));
        if (!found) {
            return buffer_append(out, text + copied, length - copied);
        }
        TRY(buffer_append(out, text + copied, scan->match_start - copied));
        TRY(buffer_append(out, content, content_length));
        copied = scan->match_end;
    }
}
