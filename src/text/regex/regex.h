/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of tokenizer.json: the syntax and the semantics of Oniguruma as far as
 * tokenizers use them, over well-formed UTF-8.
 *
 * Own work and not a library's, for exactness: character classes follow the reference's version of
 * Unicode, `^` and `$` match at every line, `[a&&[^b]]` intersects, `{n,m}+` repeats, `\h` is a
 * hexadecimal digit. Not there (STATUS_UNSUPPORTED): back references, \X, \G, \K, recursion,
 * conditionals. Matching backtracks, but a run of one class is one step of memory and the work is
 * bounded, so that no pattern takes more than linear time. */
#ifndef SLUICE_TEXT_TOKENIZER_REGEX_H
#define SLUICE_TEXT_TOKENIZER_REGEX_H

#include "sluice/base.h"

struct regex;

/* Immutable afterwards; may be used by many threads. The caller destroys *out. STATUS_INVALID,
 * STATUS_UNSUPPORTED with the offset in the pattern. */
status regex_create(const char *pattern, size_t length, struct regex **out) MUST_CHECK;
void regex_destroy(struct regex *regex);

/* Walks over the matches in one text; zero-initialise, then set the fields of the first group.
 * `stack` may be taken over from scan to scan to save allocations; the caller frees it. */
struct regex_scan {
    const struct regex *regex;
    const char *text; /* well-formed UTF-8 */
    size_t length;

    struct regex_point *stack;
    size_t stack_capacity;

    size_t position;     /* where the next search starts */
    size_t last_end;     /* of the match before; SIZE_MAX before the first */
    uint64_t steps_left; /* set by regex_scan_start */
    size_t match_start, match_end;
};
void regex_scan_start(struct regex_scan *scan, const struct regex *regex, const char *text,
                      size_t length);
/* Finds the next match; *found says whether there was one. An empty match right behind the match
 * before is passed over. STATUS_LIMIT when the pattern takes too many steps on this text. */
status regex_scan_next(struct regex_scan *scan, bool *found) MUST_CHECK;

#endif
