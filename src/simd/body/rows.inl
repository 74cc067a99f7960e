/* SPDX-License-Identifier: Apache-2.0 */

static void kernel_embed(void *to, const void *rows_of_table, const uint8_t *ids, size_t rows, size_t width,
                         ptrdiff_t out_stride, ptrdiff_t table_stride)
{
    element *out = to;
    const element *table = rows_of_table;
    for (size_t row = 0; row < rows; row++, out += out_stride)
        memcpy(out, table + ids[row] * table_stride, width * sizeof *out);
}

/* A dot product per symbol: with seven of them there is no matrix to speak of. */
static void kernel_head(float *out, const float *x, const float *weight, size_t rows, size_t width, size_t symbols,
                        ptrdiff_t x_stride)
{
    for (size_t row = 0; row < rows; row++, x += x_stride)
        for (size_t symbol = 0; symbol < symbols; symbol++)
            *out++ = dot(x, weight + symbol * width, width);
}
