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
