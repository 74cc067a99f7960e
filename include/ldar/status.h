/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_STATUS_H
#define LDAR_STATUS_H

#include <ldar/export.h>

LDAR_BEGIN_DECLS

/*
 * Results and errors.
 *
 * Every function that can fail returns an enum ldar_status and takes, last, a
 * struct ldar_error that may be NULL. On failure the status and one line for a
 * person (what went wrong, where, how to mend it) are written there; on success
 * it is left alone. The library never prints, exits or aborts.
 *
 * The values are pinned: they never change their meaning.
 */
enum ldar_status {
    LDAR_OK = 0,
    LDAR_ERROR_ARGUMENT = 1,    /* a value of the caller is outside what the header allows */
    LDAR_ERROR_MEMORY = 2,      /* memory could not be had, or max_bytes does not suffice */
    LDAR_ERROR_IO = 3,          /* the system refused to open, read, write or rename a file */
    LDAR_ERROR_FORMAT = 4,      /* a file does not hold what its format demands */
    LDAR_ERROR_CONFIG = 5,      /* a configuration is out of range or contradicts itself */
    LDAR_ERROR_TENSOR = 6,      /* a tensor is missing, superfluous, of wrong shape or not finite */
    LDAR_ERROR_UNSUPPORTED = 7, /* legal, but not in this build or not on this machine */
    LDAR_ERROR_INTERNAL = 8     /* a fault of ldar itself: please report it */
};

struct ldar_error {
    enum ldar_status status;
    char message[1000]; /* always ends in NUL; no line break */
};

/* A short English name of the status, never NULL, static storage. */
LDAR_API const char *ldar_status_string(enum ldar_status status);

LDAR_END_DECLS

#endif
