/* SPDX-License-Identifier: Apache-2.0 */

enum { EMA_VECS = 4 };

/* p, clamped, and 1 - p with the error of its rounding. */
struct ema_weights {
    vec take, keep, keep_low;
};

static inline struct ema_weights ema_weights(float prob)
{
    const float p = prob < 1e-4f ? 1e-4f : prob > 1.0f - 1e-4f ? 1.0f - 1e-4f : prob, q = 1.0f - p;
    return (struct ema_weights){vec_set1(p), vec_set1(q), vec_set1((1.0f - q) - p)};
}

/* A moving average as an unevaluated sum. */
struct ema {
    vec high, low;
};

/*
 * h = keep h + take x. With p = 1e-4 the average remembers ten thousand rows and the roundings of as many steps:
 * h = (1 - p) h + p x as it stands is wrong by 1e-4, for 1 - p is rounded always the same way, and 2e-6 remain when
 * that is mended. So the rounding errors of 1 - p, of the product and of the sum are found by multiply-adds and carried
 * along as a second, low part of h; 4e-8 remain, at a cost that does not show.
 */
TILE_INLINE vec ema_advance(struct ema *h, vec keep, vec keep_low, vec take, vec x)
{
    vec kept = vec_mul(keep, h->high);
    vec sum = vec_fma(take, x, kept);
    vec error = vec_add(vec_fma(keep, h->high, vec_sub(vec_zero(), kept)), vec_fma(take, x, vec_sub(kept, sum)));
    error = vec_fma(keep, h->low, vec_fma(keep_low, h->high, error));
    h->high = sum;
    h->low = vec_select_gt(vec_set1(INFINITY), vec_abs(sum), error, vec_zero());
    return vec_add(sum, h->low);
}

/* EMA_VECS vectors of columns, down the rows, or 1. */
TILE_INLINE void ema_columns(float *out, const float *x, const float *prob, size_t rows, int reverse,
                             ptrdiff_t out_stride, ptrdiff_t x_stride, const int vecs, size_t lanes)
{
    const vec half = vec_set1(0.5f);
    struct ema average[EMA_VECS];
    TILE_UNROLL
    for (int j = 0; j < vecs; j++)
        average[j] = (struct ema){vec_zero(), vec_zero()};
    for (size_t i = 0; i < rows; i++) {
        const size_t row = reverse ? rows - 1 - i : i;
        const struct ema_weights w = ema_weights(prob[row]);
        TILE_UNROLL
        for (int j = 0; j < vecs; j++) {
            float *to = out + (ptrdiff_t)row * out_stride + j * VEC_WIDTH;
            vec new = load_lanes(x + (ptrdiff_t)row * x_stride + j * VEC_WIDTH, lanes);
            vec h = ema_advance(&average[j], w.keep, w.keep_low, w.take, new);
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

/*
 * The two passes' averages are f_t = q_t f_{t-1} + p_t x_t and b_t = q_t b_{t+1} + p_t x_t, q = 1 - p, and out is half
 * their sum. Their gradients are averages too, that run the other way: df_t = q_{t+1} df_{t+1} + dout_t / 2 and
 * db_t = q_{t-1} db_{t-1} + dout_t / 2. Then dx_t = p_t (df_t + db_t) and
 * dp_t = df_t (x_t - f_{t-1}) + db_t (x_t - b_{t+1}), summed over the columns.
 *
 * So one walk down the rows finds f and db, which leaves x_t - f_{t-1} in scratch and db_t in dx, and one upwards, with
 * b and df, finishes.
 */
TILE_INLINE void ema_backward_down(const struct ldar_ema_backward_args *a, size_t first, const int vecs, size_t lanes)
{
    const ptrdiff_t scratch_stride = (ptrdiff_t)((a->width + 15) / 16 * 16);
    const vec half = vec_set1(0.5f);
    struct ema_weights before = {vec_zero(), vec_zero(), vec_zero()};
    struct ema average[EMA_VECS], slope[EMA_VECS];
    vec f[EMA_VECS];
    TILE_UNROLL
    for (int j = 0; j < vecs; j++) {
        average[j] = slope[j] = (struct ema){vec_zero(), vec_zero()};
        f[j] = vec_zero();
    }
    for (ptrdiff_t row = 0; row < (ptrdiff_t)a->rows; row++) {
        const struct ema_weights w = ema_weights(a->prob[row]);
        TILE_UNROLL
        for (int j = 0; j < vecs; j++) {
            const size_t at = first + (size_t)j * VEC_WIDTH;
            vec x = load_lanes(a->x + row * a->x_stride + at, lanes);
            vec dout = load_lanes(a->dout + row * a->dout_stride + at, lanes);
            vec_store(a->scratch + row * scratch_stride + at, vec_sub(x, f[j]));
            f[j] = ema_advance(&average[j], w.keep, w.keep_low, w.take, x);
            store_lanes(a->dx + row * a->dx_stride + at, lanes,
                        ema_advance(&slope[j], before.keep, before.keep_low, half, dout));
        }
        before = w;
    }
}

TILE_INLINE void ema_backward_up(const struct ldar_ema_backward_args *a, size_t first, const int vecs, size_t lanes)
{
    const ptrdiff_t scratch_stride = (ptrdiff_t)((a->width + 15) / 16 * 16);
    const vec half = vec_set1(0.5f);
    struct ema_weights after = {vec_zero(), vec_zero(), vec_zero()};
    struct ema average[EMA_VECS], slope[EMA_VECS];
    vec b[EMA_VECS];
    TILE_UNROLL
    for (int j = 0; j < vecs; j++) {
        average[j] = slope[j] = (struct ema){vec_zero(), vec_zero()};
        b[j] = vec_zero();
    }
    for (ptrdiff_t row = (ptrdiff_t)a->rows - 1; row >= 0; row--) {
        const struct ema_weights w = ema_weights(a->prob[row]);
        vec dprob = vec_zero();
        TILE_UNROLL
        for (int j = 0; j < vecs; j++) {
            const size_t at = first + (size_t)j * VEC_WIDTH;
            float *to = a->dx + row * a->dx_stride + at;
            vec x = load_lanes(a->x + row * a->x_stride + at, lanes), db = load_lanes(to, lanes);
            vec dout = load_lanes(a->dout + row * a->dout_stride + at, lanes);
            vec df = ema_advance(&slope[j], after.keep, after.keep_low, half, dout);
            dprob = vec_fma(df, vec_load(a->scratch + row * scratch_stride + at), dprob);
            dprob = vec_fma(db, vec_sub(x, b[j]), dprob);
            b[j] = ema_advance(&average[j], w.keep, w.keep_low, w.take, x);
            store_lanes(to, lanes, vec_mul(w.take, vec_add(df, db)));
        }
        a->dprob[row] += vec_sum(dprob);
        after = w;
    }
}

TILE_INLINE void ema_backward_step(size_t i, size_t lanes, const struct ldar_ema_backward_args *a, size_t first)
{
    ema_backward_down(a, first + i, 1, lanes);
    ema_backward_up(a, first + i, 1, lanes);
}

static void kernel_ema_backward(const struct ldar_ema_backward_args *a)
{
    enum { BLOCK = EMA_VECS * VEC_WIDTH };
    const size_t blocks = a->width / BLOCK * BLOCK;
    memset(a->dprob, 0, a->rows * sizeof *a->dprob);
    for (size_t i = 0; i < blocks; i += BLOCK) {
        ema_backward_down(a, i, EMA_VECS, VEC_WIDTH);
        ema_backward_up(a, i, EMA_VECS, VEC_WIDTH);
    }
    EACH_VECTOR(a->width - blocks, ema_backward_step, a, blocks);
    for (size_t row = 0; row < a->rows; row++)
        if (a->prob[row] < 1e-4f || a->prob[row] > 1.0f - 1e-4f)
            a->dprob[row] = 0.0f;
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

static void kernel_expand_backward(float *dx, float *dprob, const float *dout, const float *x, const uint32_t *position,
                                   size_t chunks, size_t width, ptrdiff_t dx_stride, ptrdiff_t dout_stride,
                                   ptrdiff_t x_stride)
{
    for (size_t chunk = 0; chunk < chunks; chunk++, dx += dx_stride, x += x_stride) {
        const size_t first = position[chunk], end = position[chunk + 1];
        memset(dx, 0, width * sizeof *dx);
        kernel_sum_rows(dx, dout + (ptrdiff_t)first * dout_stride, end - first, width, dout_stride);
        for (size_t row = first; row < end; row++) {
            const float product = dot(dout + (ptrdiff_t)row * dout_stride, x, width);
            dprob[row] = row == first ? product : -product;
        }
    }
}
