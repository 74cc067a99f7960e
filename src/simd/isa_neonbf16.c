/* SPDX-License-Identifier: Apache-2.0 */
#include "vec/vec_neonbf16.h"

#include "body/all.inl"
