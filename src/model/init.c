/* SPDX-License-Identifier: Apache-2.0 */
#include "model/random.h"
#include "model/table.h"

#include <string.h>

/* Four elements are drawn from one counter: (block, 0, parameter, 0) under the seed as key. */
enum { BLOCK = 4 };

static void draw(uint64_t seed, size_t parameter, size_t block, uint32_t words[BLOCK])
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)((uint64_t)block >> 32), (uint32_t)parameter, 0};
    ldar_philox(counter, key, words);
}

/* softplus^-1(x) = log(e^x - 1), here for 0 < x <= 0.1: e^x - 1 = x (1 + x/2 (1 + x/3 (...))) loses no digits. */
static double inverse_softplus(double x)
{
    double sum = 1;
    for (int n = 12; n > 1; n--) {
        sum = 1 + sum * x / n;
    }
    return ldar_portable_log(x * sum);
}

static double from_uniform(enum ldar_start start, double scale, double u)
{
    switch (start) {
    case LDAR_START_DT_BIAS:
        /* 0.001 * 100^u; the published floor of 1e-4 never bites. */
        return inverse_softplus(0.001 * ldar_portable_exp(u * ldar_portable_log(100)));
    case LDAR_START_A_LOG:
        return ldar_portable_log(1 + 15 * u);
    default:
        return (2 * u - 1) * scale;
    }
}

static void fill_block(const struct ldar_parameter *parameter, const uint32_t words[BLOCK], float values[BLOCK])
{
    for (int i = 0; i < BLOCK; i += 2) {
        double pair[2];
        if (parameter->start == LDAR_START_NORMAL) {
            ldar_normal_pair(words[i], words[i + 1], pair);
            pair[0] *= parameter->scale;
            pair[1] *= parameter->scale;
        } else {
            pair[0] = from_uniform(parameter->start, parameter->scale, ldar_uniform(words[i]));
            pair[1] = from_uniform(parameter->start, parameter->scale, ldar_uniform(words[i + 1]));
        }
        values[i] = (float)pair[0];
        values[i + 1] = (float)pair[1];
    }
}

static void fill_random(const struct ldar_parameter *parameter, uint64_t seed, size_t index, float *values)
{
    for (size_t i = 0; i < parameter->count; i += BLOCK) {
        uint32_t words[BLOCK];
        float block[BLOCK];
        size_t rest = parameter->count - i;
        draw(seed, index, i / BLOCK, words);
        fill_block(parameter, words, block);
        memcpy(values + i, block, (rest < BLOCK ? rest : BLOCK) * sizeof *block);
    }
}

void ldar_parameter_start(const struct ldar_parameter *parameter, uint64_t seed, size_t index, float *values)
{
    switch (parameter->start) {
    case LDAR_START_ZERO:
        memset(values, 0, parameter->count * sizeof *values);
        break;
    case LDAR_START_ONE:
        for (size_t i = 0; i < parameter->count; i++) {
            values[i] = 1;
        }
        break;
    case LDAR_START_IDENTITY:
        memset(values, 0, parameter->count * sizeof *values);
        for (size_t i = 0; i < parameter->shape[0]; i++) {
            values[i * parameter->shape[1] + i] = 1;
        }
        break;
    case LDAR_START_NORMAL:
    case LDAR_START_UNIFORM:
    case LDAR_START_DT_BIAS:
    case LDAR_START_A_LOG:
        fill_random(parameter, seed, index, values);
        break;
    }
}
