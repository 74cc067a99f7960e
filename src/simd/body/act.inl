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
