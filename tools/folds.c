/* SPDX-License-Identifier: Apache-2.0 */
#include "folds.h"

#include <stdlib.h>

/* ---- the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), seeded as numpy's RandomState(seed) ---- */

enum { WORDS = 624, MIDDLE = 397 };

struct twister {
    uint32_t word[WORDS];
    size_t at;
};

static void twister_seed(struct twister *twister, uint32_t seed)
{
    twister->word[0] = seed;
    for (uint32_t i = 1; i < WORDS; ++i) {
        const uint32_t before = twister->word[i - 1];
        twister->word[i] = UINT32_C(1812433253) * (before ^ before >> 30) + i;
    }
    twister->at = WORDS;
}

static void twist(struct twister *twister)
{
    uint32_t *word = twister->word;
    for (size_t i = 0; i < WORDS; ++i) {
        const uint32_t mixed = (word[i] & UINT32_C(0x80000000)) | (word[(i + 1) % WORDS] & UINT32_C(0x7fffffff));
        word[i] = word[(i + MIDDLE) % WORDS] ^ mixed >> 1 ^ (mixed & 1 ? UINT32_C(0x9908b0df) : 0);
    }
    twister->at = 0;
}

static uint32_t twister_bits(struct twister *twister)
{
    if (twister->at == WORDS) {
        twist(twister);
    }
    uint32_t bits = twister->word[twister->at++];
    bits ^= bits >> 11;
    bits ^= bits << 7 & UINT32_C(0x9d2c5680);
    bits ^= bits << 15 & UINT32_C(0xefc60000);
    return bits ^ bits >> 18;
}

/* Uniform in 0 .. limit: as many bits as the limit has, drawn anew while they are above it. */
static uint64_t twister_interval(struct twister *twister, uint64_t limit)
{
    uint64_t mask = limit, value;
    for (int shift = 1; shift < 64; shift *= 2) {
        mask |= mask >> shift;
    }
    do {
        value = twister_bits(twister);
        if (limit > UINT32_MAX) {
            value = value << 32 | twister_bits(twister);
        }
        value &= mask;
    } while (value > limit);
    return value;
}

/* ---- folds ---- */

/* Fisher and Yates, from the end, as numpy's RandomState.shuffle. */
static void shuffle(size_t *rows, size_t count, uint32_t seed)
{
    struct twister twister;
    twister_seed(&twister, seed);
    for (size_t i = count - 1; i > 0; --i) {
        const size_t j = (size_t)twister_interval(&twister, i), row = rows[i];
        rows[i] = rows[j];
        rows[j] = row;
    }
}

bool folds_split(size_t count, size_t folds, uint32_t seed, uint32_t *fold_of)
{
    size_t *rows = calloc(count, sizeof *rows);
    if (!rows) {
        return false;
    }
    for (size_t i = 0; i < count; ++i) {
        rows[i] = i;
    }
    shuffle(rows, count, seed);
    /* The first count % folds folds have one row more. */
    const size_t size = count / folds, larger = count % folds;
    for (size_t fold = 0, row = 0; fold < folds; ++fold) {
        for (size_t end = row + size + (fold < larger); row < end; ++row) {
            fold_of[rows[row]] = (uint32_t)fold;
        }
    }
    free(rows);
    return true;
}
