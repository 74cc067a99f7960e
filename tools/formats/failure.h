/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_FAILURE_H
#define FORMATS_FAILURE_H

#include <ldar/status.h>

#if defined(__GNUC__)
#define FORMATS_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define FORMATS_PRINTF(text, first)
#endif

/*
 * Fills in `error` (may be NULL) and returns `status`, so that a function can
 * end with `return fail(...)`. Control characters, as they may come from a file, become '?'.
 */
enum ldar_status fail(struct ldar_error *error, enum ldar_status status, const char *format, ...) FORMATS_PRINTF(3, 4);

/* The same for memory that could not be had: "PATH: no memory for WHAT". */
enum ldar_status fail_memory(struct ldar_error *error, const char *path, const char *what);

#endif
