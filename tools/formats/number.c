/* SPDX-License-Identifier: Apache-2.0 */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool parse_number(const char *text, size_t length, uint64_t *value)
{
    uint64_t number = 0;
    for (size_t i = 0; i < length; ++i) {
        const unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9 || number > ((uint64_t)INT64_MAX - digit) / 10) {
            return false;
        }
        number = 10 * number + digit;
    }
    *value = number;
    return length > 0;
}

char *put_number(char *to, uint64_t value)
{
    char digits[NUMBER_CHARACTERS];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(to, digits + first, sizeof digits - first);
    return to + sizeof digits - first;
}

char *put_decimal(char *to, double value, int decimals)
{
    uint64_t unit = 1;
    for (int i = 0; i < decimals; ++i) {
        unit *= 10;
    }
    if (!(fabs(value) < 1e9)) {
        *to = '.';
        return to + 1;
    }
    const uint64_t scaled = (uint64_t)llrint(fabs(value) * (double)unit);
    uint64_t fraction = scaled % unit;
    if (value < 0 && scaled > 0) {
        *to++ = '-';
    }
    to = put_number(to, scaled / unit);
    *to = '.';
    for (int i = decimals; i > 0; --i, fraction /= 10) {
        to[i] = (char)('0' + fraction % 10);
    }
    return to + 1 + decimals;
}

/*
 * A float of [0.0001, 1) is m / 2^shift with m < 2^24 and shift <= 37, so that m * 10^decimals, with decimals <= 12, is
 * below 2^64 and is divided exactly. Nine digits leave no carry: the floats next to a power of ten are farther from it
 * than half a unit of the ninth digit.
 */
static char *put_fraction(char *to, float value)
{
    int exponent;
    const uint64_t m = (uint64_t)ldexpf(frexpf(value, &exponent), 24);
    const int shift = 24 - exponent;
    uint64_t scaled = m * 1000000000;
    int decimals = 9;
    for (; scaled >> shift < 100000000; ++decimals) {
        scaled *= 10;
    }
    uint64_t digits = scaled >> shift;
    const uint64_t rest = scaled - (digits << shift), half = UINT64_C(1) << (shift - 1);
    digits += rest > half || (rest == half && digits % 2 != 0);
    for (; digits % 10 == 0; digits /= 10) {
        --decimals;
    }
    to[0] = '0';
    to[1] = '.';
    for (int i = decimals + 1; i > 1; --i, digits /= 10) {
        to[i] = (char)('0' + digits % 10);
    }
    return to + 2 + decimals;
}

char *put_float_text(char *to, float value)
{
    /* A track may have a probability for each nucleotide, and printf takes seven times as long. */
    if ((double)value >= 0.0001 && value < 1) {
        return put_fraction(to, value);
    }
    if (value == 1) {
        *to = '1';
        return to + 1;
    }
    const int length = snprintf(to, NUMBER_CHARACTERS, "%.9g", (double)value);
    return to + (length < NUMBER_CHARACTERS ? length : NUMBER_CHARACTERS - 1);
}

struct json_number json_number(double value)
{
    struct json_number number = {"null"};
    if (isfinite(value))
        snprintf(number.text, sizeof number.text, "%.9g", value);
    return number;
}
