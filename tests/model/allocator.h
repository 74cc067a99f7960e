/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_MODEL_ALLOCATOR_H
#define LDAR_TESTS_MODEL_ALLOCATOR_H

#include <stddef.h>

/*
 * The allocator seen from below: a program linked with --wrap for malloc and its kin, mmap and munmap counts what its
 * own objects (the library among them) hold, and fails on demand. Shared libraries allocate past it.
 */

/* The n-th request from here on (1: the next) fails, and that one alone; 0: none does. */
void allocator_fail(size_t nth);

/* Whether the failure asked for has happened. */
int allocator_failed(void);

/* Blocks and bytes that are held, and the most bytes held since the last call of allocator_watch. */
size_t allocator_blocks(void);
size_t allocator_bytes(void);
size_t allocator_peak(void);
void allocator_watch(void);

#endif
