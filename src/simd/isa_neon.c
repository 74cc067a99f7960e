/* SPDX-License-Identifier: Apache-2.0 */
#include "vec/vec_neon.h"

#include "body/all.inl"
