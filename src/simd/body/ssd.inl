/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Chunked scan (Dao and Gu 2024, section 6) in tiles of T = 64 tokens. With p_t the product of the decays from the
 * tile's first token to t, s_t that from after t to its last, and S the state before the tile:
 *
 *   Y = diag(p) (C S) + M X,   M_ij = (C_i . B_j) dt_j prod_{j<u<=i} exp(dt_u a)  (j <= i),  M_ii += D
 *   S = p_last S + B^T diag(s dt) X
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

enum { SSD_T = LDAR_TILE, SSD_H = LDAR_SSD_HEADS, SSD_BLOCK = 16 };

struct ssd_tile {
    float *state;                        /* (heads, P / COLUMNS, N, COLUMNS) */
    float *b;                            /* (N / 16, T, 16): 16 neighbours of one token in a cache line */
    float *c;                            /* (T, N) */
    float *b_columns;                    /* (T / COLUMNS, N, COLUMNS): B transposed */
    float *cb, *m;                       /* (T, T), lower triangle */
    float *x, *x_late;                   /* (P / COLUMNS, T, COLUMNS): x, and s dt x */
    float *step, *decay, *prefix, *late; /* (T, H): dt, exp(dt a), p, s dt */
    size_t n;                            /* N rounded up to 16 */
};

static inline struct ssd_tile ssd_layout(const struct ldar_ssd_args *a)
{
    struct ssd_tile t;
    t.n = (a->state + 15) / 16 * 16;
    t.state = a->scratch;
    t.b = t.state + a->heads * ldar_ssd_state(a->state);
    t.c = t.b + SSD_T * t.n;
    t.b_columns = t.c + SSD_T * t.n;
    t.cb = t.b_columns + SSD_T * t.n;
    t.m = t.cb + SSD_T * SSD_T;
    t.x = t.m + SSD_T * SSD_T;
    t.x_late = t.x + SSD_T * LDAR_HEAD;
    t.step = t.x_late + SSD_T * LDAR_HEAD;
    t.decay = t.step + SSD_T * SSD_H;
    t.prefix = t.decay + SSD_T * SSD_H;
    t.late = t.prefix + SSD_T * SSD_H;
    return t;
}

/* out (rows, channels) = the convolution of x, or x itself where there is none. */
static inline void ssd_input(float *out, ptrdiff_t out_stride, const float *x, ptrdiff_t x_stride, const float *weight,
                             ptrdiff_t weight_stride, const float *bias, size_t rows, size_t channels, size_t history)
{
    if (weight) {
        conv1d_silu_block(out, out_stride, x, x_stride, weight, weight_stride, bias, rows, channels, history);
        return;
    }
    for (size_t t = 0; t < rows; t++, x += x_stride, out += out_stride)
        for (size_t i = 0; i < channels; i += VEC_WIDTH) {
            size_t lanes = channels - i < VEC_WIDTH ? channels - i : VEC_WIDTH;
            vec_store_n(out + i, lanes, vec_load_n(x + i, lanes));
        }
}

static inline const float *ssd_offset(const float *p, size_t n)
{
    return p ? p + n : NULL;
}

/* B and C of the tile's tokens, in both orders, and the lower triangle of C B^T. */
static void ssd_shared(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t first, size_t tokens,
                       size_t history)
{
    const float *b = a->b + (ptrdiff_t)first * a->bc_stride, *c = a->c + (ptrdiff_t)first * a->bc_stride;
    if (tokens < SSD_T || t->n != a->state)
        memset(t->b, 0, 2 * SSD_T * t->n * sizeof *t->b);
    for (size_t i = 0; i < a->state; i += SSD_BLOCK)
        ssd_input(t->b + i * SSD_T, SSD_BLOCK, b + i, a->bc_stride, ssd_offset(a->conv_weight_b, i), a->conv_stride,
                  ssd_offset(a->conv_bias_b, i), tokens, a->state - i < SSD_BLOCK ? a->state - i : SSD_BLOCK, history);
    if (!a->y)
        return;
    ssd_input(t->c, (ptrdiff_t)t->n, c, a->bc_stride, a->conv_weight_c, a->conv_stride, a->conv_bias_c, tokens,
              a->state, history);
    for (size_t i = 0; i < t->n; i += VEC_WIDTH)
        for (size_t j = 0; j < SSD_T; j += VEC_WIDTH)
            vec_transpose(t->b_columns + (j / TILE_COLUMNS * t->n + i) * TILE_COLUMNS + j % TILE_COLUMNS, TILE_COLUMNS,
                          t->b + i / SSD_BLOCK * SSD_BLOCK * SSD_T + j * SSD_BLOCK + i % SSD_BLOCK, SSD_BLOCK);
    for (size_t i = 0; i < tokens; i += TILE_ROWS)
        for (size_t j = 0; j < i + TILE_ROWS; j += TILE_COLUMNS) {
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            tile_multiply(&acc, t->c + i * t->n, (ptrdiff_t)t->n, 1, t->b_columns + j * t->n, t->n, NULL, TILE_ROWS);
            tile_store(&acc, t->cb + i * SSD_T + j, SSD_T, TILE_ROWS);
        }
}

/* Step sizes and decays of all heads, heads in the lanes. */
static void ssd_steps(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t first, size_t tokens)
{
    for (size_t h = 0; h < a->heads; h += VEC_WIDTH) {
        size_t lanes = a->heads - h < VEC_WIDTH ? a->heads - h : VEC_WIDTH;
        const float *dt = a->dt + (ptrdiff_t)first * a->dt_stride + h;
        vec rate = vec_load_n(a->a + h, lanes), product = vec_set1(1.0f);
        vec bias = a->dt_bias ? vec_load_n(a->dt_bias + h, lanes) : vec_zero();
        for (size_t i = 0; i < tokens; i++, dt += a->dt_stride) {
            vec step = vec_load_n(dt, lanes);
            if (a->dt_bias)
                step = vec_softplus(vec_add(step, bias));
            vec decay = vec_exp(vec_mul(step, rate));
            product = vec_mul(product, decay);
            vec_store(t->step + i * SSD_H + h, step);
            vec_store(t->decay + i * SSD_H + h, decay);
            vec_store(t->prefix + i * SSD_H + h, product);
        }
        product = vec_set1(1.0f);
        for (size_t i = tokens; i-- > 0;) {
            vec_store(t->late + i * SSD_H + h, vec_mul(product, vec_load(t->step + i * SSD_H + h)));
            product = vec_mul(product, vec_load(t->decay + i * SSD_H + h));
        }
    }
}

/* One head's x, and x weighted for the state. */
static void ssd_values(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t h, size_t first, size_t tokens,
                       size_t history)
{
    if (tokens < SSD_T)
        memset(t->x, 0, SSD_T * LDAR_HEAD * sizeof *t->x);
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS) {
        size_t channel = h * LDAR_HEAD + p;
        float *x = t->x + p * SSD_T, *late = t->x_late + p * SSD_T;
        ssd_input(x, TILE_COLUMNS, a->x + (ptrdiff_t)first * a->x_stride + channel, a->x_stride,
                  ssd_offset(a->conv_weight_x, channel), a->conv_stride, ssd_offset(a->conv_bias_x, channel), tokens,
                  TILE_COLUMNS, history);
        for (size_t i = 0; i < tokens; i++) {
            vec s = vec_set1(t->late[i * SSD_H + h]);
            for (size_t j = 0; j < TILE_COLUMNS; j += VEC_WIDTH)
                vec_store(late + i * TILE_COLUMNS + j, vec_mul(s, vec_load(x + i * TILE_COLUMNS + j)));
        }
    }
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
    for (size_t j = 0; j < columns; j += VEC_WIDTH) {
        vec decays = vec_zero();
        size_t end = j + VEC_WIDTH < tokens ? j + VEC_WIDTH : tokens;
        for (size_t i = j / TILE_ROWS * TILE_ROWS; i < j; i++)
            vec_store(t->m + i * SSD_T + j, vec_zero());
        for (size_t i = j; i < end; i++) {
            vec unit = vec_load(ssd_unit + VEC_WIDTH - (i - j));
            decays = vec_mul(decays, vec_set1(t->decay[i * SSD_H + h]));
            decays = vec_fma(unit, vec_set1(t->step[i * SSD_H + h]), decays);
            vec_store(t->m + i * SSD_T + j, vec_fma(unit, skip, vec_mul(decays, vec_load(t->cb + i * SSD_T + j))));
        }
        for (size_t i = end; i < tokens; i++) {
            decays = vec_mul(decays, vec_set1(t->decay[i * SSD_H + h]));
            vec_store(t->m + i * SSD_T + j, vec_mul(decays, vec_load(t->cb + i * SSD_T + j)));
        }
    }
}

/* y of TILE_ROWS tokens in one panel of a head. */
TILE_INLINE void ssd_output_tile(float *y, ptrdiff_t y_stride, const struct ssd_tile *t, const float *state,
                                 const float *x, size_t h, size_t i)
{
    struct tile acc;
    tile_zero(&acc, TILE_ROWS);
    if (state) {
        tile_multiply(&acc, t->c + i * t->n, (ptrdiff_t)t->n, 1, state, t->n, NULL, TILE_ROWS);
        tile_scale(&acc, t->prefix + i * SSD_H + h, SSD_H, TILE_ROWS);
    }
    tile_multiply(&acc, t->m + i * SSD_T, SSD_T, 1, x, i + TILE_ROWS, NULL, TILE_ROWS);
    tile_store(&acc, y, y_stride, TILE_ROWS);
}

static void ssd_output(const struct ldar_ssd_args *a, const struct ssd_tile *t, const float *state, size_t h,
                       size_t first, size_t tokens)
{
    float *y = a->y + (ptrdiff_t)first * a->y_stride + h * LDAR_HEAD;
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS) {
        const float *panel = state ? state + p * t->n : NULL, *x = t->x + p * SSD_T;
        for (size_t i = 0; i < tokens; i += TILE_ROWS) {
            float *to = y + (ptrdiff_t)i * a->y_stride + p;
            if (i + TILE_ROWS <= tokens) {
                ssd_output_tile(to, a->y_stride, t, panel, x, h, i);
                continue;
            }
            float last[TILE_ROWS * TILE_COLUMNS];
            ssd_output_tile(last, TILE_COLUMNS, t, panel, x, h, i);
            for (size_t r = 0; i + r < tokens; r++)
                memcpy(to + (ptrdiff_t)r * a->y_stride, last + r * TILE_COLUMNS, TILE_COLUMNS * sizeof *last);
        }
    }
}

/* The state after the tile; the x that comes next is brought near meanwhile, two rows at a time. */
static void ssd_update(const struct ldar_ssd_args *a, const struct ssd_tile *t, float *state, size_t h, size_t tokens,
                       const float *next, size_t next_rows)
{
    const float *keep = t->prefix + (tokens - 1) * SSD_H + h;
    size_t row = 0;
    for (size_t p = 0; p < LDAR_HEAD; p += TILE_COLUMNS)
        for (size_t i = 0; i < t->n; i += TILE_ROWS) {
            for (size_t end = row + 2; row < end && row < next_rows; row++)
                for (size_t j = 0; j < LDAR_HEAD; j += 16)
                    __builtin_prefetch(next + (ptrdiff_t)row * a->x_stride + j, 0, 2);
            float *s = state + p * t->n + i * TILE_COLUMNS;
            struct tile acc;
            tile_load(&acc, s, TILE_COLUMNS, TILE_ROWS);
            tile_scale(&acc, keep, 0, TILE_ROWS);
            tile_multiply(&acc, t->b + i / SSD_BLOCK * SSD_BLOCK * SSD_T + i % SSD_BLOCK, 1, SSD_BLOCK,
                          t->x_late + p * SSD_T, tokens, NULL, TILE_ROWS);
            tile_store(&acc, s, TILE_COLUMNS, TILE_ROWS);
        }
}

/* Rows of x that are read after head h of the tile at `first`: the next head's, or the next tile's first head's. */
static inline const float *ssd_next(const struct ldar_ssd_args *a, size_t h, size_t first, size_t tokens, size_t *rows)
{
    *rows = tokens;
    if (h + 1 < a->heads)
        return a->x + (ptrdiff_t)first * a->x_stride + (h + 1) * LDAR_HEAD;
    size_t left = a->length - first - tokens;
    *rows = left < SSD_T ? left : SSD_T;
    return a->x + (ptrdiff_t)(first + tokens) * a->x_stride;
}

static void kernel_ssd_scan(const struct ldar_ssd_args *a)
{
    const struct ssd_tile t = ssd_layout(a);
    const size_t size = ldar_ssd_state(a->state);
    if (a->state_in)
        memcpy(t.state, a->state_in, a->heads * size * sizeof *t.state);
    else
        memset(t.state, 0, a->heads * size * sizeof *t.state);
    for (size_t h = 0; a->decay_out && h < a->heads; h++)
        a->decay_out[h] = 1.0f;
    for (size_t first = 0, tokens; first < a->length; first += tokens) {
        tokens = a->length - first < SSD_T ? a->length - first : SSD_T;
        size_t history = first ? LDAR_CONV_TAPS - 1 : a->history;
        int empty = first == 0 && !a->state_in, last = first + tokens == a->length && !a->state_out;
        ssd_shared(a, &t, first, tokens, history);
        ssd_steps(a, &t, first, tokens);
        for (size_t h = 0; h < a->heads; h++) {
            float *state = t.state + h * size;
            ssd_values(a, &t, h, first, tokens, history);
            if (a->y) {
                ssd_matrix(a, &t, h, tokens);
                ssd_output(a, &t, empty ? NULL : state, h, first, tokens);
            }
            size_t rows;
            const float *next = ssd_next(a, h, first, tokens, &rows);
            if (!last)
                ssd_update(a, &t, state, h, tokens, next, rows);
            if (a->decay_out)
                a->decay_out[h] *= t.prefix[(tokens - 1) * SSD_H + h];
        }
    }
    if (a->state_out)
        memcpy(a->state_out, t.state, a->heads * size * sizeof *t.state);
}
