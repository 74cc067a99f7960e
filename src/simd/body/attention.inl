/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Attention of one head with online softmax. Keys are the outer loop: a block of LDAR_ATTENTION_KEYS keys and values is
 * rotated and packed once and met by every tile of 64 queries that sees it, so that scratch does not grow with the
 * sequence or the window. Blocks and tiles lie at fixed places in the sequence: how the queries are cut into calls
 * changes no bit. Only blocks at the edge of a tile's window, or of the sequence, are masked.
 *
 * With a window of 1023 and 1024 queries a call, keys are packed three times in all: 0.2 % of the forward pass, for
 * which a packed copy of all keys (a second pass over memory, and room that depends on the lengths) is no bargain.
 */

enum { ATT_T = LDAR_TILE, ATT_K = LDAR_ATTENTION_KEYS };

static const float attention_unseen = -1e30f; /* a masked score */
static const float attention_start = -1e29f;  /* the first maximum: exp2(unseen - start) is 0 */

struct attention {
    float *q, *o;      /* (queries, padded): rotated and scaled queries; unnormalised outputs */
    float *max, *sum;  /* (queries) of the scores so far, in powers of two */
    float *k, *v;      /* (ATT_K / COLUMNS, width, COLUMNS) and (padded / COLUMNS, ATT_K, COLUMNS) */
    float *s;          /* (ATT_T, ATT_K) scores of a tile against a block */
    float *correction; /* (ATT_T) */
    float *row;        /* (padded) */
    size_t padded;
};

static inline struct attention attention_layout(const struct ldar_attention_args *a)
{
    struct attention t;
    t.padded = (a->width + 31) / 32 * 32;
    t.q = a->scratch;
    t.o = t.q + LDAR_ATTENTION_QUERIES * t.padded;
    t.max = t.o + LDAR_ATTENTION_QUERIES * t.padded;
    t.sum = t.max + LDAR_ATTENTION_QUERIES;
    t.k = t.sum + LDAR_ATTENTION_QUERIES;
    t.v = t.k + ATT_K * t.padded;
    t.s = t.v + ATT_K * t.padded;
    t.correction = t.s + ATT_T * ATT_K;
    t.row = t.correction + 4 * ATT_T;
    return t;
}

/* out (width) = scale times x with its first `rotary` columns rotated to `position`. */
static void attention_rotate(const struct ldar_attention_args *a, float *out, const float *x, size_t position,
                             float scale)
{
    const size_t half = a->rotary / 2;
    const float *cosine = a->cosine + position * half, *sine = a->sine + position * half;
    const vec factor = vec_set1(scale);
    for (size_t i = 0; i < half; i += VEC_WIDTH) {
        size_t lanes = half - i < VEC_WIDTH ? half - i : VEC_WIDTH;
        vec c = vec_load_n(cosine + i, lanes), s = vec_load_n(sine + i, lanes);
        vec first = vec_mul(factor, vec_load_n(x + i, lanes));
        vec second = vec_mul(factor, vec_load_n(x + half + i, lanes));
        vec_store_n(out + i, lanes, vec_fnma(second, s, vec_mul(first, c)));
        vec_store_n(out + half + i, lanes, vec_fma(first, s, vec_mul(second, c)));
    }
    for (size_t i = a->rotary; i < a->width; i += VEC_WIDTH) {
        size_t lanes = a->width - i < VEC_WIDTH ? a->width - i : VEC_WIDTH;
        vec_store_n(out + i, lanes, vec_mul(factor, vec_load_n(x + i, lanes)));
    }
}

static void attention_queries(const struct ldar_attention_args *a, const struct attention *t, size_t rows)
{
    const float log2e = 1.44269504f; /* the softmax is taken in powers of two */
    memset(t->q + a->queries * t->padded, 0, (rows - a->queries) * t->padded * sizeof *t->q);
    memset(t->o, 0, rows * t->padded * sizeof *t->o);
    for (size_t i = 0; i < rows; i++) {
        t->max[i] = attention_start;
        t->sum[i] = 0.0f;
    }
    for (size_t i = 0; i < a->queries; i++)
        attention_rotate(a, t->q + i * t->padded, a->q + (ptrdiff_t)(a->first + i) * a->stride, a->first + i,
                         a->scale * log2e);
}

/* Keys and values first .. first + keys - 1; the rest of the last panel is zero. */
static void attention_block(const struct ldar_attention_args *a, const struct attention *t, size_t first, size_t keys)
{
    if (keys < ATT_K)
        memset(t->k, 0, 2 * ATT_K * t->padded * sizeof *t->k);
    for (size_t j = 0; j < keys; j++) {
        const float *v = a->v + (ptrdiff_t)(first + j) * a->stride;
        attention_rotate(a, t->row, a->k + (ptrdiff_t)(first + j) * a->stride, first + j, 1.0f);
        float *k = t->k + j / TILE_COLUMNS * a->width * TILE_COLUMNS + j % TILE_COLUMNS;
        for (size_t i = 0; i < a->width; i++)
            k[i * TILE_COLUMNS] = t->row[i];
        memset(t->row, 0, t->padded * sizeof *t->row);
        memcpy(t->row, v, a->width * sizeof *v);
        for (size_t i = 0; i < a->width; i += TILE_COLUMNS)
            memcpy(t->v + i * ATT_K + j * TILE_COLUMNS, t->row + i, TILE_COLUMNS * sizeof *v);
    }
}

/* Scores outside columns low..high of a block become unseen. */
static inline void attention_mask(float *s, size_t columns, ptrdiff_t low, ptrdiff_t high)
{
    const vec lowest = vec_set1((float)(low < 0 ? 0 : low > ATT_K ? ATT_K : low));
    const vec highest = vec_set1((float)(high < -1 ? -1 : high > ATT_K ? ATT_K : high));
    const vec unseen = vec_set1(attention_unseen);
    for (size_t j = 0; j < columns; j += VEC_WIDTH) {
        vec index = vec_add(vec_set1((float)j), vec_iota());
        vec score = vec_select_gt(lowest, index, unseen, vec_load(s + j));
        vec_store(s + j, vec_select_gt(index, highest, unseen, score));
    }
}

/* s = exp2(s - max) for one query; returns the sum and moves the running maximum. */
static inline float attention_softmax(float *s, size_t columns, float *max, float *correction)
{
    vec largest = vec_set1(*max);
    for (size_t j = 0; j < columns; j += VEC_WIDTH)
        largest = vec_max(largest, vec_load(s + j));
    const float before = *max, now = vec_largest(largest);
    const vec base = vec_set1(now);
    vec sum[2] = {vec_zero(), vec_zero()};
    for (size_t j = 0; j < columns; j += VEC_WIDTH) {
        vec e = vec_exp2(vec_sub(vec_load(s + j), base));
        vec_store(s + j, e);
        sum[j / VEC_WIDTH % 2] = vec_add(sum[j / VEC_WIDTH % 2], e);
    }
    *max = now;
    *correction = before - now;
    return vec_sum(vec_add(sum[0], sum[1]));
}

/* One tile of queries, rows `at`.. of the call, meets the block of `columns` keys that begins at `first`. */
static void attention_tile(const struct ldar_attention_args *a, const struct attention *t, size_t at, size_t rows,
                           size_t first, size_t columns)
{
    const ptrdiff_t query = (ptrdiff_t)(a->first + at), key = (ptrdiff_t)first;
    const ptrdiff_t end = (ptrdiff_t)(a->length - first) - 1; /* the sequence's last key, as a column */
    float *q = t->q + at * t->padded, *o = t->o + at * t->padded, sum[ATT_T];
    for (size_t j = 0; j < columns; j += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += TILE_ROWS) {
            struct tile acc;
            tile_zero(&acc, TILE_ROWS);
            tile_multiply(&acc, q + i * t->padded, (ptrdiff_t)t->padded, 1, t->k + j * a->width, a->width, NULL,
                          TILE_ROWS);
            tile_store(&acc, t->s + i * ATT_K + j, ATT_K, TILE_ROWS);
        }
    int edge =
        end + 1 < (ptrdiff_t)columns
        || (a->window >= 0
            && (key < query + (ptrdiff_t)rows - 1 - a->window || key + (ptrdiff_t)columns - 1 > query + a->window));
    for (size_t i = 0; i < rows; i++) {
        float *s = t->s + i * ATT_K;
        ptrdiff_t self = query + (ptrdiff_t)i - key;
        if (edge && a->window >= 0)
            attention_mask(s, columns, self - a->window, self + a->window < end ? self + a->window : end);
        else if (edge)
            attention_mask(s, columns, 0, end);
        sum[i] = attention_softmax(s, columns, t->max + at + i, t->correction + i);
    }
    for (size_t i = 0; i < rows; i += VEC_WIDTH) {
        size_t lanes = rows - i < VEC_WIDTH ? rows - i : VEC_WIDTH;
        vec c = vec_exp2(vec_load_n(t->correction + i, lanes));
        vec_store_n(t->correction + i, lanes, c);
        vec_store_n(t->sum + at + i, lanes, vec_fma(vec_load_n(t->sum + at + i, lanes), c, vec_load_n(sum + i, lanes)));
    }
    for (size_t p = 0; p < a->width; p += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += TILE_ROWS) {
            struct tile acc;
            tile_load(&acc, o + i * t->padded + p, (ptrdiff_t)t->padded, TILE_ROWS);
            tile_scale(&acc, t->correction + i, 1, TILE_ROWS);
            tile_multiply(&acc, t->s + i * ATT_K, ATT_K, 1, t->v + p * ATT_K, columns, NULL, TILE_ROWS);
            tile_store(&acc, o + i * t->padded + p, (ptrdiff_t)t->padded, TILE_ROWS);
        }
}

static void attention_write(const struct ldar_attention_args *a, const struct attention *t)
{
    for (size_t i = 0; i < a->queries; i++) {
        vec scale = vec_set1(1.0f / t->sum[i]);
        float *out = a->out + (ptrdiff_t)(a->first + i) * a->out_stride;
        for (size_t j = 0; j < a->width; j += VEC_WIDTH) {
            size_t lanes = a->width - j < VEC_WIDTH ? a->width - j : VEC_WIDTH;
            vec_store_n(out + j, lanes, vec_mul(scale, vec_load(t->o + i * t->padded + j)));
        }
    }
}

static void kernel_attention(const struct ldar_attention_args *a)
{
    const struct attention t = attention_layout(a);
    const size_t window = a->window < 0 ? a->length : (size_t)a->window;
    const size_t rows = (a->queries + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS, end = a->first + a->queries;
    const size_t low = a->first > window ? a->first - window : 0;
    const size_t high = a->length - end > window ? end + window : a->length;
    attention_queries(a, &t, rows);
    for (size_t first = low / ATT_K * ATT_K; first < high; first += ATT_K) {
        size_t keys = a->length - first < ATT_K ? a->length - first : ATT_K;
        size_t columns = (keys + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
        attention_block(a, &t, first, keys);
        for (size_t at = 0; at < rows; at += ATT_T) {
            size_t query = a->first + at;
            size_t here = rows - at < ATT_T ? rows - at : ATT_T;
            int seen = first <= query + here - 1 + window && query <= first + keys - 1 + window;
            if (seen)
                attention_tile(a, &t, at, here, first, columns);
        }
    }
    attention_write(a, &t);
}
