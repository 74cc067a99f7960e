/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KERNELS_ATTENTION_CASE_H
#define LDAR_TESTS_KERNELS_ATTENTION_CASE_H

#include "harness.h"

/* What attention and its gradient are tested on. q, k and v have one stride. */
struct attention_case {
    struct matrix out, q, k, v, cosine, sine;
    ptrdiff_t window;
    size_t rotary;
};

struct attention_case attention_case(struct test *test, size_t length, size_t width, size_t rotary, ptrdiff_t window,
                                     enum fill fill);

/* Of all but scratch and log_sum, elements as the kernel has them. */
struct ldar_attention_args attention_args(const struct attention_case *c, size_t first, size_t queries);

#endif
