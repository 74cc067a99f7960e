/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kernel, compiled against the vec header included before, and the table that holds them: the one symbol that an
 * isa_*.c exports.
 */
#include "../kernels.h"
#include "../vec/element.h"
#include "../vec/tile.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "reduce.inl"

#include "norm.inl"
#include "conv1d.inl"
#include "ssd.inl"
#include "attention.inl"
#include "gemm.inl"
#include "act.inl"
#include "route.inl"
#include "dechunk.inl"
#include "rows.inl"
#include "loss.inl"
#include "math.inl"
#include "optim.inl"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define TABLE_OF(x) ldar_kernels_##x
#define TABLE(x) TABLE_OF(x)

const struct ldar_kernels TABLE(VEC_NAME) = {
    .name = TEXT(VEC_NAME),
    .width = VEC_WIDTH,
    .element = sizeof(element),
    .panel = TILE_COLUMNS,
    .rows = GEMM_ROWS,
#define KERNEL(name, bound, bound_bf16, arguments) .name = kernel_##name,
#include "../kernels.def"
#undef KERNEL
};
