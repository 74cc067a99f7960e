/* SPDX-License-Identifier: Apache-2.0 */
#include "ssd_case.h"

enum { P = LDAR_HEAD };

const char *scan_describe(bool plain)
{
    return plain ? "plain" : "convolved";
}

size_t scan_borders(size_t length)
{
    return length ? (length - 1) / LDAR_SSD_SPAN : 0;
}

struct matrix uniform_vector(struct test *test, size_t width, double low, double high)
{
    struct matrix m = vector_new(test, width);
    matrix_uniform(test, m, low, high);
    return matrix_seal(m);
}

/* exp(dt a) over about 0.2 .. 0.999 per token, as in trained models. */
static void scan_steps(struct test *test, struct scan_case *s, size_t length, size_t heads)
{
    s->dt = matrix_new(test, length, heads, 0, true);
    matrix_uniform(test, s->dt, s->plain ? 0.001 : -2, s->plain ? 0.1 : 2);
    matrix_seal(s->dt);
    s->dt_bias = uniform_vector(test, heads, -6, -2);
    s->a = uniform_vector(test, heads, -16, -1);
    s->d = vector_filled(test, heads, FILL_NORMAL);
}

static void scan_convolutions(struct test *test, struct scan_case *s, size_t inner, size_t state)
{
    s->conv_x = matrix_new(test, LDAR_CONV_TAPS, inner, 0, false);
    s->conv_b = matrix_new(test, LDAR_CONV_TAPS, state, 0, false);
    if (s->conv_b.stride < s->conv_x.stride) {
        s->conv_b.stride = s->conv_x.stride; /* one stride serves all three */
        s->conv_b = matrix_like(test, s->conv_b, state);
    } else {
        s->conv_x.stride = s->conv_b.stride;
        s->conv_x = matrix_like(test, s->conv_x, inner);
    }
    s->conv_c = matrix_like(test, s->conv_b, state);
    matrix_uniform(test, s->conv_x, -1, 1);
    matrix_uniform(test, s->conv_b, -1, 1);
    matrix_uniform(test, s->conv_c, -1, 1);
    matrix_seal(s->conv_x);
    matrix_seal(s->conv_b);
    matrix_seal(s->conv_c);
    s->bias_x = vector_filled(test, inner, FILL_NORMAL);
    s->bias_b = vector_filled(test, state, FILL_NORMAL);
    s->bias_c = vector_filled(test, state, FILL_NORMAL);
}

struct scan_case scan_case(struct test *test, size_t length, size_t heads, size_t state, size_t history, bool plain)
{
    check_case("length %zu heads %zu state %zu history %zu %s placement %d", length, heads, state, history,
               scan_describe(plain), (int)test->placement);
    struct scan_case s = {.plain = plain, .y = elements_new(test, length, heads * P, 0, true)};
    s.x = elements_filled(test, length, heads * P, history, true, FILL_NORMAL);
    s.b = elements_filled(test, length, state, history, true, FILL_NORMAL);
    s.c = elements_filled_like(test, s.b, state, FILL_NORMAL);
    scan_steps(test, &s, length, heads);
    scan_convolutions(test, &s, heads * P, state);
    return s;
}

void *element_at(struct matrix m, size_t row, size_t column)
{
    return (char *)matrix_elements(m, (ptrdiff_t)row) + column * m.element;
}

struct ldar_ssd_args scan_args(const struct scan_case *s, size_t first, size_t length, size_t head, size_t heads)
{
    size_t history = s->x.history + first;
    struct ldar_ssd_args args = {
        .y = element_at(s->y, first, head * P),
        .x = element_at(s->x, first, head * P),
        .b = matrix_elements(s->b, (ptrdiff_t)first),
        .c = matrix_elements(s->c, (ptrdiff_t)first),
        .dt = matrix_row(s->dt, (ptrdiff_t)first) + head,
        .a = s->a.at + head,
        .d = s->d.at + head,
        .length = length,
        .heads = heads,
        .state = s->b.width,
        .width = P,
        .history = history < 3 ? history : 3,
        .y_stride = s->y.stride,
        .x_stride = s->x.stride,
        .bc_stride = s->b.stride,
        .dt_stride = s->dt.stride,
        .conv_stride = s->conv_x.stride,
    };
    if (!s->plain) {
        args.conv_weight_x = s->conv_x.at + head * P, args.conv_bias_x = s->bias_x.at + head * P;
        args.conv_weight_b = s->conv_b.at, args.conv_bias_b = s->bias_b.at;
        args.conv_weight_c = s->conv_c.at, args.conv_bias_c = s->bias_c.at;
        args.dt_bias = s->dt_bias.at + head;
    }
    return args;
}

void scan_run(const struct test *test, struct ldar_ssd_args args)
{
    args.scratch = scratch_new(ldar_ssd_scratch(args.heads, args.state));
    test->kernels->ssd_scan(&args);
}

struct ldar_ssd_args scan_whole(const struct scan_case *s)
{
    return scan_args(s, 0, s->x.rows, 0, s->dt.width);
}

struct ldar_ssd_args scan_for_oracle(const struct scan_case *s)
{
    struct ldar_ssd_args args = scan_whole(s);
    args.x = s->x.at, args.b = s->b.at, args.c = s->c.at;
    return args;
}

void scan_integer_case(struct test *test, struct scan_case *s)
{
    const size_t length = s->x.rows, heads = s->dt.width, state = s->b.width;
    s->x = elements_filled(test, length, heads * P, 0, true, FILL_INTEGERS);
    s->b = elements_new(test, length, state, 0, true);
    s->c = elements_like(test, s->b, state);
    for (size_t i = 0; i < length * state; i++) {
        const ptrdiff_t row = (ptrdiff_t)(i / state);
        matrix_row(s->b, row)[i % state] = (float)((ptrdiff_t)random_below(&test->random, 9) / 4 - 1);
        matrix_row(s->c, row)[i % state] = (float)((ptrdiff_t)random_below(&test->random, 9) / 4 - 1);
    }
    elements_seal(s->b);
    elements_seal(s->c);
    s->dt = matrix_new(test, length, heads, 0, true);
    matrix_uniform(test, s->dt, 1, 1);
    matrix_seal(s->dt);
    s->a = vector_filled(test, heads, FILL_ZERO);
    s->d = vector_filled(test, heads, FILL_INTEGERS);
}
