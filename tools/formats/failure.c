/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>

enum ldar_status fail(struct ldar_error *error, enum ldar_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
        for (unsigned char *c = (unsigned char *)error->message; *c; ++c) {
            if (*c < 0x20 || *c == 0x7f) {
                *c = '?';
            }
        }
    }
    return status;
}

enum ldar_status fail_memory(struct ldar_error *error, const char *path, const char *what)
{
    return fail(error, LDAR_ERROR_MEMORY, "%s: no memory for %s", path, what);
}
