/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled once for each instruction set, with PERF_VEC naming its vec header. */
#include PERF_VEC

#include <string.h>

#include "recurrence.h"
#include "simd/vec/vec_math.h"

#include "simd/vec/element.h"
#include "simd/vec/tile.h"

enum { P_VECS = LDAR_HEAD / VEC_WIDTH };

#define NAME_OF(isa) perf_recurrence_##isa
#define NAME(isa) NAME_OF(isa)

/* state (N, P) = decay state + dt b x, y (P) = state c + d x: each element of the state is loaded and stored once. */
static inline void recurrence_token(float *state, float *y, const float *x, const float *b, const float *c, float dt,
                                    float decay, float skip, size_t n)
{
    vec late[P_VECS], sum[P_VECS];
    TILE_UNROLL
    for (int j = 0; j < P_VECS; j++) {
        vec value = vec_load(x + j * VEC_WIDTH);
        late[j] = vec_mul(vec_set1(dt), value);
        sum[j] = vec_mul(vec_set1(skip), value);
    }
    for (size_t i = 0; i < n; i++, state += LDAR_HEAD) {
        TILE_UNROLL
        for (int j = 0; j < P_VECS; j++) {
            vec s = vec_mul(vec_set1(decay), vec_load(state + j * VEC_WIDTH));
            s = vec_fma(vec_set1(b[i]), late[j], s);
            sum[j] = vec_fma(vec_set1(c[i]), s, sum[j]);
            vec_store(state + j * VEC_WIDTH, s);
        }
    }
    TILE_UNROLL
    for (int j = 0; j < P_VECS; j++)
        vec_store(y + j * VEC_WIDTH, sum[j]);
}

void NAME(VEC_NAME)(const struct ldar_ssd_args *a)
{
    const float *x = a->x, *b = a->b, *c = a->c;
    float *y = a->y;
    memset(a->scratch, 0, a->heads * ldar_ssd_state(a->state) * sizeof *a->scratch);
    for (size_t h = 0; h < a->heads; h++) {
        float *state = a->scratch + h * ldar_ssd_state(a->state), decay[VEC_WIDTH];
        for (size_t t = 0; t < a->length; t++) {
            const ptrdiff_t row = (ptrdiff_t)t;
            float dt = a->dt[row * a->dt_stride + (ptrdiff_t)h];
            vec_store(decay, vec_exp(vec_set1(dt * a->a[h])));
            recurrence_token(state, y + row * a->y_stride + (ptrdiff_t)h * LDAR_HEAD,
                             x + row * a->x_stride + (ptrdiff_t)h * LDAR_HEAD, b + row * a->bc_stride,
                             c + row * a->bc_stride, dt, decay[0], a->d[h], a->state);
        }
    }
}
