/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_SIMD_KERNELS_H
#define LDAR_SIMD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/*
 * The kernels: leaf functions without heap, threads, files or globals. One
 * const table of typed pointers per ISA bundle; every table is complete.
 *
 * An *element* is what a table stores between the steps of a layer, and
 * multiplies: a float, or in the bf16 bundles a bfloat16 (uint16_t). Pointers
 * to elements are void here and aligned to the element's size; table->element
 * is that size. All sums, states and statistics are floats everywhere.
 *
 * Rules for all of them. Counts and strides are in elements; zero counts are
 * legal. Any alignment of any pointer is correct. No byte outside the arrays
 * described is read or written. Outputs do not overlap inputs unless said.
 * A row's result depends on that row's inputs alone and not on its place in a
 * call, so work may be cut anywhere between rows and give the same bits.
 * Denormals may be flushed to zero; NaN and infinities go where the textbook
 * formula takes them, and where scan and attention say so a little further.
 */

enum {
    LDAR_TILE = 64,       /* tokens that a layer works on at a time, and the chunk of the scan */
    LDAR_HEAD = 64,       /* P: width of a state-space head */
    LDAR_SSD_HEADS = 16,  /* most heads of one scan call */
    LDAR_SSD_SPAN = 1024, /* tokens of a span, between the states that a scan keeps for its twin: whole tiles */
    LDAR_CONV_TAPS = 4    /* W; shorter convolutions are padded with zero taps in front */
};

/*
 * out (rows, width) = 0.5 (rms(y0 silu(z)) w0 + rms(y1 silu(z)) w1), rms(v) = v / sqrt(mean(v^2) + eps):
 * the two directions of a BiMamba-2 layer, gated, normalised and averaged.
 */
struct ldar_gated_norm_args {
    void *out;              /* elements */
    const void *z;          /* elements */
    const void *y[2];       /* elements */
    const float *weight[2]; /* (width) */
    float eps;
    size_t rows, width;
    ptrdiff_t out_stride, z_stride, y_stride[2];
    float *scratch; /* (2 width) */
};

/*
 * out[t][c] = silu(bias[c] + sum_k weight[k][c] x[t + k - 3][c]), k = 0..3: depthwise, causal. Rows before `history`
 * rows ahead of x count as zero. A negative x_stride runs the convolution from right to left.
 */
struct ldar_conv1d_args {
    float *out;                     /* (rows, channels), out_stride */
    const void *x;                  /* (rows, channels) elements, x_stride; rows -history..-1 are read too */
    const float *weight;            /* (4, channels), weight_stride */
    const float *bias;              /* (channels) */
    size_t rows, channels, history; /* history 0..3 */
    ptrdiff_t out_stride, x_stride, weight_stride;
};

/*
 * Chunked Mamba-2 scan of up to LDAR_SSD_HEADS heads of one sequence in one direction (Dao and Gu 2024, section 6):
 *   S_t = exp(dt_t a) S_{t-1} + dt_t x_t B_t^T,   y_t = S_t C_t + d x_t.
 * With conv_weight, x, b and c are first put through conv1d_silu; with dt_bias, dt = softplus(dt + dt_bias) (linear
 * above 20). All row pointers name the first token in scan order: negative strides scan from right to left.
 * A head's result does not depend on which heads share its call, nor a column's on which columns do. y may be x where
 * history is 0. A NaN or an infinity may also reach earlier tokens of its tile of LDAR_TILE.
 */
struct ldar_ssd_args {
    void *y;           /* (length, heads P) elements, y_stride */
    float *states;     /* (spans - 1, heads, ldar_ssd_state(state)) before each span but the first, or NULL; width P */
    const void *x;     /* (length, heads P) elements, x_stride */
    const void *b, *c; /* (length, state) elements, bc_stride */
    const float *dt;   /* (length, heads), dt_stride */
    const float *conv_weight_x, *conv_weight_b, *conv_weight_c; /* (4, channels), conv_stride; NULL: no convolution */
    const float *conv_bias_x, *conv_bias_b, *conv_bias_c;
    const float *dt_bias; /* (heads), or NULL: dt is a step size already */
    const float *a, *d;   /* (heads); a negative */
    size_t length, heads, state;
    size_t width;   /* columns of each head that are computed, P or P / 2: x, y and the weights begin at the first */
    size_t history; /* rows before the first token that the convolution may read, 0..3 */
    ptrdiff_t y_stride, x_stride, bc_stride, dt_stride, conv_stride;
    ptrdiff_t states_stride; /* between spans: heads of other calls may lie between */
    float *scratch;          /* (ldar_ssd_scratch(heads, state)), 64-byte aligned */
};

/* Room for one head's state, in floats: N rounded up to 32, times P, in the table's own order. */
static inline size_t ldar_ssd_state(size_t state)
{
    return (state + 31) / 32 * 32 * LDAR_HEAD;
}

/* Floats of scratch: the heads' states, and as operands; B twice, C, B transposed; C B^T and M; x thrice; steps. */
static inline size_t ldar_ssd_scratch(size_t heads, size_t state)
{
    size_t padded = (state + 31) / 32 * 32, tile = LDAR_TILE;
    return heads * (ldar_ssd_state(state) / 2 * 3 + LDAR_CONV_TAPS * LDAR_HEAD) + 4 * tile * padded + 2 * tile * tile
           + 3 * tile * LDAR_HEAD + 4 * tile * LDAR_SSD_HEADS;
}

/*
 * The gradient of ssd_scan, of whole heads, from what it read, the states it kept and dy. With conv_weight, dx, db and
 * dc are gradients of what the convolution sums up, before its silu: conv1d_backward takes them from there. db and dc
 * are sums over the heads of the call. Row pointers name the first token in scan order, as in the scan.
 */
struct ldar_ssd_backward_args {
    void *dx;                  /* (length, heads P) elements, dy_stride; may be dy */
    void *db, *dc;             /* (length, state) elements, dbc_stride */
    float *ddt;                /* (length, heads), ddt_stride: of dt as it was given, before bias and softplus */
    float *da, *dd, *ddt_bias; /* (heads) +=, in the order of the tokens' tiles; ddt_bias is NULL without dt_bias */
    const void *dy;            /* (length, heads P) elements, dy_stride */
    const void *x, *b, *c;     /* from here on as in ldar_ssd_args */
    const float *dt;
    const float *conv_weight_x, *conv_weight_b, *conv_weight_c;
    const float *conv_bias_x, *conv_bias_b, *conv_bias_c;
    const float *dt_bias, *a, *d;
    const float *states; /* (spans - 1, heads, ldar_ssd_state(state)), states_stride: as the scan kept them */
    size_t length, heads, state;
    ptrdiff_t dbc_stride, ddt_stride, dy_stride, x_stride, bc_stride, dt_stride, conv_stride, states_stride;
    float *scratch; /* (ldar_ssd_backward_scratch(heads, state)), 64-byte aligned */
};

/* Floats of scratch: the states of a span and their gradient; B and C five times; (T, T) 6 times, (T, P) 8; steps. */
static inline size_t ldar_ssd_backward_scratch(size_t heads, size_t state)
{
    size_t padded = (state + 31) / 32 * 32, tile = LDAR_TILE;
    return heads * ldar_ssd_state(state) * (LDAR_SSD_SPAN / LDAR_TILE + 1) + 10 * tile * padded + 6 * tile * tile
           + 8 * tile * LDAR_HEAD + (16 * tile + 1) * LDAR_SSD_HEADS;
}

/*
 * Attention of one head: softmax(scale rot(q) rot(k)^T) v over keys with |i - j| <= window (negative: all), for the
 * queries first..first + queries - 1 of a sequence of `length`. Online softmax over blocks of keys, so memory does not
 * grow with the sequence; a query's result does not depend on how the queries are cut as long as `first` is a multiple
 * of LDAR_ATTENTION_QUERIES or 0. A NaN or an infinity in a key or value may also reach queries that do not see it but
 * see another of its block of LDAR_ATTENTION_KEYS.
 */
enum {
    LDAR_ATTENTION_QUERIES = 1024,
    LDAR_ATTENTION_KEYS = 128,
    LDAR_ATTENTION_WIDTH = 256,
    LDAR_ATTENTION_ROWS = 16,             /* most rows, and lanes, of any table's register tile */
    LDAR_ATTENTION_BACKWARD_QUERIES = 48, /* whole tiles of every table, as are the keys */
    LDAR_ATTENTION_BACKWARD_KEYS = 96
};

struct ldar_attention_args {
    void *out;                     /* (length, width) elements, out_stride; only the rows of the queries are written */
    const void *q, *k, *v;         /* (length, width) elements, stride; before rotation */
    const float *cosine, *sine;    /* (length, rotary / 2) */
    size_t length, first, queries; /* queries <= LDAR_ATTENTION_QUERIES */
    size_t width, rotary;          /* width 1..LDAR_ATTENTION_WIDTH, rotary even, <= width */
    ptrdiff_t window, stride, out_stride;
    float scale;
    float *log_sum; /* (length), only those of the queries are written: log2 of the sum of exponentials; or NULL */
    float *scratch; /* (ldar_attention_scratch(width)), 64-byte aligned */
};

/*
 * The gradient of attention, of one head over a whole sequence. dq, dk and dv are those before rotation. A NaN or an
 * infinity may also reach tokens that share a block of LDAR_ATTENTION_BACKWARD_KEYS or _QUERIES with its own.
 */
struct ldar_attention_backward_args {
    void *dq, *dk, *dv;         /* (length, width) elements, gradient_stride */
    const void *dout;           /* (length, width) elements, dout_stride */
    const void *q, *k, *v;      /* (length, width) elements, stride */
    const void *out;            /* (length, width) elements, out_stride: what the forward kernel gave */
    const float *log_sum;       /* (length): what the forward kernel gave */
    const float *cosine, *sine; /* (length, rotary / 2) */
    size_t length, width, rotary;
    ptrdiff_t window, stride, out_stride, dout_stride, gradient_stride;
    float scale;
    float *scratch; /* (ldar_attention_backward_scratch(length, width)), 64-byte aligned */
};

/* Floats of scratch: rotated queries and their outputs, maxima and sums, one block of keys and values, scores twice. */
static inline size_t ldar_attention_scratch(size_t width)
{
    size_t padded = (width + 31) / 32 * 32, rows = LDAR_ATTENTION_QUERIES + LDAR_ATTENTION_ROWS;
    return rows * (2 * padded + 1 + LDAR_ATTENTION_ROWS) + 2 * (size_t)LDAR_ATTENTION_KEYS * padded
           + 8 * (size_t)LDAR_ATTENTION_ROWS * LDAR_ATTENTION_KEYS + 2 * padded;
}

/* Floats of scratch: queries, dout, dq and two numbers of each; a block's keys, values and gradients; scores thrice. */
static inline size_t ldar_attention_backward_scratch(size_t length, size_t width)
{
    const size_t queries = LDAR_ATTENTION_BACKWARD_QUERIES, keys = LDAR_ATTENTION_BACKWARD_KEYS;
    size_t padded = (width + 31) / 32 * 32, rows = (length + queries - 1) / queries * queries;
    return rows * (3 * padded + 2) + keys * 5 * padded + 3 * queries * keys + 2 * padded;
}

/*
 * c (rows, n) = a (rows, k) w^T with w (n, k) packed by gemm_pack into panels of table->panel columns. Each number of c
 * is summed over k in the same order whatever the number of rows: rows may be cut anywhere. Rows of bfloat16 elements
 * begin at multiples of four bytes.
 */
enum ldar_gemm_mode {
    LDAR_GEMM_STORE,  /* c = a w^T, elements */
    LDAR_GEMM_FLOATS, /* c = a w^T, floats */
    LDAR_GEMM_ADD,    /* c += a w^T, floats, the product formed first */
    LDAR_GEMM_SWIGLU  /* c (rows, n / 2) = up * silu(gate), elements: a panel is panel / 2 rows of up, then of gate */
};

struct ldar_gemm_args {
    void *c;
    const void *a; /* elements */
    const void *packed;
    const void *next; /* packed weights that the caller multiplies with next, brought near while computing; or NULL */
    size_t rows, n, k;
    ptrdiff_t c_stride, a_stride; /* of what c and a hold */
    enum ldar_gemm_mode mode;
};

/* Bytes of a packed (n, k) matrix of a table with these elements: whole panels, an odd k filled up with zeros. */
static inline size_t ldar_gemm_packed(size_t element, size_t panel, size_t n, size_t k)
{
    size_t pair = sizeof(float) / element;
    return (n + panel - 1) / panel * panel * ((k + pair - 1) / pair) * sizeof(float);
}

/*
 * dw (n, k) += dc (rows, n)^T a (rows, k): the gradient of a weight matrix. The rows' products are summed in blocks of
 * LDAR_GRADIENT_ROWS, which are added to dw one after the other: cutting n or k changes no bit.
 */
enum { LDAR_GRADIENT_ROWS = 256 };

struct ldar_gemm_gradient_args {
    float *dw;
    const void *dc, *a; /* elements */
    size_t rows, n, k;
    ptrdiff_t dw_stride, dc_stride, a_stride;
    float *scratch; /* (ldar_gemm_gradient_scratch(n, k)), 64-byte aligned */
};

/* Floats of scratch: a block's rows of as many columns of `a` as are worked on at a time, and of a few of dc. */
enum { LDAR_GRADIENT_COLUMNS = 256 };

static inline size_t ldar_gemm_gradient_scratch(size_t n, size_t k)
{
    const size_t most = LDAR_GRADIENT_COLUMNS, panel = LDAR_TILE;
    (void)n;
    return LDAR_GRADIENT_ROWS * ((k < most ? (k + panel - 1) / panel * panel : most) + LDAR_ATTENTION_ROWS);
}

/* The gradient of gated_norm; and its result once more, which the projection behind it wants. */
struct ldar_gated_norm_backward_args {
    void *out;         /* (rows, width) elements: to the bit what gated_norm gives */
    void *dz;          /* (rows, width) elements */
    void *dy[2];       /* (rows, width) elements, y_stride; may be y */
    float *dweight[2]; /* (width) += */
    const float *dout; /* (rows, width) */
    const void *z;     /* from here on as in ldar_gated_norm_args */
    const void *y[2];
    const float *weight[2];
    float eps;
    size_t rows, width;
    ptrdiff_t out_stride, dz_stride, dout_stride, z_stride, y_stride[2];
    float *scratch; /* (2 width) */
};

/*
 * The gradient of conv1d_silu's sums in both directions over the same x, of one whole sequence:
 *   dx[t][c] = sum_k weight[0][k][c] dsum[0][t + 3 - k][c] + weight[1][k][c] dsum[1][t - 3 + k][c],
 * rows outside counting as zero; dsum is the sum of `parts` arrays. Rows are in the order of the sequence in all of
 * them; direction 0 runs from left to right.
 */
struct ldar_conv1d_backward_args {
    void *dx;               /* (rows, channels) elements, dx_stride */
    float *dweight[2];      /* (4, channels) +=, dweight_stride */
    float *dbias[2];        /* (channels) += */
    const void *dsum[2];    /* (parts, rows, channels) elements, dsum_stride, part_stride */
    const void *x;          /* (rows, channels) elements, x_stride */
    const float *weight[2]; /* (4, channels), weight_stride */
    size_t parts, rows, channels;
    ptrdiff_t part_stride, dx_stride, dsum_stride, x_stride, weight_stride, dweight_stride;
};

/* The gradient of both of ema's passes, for some columns, which do not know of others: dprob gets their share. */
struct ldar_ema_backward_args {
    float *dx;         /* (rows, width), dx_stride */
    float *dprob;      /* (rows) =; 0 where prob is clamped */
    const float *dout; /* (rows, width), dout_stride */
    const float *x;    /* (rows, width), x_stride */
    const float *prob; /* (rows) */
    size_t rows, width;
    ptrdiff_t dx_stride, dout_stride, x_stride;
    float *scratch; /* (rows, width rounded up to 16) */
};

/*
 * What route's gradient needs of `rows` rows of a sequence. Row i meets row i - 1 in prob[i] and row i + 1 in
 * prob[i + 1]; before and after say whether rows -1 and `rows` exist and may be read.
 */
struct ldar_route_backward_args {
    float *dq, *dk;     /* (rows, width), gradient_stride */
    const float *dprob; /* (rows), and dprob[rows] where after is 1; that of a sequence's first row has no effect */
    const float *q, *k; /* (rows, width), stride; rows -1 and `rows` too */
    size_t rows, width, before, after;
    ptrdiff_t gradient_stride, stride;
};

/* AdamW (Loshchilov and Hutter 2019): one step of one parameter. Corrections are 1 / (1 - beta^t). */
struct ldar_adamw_args {
    float *weight, *moment1, *moment2; /* (count) */
    const float *gradient;             /* (count), multiplied by `scale` first: 1, or what clipping asks for */
    size_t count;
    float scale, rate, beta1, beta2, correction1, correction2, epsilon, decay;
};

/* No label: the position has no loss. */
enum { LDAR_NO_LABEL = 255 };

/*
 * gemm_pack: weight (n, k) with row stride `stride` -> packed, zeros after the last row; rounded to elements. Panels
 *   follow each other, and in a panel the columns of `weight`: any stretch of an even number of them may be packed
 *   apart.
 *
 * rms_norm: out = x / sqrt(mean(x^2) + eps) * weight, elements; out may be x where they are floats.
 * swiglu: out = up * silu(gate); out may be up.
 * route: prob[i] = clamp((1 - cos_i) / 2, 0, 1), cos_i = (q_{i-1}.k_i + q_i.k_{i-1}) / 2 of the normalised rows
 *   (norms floored at 1e-12). before 0: row 0 opens a sequence, prob[0] = 1; before 1: row -1 of q and k is read.
 * ema: h_j = (1 - p_j) h_{j-1} + p_j x_j from zero, p clamped to [1e-4, 1 - 1e-4]. reverse 0: out = h / 2, rows
 *   ascending; reverse 1: out += h / 2, rows descending.
 * expand: out[i] = x[index[i]] + bias. embed: out[i] = table[ids[i]], elements. head: out (rows, symbols) = x weight^T.
 * exp, sigmoid, silu, softplus (linear above 20): elementwise; out may be x.
 *
 * Backward twins; dX is the gradient of a loss by X, `=` unless told `+=`; sums over rows go in the rows' order.
 * rms_norm_backward: dx += and dweight (width) += from dy (rows, width).
 * gemm_pack_transposed: weight (n, k) -> packed as gemm_pack packs its transposed (k, n), so that gemm with it gives
 *   dx (rows, k) = dc (rows, n) w. Columns may be packed apart, whole panels of them.
 * swiglu_panels: out (rows, width) = up * silu(gate), elements, of hidden (rows, 2 width) elements in the order in
 *   which gemm stores a weight packed for LDAR_GEMM_SWIGLU: panel / 2 of up, then of gate.
 * swiglu_backward: from dh (rows, width) and hidden as above: h = up * silu(gate) and dhidden (rows, 2 width), all of
 *   up first, then of gate; elements.
 * expand_backward: of out[t] = gate_t x[index[t]], gate_t 1 with the gradient of max(p, 1 - p) (straight-through):
 *   dx[j] = sum of dout over the rows of chunk j, which are position[j] .. position[j + 1] - 1;
 *   dprob[t] = +(dout[t] . x[j]) at a chunk's first row, - at its others.
 * embed_backward: dtable[ids[i]] += dy[i], elements; sum_rows: out (width) += the rows of x. Both in blocks of
 *   LDAR_GRADIENT_ROWS: cutting columns, or rows where a block ends, changes no bit.
 * round_rows: out = x as elements.
 * cross_entropy: of logits (rows, symbols) and labels (rows): loss[i] = -log softmax(logits[i])[labels[i]], dlogits =
 *   scale times its gradient; both 0 where labels[i] is LDAR_NO_LABEL.
 * head_backward: dx (rows, width) = dlogits weight, dweight (symbols, width) += dlogits^T x; rows of zeros are skipped.
 *   In blocks of LDAR_TILE rows, at whose ends they may be cut.
 * adamw: see the struct. sum_squares: *sum (double) = sum x^2. add: out += x.
 *
 * fma_peak: `rounds` rounds of LDAR_PEAK_CHAINS * width independent multiply-adds of elements in registers, twice as
 *   many where an operand is a pair of bfloat16; sink (width).
 * float_mode_enter: flush denormals on this thread, where the instruction set can, and save the mode;
 *   float_mode_leave: restore it.
 */
enum { LDAR_PEAK_CHAINS = 24 };

struct ldar_kernels {
    const char *name; /* of the ISA bundle */
    size_t width;     /* floats in a vector */
    size_t element;   /* bytes of an element: 4, or 2 in the bf16 bundles */
    size_t panel;     /* columns of a packed GEMM panel */
    size_t rows;      /* rows of GEMM's register tile */
#define KERNEL(name, bound, bound_bf16, arguments) void(*name) arguments;
#include "kernels.def"
#undef KERNEL
};

#define ISA(name, NAME, FLOATS) extern const struct ldar_kernels ldar_kernels_##name;
#include "isa.def"
#undef ISA

#endif
