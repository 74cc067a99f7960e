/* SPDX-License-Identifier: Apache-2.0 */
#include "number.h"

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
