/* SPDX-License-Identifier: Apache-2.0 */
/* The bundle in double precision: it exports ldar_kernels_real, as an isa_*.c of src/simd exports its table. */
#include "real.h"

#include "vec_real.h"

#include "simd/body/all.inl"
