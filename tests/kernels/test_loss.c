/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

struct loss_case {
    float *dlogits, *loss, *logits; /* dense; so they may be moved */
    uint8_t *labels;
    size_t rows, symbols;
    float scale;
};

/* One position in four has no label. */
static struct loss_case loss_case(struct test *test, size_t rows, size_t symbols, enum fill fill, double spread)
{
    check_case("rows %zu symbols %zu fill %s spread %g placement %d", rows, symbols, fill_name(fill), spread,
               (int)test->placement);
    struct loss_case c = {.dlogits = array_new(test, rows * symbols, sizeof(float)),
                          .loss = array_new(test, rows, sizeof(float)),
                          .logits = array_new(test, rows * symbols, sizeof(float)),
                          .labels = array_new(test, rows, sizeof *c.labels),
                          .rows = rows,
                          .symbols = symbols,
                          .scale = 0.01f};
    fill_floats(&test->random, c.logits, rows * symbols, fill);
    for (size_t i = 0; i < rows * symbols; i++) {
        c.logits[i] *= (float)spread;
    }
    for (size_t i = 0; i < rows; i++) {
        c.labels[i] = random_below(&test->random, 4) && symbols ? (uint8_t)random_below(&test->random, symbols)
                                                                : (uint8_t)LDAR_NO_LABEL;
    }
    guard_seal(c.labels);
    return c;
}

static void loss_run(const struct test *test, const struct loss_case *c, size_t first, size_t rows)
{
    const size_t at = first * c->symbols;
    test->kernels->cross_entropy(c->dlogits + at, c->loss + first, c->logits + at, c->labels + first, rows, c->symbols,
                                 c->scale);
}

static struct matrix as_matrix(float *at, size_t rows, size_t width)
{
    return (struct matrix){
        .at = at, .elements = at, .element = sizeof *at, .rows = rows, .width = width, .stride = (ptrdiff_t)width};
}

static void loss_check(const struct test *test, const struct loss_case *c)
{
    double *dlogits = reference_new(c->rows * c->symbols), *loss = reference_new(c->rows);
    oracle_cross_entropy(dlogits, loss, c->logits, c->labels, c->rows, c->symbols, c->scale);
    loss_run(test, c, 0, c->rows);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = true;
    check_close_to(as_matrix(c->dlogits, c->rows, c->symbols), dlogits, tolerance);
    check_close_to(as_matrix(c->loss, c->rows, 1), loss, tolerance);
    for (size_t i = 0; i < c->rows * c->symbols; i++) {
        CHECK(c->labels[i / c->symbols] != LDAR_NO_LABEL || c->dlogits[i] == 0);
    }
}

static void loss_size(struct test *test, size_t rows, size_t symbols)
{
    if (test->placement == PLACE_FAR) {
        return; /* the arrays are dense */
    }
    struct loss_case c = loss_case(test, rows, symbols, FILL_NORMAL, 3);
    guard_seal(c.logits);
    loss_check(test, &c);
    case_end();
}

static void loss_cut(struct test *test, size_t rows)
{
    struct loss_case c = loss_case(test, rows, 7, FILL_NORMAL, 3), whole = c;
    loss_check(test, &whole);
    c.dlogits = array_new(test, rows * 7, sizeof(float));
    c.loss = array_new(test, rows, sizeof(float));
    for (size_t i = 0; i < rows; i++) {
        loss_run(test, &c, i, 1);
    }
    check_same(whole.dlogits, 7, c.dlogits, 7, rows, 7);
    check_same(whole.loss, 0, c.loss, 0, 1, rows);
    case_end();
}

/* The label stands out by `margin`, or is as far behind: the loss has all its digits on either side. */
static void loss_sure(struct test *test, float margin)
{
    struct loss_case c = loss_case(test, 50, 7, FILL_NORMAL, 0.5);
    check_case("margin %g", margin);
    for (size_t i = 0; i < 50; i++) {
        if (c.labels[i] != LDAR_NO_LABEL) {
            c.logits[i * 7 + c.labels[i]] += margin;
        }
    }
    loss_check(test, &c);
    case_end();
}

static void loss_special(struct test *test, float value)
{
    struct loss_case c = loss_case(test, 40, 7, FILL_NORMAL, 3);
    check_case("%g here and there", value);
    for (size_t i = 0; i < 40; i += 3) {
        c.logits[i * 7 + random_below(&test->random, 7)] = value;
    }
    loss_check(test, &c);
    case_end();
}

void test_cross_entropy(struct test *test)
{
    sweep(test, loss_size);
    for (size_t rows = 1; rows <= 70; rows++) {
        loss_cut(test, rows);
    }
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct loss_case c = loss_case(test, 60, 7, fill, 1);
        loss_check(test, &c);
        case_end();
    }
    for (float margin = 1; margin <= 1000; margin *= 2) {
        loss_sure(test, margin);
        loss_sure(test, -margin);
    }
    for (int i = 0; i < 10; i++) {
        loss_special(test, NAN);
        loss_special(test, INFINITY);
        loss_special(test, -INFINITY);
    }
}
