/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KIT_BFLOAT16_H
#define LDAR_TESTS_KIT_BFLOAT16_H

#include <stdint.h>

/* bfloat16: the upper half of a float, eight significant bits. Plain C: how processors round is what is tested. */
enum { BFLOAT16_BITS = 8 };

/* The nearest one, ties to even; a NaN becomes a quiet one. */
uint16_t bfloat16_of(float x);
float bfloat16_value(uint16_t half);
float bfloat16_round(float x);

#endif
