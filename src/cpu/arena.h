/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_ARENA_H
#define LDAR_CPU_ARENA_H

#include <stddef.h>

/*
 * One contiguous mapping from which a device's arrays are cut, in order:
 *
 *   | x[0] | x[1] | ... | z | y | dt | pieces | worker 0 | worker 1 | ... |
 *
 * Address space is reserved for the worst case; only pages that are touched
 * become resident. Every array begins on a 64-byte line; under AddressSanitizer
 * a red zone of one line lies behind each.
 */
struct ldar_arena {
    char *base;
    size_t size, used;
};

/* Bytes that an array of `count` floats takes in an arena; SIZE_MAX when that is no number. */
size_t ldar_arena_bytes(size_t count);

/* 0 when the system gives no address space. */
int ldar_arena_map(struct ldar_arena *arena, size_t size);
void ldar_arena_unmap(struct ldar_arena *arena);

/* The next `count` floats. The caller has mapped the sum of ldar_arena_bytes of all it takes. */
float *ldar_arena_take(struct ldar_arena *arena, size_t count);

/* Lets go of the resident pages that lie whole in an array of the arena; its numbers are lost. */
void ldar_arena_release(void *array, size_t bytes);

#endif
