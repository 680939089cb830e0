/* SPDX-License-Identifier: Apache-2.0 */
/* Log-normal lengths, by the method of Box and Muller from hashes of the row. */
#include "measure/drawn_length.h"

#include <math.h>

#include "sluice/base.h"

/* Between 0 and 1, neither of them. */
static double uniform(int64_t row, int which)
{
    int64_t key[2] = {row, which};
    return ((double)(hash_bytes(key, sizeof key, 7) >> 11) + 0.5) * 0x1p-53;
}

int drawn_length(int64_t row, int which, int mean, int most)
{
    double normal =
        sqrt(-2 * log(uniform(row, which))) * cos(6.283185307 * uniform(row, which + 1));
    double length = round(mean * exp(normal - 0.5));
    return length < 1 ? 1 : length > most ? most : (int)length;
}
