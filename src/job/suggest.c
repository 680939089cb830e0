/* SPDX-License-Identifier: Apache-2.0 */
/* Nearest name by edit distance with transpositions (optimal string alignment). */
#include "job/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { MAX_NAME = 40, SHORTEST_PREFIX = 3 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

static bool differ(char a, char b)
{
    return tolower((unsigned char)a) != tolower((unsigned char)b);
}

static int edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int rows[3][MAX_NAME + 1]; /* the row being filled and the two before it, by i % 3 */
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = (int)j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        int *row = rows[i % 3], *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            int substitute = above[j - 1] + differ(a[i - 1], b[j - 1]);
            row[j] = least(substitute, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && !differ(a[i - 1], b[j - 2]) && !differ(a[i - 2], b[j - 1])) {
                row[j] = least(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a_length % 3][b_length];
}

void suggestion_offer(struct suggestion *suggestion, const char *known)
{
    size_t unknown_length = strlen(suggestion->unknown), known_length = strlen(known);
    if (unknown_length > MAX_NAME || known_length > MAX_NAME) {
        return;
    }
    int distance = edit_distance(suggestion->unknown, unknown_length, known, known_length);
    if (unknown_length >= SHORTEST_PREFIX &&
        strncasecmp(suggestion->unknown, known, unknown_length) == 0) {
        distance = distance < 1 ? distance : 1; /* as far as it goes it is right */
    }
    int near_enough = 1 + (int)known_length / 4;
    if (distance <= near_enough && (suggestion->best == NULL || distance < suggestion->distance)) {
        suggestion->best = known;
        suggestion->distance = distance;
    }
}
