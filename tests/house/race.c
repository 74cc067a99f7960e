/* SPDX-License-Identifier: Apache-2.0 */
/* A data race inside a parallel region: ThreadSanitizer must see it, or its silence elsewhere says nothing. */
#include <stdio.h>

int main(void)
{
    int sum = 0;
#pragma omp parallel for num_threads(2)
    for (int i = 0; i < 1000; i++)
        sum += i;
    printf("%d\n", sum);
    return 0;
}
