/* SPDX-License-Identifier: Apache-2.0 */
#include "gradients.h"

enum { SYMBOLS = 7 };

/* ---- embed ---- */

struct embed {
    size_t rows, width;
    ptrdiff_t table_stride, stride;
    double *table, *out, *dout;
    uint8_t *ids;
};

static double embed_loss(void *of)
{
    const struct embed *e = of;
    ldar_kernels_real.embed(e->out, e->table, e->ids, e->rows, e->width, e->stride, e->table_stride);
    return gradients_dot(e->out, e->dout, e->rows * (size_t)e->stride);
}

static void embed_check(size_t rows, size_t width)
{
    check_case("embed rows %zu width %zu", rows, width);
    uint8_t ids[600];
    struct embed e = {
        .rows = rows, .width = width, .table_stride = (ptrdiff_t)width + 1, .stride = (ptrdiff_t)width + 2, .ids = ids};
    for (size_t i = 0; i < rows; i++) {
        ids[i] = (uint8_t)random_below(&gradients_random, SYMBOLS);
    }
    const size_t count = SYMBOLS * (size_t)e.table_stride;
    e.table = gradients_normal(count);
    e.out = gradients_zeros(rows * (size_t)e.stride);
    e.dout = gradients_normal(rows * (size_t)e.stride);
    double *dtable = gradients_zeros(count);
    ldar_kernels_real.embed_backward(dtable, e.dout, e.ids, rows, width, e.table_stride, e.stride);
    gradients_check("table", e.table, count, dtable, embed_loss, &e);
    gradients_end();
}

/* ---- sum_rows: the bias of expand ---- */

struct bias {
    size_t rows, width;
    double *x, *bias, *out, *dout;
    uint32_t *index;
};

static double bias_loss(void *of)
{
    const struct bias *b = of;
    ldar_kernels_real.expand(b->out, b->x, b->bias, b->index, b->rows, b->width, (ptrdiff_t)b->width, 0);
    return gradients_dot(b->out, b->dout, b->rows * b->width);
}

static void bias_check(size_t rows, size_t width)
{
    check_case("sum_rows rows %zu width %zu", rows, width);
    uint32_t index[600] = {0};
    struct bias b = {.rows = rows,
                     .width = width,
                     .x = gradients_normal(width),
                     .bias = gradients_normal(width),
                     .out = gradients_zeros(rows * width),
                     .dout = gradients_normal(rows * width),
                     .index = index};
    double *dbias = gradients_zeros(width);
    ldar_kernels_real.sum_rows(dbias, b.dout, rows, width, (ptrdiff_t)width);
    gradients_check("bias", b.bias, width, dbias, bias_loss, &b);
    gradients_end();
}

/* ---- head ---- */

struct head {
    size_t rows, width;
    ptrdiff_t stride;
    double *x, *weight, *logits, *dlogits;
};

static double head_loss(void *of)
{
    const struct head *h = of;
    ldar_kernels_real.head(h->logits, h->x, h->weight, h->rows, h->width, SYMBOLS, h->stride);
    return gradients_dot(h->logits, h->dlogits, h->rows * SYMBOLS);
}

/* One row in `nth` has a gradient. */
static void head_check(size_t rows, size_t width, size_t nth)
{
    check_case("head rows %zu width %zu every %zu", rows, width, nth);
    struct head h = {.rows = rows, .width = width, .stride = (ptrdiff_t)width + 1};
    const size_t count = rows * (size_t)h.stride;
    h.x = gradients_normal(count);
    h.weight = gradients_normal(SYMBOLS * width);
    h.logits = gradients_zeros(rows * SYMBOLS);
    h.dlogits = gradients_normal(rows * SYMBOLS);
    for (size_t i = 0; i < rows * SYMBOLS; i++) {
        h.dlogits[i] = i / SYMBOLS % nth ? 0 : h.dlogits[i];
    }
    double *dx = gradients_zeros(count), *dweight = gradients_zeros(SYMBOLS * width);
    ldar_kernels_real.head_backward(dx, dweight, h.dlogits, h.x, h.weight, rows, width, SYMBOLS, h.stride, h.stride);
    gradients_check("x", h.x, count, dx, head_loss, &h);
    gradients_check("weight", h.weight, SYMBOLS * width, dweight, head_loss, &h);
    gradients_end();
}

void gradients_rows(void)
{
    embed_check(1, 40);
    embed_check(67, 9);
    embed_check(600, 3);
    bias_check(1, 40);
    bias_check(67, 9);
    bias_check(600, 3);
    head_check(1, 13, 1);
    head_check(9, 30, 1);
    head_check(70, 6, 1);
    head_check(140, 6, 7);
}
