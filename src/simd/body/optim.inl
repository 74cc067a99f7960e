/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The optimiser. Four arrays stream past once, so memory decides, and a division and a root of each number are hidden
 * behind it. The weight is decayed and moved by multiply-adds: rate * decay is 5e-5, of which 1 - rate * decay would
 * keep three digits.
 */
struct adamw_factors {
    vec scale, beta1, beta2, rest1, rest2, decay, step, correction2, epsilon;
};

TILE_INLINE void adamw_step(size_t i, size_t lanes, const struct ldar_adamw_args *a, const struct adamw_factors *f)
{
    const vec gradient = vec_mul(f->scale, load_lanes(a->gradient + i, lanes));
    const vec moment1 = vec_fma(f->beta1, load_lanes(a->moment1 + i, lanes), vec_mul(f->rest1, gradient));
    const vec moment2 =
        vec_fma(f->beta2, load_lanes(a->moment2 + i, lanes), vec_mul(vec_mul(f->rest2, gradient), gradient));
    const vec root = vec_add(vec_sqrt(vec_mul(moment2, f->correction2)), f->epsilon);
    vec weight = load_lanes(a->weight + i, lanes);
    weight = vec_fnma(f->decay, weight, weight);
    weight = vec_fnma(f->step, vec_div(moment1, root), weight);
    store_lanes(a->moment1 + i, lanes, moment1);
    store_lanes(a->moment2 + i, lanes, moment2);
    store_lanes(a->weight + i, lanes, weight);
}

static void kernel_adamw(const struct ldar_adamw_args *a)
{
    const struct adamw_factors factors = {.scale = vec_set1(a->scale),
                                          .beta1 = vec_set1(a->beta1),
                                          .beta2 = vec_set1(a->beta2),
                                          .rest1 = vec_set1(1.0f - a->beta1),
                                          .rest2 = vec_set1(1.0f - a->beta2),
                                          .decay = vec_set1(a->rate * a->decay),
                                          .step = vec_set1(a->rate * a->correction1),
                                          .correction2 = vec_set1(a->correction2),
                                          .epsilon = vec_set1(a->epsilon)};
    EACH_VECTOR(a->count, adamw_step, a, &factors);
}

/*
 * In double precision, where the square of a float is exact and never out of range, in sums of their own for as many
 * numbers as fill the vectors of any machine: compilers do the rest, and every table gives the same bits.
 */
static void kernel_sum_squares(double *sum, const float *x, size_t n)
{
    enum { SUMS = 32 };
    double sums[SUMS] = {0};
    const size_t whole = n / SUMS * SUMS;
    for (size_t i = 0; i < whole; i += SUMS)
        for (size_t j = 0; j < SUMS; j++)
            sums[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t j = 0; j < n - whole; j++)
        sums[j] += (double)x[whole + j] * (double)x[whole + j];
    for (size_t half = SUMS / 2; half; half /= 2)
        for (size_t j = 0; j < half; j++)
            sums[j] += sums[j + half];
    *sum = sums[0];
}

TILE_INLINE void add_step(size_t i, size_t lanes, float *out, const float *x)
{
    store_lanes(out + i, lanes, vec_add(load_lanes(out + i, lanes), load_lanes(x + i, lanes)));
}

static void kernel_add(float *out, const float *x, size_t n)
{
    EACH_VECTOR(n, add_step, out, x);
}
