/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_VERSION_H
#define LDAR_VERSION_H

#include <ldar/export.h>

LDAR_BEGIN_DECLS

/* The build system reads the version from here; there is no second place. */
#define LDAR_VERSION_MAJOR 0
#define LDAR_VERSION_MINOR 1
#define LDAR_VERSION_PATCH 0

/* "MAJOR.MINOR.PATCH" of the library that is running, static storage. */
LDAR_API const char *ldar_version(void);

LDAR_END_DECLS

#endif
