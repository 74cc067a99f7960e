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
    LDAR_TILE = 64,      /* tokens that a layer works on at a time, and the chunk of the scan */
    LDAR_HEAD = 64,      /* P: width of a state-space head */
    LDAR_SSD_HEADS = 16, /* most heads of one scan call */
    LDAR_CONV_TAPS = 4   /* W; shorter convolutions are padded with zero taps in front */
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
    float *state_out;  /* (heads, ldar_ssd_state(state)) after the last token, in the table's own order, or NULL */
    const void *x;     /* (length, heads P) elements, x_stride */
    const void *b, *c; /* (length, state) elements, bc_stride */
    const float *dt;   /* (length, heads), dt_stride */
    const float *conv_weight_x, *conv_weight_b, *conv_weight_c; /* (4, channels), conv_stride; NULL: no convolution */
    const float *conv_bias_x, *conv_bias_b, *conv_bias_c;
    const float *dt_bias;  /* (heads), or NULL: dt is a step size already */
    const float *a, *d;    /* (heads); a negative */
    const float *state_in; /* as state_out, before the first token; NULL: zero */
    size_t length, heads, state;
    size_t width;   /* columns of each head that are computed, P or P / 2: x, y and the weights begin at the first */
    size_t history; /* rows before the first token that the convolution may read, 0..3 */
    ptrdiff_t y_stride, x_stride, bc_stride, dt_stride, conv_stride;
    float *scratch; /* (ldar_ssd_scratch(heads, state)), 64-byte aligned */
};

/* Room for one head's state, in floats: N rounded up to 32, times P. A table may use less and pack heads closer. */
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
    LDAR_ATTENTION_ROWS = 16 /* most rows, and lanes, of any table's register tile */
};

struct ldar_attention_args {
    void *out;                     /* (length, width) elements, out_stride; only the rows of the queries are written */
    const void *q, *k, *v;         /* (length, width) elements, stride; before rotation */
    const float *cosine, *sine;    /* (length, rotary / 2) */
    size_t length, first, queries; /* queries <= LDAR_ATTENTION_QUERIES */
    size_t width, rotary;          /* width 1..LDAR_ATTENTION_WIDTH, rotary even, <= width */
    ptrdiff_t window, stride, out_stride;
    float scale;
    float *scratch; /* (ldar_attention_scratch(width)), 64-byte aligned */
};

/* Floats of scratch: rotated queries and their outputs, maxima and sums, one block of keys and values, scores twice. */
static inline size_t ldar_attention_scratch(size_t width)
{
    size_t padded = (width + 31) / 32 * 32, rows = LDAR_ATTENTION_QUERIES + LDAR_ATTENTION_ROWS;
    return rows * (2 * padded + 1 + LDAR_ATTENTION_ROWS) + 2 * (size_t)LDAR_ATTENTION_KEYS * padded
           + 8 * (size_t)LDAR_ATTENTION_ROWS * LDAR_ATTENTION_KEYS + 2 * padded;
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
