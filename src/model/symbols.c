/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/model.h>

/* Symbol of each letter plus one; 0 for what is no letter of a sequence. */
#define BOTH(upper, lower, symbol) [upper] = (symbol) + 1, [lower] = (symbol) + 1
static const uint8_t symbol_plus_one[256] = {
    BOTH('A', 'a', LDAR_A), BOTH('C', 'c', LDAR_C), BOTH('G', 'g', LDAR_G), BOTH('T', 't', LDAR_T),
    BOTH('U', 'u', LDAR_T), BOTH('R', 'r', LDAR_N), BOTH('Y', 'y', LDAR_N), BOTH('S', 's', LDAR_N),
    BOTH('W', 'w', LDAR_N), BOTH('K', 'k', LDAR_N), BOTH('M', 'm', LDAR_N), BOTH('B', 'b', LDAR_N),
    BOTH('D', 'd', LDAR_N), BOTH('H', 'h', LDAR_N), BOTH('V', 'v', LDAR_N), BOTH('N', 'n', LDAR_N),
    ['-'] = LDAR_N + 1,
};
#undef BOTH

size_t ldar_encode(const char *letters, size_t count, uint8_t *ids, size_t *unknown)
{
    size_t became_n = 0, i;
    for (i = 0; i < count; i++) {
        uint8_t symbol = symbol_plus_one[(unsigned char)letters[i]];
        if (symbol == 0) {
            break;
        }
        ids[i] = (uint8_t)(symbol - 1);
        became_n += ids[i] == LDAR_N;
    }
    if (unknown) {
        *unknown += became_n;
    }
    return i;
}
