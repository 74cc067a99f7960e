/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/ops.h>

#include <math.h>
#include <stdlib.h>

#include "cpu/isa.h"
#include "status.h"

/* The kernels of `isa`, or an error. */
static enum ldar_status ops_kernels(enum ldar_isa isa, const struct ldar_kernels **kernels, struct ldar_error *error)
{
    enum ldar_isa chosen;
    enum ldar_status status = ldar_isa_choose(isa, &chosen, error);
    *kernels = status == LDAR_OK ? ldar_isa_kernels(chosen, LDAR_F32) : NULL;
    return status;
}

static enum ldar_status ops_room(size_t floats, float **room, struct ldar_error *error)
{
    size_t bytes = (floats * sizeof **room + 63) / 64 * 64;
    *room = aligned_alloc(64, bytes);
    return *room ? LDAR_OK : ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for %zu bytes of scratch", bytes);
}

/* Whether an array of a * b * c floats could exist. */
static int ops_countable(size_t a, size_t b, size_t c)
{
    size_t count;
    return !__builtin_mul_overflow(a, b, &count) && !__builtin_mul_overflow(count, c, &count)
           && count <= PTRDIFF_MAX / sizeof(float);
}

enum ldar_status ldar_ssd_scan(enum ldar_isa isa, const struct ldar_ssd *ssd, struct ldar_error *error)
{
    if (!ssd || ssd->state < 1 || ssd->state > 1024)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a scan needs a state of 1 to 1024");
    if (ssd->length == 0 || ssd->heads == 0)
        return LDAR_OK;
    if (!ssd->y || !ssd->x || !ssd->dt || !ssd->a || !ssd->b || !ssd->c || !ssd->d)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "an array of the scan is missing");
    if (!ops_countable(ssd->length, ssd->heads, LDAR_HEAD) || !ops_countable(ssd->length, ssd->state, 1))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the scan's arrays would not fit any memory");
    const struct ldar_kernels *kernels;
    enum ldar_status status = ops_kernels(isa, &kernels, error);
    if (status != LDAR_OK)
        return status;
    float *scratch;
    const size_t most = ssd->heads < LDAR_SSD_HEADS ? ssd->heads : LDAR_SSD_HEADS;
    status = ops_room(ldar_ssd_scratch(most, ssd->state), &scratch, error);
    if (status != LDAR_OK)
        return status;
    const size_t start = ssd->reverse ? ssd->length - 1 : 0, row = ssd->heads * LDAR_HEAD;
    const ptrdiff_t sign = ssd->reverse ? -1 : 1;
    uint64_t mode;
    kernels->float_mode_enter(&mode);
    for (size_t head = 0; head < ssd->heads; head += most)
        kernels->ssd_scan(&(struct ldar_ssd_args){
            .y = ssd->y + start * row + head * LDAR_HEAD,
            .x = ssd->x + start * row + head * LDAR_HEAD,
            .b = ssd->b + start * ssd->state,
            .c = ssd->c + start * ssd->state,
            .dt = ssd->dt + start * ssd->heads + head,
            .a = ssd->a + head,
            .d = ssd->d + head,
            .length = ssd->length,
            .heads = ssd->heads - head < most ? ssd->heads - head : most,
            .state = ssd->state,
            .width = LDAR_HEAD,
            .y_stride = sign * (ptrdiff_t)row,
            .x_stride = sign * (ptrdiff_t)row,
            .bc_stride = sign * (ptrdiff_t)ssd->state,
            .dt_stride = sign * (ptrdiff_t)ssd->heads,
            .scratch = scratch,
        });
    kernels->float_mode_leave(mode);
    free(scratch);
    return LDAR_OK;
}

/* cos and sin (length, rotary / 2) of the rotations. */
static void ops_rotations(float *cosine, float *sine, size_t length, size_t rotary)
{
    for (size_t i = 0; i < rotary / 2; i++) {
        double frequency = pow(10000.0, -2.0 * (double)i / (double)rotary);
        for (size_t t = 0; t < length; t++) {
            cosine[t * (rotary / 2) + i] = (float)cos((double)t * frequency);
            sine[t * (rotary / 2) + i] = (float)sin((double)t * frequency);
        }
    }
}

enum ldar_status ldar_attend(enum ldar_isa isa, const struct ldar_window_attention *a, struct ldar_error *error)
{
    if (!a || a->width < 1 || a->width > LDAR_ATTENTION_WIDTH || a->rotary % 2 || a->rotary > a->width)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT,
                         "attention needs heads of 1 to %d columns, an even number of which may be rotated",
                         LDAR_ATTENTION_WIDTH);
    if (a->length == 0 || a->heads == 0)
        return LDAR_OK;
    if (!a->out || !a->q || !a->k || !a->v || !ops_countable(a->length, a->heads, a->width))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "an array of the attention is missing or beyond any memory");
    const struct ldar_kernels *kernels;
    enum ldar_status status = ops_kernels(isa, &kernels, error);
    if (status != LDAR_OK)
        return status;
    const size_t scratch = (ldar_attention_scratch(a->width) + 15) / 16 * 16, angles = a->length * (a->rotary / 2);
    float *room;
    status = ops_room(scratch + 2 * angles, &room, error);
    if (status != LDAR_OK)
        return status;
    float *cosine = room + scratch, *sine = cosine + angles;
    ops_rotations(cosine, sine, a->length, a->rotary);
    const ptrdiff_t stride = (ptrdiff_t)(a->heads * a->width);
    uint64_t mode;
    kernels->float_mode_enter(&mode);
    for (size_t head = 0; head < a->heads; head++)
        for (size_t first = 0; first < a->length; first += LDAR_ATTENTION_QUERIES)
            kernels->attention(&(struct ldar_attention_args){
                .out = a->out + head * a->width,
                .q = a->q + head * a->width,
                .k = a->k + head * a->width,
                .v = a->v + head * a->width,
                .cosine = cosine,
                .sine = sine,
                .length = a->length,
                .first = first,
                .queries = a->length - first < LDAR_ATTENTION_QUERIES ? a->length - first : LDAR_ATTENTION_QUERIES,
                .width = a->width,
                .rotary = a->rotary,
                .window = a->window < 0 || (size_t)a->window >= a->length ? -1 : a->window,
                .stride = stride,
                .out_stride = stride,
                .scale = (float)(1.0 / sqrt((double)a->width)),
                .scratch = room,
            });
    kernels->float_mode_leave(mode);
    free(room);
    return LDAR_OK;
}

enum ldar_status ldar_rms_norm(enum ldar_isa isa, float *out, const float *x, const float *weight, size_t rows,
                               size_t width, struct ldar_error *error)
{
    if (rows == 0 || width == 0)
        return LDAR_OK;
    if (!out || !x || !weight || !ops_countable(rows, width, 1))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "an array of the norm is missing or beyond any memory");
    const struct ldar_kernels *kernels;
    enum ldar_status status = ops_kernels(isa, &kernels, error);
    if (status != LDAR_OK)
        return status;
    uint64_t mode;
    kernels->float_mode_enter(&mode);
    kernels->rms_norm(out, x, weight, rows, width, 1e-5f, (ptrdiff_t)width, (ptrdiff_t)width);
    kernels->float_mode_leave(mode);
    return LDAR_OK;
}
