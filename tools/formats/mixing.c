/* SPDX-License-Identifier: Apache-2.0 */
#include "mixing.h"

#include <string.h>

uint64_t mix_word(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

uint64_t mix_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const char *at = data;
    for (; bytes >= sizeof hash; bytes -= sizeof hash, at += sizeof hash) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15; /* odd: no two words end in the same */
        hash ^= hash >> 32;
    }
    uint64_t word = bytes;
    if (bytes > 0)
        memcpy((char *)&word + 1, at, bytes); /* less than 8 are left */
    return mix_word(hash ^ word);
}

double chance_of(const uint64_t *counters, size_t count)
{
    uint64_t state = 0;
    for (size_t i = 0; i < count; i++)
        state = mix_word((state ^ counters[i]) + 0x9e3779b97f4a7c15);
    return (double)(state >> 11) * 0x1p-53;
}
