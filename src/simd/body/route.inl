/* SPDX-License-Identifier: Apache-2.0 */

/* Reciprocals of the norms of one row of q and of k. */
struct route_row {
    float q, k;
};

static inline float route_scale(float squares)
{
    float norm = sqrtf(squares);
    return 1.0f / (norm < 1e-12f ? 1e-12f : norm);
}

static inline struct route_row route_scales(const float *q, const float *k, size_t width)
{
    return (struct route_row){route_scale(dot(q, q, width)), route_scale(dot(k, k, width))};
}

static void kernel_route(float *prob, const float *q, const float *k, size_t rows, size_t width, size_t before,
                         ptrdiff_t stride)
{
    if (rows == 0)
        return;
    struct route_row last = {0, 0};
    if (before)
        last = route_scales(q - stride, k - stride, width);
    for (size_t row = 0; row < rows; row++, q += stride, k += stride) {
        struct route_row here = route_scales(q, k, width);
        if (row == 0 && !before) {
            prob[row] = 1.0f;
        } else {
            float before_here = dot(q - stride, k, width) * last.q * here.k;
            float here_before = dot(q, k - stride, width) * here.q * last.k;
            float p = 0.5f - 0.25f * (before_here + here_before);
            prob[row] = p < 0.0f ? 0.0f : p > 1.0f ? 1.0f : p;
        }
        last = here;
    }
}

/* Two neighbouring rows: what the loss asks of their cosines, -dprob / 4, and the products of upper and lower row. */
struct route_link {
    int there;
    float slope, q_k, k_q;
};

static inline struct route_link route_link(float dprob, const float *q, const float *k, size_t width, ptrdiff_t stride)
{
    return (struct route_link){1, -0.25f * dprob, dot(q - stride, k, width), dot(k - stride, q, width)};
}

/* What one row of q or k meets above or below: the other's row, its scale, their product; the row itself if nobody. */
struct route_side {
    const float *x;
    float slope, scale, product;
};

TILE_INLINE void route_backward_step(size_t i, size_t lanes, float *out, const float *row, float self,
                                     const struct route_side *above, const struct route_side *below)
{
    vec sum = vec_mul(vec_set1(self), load_lanes(row + i, lanes));
    sum = vec_fma(vec_set1(above->slope), load_lanes(above->x + i, lanes), sum);
    store_lanes(out + i, lanes, vec_fma(vec_set1(below->slope), load_lanes(below->x + i, lanes), sum));
}

/*
 * The gradient of one row x with the scale s = 1 / |x|: with u = s x and v the normalised neighbours, the loss asks
 * slope v of u, and of that x gets s times what is orthogonal to u. A norm at its floor is a constant: x gets all.
 */
static inline void route_backward_row(float *out, const float *row, float scale, struct route_side above,
                                      struct route_side below, size_t width)
{
    const float floored = 1.0f / 1e-12f;
    above.slope *= scale * above.scale;
    below.slope *= scale * below.scale;
    const float along = above.slope * above.product + below.slope * below.product;
    const float self = scale == floored ? 0.0f : -(scale * scale) * along;
    EACH_VECTOR(width, route_backward_step, out, row, self, &above, &below);
}

static void kernel_route_backward(const struct ldar_route_backward_args *a)
{
    if (a->rows == 0)
        return;
    const ptrdiff_t stride = a->stride;
    const size_t width = a->width;
    const float *q = a->q, *k = a->k;
    struct route_row above = {0, 0}, here = route_scales(q, k, width);
    struct route_link up = {0, 0, 0, 0};
    if (a->before) {
        above = route_scales(q - stride, k - stride, width);
        up = route_link(a->dprob[0], q, k, width, stride);
    }
    for (size_t row = 0; row < a->rows; row++, q += stride, k += stride) {
        struct route_row below = {0, 0};
        struct route_link down = {0, 0, 0, 0};
        if (row + 1 < a->rows || a->after) {
            below = route_scales(q + stride, k + stride, width);
            down = route_link(a->dprob[row + 1], q + stride, k + stride, width, stride);
        }
        route_backward_row(a->dq + (ptrdiff_t)row * a->gradient_stride, q, here.q,
                           (struct route_side){up.there ? k - stride : q, up.slope, above.k, up.k_q},
                           (struct route_side){down.there ? k + stride : q, down.slope, below.k, down.q_k}, width);
        route_backward_row(a->dk + (ptrdiff_t)row * a->gradient_stride, k, here.k,
                           (struct route_side){up.there ? q - stride : k, up.slope, above.q, up.q_k},
                           (struct route_side){down.there ? q + stride : k, down.slope, below.q, down.k_q}, width);
        above = here;
        here = below;
        up = down;
    }
}
