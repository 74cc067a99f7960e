/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Packed GEMM. The weights lie in panels of TILE_COLUMNS columns, (k, TILE_COLUMNS) operands each, so that the inner
 * loop reads them in order. Panels are the outer loop: 64 rows of `a` stay in L2 while the weights, of which a network
 * holds far more than any cache, stream past once. That stream is the danger: with cold weights the same loop falls to
 * 0.84 of the peak, and bringing the next panel into L2 while this one is used gives 0.95.
 */

/* VEC_WIDTH rows of VEC_WIDTH operands of the weights, transposed; zeros where there are none. */
static inline void gemm_pack_block(float *out, ptrdiff_t out_stride, const float *weight, ptrdiff_t stride, size_t rows,
                                   size_t k)
{
    float block[VEC_WIDTH * VEC_WIDTH];
    for (size_t r = 0; r < VEC_WIDTH; r++) {
        element *row = (element *)(void *)(block + r * VEC_WIDTH);
        for (size_t i = 0; i < OPERAND * VEC_WIDTH; i += VEC_WIDTH) {
            size_t lanes = r >= rows || i >= k ? 0 : k - i < VEC_WIDTH ? k - i : VEC_WIDTH;
            element_store(row + i, lanes ? load_lanes(weight + (ptrdiff_t)r * stride + i, lanes) : vec_zero());
        }
    }
    vec_transpose(out, out_stride, block, VEC_WIDTH);
}

static void kernel_gemm_pack(void *packed, const float *weight, size_t n, size_t k, ptrdiff_t stride)
{
    const size_t depth = (k + OPERAND - 1) / OPERAND;
    float *panel = packed;
    for (size_t first = 0; first < n; first += TILE_COLUMNS, panel += depth * TILE_COLUMNS)
        for (size_t j = 0; j < TILE_COLUMNS; j += VEC_WIDTH) {
            const size_t rows = first + j < n ? n - first - j : 0;
            const float *row = weight + (ptrdiff_t)(rows ? first + j : 0) * stride;
            for (size_t i = 0; i < depth; i += VEC_WIDTH) {
                float *out = panel + i * TILE_COLUMNS + j, last[VEC_WIDTH * VEC_WIDTH];
                if (i + VEC_WIDTH <= depth) {
                    gemm_pack_block(out, TILE_COLUMNS, row + i * OPERAND, stride, rows, k - i * OPERAND);
                    continue;
                }
                gemm_pack_block(last, VEC_WIDTH, row + i * OPERAND, stride, rows, k - i * OPERAND);
                for (size_t r = 0; i + r < depth; r++)
                    memcpy(out + r * TILE_COLUMNS, last + r * VEC_WIDTH, VEC_WIDTH * sizeof *out);
            }
        }
}

/* Lanes of vector j among `columns` columns. */
static inline size_t gemm_lanes(size_t columns, int j)
{
    size_t before = (size_t)j * VEC_WIDTH;
    return columns <= before ? 0 : columns - before < VEC_WIDTH ? columns - before : VEC_WIDTH;
}

/*
 * t = a w^T over all of k, in stretches of GEMM_DEPTH operands that are summed apart and then added: one chain of 2560
 * terms has twice the rounding error of three.
 */
enum { GEMM_DEPTH = 1024 };

/* The last of an odd number of elements has no neighbour that could be read. */
TILE_INLINE void gemm_last_element(struct tile *t, const struct ldar_gemm_args *g, const float *a, const float *panel,
                                   const int rows)
{
    float last[GEMM_ROWS];
    for (int r = 0; r < rows; r++) {
        last[r] = 0;
        memcpy(&last[r], (const element *)(a + r * (g->a_stride / OPERAND)) + g->k - 1, sizeof(element));
    }
    tile_multiply(t, last, 1, 0, panel + g->k / OPERAND * TILE_COLUMNS, 1, NULL, rows);
}

TILE_INLINE void gemm_product(struct tile *t, const struct ldar_gemm_args *g, const float *a, const float *panel,
                              const float *ahead, const int rows)
{
    const size_t whole = g->k / OPERAND;
    const ptrdiff_t stride = g->a_stride / OPERAND;
    size_t depth = whole < GEMM_DEPTH ? whole : GEMM_DEPTH;
    tile_zero(t, rows);
    tile_multiply(t, a, stride, 1, panel, depth, ahead, rows);
    for (size_t k = depth; k < whole; k += depth) {
        struct tile more;
        depth = whole - k < GEMM_DEPTH ? whole - k : GEMM_DEPTH;
        tile_zero(&more, rows);
        tile_multiply(&more, a + k, stride, 1, panel + k * TILE_COLUMNS, depth, ahead ? ahead + k * 16 : NULL, rows);
        tile_add(t, &more, rows);
    }
    if (g->k % OPERAND)
        gemm_last_element(t, g, a, panel, rows);
}

TILE_INLINE void gemm_store_swiglu(const struct tile *t, element *c, ptrdiff_t stride, const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS / 2; j++)
        element_store(c + r * stride + j * VEC_WIDTH, vec_mul(t->v[r][j], element_silu(t->v[r][j + TILE_VECS / 2])));
}

TILE_INLINE void gemm_store_elements(const struct tile *t, element *c, ptrdiff_t stride, size_t columns, const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++) {
        size_t lanes = gemm_lanes(columns, j);
        if (lanes)
            store_elements(c + r * stride + j * VEC_WIDTH, lanes, t->v[r][j]);
    }
}

/* The product is formed first and C added last: preloading C into the accumulators costs a decimal digit. */
TILE_INLINE void gemm_store_floats(const struct tile *t, float *c, ptrdiff_t stride, size_t columns, int add,
                                   const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++) {
        float *to = c + r * stride + j * VEC_WIDTH;
        size_t lanes = gemm_lanes(columns, j);
        if (lanes)
            store_lanes(to, lanes, add ? vec_add(load_lanes(to, lanes), t->v[r][j]) : t->v[r][j]);
    }
}

/* `rows` rows of C, from the column on that the panel begins with. */
TILE_INLINE void gemm_tile(const struct ldar_gemm_args *g, size_t row, size_t first, const float *panel,
                           const float *ahead, const int rows)
{
    const int floats = g->mode == LDAR_GEMM_FLOATS || g->mode == LDAR_GEMM_ADD;
    const size_t column = g->mode == LDAR_GEMM_SWIGLU ? first / 2 : first;
    const size_t columns = g->n - first < TILE_COLUMNS ? g->n - first : TILE_COLUMNS;
    const size_t size = floats ? sizeof(float) : sizeof(element);
    const float *a = (const float *)g->a + (ptrdiff_t)row * (g->a_stride / OPERAND);
    char *c = (char *)g->c + ((ptrdiff_t)row * g->c_stride + (ptrdiff_t)column) * (ptrdiff_t)size;
    struct tile t;
    for (int r = 0; r < rows; r++)
        __builtin_prefetch(c + r * g->c_stride * (ptrdiff_t)size, 1, 3);
    if (ahead)
        gemm_product(&t, g, a, panel, ahead, rows);
    else
        gemm_product(&t, g, a, panel, NULL, rows);
    if (floats)
        gemm_store_floats(&t, (float *)(void *)c, g->c_stride, columns, g->mode == LDAR_GEMM_ADD, rows);
    else if (g->mode == LDAR_GEMM_SWIGLU)
        gemm_store_swiglu(&t, (element *)(void *)c, g->c_stride, rows);
    else
        gemm_store_elements(&t, (element *)(void *)c, g->c_stride, columns, rows);
}

static void gemm_last_rows(const struct ldar_gemm_args *g, size_t row, size_t first, const float *panel)
{
    switch (g->rows - row) {
#define ROWS(n)                                                                                                        \
    case n:                                                                                                            \
        gemm_tile(g, row, first, panel, NULL, n < GEMM_ROWS ? n : GEMM_ROWS);                                          \
        break;
        ROWS(1)
        ROWS(2)
        ROWS(3)
        ROWS(4)
        ROWS(5)
        ROWS(6)
        ROWS(7)
        ROWS(8)
        ROWS(9)
        ROWS(10)
        ROWS(11)
        ROWS(12)
#undef ROWS
    default:
        break;
    }
}

static void kernel_gemm(const struct ldar_gemm_args *g)
{
    const size_t depth = (g->k + OPERAND - 1) / OPERAND;
    const size_t blocks_ahead = TILE_COLUMNS / 16; /* a block of rows prefetches one line, 16 operands, per step */
    const size_t whole = g->rows / GEMM_ROWS * GEMM_ROWS;
    for (size_t first = 0; first < g->n; first += TILE_COLUMNS) {
        const float *panel = (const float *)g->packed + first * depth;
        const float *next = first + TILE_COLUMNS < g->n ? panel + TILE_COLUMNS * depth : g->next;
        for (size_t row = 0; row < whole; row += GEMM_ROWS) {
            size_t block = row / GEMM_ROWS;
            gemm_tile(g, row, first, panel, next && block < blocks_ahead ? next + block * depth * 16 : NULL, GEMM_ROWS);
        }
        gemm_last_rows(g, whole, first, panel);
    }
}
