/* SPDX-License-Identifier: Apache-2.0 */
#include "bfloat16.h"

#include <math.h>
#include <string.h>

uint16_t bfloat16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x)) {
        return (uint16_t)(bits >> 16 | 1u << 6);
    }
    uint32_t kept = bits >> 16, lost = bits & 0xffff, half = 0x8000;
    return (uint16_t)(kept + (lost > half || (lost == half && (kept & 1))));
}

float bfloat16_value(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float bfloat16_round(float x)
{
    return bfloat16_value(bfloat16_of(x));
}
