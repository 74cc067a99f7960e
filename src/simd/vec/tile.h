/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TILE_H
#define LDAR_TILE_H

/*
 * The register tile: up to TILE_ROWS rows of TILE_VECS vectors that stay in
 * registers while outer products are added to them. GEMM, scan and attention
 * are all made of it. Included after a vec header.
 *
 * `rows` is a constant at every call, so that the loops unroll and the array
 * lives in registers; a row's arithmetic does not depend on it.
 */

#define TILE_COLUMNS (TILE_VECS * VEC_WIDTH)

#if defined(__clang__)
#define TILE_UNROLL _Pragma("unroll")
#else
#define TILE_UNROLL _Pragma("GCC unroll 16")
#endif
#define TILE_INLINE static inline __attribute__((always_inline))

struct tile {
    vec v[TILE_ROWS][TILE_VECS];
};

TILE_INLINE void tile_zero(struct tile *t, const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++)
        t->v[r][j] = vec_zero();
}

/* t[r] = p[r stride ..] */
TILE_INLINE void tile_load(struct tile *t, const float *p, ptrdiff_t stride, const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++)
        t->v[r][j] = vec_load(p + r * stride + j * VEC_WIDTH);
}

/* p[r stride ..] = t[r] */
TILE_INLINE void tile_store(const struct tile *t, float *p, ptrdiff_t stride, const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++)
        vec_store(p + r * stride + j * VEC_WIDTH, t->v[r][j]);
}

/* t[r] *= s[r step] */
TILE_INLINE void tile_scale(struct tile *t, const float *s, ptrdiff_t step, const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++) {
        vec x = vec_set1(s[r * step]);
        TILE_UNROLL
        for (int j = 0; j < TILE_VECS; j++)
            t->v[r][j] = vec_mul(t->v[r][j], x);
    }
}

/* t += other */
TILE_INLINE void tile_add(struct tile *t, const struct tile *other, const int rows)
{
    TILE_UNROLL
    for (int r = 0; r < rows; r++)
        TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++)
        t->v[r][j] = vec_add(t->v[r][j], other->v[r][j]);
}

/*
 * t[r] += a(r, k) b(k) for k ascending, a(r, k) = a[r stride + k step], b(k) = b[k TILE_COLUMNS ..]. While it works,
 * one cache line per k of the memory at `ahead` is brought into L2; NULL: none.
 */
TILE_INLINE void tile_multiply(struct tile *t, const float *a, ptrdiff_t stride, ptrdiff_t step, const float *b,
                               size_t depth, const float *ahead, const int rows)
{
    for (size_t k = 0; k < depth; k++, a += step, b += TILE_COLUMNS) {
        vec column[TILE_VECS];
        TILE_UNROLL
        for (int j = 0; j < TILE_VECS; j++)
            column[j] = vec_load(b + j * VEC_WIDTH);
        if (ahead)
            __builtin_prefetch(ahead + k * 16, 0, 2);
        TILE_UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vec_set1(a[r * stride]);
            TILE_UNROLL
            for (int j = 0; j < TILE_VECS; j++)
                t->v[r][j] = vec_fma(x, column[j], t->v[r][j]);
        }
    }
}

#endif
