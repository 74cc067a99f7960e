/* SPDX-License-Identifier: Apache-2.0 */

/* A vector of which the first `lanes` count; where that is the constant VEC_WIDTH nothing is masked. */
TILE_INLINE vec load_lanes(const float *p, size_t lanes)
{
    return lanes == VEC_WIDTH ? vec_load(p) : vec_load_n(p, lanes);
}

TILE_INLINE void store_lanes(float *p, size_t lanes, vec v)
{
    if (lanes == VEC_WIDTH)
        vec_store(p, v);
    else
        vec_store_n(p, lanes, v);
}

/* The same of elements. */
TILE_INLINE vec load_elements(const element *p, size_t lanes)
{
    return lanes == VEC_WIDTH ? element_load(p) : element_load_n(p, lanes);
}

TILE_INLINE void store_elements(element *p, size_t lanes, vec v)
{
    if (lanes == VEC_WIDTH)
        element_store(p, v);
    else
        element_store_n(p, lanes, v);
}

/*
 * step(i, lanes, ...) for the vectors of n elements: whole ones at i = 0, VEC_WIDTH, .., and what is left. Arguments
 * are evaluated at every step, so they are plain variables where it matters.
 */
#define EACH_VECTOR(n, step, ...)                                                                                      \
    do {                                                                                                               \
        const size_t each_end = (n) / VEC_WIDTH * VEC_WIDTH;                                                           \
        for (size_t each = 0; each < each_end; each += VEC_WIDTH)                                                      \
            step(each, VEC_WIDTH, __VA_ARGS__);                                                                        \
        if (each_end < (n))                                                                                            \
            step(each_end, (n)-each_end, __VA_ARGS__);                                                                 \
    } while (0)

TILE_INLINE void dot_step(size_t i, size_t lanes, vec *sum, const float *a, const float *b)
{
    *sum = vec_fma(load_lanes(a + i, lanes), load_lanes(b + i, lanes), *sum);
}

/* sum_i a[i] b[i]. Four sums hide the latency of the multiply-add, and each stays short. */
static inline float dot(const float *a, const float *b, size_t n)
{
    enum { BLOCK = 4 * VEC_WIDTH };
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    const size_t blocks = n / BLOCK * BLOCK;
    for (size_t i = 0; i < blocks; i += BLOCK)
        TILE_UNROLL
    for (size_t j = 0; j < 4; j++)
        dot_step(i + j * VEC_WIDTH, VEC_WIDTH, &sum[j], a, b);
    EACH_VECTOR(n - blocks, dot_step, &sum[0], a + blocks, b + blocks);
    return vec_sum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
}

/*
 * Sums down the rows, of floats or of elements. Those of LDAR_GRADIENT_ROWS rows are formed apart, in registers, and
 * added to the result one after the other, so that neither sum is long.
 */
enum { SUM_VECS = 4 };

_Static_assert(LDAR_GRADIENT_ROWS <= UINT8_MAX + 1, "a row's number in its block is a byte");

/* out[first..] += those columns of rows 0..count - 1, or of those that are listed. */
TILE_INLINE void sum_columns(float *out, const void *x, size_t first, const uint8_t *list, size_t count,
                             ptrdiff_t stride, const int of_elements, const int vecs, size_t lanes)
{
    const element *elements = of_elements ? x : NULL;
    const float *floats = of_elements ? NULL : x;
    vec sum[SUM_VECS];
    TILE_UNROLL
    for (int j = 0; j < vecs; j++)
        sum[j] = vec_zero();
    for (size_t i = 0; i < count; i++) {
        const ptrdiff_t at = (ptrdiff_t)(list ? list[i] : i) * stride + (ptrdiff_t)first;
        TILE_UNROLL
        for (int j = 0; j < vecs; j++)
            sum[j] = vec_add(sum[j], of_elements ? load_elements(elements + at + j * VEC_WIDTH, lanes)
                                                 : load_lanes(floats + at + j * VEC_WIDTH, lanes));
    }
    TILE_UNROLL
    for (int j = 0; j < vecs; j++) {
        float *to = out + first + j * VEC_WIDTH;
        store_lanes(to, lanes, vec_add(load_lanes(to, lanes), sum[j]));
    }
}

TILE_INLINE void sum_step(size_t i, size_t lanes, float *out, const void *x, size_t first, const uint8_t *list,
                          size_t count, ptrdiff_t stride, const int of_elements)
{
    sum_columns(out, x, first + i, list, count, stride, of_elements, 1, lanes);
}

/* out (width) += rows of x. */
TILE_INLINE void sum_listed(float *out, const void *x, const uint8_t *list, size_t count, size_t width,
                            ptrdiff_t stride, const int of_elements)
{
    enum { BLOCK = SUM_VECS * VEC_WIDTH };
    const size_t blocks = width / BLOCK * BLOCK;
    for (size_t i = 0; i < blocks; i += BLOCK)
        sum_columns(out, x, i, list, count, stride, of_elements, SUM_VECS, VEC_WIDTH);
    EACH_VECTOR(width - blocks, sum_step, out, x, blocks, list, count, stride, of_elements);
}

static void kernel_sum_rows(float *out, const float *x, size_t rows, size_t width, ptrdiff_t x_stride)
{
    for (size_t count; rows; rows -= count, x += (ptrdiff_t)count * x_stride) {
        count = rows < LDAR_GRADIENT_ROWS ? rows : LDAR_GRADIENT_ROWS;
        sum_listed(out, x, NULL, count, width, x_stride, 0);
    }
}
