/* SPDX-License-Identifier: Apache-2.0 */

TILE_INLINE void swiglu_step(size_t i, size_t lanes, float *out, const float *up, const float *gate)
{
    store_lanes(out + i, lanes, vec_mul(load_lanes(up + i, lanes), vec_silu(load_lanes(gate + i, lanes))));
}

static void kernel_swiglu(float *out, const float *up, const float *gate, size_t rows, size_t width,
                          ptrdiff_t out_stride, ptrdiff_t in_stride)
{
    for (size_t row = 0; row < rows; row++, out += out_stride, up += in_stride, gate += in_stride)
        EACH_VECTOR(width, swiglu_step, out, up, gate);
}

/* Columns of up, and of gate behind them, in a panel that gemm stored. */
enum { SWIGLU_HALF = TILE_COLUMNS / 2 };

TILE_INLINE void swiglu_panel_step(element *out, const element *up)
{
    TILE_UNROLL
    for (int j = 0; j < SWIGLU_HALF; j += VEC_WIDTH)
        element_store(out + j, vec_mul(element_load(up + j), element_silu(element_load(up + SWIGLU_HALF + j))));
}

static void kernel_swiglu_panels(void *to, const void *hidden, size_t rows, size_t width, ptrdiff_t out_stride,
                                 ptrdiff_t hidden_stride)
{
    element *out = to;
    const element *panels = hidden;
    assert(width % SWIGLU_HALF == 0);
    for (size_t row = 0; row < rows; row++, out += out_stride, panels += hidden_stride)
        for (size_t i = 0; i < width; i += SWIGLU_HALF)
            swiglu_panel_step(out + i, panels + 2 * i);
}

/* h has the bits of swiglu_panels, and may stand in for it where that was not kept. */
TILE_INLINE void swiglu_backward_step(element *h, element *dup, element *dgate, const float *dh, const element *up)
{
    TILE_UNROLL
    for (int j = 0; j < SWIGLU_HALF; j += VEC_WIDTH) {
        vec slope, u = element_load(up + j), gradient = vec_load(dh + j);
        const vec gate = element_silu_slope(element_load(up + SWIGLU_HALF + j), &slope);
        element_store(h + j, vec_mul(u, gate));
        element_store(dup + j, vec_mul(gradient, gate));
        element_store(dgate + j, vec_mul(vec_mul(gradient, slope), u));
    }
}

static void kernel_swiglu_backward(void *h, void *dhidden, const float *dh, const void *hidden, size_t rows,
                                   size_t width, ptrdiff_t h_stride, ptrdiff_t dhidden_stride, ptrdiff_t dh_stride,
                                   ptrdiff_t hidden_stride)
{
    element *product = h, *dup = dhidden;
    const element *panels = hidden;
    assert(width % SWIGLU_HALF == 0);
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < width; i += SWIGLU_HALF)
            swiglu_backward_step(product + i, dup + i, dup + width + i, dh + i, panels + 2 * i);
        product += h_stride, dup += dhidden_stride, dh += dh_stride, panels += hidden_stride;
    }
}
