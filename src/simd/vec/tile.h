/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TILE_H
#define LDAR_TILE_H

/*
 * The register tile: some rows, GEMM_ROWS or TILE_ROWS at most, of TILE_VECS
 * vectors that stay in registers while outer products are added to them. GEMM,
 * scan and attention are all made of it. Included after element.h.
 *
 * `rows` is a constant at every call, so that the loops unroll and the array
 * lives in registers; a row's arithmetic does not depend on it.
 */

#define TILE_COLUMNS (TILE_VECS * VEC_WIDTH)

#if defined(__clang__)
#define TILE_UNROLL _Pragma("unroll")
#else
#define TILE_UNROLL _Pragma("GCC unroll 32")
#endif
#define TILE_INLINE static inline __attribute__((always_inline))

struct tile {
    vec v[GEMM_ROWS > TILE_ROWS ? GEMM_ROWS : TILE_ROWS][TILE_VECS];
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
 * Rows of a tall tile are addressed in groups of four, each from a pointer of its own at the same three distances: as
 * many distances as rows would not fit the registers of x86-64. The empty asm keeps compilers from joining the pointers
 * again.
 */
enum { TILE_GROUP = 4, TILE_TALL = 8, TILE_GROUPS = 4 };

TILE_INLINE int tile_groups(const float *group[TILE_GROUPS], const float *a, ptrdiff_t stride, const int rows)
{
    group[0] = a;
    if (rows <= TILE_TALL)
        return 1;
    TILE_UNROLL
    for (int g = 1; g < (rows + TILE_GROUP - 1) / TILE_GROUP; g++) {
        group[g] = a + g * TILE_GROUP * stride;
        __asm__("" : "+r"(group[g]));
    }
    return (rows + TILE_GROUP - 1) / TILE_GROUP;
}

/* t[r] += a(r) b, one step of a product. */
TILE_INLINE void tile_step(struct tile *t, const float *const group[TILE_GROUPS], ptrdiff_t stride, const float *b,
                           const int height, const int rows)
{
    vec column[TILE_VECS];
    TILE_UNROLL
    for (int j = 0; j < TILE_VECS; j++)
        column[j] = vec_load(b + j * VEC_WIDTH);
    TILE_UNROLL
    for (int r = 0; r < rows; r++) {
        const float x = group[r / height][r % height * stride];
        TILE_UNROLL
        for (int j = 0; j < TILE_VECS; j++)
            t->v[r][j] = operand_fma1(x, column[j], t->v[r][j]);
    }
}

/* Memory that is brought into L2 while a product is formed: so many cache lines with every TILE_STRETCH steps. */
struct tile_ahead {
    const char *from;
    size_t lines;
};

enum { TILE_STRETCH = 4, TILE_LINE = 64 };

/*
 * t[r] += a(r, k) b(k) for k ascending, a(r, k) = a[r stride + k step], b(k) = b[k TILE_COLUMNS ..], all operands.
 * `ahead` is NULL or moves on behind what was brought.
 */
TILE_INLINE void tile_multiply(struct tile *t, const float *a, ptrdiff_t stride, ptrdiff_t step, const float *b,
                               size_t depth, struct tile_ahead *ahead, const int rows)
{
    const float *group[TILE_GROUPS];
    const int groups = tile_groups(group, a, stride, rows), height = groups > 1 ? TILE_GROUP : TILE_TALL;
    size_t k = 0;
    for (; ahead && k + TILE_STRETCH <= depth; k += TILE_STRETCH) {
        for (size_t i = 0; i < ahead->lines; i++, ahead->from += TILE_LINE)
            __builtin_prefetch(ahead->from, 0, 2);
        TILE_UNROLL
        for (int i = 0; i < TILE_STRETCH; i++, b += TILE_COLUMNS) {
            tile_step(t, group, stride, b, height, rows);
            TILE_UNROLL
            for (int g = 0; g < groups; g++)
                group[g] += step;
        }
    }
    for (; k < depth; k++, b += TILE_COLUMNS) {
        tile_step(t, group, stride, b, height, rows);
        TILE_UNROLL
        for (int g = 0; g < groups; g++)
            group[g] += step;
    }
}

#endif
