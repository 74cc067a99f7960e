/* SPDX-License-Identifier: Apache-2.0 */

TILE_INLINE void rms_norm_step(size_t i, size_t lanes, element *out, const float *x, const float *weight, vec scale)
{
    store_elements(out + i, lanes, vec_mul(vec_mul(load_lanes(x + i, lanes), scale), load_lanes(weight + i, lanes)));
}

static void kernel_rms_norm(void *to, const float *x, const float *weight, size_t rows, size_t width, float eps,
                            ptrdiff_t out_stride, ptrdiff_t x_stride)
{
    element *out = to;
    for (size_t row = 0; row < rows; row++, out += out_stride, x += x_stride) {
        const vec scale = vec_set1(1.0f / sqrtf(dot(x, x, width) / (float)width + eps));
        EACH_VECTOR(width, rms_norm_step, out, x, weight, scale);
    }
}

TILE_INLINE void weighted_dot_step(size_t i, size_t lanes, vec *sum, const float *a, const float *b, const float *c)
{
    vec product = vec_mul(load_lanes(a + i, lanes), load_lanes(b + i, lanes));
    *sum = vec_fma(product, load_lanes(c + i, lanes), *sum);
}

/* sum_i a[i] b[i] c[i], in the shape of `dot`. */
static inline float weighted_dot(const float *a, const float *b, const float *c, size_t n)
{
    enum { BLOCK = 4 * VEC_WIDTH };
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    const size_t blocks = n / BLOCK * BLOCK;
    for (size_t i = 0; i < blocks; i += BLOCK)
        TILE_UNROLL
    for (size_t j = 0; j < 4; j++)
        weighted_dot_step(i + j * VEC_WIDTH, VEC_WIDTH, &sum[j], a, b, c);
    EACH_VECTOR(n - blocks, weighted_dot_step, &sum[0], a + blocks, b + blocks, c + blocks);
    return vec_sum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
}

/* With s = 1 / sqrt(mean(x^2) + eps): dx = s w dy - x s^3 mean(x w dy), dweight = sum s x dy. */
TILE_INLINE void rms_norm_backward_step(size_t i, size_t lanes, float *dx, float *dweight, const float *dy,
                                        const float *from, const float *weight, vec scale, vec along)
{
    const vec x = load_lanes(from + i, lanes), scaled = vec_mul(load_lanes(dy + i, lanes), scale);
    const vec gradient = vec_fnma(x, along, vec_mul(scaled, load_lanes(weight + i, lanes)));
    store_lanes(dweight + i, lanes, vec_fma(scaled, x, load_lanes(dweight + i, lanes)));
    store_lanes(dx + i, lanes, vec_add(load_lanes(dx + i, lanes), gradient));
}

static void kernel_rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x, const float *weight,
                                     size_t rows, size_t width, float eps, ptrdiff_t dx_stride, ptrdiff_t dy_stride,
                                     ptrdiff_t x_stride)
{
    for (size_t row = 0; row < rows; row++, dx += dx_stride, dy += dy_stride, x += x_stride) {
        const float s = 1.0f / sqrtf(dot(x, x, width) / (float)width + eps);
        const vec scale = vec_set1(s), along = vec_set1(s * weighted_dot(dy, weight, x, width) / (float)width * s * s);
        EACH_VECTOR(width, rms_norm_backward_step, dx, dweight, dy, x, weight, scale, along);
    }
}

TILE_INLINE vec gated(size_t i, size_t lanes, vec gate, const element *y, vec *sum)
{
    vec v = vec_mul(gate, load_elements(y + i, lanes));
    *sum = vec_fma(v, v, *sum);
    return v;
}

/*
 * The gate is the cost of this kernel, so it is computed once for both directions and the gated rows are kept. z is
 * part of a wider row: without a hint the next row's begins with a miss (800 ns a row of 1024, 520 with it).
 */
TILE_INLINE void gate_step(size_t i, size_t lanes, float *const kept[2], vec sum[2], const element *z,
                           const element *const y[2], const element *ahead)
{
    __builtin_prefetch(ahead + i, 0, 3);
    const vec gate = element_silu(load_elements(z + i, lanes));
    TILE_UNROLL
    for (int j = 0; j < 2; j++)
        store_lanes(kept[j] + i, lanes, gated(i, lanes, gate, y[j], &sum[j]));
}

/* The mean of both directions, of gated[j] scale[j] each; half of it is in the scales. */
TILE_INLINE vec gated_mean(vec left, vec right, const vec scale[2], vec weight_left, vec weight_right)
{
    return vec_fma(vec_mul(right, scale[1]), weight_right, vec_mul(vec_mul(left, scale[0]), weight_left));
}

TILE_INLINE void gated_mean_step(size_t i, size_t lanes, element *out, float *const kept[2], const vec scale[2],
                                 const float *const weight[2])
{
    store_elements(out + i, lanes,
                   gated_mean(load_lanes(kept[0] + i, lanes), load_lanes(kept[1] + i, lanes), scale,
                              load_lanes(weight[0] + i, lanes), load_lanes(weight[1] + i, lanes)));
}

/* Half of 1 / sqrt(mean(v^2) + eps), of the sum of squares. */
static inline float gated_scale(vec sum, size_t width, float eps)
{
    return 0.5f / sqrtf(vec_sum(sum) / (float)width + eps);
}

static void kernel_gated_norm(const struct ldar_gated_norm_args *a)
{
    const size_t width = a->width;
    const float *const weight[2] = {a->weight[0], a->weight[1]};
    float *const kept[2] = {a->scratch, a->scratch + width};
    const element *z = a->z, *y[2] = {a->y[0], a->y[1]};
    element *out = a->out;
    for (size_t row = 0; row < a->rows; row++) {
        const element *ahead = z + (row + 1 < a->rows ? a->z_stride : 0);
        vec sum[2] = {vec_zero(), vec_zero()}, scale[2];
        EACH_VECTOR(width, gate_step, kept, sum, z, y, ahead);
        for (int j = 0; j < 2; j++)
            scale[j] = vec_set1(gated_scale(sum[j], width, a->eps));
        EACH_VECTOR(width, gated_mean_step, out, kept, scale, weight);
        z += a->z_stride, y[0] += a->y_stride[0], y[1] += a->y_stride[1], out += a->out_stride;
    }
}

/*
 * With v_j = y_j silu(z) and h_j = 1 / (2 sqrt(mean(v_j^2) + eps)), which is the forward kernel's scale:
 *   dv_j = h_j w_j dout - v_j 4 h_j^3 mean(v_j w_j dout),  dy_j = dv_j silu(z),  dz = (sum_j dv_j y_j) silu'(z).
 * Neither sum over the row needs the other, so silu and its slope are computed in one pass, which keeps them, and all
 * gradients in a second. The first asks for the lines that the second writes, the second for the next row's z: 660 ns
 * a row of 1024 instead of 1080 where the rows are not in L2 (Zen 5, AVX-512).
 *
 * Road not taken: two or three rows at a time in the second pass, so that weights are loaded once for all. It writes
 * twelve streams then instead of six, and takes as long from L1 and a fifth longer from L2.
 */
struct gated_row {
    element *out, *dz, *dy[2];
    const float *dout;
    const element *z, *y[2];
    float *gate, *slope;
};

struct gated_sums {
    vec square[2], product[2]; /* of v^2; of v w dout */
};

TILE_INLINE void gated_sums_step(size_t i, size_t lanes, const struct gated_row *row, struct gated_sums *sums,
                                 const float *const weight[2])
{
    vec slope;
    __builtin_prefetch(row->out + i, 1, 3);
    __builtin_prefetch(row->dz + i, 1, 3);
    __builtin_prefetch(row->dy[0] + i, 1, 3);
    __builtin_prefetch(row->dy[1] + i, 1, 3);
    const vec gate = element_silu_slope(load_elements(row->z + i, lanes), &slope);
    const vec dout = load_lanes(row->dout + i, lanes);
    store_lanes(row->gate + i, lanes, gate);
    store_lanes(row->slope + i, lanes, slope);
    TILE_UNROLL
    for (int j = 0; j < 2; j++) {
        vec v = gated(i, lanes, gate, row->y[j], &sums->square[j]);
        sums->product[j] = vec_fma(vec_mul(v, load_lanes(weight[j] + i, lanes)), dout, sums->product[j]);
    }
}

TILE_INLINE void gated_gradient_step(size_t i, size_t lanes, const struct gated_row *row, const vec scale[2],
                                     const vec along[2], float *const dweight[2], const float *const weight[2],
                                     const element *ahead)
{
    const vec gate = load_lanes(row->gate + i, lanes), dout = load_lanes(row->dout + i, lanes);
    vec v[2], w[2], dgate = vec_zero();
    __builtin_prefetch(ahead + i, 0, 3);
    TILE_UNROLL
    for (int j = 0; j < 2; j++) {
        const vec y = load_elements(row->y[j] + i, lanes), scaled = vec_mul(dout, scale[j]);
        v[j] = vec_mul(gate, y), w[j] = load_lanes(weight[j] + i, lanes);
        store_lanes(dweight[j] + i, lanes, vec_fma(scaled, v[j], load_lanes(dweight[j] + i, lanes)));
        const vec dv = vec_fnma(v[j], along[j], vec_mul(scaled, w[j]));
        store_elements(row->dy[j] + i, lanes, vec_mul(dv, gate));
        dgate = vec_fma(dv, y, dgate);
    }
    store_elements(row->dz + i, lanes, vec_mul(dgate, load_lanes(row->slope + i, lanes)));
    store_elements(row->out + i, lanes, gated_mean(v[0], v[1], scale, w[0], w[1]));
}

static inline struct gated_row gated_row(const struct ldar_gated_norm_backward_args *a, size_t index)
{
    const ptrdiff_t i = (ptrdiff_t)index, at[2] = {i * a->y_stride[0], i * a->y_stride[1]};
    return (struct gated_row){.out = (element *)a->out + i * a->out_stride,
                              .dz = (element *)a->dz + i * a->dz_stride,
                              .dy = {(element *)a->dy[0] + at[0], (element *)a->dy[1] + at[1]},
                              .dout = a->dout + i * a->dout_stride,
                              .z = (const element *)a->z + i * a->z_stride,
                              .y = {(const element *)a->y[0] + at[0], (const element *)a->y[1] + at[1]},
                              .gate = a->scratch,
                              .slope = a->scratch + a->width};
}

static void kernel_gated_norm_backward(const struct ldar_gated_norm_backward_args *a)
{
    const size_t width = a->width;
    const float *const weight[2] = {a->weight[0], a->weight[1]};
    float *const dweight[2] = {a->dweight[0], a->dweight[1]};
    for (size_t index = 0; index < a->rows; index++) {
        const struct gated_row row = gated_row(a, index);
        const element *ahead = row.z + (index + 1 < a->rows ? a->z_stride : 0);
        struct gated_sums sums = {{vec_zero(), vec_zero()}, {vec_zero(), vec_zero()}};
        vec scale[2], along[2];
        EACH_VECTOR(width, gated_sums_step, &row, &sums, weight);
        for (int j = 0; j < 2; j++) {
            const float h = gated_scale(sums.square[j], width, a->eps);
            scale[j] = vec_set1(h);
            along[j] = vec_set1(4.0f * (h * vec_sum(sums.product[j]) / (float)width) * h * h);
        }
        EACH_VECTOR(width, gated_gradient_step, &row, scale, along, dweight, weight, ahead);
    }
}
