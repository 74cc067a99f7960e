/* SPDX-License-Identifier: Apache-2.0 */
#include "vec/vec_scalar.h"

#include "body/all.inl"
