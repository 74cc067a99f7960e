/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>
#include <string.h>

/* The numbers that a kernel adds to, as a reference. */
static double *reference_of(struct matrix m)
{
    double *reference = reference_new(m.rows * m.width);
    for (size_t i = 0; i < m.rows * m.width; i++) {
        reference[i] = matrix_row(m, (ptrdiff_t)(i / m.width))[i % m.width];
    }
    return reference;
}

/* A matrix without a stride. */
static struct matrix dense(struct test *test, size_t rows, size_t width)
{
    struct matrix m = vector_new(test, rows * width);
    m.rows = rows;
    m.width = width;
    m.stride = (ptrdiff_t)width;
    return m;
}

static struct matrix dense_filled(struct test *test, size_t rows, size_t width, enum fill fill)
{
    struct matrix m = dense(test, rows, width);
    matrix_fill(test, m, fill);
    return matrix_seal(m);
}

/* One number of m replaced. */
static struct matrix with_one(struct test *test, struct matrix m, float value)
{
    struct matrix changed = matrix_like(test, m, m.width);
    matrix_copy(changed, m);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, m.rows))[random_below(&test->random, m.width)] = value;
    return matrix_seal(changed);
}

/* For sums of `terms` numbers. Integers have no excuse. */
static struct tolerance tolerance_for(const struct test *test, enum fill fill, size_t terms)
{
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = true;
    tolerance.floor = fill == FILL_NORMAL ? 0.5 * sqrt((double)terms) : 0;
    if (fill == FILL_INTEGERS) {
        tolerance.l2 = tolerance.worst = 0;
    }
    return tolerance;
}

/* ---- expand ---- */

struct expand_case {
    struct matrix dx, dprob, dout, x;
    uint32_t *position;
    size_t chunks;
};

/* Chunks of one to `longest` rows; rows before the first chunk belong to nobody. */
static struct expand_case expand_case(struct test *test, size_t chunks, size_t width, size_t longest, enum fill fill)
{
    check_case("chunks %zu of up to %zu rows width %zu fill %s placement %d", chunks, longest, width, fill_name(fill),
               (int)test->placement);
    struct expand_case c = {.position = array_new(test, chunks + 1, sizeof *c.position), .chunks = chunks};
    c.position[0] = test->placement == PLACE_FAR ? 0 : (uint32_t)random_below(&test->random, 4);
    for (size_t j = 0; j < chunks; j++) {
        c.position[j + 1] = c.position[j] + 1 + (uint32_t)random_below(&test->random, longest);
    }
    guard_seal(c.position);
    c.dx = matrix_new(test, chunks, width, 0, true);
    c.x = matrix_filled(test, chunks, width, 0, true, fill);
    c.dout = matrix_filled(test, c.position[chunks], width, 0, true, fill);
    c.dprob = vector_new(test, c.position[chunks]);
    return c;
}

static void expand_run(const struct test *test, const struct expand_case *c, size_t first, size_t chunks)
{
    test->kernels->expand_backward(matrix_row(c->dx, (ptrdiff_t)first), c->dprob.at, c->dout.at,
                                   matrix_row(c->x, (ptrdiff_t)first), c->position + first, chunks, c->x.width,
                                   c->dx.stride, c->dout.stride, c->x.stride);
}

static void expand_check(const struct test *test, const struct expand_case *c, enum fill fill)
{
    const size_t width = c->x.width, skipped = c->position[0];
    double *dx = reference_new(c->chunks * width), *dprob = reference_new(c->dprob.width);
    oracle_expand_backward(dx, dprob, c->dout.at, c->x.at, c->position, c->chunks, width, c->dout.stride, c->x.stride);
    expand_run(test, c, 0, c->chunks);
    check_close_to(c->dx, dx, tolerance_for(test, fill, 1));
    struct matrix written = c->dprob;
    written.at += skipped;
    written.width -= skipped;
    check_close_to(written, dprob + skipped, tolerance_for(test, fill, width));
    for (size_t i = 0; i < skipped; i++) {
        CHECK(isnan(c->dprob.at[i])); /* as it was */
    }
}

static void expand_size(struct test *test, size_t chunks, size_t width)
{
    const size_t longest = test->placement == PLACE_FAR ? 1 : 9;
    for (enum fill fill = FILL_NORMAL; fill <= FILL_INTEGERS; fill++) {
        struct expand_case c = expand_case(test, chunks, width, longest, fill);
        expand_check(test, &c, fill);
        case_end();
    }
}

static void expand_cut(struct test *test, size_t chunks)
{
    struct expand_case c = expand_case(test, chunks, 83, 6, FILL_NORMAL), whole = c;
    expand_check(test, &c, FILL_NORMAL);
    c.dx = matrix_like(test, whole.dx, 83);
    c.dprob = vector_new(test, whole.dprob.width);
    for (size_t i = 0, count; i < chunks; i += count) {
        count = 1 + random_below(&test->random, chunks - i < 5 ? chunks - i : 5);
        expand_run(test, &c, i, count);
    }
    check_same(whole.dx.at, whole.dx.stride, c.dx.at, c.dx.stride, chunks, 83);
    check_same(whole.dprob.at, 0, c.dprob.at, 0, 1, whole.dprob.width);
    case_end();
}

static void expand_special(struct test *test, float value)
{
    struct expand_case c = expand_case(test, 10, 37, 5, FILL_NORMAL);
    check_case("one %g", value);
    c.x = with_one(test, c.x, value);
    c.dout = with_one(test, c.dout, value);
    expand_check(test, &c, FILL_NORMAL);
    case_end();
}

void test_expand_backward(struct test *test)
{
    sweep(test, expand_size);
    for (size_t chunks = 1; chunks <= 40; chunks++) {
        expand_cut(test, chunks);
    }
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct expand_case c = expand_case(test, 30, 45, 3, fill);
        expand_check(test, &c, fill);
        case_end();
    }
    struct expand_case c = expand_case(test, 2, 70, 5000, FILL_NORMAL);
    expand_check(test, &c, FILL_NORMAL);
    case_end();
    for (int i = 0; i < 10; i++) {
        expand_special(test, NAN);
        expand_special(test, INFINITY);
        expand_special(test, -INFINITY);
    }
}

/* ---- embed ---- */

struct embed_case {
    struct matrix dtable, dy;
    uint8_t *ids;
};

static struct embed_case embed_case(struct test *test, size_t rows, size_t width, size_t symbols, enum fill fill)
{
    check_case("rows %zu width %zu symbols %zu fill %s placement %d", rows, width, symbols, fill_name(fill),
               (int)test->placement);
    struct embed_case c = {.dtable = matrix_new(test, symbols, width, 0, true),
                           .dy = elements_filled(test, rows, width, 0, true, fill),
                           .ids = array_new(test, rows, sizeof *c.ids)};
    matrix_fill(test, c.dtable, fill);
    for (size_t i = 0; i < rows; i++) {
        c.ids[i] = (uint8_t)(i + 1 == rows ? symbols - 1 : random_below(&test->random, symbols));
    }
    guard_seal(c.ids);
    return c;
}

static void embed_columns(const struct test *test, const struct embed_case *c, size_t first, size_t width)
{
    test->kernels->embed_backward(c->dtable.at + first, (char *)c->dy.elements + first * c->dy.element, c->ids,
                                  c->dy.rows, width, c->dtable.stride, c->dy.stride);
}

static void embed_check(const struct test *test, const struct embed_case *c, enum fill fill)
{
    double *reference = reference_of(c->dtable);
    oracle_embed_backward(reference, c->dy.at, c->ids, c->dy.rows, c->dy.width, c->dy.stride);
    embed_columns(test, c, 0, c->dy.width);
    check_close_to(c->dtable, reference, tolerance_for(test, fill, c->dy.rows / c->dtable.rows));
}

static void embed_size(struct test *test, size_t rows, size_t width)
{
    for (enum fill fill = FILL_NORMAL; fill <= FILL_INTEGERS; fill++) {
        struct embed_case c = embed_case(test, rows, width, test->placement == PLACE_FAR ? 2 : 7, fill);
        embed_check(test, &c, fill);
        case_end();
    }
}

/* Columns do not know each other, and rows may be cut where a block of them ends. */
static void embed_cut(struct test *test, size_t width)
{
    enum { ROWS = 3 * LDAR_GRADIENT_ROWS + 40 };
    struct embed_case c = embed_case(test, ROWS, width, 7, FILL_NORMAL), whole = c;
    c.dtable = matrix_like(test, whole.dtable, width);
    matrix_copy(c.dtable, whole.dtable);
    embed_check(test, &whole, FILL_NORMAL);
    for (size_t i = 0, count; i < width; i += count) {
        count = 1 + random_below(&test->random, width - i < 90 ? width - i : 90);
        for (size_t row = 0; row < ROWS; row += LDAR_GRADIENT_ROWS) {
            test->kernels->embed_backward(
                c.dtable.at + i, (char *)matrix_elements(c.dy, (ptrdiff_t)row) + i * c.dy.element, c.ids + row,
                ROWS - row < LDAR_GRADIENT_ROWS ? ROWS - row : LDAR_GRADIENT_ROWS, count, c.dtable.stride, c.dy.stride);
        }
    }
    check_same(whole.dtable.at, whole.dtable.stride, c.dtable.at, c.dtable.stride, 7, width);
    case_end();
}

void test_embed_backward(struct test *test)
{
    sweep(test, embed_size);
    for (size_t width = 1; width <= 300; width += 23) {
        embed_cut(test, width);
    }
    for (size_t symbols = 1; symbols <= 256; symbols *= 4) {
        struct embed_case c = embed_case(test, 20000, 5, symbols, FILL_NORMAL);
        embed_check(test, &c, FILL_NORMAL);
        case_end();
    }
    const float odd[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 30; i++) {
        struct embed_case c = embed_case(test, 50, 37, 7, FILL_NORMAL);
        struct matrix dy = elements_like(test, c.dy, 37);
        matrix_copy(dy, c.dy);
        matrix_row(dy, (ptrdiff_t)random_below(&test->random, 50))[random_below(&test->random, 37)] = odd[i % 3];
        c.dy = elements_seal(dy);
        embed_check(test, &c, FILL_NORMAL);
        case_end();
    }
}

/* ---- sum_rows ---- */

static void sum_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    struct matrix out = vector_new(test, width), x = matrix_filled(test, rows, width, 0, true, fill);
    matrix_fill(test, out, fill);
    struct matrix pieces = vector_new(test, width);
    matrix_copy(pieces, out);
    double *reference = reference_of(out);
    oracle_sum_rows(reference, x.at, rows, width, x.stride);
    test->kernels->sum_rows(out.at, x.at, rows, width, x.stride);
    check_close_to(out, reference, tolerance_for(test, fill, rows));
    for (size_t i = 0, count; i < width; i += count) {
        count = 1 + random_below(&test->random, width - i < 90 ? width - i : 90);
        for (size_t row = 0; row < rows; row += LDAR_GRADIENT_ROWS) {
            test->kernels->sum_rows(pieces.at + i, matrix_row(x, (ptrdiff_t)row) + i,
                                    rows - row < LDAR_GRADIENT_ROWS ? rows - row : LDAR_GRADIENT_ROWS, count, x.stride);
        }
    }
    check_same(out.at, 0, pieces.at, 0, 1, width);
    case_end();
}

static void sum_size(struct test *test, size_t rows, size_t width)
{
    sum_case(test, rows, width, FILL_NORMAL);
    sum_case(test, rows, width, FILL_INTEGERS);
}

static void sum_special(struct test *test, float value)
{
    check_case("one %g", value);
    struct matrix out = vector_new(test, 37), x = matrix_filled(test, 9, 37, 0, true, FILL_NORMAL);
    matrix_fill(test, out, FILL_NORMAL);
    x = with_one(test, x, value);
    double *reference = reference_of(out);
    oracle_sum_rows(reference, x.at, 9, 37, x.stride);
    test->kernels->sum_rows(out.at, x.at, 9, 37, x.stride);
    check_close_to(out, reference, tolerance_of(test));
    case_end();
}

void test_sum_rows(struct test *test)
{
    sweep(test, sum_size);
    sum_case(test, 1000, 300, FILL_NORMAL);
    sum_case(test, 20000, 5, FILL_NORMAL);
    for (int i = 0; i < 10; i++) {
        sum_special(test, NAN);
        sum_special(test, INFINITY);
        sum_special(test, -INFINITY);
    }
}

/* ---- round_rows ---- */

static void round_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    struct matrix out = elements_new(test, rows, width, 0, true), x = matrix_new(test, rows, width, 0, true);
    matrix_fill(test, x, fill);
    for (size_t i = 0; i < rows && width; i++) {
        const float odd[] = {NAN, -0.0f, INFINITY, 0x1.01p0f, 0x1.03p0f, -INFINITY};
        matrix_row(x, (ptrdiff_t)i)[random_below(&test->random, width)] = odd[random_below(&test->random, 6)];
    }
    matrix_seal(x);
    test->kernels->round_rows(out.elements, x.at, rows, width, out.stride, x.stride);
    elements_take(out);
    for (size_t i = 0; i < rows * width; i++) {
        const ptrdiff_t row = (ptrdiff_t)(i / width);
        const float from = matrix_row(x, row)[i % width], to = matrix_row(out, row)[i % width];
        CHECK(isnan(from) ? isnan(to) : to == (elements_narrow(test) ? bfloat16_round(from) : from));
    }
    case_end();
}

static void round_size(struct test *test, size_t rows, size_t width)
{
    round_case(test, rows, width, FILL_NORMAL);
}

void test_round_rows(struct test *test)
{
    sweep(test, round_size);
    round_case(test, 30, 45, FILL_INTEGERS);
    round_case(test, 30, 45, FILL_WIDE);
    round_case(test, 30, 45, FILL_ZERO);
}

/* ---- head ---- */

struct head_case {
    struct matrix dx, dweight, dlogits, x, weight;
};

/* One row in `nth` has a gradient; of the others x is not read. */
static struct head_case head_case(struct test *test, size_t rows, size_t width, size_t symbols, size_t nth,
                                  enum fill fill)
{
    check_case("rows %zu width %zu symbols %zu every %zu fill %s placement %d", rows, width, symbols, nth,
               fill_name(fill), (int)test->placement);
    struct head_case c = {.dx = matrix_new(test, rows, width, 0, true),
                          .dweight = dense(test, symbols, width),
                          .dlogits = dense(test, rows, symbols),
                          .x = matrix_new(test, rows, width, 0, true),
                          .weight = dense_filled(test, symbols, width, fill)};
    matrix_fill(test, c.dweight, fill);
    matrix_fill(test, c.dlogits, fill);
    for (size_t i = 0; i < rows; i++) {
        const bool has = i % nth == 0;
        fill_floats(&test->random, matrix_row(c.x, (ptrdiff_t)i), width, has ? fill : FILL_ZERO);
        memset(matrix_row(c.dlogits, (ptrdiff_t)i), 0, has ? 0 : symbols * sizeof(float));
    }
    matrix_seal(c.dlogits);
    matrix_seal(c.x);
    return c;
}

static void head_run(const struct test *test, const struct head_case *c, size_t first, size_t rows)
{
    test->kernels->head_backward(matrix_row(c->dx, (ptrdiff_t)first), c->dweight.at,
                                 matrix_row(c->dlogits, (ptrdiff_t)first), matrix_row(c->x, (ptrdiff_t)first),
                                 c->weight.at, rows, c->x.width, c->weight.rows, c->dx.stride, c->x.stride);
}

static void head_check(const struct test *test, const struct head_case *c, enum fill fill)
{
    const size_t rows = c->x.rows, width = c->x.width, symbols = c->weight.rows;
    double *dx = reference_new(rows * width), *dweight = reference_of(c->dweight);
    oracle_head_backward(dx, dweight, c->dlogits.at, c->x.at, c->weight.at, rows, width, symbols, c->x.stride);
    head_run(test, c, 0, rows);
    check_close_to(c->dx, dx, tolerance_for(test, fill, symbols));
    check_close_to(c->dweight, dweight, tolerance_for(test, fill, 1));
}

static void head_size(struct test *test, size_t rows, size_t width)
{
    for (size_t symbols = 0; symbols <= 9; symbols += symbols < 7 ? 7 : 1) {
        for (size_t nth = 1; nth <= 5; nth += 4) {
            const enum fill fill = symbols == 7 ? FILL_NORMAL : FILL_INTEGERS;
            struct head_case c = head_case(test, rows, width, symbols, nth, fill);
            head_check(test, &c, fill);
            case_end();
        }
    }
}

/* In tiles the same bits, and what x is where there is no loss does not matter. */
static void head_cut(struct test *test, size_t rows, size_t nth)
{
    struct head_case c = head_case(test, rows, 83, 7, nth, FILL_NORMAL), whole = c;
    c.dweight = dense(test, 7, 83);
    matrix_copy(c.dweight, whole.dweight);
    head_check(test, &whole, FILL_NORMAL);
    c.dx = matrix_like(test, whole.dx, 83);
    struct matrix x = matrix_like(test, c.x, 83);
    matrix_copy(x, c.x);
    for (size_t i = 0; i < rows; i++) {
        matrix_row(x, (ptrdiff_t)i)[7] = i % nth ? NAN : matrix_row(x, (ptrdiff_t)i)[7];
    }
    c.x = matrix_seal(x);
    for (size_t i = 0; i < rows; i += LDAR_TILE) {
        head_run(test, &c, i, rows - i < LDAR_TILE ? rows - i : LDAR_TILE);
    }
    check_same(whole.dx.at, whole.dx.stride, c.dx.at, c.dx.stride, rows, 83);
    check_same(whole.dweight.at, whole.dweight.stride, c.dweight.at, c.dweight.stride, 7, 83);
    case_end();
}

static void head_special(struct test *test, float value, bool in_x)
{
    struct head_case c = head_case(test, 9, 37, 7, 1, FILL_NORMAL);
    check_case("one %g in %s", value, in_x ? "x" : "weight");
    *(in_x ? &c.x : &c.weight) = with_one(test, in_x ? c.x : c.weight, value);
    head_check(test, &c, FILL_NORMAL);
    case_end();
}

void test_head_backward(struct test *test)
{
    sweep(test, head_size);
    for (size_t rows = 1; rows <= 300; rows += 23) {
        head_cut(test, rows, 1);
        head_cut(test, rows, 6);
    }
    for (int i = 0; i < 10; i++) {
        head_special(test, NAN, i % 2);
        head_special(test, INFINITY, i % 2);
        head_special(test, -INFINITY, i % 2);
    }
}
