/* SPDX-License-Identifier: Apache-2.0 */
/* A race on purpose: ThreadSanitizer with Archer must see it, or what it says of the rest means
 * nothing. */
#include <stdio.h>

int main(void)
{
    int count = 0;
#pragma omp parallel for num_threads(4)
    for (int i = 0; i < 1000; i++) {
        count++; /* not a reduction */
    }
    printf("%d\n", count > 0);
    return 0;
}
