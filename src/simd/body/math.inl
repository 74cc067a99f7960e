/* SPDX-License-Identifier: Apache-2.0 */

#define ELEMENTWISE(name)                                                                                              \
    TILE_INLINE void name##_step(size_t i, size_t lanes, float *out, const float *x)                                   \
    {                                                                                                                  \
        store_lanes(out + i, lanes, vec_##name(load_lanes(x + i, lanes)));                                             \
    }                                                                                                                  \
                                                                                                                       \
    static void kernel_##name(float *out, const float *x, size_t n)                                                    \
    {                                                                                                                  \
        EACH_VECTOR(n, name##_step, out, x);                                                                           \
    }

ELEMENTWISE(exp)
ELEMENTWISE(sigmoid)
ELEMENTWISE(silu)
ELEMENTWISE(softplus)

#undef ELEMENTWISE

/*
 * What the multiply-add units can do at most, the measure for all other kernels. Each chain waits for itself alone, and
 * there are enough of them for two units of latency 5. They tend to 1, which is neither denormal nor infinite; none
 * begins there, for a compiler that sees a chain stand still leaves it out.
 */
static void kernel_fma_peak(float *sink, size_t rounds)
{
    const vec half = vec_set1(0.5f);
    vec chain[LDAR_PEAK_CHAINS];
    TILE_UNROLL
    for (int i = 0; i < LDAR_PEAK_CHAINS; i++)
        chain[i] = vec_set1((float)(i + 2));
    for (size_t round = 0; round < rounds; round++)
        TILE_UNROLL
        for (int i = 0; i < LDAR_PEAK_CHAINS; i++)
            chain[i] = vec_fma(chain[i], half, half);
    for (int i = 1; i < LDAR_PEAK_CHAINS; i++)
        chain[0] = vec_add(chain[0], chain[i]);
    vec_store(sink, chain[0]);
}

static void kernel_float_mode_enter(uint64_t *saved)
{
    *saved = vec_float_mode_enter();
}

static void kernel_float_mode_leave(uint64_t saved)
{
    vec_float_mode_leave(saved);
}
