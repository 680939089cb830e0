/* SPDX-License-Identifier: Apache-2.0 */
/* The ground everything stands on: arena, growable bytes, clock, log, hashes. Knows nothing of
 * models or jobs. */
#ifndef SLUICE_BASE_H
#define SLUICE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/status.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* ---- Arena: many small allocations that end together ---- */

struct arena_chunk;

/* Zero-initialise before first use; no create call. Not thread-safe. */
struct arena {
    struct arena_chunk *chunks;
    size_t used_bytes; /* handed out since the last reset, for limits */
};

/* `bytes` zeroed bytes aligned to 16, or NULL when memory runs out. Lives until arena_reset or
 * arena_destroy. */
void *arena_allocate(struct arena *arena, size_t bytes);

/* As arena_allocate for `count` items of `size` bytes; NULL on overflow too. */
void *arena_allocate_array(struct arena *arena, size_t count, size_t size);

/* A NUL-terminated copy of `length` bytes at `text`; NULL when memory runs out. */
char *arena_copy(struct arena *arena, const char *text, size_t length);

/* Forgets every allocation but keeps one chunk for reuse. */
void arena_reset(struct arena *arena);
void arena_destroy(struct arena *arena);

/* ---- Buffer: growable bytes ---- */

/* Zero-initialise before first use. data[length] is always a NUL once anything was appended. */
struct buffer {
    char *data;
    size_t length;
    size_t capacity;
};

/* Room for `extra` more bytes and a NUL. STATUS_NO_MEMORY leaves the buffer as it was. */
status buffer_reserve(struct buffer *buffer, size_t extra) MUST_CHECK;
status buffer_append(struct buffer *buffer, const void *bytes, size_t length) MUST_CHECK;
status buffer_append_text(struct buffer *buffer, const char *text) MUST_CHECK;
status buffer_append_byte(struct buffer *buffer, char byte) MUST_CHECK;
status buffer_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3))) MUST_CHECK;
void buffer_clear(struct buffer *buffer); /* length 0, memory kept */
void buffer_destroy(struct buffer *buffer);

/* Grows a malloc'ed array so that it holds at least `needed` items of `size` bytes: doubles
 * *capacity. On failure the array stays valid and unchanged. */
status array_grow(void **items, size_t *capacity, size_t needed, size_t size) MUST_CHECK;

/* ---- Clock ---- */

double clock_seconds(void); /* monotonic */

/* UTC now as "2026-01-31T12:00:00Z" into text[21]. */
void clock_timestamp(char text[21]);
/* The same of a time in Unix seconds, of the years 1970 to 9999; and back: false where it is not in
 * exactly this form. */
void clock_write_timestamp(int64_t seconds, char text[21]);
bool clock_read_timestamp(const char *text, int64_t *seconds);

/* ---- Units for people ---- */

/* "512 bytes", "12.3 MB": decimal units. Returns the text. */
const char *format_bytes(int64_t bytes, char text[24]);
/* "1.5 s", "12 min 05 s", "3 h 20 min", "2 d 04 h". Returns the text. */
const char *format_seconds(double seconds, char text[24]);

/* ---- Log: one line a call on standard error ---- */

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Level up to which lines are written (default LOG_WARNING) and a prefix such as "rank 3" (copied;
 * NULL for none). */
void log_configure(enum log_level level, const char *prefix);
/* The level by its name ("debug"), which log_configure then leaves as it is. False: no such name.
 */
bool log_fix_level(const char *name);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same of something that programs are to read: in a log of JSON `members` (`"rows":10,…`; NULL:
 * none) stand beside the message. */
void log_event(enum log_level level, const char *members, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether lines of this level are written. */
bool log_shows(enum log_level level);
/* From now on every line is a JSON object: time, level, from (the prefix, where there is one),
 * message. */
void log_use_json(void);
bool log_is_json(void);
/* Is called before every line: whoever has something unfinished on the terminal removes it. NULL
 * (the default): nobody. */
void log_before_line(void (*clear)(void));

/* Writes a line to standard error, on a terminal in as many as its width takes, broken between
 * words. */
void log_put_line(const char *line);
/* Appends the words of a text that begins in `column`, in further lines from `indent` on where they
 * would pass `columns`, and a newline. A word that is longer, such as a path, stays whole. */
status text_wrap(const char *text, int column, int indent, int columns,
                 struct buffer *out) MUST_CHECK;

/* ---- Interrupts: loops that may take minutes ask whether they are to end early ---- */

/* Who is asked; NULL (the default): nobody. */
void interrupt_configure(bool (*requested)(void));
/* STATUS_STOPPED when the work is to end early. The thread that has configured it alone asks; in
 * others nothing is interrupted. */
status interrupt_check(void) MUST_CHECK;

/* ---- Files ---- */

/* Opens a regular file for reading; the caller closes *fd. Anything else, such as a pipe, is
 * refused at once: nothing that a model directory or a data set names can make the program wait.
 * STATUS_NOT_FOUND, STATUS_INVALID, STATUS_IO; the message names the path. */
status file_open(const char *path, int *fd, uint64_t *bytes) MUST_CHECK;

/* Reads a whole regular file of at most `limit` bytes into `out` (appended; NUL after it).
 * As file_open, and STATUS_LIMIT. */
status file_read(const char *path, size_t limit, struct buffer *out) MUST_CHECK;

/* "directory/name" into `out` (appended). */
status path_join(const char *directory, const char *name, struct buffer *out) MUST_CHECK;

/* `path` as a shell would give it into `out` (appended): `~` and `~/x` are in the own home. */
status path_from_home(const char *path, struct buffer *out) MUST_CHECK;

/* ---- Hashes ---- */

uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed); /* XXH3, 64 bits */

/* SHA-256, streaming. Create, update any number of times, finish into 64 hex digits and NUL; finish
 * destroys. */
struct sha256;
struct sha256 *sha256_create(void); /* NULL when memory runs out */
void sha256_update(struct sha256 *hash, const void *bytes, size_t length);
void sha256_finish(struct sha256 *hash, char hex[65]);

/* HMAC-SHA-256 of the bytes under a key (RFC 2104). False where it cannot be computed. */
bool hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                 uint8_t code[32]);

/* ---- Base64 (base64.c) ---- */

/* Appends the bytes that a text in base64, with its padding, stands for. STATUS_INVALID where it is
 * none. */
status base64_decode(const char *text, size_t length, struct buffer *out) MUST_CHECK;
/* Appends `length` bytes in base64, padded and in one line (RFC 4648). */
status base64_encode(const void *bytes, size_t length, struct buffer *out) MUST_CHECK;

/* ---- UTF-8 ---- */

/* The code point at text[0..length), its bytes in *size. Malformed input: returns -1 and *size = 1.
 * Overlong forms, surrogates and values above U+10FFFF are malformed. length must be at least 1. */
int32_t utf8_decode(const char *text, size_t length, size_t *size);

/* Encodes a valid code point; returns the number of bytes written, 1 to 4. */
size_t utf8_encode(int32_t code_point, char out[4]);

/* Whether all of text is well-formed UTF-8; if not, *bad_offset (may be NULL) is where it is not.
 */
bool utf8_valid(const char *text, size_t length, size_t *bad_offset);

/* Whether a code point is a control character: below U+0020, U+007F to U+009F. What quotes an input
 * shows none of them, since they may drive a terminal. */
bool utf8_is_control(int32_t code_point);

/* Puts spaces in the place of control characters, one a byte, so that the text is one line. */
void utf8_blank_controls(char *text, size_t length);

/* "UTF-16" or "UTF-32" where text that begins so is in one of them, with a byte order mark or
 * without; NULL for anything else. */
const char *utf8_other_encoding(const void *bytes, size_t length);

#endif
