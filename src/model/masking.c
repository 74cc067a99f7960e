/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/train.h>

#include "model/random.h"

/*
 * (seed, step, sample, position) is more than one counter holds, so that step and sample choose the key and half of the
 * counter under which positions are drawn.
 */
struct masking {
    uint32_t key[2], high[2];
};

static struct masking masking_begin(uint64_t seed, uint64_t step, uint64_t sample)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32), (uint32_t)sample, (uint32_t)(sample >> 32)};
    uint32_t words[4];
    ldar_philox(counter, key, words);
    return (struct masking){{words[0], words[1]}, {words[2], words[3]}};
}

/* What the model sees of a labelled nucleotide. */
static uint8_t hide(uint8_t id, uint32_t choice, uint32_t nucleotide)
{
    const double u = ldar_uniform(choice);
    if (u < 0.8)
        return LDAR_MASK;
    return u < 0.9 ? (uint8_t)(nucleotide >> 30) : id;
}

void ldar_mask(uint8_t *ids, uint8_t *labels, size_t count, double rate, uint64_t seed, uint64_t step, uint64_t sample)
{
    const struct masking masking = masking_begin(seed, step, sample);
    for (size_t i = 0; i < count; i++) {
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), masking.high[0], masking.high[1]};
        uint32_t words[4];
        labels[i] = LDAR_UNLABELLED;
        if (ids[i] > LDAR_T)
            continue;
        ldar_philox(counter, masking.key, words);
        if (ldar_uniform(words[0]) < rate) {
            labels[i] = ids[i];
            ids[i] = hide(ids[i], words[1], words[2]);
        }
    }
}
