/* SPDX-License-Identifier: Apache-2.0 */

enum { LINE = 64 / sizeof(element) }; /* elements in a cache line */

/* The rows before the first: end - stride is the nearest. They need not lie before x. */
struct conv1d_past {
    const element *end;
    ptrdiff_t stride;
    size_t rows; /* 0..3 */
};

/*
 * One vector of channels, down the rows: the taps and the three rows before stay in registers, so a row costs one load,
 * four multiply-adds and the silu, which is most of it. Rows do not depend on each other, and the next ones begin
 * before this one's silu has ended.
 *
 * Rows lie too far apart for the hardware's prefetching, so each asks for the line to its right, which the next step
 * walks down: 238 ns instead of 610 for 1024 channels that are not in L2 (Zen 5, AVX-512). At the right edge that is a
 * neighbour's line, or a hint about nothing.
 */
TILE_INLINE void conv1d_step(size_t i, size_t lanes, float *out, ptrdiff_t out_stride, const element *x,
                             ptrdiff_t x_stride, const struct conv1d_past *past, const float *weight,
                             ptrdiff_t weight_stride, const float *bias, size_t rows)
{
    vec tap[LDAR_CONV_TAPS];
    TILE_UNROLL
    for (int k = 0; k < LDAR_CONV_TAPS; k++)
        tap[k] = load_lanes(weight + k * weight_stride + i, lanes);
    const vec start = load_lanes(bias + i, lanes);
    x += i, out += i;
    vec x3 = past->rows > 2 ? load_elements(past->end + i - 3 * past->stride, lanes) : vec_zero();
    vec x2 = past->rows > 1 ? load_elements(past->end + i - 2 * past->stride, lanes) : vec_zero();
    vec x1 = past->rows > 0 ? load_elements(past->end + i - past->stride, lanes) : vec_zero();
    for (size_t t = 0; t < rows; t++, x += x_stride, out += out_stride) {
        vec x0 = load_elements(x, lanes);
        __builtin_prefetch(x + LINE, 0, 3);
        vec sum = vec_fma(tap[0], x3, start);
        sum = vec_fma(tap[1], x2, sum);
        sum = vec_fma(tap[2], x1, sum);
        sum = vec_fma(tap[3], x0, sum);
        store_lanes(out, lanes, element_silu(sum));
        x3 = x2, x2 = x1, x1 = x0;
    }
}

/* The convolution of struct ldar_conv1d_args, for the scan as well. */
static inline void conv1d_silu_block(float *out, ptrdiff_t out_stride, const element *x, ptrdiff_t x_stride,
                                     const struct conv1d_past *past, const float *weight, ptrdiff_t weight_stride,
                                     const float *bias, size_t rows, size_t channels)
{
    assert(past->rows < LDAR_CONV_TAPS);
    EACH_VECTOR(channels, conv1d_step, out, out_stride, x, x_stride, past, weight, weight_stride, bias, rows);
}

static void kernel_conv1d_silu(const struct ldar_conv1d_args *a)
{
    const struct conv1d_past past = {a->x, a->x_stride, a->history};
    conv1d_silu_block(a->out, a->out_stride, a->x, a->x_stride, &past, a->weight, a->weight_stride, a->bias, a->rows,
                      a->channels);
}

/*
 * The gradient walks down a vector of channels as well. Row t of x meets rows t .. t + 3 of the gradients from left to
 * right and t - 3 .. t of those from right to left, in dx and in dweight alike, so one window of each is all that is
 * kept: with taps and sums 28 vectors. The windows are rings, and four rows a round give every slot a name.
 *
 * A stretch of rows is summed from zero and then added to dweight: one chain of 65,536 terms is ten times as far off
 * (5e-6 against 5e-7). All channels of a call go down one stretch before the next, for then the lines that a step asks
 * for to its right are still there when their turn comes.
 */
enum { CONV_STRETCH = LDAR_TILE, CONV_RING = LDAR_CONV_TAPS };

struct conv1d_gradient {
    vec tap[2][LDAR_CONV_TAPS], dtap[2][LDAR_CONV_TAPS], dbias[2];
    vec ring[2][CONV_RING]; /* of dsum: in row t, ring[0] holds row t + m in slot t + m, ring[1] row t - m in t - m */
};

TILE_INLINE vec conv1d_dsum(const struct ldar_conv1d_backward_args *a, int direction, size_t row, size_t i,
                            size_t lanes)
{
    const element *p = (const element *)a->dsum[direction] + (ptrdiff_t)row * a->dsum_stride + i;
    vec sum = load_elements(p, lanes);
    __builtin_prefetch(p + LINE, 0, 3);
    for (size_t part = 1; part < a->parts; part++) {
        p += a->part_stride;
        __builtin_prefetch(p + LINE, 0, 3);
        sum = vec_add(sum, load_elements(p, lanes));
    }
    return sum;
}

/*
 * One row; `phase` is its number, a constant up to multiples of the ring. Of dsum[0] there are `after` rows from this
 * one on, of dsum[1] `before` rows up to this one; four are all that count.
 */
TILE_INLINE void conv1d_backward_row(struct conv1d_gradient *g, const struct ldar_conv1d_backward_args *a, size_t row,
                                     size_t i, size_t lanes, const int phase, int after, int before)
{
    const element *from = (const element *)a->x + (ptrdiff_t)row * a->x_stride + i;
    const vec x = load_elements(from, lanes);
    __builtin_prefetch(from + LINE, 0, 3);
    if (after > 3)
        g->ring[0][(phase + 3) % CONV_RING] = conv1d_dsum(a, 0, row + 3, i, lanes);
    g->ring[1][phase % CONV_RING] = conv1d_dsum(a, 1, row, i, lanes);
    vec dx[2] = {vec_zero(), vec_zero()};
    TILE_UNROLL
    for (int m = 0; m < LDAR_CONV_TAPS; m++) {
        const vec dsum[2] = {g->ring[0][(phase + m) % CONV_RING], g->ring[1][(phase + CONV_RING - m) % CONV_RING]};
        const int there[2] = {m < after, m < before};
        TILE_UNROLL
        for (int j = 0; j < 2; j++)
            if (there[j]) {
                dx[j] = vec_fma(g->tap[j][3 - m], dsum[j], dx[j]);
                g->dtap[j][3 - m] = vec_fma(x, dsum[j], g->dtap[j][3 - m]);
            }
    }
    TILE_UNROLL
    for (int j = 0; j < 2; j++)
        g->dbias[j] = vec_add(g->dbias[j], g->ring[j][phase % CONV_RING]);
    store_elements((element *)a->dx + (ptrdiff_t)row * a->dx_stride + i, lanes, vec_add(dx[0], dx[1]));
}

TILE_INLINE int conv1d_reach(size_t rows)
{
    return rows < LDAR_CONV_TAPS ? (int)rows : LDAR_CONV_TAPS;
}

TILE_INLINE void conv1d_gradient_start(struct conv1d_gradient *g, const struct ldar_conv1d_backward_args *a,
                                       size_t first, size_t i, size_t lanes)
{
    TILE_UNROLL
    for (int j = 0; j < 2; j++) {
        TILE_UNROLL
        for (int k = 0; k < LDAR_CONV_TAPS; k++) {
            g->tap[j][k] = load_lanes(a->weight[j] + k * a->weight_stride + i, lanes);
            g->dtap[j][k] = g->ring[j][k] = vec_zero();
        }
        g->dbias[j] = vec_zero();
    }
    TILE_UNROLL
    for (size_t m = 0; m < 3; m++) {
        if (first + m < a->rows)
            g->ring[0][m] = conv1d_dsum(a, 0, first + m, i, lanes);
        if (first > m)
            g->ring[1][CONV_RING - 1 - m] = conv1d_dsum(a, 1, first - 1 - m, i, lanes);
    }
}

TILE_INLINE void add_lanes(float *to, size_t lanes, vec v)
{
    store_lanes(to, lanes, vec_add(load_lanes(to, lanes), v));
}

/* Rows first .. first + rows - 1; first is a multiple of the ring. */
TILE_INLINE void conv1d_backward_step(size_t i, size_t lanes, const struct ldar_conv1d_backward_args *a, size_t first,
                                      size_t rows)
{
    struct conv1d_gradient g;
    conv1d_gradient_start(&g, a, first, i, lanes);
    for (size_t t = first; t < first + rows; t += CONV_RING)
        if (t >= 3 && t + CONV_RING + 3 <= a->rows) {
            TILE_UNROLL
            for (int phase = 0; phase < CONV_RING; phase++)
                conv1d_backward_row(&g, a, t + (size_t)phase, i, lanes, phase, CONV_RING, CONV_RING);
        } else {
            TILE_UNROLL
            for (int phase = 0; phase < CONV_RING; phase++) {
                const size_t row = t + (size_t)phase;
                if (row < a->rows)
                    conv1d_backward_row(&g, a, row, i, lanes, phase, conv1d_reach(a->rows - row),
                                        conv1d_reach(row + 1));
            }
        }
    TILE_UNROLL
    for (int j = 0; j < 2; j++) {
        TILE_UNROLL
        for (int k = 0; k < LDAR_CONV_TAPS; k++)
            add_lanes(a->dweight[j] + k * a->dweight_stride + i, lanes, g.dtap[j][k]);
        add_lanes(a->dbias[j] + i, lanes, g.dbias[j]);
    }
}

static void kernel_conv1d_backward(const struct ldar_conv1d_backward_args *a)
{
    assert(a->parts > 0);
    for (size_t first = 0; first < a->rows; first += CONV_STRETCH) {
        const size_t rows = a->rows - first < CONV_STRETCH ? a->rows - first : CONV_STRETCH;
        EACH_VECTOR(a->channels, conv1d_backward_step, a, first, rows);
    }
}
