/* SPDX-License-Identifier: Apache-2.0 */
#include "ssd_case.h"

#include <math.h>
#include <string.h>

enum { P = LDAR_HEAD };

/* A scan that has run and kept its states, and the gradients of all that it read. */
struct back_case {
    struct scan_case scan;
    struct matrix states, dy, dx, db, dc, ddt, da, dd, ddt_bias;
    bool in_place;
};

/* What is added to begins at numbers, not at zero. */
static void back_outputs(struct test *test, struct back_case *b)
{
    const struct scan_case *s = &b->scan;
    const size_t length = s->x.rows, heads = s->dt.width;
    b->dx = elements_like(test, b->dy, heads * P);
    if (b->in_place) {
        matrix_copy(b->dx, b->dy);
        elements_put(b->dx);
    }
    b->db = elements_new(test, length, s->b.width, 0, true);
    b->dc = elements_like(test, b->db, s->b.width);
    b->ddt = matrix_new(test, length, heads, 0, true);
    struct matrix *sums[] = {&b->da, &b->dd, &b->ddt_bias};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        *sums[i] = vector_new(test, heads);
        matrix_uniform(test, *sums[i], -1, 1);
    }
}

/* The forward scan of the case, for its states. */
static void back_states(struct test *test, struct back_case *b)
{
    struct ldar_ssd_args args = scan_whole(&b->scan);
    b->states = matrix_new(test, scan_borders(args.length), args.heads * ldar_ssd_state(args.state), 0, true);
    args.states = b->states.at;
    args.states_stride = b->states.stride;
    scan_run(test, args);
    matrix_seal(b->states);
}

static struct back_case back_case(struct test *test, size_t length, size_t heads, size_t state, bool plain)
{
    struct back_case b = {.scan = scan_case(test, length, heads, state, 0, plain),
                          .in_place = random_below(&test->random, 2)};
    b.dy = elements_filled(test, length, heads * P, 0, true, FILL_NORMAL);
    if (test->placement != PLACE_FAR) {
        back_states(test, &b);
    }
    back_outputs(test, &b);
    return b;
}

/* Of the heads head .. head + heads - 1. */
static struct ldar_ssd_backward_args back_args(const struct back_case *b, size_t head, size_t heads)
{
    const struct scan_case *s = &b->scan;
    const struct ldar_ssd_args scan = scan_args(s, 0, s->x.rows, head, heads);
    return (struct ldar_ssd_backward_args){
        .dx = element_at(b->dx, 0, head * P),
        .db = matrix_elements(b->db, 0),
        .dc = matrix_elements(b->dc, 0),
        .ddt = b->ddt.at + head,
        .da = b->da.at + head,
        .dd = b->dd.at + head,
        .ddt_bias = s->plain ? NULL : b->ddt_bias.at + head,
        .dy = element_at(b->in_place ? b->dx : b->dy, 0, head * P),
        .x = scan.x,
        .b = scan.b,
        .c = scan.c,
        .dt = scan.dt,
        .conv_weight_x = scan.conv_weight_x,
        .conv_weight_b = scan.conv_weight_b,
        .conv_weight_c = scan.conv_weight_c,
        .conv_bias_x = scan.conv_bias_x,
        .conv_bias_b = scan.conv_bias_b,
        .conv_bias_c = scan.conv_bias_c,
        .dt_bias = scan.dt_bias,
        .a = scan.a,
        .d = scan.d,
        .states = b->states.at ? b->states.at + head * ldar_ssd_state(scan.state) : NULL,
        .length = scan.length,
        .heads = heads,
        .state = scan.state,
        .dbc_stride = b->db.stride,
        .ddt_stride = b->ddt.stride,
        .dy_stride = b->dy.stride,
        .x_stride = scan.x_stride,
        .bc_stride = scan.bc_stride,
        .dt_stride = scan.dt_stride,
        .conv_stride = scan.conv_stride,
        .states_stride = b->states.stride,
    };
}

static void back_run(const struct test *test, struct ldar_ssd_backward_args args)
{
    args.scratch = scratch_new(ldar_ssd_backward_scratch(args.heads, args.state));
    test->kernels->ssd_backward(&args);
}

static void back_take(const struct back_case *b)
{
    elements_take(b->dx);
    elements_take(b->db);
    elements_take(b->dc);
}

static double *reference_of(struct matrix m)
{
    double *reference = reference_new(m.rows * m.width);
    for (size_t i = 0; i < m.rows * m.width; i++) {
        reference[i] = matrix_row(m, (ptrdiff_t)(i / m.width))[i % m.width];
    }
    return reference;
}

/* What the outputs should become; called before the kernel runs. */
static struct oracle_ssd_gradient back_reference(const struct back_case *b)
{
    const struct ldar_ssd_args args = scan_for_oracle(&b->scan);
    const struct oracle_ssd_gradient out = {.dx = reference_new(args.length * args.heads * P),
                                            .db = reference_new(args.length * args.state),
                                            .dc = reference_new(args.length * args.state),
                                            .ddt = reference_new(args.length * args.heads),
                                            .da = reference_of(b->da),
                                            .dd = reference_of(b->dd),
                                            .ddt_bias = reference_of(b->ddt_bias),
                                            .db_size = reference_new(args.length * args.state),
                                            .dc_size = reference_new(args.length * args.state),
                                            .ddt_size = reference_new(args.length * args.heads),
                                            .da_size = reference_new(args.heads),
                                            .dd_size = reference_new(args.heads),
                                            .ddt_bias_size = reference_new(args.heads)};
    oracle_ssd_backward(&out, &args, reference_of(b->dy));
    return out;
}

/* `slack` times as strictly as the kernel's bound. */
static void check_output(const struct test *test, struct matrix got, const double *expected, const double *size,
                         double slack, const char *name)
{
    const size_t count = got.rows * got.width, failures = check_failures();
    struct tolerance tolerance = tolerance_of(test);
    tolerance.l2 *= slack, tolerance.worst *= slack;
    tolerance.zeros = test->fill == FILL_INTEGERS;
    for (size_t i = 0; size && i < count; i++) {
        tolerance.floor += size[i] * size[i] / (double)count;
    }
    tolerance.floor = sqrt(tolerance.floor);
    check_close_to(got, expected, tolerance);
    if (check_failures() > failures) {
        check_fail("that was %s", name);
    }
}

/*
 * Of da and ddt_bias there is one number a head, in which each rounded x, B and C meets all tokens behind it: such
 * errors do not average as those of other sums do.
 */
static void back_check(const struct test *test, const struct back_case *b, const struct oracle_ssd_gradient *expected)
{
    check_output(test, b->dx, expected->dx, NULL, 1, "dx");
    if (b->scan.dt.width) {
        check_output(test, b->db, expected->db, expected->db_size, 1, "dB");
        check_output(test, b->dc, expected->dc, expected->dc_size, 1, "dC");
    }
    check_output(test, b->ddt, expected->ddt, expected->ddt_size, 1, "ddt");
    check_output(test, b->da, expected->da, expected->da_size, 2, "da");
    check_output(test, b->dd, expected->dd, expected->dd_size, 1, "dD");
    if (!b->scan.plain) {
        check_output(test, b->ddt_bias, expected->ddt_bias, expected->ddt_bias_size, 2, "ddt_bias");
    }
}

static void back_size(struct test *test, size_t length, size_t heads, size_t state, bool plain)
{
    struct back_case b = back_case(test, length, heads, state, plain);
    const struct oracle_ssd_gradient expected = back_reference(&b);
    back_run(test, back_args(&b, 0, heads));
    back_take(&b);
    back_check(test, &b, &expected);
    case_end();
}

/* A head's gradients do not depend on its neighbours; nor does it matter whether dX takes the place of dY. */
static void back_heads_alone(struct test *test, size_t length)
{
    enum { HEADS = 5, N = 24 };
    struct back_case b = back_case(test, length, HEADS, N, random_below(&test->random, 2)), alone = b;
    alone.in_place = !b.in_place;
    back_outputs(test, &alone);
    struct matrix *sums[] = {&alone.da, &alone.dd, &alone.ddt_bias}, *from[] = {&b.da, &b.dd, &b.ddt_bias};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        matrix_copy(*sums[i], *from[i]);
    }
    back_run(test, back_args(&b, 0, HEADS));
    for (size_t head = 0; head < HEADS; head++) {
        back_run(test, back_args(&alone, head, 1));
    }
    back_take(&b);
    back_take(&alone);
    check_same(b.dx.at, b.dx.stride, alone.dx.at, alone.dx.stride, length, HEADS * P);
    check_same(b.ddt.at, b.ddt.stride, alone.ddt.at, alone.ddt.stride, length, HEADS);
    for (size_t i = 0; i < (b.scan.plain ? 2 : sizeof sums / sizeof *sums); i++) {
        check_same(from[i]->at, 0, sums[i]->at, 0, 1, HEADS);
    }
    case_end();
}

static void back_reversed(struct test *test)
{
    enum { LENGTH = 150, HEADS = 2, N = 20 };
    struct back_case b = back_case(test, LENGTH, HEADS, N, random_below(&test->random, 2)), turned = b;
    struct scan_case *s = &turned.scan;
    s->x = matrix_turned(test, s->x);
    s->b = matrix_turned(test, s->b);
    s->c = matrix_turned(test, s->c);
    s->dt = matrix_turned(test, s->dt);
    turned.dy = matrix_turned(test, b.dy);
    turned.in_place = false;
    back_outputs(test, &turned);
    back_run(test, back_args(&b, 0, HEADS));
    back_run(test, back_args(&turned, 0, HEADS));
    back_take(&b);
    back_take(&turned);
    check_same(b.dx.at, b.dx.stride, turned.dx.at, turned.dx.stride, LENGTH, HEADS * P);
    check_same(b.db.at, b.db.stride, turned.db.at, turned.db.stride, LENGTH, N);
    check_same(b.dc.at, b.dc.stride, turned.dc.at, turned.dc.stride, LENGTH, N);
    check_same(b.ddt.at, b.ddt.stride, turned.ddt.at, turned.ddt.stride, LENGTH, HEADS);
    case_end();
}

/*
 * Without decay, with steps of 1 and small integers everywhere, all is an integer that a float holds, and the results
 * have no excuse; of bfloat16 as long as what is an operand stays below 256.
 */
static void back_integers(struct test *test, size_t length, size_t heads, size_t state)
{
    struct back_case b = {.scan = scan_case(test, length, heads, state, 0, true),
                          .in_place = random_below(&test->random, 2)};
    check_case("integers, length %zu heads %zu state %zu placement %d", length, heads, state, (int)test->placement);
    scan_integer_case(test, &b.scan);
    b.dy = elements_new(test, length, heads * P, 0, true);
    for (size_t i = 0; i < length * heads * P; i++) {
        matrix_row(b.dy, (ptrdiff_t)(i / (heads * P)))[i % (heads * P)] =
            (float)((ptrdiff_t)random_below(&test->random, 9) / 4 - 1);
    }
    elements_seal(b.dy);
    back_states(test, &b);
    back_outputs(test, &b);
    struct matrix *sums[] = {&b.da, &b.dd};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        matrix_uniform(test, *sums[i], 3, 3);
    }
    const struct oracle_ssd_gradient expected = back_reference(&b);
    back_run(test, back_args(&b, 0, heads));
    back_take(&b);
    const struct tolerance exact = {.zeros = true};
    check_close_to(b.dx, expected.dx, exact);
    check_close_to(b.db, expected.db, exact);
    check_close_to(b.dc, expected.dc, exact);
    check_close_to(b.ddt, expected.ddt, exact);
    check_close_to(b.da, expected.da, exact);
    check_close_to(b.dd, expected.dd, exact);
    case_end();
}

static void back_exact(struct test *test)
{
    static const size_t states[] = {1, 2, 3, 15, 16, 17, 31, 32, 33};
    const size_t longest = elements_narrow(test) ? 24 : 200;
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t length = 1; length <= longest; length += length < 70 ? 1 : 13) {
            back_integers(test, length, 1 + length % 3, states[length % (sizeof states / sizeof *states)]);
        }
    }
    test->placement = PLACE_ANY;
}

/* What is not finite spoils at least what the textbook says, and no other head's dX and ddt. */
static void back_special(struct test *test, float value, int where)
{
    enum { LENGTH = 150, HEADS = 2, N = 20 };
    struct back_case b = back_case(test, LENGTH, HEADS, N, random_below(&test->random, 2)), clean = b;
    clean.in_place = b.in_place = false;
    back_outputs(test, &clean);
    struct matrix *victims[] = {&b.scan.x, &b.dy, &b.scan.dt, &b.scan.b, &b.scan.c}, *victim = victims[where];
    struct matrix changed =
        where != 2 ? elements_like(test, *victim, victim->width) : matrix_like(test, *victim, victim->width);
    matrix_copy(changed, *victim);
    const size_t row = random_below(&test->random, LENGTH), column = random_below(&test->random, victim->width);
    matrix_row(changed, (ptrdiff_t)row)[column] = value;
    *victim = where != 2 ? elements_seal(changed) : matrix_seal(changed);
    check_case("%g in %s row %zu column %zu, %s", value, (const char *[]){"x", "dy", "dt", "B", "C"}[where], row,
               column, scan_describe(b.scan.plain));
    back_states(test, &b);
    const struct oracle_ssd_gradient expected = back_reference(&b);
    back_run(test, back_args(&b, 0, HEADS));
    back_run(test, back_args(&clean, 0, HEADS));
    back_take(&b);
    back_take(&clean);
    for (size_t i = 0; i < LENGTH * HEADS * P; i++) {
        const size_t t = i / (HEADS * P), c = i % (HEADS * P);
        if (!isfinite(expected.dx[i]) && isfinite(matrix_row(b.dx, (ptrdiff_t)t)[c])) {
            check_fail("dx row %zu column %zu is finite", t, c);
            break;
        }
    }
    const size_t other = where < 2 ? 1 - column / P : 1 - column;
    if (where < 3) {
        check_same(b.dx.at + other * P, b.dx.stride, clean.dx.at + other * P, clean.dx.stride, LENGTH, P);
        check_same(b.ddt.at + other, b.ddt.stride, clean.ddt.at + other, clean.ddt.stride, LENGTH, 1);
    }
    case_end();
}

/* Step sizes at their ends: softplus is linear above 20, and decays that underflow leave only the newest token. */
static void back_extreme_steps(struct test *test, double low, double high, double a)
{
    enum { LENGTH = 200, HEADS = 2 };
    struct back_case b = {.scan = scan_case(test, LENGTH, HEADS, 20, 0, false)};
    check_case("raw steps %g..%g, a %g", low, high, a);
    b.scan.dt = matrix_new(test, LENGTH, HEADS, 0, true);
    matrix_uniform(test, b.scan.dt, low, high);
    matrix_seal(b.scan.dt);
    b.scan.dt_bias = vector_filled(test, HEADS, FILL_ZERO);
    b.scan.a = uniform_vector(test, HEADS, a, a);
    b.dy = elements_filled(test, LENGTH, HEADS * P, 0, true, FILL_NORMAL);
    back_states(test, &b);
    back_outputs(test, &b);
    const struct oracle_ssd_gradient expected = back_reference(&b);
    back_run(test, back_args(&b, 0, HEADS));
    back_take(&b);
    back_check(test, &b, &expected);
    case_end();
}

static void back_long(struct test *test)
{
    back_size(test, LDAR_SSD_SPAN, 1, 4, true);
    back_size(test, LDAR_SSD_SPAN + 1, 2, 17, false);
    back_size(test, 2 * LDAR_SSD_SPAN + 100, 2, 20, false);
}

void test_ssd_backward(struct test *test)
{
    static const size_t lengths[] = {127, 128, 129, 130, 191, 192, 193, 260},
                        states[] = {1, 3, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 128, 130};
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t length = 0; length <= 67; length++) {
            back_size(test, length, 1 + length % 2, 17, length % 3 == 0);
        }
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            back_size(test, lengths[i], 2, 20, i % 2);
        }
        for (size_t heads = 0; heads <= LDAR_SSD_HEADS; heads++) {
            back_size(test, 5, heads, 9, heads % 2);
        }
        for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
            back_size(test, 3, 1, states[i], true);
            back_size(test, 70, 2, states[i], i % 2);
        }
    }
    test->placement = PLACE_FAR;
    back_size(test, 2, 1, 5, true);
    back_size(test, 2, 1, 5, false);
    test->placement = PLACE_ANY;
    back_exact(test);
    back_long(test);
    for (int i = 0; i < 4; i++) {
        back_heads_alone(test, i % 2 ? 100 : LDAR_SSD_SPAN + 70);
        back_reversed(test);
        for (int where = 0; where < 5; where++) {
            back_special(test, NAN, where);
        }
        back_special(test, INFINITY, 0);
        back_special(test, INFINITY, 1);
    }
    back_extreme_steps(test, 15, 40, -16);
    back_extreme_steps(test, 15, 40, -1e-3);
    back_extreme_steps(test, -30, -10, -1);
}
