/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Chunked scan (Dao and Gu 2024, section 6) in tiles of T = 64 tokens. With p_t the product of the decays from the
 * tile's first token to t, s_t that from after t to its last, and S the state before the tile:
 *
 *   Y = diag(p) (C S) + M X,   M_ij = (C_i . B_j) dt_j prod_{j<u<=i} exp(dt_u a)  (j <= i),  M_ii += D
 *   S = p_last S + B^T diag(s dt) X
 *
 * Where operands are pairs of bfloat16, the four products multiply such pairs, along N or along the tokens; x, B and C
 * come out of the convolution as floats, and the state is a float that is rounded anew, as an operand, after each tile.
 *
 * All decays are running products of factors <= 1, so nothing overflows and no large sums are subtracted. C B^T is
 * formed once for all heads of the call. The state lies in panels of TILE_COLUMNS columns, (N, TILE_COLUMNS) each, as
 * do x and B^T, so that every product is tile_multiply.
 *
 * Roads not taken. One token at a time costs 1.5 times as much: three FMA-port operations, a load and a store per
 * state element. Tiles of 256 as on GPUs cost 1.5 times as much in the triangle. A register tile of a whole head,
 * 6 rows of 64 columns, leaves L1 for L2 with its 32 KiB of state; half heads do not.
 *
 * A NaN or an infinity may reach any token of its tile of 64 and all later ones: products with structural zeros are
 * formed, not skipped.
 */

enum { SSD_T = LDAR_TILE, SSD_H = LDAR_SSD_HEADS, SSD_BLOCK = 16, SSD_PAST = LDAR_CONV_TAPS - 1 };

struct ssd_tile {
    float *state;      /* (heads, width / COLUMNS, N, COLUMNS) */
    float *dots;       /* the same as operands, paired along N; the state itself where they are floats */
    element *past;     /* (heads, 3, P) the x before the tile */
    float *b;          /* (N / 16, T, 16) operands paired along T: 16 neighbours in a cache line */
    float *c, *b_rows; /* (T, N) operands paired along N */
    float *b_columns;  /* (T / COLUMNS, N, COLUMNS) operands paired along N: B transposed */
    float *cb;         /* (T, T), lower triangle */
    float *m;          /* (T, T) operands paired along the second T */
    float *x, *x_late; /* (width / COLUMNS, T, COLUMNS) operands paired along T: x, and s dt x */
    float *rows;       /* (T, COLUMNS or 16) rows that are not operands yet */
    float *step, *decay, *prefix, *late; /* (T, H): dt, exp(dt a), p, s dt */
    size_t n;                            /* N rounded up to whole blocks of operands */
};

static inline struct ssd_tile ssd_layout(const struct ldar_ssd_args *a)
{
    const size_t block = SSD_BLOCK * OPERAND;
    struct ssd_tile t;
    t.n = (a->state + block - 1) / block * block;
    t.state = a->scratch;
    t.dots = OPERAND == 1 ? t.state : t.state + a->heads * t.n * a->width;
    t.past = (element *)(void *)(t.dots + a->heads * t.n * a->width / OPERAND);
    t.b = t.dots + a->heads * (t.n * a->width / OPERAND + SSD_PAST * LDAR_HEAD);
    t.c = t.b + SSD_T * t.n;
    t.b_rows = t.c + SSD_T * t.n;
    t.b_columns = t.b_rows + SSD_T * t.n;
    t.cb = t.b_columns + SSD_T * t.n;
    t.m = t.cb + SSD_T * SSD_T;
    t.x = t.m + SSD_T * SSD_T;
    t.x_late = t.x + SSD_T * LDAR_HEAD;
    t.rows = t.x_late + SSD_T * LDAR_HEAD;
    t.step = t.rows + SSD_T * LDAR_HEAD;
    t.decay = t.step + SSD_T * SSD_H;
    t.prefix = t.decay + SSD_T * SSD_H;
    t.late = t.prefix + SSD_T * SSD_H;
    return t;
}

/* out (rows, channels) = the convolution of x, or x itself where there is none. */
static inline void ssd_input(float *out, ptrdiff_t out_stride, const element *x, ptrdiff_t x_stride,
                             const struct conv1d_past *past, const float *weight, ptrdiff_t weight_stride,
                             const float *bias, size_t rows, size_t channels)
{
    if (weight) {
        conv1d_silu_block(out, out_stride, x, x_stride, past, weight, weight_stride, bias, rows, channels);
        return;
    }
    for (size_t t = 0; t < rows; t++, x += x_stride, out += out_stride)
        for (size_t i = 0; i < channels; i += VEC_WIDTH) {
            size_t lanes = channels - i < VEC_WIDTH ? channels - i : VEC_WIDTH;
            vec_store_n(out + i, lanes, element_load_n(x + i, lanes));
        }
}

static inline const float *ssd_offset(const float *p, size_t n)
{
    return p ? p + n : NULL;
}

/* (tokens, width) operands from rows of floats, paired along the tokens; a token that is missing counts as zero. */
static inline void ssd_zip(float *out, const float *rows, size_t tokens, size_t width)
{
    for (size_t t = 0; OPERAND > 1 && t < tokens; t += OPERAND, out += width)
        for (size_t i = 0; i < width; i += VEC_WIDTH) {
            const float *row = rows + t * width + i;
            vec_store(out + i, operand_zip(vec_load(row), t + 1 < tokens ? vec_load(row + width) : vec_zero()));
        }
}

/* Sixteen columns of B, from column i on, as operands paired along the tokens; returns their rows of floats. */
static const float *ssd_take_block(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t i, size_t first,
                                   size_t tokens, size_t history)
{
    const element *b = (const element *)a->b + (ptrdiff_t)first * a->bc_stride + i;
    const struct conv1d_past past = {b, a->bc_stride, history};
    const size_t channels = a->state - i < SSD_BLOCK ? a->state - i : SSD_BLOCK;
    float *block = t->b + i * SSD_T / OPERAND, *rows = OPERAND == 1 ? block : t->rows;
    if (OPERAND > 1 && channels < SSD_BLOCK)
        memset(rows, 0, SSD_T * SSD_BLOCK * sizeof *rows);
    ssd_input(rows, SSD_BLOCK, b, a->bc_stride, &past, ssd_offset(a->conv_weight_b, i), a->conv_stride,
              ssd_offset(a->conv_bias_b, i), tokens, channels);
    ssd_zip(block, rows, tokens, SSD_BLOCK);
    return rows;
}

/* The same, and the operands of C B^T, paired along N. */
static void ssd_take_b(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t i, size_t first, size_t tokens,
                       size_t history)
{
    const float *rows = ssd_take_block(a, t, i, first, tokens, history);
    for (size_t r = 0; OPERAND > 1 && r < tokens; r++)
        for (size_t j = 0; j < SSD_BLOCK; j += VEC_WIDTH)
            element_store((element *)(void *)t->b_rows + r * t->n + i + j, vec_load(rows + r * SSD_BLOCK + j));
}

static void ssd_take_c(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t first, size_t tokens,
                       size_t history)
{
    for (size_t i = 0; i < a->state; i += SSD_BLOCK) {
        const element *c = (const element *)a->c + (ptrdiff_t)first * a->bc_stride + i;
        const struct conv1d_past past = {c, a->bc_stride, history};
        const size_t channels = a->state - i < SSD_BLOCK ? a->state - i : SSD_BLOCK;
        float *rows = OPERAND == 1 ? t->c + i : t->rows;
        const size_t stride = OPERAND == 1 ? t->n : SSD_BLOCK;
        ssd_input(rows, (ptrdiff_t)stride, c, a->bc_stride, &past, ssd_offset(a->conv_weight_c, i), a->conv_stride,
                  ssd_offset(a->conv_bias_c, i), tokens, channels);
        for (size_t r = 0; OPERAND > 1 && r < tokens; r++)
            for (size_t j = 0; j < channels; j += VEC_WIDTH) {
                size_t lanes = channels - j < VEC_WIDTH ? channels - j : VEC_WIDTH;
                store_elements((element *)(void *)t->c + r * t->n + i + j, lanes,
                               load_lanes(rows + r * stride + j, lanes));
            }
    }
}

/* B transposed: (T / COLUMNS, N, COLUMNS) operands. */
static void ssd_transpose_b(const struct ssd_tile *t)
{
    const size_t depth = t->n / OPERAND;
    for (size_t i = 0; i < depth; i += VEC_WIDTH)
        for (size_t j = 0; j < SSD_T; j += VEC_WIDTH) {
            float *out = t->b_columns + (j / TILE_COLUMNS * depth + i) * TILE_COLUMNS + j % TILE_COLUMNS;
            if (OPERAND > 1)
                vec_transpose(out, TILE_COLUMNS, t->b_rows + j * depth + i, (ptrdiff_t)depth);
            else
                vec_transpose(out, TILE_COLUMNS,
                              t->b + i / SSD_BLOCK * SSD_BLOCK * SSD_T + j * SSD_BLOCK + i % SSD_BLOCK, SSD_BLOCK);
        }
}

/* B and C of the tile's tokens, in both orders, and the lower triangle of C B^T. */
static void ssd_shared(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t first, size_t tokens,
                       size_t history)
{
    const size_t depth = t->n / OPERAND;
    if (tokens < SSD_T || t->n != a->state)
        memset(t->b, 0, 3 * SSD_T * t->n * sizeof *t->b);
    for (size_t i = 0; i < a->state; i += SSD_BLOCK)
        ssd_take_b(a, t, i, first, tokens, history);
    ssd_take_c(a, t, first, tokens, history);
    ssd_transpose_b(t);
    for (size_t i = 0; i < tokens; i += TILE_ROWS)
        for (size_t j = 0; j < i + TILE_ROWS; j += TILE_COLUMNS) {
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            tile_multiply(&acc, t->c + i * depth, (ptrdiff_t)depth, 1, t->b_columns + j * depth, depth, NULL,
                          TILE_ROWS);
            tile_store(&acc, t->cb + i * SSD_T + j, SSD_T, TILE_ROWS);
        }
}

/*
 * Step sizes and decays of all heads, heads in the lanes. The decay of the whole tile, which meets the state again and
 * again, is rounded once and not for each of its tokens.
 */
static void ssd_steps(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t first, size_t tokens)
{
    for (size_t h = 0; h < a->heads; h += VEC_WIDTH) {
        size_t lanes = a->heads - h < VEC_WIDTH ? a->heads - h : VEC_WIDTH;
        const float *dt = a->dt + (ptrdiff_t)first * a->dt_stride + h;
        vec rate = vec_load_n(a->a + h, lanes), product = vec_set1(1.0f), sum = vec_zero();
        vec bias = a->dt_bias ? vec_load_n(a->dt_bias + h, lanes) : vec_zero();
        for (size_t i = 0; i < tokens; i++, dt += a->dt_stride) {
            vec step = vec_load_n(dt, lanes);
            if (a->dt_bias)
                step = vec_softplus(vec_add(step, bias));
            const vec exponent = vec_mul(step, rate), decay = vec_exp(exponent);
            sum = vec_add(sum, exponent);
            product = vec_mul(product, decay);
            vec_store(t->step + i * SSD_H + h, step);
            vec_store(t->decay + i * SSD_H + h, decay);
            vec_store(t->prefix + i * SSD_H + h, product);
        }
        vec_store(t->prefix + (tokens - 1) * SSD_H + h, vec_exp(sum));
        product = vec_set1(1.0f);
        for (size_t i = tokens; i-- > 0;) {
            vec_store(t->late + i * SSD_H + h, vec_mul(product, vec_load(t->step + i * SSD_H + h)));
            product = vec_mul(product, vec_load(t->decay + i * SSD_H + h));
        }
    }
}

/* A panel of rows, each times its token's weight, as operands paired along the tokens. */
static inline void ssd_weigh(float *out, const float *rows, const float *weight, size_t tokens)
{
    for (size_t i = 0; i < tokens; i += OPERAND, out += TILE_COLUMNS) {
        const size_t next = i + 1 < tokens ? i + 1 : i;
        const vec w = vec_set1(weight[i * SSD_H]);
        const vec w_next = next > i ? vec_set1(weight[next * SSD_H]) : vec_zero();
        for (size_t j = 0; j < TILE_COLUMNS; j += VEC_WIDTH)
            vec_store(out + j, operand_zip(vec_mul(w, vec_load(rows + i * TILE_COLUMNS + j)),
                                           vec_mul(w_next, vec_load(rows + next * TILE_COLUMNS + j))));
    }
}

/*
 * One head's x, and x weighted for the state. Its last rows are kept for the next tile's convolution: y may overwrite
 * them.
 */
static void ssd_values(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t h, size_t first, size_t tokens)
{
    const element *x = (const element *)a->x + (ptrdiff_t)first * a->x_stride + h * LDAR_HEAD;
    element *kept = t->past + h * SSD_PAST * LDAR_HEAD;
    struct conv1d_past past = {x, a->x_stride, a->history};
    if (first)
        past = (struct conv1d_past){kept + SSD_PAST * LDAR_HEAD, LDAR_HEAD, SSD_PAST};
    if (tokens < SSD_T)
        memset(t->x, 0, 2 * SSD_T * LDAR_HEAD * sizeof *t->x);
    for (size_t p = 0; p < a->width; p += TILE_COLUMNS) {
        const size_t channel = h * LDAR_HEAD + p;
        const struct conv1d_past before = {past.end + p, past.stride, past.rows};
        float *out = t->x + p * SSD_T / OPERAND;
        float *rows = OPERAND == 1 ? out : t->rows;
        ssd_input(rows, TILE_COLUMNS, x + p, a->x_stride, &before, ssd_offset(a->conv_weight_x, channel),
                  a->conv_stride, ssd_offset(a->conv_bias_x, channel), tokens, TILE_COLUMNS);
        ssd_zip(out, rows, tokens, TILE_COLUMNS);
        ssd_weigh(t->x_late + p * SSD_T / OPERAND, rows, t->late + h, tokens);
    }
    for (size_t i = 0; i < SSD_PAST && tokens == SSD_T; i++)
        memcpy(kept + i * LDAR_HEAD, x + (ptrdiff_t)(tokens - SSD_PAST + i) * a->x_stride, a->width * sizeof *kept);
}

/* A vector with 1 in one lane is a load at the right place in this. */
static const float ssd_unit[2 * VEC_WIDTH] = {[VEC_WIDTH] = 1.0f};

/*
 * M of one head, with zeros above the diagonal as far as a tile of rows reads them. A block of columns keeps its row of
 * decays in one register: multiplied by the next token's decay from row to row, and started in its lane with that
 * token's step size.
 */
static void ssd_matrix(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t h, size_t tokens)
{
    const vec skip = vec_set1(a->d[h]);
    const size_t columns = (tokens + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    element *const out = (element *)(void *)t->m;
    for (size_t j = 0; j < columns; j += VEC_WIDTH) {
        vec decays = vec_zero();
        size_t end = j + VEC_WIDTH < tokens ? j + VEC_WIDTH : tokens;
        for (size_t i = j / TILE_ROWS * TILE_ROWS; i < j; i++)
            element_store(out + i * SSD_T + j, vec_zero());
        for (size_t i = j; i < end; i++) {
            vec unit = vec_load(ssd_unit + VEC_WIDTH - (i - j));
            decays = vec_mul(decays, vec_set1(t->decay[i * SSD_H + h]));
            decays = vec_fma(unit, vec_set1(t->step[i * SSD_H + h]), decays);
            element_store(out + i * SSD_T + j, vec_fma(unit, skip, vec_mul(decays, vec_load(t->cb + i * SSD_T + j))));
        }
        for (size_t i = end; i < tokens; i++) {
            decays = vec_mul(decays, vec_set1(t->decay[i * SSD_H + h]));
            element_store(out + i * SSD_T + j, vec_mul(decays, vec_load(t->cb + i * SSD_T + j)));
        }
    }
}

/* y of TILE_ROWS tokens in one panel of a head. */
TILE_INLINE void ssd_output_tile(struct tile *y, const struct ssd_tile *t, const float *dots, const float *x, size_t h,
                                 size_t i)
{
    const size_t depth = t->n / OPERAND;
    tile_zero(y, TILE_ROWS);
    if (dots) {
        tile_multiply(y, t->c + i * depth, (ptrdiff_t)depth, 1, dots, depth, NULL, TILE_ROWS);
        tile_scale(y, t->prefix + i * SSD_H + h, SSD_H, TILE_ROWS);
    }
    const size_t seen = i + TILE_ROWS < SSD_T ? i + TILE_ROWS : SSD_T;
    tile_multiply(y, t->m + i * SSD_T / OPERAND, SSD_T / OPERAND, 1, x, (seen + OPERAND - 1) / OPERAND, NULL,
                  TILE_ROWS);
}

static void ssd_output(const struct ldar_ssd_args *a, const struct ssd_tile *t, const float *dots, size_t h,
                       size_t first, size_t tokens)
{
    element *y = (element *)a->y + (ptrdiff_t)first * a->y_stride + h * LDAR_HEAD;
    for (size_t p = 0; p < a->width; p += TILE_COLUMNS) {
        const float *panel = dots ? dots + p * t->n / OPERAND : NULL, *x = t->x + p * SSD_T / OPERAND;
        for (size_t i = 0; i < tokens; i += TILE_ROWS) {
            element *to = y + (ptrdiff_t)i * a->y_stride + p;
            struct tile acc;
            ssd_output_tile(&acc, t, panel, x, h, i);
            TILE_UNROLL
            for (size_t r = 0; r < TILE_ROWS; r++)
                TILE_UNROLL
            for (size_t j = 0; j < TILE_VECS; j++)
                if (i + r < tokens)
                    element_store(to + (ptrdiff_t)r * a->y_stride + j * VEC_WIDTH, acc.v[r][j]);
        }
    }
}

/* TILE_ROWS rows of the state as operands, paired along N; nothing to do where the state is one. */
TILE_INLINE void ssd_round(float *dots, const struct tile *state)
{
    TILE_UNROLL
    for (int r = 0; OPERAND > 1 && r < TILE_ROWS; r += 2)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++)
        vec_store(dots + r / 2 * TILE_COLUMNS + j * VEC_WIDTH, operand_zip(state->v[r][j], state->v[r + 1][j]));
}

/* TILE_ROWS rows of a state, from i on, in one panel: keep times what they were, plus the tokens' outer products. */
TILE_INLINE void ssd_outer(struct tile *state, const float *keep, const float *blocks, const float *values, size_t i,
                           size_t tokens)
{
    tile_scale(state, keep, 0, TILE_ROWS);
    tile_multiply(state, blocks + (i / SSD_BLOCK * SSD_BLOCK * SSD_T) / OPERAND + i % SSD_BLOCK, 1, SSD_BLOCK, values,
                  (tokens + OPERAND - 1) / OPERAND, NULL, TILE_ROWS);
}

/* TILE_ROWS rows of a state as elements; nothing to do where the state is. */
TILE_INLINE void ssd_tile_elements(element *out, const struct tile *state)
{
    TILE_UNROLL
    for (int r = 0; OPERAND > 1 && r < TILE_ROWS; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++)
        element_store(out + r * TILE_COLUMNS + j * VEC_WIDTH, state->v[r][j]);
}

/* Brings two rows near, `row` and the one behind it, as far as there are so many. */
static inline void ssd_bring(const element *p, ptrdiff_t stride, size_t width, size_t row, size_t rows)
{
    for (size_t end = row + 2; row < end && row < rows; row++)
        for (size_t j = 0; j < width; j += LINE)
            __builtin_prefetch(p + (ptrdiff_t)row * stride + j, 0, 2);
}

/* The state after the tile; the x that comes next is brought near meanwhile, two rows at a time. */
static void ssd_update(const struct ldar_ssd_args *a, const struct ssd_tile *t, float *state, float *dots, size_t h,
                       size_t tokens, const element *next, size_t next_rows)
{
    const float *keep = t->prefix + (tokens - 1) * SSD_H + h;
    size_t row = 0;
    for (size_t p = 0; p < a->width; p += TILE_COLUMNS)
        for (size_t i = 0; i < t->n; i += TILE_ROWS, row += 2) {
            ssd_bring(next, a->x_stride, a->width, row, next_rows);
            float *s = state + p * t->n + i * TILE_COLUMNS;
            struct tile acc;
            tile_load(&acc, s, TILE_COLUMNS, TILE_ROWS);
            ssd_outer(&acc, keep, t->b, t->x_late + p * SSD_T / OPERAND, i, tokens);
            tile_store(&acc, s, TILE_COLUMNS, TILE_ROWS);
            ssd_round(dots + (p * t->n + i * TILE_COLUMNS) / OPERAND, &acc);
        }
}

/* Rows of x that are read after head h of the tile at `first`: the next head's, or the next tile's first head's. */
static inline const element *ssd_next(const struct ldar_ssd_args *a, size_t h, size_t first, size_t tokens,
                                      size_t *rows)
{
    const element *x = a->x;
    *rows = tokens;
    if (h + 1 < a->heads)
        return x + (ptrdiff_t)first * a->x_stride + (h + 1) * LDAR_HEAD;
    size_t left = a->length - first - tokens;
    *rows = left < SSD_T ? left : SSD_T;
    return x + (ptrdiff_t)(first + tokens) * a->x_stride;
}

/* The states before the tile at `first`, for the backward twin. */
static void ssd_keep(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t first)
{
    const size_t size = t->n * LDAR_HEAD;
    float *kept = a->states + (ptrdiff_t)(first / LDAR_SSD_SPAN - 1) * a->states_stride;
    for (size_t h = 0; h < a->heads; h++)
        memcpy(kept + h * ldar_ssd_state(a->state), t->state + h * size, size * sizeof *kept);
}

static void kernel_ssd_scan(const struct ldar_ssd_args *a)
{
    const struct ssd_tile t = ssd_layout(a);
    const size_t size = t.n * a->width;
    assert(!a->states || a->width == LDAR_HEAD);
    memset(t.state, 0, a->heads * size * sizeof *t.state);
    for (size_t first = 0, tokens; first < a->length; first += tokens) {
        tokens = a->length - first < SSD_T ? a->length - first : SSD_T;
        if (a->states && first && first % LDAR_SSD_SPAN == 0)
            ssd_keep(a, &t, first);
        ssd_shared(a, &t, first, tokens, first ? SSD_PAST : a->history);
        ssd_steps(a, &t, first, tokens);
        for (size_t h = 0; h < a->heads; h++) {
            float *state = t.state + h * size, *dots = t.dots + h * size / OPERAND;
            ssd_values(a, &t, h, first, tokens);
            ssd_matrix(a, &t, h, tokens);
            ssd_output(a, &t, first ? dots : NULL, h, first, tokens);
            size_t rows;
            const element *next = ssd_next(a, h, first, tokens, &rows);
            if (first + tokens < a->length)
                ssd_update(a, &t, state, dots, h, tokens, next, rows);
        }
    }
}

/*
 * The gradient of the scan, tile by tile from the last to the first. With p, s, M, S as above, L_ij the product of the
 * decays after j up to i, and dH the gradient of the state after the tile:
 *
 *   dM = dY X^T                              dC = diag(p) U + (sum over heads of dCB) B,   U = dY S^T
 *   dCB = dM o L diag(dt)                    dB = diag(s dt) V + (the same)^T C,           V = X dH^T
 *   dX = M^T dY + diag(s dt) B dH            dH = p_last dH + C^T diag(p) dY               (of the state before)
 *
 * and with W = dM o L o C B^T, e_i = p_i C_i . U_i, q_j = s_j B_j . V_j, the gradient of the exponents dt_u a is
 *
 *   r_u = sum_{i >= u} e_i + sum_{i >= u > j} W_ij dt_j + sum_{j < u} q_j dt_j + p_last <dH, S>,
 *
 * so that ddt_u = q_u + sum_i W_iu + a r_u: sums of what a decay multiplies, none of which is a difference of others.
 *
 * The states before the tiles of a span are rebuilt from the one that the scan kept. U and V are formed transposed,
 * (N, T), with tokens in the lanes: what they are multiplied with and summed into then needs no sums across lanes.
 *
 * Road not taken: one head after the other through a span, its 16 states in L2. The tiles' B, C and their gradients
 * would come from L3 for each head, seven times the bytes of the states of all heads.
 */
enum { SSD_TILES = LDAR_SSD_SPAN / SSD_T };

/* B or C of a tile, and its gradient. */
struct ssd_factor {
    float *blocks;   /* (N / 16, T, 16) operands paired along T */
    element *rows;   /* (T, N) */
    float *turned;   /* (T / COLUMNS, N, COLUMNS) */
    float *slope;    /* (T, N): of the silu behind the convolution */
    float *gradient; /* (T / COLUMNS, N, COLUMNS): the sum over heads */
    element *out;    /* (length, N): where the gradients go, all tiles' */
};

struct ssd_walk {
    struct ldar_ssd_args scan; /* what is differentiated */
    struct ssd_tile t;         /* of it b, cb, m, x_late, rows and the steps */
    struct ssd_factor b, c;
    ptrdiff_t out_stride;          /* of b.out and c.out */
    element *kept;                 /* (tiles of a span, heads, P / COLUMNS, N, COLUMNS): the states before them */
    float *state;                  /* (heads, P / COLUMNS, N, COLUMNS): being rebuilt; none where kept is floats */
    float *dh;                     /* the same: dH */
    element *dh_rows;              /* the same as elements, */
    float *dh_dots;                /* and as operands paired along N: dH itself where those are floats */
    float *b_columns;              /* (T / COLUMNS, N, COLUMNS) operands paired along N: B transposed */
    float *dm;                     /* (T, T) dM, then W */
    float *dcb;                    /* (T, T): the sum over heads */
    element *dcb_rows;             /* (T, T) */
    float *dcb_zip, *dcb_columns;  /* (T / COLUMNS, T, COLUMNS) operands paired along T: dCB, and transposed */
    element *x_rows, *dy_rows;     /* (P / COLUMNS, T, COLUMNS) */
    float *x_slope;                /* (P / COLUMNS, T, COLUMNS) */
    float *x_columns, *dy_columns; /* (T / COLUMNS, P, COLUMNS) operands paired along P: transposed */
    float *dy_zip, *dy_late;       /* (P / COLUMNS, T, COLUMNS) operands paired along T: dY, and p dY */
    float *step, *prefix, *late;   /* (H, T): those of the tile, tokens in the lanes */
    float *dot_c, *dot_b, *within, *direct; /* (H, T): C . U, B . V, sum_{i >= u > j} W_ij dt_j, sum_i W_iu */
    float *by_token;                        /* (4, T, H): these four, heads in the lanes */
    float *partial;                         /* (T, vector): summands of `within` */
    float *carried;                         /* (H): p_last <dH, S> */
};

static inline float *ssd_take_floats(float **from, size_t count)
{
    float *taken = *from;
    *from += count;
    return taken;
}

static inline element *ssd_take_elements(float **from, size_t count)
{
    return (element *)(void *)ssd_take_floats(from, count / OPERAND);
}

static inline void ssd_layout_factor(struct ssd_factor *f, float **from, size_t n)
{
    f->blocks = ssd_take_floats(from, SSD_T * n / OPERAND);
    f->rows = ssd_take_elements(from, SSD_T * n);
    f->turned = ssd_take_floats(from, SSD_T * n);
    f->slope = ssd_take_floats(from, SSD_T * n);
    f->gradient = ssd_take_floats(from, SSD_T * n);
}

static inline void ssd_layout_states(struct ssd_walk *w, float **from)
{
    const size_t size = w->scan.heads * w->t.n * LDAR_HEAD;
    w->kept = ssd_take_elements(from, SSD_TILES * size);
    w->dh = w->state = ssd_take_floats(from, size);
    w->dh_rows = (element *)(void *)w->dh, w->dh_dots = w->dh;
    if (OPERAND == 1)
        return;
    w->state = ssd_take_floats(from, size);
    w->dh_rows = ssd_take_elements(from, size);
    w->dh_dots = ssd_take_floats(from, size / OPERAND);
}

static inline void ssd_layout_head(struct ssd_walk *w, float **from)
{
    enum { SIZE = SSD_T * LDAR_HEAD };
    w->t.x_late = ssd_take_floats(from, SIZE);
    w->t.rows = ssd_take_floats(from, SIZE);
    w->x_rows = ssd_take_elements(from, SIZE);
    w->dy_rows = ssd_take_elements(from, SIZE);
    w->x_slope = ssd_take_floats(from, SIZE);
    w->x_columns = ssd_take_floats(from, SIZE / OPERAND);
    w->dy_columns = ssd_take_floats(from, SIZE / OPERAND);
    w->dy_late = ssd_take_floats(from, SIZE / OPERAND);
    w->dy_zip = OPERAND == 1 ? (float *)(void *)w->dy_rows : ssd_take_floats(from, SIZE / OPERAND);
}

static inline void ssd_layout_steps(struct ssd_walk *w, float **from)
{
    float **const arrays[] = {&w->t.step, &w->t.decay, &w->t.prefix, &w->t.late, &w->step,   &w->prefix,
                              &w->late,   &w->dot_c,   &w->dot_b,    &w->within, &w->direct, &w->partial};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = ssd_take_floats(from, SSD_T * SSD_H);
    w->by_token = ssd_take_floats(from, 4 * SSD_T * SSD_H);
    w->carried = ssd_take_floats(from, SSD_H);
}

static inline struct ssd_walk ssd_layout_walk(const struct ldar_ssd_backward_args *a)
{
    const size_t block = SSD_BLOCK * OPERAND;
    struct ssd_walk w = {
        .t.n = (a->state + block - 1) / block * block, .b.out = a->db, .c.out = a->dc, .out_stride = a->dbc_stride};
    w.scan = (struct ldar_ssd_args){
        .x = a->x,
        .b = a->b,
        .c = a->c,
        .dt = a->dt,
        .conv_weight_x = a->conv_weight_x,
        .conv_weight_b = a->conv_weight_b,
        .conv_weight_c = a->conv_weight_c,
        .conv_bias_x = a->conv_bias_x,
        .conv_bias_b = a->conv_bias_b,
        .conv_bias_c = a->conv_bias_c,
        .dt_bias = a->dt_bias,
        .a = a->a,
        .d = a->d,
        .length = a->length,
        .heads = a->heads,
        .state = a->state,
        .width = LDAR_HEAD,
        .x_stride = a->x_stride,
        .bc_stride = a->bc_stride,
        .dt_stride = a->dt_stride,
        .conv_stride = a->conv_stride,
    };
    float *next = a->scratch;
    ssd_layout_states(&w, &next);
    ssd_layout_factor(&w.b, &next, w.t.n);
    ssd_layout_factor(&w.c, &next, w.t.n);
    w.t.b = w.b.blocks;
    w.b_columns = OPERAND == 1 ? w.b.turned : ssd_take_floats(&next, SSD_T * w.t.n / OPERAND);
    float **const squares[] = {&w.t.cb, &w.t.m, &w.dm, &w.dcb, &w.dcb_zip, &w.dcb_columns};
    for (size_t i = 0; i < sizeof squares / sizeof *squares; i++)
        *squares[i] = ssd_take_floats(&next, SSD_T * SSD_T);
    w.dcb_rows = OPERAND == 1 ? (element *)(void *)w.dcb : ssd_take_elements(&next, SSD_T * SSD_T);
    ssd_layout_head(&w, &next);
    ssd_layout_steps(&w, &next);
    return w;
}

/* The convolution's silu and its slope; x itself and 1 where there is none. */
TILE_INLINE void ssd_slope_step(size_t i, size_t lanes, float *out, ptrdiff_t out_stride, float *slope,
                                ptrdiff_t slope_stride, const element *x, ptrdiff_t x_stride, size_t past,
                                const float *weight, ptrdiff_t weight_stride, const float *bias, size_t rows)
{
    vec tap[LDAR_CONV_TAPS];
    TILE_UNROLL
    for (int k = 0; k < LDAR_CONV_TAPS; k++)
        tap[k] = load_lanes(weight + k * weight_stride + i, lanes);
    const vec start = load_lanes(bias + i, lanes);
    x += i, out += i, slope += i;
    vec x3 = past > 2 ? load_elements(x - 3 * x_stride, lanes) : vec_zero();
    vec x2 = past > 1 ? load_elements(x - 2 * x_stride, lanes) : vec_zero();
    vec x1 = past > 0 ? load_elements(x - x_stride, lanes) : vec_zero();
    for (size_t t = 0; t < rows; t++, x += x_stride, out += out_stride, slope += slope_stride) {
        vec x0 = load_elements(x, lanes), derivative;
        __builtin_prefetch(x + LINE, 0, 3);
        vec sum = vec_fma(tap[0], x3, start);
        sum = vec_fma(tap[1], x2, sum);
        sum = vec_fma(tap[2], x1, sum);
        sum = vec_fma(tap[3], x0, sum);
        store_lanes(out, lanes, element_silu_slope(sum, &derivative));
        store_lanes(slope, lanes, derivative);
        x3 = x2, x2 = x1, x1 = x0;
    }
}

TILE_INLINE void ssd_copy_step(size_t i, size_t lanes, float *out, ptrdiff_t out_stride, float *slope,
                               ptrdiff_t slope_stride, const element *x, ptrdiff_t x_stride, size_t rows)
{
    for (size_t t = 0; t < rows; t++, x += x_stride, out += out_stride, slope += slope_stride) {
        store_lanes(out + i, lanes, load_elements(x + i, lanes));
        store_lanes(slope + i, lanes, vec_set1(1.0f));
    }
}

static inline void ssd_input_slope(float *out, ptrdiff_t out_stride, float *slope, ptrdiff_t slope_stride,
                                   const element *x, ptrdiff_t x_stride, size_t past, const float *weight,
                                   ptrdiff_t weight_stride, const float *bias, size_t rows, size_t channels)
{
    if (weight)
        EACH_VECTOR(channels, ssd_slope_step, out, out_stride, slope, slope_stride, x, x_stride, past, weight,
                    weight_stride, bias, rows);
    else
        EACH_VECTOR(channels, ssd_copy_step, out, out_stride, slope, slope_stride, x, x_stride, rows);
}

/* Columns of T rows of operands, transposed, as so many rows of (T / COLUMNS, depth, COLUMNS). */
static inline void ssd_turn(float *out, size_t depth, const float *in, size_t stride, size_t columns)
{
    for (size_t k = 0; k < columns; k += VEC_WIDTH)
        for (size_t j = 0; j < SSD_T; j += VEC_WIDTH)
            vec_transpose(out + (j / TILE_COLUMNS * depth + k) * TILE_COLUMNS + j % TILE_COLUMNS, TILE_COLUMNS,
                          in + j * stride + k, (ptrdiff_t)stride);
}

/* Sixteen columns of B or C, from column i on. */
static void ssd_factor_block(const struct ssd_walk *w, const struct ssd_factor *f, size_t i, const element *x,
                             const float *weight, const float *bias, size_t first, size_t tokens)
{
    const struct ldar_ssd_args *a = &w->scan;
    const size_t n = w->t.n, channels = a->state - i < SSD_BLOCK ? a->state - i : SSD_BLOCK;
    float *block = f->blocks + i * SSD_T / OPERAND, *rows = OPERAND == 1 ? block : w->t.rows;
    if (OPERAND > 1 && (channels < SSD_BLOCK || tokens < SSD_T))
        memset(rows, 0, SSD_T * SSD_BLOCK * sizeof *rows);
    ssd_input_slope(rows, SSD_BLOCK, f->slope + i, (ptrdiff_t)n, x + (ptrdiff_t)first * a->bc_stride + i, a->bc_stride,
                    first ? SSD_PAST : 0, ssd_offset(weight, i), a->conv_stride, ssd_offset(bias, i), tokens, channels);
    ssd_zip(block, rows, tokens, SSD_BLOCK);
    for (size_t r = 0; r < tokens; r++)
        for (size_t j = 0; j < SSD_BLOCK; j += VEC_WIDTH)
            element_store(f->rows + r * n + i + j, vec_load(rows + r * SSD_BLOCK + j));
    ssd_turn(f->turned + i * TILE_COLUMNS, n, rows, SSD_BLOCK, SSD_BLOCK);
}

static void ssd_factor_take(const struct ssd_walk *w, const struct ssd_factor *f, const void *x, const float *weight,
                            const float *bias, size_t first, size_t tokens)
{
    const size_t size = SSD_T * w->t.n;
    if (tokens < SSD_T || w->t.n != w->scan.state) {
        memset(f->blocks, 0, size / OPERAND * sizeof *f->blocks);
        memset(f->rows, 0, size * sizeof *f->rows);
        memset(f->turned, 0, size * sizeof *f->turned);
    }
    for (size_t i = 0; i < w->scan.state; i += SSD_BLOCK)
        ssd_factor_block(w, f, i, x, weight, bias, first, tokens);
    memset(f->gradient, 0, size * sizeof *f->gradient);
}

/* What the heads of a tile share: B and C, the lower triangle of C B^T, the steps; and sums that begin at zero. */
static void ssd_walk_shared(const struct ssd_walk *w, size_t first, size_t tokens)
{
    const struct ldar_ssd_args *a = &w->scan;
    const size_t depth = w->t.n / OPERAND;
    const float *rows = (const float *)(const void *)w->c.rows;
    ssd_factor_take(w, &w->b, a->b, a->conv_weight_b, a->conv_bias_b, first, tokens);
    ssd_factor_take(w, &w->c, a->c, a->conv_weight_c, a->conv_bias_c, first, tokens);
    if (OPERAND > 1)
        ssd_turn(w->b_columns, depth, (const float *)(const void *)w->b.rows, depth, depth);
    for (size_t i = 0; i < tokens; i += TILE_ROWS)
        for (size_t j = 0; j < i + TILE_ROWS; j += TILE_COLUMNS) {
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            tile_multiply(&acc, rows + i * depth, (ptrdiff_t)depth, 1, w->b_columns + j * depth, depth, NULL,
                          TILE_ROWS);
            tile_store(&acc, w->t.cb + i * SSD_T + j, SSD_T, TILE_ROWS);
        }
    memset(w->dcb, 0, SSD_T * SSD_T * sizeof *w->dcb);
}

/* The steps of all heads, and those that meet tokens in the lanes. Tokens that are missing have weights of zero. */
static void ssd_walk_steps(const struct ssd_walk *w, size_t first, size_t tokens)
{
    const float *const from[] = {w->t.step, w->t.prefix, w->t.late};
    float *const to[] = {w->step, w->prefix, w->late};
    ssd_steps(&w->scan, &w->t, first, tokens);
    for (size_t k = 0; k < sizeof from / sizeof *from; k++) {
        memset((float *)from[k] + tokens * SSD_H, 0, (SSD_T - tokens) * SSD_H * sizeof *from[k]);
        for (size_t t = 0; t < SSD_T; t += VEC_WIDTH)
            for (size_t h = 0; h < w->scan.heads; h += VEC_WIDTH)
                vec_transpose(to[k] + h * SSD_T + t, SSD_T, from[k] + t * SSD_H + h, SSD_H);
    }
}

/* ---- the states before the tiles of a span ---- */

static inline element *ssd_kept(const struct ssd_walk *w, size_t tile, size_t h)
{
    return w->kept + (tile * w->scan.heads + h) * w->t.n * LDAR_HEAD;
}

/* One head's s dt x. */
static void ssd_rebuild_values(const struct ssd_walk *w, size_t h, size_t first, size_t tokens)
{
    const struct ldar_ssd_args *a = &w->scan;
    const element *x = (const element *)a->x + (ptrdiff_t)first * a->x_stride + h * LDAR_HEAD;
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS) {
        const struct conv1d_past past = {x + p, a->x_stride, first ? SSD_PAST : 0};
        const size_t channel = h * LDAR_HEAD + p;
        ssd_input(w->t.rows, TILE_COLUMNS, x + p, a->x_stride, &past, ssd_offset(a->conv_weight_x, channel),
                  a->conv_stride, ssd_offset(a->conv_bias_x, channel), tokens, TILE_COLUMNS);
        ssd_weigh(w->t.x_late + p * SSD_T / OPERAND, w->t.rows, w->t.late + h, tokens);
    }
}

/* The state after the tile at `first` from that before it, NULL: zero. */
static void ssd_rebuild_state(const struct ssd_walk *w, const float *from, float *to, element *kept, size_t h,
                              size_t first)
{
    const size_t n = w->t.n;
    const float *keep = w->t.prefix + (SSD_T - 1) * SSD_H + h;
    size_t row = 0, rows;
    const element *next = ssd_next(&w->scan, h, first, SSD_T, &rows);
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS)
        for (size_t i = 0; i < n; i += TILE_ROWS, row += 2) {
            ssd_bring(next, w->scan.x_stride, LDAR_HEAD, row, rows);
            const size_t at = p * n + i * TILE_COLUMNS;
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            if (from)
                tile_load(&acc, from + at, TILE_COLUMNS, TILE_ROWS);
            ssd_outer(&acc, keep, w->b.blocks, w->t.x_late + p * SSD_T / OPERAND, i, SSD_T);
            tile_store(&acc, to + at, TILE_COLUMNS, TILE_ROWS);
            ssd_tile_elements(kept + at, &acc);
        }
}

/* All states of the span at `start` but the first, which the scan kept. */
static void ssd_rebuild(const struct ldar_ssd_backward_args *given, const struct ssd_walk *w, size_t start,
                        size_t tiles)
{
    const struct ldar_ssd_args *a = &w->scan;
    const size_t size = w->t.n * LDAR_HEAD;
    if (w->t.n != a->state)
        memset(w->t.b, 0, SSD_T * w->t.n / OPERAND * sizeof *w->t.b);
    for (size_t h = 0; start && h < a->heads; h++) {
        const ptrdiff_t border = (ptrdiff_t)(start / LDAR_SSD_SPAN - 1);
        const float *state = given->states + border * given->states_stride + h * ldar_ssd_state(a->state);
        if (OPERAND > 1)
            memcpy(w->state + h * size, state, size * sizeof *state);
        for (size_t i = 0; i < size; i += VEC_WIDTH)
            element_store(ssd_kept(w, 0, h) + i, vec_load(state + i));
    }
    for (size_t tile = 0; tile + 1 < tiles; tile++) {
        const size_t first = start + tile * SSD_T;
        for (size_t i = 0; i < a->state; i += SSD_BLOCK)
            ssd_take_block(a, &w->t, i, first, SSD_T, first ? SSD_PAST : 0);
        ssd_steps(a, &w->t, first, SSD_T);
        for (size_t h = 0; h < a->heads; h++) {
            element *before = ssd_kept(w, tile, h), *after = ssd_kept(w, tile + 1, h);
            float *from = OPERAND > 1 ? w->state + h * size : (float *)(void *)before;
            float *to = OPERAND > 1 ? from : (float *)(void *)after;
            ssd_rebuild_values(w, h, first, SSD_T);
            ssd_rebuild_state(w, first ? from : NULL, to, after, h, first);
        }
    }
}

/* ---- one head of a tile ---- */

/* What is read next and is brought near meanwhile: the next head's, or the first head's of the tile before. */
struct ssd_ahead {
    const element *x, *dy;   /* (rows, P) */
    size_t rows;             /* 0: there is none */
    const float *state, *dh; /* (P / 16 chunks) operands */
    const element *b, *c;    /* (shared, N): some rows of the tile before */
    size_t shared;
};

static inline struct ssd_ahead ssd_walk_ahead(const struct ldar_ssd_backward_args *a, const struct ssd_walk *w,
                                              size_t h, size_t first, size_t tokens)
{
    const size_t in_span = first % LDAR_SSD_SPAN, last = h + 1 == a->heads, head = last ? 0 : h + 1;
    const size_t size = w->t.n * LDAR_HEAD, share = SSD_T / a->heads, row = first - last * SSD_T;
    if (last && !in_span)
        return (struct ssd_ahead){.rows = 0};
    struct ssd_ahead next = {
        .x = (const element *)a->x + (ptrdiff_t)row * a->x_stride + head * LDAR_HEAD,
        .dy = (const element *)a->dy + (ptrdiff_t)row * a->dy_stride + head * LDAR_HEAD,
        .rows = last ? SSD_T : tokens,
        .state = (const float *)(const void *)ssd_kept(w, in_span / SSD_T - last, head),
        .dh = (const float *)(const void *)(w->dh_rows + head * size),
    };
    if (in_span) {
        const ptrdiff_t shared = ((ptrdiff_t)(first - SSD_T) + (ptrdiff_t)(h * share)) * a->bc_stride;
        next.b = (const element *)a->b + shared, next.c = (const element *)a->c + shared, next.shared = share;
    }
    return next;
}

static void ssd_walk_x(const struct ssd_walk *w, size_t h, size_t first, size_t tokens)
{
    const struct ldar_ssd_args *a = &w->scan;
    const element *x = (const element *)a->x + (ptrdiff_t)first * a->x_stride + h * LDAR_HEAD;
    if (tokens < SSD_T)
        memset(w->x_rows, 0, SSD_T * LDAR_HEAD * sizeof *w->x_rows);
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS) {
        element *rows = w->x_rows + p * SSD_T;
        float *values = OPERAND == 1 ? (float *)(void *)rows : w->t.rows;
        const size_t channel = h * LDAR_HEAD + p, depth = TILE_COLUMNS / OPERAND;
        ssd_input_slope(values, TILE_COLUMNS, w->x_slope + p * SSD_T, TILE_COLUMNS, x + p, a->x_stride,
                        first ? SSD_PAST : 0, ssd_offset(a->conv_weight_x, channel), a->conv_stride,
                        ssd_offset(a->conv_bias_x, channel), tokens, TILE_COLUMNS);
        for (size_t i = 0; OPERAND > 1 && i < tokens * TILE_COLUMNS; i += VEC_WIDTH)
            element_store(rows + i, vec_load(values + i));
        ssd_turn(w->x_columns + p / OPERAND * TILE_COLUMNS, LDAR_HEAD / OPERAND, (const float *)(const void *)rows,
                 depth, depth);
    }
}

static void ssd_walk_dy(const struct ldar_ssd_backward_args *a, const struct ssd_walk *w, size_t h, size_t first,
                        size_t tokens)
{
    const element *dy = (const element *)a->dy + (ptrdiff_t)first * a->dy_stride + h * LDAR_HEAD;
    if (tokens < SSD_T)
        memset(w->dy_rows, 0, SSD_T * LDAR_HEAD * sizeof *w->dy_rows);
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS) {
        element *rows = w->dy_rows + p * SSD_T;
        float *values = OPERAND == 1 ? (float *)(void *)rows : w->t.rows;
        const size_t depth = TILE_COLUMNS / OPERAND;
        for (size_t i = 0; i < tokens; i++)
            for (size_t j = 0; j < TILE_COLUMNS; j += VEC_WIDTH) {
                const vec v = element_load(dy + (ptrdiff_t)i * a->dy_stride + p + j);
                vec_store(values + i * TILE_COLUMNS + j, v);
                if (OPERAND > 1)
                    element_store(rows + i * TILE_COLUMNS + j, v);
            }
        ssd_zip(w->dy_zip + p * SSD_T / OPERAND, values, tokens, TILE_COLUMNS);
        ssd_weigh(w->dy_late + p * SSD_T / OPERAND, values, w->t.prefix + h, tokens);
        ssd_turn(w->dy_columns + p / OPERAND * TILE_COLUMNS, LDAR_HEAD / OPERAND, (const float *)(const void *)rows,
                 depth, depth);
    }
}

/* The lower triangle of dY X^T. */
static void ssd_walk_products(const struct ssd_walk *w, size_t tokens)
{
    const size_t depth = TILE_COLUMNS / OPERAND;
    const float *rows = (const float *)(const void *)w->dy_rows;
    for (size_t i = 0; i < tokens; i += TILE_ROWS)
        for (size_t j = 0; j < i + TILE_ROWS; j += TILE_COLUMNS) {
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS)
                tile_multiply(&acc, rows + (p * SSD_T + i * TILE_COLUMNS) / OPERAND, (ptrdiff_t)depth, 1,
                              w->x_columns + (j * LDAR_HEAD + p * TILE_COLUMNS) / OPERAND, depth, NULL, TILE_ROWS);
            tile_store(&acc, w->dm + i * SSD_T + j, SSD_T, TILE_ROWS);
        }
}

/* One row of M in a vector of columns; dM becomes W there, and dCB grows. `decays` are those of the row before. */
TILE_INLINE vec ssd_walk_row(const struct ssd_walk *w, size_t h, size_t i, size_t j, vec unit, vec dt, vec *decays)
{
    const size_t at = i * SSD_T + j;
    *decays = vec_fma(*decays, vec_set1(w->t.decay[i * SSD_H + h]), unit);
    const vec dm = vec_load(w->dm + at), passed = vec_mul(*decays, vec_load(w->t.cb + at));
    vec_store(w->dcb + at, vec_fma(vec_mul(dm, *decays), dt, vec_load(w->dcb + at)));
    vec_store(w->dm + at, vec_mul(dm, passed));
    return vec_fma(unit, vec_set1(w->scan.d[h]), vec_mul(passed, dt));
}

static inline vec ssd_unit_lane(size_t lane)
{
    return vec_load(ssd_unit + VEC_WIDTH - (lane < VEC_WIDTH ? lane : VEC_WIDTH));
}

/* M as operands paired down its columns, W and dCB; returns the trace of dM, which is x . dY. */
static float ssd_walk_matrix(const struct ssd_walk *w, size_t h, size_t tokens)
{
    const size_t columns = (tokens + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    vec trace = vec_zero();
    for (size_t j = 0; j < columns; j += VEC_WIDTH) {
        const vec dt = vec_load(w->step + h * SSD_T + j);
        vec decays = vec_zero();
        for (size_t i = j / TILE_ROWS * TILE_ROWS; i < j && i < tokens; i += OPERAND)
            vec_store(w->t.m + i / OPERAND * SSD_T + j, vec_zero());
        for (size_t i = j; i < tokens && i < j + VEC_WIDTH; i++)
            trace = vec_fma(ssd_unit_lane(i - j), vec_load(w->dm + i * SSD_T + j), trace);
        for (size_t i = j; i < tokens; i += OPERAND) {
            vec row = ssd_walk_row(w, h, i, j, ssd_unit_lane(i - j), dt, &decays), next = vec_zero();
            if (OPERAND > 1 && i + 1 < tokens)
                next = ssd_walk_row(w, h, i + 1, j, ssd_unit_lane(i + 1 - j), dt, &decays);
            vec_store(w->t.m + i / OPERAND * SSD_T + j, operand_zip(row, next));
        }
    }
    return vec_sum(trace);
}

/*
 * The sums of W: down its columns, and dt times it over the rectangles {i >= u > j}, whose columns' sums are
 * accumulated from the last row upwards.
 */
static void ssd_walk_sums(const struct ssd_walk *w, size_t h, size_t tokens)
{
    for (size_t j = 0; j < tokens; j += VEC_WIDTH) {
        const vec dt = vec_load(w->step + h * SSD_T + j);
        vec sum = vec_zero();
        for (size_t u = tokens; u-- > j;) {
            float *partial = w->partial + u * VEC_WIDTH;
            sum = vec_add(sum, vec_load(w->dm + u * SSD_T + j));
            vec left = vec_mul(sum, dt);
            if (u - j < VEC_WIDTH)
                left = vec_select_gt(vec_set1((float)(u - j)), vec_iota(), left, vec_zero());
            vec_store(partial, j ? vec_add(vec_load(partial), left) : left);
        }
        vec_store(w->direct + h * SSD_T + j, sum);
    }
    for (size_t u = 0; u < tokens; u++)
        w->within[h * SSD_T + u] = vec_sum(vec_load(w->partial + u * VEC_WIDTH));
}

/*
 * U = dY S^T or V = X dH^T, transposed: (N, T) = rows (N, P) columns (P, T). Times the weights of the tokens it is the
 * head's share of the factor's gradient, and its products with the factor, summed over N, are dots (T).
 */
static void ssd_walk_factor(const struct ssd_walk *w, const struct ssd_factor *f, float *dots, const float *weight,
                            const element *from, const float *columns, size_t tokens)
{
    const float *rows = (const float *)(const void *)from;
    const size_t n = w->t.n, depth = TILE_COLUMNS / OPERAND;
    for (size_t i = 0; i < n; i += TILE_ROWS)
        for (size_t j = 0; j < tokens; j += TILE_COLUMNS) {
            const size_t at = j * n + i * TILE_COLUMNS;
            struct tile acc, sum, scale;
            tile_zero(&acc, TILE_ROWS);
            for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS)
                tile_multiply(&acc, rows + (p * n + i * TILE_COLUMNS) / OPERAND, (ptrdiff_t)depth, 1,
                              columns + (j * LDAR_HEAD + p * TILE_COLUMNS) / OPERAND, depth, NULL, TILE_ROWS);
            tile_load(&sum, dots + j, TILE_COLUMNS, 1);
            tile_load(&scale, weight + j, TILE_COLUMNS, 1);
            TILE_UNROLL
            for (size_t r = 0; r < TILE_ROWS; r++)
                TILE_UNROLL
            for (size_t v = 0; v < TILE_VECS; v++) {
                float *gradient = f->gradient + at + r * TILE_COLUMNS + v * VEC_WIDTH;
                const vec factor = vec_load(f->turned + at + r * TILE_COLUMNS + v * VEC_WIDTH);
                sum.v[0][v] = vec_fma(acc.v[r][v], factor, sum.v[0][v]);
                vec_store(gradient, vec_fma(acc.v[r][v], scale.v[0][v], vec_load(gradient)));
            }
            tile_store(&sum, dots + j, TILE_COLUMNS, 1);
        }
}

/* <dH, S>, of operands. */
static float ssd_walk_carried(const struct ssd_walk *w, const element *dh_rows, const element *state)
{
    const float *a = (const float *)(const void *)dh_rows, *b = (const float *)(const void *)state;
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    for (size_t i = 0; i < w->t.n * LDAR_HEAD / OPERAND; i += 4 * VEC_WIDTH)
        TILE_UNROLL
    for (size_t j = 0; j < 4; j++)
        sum[j] = operand_fma(vec_load(a + i + j * VEC_WIDTH), vec_load(b + i + j * VEC_WIDTH), sum[j]);
    return vec_sum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
}

/* dX of one head; dh: NULL, zero. */
static void ssd_walk_dx(const struct ldar_ssd_backward_args *a, const struct ssd_walk *w, const float *dh, size_t h,
                        size_t first, size_t tokens, const struct ssd_ahead *next)
{
    enum { CHUNKS = LDAR_HEAD / 16 }; /* a chunk has a line for each step of a product along N */
    size_t tile = 0;
    element *dx = (element *)a->dx + (ptrdiff_t)first * a->dy_stride + h * LDAR_HEAD;
    const float *rows = (const float *)(const void *)w->b.rows;
    const size_t n = w->t.n, depth = n / OPERAND;
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS)
        for (size_t i = 0; i < tokens; i += TILE_ROWS, tile++) {
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            if (tile < next->shared) {
                ssd_bring(next->b + (ptrdiff_t)tile * a->bc_stride, a->bc_stride, a->state, 0, 1);
                ssd_bring(next->c + (ptrdiff_t)tile * a->bc_stride, a->bc_stride, a->state, 0, 1);
            }
            if (dh) {
                struct tile_ahead ahead = {NULL, 0};
                if (next->rows && tile < 2 * CHUNKS) {
                    const float *from = (tile < CHUNKS ? next->state : next->dh) + tile % CHUNKS * 16 * depth;
                    ahead = (struct tile_ahead){(const char *)from, TILE_STRETCH};
                }
                tile_multiply(&acc, rows + i * depth, (ptrdiff_t)depth, 1, dh + p * depth, depth, &ahead, TILE_ROWS);
                tile_scale(&acc, w->late + h * SSD_T + i, 1, TILE_ROWS);
            }
            tile_multiply(&acc, w->t.m + i / OPERAND * SSD_T + i, 1, SSD_T,
                          w->dy_zip + (p * SSD_T + i * TILE_COLUMNS) / OPERAND, (tokens - i + OPERAND - 1) / OPERAND,
                          NULL, TILE_ROWS);
            TILE_UNROLL
            for (size_t r = 0; r < TILE_ROWS; r++)
                TILE_UNROLL
            for (size_t j = 0; j < TILE_VECS; j++)
                if (i + r < tokens) {
                    const vec slope = vec_load(w->x_slope + p * SSD_T + (i + r) * TILE_COLUMNS + j * VEC_WIDTH);
                    element_store(dx + (ptrdiff_t)(i + r) * a->dy_stride + p + j * VEC_WIDTH,
                                  vec_mul(acc.v[r][j], slope));
                }
        }
}

/* dH of the state before the tile; after: whether there is one behind it. */
static void ssd_walk_dh(const struct ldar_ssd_backward_args *a, const struct ssd_walk *w, size_t h, size_t tokens,
                        int after, const struct ssd_ahead *next)
{
    size_t row = 0;
    const size_t n = w->t.n, head = h * n * LDAR_HEAD;
    const float *keep = w->t.prefix + (tokens - 1) * SSD_H + h;
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS)
        for (size_t i = 0; i < n; i += TILE_ROWS, row += 2) {
            ssd_bring(next->x, a->x_stride, LDAR_HEAD, row, next->rows);
            ssd_bring(next->dy, a->dy_stride, LDAR_HEAD, row, next->rows);
            const size_t at = head + p * n + i * TILE_COLUMNS;
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            if (after)
                tile_load(&acc, w->dh + at, TILE_COLUMNS, TILE_ROWS);
            ssd_outer(&acc, keep, w->c.blocks, w->dy_late + p * SSD_T / OPERAND, i, tokens);
            tile_store(&acc, w->dh + at, TILE_COLUMNS, TILE_ROWS);
            ssd_tile_elements(w->dh_rows + at, &acc);
            ssd_round(w->dh_dots + at / OPERAND, &acc);
        }
}

static void ssd_walk_head(const struct ldar_ssd_backward_args *a, const struct ssd_walk *w, size_t h, size_t first,
                          size_t tokens)
{
    const size_t size = w->t.n * LDAR_HEAD;
    const int before = first > 0, after = first + tokens < a->length;
    const element *state = ssd_kept(w, first % LDAR_SSD_SPAN / SSD_T, h), *dh_rows = w->dh_rows + h * size;
    float *dot_c = w->dot_c + h * SSD_T, *dot_b = w->dot_b + h * SSD_T;
    ssd_walk_x(w, h, first, tokens);
    ssd_walk_dy(a, w, h, first, tokens);
    ssd_walk_products(w, tokens);
    a->dd[h] += ssd_walk_matrix(w, h, tokens);
    ssd_walk_sums(w, h, tokens);
    memset(dot_c, 0, SSD_T * sizeof *dot_c);
    memset(dot_b, 0, SSD_T * sizeof *dot_b);
    if (before)
        ssd_walk_factor(w, &w->c, dot_c, w->prefix + h * SSD_T, state, w->dy_columns, tokens);
    if (after)
        ssd_walk_factor(w, &w->b, dot_b, w->late + h * SSD_T, dh_rows, w->x_columns, tokens);
    w->carried[h] = 0;
    if (before && after)
        w->carried[h] = w->t.prefix[(tokens - 1) * SSD_H + h] * ssd_walk_carried(w, dh_rows, state);
    const struct ssd_ahead next = ssd_walk_ahead(a, w, h, first, tokens);
    ssd_walk_dx(a, w, after ? w->dh_dots + h * size / OPERAND : NULL, h, first, tokens, &next);
    if (before)
        ssd_walk_dh(a, w, h, tokens, after, &next);
}

/* ---- what the heads of a tile have summed up ---- */

/* dCB as operands: paired down its columns, and transposed. */
static void ssd_walk_square(const struct ssd_walk *w, size_t tokens)
{
    const size_t depth = SSD_T / OPERAND;
    for (size_t i = 0; i < tokens; i += OPERAND)
        for (size_t j = 0; j < SSD_T; j += VEC_WIDTH) {
            const float *row = w->dcb + i * SSD_T + j;
            vec_store(w->dcb_zip + (j / TILE_COLUMNS * depth + i / OPERAND) * TILE_COLUMNS + j % TILE_COLUMNS,
                      operand_zip(vec_load(row), OPERAND > 1 ? vec_load(row + SSD_T) : vec_zero()));
        }
    for (size_t i = 0; OPERAND > 1 && i < SSD_T * SSD_T; i += VEC_WIDTH)
        element_store(w->dcb_rows + i, vec_load(w->dcb + i));
    ssd_turn(w->dcb_columns, depth, (const float *)(const void *)w->dcb_rows, depth, depth);
}

/* Claims `rows` rows of a factor's gradient for writing. */
static inline void ssd_claim(const struct ssd_walk *w, const struct ssd_factor *f, size_t row, size_t rows)
{
    for (const size_t end = row + rows; row < end; row++)
        for (size_t j = 0; j < w->scan.state; j += LINE)
            __builtin_prefetch(f->out + (ptrdiff_t)row * w->out_stride + j, 1, 3);
}

/*
 * A factor's gradient += (N, T) = other^T (N, tokens) square (tokens, T) in the tile at `first`, tokens from `low` to
 * `high`. The rows that this panel of columns will be written to are claimed meanwhile.
 */
static void ssd_factor_square(const struct ssd_walk *w, const struct ssd_factor *f, const struct ssd_factor *other,
                              const float *square, size_t first, size_t column, size_t low, size_t high)
{
    const size_t n = w->t.n, left = w->scan.length - first - column, rows = left < TILE_COLUMNS ? left : TILE_COLUMNS;
    const size_t share = (TILE_COLUMNS * TILE_ROWS + n - 1) / n;
    for (size_t i = 0, row = 0; i < n; i += TILE_ROWS, row += share) {
        if (row < rows)
            ssd_claim(w, f, first + column + row, rows - row < share ? rows - row : share);
        float *gradient = f->gradient + column * n + i * TILE_COLUMNS;
        struct tile acc;
        tile_load(&acc, gradient, TILE_COLUMNS, TILE_ROWS);
        tile_multiply(&acc,
                      other->blocks + (i / SSD_BLOCK * SSD_BLOCK * SSD_T + low * SSD_BLOCK) / OPERAND + i % SSD_BLOCK,
                      1, SSD_BLOCK, square + (column * SSD_T + low * TILE_COLUMNS) / OPERAND,
                      (high - low + OPERAND - 1) / OPERAND, NULL, TILE_ROWS);
        tile_store(&acc, gradient, TILE_COLUMNS, TILE_ROWS);
    }
}

/* The factor's gradient by rows, times the slope of its silu. */
static void ssd_factor_give(const struct ssd_walk *w, const struct ssd_factor *f, size_t first, size_t tokens)
{
    const size_t n = w->t.n, state = w->scan.state;
    for (size_t t = 0; t < tokens; t += VEC_WIDTH)
        for (size_t i = 0; i < state; i += VEC_WIDTH) {
            float turned[VEC_WIDTH * VEC_WIDTH];
            const size_t lanes = state - i < VEC_WIDTH ? state - i : VEC_WIDTH;
            vec_transpose(turned, VEC_WIDTH, f->gradient + (t / TILE_COLUMNS * n + i) * TILE_COLUMNS + t % TILE_COLUMNS,
                          TILE_COLUMNS);
            for (size_t r = 0; r < VEC_WIDTH && t + r < tokens; r++)
                store_elements(
                    f->out + (ptrdiff_t)(first + t + r) * w->out_stride + i, lanes,
                    vec_mul(vec_load(turned + r * VEC_WIDTH), load_lanes(f->slope + (t + r) * n + i, lanes)));
        }
}

static void ssd_walk_factors(const struct ssd_walk *w, size_t first, size_t tokens)
{
    ssd_walk_square(w, tokens);
    for (size_t j = 0; j < tokens; j += TILE_COLUMNS) {
        const size_t end = j + TILE_COLUMNS < tokens ? j + TILE_COLUMNS : tokens;
        ssd_factor_square(w, &w->b, &w->c, w->dcb_zip, first, j, j, tokens);
        ssd_factor_square(w, &w->c, &w->b, w->dcb_columns, first, j, 0, end);
    }
    ssd_factor_give(w, &w->b, first, tokens);
    ssd_factor_give(w, &w->c, first, tokens);
}

/* ddt of VEC_WIDTH heads from h on, and what it adds to da and ddt_bias. */
static void ssd_walk_ddt(const struct ldar_ssd_backward_args *a, const struct ssd_walk *w, size_t h, size_t first,
                         size_t tokens)
{
    enum { ARRAY = SSD_T * SSD_H };
    const size_t lanes = a->heads - h < VEC_WIDTH ? a->heads - h : VEC_WIDTH;
    const vec rate = vec_load_n(a->a + h, lanes), bias = a->dt_bias ? vec_load_n(a->dt_bias + h, lanes) : vec_zero();
    float *dot_c = w->by_token + h, *dot_b = dot_c + ARRAY, *within = dot_b + ARRAY, *direct = within + ARRAY;
    vec later = vec_load(w->carried + h), decay = vec_set1(1.0f);
    for (size_t u = tokens; u-- > 0;) {
        const size_t at = u * SSD_H;
        later = vec_fma(vec_load(w->t.prefix + at + h), vec_load(dot_c + at), later);
        vec_store(within + at, vec_add(vec_load(within + at), later));
        const vec q = vec_mul(decay, vec_load(dot_b + at));
        vec_store(direct + at, vec_add(vec_load(direct + at), q));
        vec_store(dot_b + at, vec_mul(q, vec_load(w->t.step + at + h)));
        decay = vec_mul(decay, vec_load(w->t.decay + at + h));
    }
    vec earlier = vec_zero(), da = vec_load_n(a->da + h, lanes);
    vec ddt_bias = a->dt_bias ? vec_load_n(a->ddt_bias + h, lanes) : vec_zero();
    for (size_t u = 0; u < tokens; u++) {
        const size_t at = u * SSD_H;
        const vec exponent = vec_add(vec_load(within + at), earlier);
        vec ddt = vec_fma(rate, exponent, vec_load(direct + at));
        earlier = vec_add(earlier, vec_load(dot_b + at));
        da = vec_fma(vec_load(w->t.step + at + h), exponent, da);
        if (a->dt_bias) {
            const float *dt = a->dt + (ptrdiff_t)(first + u) * a->dt_stride + h;
            ddt = vec_mul(ddt, vec_sigmoid(vec_add(vec_load_n(dt, lanes), bias)));
            ddt_bias = vec_add(ddt_bias, ddt);
        }
        vec_store_n(a->ddt + (ptrdiff_t)(first + u) * a->ddt_stride + h, lanes, ddt);
    }
    vec_store_n(a->da + h, lanes, da);
    if (a->dt_bias)
        vec_store_n(a->ddt_bias + h, lanes, ddt_bias);
}

static void ssd_walk_steps_back(const struct ldar_ssd_backward_args *a, const struct ssd_walk *w, size_t first,
                                size_t tokens)
{
    const float *const from[] = {w->dot_c, w->dot_b, w->within, w->direct};
    for (size_t h = 0; h < a->heads; h += VEC_WIDTH) {
        for (size_t k = 0; k < sizeof from / sizeof *from; k++)
            for (size_t t = 0; t < SSD_T; t += VEC_WIDTH)
                vec_transpose(w->by_token + (k * SSD_T + t) * SSD_H + h, SSD_H, from[k] + h * SSD_T + t, SSD_T);
        ssd_walk_ddt(a, w, h, first, tokens);
    }
}

static void kernel_ssd_backward(const struct ldar_ssd_backward_args *a)
{
    const struct ssd_walk w = ssd_layout_walk(a);
    const size_t spans = (a->length + LDAR_SSD_SPAN - 1) / LDAR_SSD_SPAN;
    for (size_t span = spans; span-- > 0;) {
        const size_t start = span * LDAR_SSD_SPAN, rest = a->length - start;
        const size_t tiles = ((rest < LDAR_SSD_SPAN ? rest : LDAR_SSD_SPAN) + SSD_T - 1) / SSD_T;
        ssd_rebuild(a, &w, start, tiles);
        for (size_t tile = tiles; tile-- > 0;) {
            const size_t first = start + tile * SSD_T, tokens = a->length - first < SSD_T ? a->length - first : SSD_T;
            ssd_walk_shared(&w, first, tokens);
            ssd_walk_steps(&w, first, tokens);
            for (size_t h = 0; h < a->heads; h++)
                ssd_walk_head(a, &w, h, first, tokens);
            ssd_walk_factors(&w, first, tokens);
            ssd_walk_steps_back(a, &w, first, tokens);
        }
    }
}
