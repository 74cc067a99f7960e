/* SPDX-License-Identifier: Apache-2.0 */

static void kernel_embed(void *to, const void *rows_of_table, const uint8_t *ids, size_t rows, size_t width,
                         ptrdiff_t out_stride, ptrdiff_t table_stride)
{
    element *out = to;
    const element *table = rows_of_table;
    for (size_t row = 0; row < rows; row++, out += out_stride)
        memcpy(out, table + ids[row] * table_stride, width * sizeof *out);
}

/* The rows of each symbol, ascending: of symbol s list[first[s]] .. list[first[s + 1] - 1]. Returns their number. */
static size_t sum_by_symbol(uint8_t list[LDAR_GRADIENT_ROWS], size_t first[UINT8_MAX + 2], const uint8_t *ids,
                            size_t rows)
{
    size_t symbols = 0, count[UINT8_MAX + 1] = {0};
    for (size_t row = 0; row < rows; row++) {
        count[ids[row]]++;
        symbols = ids[row] >= symbols ? (size_t)ids[row] + 1 : symbols;
    }
    first[0] = 0;
    for (size_t symbol = 0; symbol < symbols; symbol++) {
        first[symbol + 1] = first[symbol] + count[symbol];
        count[symbol] = first[symbol];
    }
    for (size_t row = 0; row < rows; row++)
        list[count[ids[row]]++] = (uint8_t)row;
    return symbols;
}

static void kernel_embed_backward(float *dtable, const void *gradients, const uint8_t *ids, size_t rows, size_t width,
                                  ptrdiff_t dtable_stride, ptrdiff_t dy_stride)
{
    const element *dy = gradients;
    uint8_t list[LDAR_GRADIENT_ROWS];
    size_t first[UINT8_MAX + 2];
    for (size_t count; rows; rows -= count, ids += count, dy += (ptrdiff_t)count * dy_stride) {
        count = rows < LDAR_GRADIENT_ROWS ? rows : LDAR_GRADIENT_ROWS;
        const size_t symbols = sum_by_symbol(list, first, ids, count);
        for (size_t symbol = 0; symbol < symbols; symbol++)
            if (first[symbol] < first[symbol + 1])
                sum_listed(dtable + (ptrdiff_t)symbol * dtable_stride, dy, list + first[symbol],
                           first[symbol + 1] - first[symbol], width, dy_stride, 1);
    }
}

TILE_INLINE void round_step(size_t i, size_t lanes, element *out, const float *x)
{
    store_elements(out + i, lanes, load_lanes(x + i, lanes));
}

static void kernel_round_rows(void *to, const float *x, size_t rows, size_t width, ptrdiff_t out_stride,
                              ptrdiff_t x_stride)
{
    element *out = to;
    for (size_t row = 0; row < rows; row++, out += out_stride, x += x_stride)
        EACH_VECTOR(width, round_step, out, x);
}

/* A dot product per symbol: with seven of them there is no matrix to speak of. */
static void kernel_head(float *out, const float *x, const float *weight, size_t rows, size_t width, size_t symbols,
                        ptrdiff_t x_stride)
{
    for (size_t row = 0; row < rows; row++, x += x_stride)
        for (size_t symbol = 0; symbol < symbols; symbol++)
            *out++ = dot(x, weight + symbol * width, width);
}

/* A block of rows whose products are summed before they are added to dweight, and those of them that are not zero. */
struct head_block {
    float *dx, *dweight;
    const float *dlogits, *x, *weight;
    size_t width, symbols, count;
    ptrdiff_t dx_stride, x_stride;
    uint8_t list[LDAR_TILE];
};

/* dx = dlogits weight for some columns of the listed rows. */
TILE_INLINE void head_backward_rows(const struct head_block *b, size_t first, const int vecs, size_t lanes)
{
    for (size_t i = 0; i < b->count; i++) {
        const float *dlogits = b->dlogits + b->list[i] * b->symbols, *weight = b->weight + first;
        vec sum[SUM_VECS];
        TILE_UNROLL
        for (int j = 0; j < vecs; j++)
            sum[j] = vec_zero();
        for (size_t symbol = 0; symbol < b->symbols; symbol++, weight += b->width)
            TILE_UNROLL
        for (int j = 0; j < vecs; j++)
            sum[j] = vec_fma(vec_set1(dlogits[symbol]), load_lanes(weight + j * VEC_WIDTH, lanes), sum[j]);
        TILE_UNROLL
        for (int j = 0; j < vecs; j++)
            store_lanes(b->dx + b->list[i] * b->dx_stride + first + j * VEC_WIDTH, lanes, sum[j]);
    }
}

/* dweight += dlogits^T x for some columns. */
TILE_INLINE void head_backward_weight(const struct head_block *b, size_t first, const int vecs, size_t lanes)
{
    for (size_t symbol = 0; symbol < b->symbols; symbol++) {
        float *to = b->dweight + symbol * b->width + first;
        vec sum[SUM_VECS];
        TILE_UNROLL
        for (int j = 0; j < vecs; j++)
            sum[j] = vec_zero();
        for (size_t i = 0; i < b->count; i++) {
            const vec slope = vec_set1(b->dlogits[b->list[i] * b->symbols + symbol]);
            const float *x = b->x + b->list[i] * b->x_stride + first;
            TILE_UNROLL
            for (int j = 0; j < vecs; j++)
                sum[j] = vec_fma(slope, load_lanes(x + j * VEC_WIDTH, lanes), sum[j]);
        }
        TILE_UNROLL
        for (int j = 0; j < vecs; j++)
            store_lanes(to + j * VEC_WIDTH, lanes, vec_add(load_lanes(to + j * VEC_WIDTH, lanes), sum[j]));
    }
}

TILE_INLINE void head_backward_step(size_t i, size_t lanes, const struct head_block *b, size_t first, const int vecs)
{
    head_backward_rows(b, first + i, vecs, lanes);
    head_backward_weight(b, first + i, vecs, lanes);
}

static void head_backward_block(struct head_block *b, size_t rows)
{
    enum { BLOCK = SUM_VECS * VEC_WIDTH };
    const size_t blocks = b->width / BLOCK * BLOCK;
    b->count = 0;
    for (size_t row = 0; row < rows; row++) {
        size_t zeros = 0;
        while (zeros < b->symbols && b->dlogits[row * b->symbols + zeros] == 0.0f)
            zeros++;
        if (zeros < b->symbols)
            b->list[b->count++] = (uint8_t)row;
        else
            memset(b->dx + (ptrdiff_t)row * b->dx_stride, 0, b->width * sizeof *b->dx);
    }
    for (size_t i = 0; i < blocks; i += BLOCK)
        head_backward_step(i, VEC_WIDTH, b, 0, SUM_VECS);
    EACH_VECTOR(b->width - blocks, head_backward_step, b, blocks, 1);
}

/* Few rows have a loss, those with a mask: the others are passed over. */
static void kernel_head_backward(float *dx, float *dweight, const float *dlogits, const float *x, const float *weight,
                                 size_t rows, size_t width, size_t symbols, ptrdiff_t dx_stride, ptrdiff_t x_stride)
{
    for (size_t row = 0; row < rows; row += LDAR_TILE) {
        struct head_block block = {.dx = dx + (ptrdiff_t)row * dx_stride,
                                   .dweight = dweight,
                                   .dlogits = dlogits + row * symbols,
                                   .x = x + (ptrdiff_t)row * x_stride,
                                   .weight = weight,
                                   .width = width,
                                   .symbols = symbols,
                                   .dx_stride = dx_stride,
                                   .x_stride = x_stride};
        head_backward_block(&block, rows - row < LDAR_TILE ? rows - row : LDAR_TILE);
    }
}
