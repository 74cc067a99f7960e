/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KIT_GUARD_H
#define LDAR_TESTS_KIT_GUARD_H

#include <stddef.h>

/*
 * Buffers between unmapped pages. A buffer lies `offset` bytes from the page at its front or at its rear, so that with
 * offset 0 the first byte too many is a fault. Bytes near the buffer and between its rows hold a canary, and so does
 * the buffer itself at first: as floats and as bfloat16 they are NaN, so that reading what was not written shows as
 * well.
 */
enum guard_side { GUARD_FRONT, GUARD_REAR };

/*
 * A buffer of `rows` rows of `bytes` bytes, `pitch` bytes apart (pitch >= bytes); valid until guard_end. Exits with
 * CHECK_SKIP when the system has no such address space and nothing has failed yet.
 */
void *guard_rows(size_t rows, size_t bytes, size_t pitch, enum guard_side side, size_t offset);

/* A buffer of `bytes` bytes in one piece. */
void *guard_bytes(size_t bytes, enum guard_side side, size_t offset);

/* From here on a write into the buffer is a fault. `buffer` is what guard_rows or guard_bytes returned. */
void guard_seal(void *buffer);

/* Checks the canaries of all buffers handed out since the last call (check_fail where one is hurt); recycles them. */
void guard_end(void);

/* Makes a fault print the case (check_where) and the buffer, and end the process with status 1. */
void guard_catch_faults(void);

#endif
