/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_FUZZ_FILE_H
#define LDAR_TESTS_FUZZ_FILE_H

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The input as a file, for readers that open one: always the same, rewritten, and removed with the process's end. */
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
    static char path[40];
    static int descriptor = -1;
    if (descriptor < 0) {
        char name[] = "/dev/shm/ldar-fuzz-XXXXXX"; /* a disk would take 20 times as long as what is tested */
        descriptor = mkstemp(name);
        unlink(name);
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    }
    if (descriptor < 0 || ftruncate(descriptor, 0) || pwrite(descriptor, data, size, 0) != (ssize_t)size) {
        abort();
    }
    return path;
}

#endif
