/* SPDX-License-Identifier: Apache-2.0 */
#include "strands.h"

void reverse_complement(const uint8_t *from, size_t count, uint8_t *to)
{
    for (size_t i = 0; i < count - i; i++) {
        const uint8_t left = from[i], right = from[count - 1 - i];
        to[i] = complement(right);
        to[count - 1 - i] = complement(left);
    }
}
