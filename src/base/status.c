/* SPDX-License-Identifier: Apache-2.0 */
/* Error text, one buffer a thread. */
#include "sluice/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sluice/base.h"

enum { MESSAGE_BYTES = 1024 };

static _Thread_local char message[MESSAGE_BYTES];

/* Takes a message over. It may quote an input, cut anywhere, and stands in logs, on terminals and
 * in output files: control characters, also those of two bytes (U+0080 to U+009F), become spaces,
 * and what is no UTF-8 becomes "?". */
static void set_message(char text[MESSAGE_BYTES])
{
    size_t length = strnlen(text, MESSAGE_BYTES - 1), bad;
    for (size_t from = 0; !utf8_valid(text + from, length - from, &bad);) {
        from += bad;
        text[from] = '?';
    }
    utf8_blank_controls(text, length);
    memcpy(message, text, MESSAGE_BYTES);
}

status status_fail(status code, const char *format, ...)
{
    /* Formatted aside, since an argument may be the current message itself. */
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    set_message(text);
    return code;
}

status status_fail_errno(status code, const char *format, ...)
{
    int saved = errno;
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof text) {
        char reason[128];
        const char *known = strerror_r(saved, reason, sizeof reason);
        snprintf(text + length, sizeof text - (size_t)length, ": %s", known);
    }
    set_message(text);
    errno = saved;
    return code;
}

status status_context(status code, const char *format, ...)
{
    if (code == STATUS_OK) {
        return code;
    }
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof text) {
        snprintf(text + length, sizeof text - (size_t)length, ": %s", message);
    }
    set_message(text);
    return code;
}

const char *status_message(void)
{
    return message;
}

const char *status_name(status code)
{
    static const char *const names[] = {
        [STATUS_OK] = "ok",
        [STATUS_INVALID] = "invalid",
        [STATUS_NOT_FOUND] = "not found",
        [STATUS_EXISTS] = "exists",
        [STATUS_IO] = "input/output",
        [STATUS_NO_MEMORY] = "out of memory",
        [STATUS_UNSUPPORTED] = "unsupported",
        [STATUS_LIMIT] = "limit",
        [STATUS_REFUSED] = "refused",
        [STATUS_STOPPED] = "stopped",
        [STATUS_INTERNAL] = "internal",
    };
    return (unsigned)code < sizeof names / sizeof *names ? names[code] : "unknown";
}
