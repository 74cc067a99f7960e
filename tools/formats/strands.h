/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_STRANDS_H
#define FORMATS_STRANDS_H

#include <ldar/model.h>

/* The other strand. N, [MASK] and [PAD] are their own complements. */
static inline uint8_t complement(uint8_t id)
{
    return id <= LDAR_T ? (uint8_t)(LDAR_T - id) : id;
}

/* to[0..count) becomes the reverse complement of from[0..count); the two are the same array or do not overlap. */
void reverse_complement(const uint8_t *from, size_t count, uint8_t *to);

#endif
