/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: a function that can fail returns a `status`; the reason is one line of text kept per
 * thread.
 *
 * The line is written where the failure is seen (`status_fail`) and gains context on its way up
 * (`status_context`): "data/a.jsonl: line 7: expected a string". Nothing below src/cli prints or
 * exits.
 *
 *     status s = status_fail(STATUS_INVALID, "line %ld: expected a string", line);
 *     return status_context(s, "%s", path);
 */
#ifndef SLUICE_STATUS_H
#define SLUICE_STATUS_H

typedef enum status {
    STATUS_OK = 0,
    STATUS_INVALID,     /* the input says something wrong: a malformed file, an unknown key */
    STATUS_NOT_FOUND,   /* a file, a tensor, a key that should exist does not */
    STATUS_EXISTS,      /* something is in the way: an output file, a lock */
    STATUS_IO,          /* the system refused: read, write, rename, MPI */
    STATUS_NO_MEMORY,   /* host or device memory ran out */
    STATUS_UNSUPPORTED, /* well formed, but not built into this program */
    STATUS_LIMIT,       /* a bound was passed: steps, depth, size, context length */
    STATUS_REFUSED,     /* what a job file names does not go together: exit status 2 */
    STATUS_STOPPED,     /* asked to stop; what was done is kept and can be resumed */
    STATUS_INTERNAL,    /* an invariant of the program itself does not hold */
} status;

#define MUST_CHECK __attribute__((warn_unused_result))

/* Sets this thread's message and returns `code`. The text ends without a full stop or newline.
 * What it quotes of an input may be anything: a message is one line of UTF-8 without control
 * characters. */
status status_fail(status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As status_fail for a failed system call: appends ": " and strerror(errno). */
status status_fail_errno(status code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "context: " before this thread's message and returns `code` unchanged; STATUS_OK is a no-op.
 */
status status_context(status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* This thread's latest message; never NULL. Owned by the library, valid until the thread's next
 * failure. */
const char *status_message(void);

/* A word for a code, "invalid", for logs and tests. */
const char *status_name(status code);

/* Returns from the calling function when `expression` fails: for functions with nothing to clean
 * up. */
#define TRY(expression)                                                                            \
    do {                                                                                           \
        status try_status_ = (expression);                                                         \
        if (try_status_ != STATUS_OK) {                                                            \
            return try_status_;                                                                    \
        }                                                                                          \
    } while (0)

#endif
