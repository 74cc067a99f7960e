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
 * as many run beside each other as there are registers for: twelve leave the pairs of AVX-512 waiting. A round adds
 * 1/4, so that nothing becomes denormal or infinite. The chain is the summand, never a factor, for an instruction that
 * adds in place would have to copy it.
 */
enum { PEAK_ABREAST = VEC_REGISTERS < 32 ? LDAR_PEAK_CHAINS / 2 : LDAR_PEAK_CHAINS };

static const volatile float peak_factor = 0.5f; /* a constant would be multiplied by the compiler */

static inline vec peak_step(vec chain, vec half)
{
    return operand_fma(half, half, chain);
}

static vec peak_chains(size_t rounds)
{
    const vec factor = vec_set1(peak_factor), half = OPERAND == 1 ? factor : operand_zip(factor, vec_zero());
    vec chain[PEAK_ABREAST];
    TILE_UNROLL
    for (int i = 0; i < PEAK_ABREAST; i++)
        chain[i] = vec_set1((float)(i + 2));
    for (size_t round = 0; round < rounds; round++)
        TILE_UNROLL
    for (int i = 0; i < PEAK_ABREAST; i++)
        chain[i] = peak_step(chain[i], half);
    TILE_UNROLL
    for (int i = 1; i < PEAK_ABREAST; i++)
        chain[0] = vec_add(chain[0], chain[i]);
    return chain[0];
}

static void kernel_fma_peak(float *sink, size_t rounds)
{
    vec sum = vec_zero();
    for (int i = 0; i < LDAR_PEAK_CHAINS; i += PEAK_ABREAST)
        sum = vec_add(sum, peak_chains(rounds));
    vec_store(sink, sum);
}

static void kernel_float_mode_enter(uint64_t *saved)
{
    *saved = vec_float_mode_enter();
}

static void kernel_float_mode_leave(uint64_t saved)
{
    vec_float_mode_leave(saved);
}
