/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and times as people read them. */
#include <stdio.h>

#include "sluice/base.h"

const char *format_bytes(int64_t bytes, char text[24])
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
    double size = (double)bytes;
    size_t unit = 0;
    /* What would be rounded to 1000.0 of a unit is 1.0 of the next. */
    while (size >= (unit == 0 ? 1000 : 999.95) && unit + 1 < COUNT_OF(units)) {
        size /= 1000;
        unit++;
    }
    if (unit == 0) {
        snprintf(text, 24, bytes == 1 ? "%.0f byte" : "%.0f bytes", size);
    } else {
        snprintf(text, 24, "%.1f %s", size, units[unit]);
    }
    return text;
}

const char *format_seconds(double seconds, char text[24])
{
    long long whole = (long long)(seconds + 0.5);
    if (seconds < 99.95) {
        snprintf(text, 24, "%.1f s", seconds);
    } else if (whole < 3600) {
        snprintf(text, 24, "%lld min %02lld s", whole / 60, whole % 60);
    } else if (whole < 48 * 3600) {
        snprintf(text, 24, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
    } else {
        snprintf(text, 24, "%lld d %02lld h", whole / 86400, whole / 3600 % 24);
    }
    return text;
}
