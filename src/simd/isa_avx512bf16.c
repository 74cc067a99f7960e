/* SPDX-License-Identifier: Apache-2.0 */
#include "vec/vec_avx512bf16.h"

#include "body/all.inl"
