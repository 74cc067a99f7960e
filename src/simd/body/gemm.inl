/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Packed GEMM. The weights lie in panels of TILE_COLUMNS columns, (k, TILE_COLUMNS) each, so that the inner loop reads
 * them in order. Panels are the outer loop: 64 rows of `a` stay in L2 while the weights, of which a network holds far
 * more than any cache, stream past once. That stream is the danger: with cold weights the same loop falls to 0.84 of
 * the peak, and bringing the next panel into L2 while this one is used gives 0.95.
 */

static void kernel_gemm_pack(float *packed, const float *weight, size_t n, size_t k, ptrdiff_t stride)
{
    for (size_t first = 0; first < n; first += TILE_COLUMNS, packed += k * TILE_COLUMNS)
        for (size_t j = 0; j < TILE_COLUMNS; j++) {
            const float *row = weight + (ptrdiff_t)(first + j) * stride;
            for (size_t i = 0; i < k; i++)
                packed[i * TILE_COLUMNS + j] = first + j < n ? row[i] : 0.0f;
        }
}

/* Lanes of vector j among `columns` columns. */
static inline size_t gemm_lanes(size_t columns, int j)
{
    size_t before = (size_t)j * VEC_WIDTH;
    return columns <= before ? 0 : columns - before < VEC_WIDTH ? columns - before : VEC_WIDTH;
}

/*
 * t = a w^T over all of k, in stretches of GEMM_DEPTH that are summed apart and then added: one chain of 2560 terms has
 * twice the rounding error of three.
 */
enum { GEMM_DEPTH = 1024 };

TILE_INLINE void gemm_product(struct tile *t, const struct ldar_gemm_args *g, const float *a, const float *panel,
                              const float *ahead, const int rows)
{
    size_t depth = g->k < GEMM_DEPTH ? g->k : GEMM_DEPTH;
    tile_zero(t, rows);
    tile_multiply(t, a, g->a_stride, 1, panel, depth, ahead, rows);
    for (size_t k = depth; k < g->k; k += depth) {
        struct tile more;
        depth = g->k - k < GEMM_DEPTH ? g->k - k : GEMM_DEPTH;
        tile_zero(&more, rows);
        tile_multiply(&more, a + k, g->a_stride, 1, panel + k * TILE_COLUMNS, depth, ahead ? ahead + k * 16 : NULL,
                      rows);
        tile_add(t, &more, rows);
    }
}

/* The product is formed first and C added last: preloading C into the accumulators costs a decimal digit. */
TILE_INLINE void gemm_tile(const struct ldar_gemm_args *g, float *c, const float *a, const float *panel, size_t columns,
                           const float *ahead, const int rows)
{
    struct tile t;
    for (int r = 0; r < rows; r++)
        __builtin_prefetch(c + r * g->c_stride, 1, 3);
    if (ahead)
        gemm_product(&t, g, a, panel, ahead, rows);
    else
        gemm_product(&t, g, a, panel, NULL, rows);
    if (g->mode == LDAR_GEMM_SWIGLU) {
        TILE_UNROLL
        for (int r = 0; r < rows; r++)
            TILE_UNROLL
        for (int j = 0; j < TILE_VECS / 2; j++)
            vec_store(c + r * g->c_stride + j * VEC_WIDTH, vec_mul(t.v[r][j], vec_silu(t.v[r][j + TILE_VECS / 2])));
        return;
    }
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++) {
        float *to = c + r * g->c_stride + j * VEC_WIDTH;
        size_t lanes = gemm_lanes(columns, j);
        vec sum = t.v[r][j];
        if (lanes == VEC_WIDTH)
            vec_store(to, g->mode == LDAR_GEMM_ADD ? vec_add(vec_load(to), sum) : sum);
        else if (lanes)
            vec_store_n(to, lanes, g->mode == LDAR_GEMM_ADD ? vec_add(vec_load_n(to, lanes), sum) : sum);
    }
}

static void gemm_last_rows(const struct ldar_gemm_args *g, float *c, const float *a, const float *panel, size_t columns,
                           size_t rows)
{
    switch (rows) {
#define ROWS(n)                                                                                                        \
    case n:                                                                                                            \
        gemm_tile(g, c, a, panel, columns, NULL, n < TILE_ROWS ? n : TILE_ROWS);                                       \
        break;
        ROWS(1)
        ROWS(2)
        ROWS(3)
        ROWS(4)
        ROWS(5)
        ROWS(6)
        ROWS(7)
#undef ROWS
    default:
        break;
    }
}

static void kernel_gemm(const struct ldar_gemm_args *g)
{
    const size_t blocks_ahead = TILE_COLUMNS / 16; /* a block of rows prefetches one line, 16 floats, per k */
    const size_t whole = g->rows / TILE_ROWS * TILE_ROWS;
    for (size_t first = 0; first < g->n; first += TILE_COLUMNS) {
        const float *panel = g->packed + first * g->k;
        const float *next = first + TILE_COLUMNS < g->n ? panel + TILE_COLUMNS * g->k : g->next;
        float *c = g->c + (g->mode == LDAR_GEMM_SWIGLU ? first / 2 : first);
        size_t columns = g->n - first < TILE_COLUMNS ? g->n - first : TILE_COLUMNS;
        for (size_t row = 0; row < whole; row += TILE_ROWS) {
            size_t block = row / TILE_ROWS;
            const float *ahead = next && block < blocks_ahead ? next + block * g->k * 16 : NULL;
            gemm_tile(g, c + (ptrdiff_t)row * g->c_stride, g->a + (ptrdiff_t)row * g->a_stride, panel, columns, ahead,
                      TILE_ROWS);
        }
        gemm_last_rows(g, c + (ptrdiff_t)whole * g->c_stride, g->a + (ptrdiff_t)whole * g->a_stride, panel, columns,
                       g->rows - whole);
    }
}
