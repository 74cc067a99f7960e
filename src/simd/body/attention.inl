/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Attention of one head with online softmax. Keys are the outer loop: a block of LDAR_ATTENTION_KEYS keys and values is
 * rotated and packed once, and while it lies in L1 it is met by all queries that see it, some register tiles of them at
 * a time, so that scratch does not grow with the sequence or the window. Blocks lie at fixed places in the sequence:
 * how the queries are cut into calls changes no bit. Only what lies at the edge of a window, or of the sequence, is
 * masked.
 *
 * With a window of 1023 and 1024 queries a call, keys are packed three times in all: 0.2 % of the forward pass, for
 * which a packed copy of all keys (a second pass over memory, and room that depends on the lengths) is no bargain.
 */

enum { ATT_R = GEMM_ROWS, ATT_ROWS = 4 * ATT_R, ATT_K = LDAR_ATTENTION_KEYS };

static const float attention_log2e = 1.44269504f; /* the softmax is taken in powers of two */
static const float attention_unseen = -1e30f;     /* a masked score */
static const float attention_start = -1e29f;      /* the first maximum: exp2(unseen - start) is 0 */

/* The rotary embedding of one head. */
struct attention_rotary {
    const float *cosine, *sine; /* (length, rotary / 2) */
    size_t width, rotary;
};

struct attention {
    float *q;      /* (queries, padded) operands: rotated and scaled queries */
    float *o;      /* (queries, padded) unnormalised outputs */
    float *max;    /* (queries) of the scores so far, in powers of two */
    float *sum;    /* (queries, VEC_WIDTH) of their exponentials, lane by lane */
    float *k, *v;  /* (ATT_K / COLUMNS, width, COLUMNS), (padded / COLUMNS, ATT_K, COLUMNS) operands */
    float *s;      /* (ATT_ROWS, ATT_K) scores of some tiles against a block */
    float *p;      /* (ATT_ROWS, ATT_K) operands: their exponentials; the scores' own place where both are floats */
    float *row;    /* (2, padded) */
    size_t padded; /* width rounded up to 32 */
    struct attention_rotary rotary;
};

static inline struct attention attention_layout(const struct ldar_attention_args *a)
{
    struct attention t = {.rotary = {a->cosine, a->sine, a->width, a->rotary}};
    t.padded = (a->width + 31) / 32 * 32;
    const size_t rows = LDAR_ATTENTION_QUERIES + LDAR_ATTENTION_ROWS; /* of whole tiles */
    t.q = a->scratch;
    t.o = t.q + rows * t.padded;
    t.sum = t.o + rows * t.padded;
    t.max = t.sum + rows * VEC_WIDTH;
    t.k = t.max + rows;
    t.v = t.k + ATT_K * t.padded;
    t.s = t.v + ATT_K * t.padded;
    t.p = OPERAND == 1 ? t.s : t.s + ATT_ROWS * ATT_K;
    t.row = t.p + ATT_ROWS * ATT_K;
    return t;
}

/* out (width) = scale times x with its first `rotary` columns rotated to `position`. */
static void attention_rotate(const struct attention_rotary *a, element *out, const element *x, size_t position,
                             float scale)
{
    const size_t half = a->rotary / 2;
    const float *cosine = a->cosine + position * half, *sine = a->sine + position * half;
    const vec factor = vec_set1(scale);
    for (size_t i = 0; i < half; i += VEC_WIDTH) {
        size_t lanes = half - i < VEC_WIDTH ? half - i : VEC_WIDTH;
        vec c = vec_load_n(cosine + i, lanes), s = vec_load_n(sine + i, lanes);
        vec first = vec_mul(factor, element_load_n(x + i, lanes));
        vec second = vec_mul(factor, element_load_n(x + half + i, lanes));
        element_store_n(out + i, lanes, vec_fnma(second, s, vec_mul(first, c)));
        element_store_n(out + half + i, lanes, vec_fma(first, s, vec_mul(second, c)));
    }
    for (size_t i = a->rotary; i < a->width; i += VEC_WIDTH) {
        size_t lanes = a->width - i < VEC_WIDTH ? a->width - i : VEC_WIDTH;
        element_store_n(out + i, lanes, vec_mul(factor, element_load_n(x + i, lanes)));
    }
}

static void attention_queries(const struct ldar_attention_args *a, const struct attention *t, size_t rows)
{
    const element *q = (const element *)a->q + (ptrdiff_t)a->first * a->stride;
    element *out = (element *)(void *)t->q;
    if (rows > a->queries || a->width < t->padded)
        memset(t->q, 0, rows * t->padded * sizeof *out);
    memset(t->o, 0, rows * t->padded * sizeof *t->o);
    memset(t->sum, 0, rows * VEC_WIDTH * sizeof *t->sum);
    for (size_t i = 0; i < rows; i++)
        t->max[i] = attention_start;
    for (size_t i = 0; i < a->queries; i++, q += a->stride, out += t->padded)
        attention_rotate(&t->rotary, out, q, a->first + i, a->scale * attention_log2e);
}

/*
 * Keys and values first .. first + keys - 1; the rest of the last panel is zero. Keys are transposed, their operands
 * paired along the head's width; values are paired along the keys.
 */
static void attention_block(const struct ldar_attention_args *a, const struct attention *t, size_t first, size_t keys)
{
    const element *k = (const element *)a->k + (ptrdiff_t)first * a->stride;
    const element *v = (const element *)a->v + (ptrdiff_t)first * a->stride;
    const size_t depth = (a->width + OPERAND - 1) / OPERAND;
    if (keys < ATT_K)
        memset(t->k, 0, 2 * ATT_K * t->padded * sizeof *t->k);
    memset(t->row, 0, 2 * t->padded * sizeof *t->row);
    for (size_t j = 0; j < keys; j++) {
        attention_rotate(&t->rotary, (element *)(void *)t->row, k + (ptrdiff_t)j * a->stride, first + j, 1.0f);
        float *column = t->k + j / TILE_COLUMNS * depth * TILE_COLUMNS + j % TILE_COLUMNS;
        for (size_t i = 0; i < depth; i++)
            column[i * TILE_COLUMNS] = t->row[i];
    }
    for (size_t j = 0; j < keys; j += OPERAND)
        for (size_t i = 0; i < a->width; i += VEC_WIDTH) {
            const size_t lanes = a->width - i < VEC_WIDTH ? a->width - i : VEC_WIDTH;
            const element *low = v + (ptrdiff_t)j * a->stride + i;
            vec high = j + 1 < keys ? load_elements(low + a->stride, lanes) : vec_zero();
            float *out = t->v + (i / TILE_COLUMNS * (ATT_K / OPERAND) + j / OPERAND) * TILE_COLUMNS + i % TILE_COLUMNS;
            vec_store(out, operand_zip(load_elements(low, lanes), high));
        }
}

/* What lies outside columns low..high of columns from..to - 1 of a row becomes `unseen`. */
static inline void attention_mask(float *s, size_t from, size_t to, ptrdiff_t low, ptrdiff_t high, float unseen)
{
    const ptrdiff_t end = (ptrdiff_t)to;
    const vec lowest = vec_set1((float)(low < 0 ? 0 : low > end ? end : low));
    const vec highest = vec_set1((float)(high < -1 ? -1 : high > end ? end : high));
    const vec other = vec_set1(unseen);
    for (size_t j = from; j < to; j += VEC_WIDTH) {
        vec index = vec_add(vec_set1((float)j), vec_iota());
        vec score = vec_select_gt(lowest, index, other, vec_load(s + j));
        vec_store(s + j, vec_select_gt(index, highest, other, score));
    }
}

/*
 * The maximum of each row's scores, then correction = exp2(old maximum - new). Rows are gone through apart from the
 * exponentials below: those wait for a maximum, and would keep the next row's from being looked for meanwhile.
 */
static inline void attention_maxima(const struct attention *t, size_t at, size_t rows, size_t from, size_t to,
                                    float *correction)
{
    for (size_t i = 0; i < rows; i++) {
        const float *s = t->s + i * ATT_K;
        vec largest[2] = {vec_load(s + from), vec_load(s + from + VEC_WIDTH)};
        for (size_t j = from + 2 * VEC_WIDTH; j < to; j += 2 * VEC_WIDTH) {
            largest[0] = vec_max(largest[0], vec_load(s + j));
            largest[1] = vec_max(largest[1], vec_load(s + j + VEC_WIDTH));
        }
        correction[i] = vec_largest(vec_max(largest[0], largest[1]));
    }
    for (size_t i = 0; i < rows; i += VEC_WIDTH) {
        const size_t lanes = rows - i < VEC_WIDTH ? rows - i : VEC_WIDTH;
        const vec before = load_lanes(t->max + at + i, lanes);
        const vec now = vec_max(before, load_lanes(correction + i, lanes));
        store_lanes(t->max + at + i, lanes, now);
        store_lanes(correction + i, lanes, vec_exp2(vec_sub(before, now)));
    }
}

/* p = exp2(s - max) for one query; adds to its sums. */
static inline void attention_softmax(element *p, const float *s, size_t columns, float max, float correction,
                                     float *sum)
{
    const vec base = vec_set1(max);
    vec sums[2] = {vec_mul(vec_set1(correction), vec_load(sum)), vec_zero()};
    for (size_t j = 0; j < columns; j += 2 * VEC_WIDTH)
        TILE_UNROLL
    for (size_t i = 0; i < 2; i++) {
        vec e = element_exp2(vec_sub(vec_load(s + j + i * VEC_WIDTH), base));
        element_store(p + j + i * VEC_WIDTH, e);
        sums[i] = vec_add(sums[i], e);
    }
    vec_store(sum, vec_add(sums[0], sums[1]));
}

/*
 * Some tiles of queries, rows at .. at + rows - 1 of the call, meet the block of `columns` keys from `first` on, whole
 * panels of which that none of them sees are left out.
 */
static void attention_meet(const struct ldar_attention_args *a, const struct attention *t, size_t at, size_t rows,
                           size_t first, size_t columns)
{
    const ptrdiff_t query = (ptrdiff_t)(a->first + at), key = (ptrdiff_t)first;
    const ptrdiff_t end = (ptrdiff_t)(a->length - first) - 1; /* the sequence's last key, as a column */
    const ptrdiff_t window = a->window < 0 ? (ptrdiff_t)a->length : a->window;
    const ptrdiff_t low = query - window - key, high = query + (ptrdiff_t)rows - 1 + window - key; /* seen by any */
    const size_t from = low < 0 ? 0 : (size_t)low / TILE_COLUMNS * TILE_COLUMNS;
    const size_t to = high + 1 < (ptrdiff_t)columns ? ((size_t)high / TILE_COLUMNS + 1) * TILE_COLUMNS : columns;
    const size_t depth = (a->width + OPERAND - 1) / OPERAND, row = t->padded / OPERAND, scores = ATT_K / OPERAND;
    const float *q = t->q + at * row;
    float *o = t->o + at * t->padded, correction[ATT_ROWS];
    for (size_t i = 0; i < rows; i += ATT_R)
        for (size_t j = from; j < to; j += TILE_COLUMNS) {
            struct tile acc;
            tile_zero(&acc, ATT_R);
            tile_multiply(&acc, q + i * row, (ptrdiff_t)row, 1, t->k + j * depth, depth, NULL, ATT_R);
            tile_store(&acc, t->s + i * ATT_K + j, ATT_K, ATT_R);
        }
    const int edge = end + 1 < (ptrdiff_t)to || low + (ptrdiff_t)rows - 1 > (ptrdiff_t)from
                     || high - (ptrdiff_t)rows + 1 < (ptrdiff_t)to - 1;
    for (ptrdiff_t i = 0; edge && i < (ptrdiff_t)rows; i++) {
        const ptrdiff_t last = query + i + window - key;
        attention_mask(t->s + i * ATT_K, from, to, low + i, last < end ? last : end, attention_unseen);
    }
    attention_maxima(t, at, rows, from, to, correction);
    for (size_t i = 0; i < rows; i++)
        attention_softmax((element *)(void *)(t->p + i * scores) + from, t->s + i * ATT_K + from, to - from,
                          t->max[at + i], correction[i], t->sum + (at + i) * VEC_WIDTH);
    for (size_t p = 0; p < a->width; p += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += ATT_R) {
            const size_t k = from / OPERAND;
            struct tile acc;
            tile_load(&acc, o + i * t->padded + p, (ptrdiff_t)t->padded, ATT_R);
            tile_scale(&acc, correction + i, 1, ATT_R);
            tile_multiply(&acc, t->p + i * scores + k, (ptrdiff_t)scores, 1, t->v + p * scores + k * TILE_COLUMNS,
                          to / OPERAND - k, NULL, ATT_R);
            tile_store(&acc, o + i * t->padded + p, (ptrdiff_t)t->padded, ATT_R);
        }
}

static void attention_write(const struct ldar_attention_args *a, const struct attention *t)
{
    for (size_t i = 0; i < a->queries; i++) {
        const float sum = vec_sum(vec_load(t->sum + i * VEC_WIDTH));
        const vec scale = vec_set1(1.0f / sum);
        element *out = (element *)a->out + (ptrdiff_t)(a->first + i) * a->out_stride;
        for (size_t j = 0; j < a->width; j += VEC_WIDTH) {
            size_t lanes = a->width - j < VEC_WIDTH ? a->width - j : VEC_WIDTH;
            element_store_n(out + j, lanes, vec_mul(scale, vec_load(t->o + i * t->padded + j)));
        }
        if (a->log_sum)
            a->log_sum[a->first + i] = t->max[i] + log2f(sum);
    }
}

static void kernel_attention(const struct ldar_attention_args *a)
{
    const struct attention t = attention_layout(a);
    const size_t window = a->window < 0 ? a->length : (size_t)a->window;
    const size_t rows = (a->queries + ATT_R - 1) / ATT_R * ATT_R, end = a->first + a->queries;
    const size_t low = a->first > window ? a->first - window : 0;
    const size_t high = a->length - end > window ? end + window : a->length;
    attention_queries(a, &t, rows);
    for (size_t first = low / ATT_K * ATT_K; first < high; first += ATT_K) {
        size_t keys = a->length - first < ATT_K ? a->length - first : ATT_K;
        size_t columns = (keys + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
        attention_block(a, &t, first, keys);
        for (size_t at = 0, here; at < rows; at += here) {
            size_t query = a->first + at;
            here = rows - at < ATT_ROWS ? rows - at : ATT_ROWS;
            if (first <= query + here - 1 + window && query <= first + keys - 1 + window)
                attention_meet(a, &t, at, here, first, columns);
        }
    }
    attention_write(a, &t);
}

/*
 * The gradient of attention (Dao 2023): the probabilities are formed once more, from the sums that the forward kernel
 * kept. Keys are the outer loop again: a block's dk and dv stay near while all queries that see it go past, and those
 * add to their dq. With P the probabilities, D = dout v^T and delta_i = dout_i . out_i:
 *
 *     dv = P^T dout,   dS = P (D - delta),   dq = scale dS k,   dk = scale dS^T q
 *
 * Blocks of keys and groups of queries lie at fixed places of the sequence and are met in ascending order: every sum
 * has one order. Operands that are pairs are paired along the sum, so where elements are bfloat16, q, dout and dS are
 * held twice, paired either way; floats serve both.
 */
enum {
    BACK_R = GEMM_ROWS / 2 * 2, /* whole pairs of rows */
    BACK_K = LDAR_ATTENTION_BACKWARD_KEYS,
    BACK_Q = LDAR_ATTENTION_BACKWARD_QUERIES,
    BACK_C = TILE_COLUMNS / OPERAND /* operands in a row of a panel */
};

struct attention_backward {
    const struct ldar_attention_backward_args *args;
    float *q, *dout; /* (padded / COLUMNS, rows, COLUMNS) elements: rotated and scaled; paired along columns */
    float *q_pairs, *dout_pairs; /* (padded / COLUMNS, rows / OPERAND, COLUMNS) operands, along the rows */
    float *dq;                   /* (rows, padded) */
    float *log_sum, *delta;      /* (rows) */
    float *k, *v;                /* (BACK_K / COLUMNS, width, COLUMNS) operands: rotated and transposed */
    float *k_pairs;              /* (padded / COLUMNS, BACK_K, COLUMNS) operands */
    float *dk, *dv;              /* (BACK_K, padded) */
    float *p;                    /* (BACK_Q, BACK_K) */
    float *ds;                   /* (BACK_Q, BACK_K) operands along the keys */
    float *p_pairs, *ds_pairs;   /* (BACK_Q, BACK_K) operands along the queries */
    float *row;                  /* (2, padded) */
    size_t rows, padded, depth;  /* length in whole groups; width rounded up to 32; operands of a row */
    size_t window;
    struct attention_rotary rotary;
};

static inline struct attention_backward attention_backward_layout(const struct ldar_attention_backward_args *a)
{
    struct attention_backward t = {.args = a, .rotary = {a->cosine, a->sine, a->width, a->rotary}};
    t.window = a->window < 0 || (size_t)a->window > a->length ? a->length : (size_t)a->window;
    t.rows = (a->length + BACK_Q - 1) / BACK_Q * BACK_Q;
    t.padded = (a->width + 31) / 32 * 32;
    t.depth = (a->width + OPERAND - 1) / OPERAND;
    const size_t all = t.rows * t.padded, block = BACK_K * t.padded, scores = BACK_Q * BACK_K;
    t.q = a->scratch, t.dout = t.q + all, t.dq = t.dout + all;
    t.q_pairs = OPERAND == 1 ? t.q : t.q + all / OPERAND;
    t.dout_pairs = OPERAND == 1 ? t.dout : t.dout + all / OPERAND;
    t.log_sum = t.dq + all, t.delta = t.log_sum + t.rows;
    t.k = t.delta + t.rows, t.v = t.k + block, t.k_pairs = t.v + block;
    t.dk = t.k_pairs + block, t.dv = t.dk + block;
    t.p = t.dv + block, t.ds = t.p + scores;
    t.p_pairs = OPERAND == 1 ? t.p : t.ds + scores / OPERAND;
    t.ds_pairs = OPERAND == 1 ? t.ds : t.p_pairs + scores / OPERAND;
    t.row = t.p + 3 * scores;
    return t;
}

/* Rows i and i + 1 of a panelled array, of which t->row holds the elements; and the same in pairs. */
static void attention_keep(const struct attention_backward *t, float *rows, float *pairs, size_t i)
{
    const element *low = (const element *)(void *)t->row, *high = low + t->padded;
    for (size_t c = 0; c < t->padded; c += VEC_WIDTH) {
        const size_t panel = c / TILE_COLUMNS, column = c % TILE_COLUMNS;
        const vec first = element_load(low + c), second = element_load(high + c);
        element *out = (element *)(void *)rows + (panel * t->rows + i) * TILE_COLUMNS + column;
        element_store(out, first);
        element_store(out + TILE_COLUMNS, second);
        if (OPERAND > 1)
            vec_store(pairs + (panel * t->rows + i) / OPERAND * TILE_COLUMNS + column, operand_zip(first, second));
    }
}

/* What is read of the queries: rotated, with dout and its product with out; zeros after the last. */
static void attention_backward_queries(const struct attention_backward *t)
{
    const struct ldar_attention_backward_args *a = t->args;
    const element *q = a->q, *dout = a->dout, *out = a->out;
    element *row = (element *)(void *)t->row;
    memset(t->dq, 0, t->rows * t->padded * sizeof *t->dq);
    for (size_t i = 0; i < t->rows; i += 2) {
        memset(t->row, 0, 2 * t->padded * sizeof *t->row);
        for (size_t j = i; j < i + 2 && j < a->length; j++)
            attention_rotate(&t->rotary, row + (j - i) * t->padded, q + (ptrdiff_t)j * a->stride, j,
                             a->scale * attention_log2e);
        attention_keep(t, t->q, t->q_pairs, i);
        memset(t->row, 0, 2 * t->padded * sizeof *t->row);
        for (size_t j = i; j < i + 2; j++) {
            vec sum = vec_zero();
            for (size_t c = 0; j < a->length && c < a->width; c += VEC_WIDTH) {
                const size_t lanes = a->width - c < VEC_WIDTH ? a->width - c : VEC_WIDTH;
                const vec gradient = element_load_n(dout + (ptrdiff_t)j * a->dout_stride + c, lanes);
                sum = vec_fma(gradient, element_load_n(out + (ptrdiff_t)j * a->out_stride + c, lanes), sum);
                element_store_n(row + (j - i) * t->padded + c, lanes, gradient);
            }
            t->delta[j] = vec_sum(sum);
            t->log_sum[j] = j < a->length ? a->log_sum[j] : 0;
        }
        attention_keep(t, t->dout, t->dout_pairs, i);
    }
}

/* Keys and values first .. first + keys - 1, zeros after them. */
static void attention_backward_block(const struct attention_backward *t, size_t first, size_t keys)
{
    const struct ldar_attention_backward_args *a = t->args;
    const element *k = (const element *)a->k + (ptrdiff_t)first * a->stride;
    const element *v = (const element *)a->v + (ptrdiff_t)first * a->stride;
    element *row = (element *)(void *)t->row;
    memset(t->k, 0, 5 * BACK_K * t->padded * sizeof *t->k); /* v, k_pairs, dk and dv as well */
    for (size_t j = 0; j < keys; j += 2) {
        memset(t->row, 0, 2 * t->padded * sizeof *t->row);
        for (size_t r = 0; r < 2 && j + r < keys; r++) {
            const ptrdiff_t at = (ptrdiff_t)(j + r) * a->stride;
            const size_t place = (j + r) / TILE_COLUMNS * t->depth * TILE_COLUMNS + (j + r) % TILE_COLUMNS;
            attention_rotate(&t->rotary, row + r * t->padded, k + at, first + j + r, 1.0f);
            for (size_t i = 0; i < t->depth; i++) {
                memcpy(t->k + place + i * TILE_COLUMNS, row + r * t->padded + i * OPERAND, sizeof *t->k);
                const size_t left = a->width - i * OPERAND;
                memcpy(t->v + place + i * TILE_COLUMNS, v + at + i * OPERAND,
                       (left < OPERAND ? left : OPERAND) * sizeof(element));
            }
        }
        for (size_t c = 0; c < t->padded; c += VEC_WIDTH) {
            float *out = t->k_pairs + (c / TILE_COLUMNS * BACK_K + j) / OPERAND * TILE_COLUMNS + c % TILE_COLUMNS;
            const vec low = element_load(row + c), high = element_load(row + t->padded + c);
            vec_store(out, operand_zip(low, high));
            if (OPERAND == 1)
                vec_store(out + TILE_COLUMNS, high);
        }
    }
}

/* acc = rows at .. of q or dout times the block's keys or values of one panel. */
TILE_INLINE void attention_scores(const struct attention_backward *t, struct tile *acc, const float *rows, size_t at,
                                  const float *panel)
{
    tile_zero(acc, BACK_R);
    for (size_t c = 0; c < t->depth; c += BACK_C)
        tile_multiply(acc, rows + (c / BACK_C * t->rows + at) * BACK_C, BACK_C, 1, panel + c * TILE_COLUMNS,
                      t->depth - c < BACK_C ? t->depth - c : BACK_C, NULL, BACK_R);
}

/* P of some rows of queries and the keys of one panel. */
static inline void attention_probabilities(const struct attention_backward *t, size_t query, size_t i, size_t j)
{
    struct tile acc;
    attention_scores(t, &acc, t->q, query + i, t->k + j * t->depth);
    TILE_UNROLL
    for (int r = 0; r < BACK_R; r++) {
        const vec base = vec_set1(t->log_sum[query + i + (size_t)r]);
        TILE_UNROLL
        for (int c = 0; c < TILE_VECS; c++)
            acc.v[r][c] = element_exp2(vec_sub(acc.v[r][c], base));
    }
    tile_store(&acc, t->p + i * BACK_K + j, BACK_K, BACK_R);
}

/* dS of the same, and where operands are pairs, those of P. */
static inline void attention_slopes(const struct attention_backward *t, size_t query, size_t i, size_t j)
{
    struct tile acc;
    attention_scores(t, &acc, t->dout, query + i, t->v + j * t->depth);
    TILE_UNROLL
    for (int r = 0; r < BACK_R; r += OPERAND)
        TILE_UNROLL
    for (int c = 0; c < TILE_VECS; c++) {
        const size_t column = j + (size_t)c * VEC_WIDTH;
        vec p[OPERAND], ds[OPERAND];
        TILE_UNROLL
        for (int o = 0; o < OPERAND; o++) {
            const size_t row = i + (size_t)(r + o);
            p[o] = vec_load(t->p + row * BACK_K + column);
            ds[o] = vec_mul(p[o], vec_sub(acc.v[r + o][c], vec_set1(t->delta[query + row])));
            element_store((element *)(void *)t->ds + row * BACK_K + column, ds[o]);
        }
        if (OPERAND > 1) {
            const size_t pair = (i + (size_t)r) / OPERAND * BACK_K + column;
            vec_store(t->p_pairs + pair, operand_zip(p[0], p[OPERAND - 1]));
            vec_store(t->ds_pairs + pair, operand_zip(ds[0], ds[OPERAND - 1]));
        }
    }
}

/* out (keys from .. to - 1, padded) += left^T right over the group's queries. */
static inline void attention_add_keys(const struct attention_backward *t, float *out, const float *left,
                                      const float *right, size_t query, size_t rows, size_t from, size_t to)
{
    for (size_t c = 0; c < t->padded; c += TILE_COLUMNS)
        for (size_t j = from; j < to; j += BACK_R) {
            struct tile acc;
            tile_load(&acc, out + j * t->padded + c, (ptrdiff_t)t->padded, BACK_R);
            tile_multiply(&acc, left + j, 1, BACK_K,
                          right + (c / TILE_COLUMNS * t->rows + query) / OPERAND * TILE_COLUMNS, rows / OPERAND, NULL,
                          BACK_R);
            tile_store(&acc, out + j * t->padded + c, (ptrdiff_t)t->padded, BACK_R);
        }
}

/* dq of the group's rows += dS k over keys from .. to - 1 of the block. */
static inline void attention_add_queries(const struct attention_backward *t, size_t query, size_t rows, size_t from,
                                         size_t to)
{
    enum { SCORES = BACK_K / OPERAND };
    for (size_t c = 0; c < t->padded; c += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += BACK_R) {
            float *dq = t->dq + (query + i) * t->padded + c;
            struct tile acc;
            tile_load(&acc, dq, (ptrdiff_t)t->padded, BACK_R);
            tile_multiply(&acc, t->ds + i * SCORES + from / OPERAND, SCORES, 1,
                          t->k_pairs + (c / TILE_COLUMNS * BACK_K + from) / OPERAND * TILE_COLUMNS,
                          (to - from) / OPERAND, NULL, BACK_R);
            tile_store(&acc, dq, (ptrdiff_t)t->padded, BACK_R);
        }
}

/* Columns from .. to - 1 of the pairs become zero: tiles of keys may begin before the panels that were computed. */
static void attention_clear(const struct attention_backward *t, size_t rows, size_t from, size_t to)
{
    for (size_t i = 0; from < to && i < rows / OPERAND; i++) {
        memset(t->p_pairs + i * BACK_K + from, 0, (to - from) * sizeof *t->p_pairs);
        memset(t->ds_pairs + i * BACK_K + from, 0, (to - from) * sizeof *t->ds_pairs);
    }
}

/*
 * A group of queries meets the block of `columns` keys from `first` on, whole panels of which that none of them sees
 * are left out.
 */
static void attention_backward_meet(const struct attention_backward *t, size_t at, size_t first, size_t columns)
{
    const size_t left = t->args->length - at, rows = (left < BACK_Q ? left + BACK_R - 1 : BACK_Q) / BACK_R * BACK_R;
    const ptrdiff_t end = (ptrdiff_t)(t->args->length - first) - 1; /* the sequence's last key, as a column */
    const ptrdiff_t window = (ptrdiff_t)t->window, low = (ptrdiff_t)at - window - (ptrdiff_t)first;
    const ptrdiff_t high = (ptrdiff_t)at + (ptrdiff_t)rows - 1 + window - (ptrdiff_t)first; /* seen by any */
    const size_t from = low < 0 ? 0 : (size_t)low / TILE_COLUMNS * TILE_COLUMNS;
    const size_t to = high + 1 < (ptrdiff_t)columns ? ((size_t)high / TILE_COLUMNS + 1) * TILE_COLUMNS : columns;
    const size_t begin = from / BACK_R * BACK_R, stop = (to + BACK_R - 1) / BACK_R * BACK_R;
    for (size_t j = from; j < to; j += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += BACK_R)
            attention_probabilities(t, at, i, j);
    const int edge = end + 1 < (ptrdiff_t)to || low + (ptrdiff_t)rows - 1 > (ptrdiff_t)from
                     || high - (ptrdiff_t)rows + 1 < (ptrdiff_t)to - 1;
    for (ptrdiff_t i = 0; edge && i < (ptrdiff_t)rows; i++) {
        const ptrdiff_t last = low + i + 2 * window;
        attention_mask(t->p + i * BACK_K, from, to, low + i, last < end ? last : end, 0);
    }
    for (size_t j = from; j < to; j += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += BACK_R)
            attention_slopes(t, at, i, j);
    attention_clear(t, rows, begin, from);
    attention_clear(t, rows, to, stop);
    attention_add_keys(t, t->dv, t->p_pairs, t->dout_pairs, at, rows, begin, stop);
    attention_add_keys(t, t->dk, t->ds_pairs, t->q_pairs, at, rows, begin, stop);
    attention_add_queries(t, at, rows, from, to);
}

/* out (width) = factor times x with its first `rotary` columns rotated back from `position`. */
static void attention_unrotate(const struct attention_rotary *a, element *out, const float *x, size_t position,
                               float factor)
{
    const size_t half = a->rotary / 2;
    const float *cosine = a->cosine + position * half, *sine = a->sine + position * half;
    const vec scale = vec_set1(factor);
    for (size_t i = 0; i < half; i += VEC_WIDTH) {
        const size_t lanes = half - i < VEC_WIDTH ? half - i : VEC_WIDTH;
        const vec c = vec_load_n(cosine + i, lanes), s = vec_load_n(sine + i, lanes);
        const vec first = vec_mul(scale, vec_load_n(x + i, lanes)),
                  second = vec_mul(scale, vec_load_n(x + half + i, lanes));
        element_store_n(out + i, lanes, vec_fma(second, s, vec_mul(first, c)));
        element_store_n(out + half + i, lanes, vec_fnma(first, s, vec_mul(second, c)));
    }
    for (size_t i = a->rotary; i < a->width; i += VEC_WIDTH) {
        const size_t lanes = a->width - i < VEC_WIDTH ? a->width - i : VEC_WIDTH;
        element_store_n(out + i, lanes, vec_mul(scale, vec_load_n(x + i, lanes)));
    }
}

/* The gradients of a block's keys and values, which begin at row `first` of the sequence. */
static void attention_backward_write(const struct attention_backward *t, size_t first, size_t keys)
{
    const struct ldar_attention_backward_args *a = t->args;
    for (size_t j = 0; j < keys; j++) {
        const ptrdiff_t at = (ptrdiff_t)(first + j) * a->gradient_stride;
        element *dv = (element *)a->dv + at;
        attention_unrotate(&t->rotary, (element *)a->dk + at, t->dk + j * t->padded, first + j, 1.0f / attention_log2e);
        for (size_t c = 0; c < a->width; c += VEC_WIDTH)
            element_store_n(dv + c, a->width - c < VEC_WIDTH ? a->width - c : VEC_WIDTH,
                            vec_load(t->dv + j * t->padded + c));
    }
}

static void kernel_attention_backward(const struct ldar_attention_backward_args *a)
{
    const struct attention_backward t = attention_backward_layout(a);
    attention_backward_queries(&t);
    for (size_t first = 0; first < a->length; first += BACK_K) {
        const size_t keys = a->length - first < BACK_K ? a->length - first : BACK_K;
        const size_t columns = (keys + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
        const size_t low = first > t.window ? (first - t.window) / BACK_Q * BACK_Q : 0;
        const size_t high = a->length - first - keys > t.window ? first + keys + t.window : a->length;
        attention_backward_block(&t, first, keys);
        for (size_t at = low; at < high; at += BACK_Q)
            attention_backward_meet(&t, at, first, columns);
        attention_backward_write(&t, first, keys);
    }
    for (size_t i = 0; i < a->length; i++)
        attention_unrotate(&t.rotary, (element *)a->dq + (ptrdiff_t)i * a->gradient_stride, t.dq + i * t.padded, i,
                           a->scale);
}
