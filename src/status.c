/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

const char *ldar_status_string(enum ldar_status status)
{
    switch (status) {
    case LDAR_OK:
        return "success";
    case LDAR_ERROR_ARGUMENT:
        return "wrong argument";
    case LDAR_ERROR_MEMORY:
        return "not enough memory";
    case LDAR_ERROR_IO:
        return "input or output failed";
    case LDAR_ERROR_FORMAT:
        return "malformed file";
    case LDAR_ERROR_CONFIG:
        return "wrong configuration";
    case LDAR_ERROR_TENSOR:
        return "wrong tensor";
    case LDAR_ERROR_UNSUPPORTED:
        return "not supported here";
    case LDAR_ERROR_INTERNAL:
        return "fault of ldar";
    }
    return "unknown status";
}

enum ldar_status ldar_fail(struct ldar_error *error, enum ldar_status status, const char *format, ...)
{
    if (!error) {
        return status;
    }
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(error->message, sizeof error->message, format, arguments) < 0) {
        error->message[0] = '\0';
    }
    va_end(arguments);
    for (char *c = error->message; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    return status;
}

enum ldar_status ldar_fail_memory(struct ldar_error *error, size_t bytes, const char *what)
{
    return ldar_fail(error, LDAR_ERROR_MEMORY, "not enough memory: %zu bytes for %s", bytes, what);
}
