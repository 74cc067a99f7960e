/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PERF_RECURRENCE_H
#define LDAR_PERF_RECURRENCE_H

#include "simd/kernels.h"

/*
 * The scan of struct ldar_ssd_args token by token, the peer of the chunked one: without convolution, from a zero state.
 * One for each instruction set, on the same vectors as the kernels; its elements are always floats.
 */
#define ISA(name, NAME, FLOATS) void perf_recurrence_##name(const struct ldar_ssd_args *args);
#include "simd/isa.def"
#undef ISA

#endif
