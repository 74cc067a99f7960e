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

static const float attention_unseen = -1e30f; /* a masked score */
static const float attention_start = -1e29f;  /* the first maximum: exp2(unseen - start) is 0 */

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
};

static inline struct attention attention_layout(const struct ldar_attention_args *a)
{
    struct attention t;
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
static void attention_rotate(const struct ldar_attention_args *a, element *out, const element *x, size_t position,
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
    const float log2e = 1.44269504f; /* the softmax is taken in powers of two */
    const element *q = (const element *)a->q + (ptrdiff_t)a->first * a->stride;
    element *out = (element *)(void *)t->q;
    if (rows > a->queries || a->width < t->padded)
        memset(t->q, 0, rows * t->padded * sizeof *out);
    memset(t->o, 0, rows * t->padded * sizeof *t->o);
    memset(t->sum, 0, rows * VEC_WIDTH * sizeof *t->sum);
    for (size_t i = 0; i < rows; i++)
        t->max[i] = attention_start;
    for (size_t i = 0; i < a->queries; i++, q += a->stride, out += t->padded)
        attention_rotate(a, out, q, a->first + i, a->scale * log2e);
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
        attention_rotate(a, (element *)(void *)t->row, k + (ptrdiff_t)j * a->stride, first + j, 1.0f);
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

/* Scores outside columns low..high of a block become unseen. */
static inline void attention_mask(float *s, size_t from, size_t to, ptrdiff_t low, ptrdiff_t high)
{
    const vec lowest = vec_set1((float)(low < 0 ? 0 : low > ATT_K ? ATT_K : low));
    const vec highest = vec_set1((float)(high < -1 ? -1 : high > ATT_K ? ATT_K : high));
    const vec unseen = vec_set1(attention_unseen);
    for (size_t j = from; j < to; j += VEC_WIDTH) {
        vec index = vec_add(vec_set1((float)j), vec_iota());
        vec score = vec_select_gt(lowest, index, unseen, vec_load(s + j));
        vec_store(s + j, vec_select_gt(index, highest, unseen, score));
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
        attention_mask(t->s + i * ATT_K, from, to, low + i, last < end ? last : end);
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
        vec scale = vec_set1(1.0f / vec_sum(vec_load(t->sum + i * VEC_WIDTH)));
        element *out = (element *)a->out + (ptrdiff_t)(a->first + i) * a->out_stride;
        for (size_t j = 0; j < a->width; j += VEC_WIDTH) {
            size_t lanes = a->width - j < VEC_WIDTH ? a->width - j : VEC_WIDTH;
            element_store_n(out + j, lanes, vec_mul(scale, vec_load(t->o + i * t->padded + j)));
        }
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
