/* SPDX-License-Identifier: Apache-2.0 */
/* Matcher of regular expressions: runs the program with a stack of its own. */
#include "text/regex/regex.h"

#include "text/regex/regex_internal.h"

/* Per byte of text, and once: far above what a pattern needs that does not backtrack over and over.
 */
enum { STEPS_PER_BYTE = 512, STEPS_AT_LEAST = 1 << 22, MAX_STACK = 1 << 23 };

enum point_kind { POINT_BRANCH, POINT_GIVE_BACK, POINT_TAKE_MORE, POINT_REGISTER };

/* What to try when the way taken fails. */
struct regex_point {
    uint32_t instruction; /* or the register */
    uint32_t kind;
    size_t position;
    size_t other; /* GIVE_BACK: the least position; TAKE_MORE: how many characters more at most */
};

struct matcher {
    struct regex_scan *scan;
    size_t used; /* of scan->stack */
    size_t registers[REGEX_MAX_REGISTERS];
};

static status push(struct matcher *matcher, struct regex_point point)
{
    struct regex_scan *scan = matcher->scan;
    if (matcher->used == scan->stack_capacity) {
        if (matcher->used >= MAX_STACK) {
            return status_fail(STATUS_LIMIT, "a regular expression runs too deep on this text");
        }
        void *stack = scan->stack;
        status s =
            array_grow(&stack, &scan->stack_capacity, matcher->used + 1, sizeof *scan->stack);
        scan->stack = stack;
        if (s != STATUS_OK) {
            return s;
        }
    }
    scan->stack[matcher->used++] = point;
    return STATUS_OK;
}

static bool is_word_at(const struct regex_scan *scan, size_t position)
{
    return unicode_set_has(&scan->regex->sets[scan->regex->word_set],
                           unicode_next(scan->text, &position));
}

static bool assertion_holds(const struct regex_scan *scan, enum regex_assertion which,
                            size_t position)
{
    const char *text = scan->text;
    size_t length = scan->length;
    switch (which) {
    case REGEX_LINE_START:
        /* Not behind a newline that ends the text, as Ruby has it. */
        return position == 0 || (text[position - 1] == '\n' && position < length);
    case REGEX_LINE_END:
        return position == length || text[position] == '\n';
    case REGEX_TEXT_START:
        return position == 0;
    case REGEX_TEXT_END:
        return position == length;
    case REGEX_TEXT_END_OR_NEWLINE:
        return position == length || (position + 1 == length && text[position] == '\n');
    case REGEX_WORD_BOUNDARY:
    case REGEX_NOT_WORD_BOUNDARY: {
        bool before = position > 0 && is_word_at(scan, unicode_previous(text, position));
        bool after = position < length && is_word_at(scan, position);
        return (before != after) == (which == REGEX_WORD_BOUNDARY);
    }
    }
    return false;
}

/* Takes up to `most` characters of the set from `position`; returns how many. */
static size_t take_run(const struct regex_scan *scan, const struct unicode_set *set, uint32_t most,
                       size_t *position)
{
    size_t count = 0, at = *position;
    while (at < scan->length && count < most) {
        size_t next = at;
        if (!unicode_set_has(set, unicode_next(scan->text, &next))) {
            break;
        }
        at = next;
        count++;
    }
    *position = at;
    return count;
}

static status run(struct matcher *matcher, uint32_t start, size_t position, size_t target,
                  bool *matched, size_t *end);

/* Whether what a look-behind looks for ends at `position`. */
static status look_behind(struct matcher *matcher, uint32_t at, size_t position, bool *matched)
{
    const struct regex_scan *scan = matcher->scan;
    const struct regex_instruction *instruction = &scan->regex->program[at];
    size_t from = position, unused;
    *matched = false;
    for (uint32_t count = 0; count <= instruction->high; count++) {
        if (count >= instruction->low) {
            TRY(run(matcher, at + 1, from, position, matched, &unused));
            if (*matched) {
                return STATUS_OK;
            }
        }
        if (from == 0) {
            return STATUS_OK;
        }
        from = unicode_previous(scan->text, from);
    }
    return STATUS_OK;
}

/* Goes back to the newest point above `base`; false where there is none. */
static bool backtrack(struct matcher *matcher, size_t base, uint32_t *at, size_t *position)
{
    struct regex_scan *scan = matcher->scan;
    while (matcher->used > base) {
        struct regex_point *point = &scan->stack[matcher->used - 1];
        switch ((enum point_kind)point->kind) {
        case POINT_BRANCH:
            *at = point->instruction;
            *position = point->position;
            matcher->used--;
            return true;
        case POINT_GIVE_BACK:
            point->position = unicode_previous(scan->text, point->position);
            *at = point->instruction + 1;
            *position = point->position;
            if (point->position <= point->other) {
                matcher->used--;
            }
            return true;
        case POINT_TAKE_MORE: {
            const struct regex_instruction *loop = &scan->regex->program[point->instruction];
            if (point->other == 0 ||
                take_run(scan, &scan->regex->sets[loop->a], 1, &point->position) == 0) {
                matcher->used--;
                break;
            }
            point->other--;
            *at = point->instruction + 1;
            *position = point->position;
            return true;
        }
        case POINT_REGISTER:
            matcher->registers[point->instruction] = point->position;
            matcher->used--;
            break;
        }
    }
    return false;
}

static status run_loop(struct matcher *matcher, uint32_t at, size_t *position, bool *alive)
{
    struct regex_scan *scan = matcher->scan;
    const struct regex_instruction *loop = &scan->regex->program[at];
    const struct unicode_set *set = &scan->regex->sets[loop->a];
    size_t count = take_run(scan, set, loop->low, position);
    *alive = count == loop->low;
    if (!*alive) {
        return STATUS_OK;
    }
    uint32_t more = loop->high == REGEX_UNBOUNDED ? REGEX_UNBOUNDED : loop->high - loop->low;
    size_t least = *position;
    if (loop->mode == REGEX_LAZY) {
        return more == 0 ? STATUS_OK
                         : push(matcher, (struct regex_point){at, POINT_TAKE_MORE, least, more});
    }
    count += take_run(scan, set, more, position);
    scan->steps_left -= count < scan->steps_left ? count : scan->steps_left;
    return loop->mode == REGEX_POSSESSIVE || *position == least
               ? STATUS_OK
               : push(matcher, (struct regex_point){at, POINT_GIVE_BACK, *position, least});
}

/* Runs from instruction `start` to ACCEPT; `target` is where a look-behind must end. Calls itself
 * for the runs within, no deeper than the pattern is nested. */
static status run(struct matcher *matcher, uint32_t start, size_t position, size_t target,
                  bool *matched, size_t *end)
{
    struct regex_scan *scan = matcher->scan;
    const struct regex *regex = scan->regex;
    size_t base = matcher->used;
    uint32_t at = start;
    *matched = false;
    for (;;) {
        if (scan->steps_left == 0) {
            return status_fail(STATUS_LIMIT,
                               "a regular expression takes too many steps on this text");
        }
        scan->steps_left--;
        const struct regex_instruction *instruction = &regex->program[at];
        bool alive = true;
        switch ((enum regex_operation)instruction->operation) {
        case REGEX_SET:
            alive = position < scan->length && unicode_set_has(&regex->sets[instruction->a],
                                                               unicode_next(scan->text, &position));
            at++;
            break;
        case REGEX_LOOP:
            TRY(run_loop(matcher, at, &position, &alive));
            at++;
            break;
        case REGEX_SPLIT:
            TRY(push(matcher, (struct regex_point){instruction->b, POINT_BRANCH, position, 0}));
            at = instruction->a;
            break;
        case REGEX_JUMP:
            at = instruction->a;
            break;
        case REGEX_MARK: {
            size_t *saved = &matcher->registers[instruction->a];
            TRY(push(matcher, (struct regex_point){instruction->a, POINT_REGISTER, *saved, 0}));
            *saved = position;
            at++;
            break;
        }
        case REGEX_PROGRESS:
            at = matcher->registers[instruction->a] == position ? instruction->b : at + 1;
            break;
        case REGEX_ATOMIC:
            TRY(run(matcher, at + 1, position, target, &alive, &position));
            at = instruction->a;
            break;
        case REGEX_LOOKAHEAD: {
            size_t unused;
            TRY(run(matcher, at + 1, position, target, &alive, &unused));
            alive = alive != (instruction->mode != 0);
            at = instruction->a;
            break;
        }
        case REGEX_LOOKBEHIND:
            TRY(look_behind(matcher, at, position, &alive));
            alive = alive != (instruction->mode != 0);
            at = instruction->a;
            break;
        case REGEX_ASSERT:
            alive = assertion_holds(scan, (enum regex_assertion)instruction->a, position);
            at++;
            break;
        case REGEX_ACCEPT:
            alive = instruction->mode == 0 || position == target;
            if (alive) {
                matcher->used = base;
                *matched = true;
                *end = position;
                return STATUS_OK;
            }
            break;
        }
        if (!alive && !backtrack(matcher, base, &at, &position)) {
            return STATUS_OK;
        }
    }
}

void regex_scan_start(struct regex_scan *scan, const struct regex *regex, const char *text,
                      size_t length)
{
    scan->regex = regex;
    scan->text = text;
    scan->length = length;
    scan->position = 0;
    scan->last_end = SIZE_MAX;
    scan->steps_left = STEPS_AT_LEAST + (uint64_t)length * STEPS_PER_BYTE;
}

/* The first match at or behind `from`. */
static status search(struct regex_scan *scan, size_t from, bool *found)
{
    const struct regex *regex = scan->regex;
    struct matcher matcher = {.scan = scan};
    *found = false;
    while (from <= scan->length) {
        uint64_t candidates = from < scan->length ? regex->first[(unsigned char)scan->text[from]]
                                                  : regex->first_at_end;
        while (candidates != 0) {
            int index = __builtin_ctzll(candidates);
            candidates &= candidates - 1;
            matcher.used = 0;
            TRY(run(&matcher, regex->alternatives[index], from, 0, found, &scan->match_end));
            if (*found) {
                scan->match_start = from;
                return STATUS_OK;
            }
        }
        do {
            from++;
        } while (from < scan->length && ((unsigned char)scan->text[from] & 0xC0) == 0x80);
    }
    return STATUS_OK;
}

status regex_scan_next(struct regex_scan *scan, bool *found)
{
    for (;;) {
        *found = false;
        if (scan->position > scan->length) {
            return STATUS_OK;
        }
        TRY(search(scan, scan->position, found));
        if (!*found) {
            return STATUS_OK;
        }
        if (scan->match_start != scan->match_end || scan->match_end != scan->last_end) {
            scan->position = scan->match_end;
            scan->last_end = scan->match_end;
            return STATUS_OK;
        }
        if (scan->position < scan->length) {
            unicode_next(scan->text, &scan->position);
        } else {
            scan->position++;
        }
    }
}
