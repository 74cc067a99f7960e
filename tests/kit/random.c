/* SPDX-License-Identifier: Apache-2.0 */
#include "random.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

uint64_t random_seed(void)
{
    const char *text = getenv("LDAR_TEST_SEED");
    return text ? strtoull(text, NULL, 0) : 1;
}

struct random random_start(uint64_t seed)
{
    return (struct random){.state = seed};
}

uint64_t random_bits(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

size_t random_below(struct random *random, size_t limit)
{
    return (size_t)(random_bits(random) % limit);
}

double random_uniform(struct random *random, double low, double high)
{
    return low + (high - low) * (double)(random_bits(random) >> 11) * 0x1p-53;
}

/* Marsaglia's polar method: most of what a sweep draws comes from here, and a logarithm for two is all it costs. */
double random_normal(struct random *random)
{
    double x, y, square;
    random->spared = !random->spared;
    if (!random->spared) {
        return random->spare;
    }
    do {
        x = random_uniform(random, -1, 1);
        y = random_uniform(random, -1, 1);
        square = x * x + y * y;
    } while (square >= 1 || square == 0);
    const double stretch = sqrt(-2 * log(square) / square);
    random->spare = y * stretch;
    return x * stretch;
}

const char *fill_name(enum fill fill)
{
    static const char *const names[FILL_KINDS] = {"normal", "integers", "tiny", "huge", "wide", "denormal", "zero"};
    return names[fill];
}

static double draw(struct random *random, enum fill fill)
{
    switch (fill) {
    case FILL_INTEGERS:
        return (double)random_below(random, 7) - 3;
    case FILL_TINY:
        return 1e-20 * random_normal(random);
    case FILL_HUGE:
        return 1e15 * random_normal(random);
    case FILL_WIDE:
        return copysign(exp(random_uniform(random, log(1e-15), log(1e15))), random_uniform(random, -1, 1));
    case FILL_DENORMAL:
        return FLT_MIN * random_uniform(random, -1, 1);
    case FILL_ZERO:
        return copysign(0, random_uniform(random, -1, 1));
    default:
        return random_normal(random);
    }
}

void fill_floats(struct random *random, float *out, size_t count, enum fill fill)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)draw(random, fill);
    }
}
