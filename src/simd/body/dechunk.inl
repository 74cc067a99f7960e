/* SPDX-License-Identifier: Apache-2.0 */

enum { EMA_VECS = 4 };

/*
 * EMA_VECS vectors of columns, down the rows, or 1. With p = 1e-4 the average remembers ten thousand rows and the
 * roundings of as many steps: h = (1 - p) h + p x as it stands is wrong by 1e-4, for 1 - p is rounded always the same
 * way, and 2e-6 remain when that is mended. So the rounding errors of 1 - p, of the product and of the sum are found by
 * multiply-adds and carried along as a second, low part of h; 4e-8 remain, at a cost that does not show.
 */
TILE_INLINE void ema_columns(float *out, const float *x, const float *prob, size_t rows, int reverse,
                             ptrdiff_t out_stride, ptrdiff_t x_stride, const int vecs, size_t lanes)
{
    const vec half = vec_set1(0.5f), infinity = vec_set1(INFINITY);
    vec high[EMA_VECS], low[EMA_VECS];
    TILE_UNROLL
    for (int j = 0; j < vecs; j++)
        high[j] = low[j] = vec_zero();
    for (size_t i = 0; i < rows; i++) {
        const size_t row = reverse ? rows - 1 - i : i;
        const float p = prob[row] < 1e-4f ? 1e-4f : prob[row] > 1.0f - 1e-4f ? 1.0f - 1e-4f : prob[row], q = 1.0f - p;
        const vec take = vec_set1(p), keep = vec_set1(q), keep_low = vec_set1((1.0f - q) - p);
        TILE_UNROLL
        for (int j = 0; j < vecs; j++) {
            float *to = out + (ptrdiff_t)row * out_stride + j * VEC_WIDTH;
            vec new = load_lanes(x + (ptrdiff_t)row * x_stride + j * VEC_WIDTH, lanes);
            vec kept = vec_mul(keep, high[j]);
            vec sum = vec_fma(take, new, kept);
            vec error =
                vec_add(vec_fma(keep, high[j], vec_sub(vec_zero(), kept)), vec_fma(take, new, vec_sub(kept, sum)));
            error = vec_fma(keep, low[j], vec_fma(keep_low, high[j], error));
            high[j] = sum;
            low[j] = vec_select_gt(infinity, vec_abs(sum), error, vec_zero());
            vec h = vec_add(sum, low[j]);
            store_lanes(to, lanes, reverse ? vec_fma(half, h, load_lanes(to, lanes)) : vec_mul(half, h));
        }
    }
}

TILE_INLINE void ema_step(size_t i, size_t lanes, float *out, const float *x, const float *prob, size_t rows,
                          int reverse, ptrdiff_t out_stride, ptrdiff_t x_stride)
{
    ema_columns(out + i, x + i, prob, rows, reverse, out_stride, x_stride, 1, lanes);
}

static void kernel_ema(float *out, const float *x, const float *prob, size_t rows, size_t width, int reverse,
                       ptrdiff_t out_stride, ptrdiff_t x_stride)
{
    enum { BLOCK = EMA_VECS * VEC_WIDTH };
    const size_t blocks = width / BLOCK * BLOCK;
    for (size_t i = 0; i < blocks; i += BLOCK)
        ema_columns(out + i, x + i, prob, rows, reverse, out_stride, x_stride, EMA_VECS, VEC_WIDTH);
    EACH_VECTOR(width - blocks, ema_step, out + blocks, x + blocks, prob, rows, reverse, out_stride, x_stride);
}

TILE_INLINE void expand_step(size_t i, size_t lanes, float *out, const float *x, const float *bias)
{
    store_lanes(out + i, lanes, vec_add(load_lanes(x + i, lanes), load_lanes(bias + i, lanes)));
}

static void kernel_expand(float *out, const float *x, const float *bias, const uint32_t *index, size_t rows,
                          size_t width, ptrdiff_t out_stride, ptrdiff_t x_stride)
{
    for (size_t row = 0; row < rows; row++, out += out_stride) {
        const float *from = x + (ptrdiff_t)index[row] * x_stride;
        EACH_VECTOR(width, expand_step, out, from, bias);
    }
}
