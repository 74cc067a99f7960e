/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Packed GEMM. The weights lie in panels of TILE_COLUMNS columns, (k, TILE_COLUMNS) operands each, so that the inner
 * loop reads them in order. Panels are the outer loop: 64 rows of `a` stay in L2 while the weights, of which a network
 * holds far more than any cache, stream past once. That stream is the danger: with cold weights the same loop falls to
 * 0.84 of the peak, and bringing the next panel into L2 while this one is used gives 0.95. All blocks of rows have an
 * equal share in that: asked for by the first ones alone, a panel comes at four times the rate that is needed, and more
 * than the third cache of some machines gives.
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

/* The share of one block of rows in bringing the next panel. */
static inline struct tile_ahead gemm_ahead(const float *next, size_t depth, size_t block, size_t blocks)
{
    const size_t stretches = depth / TILE_STRETCH, lines = depth * TILE_COLUMNS * sizeof *next / TILE_LINE;
    const size_t share = (lines + blocks - 1) / blocks;
    return (struct tile_ahead){(const char *)next + block * share * TILE_LINE,
                               stretches ? (share + stretches - 1) / stretches : 0};
}

TILE_INLINE void gemm_product(struct tile *t, const struct ldar_gemm_args *g, const float *a, const float *panel,
                              struct tile_ahead *ahead, const int rows)
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
        tile_multiply(&more, a + k, stride, 1, panel + k * TILE_COLUMNS, depth, ahead, rows);
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
                           struct tile_ahead *ahead, const int rows)
{
    const int floats = g->mode == LDAR_GEMM_FLOATS || g->mode == LDAR_GEMM_ADD;
    const size_t column = g->mode == LDAR_GEMM_SWIGLU ? first / 2 : first;
    const size_t columns = g->n - first < TILE_COLUMNS ? g->n - first : TILE_COLUMNS;
    const size_t size = floats ? sizeof(float) : sizeof(element);
    const float *a = (const float *)g->a + (ptrdiff_t)row * (g->a_stride / OPERAND);
    char *c = (char *)g->c + ((ptrdiff_t)row * g->c_stride + (ptrdiff_t)column) * (ptrdiff_t)size;
    struct tile t;
    for (int r = 0; r < rows; r++)
        for (size_t i = 0; i < TILE_COLUMNS * size; i += TILE_LINE)
            __builtin_prefetch(c + r * g->c_stride * (ptrdiff_t)size + i, 1, 3);
    gemm_product(&t, g, a, panel, ahead, rows);
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
    const size_t whole = g->rows / GEMM_ROWS * GEMM_ROWS;
    for (size_t first = 0; first < g->n; first += TILE_COLUMNS) {
        const float *panel = (const float *)g->packed + first * depth;
        const float *next = first + TILE_COLUMNS < g->n ? panel + TILE_COLUMNS * depth : g->next;
        for (size_t row = 0; row < whole; row += GEMM_ROWS) {
            struct tile_ahead ahead = {NULL, 0};
            if (next)
                ahead = gemm_ahead(next, depth, row / GEMM_ROWS, whole / GEMM_ROWS);
            gemm_tile(g, row, first, panel, &ahead, GEMM_ROWS);
        }
        gemm_last_rows(g, whole, first, panel);
    }
}

/*
 * The gradients. That of the rows is the same product, with the weights packed the other way. That of the weights sums
 * over the rows, across which both of its operands lie: both are packed, a block of LDAR_GRADIENT_ROWS rows at a time,
 * while the rows of the next block are brought into L2.
 */

/* Columns of dc that are packed side by side, those of whole tiles in whole vectors; and operands in a step of them. */
enum {
    GRADIENT_GROUP = GEMM_ROWS > VEC_WIDTH ? GEMM_ROWS : VEC_WIDTH / GEMM_ROWS *GEMM_ROWS,
    GRADIENT_STEP = (GRADIENT_GROUP + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH
};

/*
 * A step of a group: its columns of two rows, or one, as operands in whole vectors, which may hold the columns behind
 * the group as well; zeros where there are none.
 */
TILE_INLINE void gemm_pack_step(float *out, const void *low, const void *high, size_t columns, const int step,
                                const int floats)
{
    TILE_UNROLL
    for (size_t i = 0; i < (size_t)step; i += VEC_WIDTH) {
        const size_t left = columns > i ? columns - i : 0, lanes = left < VEC_WIDTH ? left : VEC_WIDTH;
        vec first = vec_zero(), second = vec_zero();
        if (!floats && lanes == VEC_WIDTH && high) {
            vec_store(out + i, operand_load((const element *)low + i, (const element *)high + i));
            continue;
        }
        if (lanes)
            first = floats ? load_lanes((const float *)low + i, lanes) : load_elements((const element *)low + i, lanes);
        if (OPERAND > 1 && lanes && high)
            second =
                floats ? load_lanes((const float *)high + i, lanes) : load_elements((const element *)high + i, lanes);
        vec_store(out + i, operand_zip(first, second));
    }
}

TILE_INLINE void gemm_pack_columns(float *out, const char *row, ptrdiff_t pitch, size_t rows, size_t columns,
                                   const int step, const int floats)
{
    size_t i = 0;
    for (; i + OPERAND <= rows; i += OPERAND, row += OPERAND * pitch, out += step)
        gemm_pack_step(out, row, row + pitch, columns, step, floats);
    if (i < rows)
        gemm_pack_step(out, row, NULL, columns, step, floats);
}

/* A group, behind whose first column `columns` may be read: (rows / OPERAND, step) operands, paired along the rows. */
TILE_INLINE void gemm_pack_group(float *out, const void *from, ptrdiff_t stride, size_t rows, size_t columns,
                                 const int step, const int floats)
{
    const ptrdiff_t pitch = stride * (ptrdiff_t)(floats ? sizeof(float) : sizeof(element));
    if (columns >= (size_t)step)
        gemm_pack_columns(out, from, pitch, rows, (size_t)step, step, floats);
    else
        gemm_pack_columns(out, from, pitch, rows, columns, step, floats);
}

/* (rows, columns) floats or elements -> panels that follow each other, the last one filled up with zeros. */
TILE_INLINE void gemm_pack_panels(float *out, const void *from, ptrdiff_t stride, size_t rows, size_t columns,
                                  const int floats)
{
    const size_t size = floats ? sizeof(float) : sizeof(element), depth = (rows + OPERAND - 1) / OPERAND;
    for (size_t i = 0; i < columns; i += TILE_COLUMNS, out += depth * TILE_COLUMNS)
        gemm_pack_group(out, (const char *)from + i * size, stride, rows, columns - i, TILE_COLUMNS, floats);
}

static void kernel_gemm_pack_transposed(void *packed, const float *weight, size_t n, size_t k, ptrdiff_t stride)
{
    gemm_pack_panels(packed, weight, stride, n, k, 1);
}

/* Cache lines of some rows, brought into L2 a few at a time. */
struct gemm_lines {
    const char *row;
    ptrdiff_t pitch;
    size_t bytes, at, rows, each; /* of a row; place in it; rows left; lines to bring at a time */
};

/* All of (rows, columns) elements in `times` times. */
static struct gemm_lines gemm_lines_of(const element *from, ptrdiff_t stride, size_t rows, size_t columns, size_t times)
{
    const size_t before = (uintptr_t)from % TILE_LINE, bytes = before + columns * sizeof(element);
    const size_t lines = rows * ((bytes + TILE_LINE - 1) / TILE_LINE);
    return (struct gemm_lines){.row = (const char *)from - before,
                               .pitch = stride * (ptrdiff_t)sizeof(element),
                               .bytes = bytes,
                               .rows = rows,
                               .each = (lines + times - 1) / times};
}

static inline void gemm_lines_ahead(struct gemm_lines *l)
{
    for (size_t i = 0; i < l->each && l->rows; i++) {
        __builtin_prefetch(l->row + l->at, 0, 2);
        l->at += TILE_LINE;
        if (l->at >= l->bytes)
            l->at = 0, l->row += l->pitch, l->rows--;
    }
}

/*
 * A tile is summed up in stretches of so many operands. Before each some lines of the next block are asked for, and
 * some of the rows of dw that the tile is added to: all at once they would keep the product from its own loads.
 */
enum { GRADIENT_STRETCH = 32, GRADIENT_LINES = 4 };

/* Rows of dc and a that are multiplied together, and what is next. */
struct gradient_block {
    const element *dc, *a;
    float *packed_dc, *packed_a;
    size_t rows, next, depth, n, k, stretches; /* rows of the next block; operands of a sum; stretches of it */
    struct gemm_lines dc_ahead, a_ahead;
};

/* The tile is added to fewer rows of dw than it has. */
static void gradient_last_rows(float *dw, ptrdiff_t stride, const struct tile *t, size_t rows, size_t columns)
{
    float sum[GEMM_ROWS * TILE_COLUMNS];
    tile_store(t, sum, TILE_COLUMNS, GEMM_ROWS);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < columns && j < TILE_COLUMNS; j++)
            dw[(ptrdiff_t)r * stride + (ptrdiff_t)j] += sum[r * TILE_COLUMNS + j];
}

/* The tile at row i of a group of columns of dc, and the panel of a that begins with column j. */
static inline void gradient_tile(struct gradient_block *b, float *dw, ptrdiff_t stride, size_t rows, size_t i, size_t j)
{
    const float *dc = b->packed_dc + i, *a = b->packed_a + j * b->depth;
    const size_t columns = b->k - j;
    struct tile t;
    tile_zero(&t, GEMM_ROWS);
    for (size_t k = 0, here, row = 0; k < b->depth; k += here, row += GRADIENT_LINES) {
        here = b->depth - k < GRADIENT_STRETCH ? b->depth - k : GRADIENT_STRETCH;
        gemm_lines_ahead(&b->dc_ahead);
        gemm_lines_ahead(&b->a_ahead);
        for (size_t r = row; r < row + GRADIENT_LINES && r < GEMM_ROWS && r < rows; r++)
            for (size_t c = 0; c < TILE_COLUMNS; c += TILE_LINE / sizeof *dw)
                __builtin_prefetch(dw + (ptrdiff_t)r * stride + c, 1, 3);
        tile_multiply(&t, dc + k * GRADIENT_STEP, 1, GRADIENT_STEP, a + k * TILE_COLUMNS, here, NULL, GEMM_ROWS);
    }
    if (rows >= GEMM_ROWS)
        gemm_store_floats(&t, dw, stride, columns, 1, GEMM_ROWS);
    else
        gradient_last_rows(dw, stride, &t, rows, columns);
}

/* All of a is packed once, dc a group of columns at a time: a group lies in L1 while the panels of a stream past. */
static void gradient_block(const struct ldar_gemm_gradient_args *g, struct gradient_block *b, float *dw)
{
    const size_t panels = (b->k + TILE_COLUMNS - 1) / TILE_COLUMNS, tiles = (b->n + GEMM_ROWS - 1) / GEMM_ROWS;
    gemm_pack_panels(b->packed_a, b->a, g->a_stride, b->rows, b->k, 0);
    b->a_ahead = gemm_lines_of(b->a + (ptrdiff_t)b->rows * g->a_stride, g->a_stride, b->next, b->k,
                               tiles * panels * b->stretches);
    for (size_t first = 0, columns; first < b->n; first += columns) {
        columns = b->n - first < GRADIENT_GROUP ? b->n - first : GRADIENT_GROUP;
        const size_t end = first + columns, last = end == b->n;
        gemm_pack_group(b->packed_dc, b->dc + first, g->dc_stride, b->rows, b->n - first, GRADIENT_STEP, 0);
        b->dc_ahead = gemm_lines_of(last ? b->dc + (ptrdiff_t)b->rows * g->dc_stride : b->dc + end, g->dc_stride,
                                    last ? b->next : b->rows, GRADIENT_GROUP, panels * b->stretches);
        for (size_t j = 0; j < b->k; j += TILE_COLUMNS)
            for (size_t i = 0; i < columns; i += GEMM_ROWS)
                gradient_tile(b, dw + (ptrdiff_t)(first + i) * g->dw_stride + j, g->dw_stride, columns - i, i, j);
    }
}

/* dw (n, k) += the products of all rows, of as many columns of a as scratch has room for. */
static void gradient_part(const struct ldar_gemm_gradient_args *g, float *dw, struct gradient_block b)
{
    for (size_t row = 0; row < g->rows; row += b.rows) {
        b.rows = g->rows - row < LDAR_GRADIENT_ROWS ? g->rows - row : LDAR_GRADIENT_ROWS;
        b.next = g->rows - row - b.rows < LDAR_GRADIENT_ROWS ? g->rows - row - b.rows : LDAR_GRADIENT_ROWS;
        b.depth = (b.rows + OPERAND - 1) / OPERAND;
        b.stretches = (b.depth + GRADIENT_STRETCH - 1) / GRADIENT_STRETCH;
        gradient_block(g, &b, dw);
        b.dc += (ptrdiff_t)b.rows * g->dc_stride;
        b.a += (ptrdiff_t)b.rows * g->a_stride;
    }
}

static void kernel_gemm_gradient(const struct ldar_gemm_gradient_args *g)
{
    enum { MOST = LDAR_GRADIENT_COLUMNS };
    for (size_t j = 0; g->n && j < g->k; j += MOST)
        gradient_part(g, g->dw + j,
                      (struct gradient_block){.dc = g->dc,
                                              .a = (const element *)g->a + j,
                                              .packed_dc = g->scratch,
                                              .packed_a = g->scratch + LDAR_GRADIENT_ROWS * GRADIENT_STEP,
                                              .n = g->n,
                                              .k = g->k - j < MOST ? g->k - j : MOST});
}
