/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_ISA_H
#define LDAR_CPU_ISA_H

#include <ldar/cpu.h>
#include <ldar/model.h>

#include "simd/kernels.h"

/*
 * The kernels of an instruction set that runs here, as ldar_isa_choose gives it, whose elements are of that type; NULL
 * where it multiplies no bfloat16.
 */
const struct ldar_kernels *ldar_isa_kernels(enum ldar_isa isa, enum ldar_dtype dtype);

#endif
