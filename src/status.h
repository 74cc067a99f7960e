/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_STATUS_INTERNAL_H
#define LDAR_STATUS_INTERNAL_H

#include <ldar/status.h>

#include <stddef.h>

/*
 * Fills `error` (which may be NULL) and returns `status`, so that a failure is one line: return ldar_fail(...).
 * Control characters, which names taken from a hostile file may hold, become '?'.
 */
enum ldar_status ldar_fail(struct ldar_error *error, enum ldar_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* LDAR_ERROR_MEMORY: no `bytes` could be had for `what`. */
enum ldar_status ldar_fail_memory(struct ldar_error *error, size_t bytes, const char *what);

#endif
