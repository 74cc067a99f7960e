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

/*
 * Sixteen columns of B, from column i on: the operands of the state's update, paired along the tokens, and those of
 * C B^T, paired along N.
 */
static void ssd_take_b(const struct ldar_ssd_args *a, const struct ssd_tile *t, size_t i, size_t first, size_t tokens,
                       size_t history)
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
        float *out = t->x + p * SSD_T / OPERAND, *late = t->x_late + p * SSD_T / OPERAND;
        float *rows = OPERAND == 1 ? out : t->rows;
        ssd_input(rows, TILE_COLUMNS, x + p, a->x_stride, &before, ssd_offset(a->conv_weight_x, channel),
                  a->conv_stride, ssd_offset(a->conv_bias_x, channel), tokens, TILE_COLUMNS);
        ssd_zip(out, rows, tokens, TILE_COLUMNS);
        for (size_t i = 0; i < tokens; i += OPERAND, late += TILE_COLUMNS) {
            const size_t next = i + 1 < tokens ? i + 1 : i;
            const vec s = vec_set1(t->late[i * SSD_H + h]);
            const vec s_next = next > i ? vec_set1(t->late[next * SSD_H + h]) : vec_zero();
            for (size_t j = 0; j < TILE_COLUMNS; j += VEC_WIDTH)
                vec_store(late + j, operand_zip(vec_mul(s, vec_load(rows + i * TILE_COLUMNS + j)),
                                                vec_mul(s_next, vec_load(rows + next * TILE_COLUMNS + j))));
        }
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

/* The state after the tile; the x that comes next is brought near meanwhile, two rows at a time. */
static void ssd_update(const struct ldar_ssd_args *a, const struct ssd_tile *t, float *state, float *dots, size_t h,
                       size_t tokens, const element *next, size_t next_rows)
{
    const float *keep = t->prefix + (tokens - 1) * SSD_H + h;
    size_t row = 0;
    for (size_t p = 0; p < a->width; p += TILE_COLUMNS)
        for (size_t i = 0; i < t->n; i += TILE_ROWS) {
            for (size_t end = row + 2; row < end && row < next_rows; row++)
                for (size_t j = 0; j < a->width; j += LINE)
                    __builtin_prefetch(next + (ptrdiff_t)row * a->x_stride + j, 0, 2);
            float *s = state + p * t->n + i * TILE_COLUMNS;
            struct tile acc;
            tile_load(&acc, s, TILE_COLUMNS, TILE_ROWS);
            tile_scale(&acc, keep, 0, TILE_ROWS);
            tile_multiply(&acc, t->b + (i / SSD_BLOCK * SSD_BLOCK * SSD_T) / OPERAND + i % SSD_BLOCK, 1, SSD_BLOCK,
                          t->x_late + p * SSD_T / OPERAND, (tokens + OPERAND - 1) / OPERAND, NULL, TILE_ROWS);
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

static void kernel_ssd_scan(const struct ldar_ssd_args *a)
{
    const struct ssd_tile t = ssd_layout(a);
    const size_t size = t.n * a->width;
    if (a->state_in)
        memcpy(t.state, a->state_in, a->heads * size * sizeof *t.state);
    else
        memset(t.state, 0, a->heads * size * sizeof *t.state);
    for (size_t i = 0; OPERAND > 1 && a->state_in && i < a->heads * size / TILE_COLUMNS; i += TILE_ROWS) {
        struct tile state;
        tile_load(&state, t.state + i * TILE_COLUMNS, TILE_COLUMNS, TILE_ROWS);
        ssd_round(t.dots + i * TILE_COLUMNS / OPERAND, &state);
    }
    for (size_t first = 0, tokens; first < a->length; first += tokens) {
        tokens = a->length - first < SSD_T ? a->length - first : SSD_T;
        int empty = first == 0 && !a->state_in, last = first + tokens == a->length && !a->state_out;
        ssd_shared(a, &t, first, tokens, first ? SSD_PAST : a->history);
        ssd_steps(a, &t, first, tokens);
        for (size_t h = 0; h < a->heads; h++) {
            float *state = t.state + h * size, *dots = t.dots + h * size / OPERAND;
            ssd_values(a, &t, h, first, tokens);
            ssd_matrix(a, &t, h, tokens);
            ssd_output(a, &t, empty ? NULL : dots, h, first, tokens);
            size_t rows;
            const element *next = ssd_next(a, h, first, tokens, &rows);
            if (!last)
                ssd_update(a, &t, state, dots, h, tokens, next, rows);
        }
    }
    if (a->state_out)
        memcpy(a->state_out, t.state, a->heads * size * sizeof *t.state);
}
