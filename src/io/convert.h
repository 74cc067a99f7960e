/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_CONVERT_H
#define LDAR_IO_CONVERT_H

#include <ldar/model.h>
#include <ldar/tensors.h>

/* 1 for the types that a weight may have: F64, F32, F16, BF16. */
int ldar_converts(enum ldar_tensor_type type);

/* `count` elements of `type`, little-endian and of any alignment, to float. F64 is rounded, the others are exact. */
void ldar_convert_to_f32(float *out, const void *data, enum ldar_tensor_type type, size_t count);

/* Rounds to nearest, ties to even; NaN stays NaN. */
void ldar_convert_to_bf16(uint16_t *out, const float *data, size_t count);

/* 1 when no element is an infinity or NaN. */
int ldar_all_finite(const void *data, enum ldar_dtype dtype, size_t count);

#endif
